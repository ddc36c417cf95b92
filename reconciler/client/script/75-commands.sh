# --- checks and hooks -----------------------------------------------------------------------------------------------
# Commands of the spec: rules 15 to 17.

# Sleeps for so many seconds, and says that all is well meanwhile.
sleep_on() {
	local left pause
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
	eval "WHY=\"no end within \$COMMAND_LIMIT_$1 s\""
	[ -n "$LATE" ] || WHY="exit $EXITED${2:+, expected $2}"
	[ -z "$SAID" ] || WHY="$WHY: $SAID"
}

# run_checks LIST WHEN: runs checks until one fails; WHY and CODE then say which, or WHY is empty.
run_checks() {
	local check expected tries interval name
	WHY=''
	for check in $1; do
		eval "expected=\$CHECK_EXPECTS_$check tries=\$CHECK_RETRIES_$check"
		eval "interval=\$CHECK_INTERVAL_$check name=\$CHECK_NAME_$check"
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
	local step verdict checks component version from ready
	step=0
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "verdict=\$VERDICT_$step checks=\$STAGED_CHECKS_$step component=\$COMPONENT_$step"
		eval "version=\$TO_VERSION_$step from=\$FROM_VERSION_$step"
		case $verdict in go) ready=$TREE/$component/$version ;; layout) ready=$ROOT/$component/$version ;; *) continue ;; esac
		[ -n "$checks" ] || continue
		environment $step "$version" "$from" "$ready"
		run_checks "$checks" 'before the switch'
		[ -z "$WHY" ] || { fail_step $step $CODE "$WHY" && continue; }
		[ "$verdict" = go ] || continue
		expect $step
		set -- $EXPECTED_PATHS
		cd "$TREE" && have_sums "$EXPECTED_PATHS" "$EXPECTED_SUMS" $EXPECTED_BYTES &&
			has_only $# "$TREE/$component/$version" ||
			fail_step $step check 'a check changed the files that it was to look at'
	done
}

# Carries out a request that only asks for checks of what is in force.
run_checks_in_force() {
	local step verdict checks version from
	[ ! -L "$STATE/lock" ] || refuse_live_lock
	make_places
	read_closing
	step=0
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "verdict=\$VERDICT_$step checks=\$SWITCHED_CHECKS_$step version=\$TO_VERSION_$step from=\$FROM_VERSION_$step"
		[ "$verdict" = check ] || continue
		environment $step "$version" "$from" ''
		run_checks "$checks" 'in force'
		eval "VERDICT_$step=ok"
		[ -z "$WHY" ] || fail_step $step $CODE "$WHY"
	done
	answer_outcomes
}

# --- hooks ----------------------------------------------------------------------------------------------------------

# run_once KIND C: runs a hook, unless one with the same text RAN in this round: then its result is taken. Sets WHY and
# CODE.
run_once() {
	local text earlier same
	eval "text=\$COMMAND_TEXT_$2"
	for earlier in $RAN; do
		eval "same=\$COMMAND_TEXT_$earlier"
		[ "$same" != "$text" ] || { eval "WHY=\$RESULT_WHY_$earlier CODE=\$RESULT_CODE_$earlier" && return; }
	done
	RAN=$RAN$NL$2 WHY='' CODE=''
	run_command $2
	if [ -n "$LATE" ] || [ "$EXITED" -ne 0 ]; then
		describe_run $2 hook ''
		WHY="hook $1 failed: $WHY"
	fi
	eval "RESULT_WHY_$2=\$WHY RESULT_CODE_$2=\$CODE"
}

# Notes what is ALWAYS to be run at the end, whatever happens, and says whether there is anything to switch.
note_always_hooks() {
	local step verdict hook begun
	step=0 ALWAYS='' begun=''
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "verdict=\$VERDICT_$step hook=\$ALWAYS_HOOK_$step"
		case $verdict in go | layout) ;; *) continue ;; esac
		begun=1
		[ -z "$hook" ] || ALWAYS=$ALWAYS$NL$step
	done
	[ -n "$begun" ]
}

# run_before SETTLED: runs the `before` hooks; what can't go on because of one is withdrawn if it was settled already.
run_before() {
	local step verdict hook version from
	note_always_hooks || return 0
	step=0 RAN=''
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "verdict=\$VERDICT_$step hook=\$BEFORE_HOOK_$step version=\$TO_VERSION_$step from=\$FROM_VERSION_$step"
		case $verdict in go | layout) ;; *) continue ;; esac
		[ -n "$hook" ] || continue
		BEGUN=1
		environment $step "$version" "$from" ''
		run_once before "$hook"
		[ -n "$WHY" ] || continue
		fail_step $step $CODE "$WHY"
		[ -z "$1" ] || [ "$version" = "$from" ] || withdraw $step
	done
}

# Runs the `after` hooks of what was switched; the switches that they don't approve of are taken back.
run_after() {
	local step verdict hook version from back on_failure went_back why code
	step=0 RAN='' back=''
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "verdict=\$VERDICT_$step hook=\$AFTER_HOOK_$step version=\$TO_VERSION_$step from=\$FROM_VERSION_$step"
		[ "$verdict" = changed ] && [ -n "$hook" ] || continue
		environment $step "$version" "$from" ''
		run_once after "$hook"
		[ -n "$WHY" ] || continue
		eval "REASON_$step=\$WHY FAULT_$step=\$CODE on_failure=\$ON_FAILURE_$hook"
		[ "$on_failure" = keep ] || back=$back$NL$step
	done
	went_back=''
	for step in $back; do
		eval "why=\$REASON_$step code=\$FAULT_$step"
		! go_back $step $code "$why" || went_back=$went_back$NL$step
	done
	RAN=''
	for step in $went_back; do run_again $step; done
}

# run_again N: runs the `after` hook of a step that went back: what it loads now is what was there before.
run_again() {
	local hook version from
	eval "hook=\$AFTER_HOOK_$1 version=\$TO_VERSION_$1 from=\$FROM_VERSION_$1"
	[ -n "$hook" ] || return 0
	environment $1 "$from" "$version" ''
	run_once after "$hook"
	[ -z "$WHY" ] || eval "REASON_$1=\"\$REASON_$1; once back, \$WHY\""
}

# Runs the switched checks, one component after the other.
run_switched_checks() {
	local step verdict checks version from
	step=0
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "verdict=\$VERDICT_$step checks=\$SWITCHED_CHECKS_$step version=\$TO_VERSION_$step from=\$FROM_VERSION_$step"
		[ "$verdict" = changed ] && [ -n "$checks" ] || continue
		environment $step "$version" "$from" ''
		run_checks "$checks" 'after the switch'
		[ -n "$WHY" ] || continue
		RAN=''
		! go_back $step $CODE "$WHY" || run_again $step
	done
}

# Runs the `always` hooks, at the end of whatever happened since something was begun.
run_always() {
	local step hook version from
	BEGUN='' RAN=''
	for step in $ALWAYS; do
		eval "hook=\$ALWAYS_HOOK_$step version=\$TO_VERSION_$step from=\$FROM_VERSION_$step"
		environment $step "$version" "$from" ''
		run_once always "$hook"
		[ -z "$WHY" ] || eval "REASON_$step=\"\${REASON_$step:+\$REASON_$step; }\$WHY\""
	done
}

# --- what is left when a run is killed ------------------------------------------------------------------------------

# Rule 17. Marks the versions that something is to be run after.
mark_unchecked() {
	local step verdict component version from followed marks
	step=0 marks=''
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "verdict=\$VERDICT_$step component=\$COMPONENT_$step version=\$TO_VERSION_$step from=\$VERSION_$step"
		eval "followed=\$SWITCHED_CHECKS_$step\$AFTER_HOOK_$step"
		case $verdict in go | layout) ;; *) continue ;; esac
		[ -n "$followed" ] || continue
		[ -d "$STATE/unchecked" ] || mkdir -m 700 -- "$STATE/unchecked" 2>/dev/null ||
			refuse unwritable "$STATE/unchecked can't be made"
		printf '%s\n' "$version" >>"$STATE/unchecked/$component" || refuse unwritable "$STATE/unchecked can't be written"
		eval "MARKED_$step=1"
		[ "$verdict $version" != "go $from" ] || eval "IN_PLACE_$step=1" # what is replaced in its place can't go back
		marks=$marks$NL$STATE/unchecked/$component
	done
	[ -z "$marks" ] || make_durable "$marks$NL$STATE/unchecked$NL$STATE"
}

# Takes the marks of what has passed, and of what went back; that may have one of its own.
unmark() {
	local step verdict component version marked was stays passed
	[ -d "$STATE/unchecked" ] || return 0
	step=0 passed=''
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "verdict=\$VERDICT_$step component=\$COMPONENT_$step version=\$VERSION_$step"
		eval "marked=\$MARKED_$step was=\$WAS_UNCHECKED_$step stays=\$IN_PLACE_$step"
		case $verdict:$marked:$stays in
		changed:*) was='' ;;
		failed:1:) ;;
		*) continue ;;
		esac
		[ -e "$STATE/unchecked/$component" ] || continue
		if [ -n "$was" ]; then
			printf '%s\n' "$version" >"$STAGE/due.mark.$step" &&
				rename_later "$STAGE/due.mark.$step" "$STATE/unchecked/$component"
		else
			passed=$passed$NL$STATE/unchecked/$component
		fi
	done
	[ -z "$DUE" ] || commit ''
	[ -z "$passed" ] || batch "$passed" rm -f --
	rmdir -- "$STATE/unchecked" 2>/dev/null
}
