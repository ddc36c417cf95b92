# --- what is asked --------------------------------------------------------------------------------------------------
# What is asked: the header of a deploy request, and what is to be done about each step.

# Reads the header into what the table says of each step and of each command. Rule 3.
read_steps() {
	local line rest
	COMPONENTS='' DOUBTED='' COMMAND_COUNT=0 VARS='' PURPOSE=switch
	STEP_COUNT=0 HAS_TARGET='' HAS_BASE='' PATCH_RESULT='' WEIGHT=0 GATHERED_LINES='' GATHERED_COUNT=0
	for line in $HEADER; do
		rest=${line#* }
		case $line in
		'root '*)
			INSTALL_ROOT=$rest
			is_folder "$INSTALL_ROOT" || refuse protocol 'install_root is no absolute folder'
			;;
		'keep '*) KEEP=$rest && is_number "$KEEP" && [ "$KEEP" -ge 1 ] || refuse protocol 'keep is no number' ;;
		'controller '*)
			LINEAGE=${rest% *} EPOCH=${rest#* }
			is_token "$LINEAGE" && is_number "$EPOCH" || refuse protocol 'controller is malformed'
			;;
		'relay '*) read_relay "$rest" ;;
		'step '*)
			IFS=' '
			set -- $rest
			IFS=$NL
			[ $# -eq 6 ] && is_component "$1" && is_version "$4" && is_digest "$5" && is_token "$6" ||
				refuse protocol "malformed: $line"
			[ "$2" = - ] || is_version "$2" || refuse protocol "malformed: $line"
			[ "$3" = - ] || is_digest "$3" || refuse protocol "malformed: $line"
			case $COMPONENTS$NL in *"$NL$1$NL"*) refuse protocol "the component $1 twice" ;; esac
			add_step_lines
			STEP_COUNT=$((STEP_COUNT + 1)) HAS_TARGET='' HAS_BASE='' PATCH_RESULT='' COMPONENTS=$COMPONENTS$NL$1
			# Who asked for this saw damage: only hashes tell whether it is there.
			[ "$2" = - ] || [ "$3" != - ] || DOUBTED=$DOUBTED$NL$1
			add_step "$@"
			;;
		'base '* | 'patch '* | 'file '* | 'into '* | 'name '* | 'old '* | 'watch '*)
			read_step_line "$line"
			GATHERED_LINES=$GATHERED_LINES$NL$line GATHERED_COUNT=$((GATHERED_COUNT + 1))
			[ $GATHERED_COUNT -lt 100 ] || add_step_lines
			;;
		private)
			[ $STEP_COUNT -ge 1 ] || refuse protocol "no step before: $line"
			eval "PRIVATE_$STEP_COUNT=1"
			;;
		'check '* | 'hook '* | 'loaded '* | 'sh '*) read_command "$line" ;;
		'purpose '*)
			PURPOSE=$rest
			case $rest in switch | stage | check) ;; *) refuse protocol "malformed: $line" ;; esac
			;;
		'var '*)
			is_variable "${rest%% *}" && is_text "$rest" || refuse protocol "malformed: ${line%% *}"
			VARS=$VARS$NL$rest
			;;
		end) ;;
		*) refuse protocol "unknown directive: ${line%% *}" ;;
		esac
	done
	[ $COMMAND_COUNT -eq 0 ] || [ -n "$HAS_TEXT" ] || refuse protocol 'a command without a text'
	add_step_lines
	! is_much '' $WEIGHT || stay_alive
	[ -n "$INSTALL_ROOT" ] && [ -n "$KEEP" ] && [ -n "$LINEAGE" ] && [ $STEP_COUNT -ge 1 ] ||
		refuse protocol 'the header is incomplete'
}

# add_step COMPONENT FROM FROM-DIGEST TO TO-DIGEST LAYOUT: begins the nth step, of which nothing else is known yet.
add_step() {
	local step
	step=$STEP_COUNT
	eval "COMPONENT_$step=\$1 FROM_VERSION_$step=\$2 FROM_DIGEST_$step=\$3"
	eval "TO_VERSION_$step=\$4 TO_DIGEST_$step=\$5 TO_LAYOUT_$step=\$6 LINES_$step= PRIVATE_$step="
	eval "VERDICT_$step= REASON_$step= STAGED_CHECKS_$step= SWITCHED_CHECKS_$step="
	eval "BEFORE_HOOK_$step= AFTER_HOOK_$step= ALWAYS_HOOK_$step= QUESTION_$step= LOADED_$step= MARKED_$step= WAS_THERE_$step= IN_PLACE_$step="
	eval "EXPECTED_SUMS_$step= EXPECTED_PATHS_$step= EXPECTED_BYTES_$step=0"
}

# add_step_lines: adds the gathered lines to those of the step; see read_manifests.
add_step_lines() {
	[ -z "$GATHERED_LINES" ] || eval "LINES_$STEP_COUNT=\$LINES_$STEP_COUNT\$GATHERED_LINES"
	GATHERED_LINES='' GATHERED_COUNT=0
}

# read_step_line LINE: checks a line of a step that is to be kept as it is.
read_step_line() {
	local line rest
	line=$1 rest=${1#* }
	[ $STEP_COUNT -ge 1 ] || refuse protocol "no step before: $line"
	IFS=' '
	set -- $rest
	IFS=$NL
	case $line in
	'base '*)
		is_name "$rest" && [ -z "$HAS_BASE$PATCH_RESULT" ] || refuse protocol "malformed: $line"
		HAS_BASE=1
		;;
	'patch '*)
		[ $# -eq 3 ] || { [ $# -eq 4 ] && [ -n "$RELAYS" ] && is_digest "$4"; } || refuse protocol "malformed: $line"
		is_token "$1" && is_number "$2" && is_number "$3" || refuse protocol "malformed: $line"
		PATCH_RESULT=$3
		;;
	'file '*)
		case $1:${HAS_BASE:-0}:${PATCH_RESULT:+1} in
		fetched:0:) [ -n "$RELAYS" ] || refuse protocol "malformed: $line" ;;
		sent:0: | held:0: | kept:?: | patched:?:1) ;;
		*) refuse protocol "malformed: $line" ;;
		esac
		rest=${rest#* }
		rest=${rest#* }
		is_number "$2" && is_digest "$3" && is_name "${rest#* }" || refuse protocol "malformed: $line"
		[ -z "$PATCH_RESULT" ] || [ "$PATCH_RESULT" = "$2" ] || refuse protocol "malformed: $line"
		HAS_BASE='' PATCH_RESULT='' WEIGHT=$((WEIGHT + $2))
		;;
	'into '*)
		case $1 in rename | copy | link) ;; *) refuse protocol "malformed: $line" ;; esac
		case $4 in - | [0-7][0-7][0-7] | [0-7][0-7][0-7][0-7]) ;; *) refuse protocol "malformed: $line" ;; esac
		case $5 in restore | none) ;; *) refuse protocol "malformed: $line" ;; esac
		is_account "$2" && is_account "$3" && is_folder "${rest#* * * * * }" || refuse protocol "malformed: $line"
		HAS_TARGET=1
		;;
	'name '*) is_name "$rest" && [ -n "$HAS_TARGET" ] || refuse protocol "malformed: $line" ;;
	'old '*) case $rest in '' | */* | *\\*) refuse protocol "malformed: $line" ;; esac ;;
	'watch '*) is_folder "$rest" || refuse protocol "malformed: $line" ;;
	esac
}

# Sets VERDICT_n to what is to be done: ok, stale, go (all of it), layout (targets only) or failed (REASON_n says why);
# where the purpose is to stage also staged, where it is to check also check.
judge() {
	local step version digest layout from from_digest to to_digest to_layout verdict
	step=0
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "version=\$VERSION_$step digest=\$DIGEST_$step layout=\$LAYOUT_$step"
		eval "from=\$FROM_VERSION_$step from_digest=\$FROM_DIGEST_$step"
		eval "to=\$TO_VERSION_$step to_digest=\$TO_DIGEST_$step to_layout=\$TO_LAYOUT_$step"
		[ $PURPOSE != stage ] || to_layout=$layout
		if [ $PURPOSE = check ]; then
			verdict=stale
			if [ "$version" = "$to" ] && [ "$digest" = "$to_digest" ]; then verdict=check; fi
		elif [ "$version" = "$to" ] && [ "$digest" = "$to_digest" ] && [ "$layout" = "$to_layout" ]; then
			verdict=ok
		elif [ "${version:--}" != "$from" ] || [ "${digest:--}" != "$from_digest" ]; then
			verdict=stale
		elif [ $PURPOSE = stage ] && [ "$version" = "$to" ]; then
			fail_step $step damaged "version $to is in force and damaged: it can't be sent early"
			continue
		elif [ $PURPOSE = stage ] && lies_ready $step; then
			verdict=staged
		elif [ "$version" = "$to" ] && [ "$digest" = "$to_digest" ]; then
			verdict=layout
		else
			verdict=go
		fi
		eval "VERDICT_$step=\$verdict"
	done
}

# lies_ready N: says whether the version TO of a step lies there whole, as far as its manifest knows.
lies_ready() {
	local component this digest manifest paths stamped entries_due line
	eval "component=\$COMPONENT_$1 this=\$TO_VERSION_$1 digest=\$TO_DIGEST_$1"
	manifest=$STATE/manifests/$component@$this paths='' stamped='' entries_due=0
	[ -s "$manifest" ] && [ ! -L "$manifest" ] && [ ! -L "$ROOT/$component" ] && [ ! -L "$ROOT/$component/$this" ] &&
		cd "$ROOT" || return 1
	manifest=$(cat -- "$manifest")
	case $manifest in "manifest $component $this $digest "*"${NL}end") ;; *) return 1 ;; esac
	for line in $manifest; do
		case $line in 'f '*) ;; *) continue ;; esac
		paths=$paths$NL${line#*\|*\|} stamped=$stamped$NL${line#? * * } entries_due=$((entries_due + 1))
	done
	has_only $entries_due "$ROOT/$component/$this" || return 1
	if [ -z "$HAS_STAT" ]; then
		expect $1
		have_sums "$EXPECTED_PATHS" "$EXPECTED_SUMS" $EXPECTED_BYTES
		return
	fi
	[ "$(gather "$paths" stat -c "$STAMP_FORMAT" -- 2>/dev/null)" = "${stamped#"$NL"}" ]
}

# fail_step N CODE TEXT: gives one step up, for a reason; `refuse` ends the whole request.
fail_step() {
	eval "VERDICT_$1=failed FAULT_$1=\$2 REASON_$1=\$3"
}

# Rule 5. Adds up what each step writes, on the file system of install_root and on those of its target folders; a
# target with the method rename must be on the file system of install_root, or the rename would be a copy.
check_room() {
	local step folders verdict lines line folder table mounts free home_mount mount_of room_of need largest all sizes
	local method away rest size name room_there known again
	folders=$NEAREST mount_of='' room_of='' step=0
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "verdict=\$VERDICT_$step lines=\$LINES_$step"
		case $verdict in go | layout) ;; *) continue ;; esac
		for line in $lines; do
			case $line in 'into '*) ;; *) continue ;; esac
			folder=${line#into * * * * * }
			if [ ! -d "$folder" ]; then
				fail_step $step unwritable "the target folder $folder is not there"
			else
				case $NL$folders$NL in *"$NL$folder$NL"*) ;; *) folders=$folders$NL$folder ;; esac
			fi
		done
	done
	table=$(gather "$folders" df -Pk --) || {
		try_df || refuse tools 'df -Pk'
		refuse disk "df doesn't know the room of $folders"
	}
	mounts='' step=0
	for line in $table; do
		case $line in Filesystem* | 'Filesystem '*) continue ;; esac
		IFS=' '
		set -- $line
		IFS=$NL
		[ $# -ge 6 ] && is_number "$4" || refuse tools 'df -Pk'
		shift 3
		free=$1
		shift 2
		mounts="$mounts$NL$free $*"
	done
	home_mount=''
	set -- $mounts
	for folder in $folders; do
		[ -n "$home_mount" ] || home_mount=${1#* }
		mount_of="$mount_of$NL${1#* }|$folder" room_of="$room_of$NL${1%% *} $folder"
		shift
	done
	need=0 largest=0 all=0
	step=0
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "verdict=\$VERDICT_$step lines=\$LINES_$step"
		case $verdict in go | layout) ;; *) continue ;; esac
		sizes='' method='' away=''
		for line in $lines; do
			rest=${line#* }
			case $line in
			'patch '*)
				size=${rest#* }
				size=$(((${size%% *} + 4095) / 4096 * 4))
				all=$((all + size))
				[ $size -le $largest ] || largest=$size
				;;
			'file '*)
				name=${rest#* }
				size=${name%% *} name=${name#* }
				sizes="$sizes$NL$size ${name#* }"
				case $line in 'file held '*) continue ;; esac
				[ $verdict = layout ] || need=$((need + (size + 4095) / 4096 * 4))
				;;
			'into '*)
				method=${rest%% *} folder=${rest#* * * * * } away=''
				set -- $sizes
				case "$mount_of$NL" in *"$NL$home_mount|$folder$NL"*) ;; *) away=1 ;; esac
				if [ -n "$away" ] && [ "$method" = rename ]; then
					fail_step $step unwritable "$folder is on another file system than install_root: use \`method: copy\`"
				fi
				room_there=0
				for known in $room_of; do [ "${known#* }" != "$folder" ] || room_there=${known%% *}; done
				;;
			'name '*)
				[ "$method" != link ] || continue
				for again in 1 2; do # names come in the order of files; if not, they are looked for from the start
					while [ $# -gt 0 ] && [ "${1#* }" != "$rest" ]; do shift; done
					[ $# -eq 0 ] || break
					set -- $sizes
				done
				[ $# -gt 0 ] || continue
				size=$(((${1%% *} + 4095) / 4096 * 4))
				need=$((need + size)) room_there=$((room_there - size))
				[ -z "$away" ] || [ $room_there -ge 0 ] || fail_step $step disk "not enough disk in $folder"
				;;
			esac
		done
	done
	set -- $mounts
	# A few small patches are taken at once; of others one is there at a time.
	[ $all -gt 4096 ] || TAKES_ALL=1 largest=$all
	free=${1%% *} need=$((need + largest))
	[ $need -le "$free" ] || fail_all_steps "not enough disk: $need KiB are needed and $free are free"
}

# fail_all_steps TEXT: gives all steps up, for want of room.
fail_all_steps() {
	local step verdict
	step=0
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "verdict=\$VERDICT_$step"
		case $verdict in go | layout) fail_step $step disk "$1" ;; esac
	done
}
