# --- receiving ------------------------------------------------------------------------------------------------------
# Bytes come in: to a folder of our own, hashed before anything is believed.

# Makes install_root and .updoser, and sweeps up after runs that are gone. FRESH is what a power cut could take again.
make_places() {
	local made left
	if [ -z "$ROOT_THERE" ]; then
		FRESH=$NL$NEAREST made=$INSTALL_ROOT
		while [ -n "$made" ] && [ "$made" != "$NEAREST" ]; do
			FRESH=$FRESH$NL$made made=${made%/*}
		done
		make_root
		check_root
		[ -n "$ROOT_THERE" ] || refuse unwritable "$INSTALL_ROOT can't be made"
	fi
	set +f
	set -- "$STATE"/stage.*
	set -f
	for left in "$@"; do
		if [ -d "$left" ] && ! is_alive "${left##*/stage.}"; then
			chmod -R u+rwx "$left" 2>/dev/null
			rm -rf -- "$left"
		fi
	done
	set +f
	set -- /dev/shm/updoser.*
	set -f
	for left in "$@"; do
		if [ -d "$left" ] && ! is_alive "${left##*/updoser.}"; then rm -rf -- "$left" 2>/dev/null; fi
	done
	STAGE=$STATE/stage.$OWN_ID TREE=$STATE/stage.$OWN_ID/tree
	set -- "$STAGE" "$TREE"
	[ -d "$STATE/manifests" ] || set -- "$STATE/manifests" "$@"
	[ -d "$STATE" ] || set -- "$STATE" "$@"
	mkdir -m 700 -- "$@" 2>/dev/null && return 0
	rmdir -- "$STAGE" 2>/dev/null # what is in the way, with something in it, isn't ours
	STAGE=''
	[ -d "$STATE" ] || refuse unwritable "$STATE can't be made"
	[ -d "$STATE/manifests" ] || refuse unwritable "$STATE/manifests can't be made"
	refuse unwritable "$STATE can't be written"
}

make_root() {
	! mkdir -p -- "$INSTALL_ROOT" 2>/dev/null || return 0
	mkdir -p -- / 2>/dev/null || refuse tools 'mkdir -p'
	refuse unwritable "$INSTALL_ROOT can't be made"
}

# Rule 1. Reads all payloads; files land in TREE under the paths that they will have below install_root.
receive() {
	local own_only step verdict component version private lines line from
	local copied held base patches rest name size takes
	cd "$TREE" || refuse unwritable "$STAGE can't be written"
	own_only='' takes='' step=0
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "verdict=\$VERDICT_$step component=\$COMPONENT_$step version=\$TO_VERSION_$step private=\$PRIVATE_$step"
		[ "$verdict" = go ] || continue
		takes="$takes${NL}make$NL$component$NL-${NL}make$NL$component/$version$NL-"
		[ -z "$private" ] || own_only=$own_only$NL$component
	done
	if [ -n "$TAKES_ALL" ]; then take_sent "$takes"; else take_all "$takes"; fi
	[ -z "$own_only" ] || batch "$own_only" chmod 700 -- || refuse unwritable "$STAGE can't be written"
	takes='' step=0
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "verdict=\$VERDICT_$step lines=\$LINES_$step component=\$COMPONENT_$step"
		eval "version=\$TO_VERSION_$step from=\$FROM_VERSION_$step"
		[ "$verdict" = go ] || [ -z "$TAKES_ALL" ] || continue
		DRAINED=0 copied='' held='' base='' patches=''
		for line in $lines; do
			rest=${line#* * }
			name=${rest#* }
			name=${name#* }
			case $line in
			'base '*) base=${line#base } ;;
			'patch '*) patches=$patches$NL${line#patch } ;;
			'file sent '*)
				size=${rest%% *}
				if [ -n "$TAKES_ALL" ]; then
					:
				elif [ "$verdict" = go ]; then
					takes="$takes${NL}take$NL$size$NL$component/$version/$name"
				else
					DRAINED=$((DRAINED + size))
				fi
				;;
			'file fetched '*)
				size=${rest#* }
				if [ "$verdict" = go ] && ! fetch_part "${rest%% *}" "${size%% *}" "$component/$version/$name"; then
					mark_unfetched $step
					verdict=unfetched
				fi
				;;
			'file kept '*)
				if [ -z "$base" ] || [ "$base" = "$name" ]; then
					copied=$copied$NL$ROOT/$component/$from/$name
				elif [ "$verdict" = go ] && ! cp -- "$ROOT/$component/$from/$base" "$component/$version/$name" 2>/dev/null; then
					fail_step $step unwritable "$base of $from can't be copied"
				fi
				base=''
				;;
			'file held '*) held=$held$NL$ROOT/$component/$version/$name ;;
			'file patched '*)
				[ -z "$base" ] || base=$ROOT/$component/$from/$base
				[ -z "$takes" ] || take_all "$takes"
				takes=''
				receive_patched $step "$component/$version/$name" "$base" "$patches" "$verdict" ||
					eval "verdict=\$VERDICT_$step"
				base='' patches=''
				;;
			esac
		done
		[ $DRAINED -eq 0 ] || takes="$takes${NL}take$NL$DRAINED$NL/dev/null"
		eval "verdict=\$VERDICT_$step"
		if [ "$verdict" = go ] && [ -n "$copied" ]; then
			copy_into() { cp -- "$@" "$TREE/$component/$version/"; }
			batch "$copied" copy_into 2>/dev/null || fail_step $step unwritable "files of $from can't be copied"
		fi
		[ "$verdict" != go ] || [ -z "$held" ] || take_held "$component/$version" "$held" ||
			mark_unpatched $step "the version $version is not there, or not whole"
	done
	[ -z "$takes" ] || take_all "$takes"
	read_closing
}

# take_sent OPERATIONS: carries these out, and takes all that is sent: files to their places, patches to STAGE/patch.N.
take_sent() {
	local takes step verdict lines component version line rest size place patch_count
	takes=$1 step=0 patch_count=0
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1)) DRAINED=0
		eval "verdict=\$VERDICT_$step lines=\$LINES_$step component=\$COMPONENT_$step version=\$TO_VERSION_$step"
		for line in $lines; do
			case $line in
			'file sent '*)
				rest=${line#file sent }
				size=${rest%% *} rest=${rest#* }
				place=$component/$version/${rest#* }
				;;
			'patch '*' '*' '*' '*) continue ;; # it is fetched
			'patch '*)
				size=${line#patch * }
				[ "$verdict" != go ] || patch_count=$((patch_count + 1))
				size=${size%% *} place=$STAGE/patch.$patch_count
				;;
			*) continue ;;
			esac
			if [ "$verdict" = go ]; then
				takes="$takes${NL}take$NL$size$NL$place"
			else
				DRAINED=$((DRAINED + size))
			fi
		done
		[ $DRAINED -eq 0 ] || takes="$takes${NL}take$NL$DRAINED$NL/dev/null"
	done
	take_all "$takes"
}

take_all() { act "$1" || refuse_take; }

# What can't be taken may be a fault of dd.
refuse_take() {
	try_dd
	refuse disk "$STAGE can't be written: no room?"
}

# The bytes end where the header says that they do; what comes then is the word that all was meant.
read_closing() {
	local closing
	closing=''
	IFS= read -r closing
	[ "$closing" = go ] || refuse cut 'the request was cut short'
}

# Rule 14. take_held FOLDER PATHS: brings what lies on the client already into TREE; FOLDER is COMPONENT/VERSION.
take_held() {
	local folder path
	folder=$1
	[ -d "$ROOT/$folder" ] && [ ! -L "$ROOT/$folder" ] && [ ! -L "$ROOT/${folder%/*}" ] || return 1
	for path in $2; do
		[ -f "$path" ] && [ ! -L "$path" ] || return 1
	done
	hold() { ln -- "$@" "$TREE/$folder/" 2>/dev/null || cp -- "$@" "$TREE/$folder/"; }
	batch "$2" hold 2>/dev/null
}

# receive_patched N FILE BASE PATCHES VERDICT: takes patches, each `CODEC BYTES RESULT`, or fetches those that have a
# SHA256 behind that, and makes FILE with them. It fails where the step becomes `unpatched` or `unfetched`.
receive_patched() {
	local verdict now patch size result digest made taken
	now=$3 verdict=$5
	for patch in $4; do
		size=${patch#* }
		result=${size#* } size=${size%% *}
		digest=${result#* } result=${result%% *} taken=$STAGE/patch
		[ "$digest" != "$result" ] || digest=''
		if [ -z "$digest" ] && [ -n "$TAKES_ALL" ]; then PATCH_AT=$((PATCH_AT + 1)) taken=$STAGE/patch.$PATCH_AT; fi
		# What isn't carried out is drained in its turn: here the bytes of a step may be of use, one by one.
		if [ "$verdict" != go ]; then
			[ -n "$digest$TAKES_ALL" ] || DRAINED=$((DRAINED + size))
			continue
		fi
		if [ -z "$digest" ]; then
			[ -n "$TAKES_ALL" ] || take "$size" "$taken" || refuse_take
		elif rm -f -- "$taken" && ! fetch_part "$size" "$digest" "$taken"; then
			mark_unfetched $1
			verdict=unfetched
			continue
		fi
		made=$TREE/$2
		if [ "$patch" != "${4##*"$NL"}" ]; then
			next_aside "$result" || { mark_unpatched $1 "$TROUBLE" && verdict=unpatched && continue; }
			made=$ASIDE_FILE
		fi
		TROUBLE="the ${patch%% *} patch can't be applied"
		apply_patch "${patch%% *}" "$taken" "$now" "$made" "$result" || { mark_unpatched $1 "$TROUBLE" && verdict=unpatched; }
		[ -z "$ASIDE" ] || case $now in "$ASIDE"/*) rm -f -- "$now" ;; esac
		now=$made
	done
	[ "$verdict" = "$5" ]
}

# next_aside BYTES: sets ASIDE_FILE to a place in memory for what lies between two patches, if there is room for two of
# it.
next_aside() {
	local room
	TROUBLE="a chain of patches needs /dev/shm"
	[ -d /dev/shm ] && [ -w /dev/shm ] || return 1
	if [ -z "$ASIDE" ]; then
		mkdir -m 700 -- "/dev/shm/updoser.$OWN_ID" 2>/dev/null || return 1
		ASIDE=/dev/shm/updoser.$OWN_ID
	fi
	room=$(df -Pk /dev/shm 2>/dev/null)
	IFS=' '
	set -- "$1" ${room##*"$NL"}
	IFS=$NL
	TROUBLE="a chain of patches needs more room in /dev/shm"
	[ $# -ge 7 ] && is_number "$5" && [ $(($1 / 512)) -lt "$5" ] || return 1
	ASIDE_COUNT=$((ASIDE_COUNT + 1)) ASIDE_FILE=$ASIDE/$ASIDE_COUNT
}

# apply_patch CODEC PATCH OLD NEW BYTES: makes NEW from PATCH, and from OLD if it isn't empty. A patch that has more to
# say than BYTES meets the limit on files, in blocks of 512 or 1024 bytes.
apply_patch() {
	local block
	case $1 in
	zstd | gzip) has_tool "$1" || return 1 ;;
	bsdiff) has_tool bspatch || return 1 ;;
	*) TROUBLE="the client can't apply $1" && return 1 ;;
	esac
	(
		block=512
		[ -z "${BASH_VERSION:-}" ] || [ -n "${POSIXLY_CORRECT:-}" ] || block=1024
		ulimit -c 0
		ulimit -f $((($5 + block - 1) / block)) || exit 1
		case $1 in
		zstd) exec zstd -dqf --no-sparse --long=31 ${3:+"--patch-from=$3"} -o "$4" -- "$2" ;;
		gzip) exec gzip -dc <"$2" >"$4" ;;
		*) exec bspatch "${3:-/dev/null}" "$4" "$2" ;;
		esac
	) >/dev/null 2>&1 </dev/null
}

has_tool() { command -v "$1" >/dev/null 2>&1 || { TROUBLE="the client has no $1" && return 1; }; }

# mark_unpatched N TEXT: gives a step up that the controller can repeat without patches.
mark_unpatched() {
	eval "VERDICT_$1=unpatched REASON_$1=\$2"
}

# Hashes all that was received at once; on a difference, each step by itself.
verify() {
	local step all files bytes verdict from version lines
	step=0 all='' files='' bytes=0
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "verdict=\$VERDICT_$step"
		[ "$verdict" = go ] || continue
		expect $step
		all=$all$EXPECTED_SUMS files=$files$EXPECTED_PATHS bytes=$((bytes + EXPECTED_BYTES))
	done
	[ -n "$files" ] || return 0
	if ! have_sums "$files" "$all" $bytes; then
		step=0
		while [ $step -lt $STEP_COUNT ]; do
			step=$((step + 1))
			eval "verdict=\$VERDICT_$step from=\$VERSION_$step version=\$TO_VERSION_$step lines=\$LINES_$step"
			[ "$verdict" = go ] || continue
			expect $step
			! have_sums "$EXPECTED_PATHS" "$EXPECTED_SUMS" $EXPECTED_BYTES || continue
			case $lines in
			*"${NL}file patched "*) mark_unpatched $step 'the patched file has other bytes than announced' ;;
			*"${NL}file held "*) mark_unpatched $step "the version $version that lies there has other bytes than announced" ;;
			*"${NL}file kept "*) mark_unpatched $step "the version $from that lies there has other bytes than announced" ;;
			*) fail_step $step bytes 'what arrived has other bytes than announced' ;;
			esac
		done
	fi
}

# expect N: sets EXPECTED_SUMS to the sha256sum lines of a step, EXPECTED_PATHS to its files and EXPECTED_BYTES to what
# these hold. What a step expects doesn't change, so that this is found out once.
expect() {
	local component version lines line size digest path
	eval "EXPECTED_SUMS=\$EXPECTED_SUMS_$1 EXPECTED_PATHS=\$EXPECTED_PATHS_$1 EXPECTED_BYTES=\$EXPECTED_BYTES_$1"
	[ -z "$EXPECTED_PATHS" ] || return 0
	eval "lines=\$LINES_$1 component=\$COMPONENT_$1 version=\$TO_VERSION_$1"
	EXPECTED_SUMS='' EXPECTED_PATHS='' EXPECTED_BYTES=0
	for line in $lines; do
		case $line in 'file '*) ;; *) continue ;; esac
		digest=${line#file * }
		size=${digest%% *} digest=${digest#* }
		path=$component/$version/${digest#* } EXPECTED_BYTES=$((EXPECTED_BYTES + size))
		EXPECTED_SUMS="$EXPECTED_SUMS$NL${digest%% *}  $path" EXPECTED_PATHS=$EXPECTED_PATHS$NL$path
	done
	eval "EXPECTED_SUMS_$1=\$EXPECTED_SUMS EXPECTED_PATHS_$1=\$EXPECTED_PATHS EXPECTED_BYTES_$1=\$EXPECTED_BYTES"
}
