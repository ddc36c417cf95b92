# --- what is asked --------------------------------------------------------------------------------------------------
# What is asked: the header of a deploy request, and what is to be done about each step.

# Reads the header into C_n X_n ("FROM FROM-DIGEST TO TO-DIGEST LAYOUT") and the lines S_n of each step. Rule 3.
read_steps() {
	COMPONENTS='' DOUBTED='' COMMANDS=0 VARS='' PURPOSE=switch
	step=0 target='' base='' patched='' weight=0 gathered='' lines=0
	for line in $HEADER; do
		rest=${line#* }
		case $line in
		'root '*) ROOT=$rest && is_folder "$ROOT" || fail protocol 'install_root is no absolute folder' ;;
		'keep '*) KEEP=$rest && is_number "$KEEP" && [ "$KEEP" -ge 1 ] || fail protocol 'keep is no number' ;;
		'controller '*)
			LINEAGE=${rest% *} EPOCH=${rest#* }
			is_token "$LINEAGE" && is_number "$EPOCH" || fail protocol 'controller is malformed'
			;;
		'step '*)
			IFS=' '
			set -- $rest
			IFS=$NL
			[ $# -eq 6 ] && is_component "$1" && is_version "$4" && is_digest "$5" && is_token "$6" ||
				fail protocol "malformed: $line"
			[ "$2" = - ] || is_version "$2" || fail protocol "malformed: $line"
			[ "$3" = - ] || is_digest "$3" || fail protocol "malformed: $line"
			case $COMPONENTS$NL in *"$NL$1$NL"*) fail protocol "the component $1 twice" ;; esac
			add_step_lines
			step=$((step + 1)) target='' base='' patched='' COMPONENTS=$COMPONENTS$NL$1
			# Who asked for this saw damage: only hashes tell whether it is there.
			[ "$2" = - ] || [ "$3" != - ] || DOUBTED=$DOUBTED$NL$1
			eval "C_$step=\$1 S_$step= FV_$step=\$2 FD_$step=\$3 TV_$step=\$4 TD_$step=\$5 TL_$step=\$6 M_$step= Q_$step="
			eval "CS_$step= CW_$step= HB_$step= HA_$step= HZ_$step= MK_$step= WT_$step= RP_$step= PV_$step="
			;;
		'base '* | 'patch '* | 'file '* | 'into '* | 'name '* | 'old '* | 'watch '*)
			check_line
			gathered=$gathered$NL$line lines=$((lines + 1))
			[ $lines -lt 100 ] || add_step_lines
			;;
		private)
			[ $step -ge 1 ] || fail protocol "no step before: $line"
			eval "PV_$step=1"
			;;
		'check '* | 'hook '* | 'sh '*) check_command ;;
		'purpose '*)
			PURPOSE=$rest
			case $rest in switch | stage | check) ;; *) fail protocol "malformed: $line" ;; esac
			;;
		'var '*)
			is_variable "${rest%% *}" && is_text "$rest" || fail protocol "malformed: ${line%% *}"
			VARS=$VARS$NL$rest
			;;
		end) ;;
		*) fail protocol "unknown directive: ${line%% *}" ;;
		esac
	done
	[ $COMMANDS -eq 0 ] || [ -n "$said" ] || fail protocol 'a command without a text'
	add_step_lines
	! is_much '' $weight || stay_alive
	COUNT=$step
	[ -n "$ROOT" ] && [ -n "$KEEP" ] && [ -n "$LINEAGE" ] && [ $COUNT -ge 1 ] || fail protocol 'the header is incomplete'
}

# add_step_lines: adds the gathered lines to those of the step; see read_manifests.
add_step_lines() {
	[ -z "$gathered" ] || eval "S_$step=\$S_$step\$gathered"
	gathered='' lines=0
}

# Rule 15. A command is a check or a hook, and the lines of its text: CT_n, and CN_n CX_n CL_n CR_n CI_n or CF_n.
check_command() {
	[ $step -ge 1 ] || fail protocol "no step before: ${line%% *}"
	is_text "$rest" || fail protocol "malformed: ${line%% *}"
	case $line in
	'sh '*)
		[ $COMMANDS -ge 1 ] || fail protocol 'a text without a command'
		if [ -n "$said" ]; then rest=$NL$rest; fi
		eval "CT_$COMMANDS=\$CT_$COMMANDS\$rest" said=1
		return
		;;
	esac
	[ $COMMANDS -eq 0 ] || [ -n "$said" ] || fail protocol 'a command without a text'
	COMMANDS=$((COMMANDS + 1)) said=''
	eval "CT_$COMMANDS="
	IFS=' '
	set -- $rest
	IFS=$NL
	case $line in
	'check '*)
		[ $# -ge 6 ] && is_number "$2" && is_limit "$3" && is_number "$4" && is_number "$5" ||
			fail protocol "malformed: $line"
		eval "CN_$COMMANDS=\${rest#* * * * * } CX_$COMMANDS=\$2 CL_$COMMANDS=\$3 CR_$COMMANDS=\$4 CI_$COMMANDS=\$5"
		case $1 in
		staged) eval "CS_$step=\$CS_$step\$NL\$COMMANDS" ;;
		switched) eval "CW_$step=\$CW_$step\$NL\$COMMANDS" ;;
		*) fail protocol "malformed: $line" ;;
		esac
		;;
	'hook '*)
		[ $# -eq 3 ] && is_limit "$2" || fail protocol "malformed: $line"
		case $3 in rollback | keep) ;; *) fail protocol "malformed: $line" ;; esac
		eval "CL_$COMMANDS=\$2 CF_$COMMANDS=\$3"
		case $1 in
		before) eval "HB_$step=\$COMMANDS" ;;
		after) eval "HA_$step=\$COMMANDS" ;;
		always) eval "HZ_$step=\$COMMANDS" ;;
		*) fail protocol "malformed: $line" ;;
		esac
		;;
	esac
}

is_limit() { is_number "$1" && [ "$1" -ge 1 ] && [ ${#1} -le 9 ]; }

check_line() {
	[ $step -ge 1 ] || fail protocol "no step before: $line"
	IFS=' '
	set -- $rest
	IFS=$NL
	case $line in
	'base '*)
		is_name "$rest" && [ -z "$base$patched" ] || fail protocol "malformed: $line"
		base=1
		;;
	'patch '*)
		[ $# -eq 3 ] && is_token "$1" && is_number "$2" && is_number "$3" || fail protocol "malformed: $line"
		patched=$3
		;;
	'file '*)
		case $1:${base:-0}:${patched:+1} in
		sent:0: | held:0: | kept:?: | patched:?:1) ;;
		*) fail protocol "malformed: $line" ;;
		esac
		is_number "$2" && is_digest "$3" && is_name "${rest#* * * }" || fail protocol "malformed: $line"
		[ -z "$patched" ] || [ "$patched" = "$2" ] || fail protocol "malformed: $line"
		base='' patched='' weight=$((weight + $2))
		;;
	'into '*)
		case $1 in rename | copy | link) ;; *) fail protocol "malformed: $line" ;; esac
		case $4 in - | [0-7][0-7][0-7] | [0-7][0-7][0-7][0-7]) ;; *) fail protocol "malformed: $line" ;; esac
		case $5 in restore | none) ;; *) fail protocol "malformed: $line" ;; esac
		is_account "$2" && is_account "$3" && is_folder "${rest#* * * * * }" || fail protocol "malformed: $line"
		target=1
		;;
	'name '*) is_name "$rest" && [ -n "$target" ] || fail protocol "malformed: $line" ;;
	'old '*) case $rest in '' | */* | *\\*) fail protocol "malformed: $line" ;; esac ;;
	'watch '*) is_folder "$rest" || fail protocol "malformed: $line" ;;
	esac
}

# Sets M_n to what is to be done: ok, stale, go (all of it), layout (targets only) or failed (Q_n says why); where the
# purpose is to stage also staged, where it is to check also check.
judge() {
	at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "version=\$V_$at digest=\$D_$at layout=\$L_$at from=\$FV_$at from_digest=\$FD_$at"
		eval "to=\$TV_$at to_digest=\$TD_$at to_layout=\$TL_$at"
		[ $PURPOSE != stage ] || to_layout=$layout
		if [ $PURPOSE = check ]; then
			verdict=stale
			if [ "$version" = "$to" ] && [ "$digest" = "$to_digest" ]; then verdict=check; fi
		elif [ "$version" = "$to" ] && [ "$digest" = "$to_digest" ] && [ "$layout" = "$to_layout" ]; then
			verdict=ok
		elif [ "${version:--}" != "$from" ] || [ "${digest:--}" != "$from_digest" ]; then
			verdict=stale
		elif [ $PURPOSE = stage ] && [ "$version" = "$to" ]; then
			fails $at damaged "version $to is in force and damaged: it can't be sent early"
			continue
		elif [ $PURPOSE = stage ] && lies_ready $at; then
			verdict=staged
		elif [ "$version" = "$to" ] && [ "$digest" = "$to_digest" ]; then
			verdict=layout
		else
			verdict=go
		fi
		eval "M_$at=\$verdict"
	done
}

# lies_ready N: says whether the version TO of a step lies there whole, as far as its manifest knows.
lies_ready() {
	eval "component=\$C_$1 this=\$TV_$1 digest=\$TD_$1"
	manifest=$STATE/manifests/$component@$this paths='' stamped='' entries_due=0
	[ -s "$manifest" ] && [ ! -L "$manifest" ] && [ ! -L "$R/$component" ] && [ ! -L "$R/$component/$this" ] &&
		cd "$R" || return 1
	manifest=$(cat -- "$manifest")
	case $manifest in "manifest $component $this $digest "*"${NL}end") ;; *) return 1 ;; esac
	for line in $manifest; do
		case $line in 'f '*) ;; *) continue ;; esac
		paths=$paths$NL${line#*\|*\|} stamped=$stamped$NL${line#? * * } entries_due=$((entries_due + 1))
	done
	has_only $entries_due "$R/$component/$this" || return 1
	if [ -z "$STAT" ]; then
		expect $1
		[ "$(batch "$paths" sha256sum -- 2>/dev/null)" = "${expected#"$NL"}" ]
		return
	fi
	[ "$(batch "$paths" stat -c "$STAMP" -- 2>/dev/null)" = "${stamped#"$NL"}" ]
}

# fails N CODE TEXT: gives a step up, for a reason.
fails() {
	eval "M_$1=failed B_$1=\$2 Q_$1=\$3"
}

# Rule 5. Adds up what each step writes, on the file system of install_root and on those of its target folders; a
# target with the method rename must be on the file system of install_root, or the rename would be a copy.
check_room() {
	folders=$NEAREST
	at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at lines=\$S_$at"
		case $verdict in go | layout) ;; *) continue ;; esac
		for line in $lines; do
			case $line in 'into '*) ;; *) continue ;; esac
			folder=${line#into * * * * * }
			if [ ! -d "$folder" ]; then
				fails $at unwritable "the target folder $folder is not there"
			else
				case $NL$folders$NL in *"$NL$folder$NL"*) ;; *) folders=$folders$NL$folder ;; esac
			fi
		done
	done
	table=$(batch "$folders" df -Pk --) || fail disk "df doesn't know the room of $folders"
	mounts='' at=0
	for line in $table; do
		case $line in Filesystem* | 'Filesystem '*) continue ;; esac
		IFS=' '
		set -- $line
		IFS=$NL
		shift 3
		free=$1
		shift 2
		mounts="$mounts$NL$free $*"
	done
	HOME_MOUNT=''
	set -- $mounts
	for folder in $folders; do
		[ -n "$HOME_MOUNT" ] || HOME_MOUNT=${1#* }
		mount_of="$mount_of$NL${1#* }|$folder" room_of="$room_of$NL${1%% *} $folder"
		shift
	done
	need=0 largest=0
	at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at lines=\$S_$at"
		case $verdict in go | layout) ;; *) continue ;; esac
		sizes='' method='' away=''
		for line in $lines; do
			rest=${line#* }
			case $line in
			'patch '*)
				size=${rest#* }
				size=$(((${size%% *} + 4095) / 4096 * 4))
				[ $size -le $largest ] || largest=$size
				;;
			'file '*)
				size=${rest#* }
				size=${size%% *}
				sizes="$sizes$NL$size ${rest#* * * }"
				case $line in 'file held '*) continue ;; esac
				[ $verdict = layout ] || need=$((need + (size + 4095) / 4096 * 4))
				;;
			'into '*)
				method=${rest%% *} folder=${rest#* * * * * } away=''
				set -- $sizes
				case "$mount_of$NL" in *"$NL$HOME_MOUNT|$folder$NL"*) ;; *) away=1 ;; esac
				if [ -n "$away" ] && [ "$method" = rename ]; then
					fails $at unwritable "$folder is on another file system than install_root: use \`method: copy\`"
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
				[ -z "$away" ] || [ $room_there -ge 0 ] || fails $at disk "not enough disk in $folder"
				;;
			esac
		done
	done
	set -- $mounts
	free=${1%% *} need=$((need + largest)) # one patch is there at a time
	[ $need -le "$free" ] || refuse_all "not enough disk: $need KiB are needed and $free are free"
}

refuse_all() {
	at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at"
		case $verdict in go | layout) fails $at disk "$1" ;; esac
	done
}
