# --- switching ------------------------------------------------------------------------------------------------------
# `current` moves, then the targets follow; or all goes back.

# Rules 7 and 8. Moves `current` and then the targets of one step; undoes both if something fails.
switch() {
	eval "verdict=\$M_$1 component=\$C_$1 version=\$TV_$1 from=\$V_$1 lines=\$S_$1 before=\$T_$1"
	eval "followed=\$CW_$1\$HA_$1"
	UNDO='' undo_base=$UNDONE
	link=$R/$component/current
	if [ "$verdict" = layout ] && [ -n "$followed" ]; then
		kept_manifest=$STATE/manifests/$component@$version
		ln -- "$kept_manifest" "$STAGE/manifest.$1" 2>/dev/null || cp -- "$kept_manifest" "$STAGE/manifest.$1" || {
			fails $1 unwritable "$STAGE can't be written"
			return
		}
	fi
	if [ "$verdict" = go ] && [ "$from" != "$version" ]; then
		[ ! -d "$link" ] || [ -L "$link" ] || clear_away "$link" || { fails $1 unwritable "$link can't be replaced"; return; }
		# Where there is nothing yet, making the link is atomic by itself.
		if [ -L "$link" ] || ! ln -s "$version" "$link" 2>/dev/null; then
			ln -s "$version" "$STAGE/current" && mv -fT "$STAGE/current" "$link" || {
				fails $1 unwritable "$link can't be written"
				return
			}
		fi
	fi
	if [ "$verdict" = layout ] || [ -n "$before" ] || case $lines in *"${NL}into "*) ;; *) false ;; esac; then
		TROUBLE=''
		place_targets $1
		if [ -n "$TROUBLE" ]; then
			undo_targets
			put_back $1
			fails $1 unwritable "$TROUBLE"
			return
		fi
		write_manifest $1
		make_durable "$PLACED$NL$STATE/manifests/$component@$version"
	fi
	eval "M_$1=changed O_$1=\$UNDO"
	[ -n "$followed" ] || UNDONE=$undo_base # nothing can ask for it any more
}

# put_back N: after the targets of a step went back, `current` and the manifest follow.
put_back() {
	eval "component=\$C_$1 version=\$TV_$1 from=\$V_$1"
	if [ "$from" = "$version" ]; then
		[ ! -e "$STAGE/manifest.$1" ] || mv -fT "$STAGE/manifest.$1" "$STATE/manifests/$component@$version"
		return
	fi
	if [ -n "$from" ] && [ "$from" != unknown ]; then
		ln -s "$from" "$STAGE/back" && mv -fT "$STAGE/back" "$R/$component/current"
	else
		rm -f -- "$R/$component/current"
	fi
	withdraw $1
}

# go_back N CODE WHY: takes a switch back that was carried out whole. What was damaged before can't be had back.
go_back() {
	eval "component=\$C_$1 version=\$TV_$1 from=\$V_$1 UNDO=\$O_$1"
	if [ "$from" = "$version" ] && [ ! -e "$STAGE/manifest.$1" ]; then
		eval "D_$1="
		fails $1 $2 "$3; it stays, because what was there before was damaged"
		return 1
	fi
	undo_targets
	put_back $1
	make_durable "$R/$component$NL$STATE/manifests"
	case $from in
	'' | unknown) fails $1 $2 "$3; it is removed again" ;;
	*) fails $1 $2 "$3; it is back at $from" ;;
	esac
}

# place_targets N: carries all targets of a step out, until TROUBLE; sets I_n to their stamps.
place_targets() {
	PLACED='' labels='' method='' folder='' at_file=0
	for line in $lines; do
		rest=${line#* }
		case $line in
		'into '*)
			IFS=' '
			set -- "$1" $rest
			IFS=$NL
			method=$2 owner=$3 group=$4 mode=$5 label=$6 folder=${rest#* * * * * }
			if [ "$method" = copy ]; then
				ancestors "$folder"
				check_owners "$folder" "$folder" || { TROUBLE="method copy: $INSECURE" && return; }
			fi
			;;
		'name '*)
			place_one "$folder/$rest" || return
			PLACED=$PLACED$NL$folder/$rest
			[ "$label" != restore ] || [ "$method" = link ] || labels=$labels$NL$folder/$rest
			;;
		esac
	done
	remove_replaced || return
	[ -z "$labels" ] || ! command -v restorecon >/dev/null 2>&1 || batch "$labels" restorecon -- 2>/dev/null
	placed=''
	[ -z "$STAT" ] || [ -z "$PLACED" ] || placed=$(batch "$PLACED" stat -c "$STAMP" -- 2>/dev/null)
	eval "I_$1=\$placed"
}

# place_one PATH: makes one target ready in STAGE and puts it in its place.
place_one() {
	ready=$STAGE/ready
	rm -f -- "$ready"
	if [ -d "$1" ] && [ ! -L "$1" ]; then TROUBLE="$1 is a folder" && return 1; fi
	if [ "$method" = link ]; then
		remember "$1" || return 1
		ln -s "$R/$component/current/${1##*/}" "$ready" && mv -fT "$ready" "$1" 2>/dev/null && return 0
		TROUBLE="$1 can't be written" && return 1
	fi
	cp -- "$R/$component/$version/${1##*/}" "$ready" && chmod u+w "$ready" || {
		TROUBLE="$STAGE can't be written"
		return 1
	}
	dress "$ready" 0644 || return 1
	remember "$1" || return 1
	if [ "$method" = copy ] && [ -e "$1" ]; then
		if [ -L "$1" ] || [ ! -f "$1" ]; then TROUBLE="$1 is no plain file" && return 1; fi
		cat -- "$ready" 2>/dev/null >"$1" && dress "$1" '' && return 0
	else
		mv -fT "$ready" "$1" 2>/dev/null && return 0
	fi
	TROUBLE=${TROUBLE:-"$1 can't be written"}
	return 1
}

# dress FILE MODE: gives it the owner, group and mode that the target asks for; MODE is for targets that ask for none.
dress() {
	who=''
	[ "$owner" = - ] || who=$owner
	[ "$group" = - ] || who=$who:$group
	if [ -n "$who" ] && ! chown -h "$who" "$1" 2>/dev/null; then
		TROUBLE="no owner $who can be given to $folder"
		return 1
	fi
	[ "$mode" = - ] || set -- "$1" "$mode"
	[ -z "$2" ] || chmod "$2" "$1" 2>/dev/null || { TROUBLE="no mode $2 can be given to $1" && return 1; }
}

# remember PATH: keeps what is at a path, so that it can be put back. A hard link will do unless it is written into.
remember() {
	UNDONE=$((UNDONE + 1))
	if [ -e "$1" ] || [ -L "$1" ]; then
		if [ "$method" = copy ] || ! ln -- "$1" "$STAGE/undo.$UNDONE" 2>/dev/null; then
			cp -a -- "$1" "$STAGE/undo.$UNDONE" 2>/dev/null || { TROUBLE="$1 can't be kept for an undo" && return 1; }
		fi
		UNDO="$UNDO$NL$method $UNDONE $1"
	else
		UNDO="$UNDO${NL}none $UNDONE $1"
	fi
}

undo_targets() {
	for line in $UNDO; do
		path=${line#* * } number=${line#* }
		number=${number%% *}
		case $line in
		none*) rm -f -- "$path" ;;
		copy*) if [ -f "$path" ]; then cat -- "$STAGE/undo.$number" >"$path"; else mv -fT "$STAGE/undo.$number" "$path"; fi ;;
		# rename(2) does nothing when both names are one file, and then the undo's name stays: it goes with STAGE
		*) mv -fT "$STAGE/undo.$number" "$path" 2>/dev/null ;;
		esac
	done
}

# Removes what `replaces` names in the target folders, and what an earlier version put there and this one doesn't.
remove_replaced() {
	gone='' folders=''
	set -- $PLACED
	for path in $before; do # most often they are the same, in the same order
		if [ "${1:-}" = "$path" ]; then
			shift
			continue
		fi
		case "$PLACED$NL" in *"$NL$path$NL"*) ;; *) gone=$gone$NL$path ;; esac
	done
	for line in $lines; do
		case $line in 'into '*) folders=$folders$NL${line#into * * * * * } ;; esac
	done
	for line in $lines; do
		case $line in 'old '*) pattern=${line#old } ;; *) continue ;; esac
		for folder in $folders; do
			set +f
			set -- "$folder"/* "$folder"/.[!.]*
			set -f
			for path in "$@"; do
				# shellcheck disable=SC2254 # it is a pattern
				case ${path##*/} in $pattern) ;; *) continue ;; esac
				is_text "$path" || continue # its lines would be other files
				case "$PLACED$NL" in *"$NL$path$NL"*) continue ;; esac
				if [ -f "$path" ] || [ -L "$path" ]; then gone=$gone$NL$path; fi
			done
		done
	done
	method=rename
	for path in $gone; do
		[ -f "$path" ] || [ -L "$path" ] || continue
		remember "$path" && rm -f -- "$path" || { TROUBLE=${TROUBLE:-"$path can't be removed"} && return 1; }
	done
}

# Rule 10. Keeps the version in force and those before it, KEEP in all, along the manifests.
prune() {
	eval "component=\$C_$1 kept=\$NL\$TV_$1\$NL version=\$TV_$1"
	left=$KEEP
	while [ "$left" -gt 1 ] && [ -f "$STATE/manifests/$component@$version" ]; do
		IFS=' '
		read -r word name this digest version rest <"$STATE/manifests/$component@$version"
		IFS=$NL
		case $kept in *"$NL$version$NL"*) break ;; esac
		kept=$kept$version$NL left=$((left - 1))
	done
	set +f
	set -- "$STATE/manifests/$component@"*
	set -f
	for manifest in "$@"; do
		version=${manifest##*@}
		case $kept in *"$NL$version$NL"*) continue ;; esac
		is_version "$version" && [ ! -L "$R/$component/$version" ] || continue
		SPARE="$SPARE$NL$R/$component/$version" SPARE_MANIFESTS=$SPARE_MANIFESTS$NL$manifest
	done
}
