# --- settling -------------------------------------------------------------------------------------------------------
# Versions and manifests come to their places, and to the disk, before any switch.

# Under the lock: what was surveyed before the bytes came must still be so. Rule 20: where it isn't, another process is
# to thank or to blame, as one whose controller is gone; it may have brought what this one was to bring.
recheck() {
	local step moved verdict component version head now first layout wanted to_layout
	read_controller
	refuse_foreign
	step=0 moved=''
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "verdict=\$VERDICT_$step component=\$COMPONENT_$step version=\$VERSION_$step head=\$HEAD_$step"
		case $verdict in go | layout) ;; *) continue ;; esac
		now=''
		if [ ! -L "$ROOT/$component/current" ]; then
			:
		elif in_force "$component"; then
			now=$IN_FORCE
		else
			now=$(readlink "$ROOT/$component/current")
		fi
		first=''
		[ -z "$head" ] || IFS= read -r first <"$STATE/manifests/$component@$version"
		if [ "$version" != unknown ] && [ "$now" != "$version" ] || [ "$first" != "$head" ]; then
			moved=$moved$NL$step
		fi
	done
	[ -z "$moved" ] || survey "$COMPONENTS"
	cd "$TREE" || refuse unwritable "$STAGE can't be entered"
	for step in $moved; do
		eval "now=\$VERSION_$step.\$DIGEST_$step layout=\$LAYOUT_$step"
		eval "wanted=\$TO_VERSION_$step.\$TO_DIGEST_$step to_layout=\$TO_LAYOUT_$step"
		[ $PURPOSE != stage ] || to_layout=$layout
		if [ "$now.$layout" = "$wanted.$to_layout" ]; then
			eval "VERDICT_$step=ok"
		else
			eval "VERDICT_$step=stale REASON_$step='somebody else changed it meanwhile'"
		fi
	done
}

refuse_foreign() {
	[ -n "$LINEAGE_HERE" ] || return 0
	[ "$LINEAGE_HERE" = "$LINEAGE" ] || refuse controller "$LINEAGE_HERE $EPOCH_HERE"
	[ "$EPOCH_HERE" -le "$EPOCH" ] || refuse controller "$LINEAGE_HERE $EPOCH_HERE"
}

# Rule 7. Brings versions and manifests to their places, and all to the disk, before any switch. One sync is for all.
settle() {
	local files fixed step verdict component version path stamps from previous stamped
	if [ "$LINEAGE_HERE $EPOCH_HERE" != "$LINEAGE $EPOCH" ]; then
		printf '%s %s\n' "$LINEAGE" "$EPOCH" >"$STAGE/controller" || refuse unwritable "$STATE can't be written"
		rename_later "$STAGE/controller" "$STATE/controller"
	fi
	keep_script
	sweep_unfinished
	place_versions
	files='' fixed='' DURABLE=$FRESH$NL$ROOT$NL$STATE$NL$STATE/manifests step=0
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "verdict=\$VERDICT_$step component=\$COMPONENT_$step version=\$TO_VERSION_$step"
		[ "$verdict" = go ] || continue
		expect $step
		files=$files$EXPECTED_PATHS fixed=$fixed$NL$ROOT/$component/$version
		DURABLE=$DURABLE$NL$ROOT/$component/$version$NL$ROOT/$component$NL$STATE/manifests/$component@$version
		for path in $EXPECTED_PATHS; do DURABLE=$DURABLE$NL$ROOT/$path; done
	done
	cd "$ROOT" || refuse unwritable "$ROOT can't be entered"
	[ -n "$SEALED" ] || [ -z "$files" ] || batch "$files$fixed" chmod a-w -- # read-only from now on
	stamps=''
	[ -z "$HAS_STAT" ] || [ -z "$files" ] || stamps=$(gather "$files" stat -c "$STAMP_FORMAT" --)
	set -- $stamps
	step=0
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "verdict=\$VERDICT_$step version=\$TO_VERSION_$step from=\$VERSION_$step previous=\$PREVIOUS_$step"
		[ "$verdict" = go ] || continue
		expect $step
		[ "$from" = "$version" ] || previous=$from
		[ "$previous" != unknown ] || previous=''
		stamped=''
		for path in $EXPECTED_PATHS; do
			while case ${1:-"|$path"} in *"|$path") false ;; esac; do shift; done
			stamped=$stamped$NL${1:-$NO_STAMP$path}
		done
		eval "PREVIOUS_$step=\$previous FILE_STAMPS_$step=\$stamped"
		write_manifest $step || fail_step $step unwritable "$STATE/manifests can't be written"
	done
	[ $PURPOSE != switch ] || make_ready
	commit "$DURABLE" || refuse unwritable "$STATE can't be written"
}

# Rule 12. The script is in `own` when it was sent, or read from here. What a look needs of it is kept by itself: its
# first bytes, and its end.
keep_script() {
	[ -n "${own:+1}" ] && [ -n "$LOOK_BYTES" ] || return 0
	[ "${own_kept:-}" != $$ ] || ! is_plain "$STATE/script" || ! is_plain "$STATE/look" || return 0
	printf '%s\n' "$own" >"$STAGE/script" && printf "%.${LOOK_BYTES}s\nrun_request\n# end\n" "$own" >"$STAGE/look" &&
		rename_later "$STAGE/script" "$STATE/script" && rename_later "$STAGE/look" "$STATE/look"
} 2>/dev/null

is_plain() { [ -f "$1" ] && [ ! -L "$1" ]; }

# Rule 21. Removes versions that a run which was killed began to bring to their places: their manifests are empty.
sweep_unfinished() {
	local manifest version component
	set +f
	set -- "$STATE"/manifests/*@*
	set -f
	for manifest in "$@"; do
		[ -f "$manifest" ] && [ ! -s "$manifest" ] && [ ! -L "$manifest" ] || continue
		version=${manifest##*@} component=${manifest##*/}
		component=${component%@*}
		is_component "$component" && is_version "$version" && [ ! -L "$ROOT/$component" ] || continue
		! in_force "$component" || [ "$IN_FORCE" != "$version" ] || continue
		[ ! -e "$ROOT/$component/$version" ] || clear_away "$ROOT/$component/$version" || continue
		rm -f -- "$manifest"
		rmdir -- "$ROOT/$component" 2>/dev/null
	done
}

# Brings what was received to its folders: all at once where every version is new, by renames, which are then SEALED, or
# hard links; else one by one.
place_versions() {
	local components all_new step verdict component version from manifest moves count path
	components='' all_new=1 moves='' count=0 step=0
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "verdict=\$VERDICT_$step component=\$COMPONENT_$step version=\$TO_VERSION_$step from=\$VERSION_$step"
		[ "$verdict" = go ] || continue
		# What was in force and has none can't be believed any more: it goes once this version has its place.
		manifest=$STATE/manifests/$component@$from
		case $from in "" | unknown) ;; *) [ -e "$manifest" ] || true >"$manifest" ;; esac
		components=$components$NL$component manifest=$STATE/manifests/$component@$version count=$((count + 1))
		if [ -e "$ROOT/$component/$version" ] || [ -L "$ROOT/$component/$version" ] || [ -L "$ROOT/$component" ]; then
			all_new=''
		elif [ -e "$ROOT/$component" ]; then
			moves="$moves${NL}move$NL$TREE/$component/$version$NL$ROOT/$component/$version"
		else
			moves="$moves${NL}move$NL$TREE/$component$NL$ROOT/$component"
		fi
		if [ -d "$ROOT/$component/$version" ] && [ -s "$manifest" ]; then eval "WAS_THERE_$step=1"; fi
		[ -e "$manifest" ] || [ -L "$manifest" ] || true >"$manifest" ||
			refuse unwritable "$STATE/manifests can't be written"
	done
	[ -n "$components" ] || return 0
	link_into() { cd "$TREE" && cp -lR -- "$@" "$ROOT/"; }
	if [ -n "$all_new" ] && { [ -n "$HAS_PERL" ] || [ $count -le 2 ]; }; then
		step=0
		while [ $step -lt $STEP_COUNT ]; do
			step=$((step + 1))
			eval "verdict=\$VERDICT_$step component=\$COMPONENT_$step version=\$TO_VERSION_$step"
			[ "$verdict" = go ] || continue
			expect $step
			for path in $EXPECTED_PATHS $component/$version; do moves="$moves${NL}seal$NL$ROOT/$path$NL-"; done
		done
		if act "$moves"; then SEALED=1; else place_one_by_one; fi
		return 0
	fi
	if [ -z "$all_new" ] || ! batch "$components" link_into 2>/dev/null; then place_one_by_one; fi
	rm -rf -- "$TREE"
}

place_one_by_one() {
	local step verdict component version from private mode
	step=0
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "verdict=\$VERDICT_$step component=\$COMPONENT_$step version=\$TO_VERSION_$step"
		eval "from=\$VERSION_$step private=\$PRIVATE_$step"
		[ "$verdict" = go ] && [ -d "$TREE/$component/$version" ] || continue
		mode=755
		[ -z "$private" ] || mode=700
		if [ -L "$ROOT/$component" ] ||
			! [ -d "$ROOT/$component" ] && ! mkdir -m $mode -- "$ROOT/$component" 2>/dev/null; then
			fail_step $step unwritable "$ROOT/$component can't be made"
		elif [ "$from" = "$version" ]; then
			expect $step
			replace_files "$component/$version" || fail_step $step unwritable "$ROOT/$component/$version can't be written"
		elif { [ -e "$ROOT/$component/$version" ] || [ -L "$ROOT/$component/$version" ]; } &&
			! clear_away "$ROOT/$component/$version"; then
			fail_step $step unwritable "$ROOT/$component/$version can't be replaced"
		else
			mv -fT "$TREE/$component/$version" "$ROOT/$component/$version" ||
				fail_step $step unwritable "$ROOT/$component can't be written"
		fi
	done
}

# replace_files FOLDER: puts new bytes under the names of the version that is in force, one rename for each file. FOLDER
# is COMPONENT/VERSION, and its files are those of `expect`.
replace_files() {
	local folder came path entry
	folder=$1
	[ -d "$ROOT/$folder" ] || mkdir -- "$ROOT/$folder" || return 1
	chmod u+rwx "$ROOT/$folder" || return 1
	came=''
	for path in $EXPECTED_PATHS; do came=$came$NL$TREE/$path; done
	make_durable "$came"
	for path in $EXPECTED_PATHS; do
		[ ! -d "$ROOT/$path" ] || [ -L "$ROOT/$path" ] || clear_away "$ROOT/$path" || return 1
		mv -fT "$TREE/$path" "$ROOT/$path" || return 1
	done
	set +f
	set -- "$ROOT/$folder"/* "$ROOT/$folder"/.[!.]* "$ROOT/$folder"/..?*
	set -f
	for entry in "$@"; do
		[ -e "$entry" ] || [ -L "$entry" ] || continue
		case "$EXPECTED_PATHS$NL" in *"$NL$folder/${entry##*/}$NL"*) continue ;; esac
		clear_away "$entry" || return 1
	done
}

# withdraw N: takes a version that is not in force away again, unless it lay there before this request.
withdraw() {
	local component version was_there
	eval "component=\$COMPONENT_$1 version=\$TO_VERSION_$1 was_there=\$WAS_THERE_$1"
	[ -z "$was_there" ] || return 0
	[ ! -e "$ROOT/$component/$version" ] || clear_away "$ROOT/$component/$version"
	rm -f -- "$STATE/manifests/$component@$version"
}

# clear_away PATH: takes something out of the way, to STAGE, which goes at the end.
clear_away() {
	TRASH_COUNT=$((TRASH_COUNT + 1))
	chmod u+rwx "$1" 2>/dev/null
	mv -fT "$1" "$STAGE/trash.$TRASH_COUNT"
}

# write_manifest N: from FILE_STAMPS_n and TARGET_STAMPS_n; what has none of these, by its path with no stamp.
write_manifest() {
	local step component version digest layout previous lines stamped placed text watches files
	local method folder installed line rest sized stamp again path manifest
	step=$1
	eval "component=\$COMPONENT_$1 version=\$TO_VERSION_$1 digest=\$TO_DIGEST_$1 layout=\$TO_LAYOUT_$1"
	eval "previous=\$PREVIOUS_$1 lines=\$LINES_$1 stamped=\$FILE_STAMPS_$1 placed=\${TARGET_STAMPS_$1:-}"
	[ $PURPOSE != stage ] || layout=- # its targets weren't carried out
	text="manifest $component $version $digest ${previous:--} $layout" watches=''
	set -- $stamped
	files='' method='' folder='' installed=''
	for line in $lines; do
		rest=${line#* }
		case $line in
		'file '*)
			sized=${rest#* }
			files=$files$NL$sized again=${sized#* }
			path=$component/$version/${again#* }
			stamp=$NO_STAMP$path
			case ${1:-} in *"|$path") stamp=$1 && shift ;; esac # there is no slash in a name
			text="$text${NL}f ${sized%% *} ${again%% *} $stamp"
			;;
		'into '*)
			method=${rest%% *} folder=${rest#* * * * * }
			set -- $files
			;;
		'name '*)
			for again in 1 2; do # names come in the order of files; if not, they are looked for from the start
				while [ $# -gt 0 ] && [ "${1#* * }" != "$rest" ]; do shift; done
				[ $# -eq 0 ] || break
				set -- $files
			done
			[ $# -gt 0 ] || continue
			sized=${1%" $rest"}
			[ "$method" != link ] || sized="${sized%% *} -"
			installed="$installed$NL$sized $folder/$rest"
			;;
		'watch '*) watches="$watches${NL}w $rest" ;;
		esac
	done
	set -- $placed
	for line in $installed; do
		path=${line#* * }
		stamp=$NO_STAMP$path
		if [ $# -gt 0 ] && [ "${1#*\|*\|}" = "$path" ]; then stamp=$1 && shift; fi
		text="$text${NL}i ${line%"$path"}$stamp"
	done
	text=$text$watches
	manifest=$STATE/manifests/$component@$version
	if [ ! -s "$manifest" ] && [ ! -L "$manifest" ]; then
		# Nothing leads to this version yet, and one that is cut short is no manifest.
		printf '%s\nend\n' "$text" >"$manifest"
	else
		printf '%s\nend\n' "$text" >"$STAGE/$component@$version" && rename_later "$STAGE/$component@$version" "$manifest"
	fi
}

# make_durable PATHS: brings files and folders to the disk.
make_durable() {
	batch "$1" sync -- 2>/dev/null || sync
}

# rename_later FILE NAME: notes what is to get a name that counts, by a rename, as soon as its bytes are on the disk.
rename_later() { DUE=$DUE$NL$1$NL$2; }

# Rule 21. commit PATHS: brings files and folders to the disk, then renames what is DUE, and brings the folders of that
# to the disk, too.
commit() {
	local paths folders status moves
	paths=$1 folders='' status=0
	set -- $DUE
	while [ $# -gt 0 ]; do
		paths=$paths$NL$1
		shift 2
	done
	make_durable "$paths"
	set -- $DUE
	DUE='' moves=''
	while [ $# -gt 0 ]; do
		moves="$moves${NL}move$NL$1$NL$2"
		case $folders$NL in *"$NL${2%/*}$NL"*) ;; *) folders=$folders$NL${2%/*} ;; esac
		shift 2
	done
	[ -z "$moves" ] || act "$moves" || status=1
	[ -z "$folders" ] || make_durable "$folders"
	return $status
}
