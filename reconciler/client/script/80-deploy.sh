# --- deploy ---------------------------------------------------------------------------------------------------------
# A deploy request from its beginning to its answer.

# Says whether anything is to be done; if not, nothing at all is written.
is_needed() {
	local step verdict
	if [ $PURPOSE != check ]; then
		[ "$LINEAGE_HERE $EPOCH_HERE" = "$LINEAGE $EPOCH" ] || return 0
		[ ! -L "$STATE/lock" ] || is_alive "$(readlink "$STATE/lock")" || return 0 # what a run that was killed left behind
	fi
	step=0
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "verdict=\$VERDICT_$step"
		case $verdict in go | layout | check) return 0 ;; esac
	done
	return 1
}

answer_outcomes() {
	local step codes verdict version digest why component to to_digest loaded
	ANSWER='' step=0 codes=''
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "verdict=\$VERDICT_$step version=\$VERSION_$step digest=\$DIGEST_$step why=\$REASON_$step"
		eval "component=\$COMPONENT_$step to=\$TO_VERSION_$step to_digest=\$TO_DIGEST_$step loaded=\$LOADED_$step"
		[ "$verdict" != changed ] || version=$to digest=$to_digest
		ANSWER="$ANSWER$NL$component $verdict ${version:--} ${digest:--} $why"
		[ "$verdict" != failed ] || eval "codes=\"\$codes\$NL\$step \$FAULT_$step\""
		[ -z "$loaded" ] || codes="$codes$NL$step loaded $loaded"
	done
	ANSWER=$ANSWER$codes
	answer outcomes
}

deploy() {
	read_steps
	check_root
	LINEAGE_HERE='' EPOCH_HERE=0
	if [ -n "$ROOT_THERE" ]; then
		read_controller
		refuse_foreign
	fi
	survey "$COMPONENTS"
	judge
	is_needed || answer_outcomes
	[ $PURPOSE != check ] || run_checks_in_force
	try_tools_once
	check_room
	make_places
	receive
	verify
	[ $COMMAND_COUNT -eq 0 ] || run_staged_checks
	take_lock
	recheck
	[ $PURPOSE = switch ] || {
		settle
		mark_staged
		answer_outcomes
	}
	[ $COMMAND_COUNT -eq 0 ] || mark_unchecked
	if [ $COMMAND_COUNT -gt 0 ] && repairs; then
		run_before ''
		settle
	else
		settle
		[ $COMMAND_COUNT -eq 0 ] || run_before settled
	fi
	switch_all
	[ $COMMAND_COUNT -eq 0 ] || {
		run_after
		run_switched_checks
	}
	unmark
	[ -z "$BEGUN" ] || run_always
	prune_all
	[ $COMMAND_COUNT -eq 0 ] || ask_all_engines
	answer_outcomes
}

# Says whether files of a version in force are to be replaced, which happens as soon as versions come to their places.
repairs() {
	local step verdict version from
	step=0
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "verdict=\$VERDICT_$step version=\$TO_VERSION_$step from=\$VERSION_$step"
		[ "$verdict" != go ] || [ "$version" != "$from" ] || return 0
	done
	return 1
}

# What was to be made ready is so, when it has come to its place.
mark_staged() {
	local step verdict
	step=0
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "verdict=\$VERDICT_$step"
		[ "$verdict" != go ] || eval "VERDICT_$step=staged"
	done
}

switch_all() {
	local step verdict component
	step=0 UNDO_COUNT=0 WRITTEN='' TOUCHED='' ARRIVED=''
	switch_at_once
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "verdict=\$VERDICT_$step component=\$COMPONENT_$step"
		case $verdict in go | layout) ;; *) continue ;; esac
		switch $step
		TOUCHED=$TOUCHED$NL$ROOT/$component
	done
	note_targets
	# A manifest that can't be replaced any more will do: it has its files hashed.
	[ -z "$TOUCHED" ] || commit "$WRITTEN$TOUCHED"
}

# Removes what need not be kept; a version that was sent early stays until another one is switched to.
prune_all() {
	local step verdict version from manifests
	set +f
	set -- "$STATE"/manifests/*@*
	set -f
	manifests=$*
	step=0 SPARE='' SPARE_MANIFESTS=''
	while [ $step -lt $STEP_COUNT ]; do
		step=$((step + 1))
		eval "verdict=\$VERDICT_$step version=\$TO_VERSION_$step from=\$VERSION_$step"
		[ "$verdict" != changed ] || [ "$version" = "$from" ] || prune $step "$manifests"
	done
	if [ -n "$SPARE" ]; then
		stay_alive
		batch "$SPARE" chmod u+rwx -- 2>/dev/null
		batch "$SPARE" rm -rf -- && batch "$SPARE_MANIFESTS" rm -f --
	fi
}
