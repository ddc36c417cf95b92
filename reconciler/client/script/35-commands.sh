# --- commands of the spec -------------------------------------------------------------------------------------------
# Checks, hooks, and what is asked of running engines: how they arrive, and how they are run. Rule 15.

# read_command LINE: a command is a check, a hook or a question, and the lines of its text.
read_command() {
	local line rest
	line=$1 rest=${1#* }
	[ $STEP_COUNT -ge 1 ] || refuse protocol "no step before: ${line%% *}"
	is_text "$rest" || refuse protocol "malformed: ${line%% *}"
	case $line in
	'sh '*)
		[ $COMMAND_COUNT -ge 1 ] || refuse protocol 'a text without a command'
		if [ -n "$HAS_TEXT" ]; then rest=$NL$rest; fi
		eval "COMMAND_TEXT_$COMMAND_COUNT=\$COMMAND_TEXT_$COMMAND_COUNT\$rest" HAS_TEXT=1
		return
		;;
	esac
	[ $COMMAND_COUNT -eq 0 ] || [ -n "$HAS_TEXT" ] || refuse protocol 'a command without a text'
	COMMAND_COUNT=$((COMMAND_COUNT + 1)) HAS_TEXT=''
	eval "COMMAND_TEXT_$COMMAND_COUNT="
	IFS=' '
	set -- $rest
	IFS=$NL
	case $line in
	'check '*)
		[ $# -ge 6 ] && is_number "$2" && is_limit "$3" && is_number "$4" && is_number "$5" ||
			refuse protocol "malformed: $line"
		eval "CHECK_NAME_$COMMAND_COUNT=\${rest#* * * * * } CHECK_EXPECTS_$COMMAND_COUNT=\$2"
		eval "COMMAND_LIMIT_$COMMAND_COUNT=\$3 CHECK_RETRIES_$COMMAND_COUNT=\$4 CHECK_INTERVAL_$COMMAND_COUNT=\$5"
		case $1 in
		staged) eval "STAGED_CHECKS_$STEP_COUNT=\$STAGED_CHECKS_$STEP_COUNT\$NL\$COMMAND_COUNT" ;;
		switched) eval "SWITCHED_CHECKS_$STEP_COUNT=\$SWITCHED_CHECKS_$STEP_COUNT\$NL\$COMMAND_COUNT" ;;
		*) refuse protocol "malformed: $line" ;;
		esac
		;;
	'hook '*)
		[ $# -eq 3 ] && is_limit "$2" || refuse protocol "malformed: $line"
		case $3 in rollback | keep) ;; *) refuse protocol "malformed: $line" ;; esac
		eval "COMMAND_LIMIT_$COMMAND_COUNT=\$2 ON_FAILURE_$COMMAND_COUNT=\$3"
		case $1 in
		before) eval "BEFORE_HOOK_$STEP_COUNT=\$COMMAND_COUNT" ;;
		after) eval "AFTER_HOOK_$STEP_COUNT=\$COMMAND_COUNT" ;;
		always) eval "ALWAYS_HOOK_$STEP_COUNT=\$COMMAND_COUNT" ;;
		*) refuse protocol "malformed: $line" ;;
		esac
		;;
	'loaded '*)
		[ $# -eq 1 ] && is_limit "$1" || refuse protocol "malformed: $line"
		# What it says on its error output is no answer.
		eval "COMMAND_LIMIT_$COMMAND_COUNT=\$1 COMMAND_TEXT_$COMMAND_COUNT='exec 2>/dev/null'\$NL"
		eval "QUESTION_$STEP_COUNT=\$COMMAND_COUNT"
		;;
	esac
}

is_limit() { is_number "$1" && [ "$1" -ge 1 ] && [ ${#1} -le 9 ]; }

# environment N VERSION PREVIOUS FOLDER: what the commands that follow get to know of a step.
environment() {
	local variable
	if [ -n "$VARS" ]; then
		for variable in $VARS; do export "UPDOSER_VAR_${variable%% *}=${variable#* }"; done
		VARS=''
	fi
	unset UPDOSER_STAGED
	eval "UPDOSER_COMPONENT=\$COMPONENT_$1"
	UPDOSER_VERSION=$2 UPDOSER_PREVIOUS=$3 UPDOSER_ROOT=$INSTALL_ROOT
	[ "$UPDOSER_PREVIOUS" != - ] || UPDOSER_PREVIOUS=''
	[ "$UPDOSER_VERSION" != - ] || UPDOSER_VERSION=''
	export UPDOSER_COMPONENT UPDOSER_VERSION UPDOSER_PREVIOUS UPDOSER_ROOT
	[ -z "$4" ] || export "UPDOSER_STAGED=$4"
}

# run_command C: runs the command of that number; sets EXITED to the exit status, LATE when the time was up, SAID to the
# last line of its output that isn't empty, and HINDERED where it couldn't be run at all.
# Output goes to a tail by a fifo, for a file would grow; who inherits it and runs on as a daemon is not waited for.
run_command() {
	local place text limit watcher attempt pause said
	eval "text=\$COMMAND_TEXT_$1 limit=\$COMMAND_LIMIT_$1"
	RUN_COUNT=$((RUN_COUNT + 1)) EXITED=126 LATE='' SAID='' HINDERED=''
	# What was ignored when this script was started, no shell can have back.
	[ $RUN_COUNT -gt 1 ] || ! env $DEFAULT_SIGNALS true 2>/dev/null || RESET_SIGNALS=env$NL$DEFAULT_SIGNALS
	place=$STAGE/run.$RUN_COUNT
	mkfifo -m 600 "$place" 2>/dev/null || { HINDERED=1 SAID="no fifo can be made in $STAGE" && return; }
	{
		tail -c 2000 || cat >/dev/null
		: >"$place.end"
	} <"$place" >"$place.said" 2>/dev/null &
	watch_over "$place" "$limit" </dev/null 2>/dev/null &
	watcher=$!
	# In the foreground: a shell has its background jobs ignore INT and QUIT for good.
	for attempt in 1 2 3; do
		(
			trap - HUP INT PIPE
			cd / && echo "$(exec sh -c 'echo $PPID')" >"$place.pid" && exec $SETSID $RESET_SIGNALS sh -c "$text"
		) </dev/null >"$place" 2>&1
		EXITED=$?
		[ ! -e "$place.pid" ] || break # a signal can cut the opening of a fifo short (mksh)
	done
	let_go "$place"
	# Who was late is decided here: a watcher that is killed may run on for a while (mksh).
	if [ -e "$place.late" ]; then
		LATE=1
	else
		true >"$place.over"
		kill $watcher 2>/dev/null
	fi
	wait $watcher
	for pause in 0.02 0.05 0.1 0.3 0.5 1; do
		[ ! -e "$place.end" ] || break
		sleep $pause 2>/dev/null || sleep 1
	done
	for said in $(cat -- "$place.said" 2>/dev/null); do
		case $said in *[!\ "$TAB"]*) SAID=$said ;; esac
	done
	[ ${#SAID} -le 300 ] || SAID=$(printf '%.300s' "$SAID")
}

# watch_over PLACE SECONDS: says every five seconds that all is well; then makes PLACE.late, and ends the process that
# PLACE.pid names, and its children.
watch_over() {
	local left pause job
	NAP='' left=$2
	trap '[ -z "$NAP" ] || kill $NAP; exit 0' TERM
	while [ "$left" -gt 0 ]; do
		pause=5
		[ "$left" -ge 5 ] || pause=$left
		sleep $pause >/dev/null &
		NAP=$!
		wait $NAP
		NAP='' left=$((left - pause))
		kill -0 $$ || break # whoever waited for it was killed
		[ "$left" -le 0 ] || say_alive
	done
	until read -r job 2>/dev/null <"$1.pid"; do
		kill -0 $$ && [ -p "$1" ] || {
			let_go "$1"
			exit 0
		}
		sleep 1
	done
	trap '' TERM
	[ ! -e "$1.over" ] || exit 0
	: >"$1.late"
	VICTIMS=-$job
	[ -n "$SETSID" ] || descendants $job
	kill -s TERM -- $VICTIMS
	sleep 1 >/dev/null
	kill -s KILL -- $VICTIMS
}

# let_go FIFO: ends the waiting of a reader that nobody came to write to.
let_go() { [ ! -p "$1" ] || true <>"$1"; }

# descendants PID: sets VICTIMS to a process and all that it started, where there is no setsid to hold them together.
descendants() {
	local parents found process stat_line
	VICTIMS=$1 parents=$NL$1$NL
	while [ -n "$parents" ]; do
		found=''
		set +f
		set -- /proc/[0-9]*
		set -f
		for process in "$@"; do
			read -r stat_line 2>/dev/null <"$process/stat" || continue
			IFS=' '
			set -- ${stat_line##*) }
			IFS=$NL
			case $parents in *"$NL${2:-0}$NL"*) found=$found$NL${process#/proc/} ;; esac
		done
		VICTIMS=$VICTIMS$found parents=${found:+$found$NL}
	done
}

# --- what running engines have loaded -------------------------------------------------------------------------------

# ask_engine N VERSION PREVIOUS: runs the command that says what is loaded of the component of a step; sets LOADED to how
# it ended, and what it said.
ask_engine() {
	local question carriage_return
	carriage_return=$(printf '\r')
	eval "question=\$QUESTION_$1"
	environment $1 "$2" "$3" ''
	run_command $question
	LOADED=$EXITED
	[ -z "$LATE" ] || LOADED=late
	[ -z "$HINDERED" ] || LOADED=hindered
	SAID=${SAID%"$carriage_return"}
	is_text "$SAID" || LOADED=binary SAID=''
	LOADED=$LOADED${SAID:+ $SAID}
}

# say_loaded COMPONENTS: asks for what is installed, of all that was surveyed. What commands say goes through a folder in
# memory, or in install_root where there is none: rule 10.
say_loaded() {
	local step component version previous place
	for place in /dev/shm/updoser "$STATE/stage" "${TMPDIR:-/tmp}/updoser"; do
		STAGE=$place.$OWN_ID
		! mkdir -m 700 -- "$STAGE" 2>/dev/null || break
		STAGE=''
	done
	step=0
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1)) LOADED=hindered
		eval "component=\$COMPONENT_$step"
		find_component "$1" "$component"
		eval "version=\$VERSION_$FOUND_AT previous=\$PREVIOUS_$FOUND_AT"
		[ $FOUND_AT -gt 0 ] && [ -n "$version" ] || continue
		[ -z "$STAGE" ] || ask_engine $step "$version" "$previous"
		ANSWER="$ANSWER${NL}loaded $component $LOADED"
	done
	cleanup
}

# Asks once more for what was switched to, at the end of a change.
ask_all_engines() {
	local step verdict question version from
	step=0
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1)) LOADED=''
		eval "verdict=\$VERDICT_$step question=\$QUESTION_$step version=\$TO_VERSION_$step from=\$FROM_VERSION_$step"
		[ "$verdict" != changed ] || [ -z "$question" ] || ask_engine $step "$version" "$from"
		eval "LOADED_$step=\$LOADED"
	done
}
