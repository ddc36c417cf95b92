# --- what is there --------------------------------------------------------------------------------------------------

# has_only COUNT FOLDER: says whether a folder has exactly so many entries.
has_only() {
	set +f
	set -- "$1" "$2" "$2"/* "$2"/.[!.]* "$2"/..?*
	set -f
	entries=0 expected=$1
	shift 2
	for entry in "$@"; do
		if [ -e "$entry" ] || [ -L "$entry" ]; then entries=$((entries + 1)); fi
	done
	[ $entries -eq "$expected" ]
}

# in_force COMPONENT: prints the version that `current` leads to; fails when it leads nowhere, or elsewhere.
in_force() {
	cd -P "$R/$1/current" 2>/dev/null && [ "${PWD%/*}" = "$R/$1" ] && printf %s "${PWD##*/}"
}

# survey COMPONENTS: sets V_n D_n P_n L_n W_n for the nth of them: version, digest, previous, layout and what is wrong
# (W_n); also T_n, the target paths of its manifest, and U_n, the folders that are watched. What is DOUBTED is hashed.
survey() {
	manifests='' at=0 expected_all='' paths_all=''
	for component in $1; do
		at=$((at + 1)) version='' wrong=''
		eval "V_$at= D_$at= P_$at= L_$at= W_$at= T_$at= U_$at= F_$at= E_$at= G_$at= X_$at= N_$at=0 H_$at= UC_$at="
		if [ -L "$R/$component/current" ]; then
			version=$(in_force "$component") || {
				version=$(readlink "$R/$component/current")
				wrong='current leads to no version'
			}
			is_version "$version" || version=unknown wrong='current leads to no version'
		elif [ -e "$R/$component/current" ]; then
			version=unknown wrong='current is no link'
		fi
		manifest=$STATE/manifests/$component@$version
		if [ -n "$version" ] && [ -z "$wrong" ]; then
			if [ -f "$manifest" ] && [ -s "$manifest" ] && [ ! -L "$manifest" ]; then
				manifests=$manifests$NL$manifest
			else
				wrong='its manifest is missing'
			fi
		fi
		eval "V_$at=\$version W_$at=\$wrong"
	done
	[ -n "$manifests" ] || return 0
	manifests=$(batch "$manifests" cat --)
	! is_much "$manifests" 0 || stay_alive
	read_manifests "$1" "$manifests"
	cd "$R" || fail unreadable "$R can't be entered"
	actual=
	[ -z "$STAT" ] || actual=$(batch "$paths_all" stat -c "$STAMP" -- 2>/dev/null)
	if [ -n "$VERIFY" ] || [ "$actual" != "${expected_all#"$NL"}" ]; then intact=''; else intact=1; fi
	[ -n "$intact" ] && [ -z "$DOUBTED" ] || ! is_much '' $weight || stay_alive # all of it may be hashed
	at=0
	for component in $1; do
		at=$((at + 1))
		eval "version=\$V_$at wrong=\$W_$at count=\$N_$at head=\$H_$at"
		[ -z "$version" ] || [ -n "$wrong$head" ] || eval "wrong='its manifest is malformed' W_$at=\$wrong"
		if [ -n "$version" ] && [ -z "$wrong" ]; then
			case $DOUBTED$NL in
			*"$NL$component$NL"*) examine $at ;;
			*) [ -n "$intact" ] || looks_intact $at || examine $at ;;
			esac
			eval "wrong=\$W_$at"
			if [ -z "$wrong" ] && ! has_only "$count" "$R/$component/$version"; then
				eval "W_$at='there are files that do not belong to it'"
			fi
			eval "wrong=\$W_$at"
			if [ -z "$wrong" ] && is_unchecked "$component" "$version"; then
				eval "W_$at='its checks were not finished' UC_$at=1"
			fi
		fi
		eval "[ -z \"\$W_$at\" ] || D_$at="
	done
}

# Rule 17. is_unchecked COMPONENT VERSION: says whether a run was ended between its switch and its last check.
is_unchecked() {
	[ -f "$STATE/unchecked/$1" ] || return 1
	case $NL$(cat -- "$STATE/unchecked/$1")$NL in *"$NL$2$NL"*) ;; *) return 1 ;; esac
}

# Reads what manifests hold; they come one after the other, in the order of the components that have one. A shell copies
# a text whenever it adds to it, so lines are gathered by the hundred.
read_manifests() {
	open='' weight=0 at=0
	begin_lines
	for line in $2; do
		case $line in
		'manifest '*)
			[ -z "$open" ] || eval "W_$at='its manifest is cut short'"
			IFS=' '
			set -- "$1" $line
			IFS=$NL
			add_lines
			find_component "$1" "$3"
			eval "version=\$V_$at"
			if [ $# -eq 7 ] && [ "$4" = "$version" ] && is_digest "$5"; then
				open=1
				[ "$6" = - ] || eval "P_$at=\$6"
				[ "$7" = - ] || eval "L_$at=\$7"
				eval "D_$at=\$5 H_$at=\$line"
			else
				eval "W_$at='its manifest is malformed'"
			fi
			;;
		'f '* | 'i '*)
			rest=${line#? * * } path=${line#*\|*\|} entry=${line#? * } size=${line#? }
			paths=$paths$NL$path digests=$digests$NL${entry%% *} stamped=$stamped$NL$rest
			size=${size%% *}
			case $line in
			f*)
				own_files=$own_files$NL$rest files=$((files + 1))
				! is_number "$size" || weight=$((weight + size))
				;;
			*) targets=$targets$NL$path ;;
			esac
			gathered=$((gathered + 1))
			[ $gathered -lt 100 ] || add_lines
			;;
		'w '*) eval "U_$at=\$U_$at\$NL\${line#w }" ;;
		end) open='' ;;
		*) eval "W_$at='its manifest is malformed'" ;;
		esac
	done
	add_lines
	[ -z "$open" ] || eval "W_$at='its manifest is cut short'"
}

begin_lines() { paths='' digests='' stamped='' own_files='' targets='' files=0 gathered=0; }

# add_lines: adds the gathered lines of files to what is known of component number `at`.
add_lines() {
	[ $gathered -gt 0 ] || return 0
	eval "F_$at=\$F_$at\$paths E_$at=\$E_$at\$digests X_$at=\$X_$at\$stamped G_$at=\$G_$at\$own_files"
	eval "T_$at=\$T_$at\$targets N_$at=\$((N_$at + files))"
	paths_all=$paths_all$paths expected_all=$expected_all$stamped
	begin_lines
}

# find_component LIST NAME: sets `at` to the place of a component in a list; to 0, nobody's, where it isn't there.
find_component() {
	at=0
	for candidate in $1; do
		at=$((at + 1))
		[ "$candidate" != "$2" ] || return 0
	done
	at=0
}

# looks_intact N: says whether all files of one component have the stamps of its manifest.
looks_intact() {
	[ -z "$VERIFY" ] && [ -n "$STAT" ] || return 1
	eval "files=\$F_$1 expected=\$X_$1"
	[ "$(batch "$files" stat -c "$STAMP" -- 2>/dev/null)" = "${expected#"$NL"}" ]
}

# examine N: hashes the files of one component, and sets W_n to the first thing that is wrong.
examine() {
	eval "files=\$F_$1 digests=\$E_$1"
	expected='' present='' trouble=''
	set -- "$1" $digests
	for path in $files; do
		digest=$2
		examined=$1
		shift 2
		set -- "$examined" "$@"
		if [ "$digest" = - ]; then
			[ -L "$path" ] || { trouble="$path is missing"; break; }
			[ "$(readlink "$path")" = "$R/$component/current/${path##*/}" ] || { trouble="$path leads elsewhere"; break; }
			continue
		fi
		if [ -L "$path" ] || [ ! -f "$path" ]; then trouble="$path is missing" && break; fi
		expected="$expected$NL$digest  $path" present=$present$NL$path
	done
	if [ -z "$trouble" ] && [ -n "$present" ]; then
		actual=$(batch "$present" sha256sum -- 2>/dev/null)
		if [ "$actual" != "${expected#"$NL"}" ]; then
			for line in $expected; do
				case $NL$actual$NL in
				*"$NL$line$NL"*) ;;
				*) trouble="${line#*  } was changed" && break ;;
				esac
			done
		fi
	fi
	[ -z "$trouble" ] || eval "W_$1=\$trouble"
}
