# --- receiving ------------------------------------------------------------------------------------------------------
# Bytes come in: to a folder of our own, hashed before anything is believed.

# Makes install_root and .updoser, and sweeps up after runs that are gone. FRESH is what a power cut could take again.
make_places() {
	if [ -z "$ROOT_THERE" ]; then
		FRESH=$NL$NEAREST made=$ROOT
		while [ -n "$made" ] && [ "$made" != "$NEAREST" ]; do
			FRESH=$FRESH$NL$made made=${made%/*}
		done
		mkdir -p -- "$ROOT" 2>/dev/null || fail unwritable "$ROOT can't be made"
		check_root
		[ -n "$ROOT_THERE" ] || fail unwritable "$ROOT can't be made"
	fi
	[ -d "$STATE" ] || mkdir -m 700 -- "$STATE" 2>/dev/null || fail unwritable "$STATE can't be made"
	[ -d "$STATE/manifests" ] || mkdir -m 700 -- "$STATE/manifests" 2>/dev/null ||
		fail unwritable "$STATE/manifests can't be made"
	set +f
	set -- "$STATE"/stage.*
	set -f
	for left in "$@"; do
		if [ -d "$left" ] && ! alive "${left##*/stage.}"; then
			chmod -R u+rwx "$left" 2>/dev/null
			rm -rf -- "$left"
		fi
	done
	set +f
	set -- /dev/shm/updoser.*
	set -f
	for left in "$@"; do
		if [ -d "$left" ] && ! alive "${left##*/updoser.}"; then rm -rf -- "$left" 2>/dev/null; fi
	done
	STAGE=$STATE/stage.$ME
	mkdir -m 700 -- "$STAGE" 2>/dev/null || { STAGE='' && fail unwritable "$STATE can't be written"; }
}

# take SIZE FILE: reads so many bytes of the payload into a file.
take() {
	if [ "$1" -eq 0 ]; then
		: >"$2"
	elif [ "$1" -le 4194304 ]; then
		dd bs="$1" count=1 iflag=fullblock of="$2" 2>/dev/null
	else
		dd bs=1048576 count=$(($1 / 1048576)) iflag=fullblock of="$2" 2>/dev/null
		[ $(($1 % 1048576)) -eq 0 ] || dd bs=$(($1 % 1048576)) count=1 iflag=fullblock 2>/dev/null >>"$2"
	fi
}

# Rule 1. Reads all payloads; files land in TREE under the paths that they will have below install_root.
receive() {
	TREE=$STAGE/tree
	mkdir -- "$TREE" && cd "$TREE" || fail unwritable "$STAGE can't be written"
	folders='' own_only='' at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at component=\$C_$at version=\$TV_$at private=\$PV_$at"
		[ "$verdict" = go ] || continue
		folders=$folders$NL$component/$version
		[ -z "$private" ] || own_only=$own_only$NL$component
	done
	[ -z "$folders" ] || batch "$folders" mkdir -p -- || fail unwritable "$STAGE can't be written"
	[ -z "$own_only" ] || batch "$own_only" chmod 700 -- || fail unwritable "$STAGE can't be written"
	at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at lines=\$S_$at component=\$C_$at version=\$TV_$at from=\$FV_$at"
		drained=0 copied='' held='' base='' patches=''
		for line in $lines; do
			rest=${line#* * }
			name=${rest#* * }
			case $line in
			'base '*) base=${line#base } ;;
			'patch '*) patches=$patches$NL${line#patch } ;;
			'file sent '*)
				size=${rest%% *}
				if [ "$verdict" = go ]; then
					take "$size" "$component/$version/$name" || fail disk "$STAGE can't be written: no room?"
				else
					drained=$((drained + size))
				fi
				;;
			'file kept '*)
				if [ -z "$base" ] || [ "$base" = "$name" ]; then
					copied=$copied$NL$R/$component/$from/$name
				elif [ "$verdict" = go ] && ! cp -- "$R/$component/$from/$base" "$component/$version/$name" 2>/dev/null; then
					fails $at unwritable "$base of $from can't be copied"
				fi
				base=''
				;;
			'file held '*) held=$held$NL$R/$component/$version/$name ;;
			'file patched '*)
				[ -z "$base" ] || base=$R/$component/$from/$base
				receive_patched $at "$component/$version/$name" "$base" "$patches"
				base='' patches=''
				;;
			esac
		done
		[ $drained -eq 0 ] || take $drained /dev/null
		eval "verdict=\$M_$at"
		if [ "$verdict" = go ] && [ -n "$copied" ]; then
			copy_into() { cp -- "$@" "$TREE/$component/$version/"; }
			batch "$copied" copy_into 2>/dev/null || fails $at unwritable "files of $from can't be copied"
		fi
		[ "$verdict" != go ] || [ -z "$held" ] || take_held "$R/$component/$version" "$held" ||
			unpatched $at "the version $version is not there, or not whole"
	done
	read_closing
}

# The bytes end where the header says that they do; what comes then is the word that all was meant.
read_closing() {
	go=$(dd bs=3 count=1 iflag=fullblock 2>/dev/null)
	[ "$go" = go ] || fail cut 'the request was cut short'
}

# Rule 14. take_held FOLDER PATHS: brings what lies on the client already into TREE.
take_held() {
	[ -d "$1" ] && [ ! -L "$1" ] && [ ! -L "${1%/*}" ] || return 1
	for path in $2; do
		[ -f "$path" ] && [ ! -L "$path" ] || return 1
	done
	hold() { ln -- "$@" "$TREE/$component/$version/" 2>/dev/null || cp -- "$@" "$TREE/$component/$version/"; }
	batch "$2" hold 2>/dev/null
}

# receive_patched N FILE BASE PATCHES: reads patches, each `CODEC BYTES RESULT`, and makes FILE with them.
receive_patched() {
	now=$3
	for patch in $4; do
		patch_size=${patch#* } result=${patch##* }
		patch_size=${patch_size%% *}
		# What isn't carried out is drained in its turn: here the bytes of a step may be of use, one by one.
		if [ "$verdict" != go ]; then
			drained=$((drained + patch_size))
			continue
		fi
		take "$patch_size" "$STAGE/patch" || fail disk "$STAGE can't be written: no room?"
		made=$TREE/$2
		[ "$patch" = "${4##*"$NL"}" ] || next_aside "$result" || { unpatched $1 "$TROUBLE"; continue; }
		TROUBLE="the ${patch%% *} patch can't be applied"
		apply_patch "${patch%% *}" "$now" "$made" "$result" || unpatched $1 "$TROUBLE"
		case $now in /dev/shm/*) rm -f -- "$now" ;; esac
		now=$made
	done
	rm -f -- "$STAGE/patch"
}

# next_aside BYTES: sets `made` to a place in memory for what lies between two patches, if there is room for two of it.
next_aside() {
	TROUBLE="a chain of patches needs /dev/shm"
	[ -d /dev/shm ] && [ -w /dev/shm ] || return 1
	if [ -z "$ASIDE" ]; then
		mkdir -m 700 -- "/dev/shm/updoser.$ME" 2>/dev/null || return 1
		ASIDE=/dev/shm/updoser.$ME
	fi
	room=$(df -Pk /dev/shm 2>/dev/null)
	IFS=' '
	set -- "$1" ${room##*"$NL"}
	IFS=$NL
	TROUBLE="a chain of patches needs more room in /dev/shm"
	[ $# -ge 7 ] && is_number "$5" && [ $(($1 / 512)) -lt "$5" ] || return 1
	aside=$((${aside:-0} + 1)) made=$ASIDE/$aside
}

# apply_patch CODEC OLD NEW BYTES: makes NEW from $STAGE/patch, and from OLD if it isn't empty; never more than BYTES.
apply_patch() {
	case $1 in
	zstd)
		has_tool zstd || return 1
		zstd -dqc --long=31 ${2:+"--patch-from=$2"} -- "$STAGE/patch" 2>/dev/null </dev/null | take "$4" "$3"
		;;
	gzip)
		has_tool gzip || return 1
		gzip -dc <"$STAGE/patch" 2>/dev/null | take "$4" "$3"
		;;
	bsdiff)
		has_tool bspatch || return 1
		# Its result goes to the file as a whole; a head that lies meets the limit, in blocks of 512 or 1024 bytes.
		(
			block=512
			[ -z "${BASH_VERSION:-}" ] || [ -n "${POSIXLY_CORRECT:-}" ] || block=1024
			ulimit -c 0
			ulimit -f $((($4 + block - 1) / block)) || exit 1
			exec bspatch "${2:-/dev/null}" "$3" "$STAGE/patch"
		) >/dev/null 2>&1 </dev/null
		;;
	*) TROUBLE="the client can't apply $1" && return 1 ;;
	esac
}

has_tool() { command -v "$1" >/dev/null 2>&1 || { TROUBLE="the client has no $1" && return 1; }; }

# unpatched N TEXT: gives a step up that the controller can repeat without patches.
unpatched() {
	verdict=unpatched
	eval "M_$1=unpatched Q_$1=\$2"
}

# Hashes all that was received at once; on a difference, each step by itself.
verify() {
	at=0 all='' files=''
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at"
		[ "$verdict" = go ] || continue
		expect $at
		all=$all$expected files=$files$paths
	done
	[ -n "$files" ] || return 0
	if [ "$(batch "$files" sha256sum -- 2>/dev/null)" != "${all#"$NL"}" ]; then
		at=0
		while [ $at -lt $COUNT ]; do
			at=$((at + 1))
			eval "verdict=\$M_$at from=\$V_$at"
			[ "$verdict" = go ] || continue
			expect $at
			[ "$(batch "$paths" sha256sum -- 2>/dev/null)" != "${expected#"$NL"}" ] || continue
			case $lines in
			*"${NL}file patched "*) unpatched $at 'the patched file has other bytes than announced' ;;
			*"${NL}file held "*) unpatched $at "the version $version that lies there has other bytes than announced" ;;
			*"${NL}file kept "*) unpatched $at "the version $from that lies there has other bytes than announced" ;;
			*) fails $at bytes 'what arrived has other bytes than announced' ;;
			esac
		done
	fi
}

# expect N: sets `expected` to the sha256sum lines of a step and `paths` to its files.
expect() {
	eval "lines=\$S_$1 component=\$C_$1 version=\$TV_$1"
	expected='' paths=''
	for line in $lines; do
		case $line in 'file '*) ;; *) continue ;; esac
		digest=${line#file * * }
		path=$component/$version/${digest#* }
		expected="$expected$NL${digest%% *}  $path" paths=$paths$NL$path
	done
}
