# --- checks and hooks -----------------------------------------------------------------------------------------------
# Commands of the spec: rules 15 to 17.

# environment N VERSION PREVIOUS FOLDER: what the commands that follow get to know of a step.
environment() {
	if [ -n "$VARS" ]; then
		for variable in $VARS; do export "UPDOSER_VAR_${variable%% *}=${variable#* }"; done
		VARS=''
	fi
	unset UPDOSER_STAGED
	eval "UPDOSER_COMPONENT=\$C_$1"
	UPDOSER_VERSION=$2 UPDOSER_PREVIOUS=$3 UPDOSER_ROOT=$ROOT
	[ "$UPDOSER_PREVIOUS" != - ] || UPDOSER_PREVIOUS=''
	[ "$UPDOSER_VERSION" != - ] || UPDOSER_VERSION=''
	export UPDOSER_COMPONENT UPDOSER_VERSION UPDOSER_PREVIOUS UPDOSER_ROOT
	[ -z "$4" ] || export "UPDOSER_STAGED=$4"
}

# run_command C: sets EXITED to the exit status, LATE when the time was up, SAID to the last line of its output, and
# HINDERED where it couldn't be run at all.
# Output goes to a tail by a fifo, for a file would grow; who inherits it and runs on as a daemon is not waited for.
run_command() {
	eval "command_text=\$CT_$1 command_limit=\$CL_$1"
	runs=$((runs + 1)) EXITED=126 LATE='' SAID='' HINDERED=''
	# What was ignored when this script was started, no shell can have back.
	[ $runs -gt 1 ] || ! env $DEFAULT_SIGNALS true 2>/dev/null || USUALLY=env$NL$DEFAULT_SIGNALS
	place=$STAGE/run.$runs
	mkfifo -m 600 "$place" 2>/dev/null || { HINDERED=1 SAID="no fifo can be made in $STAGE" && return; }
	{
		tail -c 2000 || cat >/dev/null
		: >"$place.end"
	} <"$place" >"$place.said" 2>/dev/null &
	watch_over "$place" "$command_limit" </dev/null 2>/dev/null &
	watcher=$!
	# In the foreground: a shell has its background jobs ignore INT and QUIT for good.
	for attempt in 1 2 3; do
		(
			trap - HUP INT PIPE
			cd / && echo "$(exec sh -c 'echo $PPID')" >"$place.pid" && exec $SETSID $USUALLY sh -c "$command_text"
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
	for said in $(cat -- "$place.said" 2>/dev/null); do SAID=$said; done
	[ ${#SAID} -le 300 ] || SAID=$(printf '%.300s' "$SAID")
}

# watch_over PLACE SECONDS: says every five seconds that all is well; then makes PLACE.late, and ends the process that
# PLACE.pid names, and its children.
watch_over() {
	nap='' left=$2
	trap '[ -z "$nap" ] || kill $nap; exit 0' TERM
	while [ "$left" -gt 0 ]; do
		pause=5
		[ "$left" -ge 5 ] || pause=$left
		sleep $pause >/dev/null &
		nap=$!
		wait $nap
		nap='' left=$((left - pause))
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
	victims=-$job
	[ -n "$SETSID" ] || descendants $job
	kill -s TERM -- $victims
	sleep 1 >/dev/null
	kill -s KILL -- $victims
}

# let_go FIFO: ends the waiting of a reader that nobody came to write to.
let_go() { [ ! -p "$1" ] || true <>"$1"; }

# descendants PID: sets `victims` to a process and all that it started, where there is no setsid to hold them together.
descendants() {
	victims=$1 parents=$NL$1$NL
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
		victims=$victims$found parents=${found:+$found$NL}
	done
}

# Sleeps for so many seconds, and says that all is well meanwhile.
sleep_on() {
	left=$1
	while [ "$left" -gt 0 ]; do
		pause=5
		[ "$left" -ge 5 ] || pause=$left
		sleep $pause
		left=$((left - pause))
		say_alive
	done
}

# describe_run C KIND EXPECTED: sets WHY to what a command did that wasn't good, and CODE to what that is about.
describe_run() {
	CODE=$2
	[ -z "$HINDERED" ] || CODE=unwritable
	set -- "$1" "$3"
	eval "WHY=\"no end within \$CL_$1 s\""
	[ -n "$LATE" ] || WHY="exit $EXITED${2:+, expected $2}"
	[ -z "$SAID" ] || WHY="$WHY: $SAID"
}

# run_checks LIST WHEN: runs checks until one fails; WHY and CODE then say which, or WHY is empty.
run_checks() {
	WHY=''
	for check in $1; do
		eval "expected=\$CX_$check tries=\$CR_$check interval=\$CI_$check name=\$CN_$check"
		while :; do
			run_command $check
			[ -n "$LATE" ] || [ "$EXITED" -ne "$expected" ] || break
			[ "$tries" -gt 0 ] || {
				describe_run $check check "$expected"
				WHY="check $name failed $2: $WHY"
				return
			}
			tries=$((tries - 1))
			sleep_on "$interval"
		done
	done
}

# Rule 16. Files are looked at again when a check is through with them.
run_staged_checks() {
	at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at checks=\$CS_$at component=\$C_$at version=\$TV_$at from=\$FV_$at"
		case $verdict in go) ready=$TREE/$component/$version ;; layout) ready=$R/$component/$version ;; *) continue ;; esac
		[ -n "$checks" ] || continue
		environment $at "$version" "$from" "$ready"
		run_checks "$checks" 'before the switch'
		[ -z "$WHY" ] || { fails $at $CODE "$WHY" && continue; }
		[ "$verdict" = go ] || continue
		expect $at
		set -- $paths
		cd "$TREE" && [ "$(batch "$paths" sha256sum -- 2>/dev/null)" = "${expected#"$NL"}" ] &&
			has_only $# "$TREE/$component/$version" ||
			fails $at check 'a check changed the files that it was to look at'
	done
}

# Carries out a request that only asks for checks of what is in force.
check_in_force() {
	[ ! -L "$STATE/lock" ] || refuse_live_lock
	make_places
	read_closing
	at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at checks=\$CW_$at version=\$TV_$at from=\$FV_$at"
		[ "$verdict" = check ] || continue
		environment $at "$version" "$from" ''
		run_checks "$checks" 'in force'
		eval "M_$at=ok"
		[ -z "$WHY" ] || fails $at $CODE "$WHY"
	done
	answer_outcomes
}

# --- hooks ----------------------------------------------------------------------------------------------------------

# run_once KIND C: runs a hook, unless one with the same text ran in this round: then its result is taken. Sets WHY and CODE.
run_once() {
	eval "text=\$CT_$2"
	for earlier in $ran; do
		eval "same=\$CT_$earlier"
		[ "$same" != "$text" ] || { eval "WHY=\$CW_OF_$earlier CODE=\$CB_OF_$earlier" && return; }
	done
	ran=$ran$NL$2 WHY='' CODE=''
	run_command $2
	if [ -n "$LATE" ] || [ "$EXITED" -ne 0 ]; then
		describe_run $2 hook ''
		WHY="hook $1 failed: $WHY"
	fi
	eval "CW_OF_$2=\$WHY CB_OF_$2=\$CODE"
}

# Notes what is to be run at the end whatever happens, and says whether there is anything to switch.
begin() {
	at=0 ALWAYS='' begun=''
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at hook=\$HZ_$at"
		case $verdict in go | layout) ;; *) continue ;; esac
		begun=1
		[ -z "$hook" ] || ALWAYS=$ALWAYS$NL$at
	done
	[ -n "$begun" ]
}

# run_before SETTLED: runs the `before` hooks; what can't go on because of one is withdrawn if it was settled already.
run_before() {
	begin || return 0
	at=0 ran=''
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at hook=\$HB_$at version=\$TV_$at from=\$FV_$at"
		case $verdict in go | layout) ;; *) continue ;; esac
		[ -n "$hook" ] || continue
		BEGUN=1
		environment $at "$version" "$from" ''
		run_once before "$hook"
		[ -n "$WHY" ] || continue
		fails $at $CODE "$WHY"
		[ -z "$1" ] || [ "$version" = "$from" ] || withdraw $at
	done
}

# Runs the `after` hooks of what was switched; the switches that they don't approve of are taken back.
run_after() {
	at=0 ran='' back=''
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at hook=\$HA_$at version=\$TV_$at from=\$FV_$at"
		[ "$verdict" = changed ] && [ -n "$hook" ] || continue
		environment $at "$version" "$from" ''
		run_once after "$hook"
		[ -n "$WHY" ] || continue
		eval "Q_$at=\$WHY B_$at=\$CODE on_failure=\$CF_$hook"
		[ "$on_failure" = keep ] || back=$back$NL$at
	done
	undone=''
	for at in $back; do
		eval "why=\$Q_$at code=\$B_$at"
		! go_back $at $code "$why" || undone=$undone$NL$at
	done
	ran=''
	for at in $undone; do run_again $at; done
}

# run_again N: runs the `after` hook of a step that went back: what it loads now is what was there before.
run_again() {
	eval "hook=\$HA_$1 version=\$TV_$1 from=\$FV_$1"
	[ -n "$hook" ] || return 0
	environment $1 "$from" "$version" ''
	run_once after "$hook"
	[ -z "$WHY" ] || eval "Q_$1=\"\$Q_$1; once back, \$WHY\""
}

# Runs the switched checks, one component after the other.
run_switched_checks() {
	at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at checks=\$CW_$at version=\$TV_$at from=\$FV_$at"
		[ "$verdict" = changed ] && [ -n "$checks" ] || continue
		environment $at "$version" "$from" ''
		run_checks "$checks" 'after the switch'
		[ -n "$WHY" ] || continue
		ran=''
		! go_back $at $CODE "$WHY" || run_again $at
	done
}

# Runs the `always` hooks, at the end of whatever happened since something was begun.
run_always() {
	BEGUN='' ran=''
	for at in $ALWAYS; do
		eval "hook=\$HZ_$at version=\$TV_$at from=\$FV_$at"
		environment $at "$version" "$from" ''
		run_once always "$hook"
		[ -z "$WHY" ] || eval "Q_$at=\"\${Q_$at:+\$Q_$at; }\$WHY\""
	done
}

# --- what is left when a run is killed ------------------------------------------------------------------------------

# Rule 17. Marks the versions that something is to be run after.
mark_unchecked() {
	at=0 marks=''
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at component=\$C_$at version=\$TV_$at from=\$V_$at followed=\$CW_$at\$HA_$at"
		case $verdict in go | layout) ;; *) continue ;; esac
		[ -n "$followed" ] || continue
		[ -d "$STATE/unchecked" ] || mkdir -m 700 -- "$STATE/unchecked" 2>/dev/null ||
			fail unwritable "$STATE/unchecked can't be made"
		printf '%s\n' "$version" >>"$STATE/unchecked/$component" || fail unwritable "$STATE/unchecked can't be written"
		eval "MK_$at=1"
		[ "$verdict $version" != "go $from" ] || eval "RP_$at=1" # what is replaced in its place can't go back
		marks=$marks$NL$STATE/unchecked/$component
	done
	[ -z "$marks" ] || make_durable "$marks$NL$STATE/unchecked$NL$STATE"
}

# Takes the marks of what has passed, and of what went back; that may have one of its own.
unmark() {
	[ -d "$STATE/unchecked" ] || return 0
	at=0 passed=''
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at component=\$C_$at version=\$V_$at marked=\$MK_$at was=\$UC_$at stays=\$RP_$at"
		case $verdict:$marked:$stays in
		changed:*) was='' ;;
		failed:1:) ;;
		*) continue ;;
		esac
		[ -e "$STATE/unchecked/$component" ] || continue
		if [ -n "$was" ]; then
			printf '%s\n' "$version" >"$STAGE/due.mark.$at" && due "$STAGE/due.mark.$at" "$STATE/unchecked/$component"
		else
			passed=$passed$NL$STATE/unchecked/$component
		fi
	done
	[ -z "$DUE" ] || commit ''
	[ -z "$passed" ] || batch "$passed" rm -f --
	rmdir -- "$STATE/unchecked" 2>/dev/null
}
