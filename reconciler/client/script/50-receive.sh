# --- receiving ------------------------------------------------------------------------------------------------------
# Bytes come in: to a folder of our own, hashed before anything is believed.

# Makes install_root and .updoser, and sweeps up after runs that are gone.
make_places() {
	if [ -z "$ROOT_THERE" ]; then
		mkdir -p -- "$ROOT" 2>/dev/null || fail unwritable "$ROOT can't be made"
		check_root
		[ -n "$ROOT_THERE" ] || fail unwritable "$ROOT can't be made"
	fi
	[ -d "$STATE" ] || mkdir -m 700 -- "$STATE" 2>/dev/null || fail unwritable "$STATE can't be made"
	[ -d "$STATE/manifests" ] || mkdir -m 700 -- "$STATE/manifests" 2>/dev/null ||
		fail unwritable "$STATE/manifests can't be made"
	set +f
	set -- "$STATE"/stage.*
	set -f
	for left in "$@"; do
		if [ -d "$left" ] && ! alive "${left##*/stage.}"; then
			chmod -R u+rwx "$left" 2>/dev/null
			rm -rf -- "$left"
		fi
	done
	STAGE=$STATE/stage.$ME
	mkdir -m 700 -- "$STAGE" 2>/dev/null || { STAGE='' && fail unwritable "$STATE can't be written"; }
}

# take SIZE FILE: reads so many bytes of the payload into a file.
take() {
	if [ "$1" -eq 0 ]; then
		: >"$2"
	elif [ "$1" -le 4194304 ]; then
		dd bs="$1" count=1 iflag=fullblock of="$2" 2>/dev/null
	else
		dd bs=1048576 count=$(($1 / 1048576)) iflag=fullblock of="$2" 2>/dev/null
		[ $(($1 % 1048576)) -eq 0 ] || dd bs=$(($1 % 1048576)) count=1 iflag=fullblock 2>/dev/null >>"$2"
	fi
}

# Rule 1. Reads all payloads; files land in TREE under the paths that they will have below install_root.
receive() {
	TREE=$STAGE/tree
	mkdir -- "$TREE" && cd "$TREE" || fail unwritable "$STAGE can't be written"
	folders='' at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at component=\$C_$at version=\$TV_$at"
		[ "$verdict" != go ] || folders=$folders$NL$component/$version
	done
	[ -z "$folders" ] || batch "$folders" mkdir -p -- || fail unwritable "$STAGE can't be written"
	at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at lines=\$S_$at component=\$C_$at version=\$TV_$at from=\$FV_$at"
		drained=0 copied=''
		for line in $lines; do
			case $line in
			'file sent '*)
				rest=${line#file sent }
				size=${rest%% *}
				if [ "$verdict" = go ]; then
					take "$size" "$component/$version/${rest#* * }" || fail disk "$STAGE can't be written: no room?"
				else
					drained=$((drained + size))
				fi
				;;
			'file kept '*) copied=$copied$NL$R/$component/$from/${line#file kept * * } ;;
			esac
		done
		[ $drained -eq 0 ] || take $drained /dev/null
		if [ "$verdict" = go ] && [ -n "$copied" ]; then
			copy_into() { cp -- "$@" "$TREE/$component/$version/"; }
			batch "$copied" copy_into 2>/dev/null || fails $at "files of $from can't be copied"
		fi
	done
	go=$(dd bs=3 count=1 iflag=fullblock 2>/dev/null)
	[ "$go" = go ] || fail cut 'the request was cut short'
}

# Hashes all that was received at once; on a difference, each step by itself.
verify() {
	at=0 all='' files=''
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at"
		[ "$verdict" = go ] || continue
		expect $at
		all=$all$expected files=$files$paths
	done
	[ -n "$files" ] || return 0
	if [ "$(batch "$files" sha256sum -- 2>/dev/null)" != "${all#"$NL"}" ]; then
		at=0
		while [ $at -lt $COUNT ]; do
			at=$((at + 1))
			eval "verdict=\$M_$at"
			[ "$verdict" = go ] || continue
			expect $at
			[ "$(batch "$paths" sha256sum -- 2>/dev/null)" = "${expected#"$NL"}" ] ||
				fails $at 'what arrived has other bytes than announced'
		done
	fi
}

# expect N: sets `expected` to the sha256sum lines of a step and `paths` to its files.
expect() {
	eval "lines=\$S_$1 component=\$C_$1 version=\$TV_$1"
	expected='' paths=''
	for line in $lines; do
		case $line in 'file '*) ;; *) continue ;; esac
		digest=${line#file * * }
		path=$component/$version/${digest#* }
		expected="$expected$NL${digest%% *}  $path" paths=$paths$NL$path
	done
}
