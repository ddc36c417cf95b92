# --- what is there --------------------------------------------------------------------------------------------------

# has_only NUMBER FOLDER: says whether a folder has exactly so many entries, none of which begins with a dot. A pattern
# that nothing matches stands for itself.
has_only() {
	local expected folder entry
	expected=$1 folder=$2
	set +f
	set -- "$folder"/.*
	for entry in "$@"; do
		case ${entry##*/} in . | ..) continue ;; esac
		[ ! -e "$entry" ] && [ ! -L "$entry" ] || { set -f && return 1; }
	done
	set -- "$folder"/*
	set -f
	[ -e "$1" ] || [ -L "$1" ] || set --
	[ $# -eq "$expected" ]
}

# in_force COMPONENT: sets IN_FORCE to the version that `current` leads to, and goes there; fails when it leads nowhere,
# or elsewhere.
in_force() {
	IN_FORCE=''
	cd -P "$ROOT/$1/current" 2>/dev/null && [ "${PWD%/*}" = "$ROOT/$1" ] && IN_FORCE=${PWD##*/}
}

# survey COMPONENTS: sets what the table says of the nth of them. What is DOUBTED is hashed.
survey() {
	local number component version wrong manifest manifests actual intact count head
	manifests='' number=0 ALL_STAMPS='' ALL_PATHS=''
	for component in $1; do
		number=$((number + 1)) version='' wrong=''
		eval "VERSION_$number= DIGEST_$number= PREVIOUS_$number= LAYOUT_$number= DAMAGE_$number= HEAD_$number="
		eval "PATHS_$number= HASHES_$number= STAMPS_$number= FILE_STAMPS_$number= FILE_COUNT_$number=0"
		eval "TARGETS_$number= WATCHED_$number= WAS_UNCHECKED_$number= BYTES_$number=0"
		if [ -L "$ROOT/$component/current" ]; then
			if in_force "$component"; then
				version=$IN_FORCE
			else
				version=$(readlink "$ROOT/$component/current")
				wrong='current leads to no version'
			fi
			is_version "$version" || version=unknown wrong='current leads to no version'
		elif [ -e "$ROOT/$component/current" ]; then
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
		eval "VERSION_$number=\$version DAMAGE_$number=\$wrong"
	done
	[ -n "$manifests" ] || return 0
	read_few "$manifests" || MANIFEST_LINES=$(gather "$manifests" cat --)
	manifests=$MANIFEST_LINES
	! is_much "$manifests" 0 || stay_alive
	read_manifests "$1" "$manifests"
	cd "$ROOT" || refuse unreadable "$ROOT can't be entered"
	actual=
	[ -z "$HAS_STAT" ] || actual=$(gather "$ALL_PATHS" stat -c "$STAMP_FORMAT" -- 2>/dev/null)
	if [ -n "$VERIFY" ] || [ "$actual" != "${ALL_STAMPS#"$NL"}" ]; then intact=''; else intact=1; fi
	[ -n "$intact" ] && [ -z "$DOUBTED" ] || ! is_much '' $WEIGHT || stay_alive # all of it may be hashed
	number=0
	for component in $1; do
		number=$((number + 1))
		eval "version=\$VERSION_$number wrong=\$DAMAGE_$number count=\$FILE_COUNT_$number head=\$HEAD_$number"
		[ -z "$version" ] || [ -n "$wrong$head" ] || eval "wrong='its manifest is malformed' DAMAGE_$number=\$wrong"
		if [ -n "$version" ] && [ -z "$wrong" ]; then
			case $DOUBTED$NL in
			*"$NL$component$NL"*) examine $number "$component" ;;
			*) [ -n "$intact" ] || looks_intact $number || examine $number "$component" ;;
			esac
			eval "wrong=\$DAMAGE_$number"
			if [ -z "$wrong" ] && ! has_only "$count" "$ROOT/$component/$version"; then
				eval "DAMAGE_$number='there are files that do not belong to it'"
			fi
			eval "wrong=\$DAMAGE_$number"
			if [ -z "$wrong" ] && is_unchecked "$component" "$version"; then
				eval "DAMAGE_$number='its checks were not finished' WAS_UNCHECKED_$number=1"
			fi
		fi
		eval "[ -z \"\$DAMAGE_$number\" ] || DIGEST_$number="
	done
}

# read_few FILES: sets MANIFEST_LINES to the lines of some short files. It is a byte at a time, which costs less than a
# process where there are few; where there are more it fails.
read_few() {
	local file line
	MANIFEST_LINES=''
	set -- $1
	[ $# -le 4 ] || return 1
	for file in "$@"; do
		while IFS= read -r line || [ -n "$line" ]; do
			MANIFEST_LINES=$MANIFEST_LINES$NL$line
			[ ${#MANIFEST_LINES} -le 1600 ] || return 1
		done <"$file" || return 1
	done
} 2>/dev/null

# Rule 17. is_unchecked COMPONENT VERSION: says whether a run was ended between its switch and its last check.
is_unchecked() {
	[ -f "$STATE/unchecked/$1" ] || return 1
	case $NL$(cat -- "$STATE/unchecked/$1")$NL in *"$NL$2$NL"*) ;; *) return 1 ;; esac
}

# Reads what manifests hold; they come one after the other, in the order of the components that have one. A shell copies
# a text whenever it adds to it, so lines are gathered by the hundred.
read_manifests() {
	local open line number version rest path entry size
	open='' number=0 WEIGHT=0
	begin_lines
	for line in $2; do
		case $line in
		'manifest '*)
			[ -z "$open" ] || eval "DAMAGE_$number='its manifest is cut short'"
			IFS=' '
			set -- "$1" $line
			IFS=$NL
			add_lines $number
			find_component "$1" "$3"
			number=$FOUND_AT
			eval "version=\$VERSION_$number"
			if [ $# -eq 7 ] && [ "$4" = "$version" ] && is_digest "$5"; then
				open=1
				[ "$6" = - ] || eval "PREVIOUS_$number=\$6"
				[ "$7" = - ] || eval "LAYOUT_$number=\$7"
				eval "DIGEST_$number=\$5 HEAD_$number=\$line"
			else
				eval "DAMAGE_$number='its manifest is malformed'"
			fi
			;;
		'f '* | 'i '*)
			# One word after the other: a pattern with two stars is tried for each two places of a long line.
			size=${line#? }
			entry=${size#* } size=${size%% *}
			rest=${entry#* } path=${entry#*\|} GATHERED_HASHES=$GATHERED_HASHES$NL${entry%% *}
			path=${path#*\|}
			is_number "$size" || size=0
			GATHERED_BYTES=$((GATHERED_BYTES + size))
			GATHERED_PATHS=$GATHERED_PATHS$NL$path GATHERED_STAMPS=$GATHERED_STAMPS$NL$rest
			case $line in
			f*)
				GATHERED_FILE_STAMPS=$GATHERED_FILE_STAMPS$NL$rest GATHERED_FILE_COUNT=$((GATHERED_FILE_COUNT + 1))
				WEIGHT=$((WEIGHT + size))
				;;
			*) GATHERED_TARGETS=$GATHERED_TARGETS$NL$path ;;
			esac
			GATHERED_COUNT=$((GATHERED_COUNT + 1))
			[ $GATHERED_COUNT -lt 100 ] || add_lines $number
			;;
		'w '*) eval "WATCHED_$number=\$WATCHED_$number\$NL\${line#w }" ;;
		end) open='' ;;
		*) eval "DAMAGE_$number='its manifest is malformed'" ;;
		esac
	done
	add_lines $number
	[ -z "$open" ] || eval "DAMAGE_$number='its manifest is cut short'"
}

begin_lines() {
	GATHERED_PATHS='' GATHERED_HASHES='' GATHERED_STAMPS='' GATHERED_FILE_STAMPS='' GATHERED_TARGETS=''
	GATHERED_FILE_COUNT=0 GATHERED_COUNT=0 GATHERED_BYTES=0
}

# add_lines N: adds the gathered lines of files to what is known of the nth component.
add_lines() {
	[ $GATHERED_COUNT -gt 0 ] || return 0
	eval "PATHS_$1=\$PATHS_$1\$GATHERED_PATHS HASHES_$1=\$HASHES_$1\$GATHERED_HASHES"
	eval "STAMPS_$1=\$STAMPS_$1\$GATHERED_STAMPS FILE_STAMPS_$1=\$FILE_STAMPS_$1\$GATHERED_FILE_STAMPS"
	eval "TARGETS_$1=\$TARGETS_$1\$GATHERED_TARGETS FILE_COUNT_$1=\$((FILE_COUNT_$1 + GATHERED_FILE_COUNT))"
	eval "BYTES_$1=\$((BYTES_$1 + GATHERED_BYTES))"
	ALL_PATHS=$ALL_PATHS$GATHERED_PATHS ALL_STAMPS=$ALL_STAMPS$GATHERED_STAMPS
	begin_lines
}

# find_component LIST NAME: sets FOUND_AT to the place of a component in a list; to 0, nobody's, where it isn't there.
find_component() {
	local candidate
	FOUND_AT=0
	for candidate in $1; do
		FOUND_AT=$((FOUND_AT + 1))
		[ "$candidate" != "$2" ] || return 0
	done
	FOUND_AT=0
}

# looks_intact N: says whether all files of one component have the stamps of its manifest.
looks_intact() {
	local paths expected
	[ -z "$VERIFY" ] && [ -n "$HAS_STAT" ] || return 1
	eval "paths=\$PATHS_$1 expected=\$STAMPS_$1"
	[ "$(gather "$paths" stat -c "$STAMP_FORMAT" -- 2>/dev/null)" = "${expected#"$NL"}" ]
}

# examine N COMPONENT: hashes the files of one component, and sets DAMAGE_n to the first thing that is wrong.
examine() {
	local number component paths hashes bytes path hash expected present actual line wrong
	number=$1 component=$2 expected='' present='' wrong=''
	eval "paths=\$PATHS_$1 hashes=\$HASHES_$1 bytes=\$BYTES_$1"
	set -- $hashes
	for path in $paths; do
		hash=$1
		shift
		if [ "$hash" = - ]; then
			[ -L "$path" ] || { wrong="$path is missing"; break; }
			[ "$(readlink "$path")" = "$ROOT/$component/current/${path##*/}" ] || { wrong="$path leads elsewhere"; break; }
			continue
		fi
		if [ -L "$path" ] || [ ! -f "$path" ]; then wrong="$path is missing" && break; fi
		expected="$expected$NL$hash  $path" present=$present$NL$path
	done
	if [ -z "$wrong" ] && [ -n "$present" ] && ! have_sums "$present" "$expected" $bytes; then
		actual=$(gather "$present" sha256sum -- 2>/dev/null)
		for line in $expected; do
			case $NL$actual$NL in
			*"$NL$line$NL"*) ;;
			*) wrong="${line#*  } was changed" && break ;;
			esac
		done
	fi
	[ -z "$wrong" ] || eval "DAMAGE_$number=\$wrong"
}
