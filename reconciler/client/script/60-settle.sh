# --- settling -------------------------------------------------------------------------------------------------------
# Versions and manifests come to their places, and to the disk, before any switch.

# Under the lock: what was surveyed before the bytes came must still be so. Rule 20: where it isn't, another process is
# to thank or to blame, as one whose controller is gone; it may have brought what this one was to bring.
recheck() {
	read_controller
	refuse_foreign
	at=0 moved=''
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at component=\$C_$at version=\$V_$at head=\$H_$at"
		case $verdict in go | layout) ;; *) continue ;; esac
		now=''
		[ ! -L "$R/$component/current" ] || now=$(in_force "$component" || readlink "$R/$component/current")
		first=''
		[ -z "$head" ] || IFS= read -r first <"$STATE/manifests/$component@$version"
		if [ "$version" != unknown ] && [ "$now" != "$version" ] || [ "$first" != "$head" ]; then
			moved=$moved$NL$at
		fi
	done
	[ -n "$moved" ] || return 0
	survey "$COMPONENTS"
	cd "$TREE" || fail unwritable "$STAGE can't be entered"
	for at in $moved; do
		eval "now=\$V_$at.\$D_$at layout=\$L_$at wanted=\$TV_$at.\$TD_$at to_layout=\$TL_$at"
		[ $PURPOSE != stage ] || to_layout=$layout
		if [ "$now.$layout" = "$wanted.$to_layout" ]; then
			eval "M_$at=ok"
		else
			eval "M_$at=stale Q_$at='somebody else changed it meanwhile'"
		fi
	done
}

refuse_foreign() {
	[ -n "$LINEAGE_HERE" ] || return 0
	[ "$LINEAGE_HERE" = "$LINEAGE" ] || fail controller "$LINEAGE_HERE $EPOCH_HERE"
	[ "$EPOCH_HERE" -le "$EPOCH" ] || fail controller "$LINEAGE_HERE $EPOCH_HERE"
}

# Rule 7. Brings versions and manifests to their places, and all to the disk, before any switch. One sync is for all.
settle() {
	if [ "$LINEAGE_HERE $EPOCH_HERE" != "$LINEAGE $EPOCH" ]; then
		printf '%s %s\n' "$LINEAGE" "$EPOCH" >"$STAGE/controller" || fail unwritable "$STATE can't be written"
		due "$STAGE/controller" "$STATE/controller"
	fi
	keep_script
	sweep_unfinished
	place_versions
	files='' fixed='' durable=$FRESH$NL$R$NL$STATE$NL$STATE/manifests at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at component=\$C_$at"
		[ "$verdict" = go ] || continue
		expect $at
		files=$files$paths fixed=$fixed$NL$R/$component/$version
		durable=$durable$NL$R/$component/$version$NL$R/$component$NL$STATE/manifests/$component@$version
		for path in $paths; do durable=$durable$NL$R/$path; done
	done
	cd "$R" || fail unwritable "$R can't be entered"
	[ -z "$files" ] || batch "$files$fixed" chmod a-w -- # read-only from now on
	STAMPS=''
	[ -z "$STAT" ] || [ -z "$files" ] || STAMPS=$(batch "$files" stat -c "$STAMP" --)
	set -- $STAMPS
	at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at from=\$V_$at previous=\$P_$at"
		[ "$verdict" = go ] || continue
		expect $at
		[ "$from" = "$version" ] || previous=$from
		[ "$previous" != unknown ] || previous=''
		stamped=''
		for path in $paths; do
			while [ $# -gt 0 ] && [ "${1#*\|*\|}" != "$path" ]; do shift; done
			stamped=$stamped$NL${1:-$NOSTAMP$path}
		done
		eval "P_$at=\$previous G_$at=\$stamped"
		write_manifest $at || fails $at unwritable "$STATE/manifests can't be written"
	done
	[ $PURPOSE != switch ] || make_ready
	commit "$durable" || fail unwritable "$STATE can't be written"
}

# Rule 12. The script is in `own` when it was sent, or read from here.
keep_script() {
	[ -n "${own:-}" ] || return 0
	if [ -f "$STATE/script" ] && [ "$(cat "$STATE/script" 2>/dev/null)" = "$own" ]; then return 0; fi
	printf '%s\n' "$own" >"$STAGE/script" 2>/dev/null && due "$STAGE/script" "$STATE/script"
}

# Rule 21. Removes versions that a run which was killed began to bring to their places: their manifests are empty.
sweep_unfinished() {
	set +f
	set -- "$STATE"/manifests/*@*
	set -f
	for manifest in "$@"; do
		[ -f "$manifest" ] && [ ! -s "$manifest" ] && [ ! -L "$manifest" ] || continue
		version=${manifest##*@} component=${manifest##*/}
		component=${component%@*}
		is_component "$component" && is_version "$version" && [ ! -L "$R/$component" ] || continue
		[ "$(in_force "$component")" != "$version" ] || continue
		[ ! -e "$R/$component/$version" ] || clear_away "$R/$component/$version" || continue
		rm -f -- "$manifest"
		rmdir -- "$R/$component" 2>/dev/null
	done
}

# Brings what was received to its folders: all at once by hard links where every version is new, else one by one.
place_versions() {
	components='' all_new=1 at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at component=\$C_$at version=\$TV_$at from=\$V_$at"
		[ "$verdict" = go ] || continue
		# What was in force and has none can't be believed any more: it goes once this version has its place.
		manifest=$STATE/manifests/$component@$from
		case $from in "" | unknown) ;; *) [ -e "$manifest" ] || true >"$manifest" ;; esac
		components=$components$NL$component manifest=$STATE/manifests/$component@$version
		if [ -e "$R/$component/$version" ] || [ -L "$R/$component/$version" ] || [ -L "$R/$component" ]; then all_new=''; fi
		if [ -d "$R/$component/$version" ] && [ -s "$manifest" ]; then eval "WT_$at=1"; fi
		[ -e "$manifest" ] || [ -L "$manifest" ] || true >"$manifest" || fail unwritable "$STATE/manifests can't be written"
	done
	[ -n "$components" ] || return 0
	link_into() { cp -lR -- "$@" "$R/"; }
	if [ -z "$all_new" ] || ! batch "$components" link_into 2>/dev/null; then place_one_by_one; fi
	rm -rf -- "$TREE"
}

place_one_by_one() {
	at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at component=\$C_$at version=\$TV_$at from=\$V_$at private=\$PV_$at"
		[ "$verdict" = go ] || continue
		mode=755
		[ -z "$private" ] || mode=700
		if [ -L "$R/$component" ] || ! [ -d "$R/$component" ] && ! mkdir -m $mode -- "$R/$component" 2>/dev/null; then
			fails $at unwritable "$R/$component can't be made"
		elif [ "$from" = "$version" ]; then
			expect $at
			replace_files || fails $at unwritable "$R/$component/$version can't be written"
		elif { [ -e "$R/$component/$version" ] || [ -L "$R/$component/$version" ]; } &&
			! clear_away "$R/$component/$version"; then
			fails $at unwritable "$R/$component/$version can't be replaced"
		else
			mv -fT "$TREE/$component/$version" "$R/$component/$version" || fails $at unwritable "$R/$component can't be written"
		fi
	done
}

# replace_files: puts new bytes under the names of the version that is in force, one rename for each file.
replace_files() {
	folder=$R/$component/$version
	[ -d "$folder" ] || mkdir -- "$folder" || return 1
	chmod u+rwx "$folder" || return 1
	came=''
	for path in $paths; do came=$came$NL$TREE/$path; done
	make_durable "$came"
	for path in $paths; do
		[ ! -d "$R/$path" ] || [ -L "$R/$path" ] || clear_away "$R/$path" || return 1
		mv -fT "$TREE/$path" "$R/$path" || return 1
	done
	set +f
	set -- "$folder"/* "$folder"/.[!.]* "$folder"/..?*
	set -f
	for entry in "$@"; do
		[ -e "$entry" ] || [ -L "$entry" ] || continue
		case "$paths$NL" in *"$NL$component/$version/${entry##*/}$NL"*) continue ;; esac
		clear_away "$entry" || return 1
	done
}

# withdraw N: takes a version that is not in force away again, unless it lay there before this request.
withdraw() {
	eval "component=\$C_$1 version=\$TV_$1 was_there=\$WT_$1"
	[ -z "$was_there" ] || return 0
	[ ! -e "$R/$component/$version" ] || clear_away "$R/$component/$version"
	rm -f -- "$STATE/manifests/$component@$version"
}

clear_away() {
	COUNT_TRASH=$((${COUNT_TRASH:-0} + 1))
	chmod u+rwx "$1" 2>/dev/null
	mv -fT "$1" "$STAGE/trash.$COUNT_TRASH"
}

# write_manifest N: from G_n, the stamped files, and I_n, the targets; without I_n, their paths with no stamp.
write_manifest() {
	eval "component=\$C_$1 version=\$TV_$1 digest=\$TD_$1 layout=\$TL_$1 previous=\$P_$1"
	eval "lines=\$S_$1 stamped=\$G_$1 placed=\${I_$1:-}"
	step_of=$1
	[ $PURPOSE != stage ] || layout=- # its targets weren't carried out
	text="manifest $component $version $digest ${previous:--} $layout" watches=''
	set -- $stamped
	files='' method='' folder='' installed=''
	for line in $lines; do
		rest=${line#* }
		case $line in
		'file '*)
			sized=${rest#* }
			files="$files$NL${sized% "${sized#* * }"} ${sized#* * }"
			stamp=$NOSTAMP$component/$version/${sized#* * }
			if [ $# -gt 0 ] && [ "${1#*\|*\|}" = "${stamp#"$NOSTAMP"}" ]; then stamp=$1 && shift; fi
			text="$text${NL}f ${sized% "${sized#* * }"} $stamp"
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
		stamp=$NOSTAMP$path
		if [ $# -gt 0 ] && [ "${1#*\|*\|}" = "$path" ]; then stamp=$1 && shift; fi
		text="$text${NL}i ${line%"$path"}$stamp"
	done
	text=$text$watches
	manifest=$STATE/manifests/$component@$version
	if [ ! -s "$manifest" ] && [ ! -L "$manifest" ]; then
		# Nothing leads to this version yet, and one that is cut short is no manifest.
		printf '%s\nend\n' "$text" >"$manifest"
	else
		printf '%s\nend\n' "$text" >"$STAGE/due.$step_of" && due "$STAGE/due.$step_of" "$manifest"
	fi
}

make_durable() {
	batch "$1" sync -- 2>/dev/null || sync
}

# due FILE NAME: notes what is to get a name that counts, by a rename, as soon as its bytes are on the disk.
due() { DUE=$DUE$NL$1$NL$2; }

# Rule 21. commit PATHS: brings files and folders to the disk, then renames what is DUE, and brings the folders of that
# to the disk, too.
commit() {
	paths=$1 folders='' commit_status=0
	set -- $DUE
	while [ $# -gt 0 ]; do
		paths=$paths$NL$1
		shift 2
	done
	make_durable "$paths"
	set -- $DUE
	DUE=''
	while [ $# -gt 0 ]; do
		mv -fT "$1" "$2" || commit_status=1
		case $folders$NL in *"$NL${2%/*}$NL"*) ;; *) folders=$folders$NL${2%/*} ;; esac
		shift 2
	done
	[ -z "$folders" ] || make_durable "$folders"
	return $commit_status
}
