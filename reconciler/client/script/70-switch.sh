# --- switching ------------------------------------------------------------------------------------------------------
# `current` moves, then the targets follow; or all goes back.

# Rules 7 and 8. switch N: moves `current` and then the targets of one step; undoes both if something fails.
switch() {
	local verdict component version from lines before followed undo_base link kept_manifest
	eval "verdict=\$VERDICT_$1 component=\$COMPONENT_$1 version=\$TO_VERSION_$1 from=\$VERSION_$1"
	eval "lines=\$LINES_$1 before=\$TARGETS_$1 followed=\$SWITCHED_CHECKS_$1\$AFTER_HOOK_$1"
	UNDO_LINES='' undo_base=$UNDO_COUNT
	link=$ROOT/$component/current
	if [ "$verdict" = layout ] && [ -n "$followed" ]; then
		kept_manifest=$STATE/manifests/$component@$version
		ln -- "$kept_manifest" "$STAGE/manifest.$1" 2>/dev/null || cp -- "$kept_manifest" "$STAGE/manifest.$1" || {
			fail_step $1 unwritable "$STAGE can't be written"
			return
		}
	fi
	if [ "$verdict" = go ] && [ "$from" != "$version" ]; then
		[ ! -d "$link" ] || [ -L "$link" ] || clear_away "$link" || {
			fail_step $1 unwritable "$link can't be replaced"
			return
		}
		# Where there is nothing yet, making the link is atomic by itself.
		if [ -L "$link" ] || ! ln -s "$version" "$link" 2>/dev/null; then
			ln -s "$version" "$STAGE/current" && mv -fT "$STAGE/current" "$link" || {
				fail_step $1 unwritable "$link can't be written"
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
			fail_step $1 unwritable "$TROUBLE"
			return
		fi
		write_manifest $1
		WRITTEN=$WRITTEN$PLACED
	fi
	eval "VERDICT_$1=changed UNDO_LINES_$1=\$UNDO_LINES"
	[ -n "$followed" ] || UNDO_COUNT=$undo_base # nothing can ask for it any more
}

# put_back N: after the targets of a step went back, `current` and the manifest follow.
put_back() {
	local component version from
	eval "component=\$COMPONENT_$1 version=\$TO_VERSION_$1 from=\$VERSION_$1"
	if [ "$from" = "$version" ]; then
		[ ! -e "$STAGE/manifest.$1" ] || mv -fT "$STAGE/manifest.$1" "$STATE/manifests/$component@$version"
		return
	fi
	if [ -n "$from" ] && [ "$from" != unknown ]; then
		ln -s "$from" "$STAGE/back" && mv -fT "$STAGE/back" "$ROOT/$component/current"
	else
		rm -f -- "$ROOT/$component/current"
	fi
	withdraw $1
}

# go_back N CODE WHY: takes a switch back that was carried out whole. What was damaged before can't be had back.
go_back() {
	local component version from
	eval "component=\$COMPONENT_$1 version=\$TO_VERSION_$1 from=\$VERSION_$1 UNDO_LINES=\$UNDO_LINES_$1"
	if [ "$from" = "$version" ] && [ ! -e "$STAGE/manifest.$1" ]; then
		eval "DIGEST_$1="
		fail_step $1 $2 "$3; it stays, because what was there before was damaged"
		return 1
	fi
	undo_targets
	put_back $1
	make_durable "$ROOT/$component$NL$STATE/manifests$TOUCHED"
	case $from in
	'' | unknown) fail_step $1 $2 "$3; it is removed again" ;;
	*) fail_step $1 $2 "$3; it is back at $from" ;;
	esac
}

# read_target LINE: sets what the line of a target says, in TARGET_….
read_target() {
	TARGET_FOLDER=${1#into * * * * * }
	IFS=' '
	set -- $1
	IFS=$NL
	TARGET_METHOD=$2 TARGET_OWNER=$3 TARGET_GROUP=$4 TARGET_MODE=$5 TARGET_LABEL=$6
}

# Rule 22. enter FOLDER: goes to a target folder for good: names are relative from then on, and whoever puts something
# else in its place doesn't lead us there. Nobody but root and us may be able to do that at all; the folder itself can
# be another's, if we write no further into files that are there. Sets ENTERED, or TROUBLE.
enter() {
	[ "$1" != "$ENTERED" ] || return 0
	ENTERED=''
	cd -P "$1" 2>/dev/null || { TROUBLE="the target folder $1 can't be entered" && return 1; }
	is_settled "$1" || { TROUBLE=$INSECURE && return 1; }
	ENTERED=$1
}

# is_settled PATH: says whether only root and we decide where a path leads, over all links on its way.
is_settled() {
	local on_the_way link leads
	ancestors "$1"
	on_the_way=$ANCESTORS
	if ! check_owners "$ANCESTORS" "$1"; then
		[ "$TARGET_METHOD" != copy ] || return 1
		ancestors "${1%/*}"
		check_owners "$ANCESTORS" "${1%/*}" || return 1
	fi
	for link in $on_the_way; do
		[ -L "$link" ] && leads=$(readlink "$link") || continue
		case $leads in /*) ;; *) leads=${link%/*}/$leads ;; esac
		(
			[ "$link" = "$1" ] || TARGET_METHOD=copy # what is passed through must be ours
			is_settled "$leads"
		) || { INSECURE="$link leads to where others can write" && return 1; }
	done
}

# Makes the files of all targets ready in STAGE, so that they come to the disk with all the rest. A step whose files
# can't be had, or whose folders aren't as they should be, isn't switched.
make_ready() {
	local step verdict component version from lines line rest count
	step=0
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "verdict=\$VERDICT_$step component=\$COMPONENT_$step version=\$TO_VERSION_$step"
		eval "from=\$VERSION_$step lines=\$LINES_$step"
		case $verdict in go | layout) ;; *) continue ;; esac
		TROUBLE='' ENTERED='' count=0
		for line in $lines; do
			rest=${line#* }
			case $line in
			'into '*)
				read_target "$line"
				enter "$TARGET_FOLDER" || break
				;;
			'name '*)
				[ "$TARGET_METHOD" != link ] || continue
				count=$((count + 1))
				make_one "$ROOT/$component/$version/$rest" "$STAGE/ready.$step.$count" || break
				DURABLE=$DURABLE$NL$STAGE/ready.$step.$count
				;;
			esac
		done
		[ -n "$TROUBLE" ] || continue
		fail_step $step unwritable "$TROUBLE"
		[ "$version" = "$from" ] || withdraw $step
	done
}

# make_one FILE READY: makes a copy that is as its target asks for.
make_one() {
	cp -- "$1" "$2" 2>/dev/null && chmod u+w "$2" || {
		TROUBLE="$STAGE can't be written"
		return 1
	}
	dress "$2" 0644
}

# place_targets N: carries all targets of a step out, until TROUBLE; sets TARGET_STAMPS_n to their stamps, PLACED to
# their paths, and FOLDERS to where these are.
place_targets() {
	local component lines line rest labels count stamps
	eval "component=\$COMPONENT_$1 lines=\$LINES_$1"
	PLACED='' FOLDERS='' labels='' TARGET_METHOD='' TARGET_FOLDER='' ENTERED='' count=0
	for line in $lines; do
		rest=${line#* }
		case $line in
		'into '*)
			read_target "$line"
			enter "$TARGET_FOLDER" || return
			FOLDERS=$FOLDERS$NL$TARGET_FOLDER
			;;
		'name '*)
			[ "$TARGET_METHOD" = link ] || count=$((count + 1))
			place_one "$rest" "$STAGE/ready.$1.$count" "$component" || return
			PLACED=$PLACED$NL$TARGET_FOLDER/$rest
			[ "$TARGET_LABEL" != restore ] || [ "$TARGET_METHOD" = link ] || labels=$labels$NL$TARGET_FOLDER/$rest
			;;
		esac
	done
	remove_replaced $1 || return
	[ -z "$labels" ] || ! command -v restorecon >/dev/null 2>&1 || batch "$labels" restorecon -- 2>/dev/null
	stamps=''
	[ -z "$HAS_STAT" ] || [ -z "$PLACED" ] || stamps=$(batch "$PLACED" stat -c "$STAMP_FORMAT" -- 2>/dev/null)
	eval "TARGET_STAMPS_$1=\$stamps"
}

# place_one NAME READY COMPONENT: puts one target in its place, in the folder that was entered.
place_one() {
	if [ -d "./$1" ] && [ ! -L "./$1" ]; then TROUBLE="$TARGET_FOLDER/$1 is a folder" && return 1; fi
	remember "$1" || return 1
	if [ "$TARGET_METHOD" = link ]; then
		ln -s "$ROOT/$3/current/$1" "$STAGE/link" && mv -fT "$STAGE/link" "./$1" 2>/dev/null && return 0
		rm -f -- "$STAGE/link"
	elif [ "$TARGET_METHOD" = copy ] && [ -e "./$1" ]; then
		if [ -L "./$1" ] || [ ! -f "./$1" ]; then TROUBLE="$TARGET_FOLDER/$1 is no plain file" && return 1; fi
		cat -- "$2" 2>/dev/null >"./$1" && dress "./$1" '' && return 0
	else
		mv -fT "$2" "./$1" 2>/dev/null && return 0
	fi
	TROUBLE=${TROUBLE:-"$TARGET_FOLDER/$1 can't be written"}
	return 1
}

# dress FILE MODE: gives it the owner, group and mode that the target asks for; MODE is for targets that ask for none.
dress() {
	local who
	who=''
	[ "$TARGET_OWNER" = - ] || who=$TARGET_OWNER
	[ "$TARGET_GROUP" = - ] || who=$who:$TARGET_GROUP
	if [ -n "$who" ] && ! chown -h "$who" "$1" 2>/dev/null; then
		TROUBLE="no owner $who can be given to $TARGET_FOLDER"
		return 1
	fi
	[ "$TARGET_MODE" = - ] || set -- "$1" "$TARGET_MODE"
	[ -z "$2" ] || chmod "$2" "$1" 2>/dev/null || { TROUBLE="no mode $2 can be given to $1" && return 1; }
}

# remember NAME: keeps what is in the folder that was entered, so that it can be put back. A hard link will do unless it
# is written into.
remember() {
	UNDO_COUNT=$((UNDO_COUNT + 1))
	if [ -e "./$1" ] || [ -L "./$1" ]; then
		if [ "$TARGET_METHOD" = copy ] || ! ln -- "./$1" "$STAGE/undo.$UNDO_COUNT" 2>/dev/null; then
			cp -a -- "./$1" "$STAGE/undo.$UNDO_COUNT" 2>/dev/null || {
				TROUBLE="$ENTERED/$1 can't be kept for an undo"
				return 1
			}
		fi
		UNDO_LINES="$UNDO_LINES$NL$TARGET_METHOD $UNDO_COUNT $ENTERED/$1"
	else
		UNDO_LINES="$UNDO_LINES${NL}none $UNDO_COUNT $ENTERED/$1"
	fi
}

# Puts back what was remembered, and adds what a power cut could take of that to TOUCHED.
undo_targets() {
	local line was_at number name
	ENTERED=''
	for line in $UNDO_LINES; do
		was_at=${line#* * } number=${line#* } TARGET_METHOD=${line%% *}
		number=${number%% *} name=./${was_at##*/}
		enter "${was_at%/*}" || continue
		TOUCHED=$TOUCHED$NL$ENTERED
		case $TARGET_METHOD in
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

# remove_replaced N: removes what `replaces` names in the target folders, and what an earlier version put there and this
# one doesn't.
remove_replaced() {
	local lines before gone folders path line pattern folder name old
	eval "lines=\$LINES_$1 before=\$TARGETS_$1"
	gone='' folders='' TARGET_METHOD=rename
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
		FOLDERS=$FOLDERS$NL$ENTERED
		remember "$name" && rm -f -- "./$name" || { TROUBLE=${TROUBLE:-"$old can't be removed"} && return 1; }
	done
}

# Rule 10. prune N: keeps the version in force and those before it, KEEP in all, along the manifests.
prune() {
	local component kept version left word name this digest rest manifest
	eval "component=\$COMPONENT_$1 kept=\$NL\$TO_VERSION_$1\$NL version=\$TO_VERSION_$1"
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
		is_version "$version" && [ ! -L "$ROOT/$component/$version" ] || continue
		SPARE="$SPARE$NL$ROOT/$component/$version" SPARE_MANIFESTS=$SPARE_MANIFESTS$NL$manifest
	done
}
