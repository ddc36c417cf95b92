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
		TOUCHED=$TOUCHED$FOLDERS
		if [ -n "$TROUBLE" ]; then
			undo_targets
			put_back $1
			fails $1 unwritable "$TROUBLE"
			return
		fi
		write_manifest $1
		WRITTEN=$WRITTEN$PLACED
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
	make_durable "$R/$component$NL$STATE/manifests$TOUCHED"
	case $from in
	'' | unknown) fails $1 $2 "$3; it is removed again" ;;
	*) fails $1 $2 "$3; it is back at $from" ;;
	esac
}

# read_target LINE: sets what the line of a target says.
read_target() {
	folder=${1#into * * * * * }
	IFS=' '
	set -- $1
	IFS=$NL
	method=$2 owner=$3 group=$4 mode=$5 label=$6
}

# Rule 22. enter FOLDER: goes to a target folder for good: names are relative from then on, and whoever puts something
# else in its place doesn't lead us there. Nobody but root and us may be able to do that at all; the folder itself can be
# another's, if we write no further into files that are there. Sets TROUBLE.
enter() {
	[ "$1" != "${entered:-}" ] || return 0
	entered=''
	cd -P "$1" 2>/dev/null || { TROUBLE="the target folder $1 can't be entered" && return 1; }
	is_settled "$1" || { TROUBLE=$INSECURE && return 1; }
	entered=$1
}

# is_settled PATH: says whether only root and we decide where a path leads, over all links on its way.
is_settled() {
	ancestors "$1"
	on_the_way=$ANCESTORS
	if ! check_owners "$ANCESTORS" "$1"; then
		[ "$method" != copy ] || return 1
		ancestors "${1%/*}"
		check_owners "$ANCESTORS" "${1%/*}" || return 1
	fi
	for link in $on_the_way; do
		[ -L "$link" ] && leads=$(readlink "$link") || continue
		case $leads in /*) ;; *) leads=${link%/*}/$leads ;; esac
		(
			[ "$link" = "$1" ] || method=copy # what is passed through must be ours
			is_settled "$leads"
		) || { INSECURE="$link leads to where others can write" && return 1; }
	done
}

# Makes the files of all targets ready in STAGE, so that they come to the disk with all the rest. A step whose files
# can't be had, or whose folders aren't as they should be, isn't switched.
make_ready() {
	at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at component=\$C_$at version=\$TV_$at from=\$V_$at lines=\$S_$at"
		case $verdict in go | layout) ;; *) continue ;; esac
		TROUBLE='' entered='' made=0
		for line in $lines; do
			rest=${line#* }
			case $line in
			'into '*)
				read_target "$line"
				enter "$folder" || break
				;;
			'name '*)
				[ "$method" != link ] || continue
				made=$((made + 1))
				make_one "$STAGE/ready.$at.$made" || break
				durable=$durable$NL$STAGE/ready.$at.$made
				;;
			esac
		done
		[ -n "$TROUBLE" ] || continue
		fails $at unwritable "$TROUBLE"
		[ "$version" = "$from" ] || withdraw $at
	done
}

make_one() {
	cp -- "$R/$component/$version/$rest" "$1" 2>/dev/null && chmod u+w "$1" || {
		TROUBLE="$STAGE can't be written"
		return 1
	}
	dress "$1" 0644
}

# place_targets N: carries all targets of a step out, until TROUBLE; sets I_n to their stamps, and FOLDERS to where.
place_targets() {
	PLACED='' FOLDERS='' labels='' method='' folder='' entered='' made=0
	for line in $lines; do
		rest=${line#* }
		case $line in
		'into '*)
			read_target "$line"
			enter "$folder" || return
			FOLDERS=$FOLDERS$NL$folder
			;;
		'name '*)
			[ "$method" = link ] || made=$((made + 1))
			place_one "$rest" "$STAGE/ready.$1.$made" || return
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

# place_one NAME READY: puts one target in its place, in the folder that was entered.
place_one() {
	if [ -d "./$1" ] && [ ! -L "./$1" ]; then TROUBLE="$folder/$1 is a folder" && return 1; fi
	remember "$1" || return 1
	if [ "$method" = link ]; then
		ln -s "$R/$component/current/$1" "$STAGE/link" && mv -fT "$STAGE/link" "./$1" 2>/dev/null && return 0
		rm -f -- "$STAGE/link"
	elif [ "$method" = copy ] && [ -e "./$1" ]; then
		if [ -L "./$1" ] || [ ! -f "./$1" ]; then TROUBLE="$folder/$1 is no plain file" && return 1; fi
		cat -- "$2" 2>/dev/null >"./$1" && dress "./$1" '' && return 0
	else
		mv -fT "$2" "./$1" 2>/dev/null && return 0
	fi
	TROUBLE=${TROUBLE:-"$folder/$1 can't be written"}
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

# remember NAME: keeps what is in the folder that was entered, so that it can be put back. A hard link will do unless it
# is written into.
remember() {
	UNDONE=$((UNDONE + 1))
	if [ -e "./$1" ] || [ -L "./$1" ]; then
		if [ "$method" = copy ] || ! ln -- "./$1" "$STAGE/undo.$UNDONE" 2>/dev/null; then
			cp -a -- "./$1" "$STAGE/undo.$UNDONE" 2>/dev/null || {
				TROUBLE="$entered/$1 can't be kept for an undo"
				return 1
			}
		fi
		UNDO="$UNDO$NL$method $UNDONE $entered/$1"
	else
		UNDO="$UNDO${NL}none $UNDONE $entered/$1"
	fi
}

# Puts back what was remembered, and adds what a power cut could take of that to TOUCHED.
undo_targets() {
	entered=''
	for line in $UNDO; do
		was_at=${line#* * } number=${line#* } method=${line%% *}
		number=${number%% *} name=./${was_at##*/}
		enter "${was_at%/*}" || continue
		TOUCHED=$TOUCHED$NL$entered
		case $method in
		none) rm -f -- "$name" ;;
		copy)
			if [ -f "$name" ]; then cat -- "$STAGE/undo.$number" >"$name"; else mv -fT "$STAGE/undo.$number" "$name"; fi
			TOUCHED=$TOUCHED$NL$was_at
			;;
		# rename(2) does nothing when both names are one file, and then the undo's name stays: it goes with STAGE
		*) mv -fT "$STAGE/undo.$number" "$name" 2>/dev/null ;;
		esac
	done
}

# Removes what `replaces` names in the target folders, and what an earlier version put there and this one doesn't.
remove_replaced() {
	gone='' folders='' method=rename
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
			enter "$folder" || return 1
			set +f
			set -- ./* ./.[!.]*
			set -f
			for name in "$@"; do
				# shellcheck disable=SC2254 # it is a pattern
				case ${name#./} in $pattern) ;; *) continue ;; esac
				is_text "$name" || continue # its lines would be other files
				case "$PLACED$NL" in *"$NL$folder/${name#./}$NL"*) continue ;; esac
				if [ -f "$name" ] || [ -L "$name" ]; then gone=$gone$NL$folder/${name#./}; fi
			done
		done
	done
	for old in $gone; do
		name=${old##*/}
		# A folder of an earlier version may be gone, or be nowhere to remove things by now.
		enter "${old%/*}" || { TROUBLE='' && continue; }
		[ -f "./$name" ] || [ -L "./$name" ] || continue
		FOLDERS=$FOLDERS$NL$entered
		remember "$name" && rm -f -- "./$name" || { TROUBLE=${TROUBLE:-"$old can't be removed"} && return 1; }
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
