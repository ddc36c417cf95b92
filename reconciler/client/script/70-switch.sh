# --- switching ------------------------------------------------------------------------------------------------------
# `current` moves, then the targets follow; or all goes back.

# Moves `current` of all steps, and then the targets of all, as far as both can be done at once; `switch` sees to each
# step after that.
switch_at_once() {
	local step verdict component version from link moves
	step=0 moves='' SETTLED='' ENTERED='' LEFT=''
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "verdict=\$VERDICT_$step component=\$COMPONENT_$step version=\$TO_VERSION_$step from=\$VERSION_$step"
		eval "UNDO_LINES_$step= PUT_$step="
		case $verdict in go | layout) [ $COMMAND_COUNT -eq 0 ] || BEGUN=1 ;; esac
		[ "$verdict" = go ] && [ "$from" != "$version" ] || continue
		link=$ROOT/$component/current
		if [ -L "$link" ]; then
			moves="$moves${NL}link$NL$version$NL$STAGE/current.$step${NL}move$NL$STAGE/current.$step$NL$link"
		elif [ ! -e "$link" ]; then
			# Where there is nothing yet, making the link is atomic by itself.
			moves="$moves${NL}link$NL$version$NL$link"
		fi
	done
	[ -z "$moves" ] || act "$moves"
	put_at_once
}

# Rules 7 and 8. switch N: moves `current` and then the targets of one step; undoes both if something fails.
switch() {
	local verdict component version from followed undo_base link kept_manifest
	eval "verdict=\$VERDICT_$1 component=\$COMPONENT_$1 version=\$TO_VERSION_$1 from=\$VERSION_$1"
	eval "followed=\$SWITCHED_CHECKS_$1\$AFTER_HOOK_$1 UNDO_LINES=\$UNDO_LINES_$1"
	undo_base=$UNDO_COUNT
	link=$ROOT/$component/current
	TROUBLE=''
	if [ "$verdict" = layout ] && [ -n "$followed" ]; then
		kept_manifest=$STATE/manifests/$component@$version
		ln -- "$kept_manifest" "$STAGE/manifest.$1" 2>/dev/null || cp -- "$kept_manifest" "$STAGE/manifest.$1" ||
			TROUBLE="$STAGE can't be written"
	elif [ "$verdict" = layout ] || [ "$from" = "$version" ] || leads_to "$component" "$version"; then
		:
	elif [ -d "$link" ] && [ ! -L "$link" ] && ! clear_away "$link"; then
		TROUBLE="$link can't be replaced"
	elif [ -L "$link" ] || ! ln -s "$version" "$link" 2>/dev/null; then
		ln -s "$version" "$STAGE/current" && mv -fT "$STAGE/current" "$link" || TROUBLE="$link can't be written"
	fi
	if [ -n "$TROUBLE" ]; then
		undo_targets
		fail_step $1 unwritable "$TROUBLE"
		return
	fi
	if has_targets $1; then
		place_targets $1
		TOUCHED=$TOUCHED$FOLDERS
		if [ -n "$TROUBLE" ]; then
			undo_targets
			put_back $1
			fail_step $1 unwritable "$TROUBLE"
			return
		fi
		WRITTEN=$WRITTEN$PLACED ARRIVED=$ARRIVED$NL$1
		eval "PLACED_$1=\$PLACED"
	fi
	eval "VERDICT_$1=changed UNDO_LINES_$1=\$UNDO_LINES"
	[ -n "$followed" ] || UNDO_COUNT=$undo_base # nothing can ask for it any more
}

# leads_to COMPONENT VERSION: says whether that version is in force; it is gone to.
leads_to() {
	ENTERED=''
	in_force "$1" && [ "$IN_FORCE" = "$2" ]
}

# Writes the manifests of all steps whose targets ARRIVED.
note_targets() {
	local placed stamps step path stamped
	placed=''
	for step in $ARRIVED; do eval "placed=\$placed\$PLACED_$step"; done
	stamps=''
	[ -z "$HAS_STAT" ] || [ -z "$placed" ] || stamps=$(gather "$placed" stat -c "$STAMP_FORMAT" -- 2>/dev/null)
	set -- $stamps
	for step in $ARRIVED; do
		eval "placed=\$PLACED_$step" stamped=''
		for path in $placed; do
			while [ $# -gt 0 ] && [ "${1#*\|*\|}" != "$path" ]; do shift; done
			stamped=$stamped$NL${1:-$NO_STAMP$path}
		done
		eval "TARGET_STAMPS_$step=\$stamped"
		write_manifest $step
	done
}

# has_targets N: says whether a step has targets to place, or to remove.
has_targets() {
	local verdict lines before
	eval "verdict=\$VERDICT_$1 lines=\$LINES_$1 before=\$TARGETS_$1"
	[ "$verdict" = layout ] || [ -n "$before" ] || case $lines in *"${NL}into "*) ;; *) false ;; esac
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
# be another's, if we write no further into files that are there. What was found so stays so while nothing else is run,
# and is noted as SETTLED. Sets ENTERED, or TROUBLE.
enter() {
	local strict
	[ "$1" != "$ENTERED" ] || return 0
	ENTERED=''
	cd -P "$1" 2>/dev/null || { TROUBLE="the target folder $1 can't be entered" && return 1; }
	strict=$TARGET_METHOD
	[ "$strict" = copy ] || strict=any
	case $SETTLED$NL in
	*"$NL$strict $1$NL"*) ;;
	*)
		is_settled "$1" || { TROUBLE=$INSECURE && return 1; }
		SETTLED="$SETTLED$NL$strict $1"
		;;
	esac
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
	local step verdict component version lines line rest places copies made looks look ready place count
	step=0 places='' copies='' looks='' SETTLED='' ENTERED=''
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "verdict=\$VERDICT_$step component=\$COMPONENT_$step version=\$TO_VERSION_$step lines=\$LINES_$step"
		case $verdict in go | layout) ;; *) continue ;; esac
		TROUBLE='' count=0 made=''
		for line in $lines; do
			rest=${line#* }
			case $line in
			'into '*)
				read_target "$line"
				enter "$TARGET_FOLDER" || break
				count=$((count + 1)) place=$STAGE/ready.$step.$count look="$TARGET_OWNER $TARGET_GROUP $TARGET_MODE"
				[ "$TARGET_METHOD" != link ] || continue
				places="$places${NL}room$NL$place$NL-"
				find_component "$looks" "$look"
				[ $FOUND_AT -gt 0 ] || { looks=$looks$NL$look && find_component "$looks" "$look" && eval "READY_$FOUND_AT="; }
				;;
			'name '*)
				[ "$TARGET_METHOD" != link ] || continue
				made="$made${NL}copy$NL$ROOT/$component/$version/$rest$NL$place/$rest"
				eval "READY_$FOUND_AT=\$READY_$FOUND_AT\$NL\$place/\$rest"
				;;
			esac
		done
		if [ -n "$TROUBLE" ]; then give_up $step; else copies=$copies$made; fi
	done
	[ -n "$copies" ] || return 0
	TROUBLE='' FOUND_AT=0
	act "$places$copies" || TROUBLE="$STAGE can't be written"
	for look in $looks; do
		[ -z "$TROUBLE" ] || break
		FOUND_AT=$((FOUND_AT + 1))
		IFS=' '
		set -- $look
		IFS=$NL
		TARGET_OWNER=$1 TARGET_GROUP=$2 TARGET_MODE=$3
		eval "ready=\$READY_$FOUND_AT"
		dress "$ready" 0644 && DURABLE=$DURABLE$ready
	done
	[ -z "$TROUBLE" ] || make_ready_by_steps
}

# Does the same one by one, and gives the steps up whose files can't be made ready.
make_ready_by_steps() {
	local step verdict component version lines line rest place count
	step=0
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "verdict=\$VERDICT_$step component=\$COMPONENT_$step version=\$TO_VERSION_$step lines=\$LINES_$step"
		case $verdict in go | layout) ;; *) continue ;; esac
		TROUBLE='' count=0
		for line in $lines; do
			rest=${line#* }
			case $line in
			'into '*)
				read_target "$line"
				count=$((count + 1)) place=$STAGE/ready.$step.$count
				[ -d "$place" ] || mkdir -m 700 -- "$place" 2>/dev/null
				;;
			'name '*)
				[ "$TARGET_METHOD" != link ] || continue
				{ rm -f -- "$place/$rest" && cp -- "$ROOT/$component/$version/$rest" "$place/"; } 2>/dev/null ||
					TROUBLE="$STAGE can't be written"
				[ -n "$TROUBLE" ] || dress "$place/$rest" 0644 || break
				DURABLE=$DURABLE$NL$place/$rest
				;;
			esac
		done
		[ -z "$TROUBLE" ] || give_up $step
	done
}

# give_up N: ends a step that can't be switched.
give_up() {
	local version from
	eval "version=\$TO_VERSION_$1 from=\$VERSION_$1"
	fail_step $1 unwritable "$TROUBLE"
	[ "$version" = "$from" ] || withdraw $1
}

# Carries out what can be done at once for the targets of all steps, one folder after the other: what is there is kept
# for an undo, and then what is ready takes its place. It leaves out what is written into, or is asked for twice. PUT_n
# says what was tried.
put_at_once() {
	local step verdict component version lines line rest count seen tried folders folder number fresh
	step=0 seen='' folders='' fresh=''
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "verdict=\$VERDICT_$step component=\$COMPONENT_$step version=\$TO_VERSION_$step lines=\$LINES_$step"
		case $verdict in go | layout) ;; *) continue ;; esac
		case $lines in *"${NL}into copy "*) continue ;; *"${NL}into "*) ;; *) continue ;; esac
		leads_to "$component" "$version" || continue
		count=0 tried=''
		for line in $lines; do
			rest=${line#* }
			case $line in
			'into '*)
				read_target "$line"
				count=$((count + 1))
				find_component "$folders" "$TARGET_FOLDER"
				[ $FOUND_AT -gt 0 ] || {
					folders=$folders$NL$TARGET_FOLDER
					find_component "$folders" "$TARGET_FOLDER"
					UNDO_COUNT=$((UNDO_COUNT + 1)) fresh=$fresh$NL$STAGE/undo.$UNDO_COUNT$NL$STAGE/links.$UNDO_COUNT
					eval "PUTS_$FOUND_AT= UNDO_AT_$FOUND_AT=\$UNDO_COUNT"
				}
				;;
			'name '*)
				case $seen$NL in *"$NL$TARGET_FOLDER/$rest$NL"*) continue ;; esac
				seen=$seen$NL$TARGET_FOLDER/$rest
				eval "PUTS_$FOUND_AT=\$PUTS_$FOUND_AT\$NL\$TARGET_METHOD\$NL\$step\$NL\$count\$NL\$rest"
				;;
			esac
		done
	done
	[ -n "$folders" ] && batch "$fresh" mkdir -m 700 -- 2>/dev/null || return 0
	number=0
	for folder in $folders; do
		number=$((number + 1))
		TARGET_METHOD=rename
		! enter "$folder" || put_into $number
	done
	TROUBLE=''
}

# put_into F: does so in the folder that was entered. What was remembered, and is LEFT where it was, is tried again.
put_into() {
	local puts undo keeps links moves method component from tried
	eval "puts=\$PUTS_$1 undo=\$UNDO_AT_$1"
	keeps='' links='' moves='' tried=''
	set -- $puts
	while [ $# -gt 0 ]; do
		if [ -e "./$4" ] || [ -L "./$4" ]; then keeps="$keeps${NL}keep$NL./$4$NL$STAGE/undo.$undo/$4"; fi
		if [ "$1" = link ]; then
			eval "component=\$COMPONENT_$2"
			links="$links${NL}link$NL$ROOT/$component/current/$4$NL$STAGE/links.$undo/$4"
		fi
		shift 4
	done
	[ -z "$keeps$links" ] || act "$keeps$links"
	set -- $puts
	while [ $# -gt 0 ]; do
		method=$1 from=$STAGE/ready.$2.$3/$4
		[ "$1" != link ] || from=$STAGE/links.$undo/$4
		if [ ! -e "$STAGE/undo.$undo/$4" ] && [ ! -L "$STAGE/undo.$undo/$4" ]; then method=none; fi
		if [ ! -e "$from" ] && [ ! -L "$from" ]; then
			:
		elif [ $method != none ] || { [ ! -e "./$4" ] && [ ! -L "./$4" ]; }; then
			eval "UNDO_LINES_$2=\$UNDO_LINES_$2\$NL\$method' '\$undo' '\$ENTERED/\$4"
			moves="$moves${NL}move$NL$from$NL./$4" tried=$tried$NL$2$NL$from$NL$4
		fi
		shift 4
	done
	[ -z "$moves" ] || act "$moves"
	set -- $tried
	while [ $# -gt 0 ]; do
		if [ -e "$2" ] || [ -L "$2" ]; then
			LEFT=$LEFT$NL$ENTERED/$3
		else
			eval "PUT_$1=\$PUT_$1\$NL\$ENTERED/\$3"
		fi
		shift 3
	done
}

# place_targets N: carries all targets of a step out, until TROUBLE; sets TARGET_STAMPS_n to their stamps, PLACED to
# their paths, and FOLDERS to where these are.
place_targets() {
	local component lines line rest labels count put
	eval "component=\$COMPONENT_$1 lines=\$LINES_$1 put=\$PUT_$1"
	PLACED='' FOLDERS='' labels='' TARGET_METHOD='' TARGET_FOLDER='' count=0
	for line in $lines; do
		rest=${line#* }
		case $line in
		'into '*)
			read_target "$line"
			enter "$TARGET_FOLDER" || return
			count=$((count + 1)) FOLDERS=$FOLDERS$NL$TARGET_FOLDER
			;;
		'name '*)
			case $put$NL in
			*"$NL$TARGET_FOLDER/$rest$NL"*) ;;
			*) place_one "$rest" "$STAGE/ready.$1.$count/$rest" "$component" || return ;;
			esac
			PLACED=$PLACED$NL$TARGET_FOLDER/$rest
			[ "$TARGET_LABEL" != restore ] || [ "$TARGET_METHOD" = link ] || labels=$labels$NL$TARGET_FOLDER/$rest
			;;
		esac
	done
	remove_replaced $1 || return
	[ -z "$labels" ] || ! command -v restorecon >/dev/null 2>&1 || batch "$labels" restorecon -- 2>/dev/null
}

# place_one NAME READY COMPONENT: puts one target in its place, in the folder that was entered.
place_one() {
	if [ -d "./$1" ] && [ ! -L "./$1" ]; then TROUBLE="$TARGET_FOLDER/$1 is a folder" && return 1; fi
	case $LEFT$NL in
	*"$NL$TARGET_FOLDER/$1$NL"*) ;;
	*) remember "$1" || return 1 ;;
	esac
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

# dress FILES MODE: gives them the owner, group and mode that the target asks for; MODE is for targets that ask for none.
dress() {
	local who
	who=''
	[ "$TARGET_OWNER" = - ] || who=$TARGET_OWNER
	[ "$TARGET_GROUP" = - ] || who=$who:$TARGET_GROUP
	if [ -n "$who" ] && ! batch "$1" chown -h "$who" -- 2>/dev/null; then
		TROUBLE="no owner $who can be given to $TARGET_FOLDER"
		return 1
	fi
	[ "$TARGET_MODE" = - ] || set -- "$1" "$TARGET_MODE"
	[ -z "$2" ] || batch "$1" chmod "$2" -- 2>/dev/null || { TROUBLE="no mode $2 can be given to $1" && return 1; }
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
	local line was_at number name kept
	ENTERED='' SETTLED=''
	for line in $UNDO_LINES; do
		was_at=${line#* * } number=${line#* } TARGET_METHOD=${line%% *}
		number=${number%% *} name=./${was_at##*/}
		kept=$STAGE/undo.$number
		if [ -d "$kept" ] && [ ! -L "$kept" ]; then kept=$kept/${was_at##*/}; fi
		enter "${was_at%/*}" || continue
		TOUCHED=$TOUCHED$NL$ENTERED
		case $TARGET_METHOD in
		none) rm -f -- "$name" ;;
		copy)
			if [ -f "$name" ]; then cat -- "$kept" >"$name"; else mv -fT "$kept" "$name"; fi
			TOUCHED=$TOUCHED$NL$was_at
			;;
		# rename(2) does nothing when both names are one file, and then the undo's name stays: it goes with STAGE
		*) mv -fT "$kept" "$name" 2>/dev/null ;;
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

# Rule 10. prune N MANIFESTS: keeps the version in force and those before it, KEEP in all, along the manifests. What has
# one manifest of them all has nothing to spare.
prune() {
	local component kept version left word name this digest rest manifest
	eval "component=\$COMPONENT_$1"
	case $2 in *"/$component@"*"/$component@"*) ;; *) return 0 ;; esac
	eval "kept=\$NL\$TO_VERSION_$1\$NL version=\$PREVIOUS_$1"
	left=$KEEP
	while [ "$left" -gt 1 ] && [ -n "$version" ]; do
		case $kept in *"$NL$version$NL"*) break ;; esac
		kept=$kept$version$NL left=$((left - 1))
		[ "$left" -gt 1 ] && [ -f "$STATE/manifests/$component@$version" ] || break
		IFS=' '
		read -r word name this digest version rest <"$STATE/manifests/$component@$version"
		IFS=$NL
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
