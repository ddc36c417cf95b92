# --- deploy ---------------------------------------------------------------------------------------------------------
# A deploy request from its beginning to its answer.

# Says whether anything is to be done; if not, nothing at all is written.
is_needed() {
	if [ $PURPOSE != check ]; then
		[ "$LINEAGE_HERE $EPOCH_HERE" = "$LINEAGE $EPOCH" ] || return 0
		[ ! -L "$STATE/lock" ] || alive "$(readlink "$STATE/lock")" || return 0 # what a run that was killed left behind
	fi
	at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at"
		case $verdict in go | layout | check) return 0 ;; esac
	done
	return 1
}

answer_outcomes() {
	ANSWER='' at=0 codes=''
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at version=\$V_$at digest=\$D_$at why=\$Q_$at component=\$C_$at to=\$TV_$at to_digest=\$TD_$at"
		[ "$verdict" != changed ] || version=$to digest=$to_digest
		ANSWER="$ANSWER$NL$component $verdict ${version:--} ${digest:--} $why"
		[ "$verdict" != failed ] || eval "codes=\"\$codes\$NL\$at \$B_$at\""
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
	[ $PURPOSE != check ] || check_in_force
	try_tools_once
	check_room
	make_places
	receive
	verify
	[ $COMMANDS -eq 0 ] || run_staged_checks
	take_lock
	recheck
	[ $PURPOSE = switch ] || {
		settle
		staged
		answer_outcomes
	}
	[ $COMMANDS -eq 0 ] || mark_unchecked
	if [ $COMMANDS -gt 0 ] && repairs; then
		run_before ''
		settle
	else
		settle
		[ $COMMANDS -eq 0 ] || run_before settled
	fi
	switch_all
	[ $COMMANDS -eq 0 ] || {
		run_after
		run_switched_checks
	}
	unmark
	[ -z "$BEGUN" ] || run_always
	prune_all
	answer_outcomes
}

# Says whether files of a version in force are to be replaced, which happens as soon as versions come to their places.
repairs() {
	at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at version=\$TV_$at from=\$V_$at"
		[ "$verdict" != go ] || [ "$version" != "$from" ] || return 0
	done
	return 1
}

# What was to be made ready is so, when it has come to its place.
staged() {
	at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at"
		[ "$verdict" != go ] || eval "M_$at=staged"
	done
}

switch_all() {
	at=0 UNDONE=0 WRITTEN='' TOUCHED=''
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at component=\$C_$at"
		case $verdict in go | layout) ;; *) continue ;; esac
		[ $COMMANDS -eq 0 ] || BEGUN=1
		switch $at
		eval "component=\$C_$at"
		TOUCHED=$TOUCHED$NL$R/$component
	done
	# A manifest that can't be replaced any more will do: it has its files hashed.
	[ -z "$TOUCHED" ] || commit "$WRITTEN$TOUCHED"
}

# Removes what need not be kept; a version that was sent early stays until another one is switched to.
prune_all() {
	at=0 SPARE='' SPARE_MANIFESTS=''
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at version=\$TV_$at from=\$V_$at"
		[ "$verdict" != changed ] || [ "$version" = "$from" ] || prune $at
	done
	if [ -n "$SPARE" ]; then
		stay_alive
		batch "$SPARE" chmod u+rwx -- 2>/dev/null
		batch "$SPARE" rm -rf -- && batch "$SPARE_MANIFESTS" rm -f --
	fi
}
