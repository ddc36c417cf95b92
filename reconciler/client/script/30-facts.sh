# --- facts ----------------------------------------------------------------------------------------------------------

read_controller() {
	local rest
	LINEAGE_HERE='' EPOCH_HERE=0
	[ -f "$STATE/controller" ] && [ ! -L "$STATE/controller" ] || return 0
	IFS=' '
	read -r LINEAGE_HERE EPOCH_HERE rest <"$STATE/controller"
	IFS=$NL
	# Rule 21: a power cut can leave it empty.
	[ -n "$LINEAGE_HERE" ] || { EPOCH_HERE=0 && return; }
	is_token "$LINEAGE_HERE" && is_number "$EPOCH_HERE" || refuse damaged "$STATE/controller is malformed"
}

facts() {
	local line now rest tool word enforcing what
	COMMAND_COUNT=0 VARS=''
	for line in $HEADER; do
		case $line in
		'root '*)
			INSTALL_ROOT=${line#root }
			is_folder "$INSTALL_ROOT" || refuse protocol 'install_root is no absolute folder'
			;;
		verify) VERIFY=1 ;;
		'try files' | 'try commands') TRY=${line#try } ;;
		'ask '*)
			rest=${line#ask }
			is_component "${rest% *}" || refuse protocol "malformed: $line"
			STEP_COUNT=$((STEP_COUNT + 1))
			eval "COMPONENT_$STEP_COUNT=\${rest% *}"
			read_command "loaded ${rest#* }"
			;;
		'sh '*) read_command "$line" ;;
		'var '*)
			rest=${line#var }
			is_variable "${rest%% *}" && is_text "$rest" || refuse protocol "malformed: ${line%% *}"
			VARS=$VARS$NL$rest
			;;
		end) ;;
		*) refuse protocol "unknown directive: ${line%% *}" ;;
		esac
	done
	[ $COMMAND_COUNT -eq 0 ] || [ -n "$HAS_TEXT" ] || refuse protocol 'a command without a text'
	check_root
	ANSWER="platform $(uname -s -m)"
	if [ -n "$START_TIME" ] && [ -r /proc/uptime ] && IFS=' ' read -r now rest </proc/uptime; then
		ANSWER="$ANSWER${NL}began $START_TIME $now"
	fi
	say_room "$NEAREST"
	say_machine
	for tool in zstd bspatch gzip; do
		command -v $tool >/dev/null 2>&1 || continue
		[ $tool != zstd ] || zstd_patches || continue
		ANSWER="$ANSWER${NL}tool $tool"
	done
	if [ -r /proc/meminfo ] && IFS=' ' read -r word now rest </proc/meminfo && is_number "$now"; then
		ANSWER="$ANSWER${NL}memory $now"
	fi
	IFS=$NL
	if [ -r /sys/fs/selinux/enforce ] && read -r enforcing </sys/fs/selinux/enforce; then
		ANSWER="$ANSWER${NL}selinux $enforcing"
	fi
	enforcing=''
	[ ! -r /sys/module/apparmor/parameters/enabled ] || read -r enforcing </sys/module/apparmor/parameters/enabled
	[ "$enforcing" != Y ] || ANSWER="$ANSWER${NL}apparmor 1"
	ANSWER="$ANSWER${NL}user $OWN_UID"
	if [ -n "$ROOT_THERE" ]; then
		read_controller
		[ -z "$LINEAGE_HERE" ] || ANSWER="$ANSWER${NL}controller $LINEAGE_HERE $EPOCH_HERE"
		say_installed
	fi
	if [ -n "$TRY" ]; then
		[ $TRY = commands ] || TRY=''
		try_tools "$TRY" || refuse unwritable "no folder can be made in $STATE, /dev/shm or ${TMPDIR:-/tmp}"
		for what in $LACKS; do ANSWER="$ANSWER${NL}lacks $what"; done
		[ -n "$LACKS" ] || try_root
		[ -z "$UNMADE" ] || ANSWER="$ANSWER${NL}unmade $UNMADE"
	fi
	answer facts
}

# zstd_patches: says whether zstd is new enough, 1.4.5, to take an old file as prefix.
zstd_patches() {
	local release
	release=$(zstd -V 2>/dev/null </dev/null)
	release=${release#* v}
	IFS=.
	set -- ${release%%,*}
	IFS=$NL
	is_number "${1:-}" && is_number "${2:-}" && is_number "${3:-}" || return 1
	[ "$1" -gt 1 ] || { [ "$1" -eq 1 ] && { [ "$2" -gt 4 ] || { [ "$2" -eq 4 ] && [ "$3" -ge 5 ]; }; }; }
}

say_room() {
	local room
	room=$(df -Pk "$1" 2>/dev/null)
	room=${room##*"$NL"}
	IFS=' '
	set -- $room
	IFS=$NL
	[ $# -ge 6 ] && is_number "$4" && ANSWER="$ANSWER${NL}free $4"
}

# Tells which folder of which running system install_root is, by whatever name either goes. Containers share the boot,
# not the folder; machines that were cloned from one image have alike folders, and each boots by itself.
say_machine() {
	local place rest
	[ "$BOOT" != unknown ] && [ -n "$HAS_STAT" ] || return 0
	place=$PLACE
	[ -n "$place" ] || place=$(stat -L -c %d:%i -- "$NEAREST" 2>/dev/null) || return 0
	[ -n "$place" ] || return 0 # a stat may say nothing, and that all is well
	rest=''
	[ -n "$ROOT_THERE" ] || rest=${INSTALL_ROOT#"$NEAREST"}
	ANSWER="$ANSWER${NL}machine $BOOT $place ${rest#/}"
}

say_installed() {
	local components path component number watched targets named version digest previous layout damage
	components=''
	set +f
	set -- "$ROOT"/*/current
	set -f
	for path in "$@"; do
		path=${path%/current} component=''
		[ -L "$path" ] || component=${path##*/}
		! is_component "$component" || components=$components$NL$component
	done
	survey "$components"
	number=0 watched='' targets='' named=''
	for component in $components; do
		number=$((number + 1))
		eval "version=\$VERSION_$number digest=\$DIGEST_$number previous=\$PREVIOUS_$number"
		eval "layout=\$LAYOUT_$number damage=\$DAMAGE_$number"
		[ -d "$ROOT/$component/$previous" ] || previous=''
		[ -z "$version" ] ||
			ANSWER="$ANSWER${NL}installed $component $version ${digest:--} ${previous:--} ${layout:--} $damage"
		named=$named$NL$component$NL$component@$version
		eval "watched=\$watched\$WATCHED_$number targets=\$targets\$TARGETS_$number"
	done
	say_mark "$watched$targets"
	say_kept "$named"
	[ $STEP_COUNT -eq 0 ] || say_loaded "$components"
	say_unmanaged "$watched" "$targets"
}

# say_mark OUTER: says the mark that was made ahead of all this, by mark.sh, and whether anything of ours is outside of
# install_root.
say_mark() {
	case ${own_mark:-} in $$:*) ;; *) return 0 ;; esac
	own_mark=${own_mark#*:}
	if [ -n "$1" ]; then set -- +; else set -- -; fi
	ANSWER="$ANSWER${NL}mark ${own_mark%% *} $1"
}

# say_kept NAMED: names the other versions of what is in force, by the first lines of their manifests. NAMED has a line
# for each component, and one for its version in force.
say_kept() {
	local named manifest version component word name this digest rest
	named=$1
	set +f
	set -- "$STATE"/manifests/*@*
	set -f
	for manifest in "$@"; do
		version=${manifest##*@} component=${manifest##*/}
		component=${component%@*}
		is_component "$component" || continue
		case $named$NL in *"$NL$component@$version$NL"*) continue ;; *"$NL$component$NL"*) ;; *) continue ;; esac
		[ -f "$manifest" ] && [ ! -L "$manifest" ] && is_version "$version" || continue
		[ -d "$ROOT/$component/$version" ] && [ ! -L "$ROOT/$component/$version" ] || continue
		IFS=' '
		read -r word name this digest rest <"$manifest"
		IFS=$NL
		[ "$word $name $this" = "manifest $component $version" ] && is_digest "$digest" || continue
		ANSWER="$ANSWER${NL}kept $component $version $digest"
	done
}

# say_unmanaged FOLDERS TARGETS: names what is in watched folders and wasn't put there by us, the first hundred. Whoever
# chose a name chose its characters: one that isn't text could be read as lines of ours.
say_unmanaged() {
	local shown looked targets folder entry
	shown=0 looked=$NL targets=$2
	for folder in $1; do
		case $looked in *"$NL$folder$NL"*) continue ;; esac
		looked=$looked$folder$NL
		set +f
		set -- "$folder"/*
		set -f
		for entry in "$@"; do
			[ -e "$entry" ] || [ -L "$entry" ] || continue
			case $targets$NL in *"$NL$entry$NL"*) continue ;; esac
			shown=$((shown + 1))
			[ $shown -le 100 ] || return 0
			is_text "$entry" || entry="$folder/? (its name has control characters)"
			ANSWER="$ANSWER${NL}unmanaged $entry"
		done
	done
}

# answer KIND: prints what was found, at the end of everything.
answer() {
	cleanup
	hush
	printf 'updoser 1 %s\n%s\nend\n' "$1" "${ANSWER#"$NL"}" 2>/dev/null
	exit 0
}
