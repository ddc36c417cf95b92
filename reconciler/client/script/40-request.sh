# --- what is asked --------------------------------------------------------------------------------------------------
# What is asked: the header of a deploy request, and what is to be done about each step.

# Reads the header into C_n X_n ("FROM FROM-DIGEST TO TO-DIGEST LAYOUT") and the lines S_n of each step. Rule 3.
read_steps() {
	COMPONENTS='' step=0 target='' base='' patched=''
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
			step=$((step + 1)) target='' base='' patched='' COMPONENTS=$COMPONENTS$NL$1
			eval "C_$step=\$1 S_$step= FV_$step=\$2 FD_$step=\$3 TV_$step=\$4 TD_$step=\$5 TL_$step=\$6 M_$step= Q_$step="
			;;
		'base '* | 'patch '* | 'file '* | 'into '* | 'name '* | 'old '* | 'watch '*)
			check_line
			eval "S_$step=\$S_$step\$NL\$line"
			;;
		end) ;;
		*) fail protocol "unknown directive: ${line%% *}" ;;
		esac
	done
	COUNT=$step
	[ -n "$ROOT" ] && [ -n "$KEEP" ] && [ -n "$LINEAGE" ] && [ $COUNT -ge 1 ] || fail protocol 'the header is incomplete'
}

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
		sent:0: | kept:?: | patched:?:1) ;;
		*) fail protocol "malformed: $line" ;;
		esac
		is_number "$2" && is_digest "$3" && is_name "${rest#* * * }" || fail protocol "malformed: $line"
		[ -z "$patched" ] || [ "$patched" = "$2" ] || fail protocol "malformed: $line"
		base='' patched=''
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

# Sets M_n to what is to be done: ok, stale, go (all of it), layout (targets only) or failed (Q_n says why).
judge() {
	at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "version=\$V_$at digest=\$D_$at layout=\$L_$at from=\$FV_$at from_digest=\$FD_$at"
		eval "to=\$TV_$at to_digest=\$TD_$at to_layout=\$TL_$at"
		if [ "$version" = "$to" ] && [ "$digest" = "$to_digest" ] && [ "$layout" = "$to_layout" ]; then
			verdict=ok
		elif [ "${version:--}" != "$from" ] || [ "${digest:--}" != "$from_digest" ]; then
			verdict=stale
		elif [ "$version" = "$to" ] && [ "$digest" = "$to_digest" ]; then
			verdict=layout
		else
			verdict=go
		fi
		eval "M_$at=\$verdict"
	done
}

# fails N TEXT: gives a step up, for a reason.
fails() {
	eval "M_$1=failed Q_$1=\$2"
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
				fails $at "the target folder $folder is not there"
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
				[ $verdict = layout ] || need=$((need + (size + 4095) / 4096 * 4))
				;;
			'into '*)
				method=${rest%% *} folder=${rest#* * * * * } away=''
				case "$mount_of$NL" in *"$NL$HOME_MOUNT|$folder$NL"*) ;; *) away=1 ;; esac
				if [ -n "$away" ] && [ "$method" = rename ]; then
					fails $at "$folder is on another file system than install_root: use \`method: copy\`"
				fi
				room_there=0
				for known in $room_of; do [ "${known#* }" != "$folder" ] || room_there=${known%% *}; done
				;;
			'name '*)
				[ "$method" != link ] || continue
				for known in $sizes; do
					[ "${known#* }" = "$rest" ] || continue
					size=$(((${known%% *} + 4095) / 4096 * 4))
					need=$((need + size)) room_there=$((room_there - size))
				done
				[ -z "$away" ] || [ $room_there -ge 0 ] || fails $at "not enough disk in $folder"
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
		case $verdict in go | layout) fails $at "$1" ;; esac
	done
}
