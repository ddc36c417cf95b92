# --- deploy ---------------------------------------------------------------------------------------------------------
# A deploy request from its beginning to its answer.

# Says whether anything is to be done; if not, nothing at all is written.
is_needed() {
	[ "$LINEAGE_HERE $EPOCH_HERE" = "$LINEAGE $EPOCH" ] || return 0
	[ ! -L "$STATE/lock" ] || return 0 # what a run that was killed left behind
	at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at"
		case $verdict in go | layout) return 0 ;; esac
	done
	return 1
}

answer_outcomes() {
	ANSWER='' at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at version=\$V_$at digest=\$D_$at why=\$Q_$at component=\$C_$at to=\$TV_$at to_digest=\$TD_$at"
		[ "$verdict" != changed ] || version=$to digest=$to_digest
		ANSWER="$ANSWER$NL$component $verdict ${version:--} ${digest:--} $why"
	done
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
	check_room
	make_places
	receive
	verify
	take_lock
	recheck
	settle
	at=0 switched='' SPARE='' SPARE_MANIFESTS=''
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at"
		case $verdict in go | layout) ;; *) continue ;; esac
		switch $at
		eval "verdict=\$M_$at component=\$C_$at"
		[ "$verdict" = changed ] || continue
		switched=$switched$NL$R/$component
		prune $at
	done
	[ -z "$switched" ] || make_durable "$switched"
	if [ -n "$SPARE" ]; then
		batch "$SPARE" chmod u+rwx -- 2>/dev/null
		batch "$SPARE" rm -rf -- && batch "$SPARE_MANIFESTS" rm -f --
	fi
	answer_outcomes
}
