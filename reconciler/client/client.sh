#!/bin/sh
# What runs on a client: looks (facts) or changes (deploy), and answers on stdout. POSIX sh; dash, bash and busybox.
#
# It needs sh, dd, sha256sum, mv -T, ln, readlink, sync and mkdir chmod chown cp rm ls df cat id uname; it uses stat and
# restorecon where they are. The controller sends it ahead of each request; a copy that root owns can be the one
# command that sudoers allows. The first line of a request is `updoser 1 OP BYTES`, then BYTES of header lines up to
# `end`, then the payload of all steps, then `go`. reconciler/client/requests.py writes it, protocol.py reads the answer.
#
#  1 Read by length, with dd iflag=fullblock: head -c and plain dd lose bytes. Payloads of steps that aren't carried
#    out are drained. Without the closing `go` nothing is switched.
#  2 No tar (it restores owners), no pipeline whose exit status matters, no plain mv onto something.
#  3 Everything in the header is checked, and an unknown directive refuses the request, before anything is touched.
#  4 install_root and its parents belong to root or to us and nobody else can write there; links in the places that
#    are ours are refused; staging is created exclusively, mode 0700, and everything is made ready in it.
#  5 Room is checked on each file system before anything is written, and no more than the header's sizes is written.
#  6 One lock, a symbolic link that names pid, boot and start time; it is held while switching, never while waiting
#    for bytes. A lock whose holder is gone is taken over by a rename that only one can win.
#  7 The manifest is written and synced before `current` moves: the link is the only commit point. Killed anywhere,
#    `current` leads to one whole version. What a run left behind, the next one removes. The exception is a version
#    whose bytes are replaced under its own name, as when it is damaged: that goes file by file, each by a rename.
#  8 Targets follow the switch. If one fails, all of them and `current` go back.
#  9 SIGPIPE and SIGHUP are ignored, and the answer is printed when all is done or undone.
# 10 Only versions that have a manifest are pruned, never `current` or the previous one. In target folders only what
#    `replaces` names, and what was put there before, is removed. facts writes nothing.
# 11 What is believed without hashing is a file whose mode, owner, inode, size and times are those of the manifest.
#
# A manifest, .updoser/manifests/COMPONENT@VERSION, has a line for itself, one for each file, target and watched folder:
#   manifest COMPONENT VERSION DIGEST PREVIOUS LAYOUT
#   f SIZE SHA256 STAMP|COMPONENT/VERSION/NAME
#   i SIZE SHA256 STAMP|/FOLDER/NAME        (for a link the digest is -)
#   w /FOLDER
#   end

LC_ALL=C TZ=UTC0
export LC_ALL TZ
unset CDPATH ENV BASH_ENV
STANDARD_PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# A script that is started as a file is the wrapper of sudoers: the caller's PATH must not choose its tools.
case $0 in */*) PATH=$STANDARD_PATH ;; *) PATH=${PATH:+$PATH:}$STANDARD_PATH ;; esac
export PATH
umask 022
set -f
trap '' HUP INT PIPE
NL='
'
IFS=$NL
STAMP='%f %u %g %i %s %y|%z|%n'
STAGE='' LOCKED='' COUNT=0 NOSTAMP='-|-|'

cleanup() {
	[ -z "$STAGE" ] || { chmod -R u+rwx "$STAGE" 2>/dev/null; rm -rf -- "$STAGE"; }
	[ -z "$LOCKED" ] || rm -f "$STATE/lock"
	STAGE='' LOCKED=''
}

# fail CODE TEXT: ends the whole request; nothing was switched.
fail() {
	cleanup
	printf 'updoser 1 error\n%s %s\nend\n' "$1" "$2" 2>/dev/null
	exit 0
}

# batch LIST COMMAND...: runs COMMAND with the lines of LIST as further arguments, some hundred at a time.
batch() {
	batch_list=$1 batch_now='' batch_count=0 batch_status=0
	shift
	for item in $batch_list; do
		batch_now=$batch_now$NL$item batch_count=$((batch_count + 1))
		[ $batch_count -lt 400 ] && continue
		"$@" $batch_now || batch_status=1
		batch_now='' batch_count=0
	done
	[ -z "$batch_now" ] || "$@" $batch_now || batch_status=1
	return $batch_status
}

# --- names, versions, numbers ---------------------------------------------------------------------------------------

is_component() { case $1 in '' | [!a-z0-9]* | *[!a-z0-9_-]*) return 1 ;; esac; [ ${#1} -le 64 ]; }
is_version() { case $1 in '' | [!A-Za-z0-9]* | *[!A-Za-z0-9._+-]* | current) return 1 ;; esac; [ ${#1} -le 128 ]; }
is_digest() { case $1 in *[!0-9a-f]*) return 1 ;; esac; [ ${#1} -eq 64 ]; }
is_number() { case $1 in '' | *[!0-9]* | 0?*) return 1 ;; esac; [ ${#1} -le 16 ]; }
is_token() { case $1 in '' | *[!A-Za-z0-9._:-]*) return 1 ;; esac; [ ${#1} -le 128 ]; }
is_account() { case $1 in - | [!A-Za-z0-9_]*) [ "$1" = - ] ;; *[!A-Za-z0-9_.@\\-]*) return 1 ;; esac; }
is_name() { case $1 in '' | [-.]* | */* | *\\* | current) return 1 ;; esac; [ ${#1} -le 255 ]; }
is_folder() {
	case $1 in [!/]* | / | */ | *//* | */./* | */../* | */. | */..) return 1 ;; esac
	[ ${#1} -le 3000 ]
}

# --- who holds what -------------------------------------------------------------------------------------------------

# The start time of a process in ticks since boot, field 22 of its stat line; the name in field 2 may hold anything.
started() {
	START=''
	[ -r "/proc/$1/stat" ] || return 1
	read -r stat_line <"/proc/$1/stat" || return 1
	IFS=' '
	set -- ${stat_line##*) }
	IFS=$NL
	[ $# -ge 20 ] && shift 19 && START=$1
}

identify() {
	BOOT=unknown
	[ -r /proc/sys/kernel/random/boot_id ] && read -r BOOT </proc/sys/kernel/random/boot_id
	started $$
	ME=$$:$BOOT:$START
}

# alive ID: says whether the process that calls itself ID still runs.
alive() {
	alive_pid=${1%%:*} alive_rest=${1#*:}
	is_number "$alive_pid" && [ "${alive_rest%%:*}" = "$BOOT" ] || return 1
	[ -d /proc/self ] || { kill -0 "$alive_pid" 2>/dev/null; return; }
	started "$alive_pid" && [ "${alive_rest#*:}" = "$START" ]
}

refuse_live_lock() {
	holder=$(readlink "$STATE/lock") || return 0
	! alive "$holder" || fail locked "process ${holder%%:*} is changing this client now"
}

# Rule 6. A claim names the dead holder that it follows, and one rename uses it up: whoever `lock` then names has it.
take_lock() {
	if ! ln -sn "$ME" "$STATE/lock" 2>/dev/null; then
		refuse_live_lock
		claim=$STATE/claim.$holder
		if ! ln -sn "$ME" "$claim" 2>/dev/null; then
			rival=$(readlink "$claim") && alive "$rival" && fail locked "process ${rival%%:*} takes the lock now"
			rm -f "$claim"
			ln -sn "$ME" "$claim" 2>/dev/null || fail locked 'another process takes the lock now'
		fi
		[ "$(readlink "$STATE/lock")" = "$holder" ] || { rm -f "$claim"; fail locked 'another process took the lock'; }
		mv -fT "$claim" "$STATE/lock" 2>/dev/null
		[ "$(readlink "$STATE/lock")" = "$ME" ] || fail locked 'another process took the lock'
	fi
	LOCKED=1
}

# Rule 4. Sets ROOT_THERE, and R, the root's physical path, when it is there.
check_root() {
	R='' STATE=$ROOT/.updoser ROOT_THERE=''
	ROOT_UID=$(id -u)
	ancestors "$ROOT"
	[ ! -L "$STATE" ] || fail insecure "$STATE is a link"
	[ ! -e "$STATE" ] || ANCESTORS=$ANCESTORS$NL$STATE
	check_owners "$ANCESTORS" "$ROOT" || fail insecure "$INSECURE"
	[ -e "$ROOT" ] || return 0
	cd -P "$ROOT" 2>/dev/null || fail unreadable "$ROOT can't be entered by user $ROOT_UID"
	R=$PWD ROOT_THERE=1
	if [ "$R" != "$ROOT" ]; then
		ancestors "$R"
		check_owners "$ANCESTORS" "$R" || fail insecure "$INSECURE"
	fi
	STATE=$R/.updoser
	[ -r "$R" ] || fail unreadable "$R can't be read by user $ROOT_UID"
	[ ! -e "$STATE" ] || [ -r "$STATE" ] && [ -x "$STATE" ] || [ ! -e "$STATE" ] ||
		fail unreadable "$STATE can't be read by user $ROOT_UID"
}

# Sets ANCESTORS to those of a path and itself as far as they exist, and NEAREST to the last of them.
ancestors() {
	rest=${1#/} ANCESTORS=/ NEAREST=/ path=
	while [ -n "$rest" ]; do
		path=$path/${rest%%/*}
		[ -e "$path" ] || [ -L "$path" ] || return 0
		ANCESTORS=$ANCESTORS$NL$path NEAREST=$path
		case $rest in */*) rest=${rest#*/} ;; *) rest='' ;; esac
	done
}

# check_owners PATHS TOP: a shared sticky folder such as /tmp may stand above TOP, never be it.
check_owners() {
	INSECURE=''
	listing=$(ls -ldn -- $1 2>&1) || { INSECURE="can't look at $2"; return 1; }
	for line in $listing; do
		IFS=' '
		set -- $line "$2"
		IFS=$NL
		shown=/${line#*/} top=$2
		eval "top=\${$#}"
		case $3 in
		0 | "$ROOT_UID") ;;
		*) INSECURE="$shown belongs to user $3, not to root or user $ROOT_UID" && return 1 ;;
		esac
		case $1 in
		l*) continue ;;
		d????w???[tT]* | d???????w[tT]*) [ "$3" = 0 ] && [ "$shown" != "$top" ] && continue ;;
		d????[!w]??[!w]*) continue ;;
		d*) ;;
		*) INSECURE="$shown is no folder" && return 1 ;;
		esac
		INSECURE="$shown can be written by its group or by everyone"
		return 1
	done
}

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

# survey COMPONENTS: sets V_n D_n P_n L_n W_n for the nth of them: version, digest, previous, layout and what is wrong
# (W_n); also T_n, the target paths of its manifest, and U_n, the folders that are watched.
survey() {
	manifests='' at=0 expected_all='' paths_all=''
	for component in $1; do
		at=$((at + 1)) version='' wrong=''
		eval "V_$at= D_$at= P_$at= L_$at= W_$at= T_$at= U_$at= F_$at= E_$at= G_$at= X_$at= N_$at=0 H_$at="
		if [ -L "$R/$component/current" ]; then
			version=$(cd -P "$R/$component/current" 2>/dev/null && printf %s "$PWD") || version=
			if [ "${version%/*}" = "$R/$component" ]; then
				version=${version##*/}
			else
				version=$(readlink "$R/$component/current")
				wrong='current leads to no version'
			fi
			is_version "$version" || version=unknown wrong='current leads to no version'
		elif [ -e "$R/$component/current" ]; then
			version=unknown wrong='current is no link'
		fi
		manifest=$STATE/manifests/$component@$version
		if [ -n "$version" ] && [ -z "$wrong" ]; then
			if [ -f "$manifest" ] && [ ! -L "$manifest" ]; then
				manifests=$manifests$NL$manifest
			else
				wrong='its manifest is missing'
			fi
		fi
		eval "V_$at=\$version W_$at=\$wrong"
	done
	[ -n "$manifests" ] || return 0
	read_manifests "$1" "$(batch "$manifests" cat --)"
	cd "$R" || fail unreadable "$R can't be entered"
	actual=
	[ -z "$STAT" ] || actual=$(batch "$paths_all" stat -c "$STAMP" -- 2>/dev/null)
	if [ -n "$VERIFY" ] || [ "$actual" != "${expected_all#"$NL"}" ]; then intact=''; else intact=1; fi
	at=0
	for component in $1; do
		at=$((at + 1))
		eval "version=\$V_$at wrong=\$W_$at count=\$N_$at"
		if [ -n "$version" ] && [ -z "$wrong" ]; then
			[ -n "$intact" ] || looks_intact $at || examine $at
			eval "wrong=\$W_$at"
			if [ -z "$wrong" ] && ! has_only "$count" "$R/$component/$version"; then
				eval "W_$at='there are files that do not belong to it'"
			fi
		fi
		eval "[ -z \"\$W_$at\" ] || D_$at="
	done
}

# Reads what manifests hold; they come one after the other, in the order of the components that have one.
read_manifests() {
	open=''
	for line in $2; do
		case $line in
		'manifest '*)
			[ -z "$open" ] || eval "W_$at='its manifest is cut short'"
			IFS=' '
			set -- "$1" $line
			IFS=$NL
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
			rest=${line#? * * } path=${line#*|*|} entry=${line#? * }
			eval "F_$at=\$F_$at\$NL\$path E_$at=\$E_$at\$NL\${entry%% *} X_$at=\$X_$at\$NL\$rest"
			paths_all=$paths_all$NL$path expected_all=$expected_all$NL$rest
			case $line in
			f*) eval "N_$at=\$((N_$at + 1)) G_$at=\$G_$at\$NL\$rest" ;;
			*) eval "T_$at=\$T_$at\$NL\$path" ;;
			esac
			;;
		'w '*) eval "U_$at=\$U_$at\$NL\${line#w }" ;;
		end) open='' ;;
		*) eval "W_$at='its manifest is malformed'" ;;
		esac
	done
	[ -z "$open" ] || eval "W_$at='its manifest is cut short'"
}

# find_component LIST NAME: sets `at` to the place of a component in a list.
find_component() {
	at=0
	for candidate in $1; do
		at=$((at + 1))
		[ "$candidate" != "$2" ] || return 0
	done
	fail damaged "a manifest names the component $2, whose it isn't"
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

# --- facts ----------------------------------------------------------------------------------------------------------

read_controller() {
	LINEAGE_HERE='' EPOCH_HERE=0
	[ -f "$STATE/controller" ] && [ ! -L "$STATE/controller" ] || return 0
	IFS=' '
	read -r LINEAGE_HERE EPOCH_HERE rest <"$STATE/controller"
	IFS=$NL
	is_token "$LINEAGE_HERE" && is_number "$EPOCH_HERE" || fail damaged "$STATE/controller is malformed"
}

facts() {
	for line in $HEADER; do
		case $line in
		'root '*) ROOT=${line#root } && is_folder "$ROOT" || fail protocol 'install_root is no absolute folder' ;;
		verify) VERIFY=1 ;;
		end) ;;
		*) fail protocol "unknown directive: ${line%% *}" ;;
		esac
	done
	check_root
	ANSWER="platform $(uname -s -m)"
	[ ! -r /proc/uptime ] || [ -z "$START" ] || { IFS=' ' read -r now rest </proc/uptime && ANSWER="$ANSWER${NL}began $START $now"; }
	say_room "$NEAREST"
	for tool in zstd bspatch gzip; do
		! command -v $tool >/dev/null 2>&1 || ANSWER="$ANSWER${NL}tool $tool"
	done
	[ ! -r /sys/fs/selinux/enforce ] || { read -r enforcing </sys/fs/selinux/enforce && ANSWER="$ANSWER${NL}selinux $enforcing"; }
	[ ! -r /sys/module/apparmor/parameters/enabled ] || { read -r enforcing </sys/module/apparmor/parameters/enabled && [ "$enforcing" != Y ] || ANSWER="$ANSWER${NL}apparmor 1"; }
	ANSWER="$ANSWER${NL}user $ROOT_UID"
	if [ -n "$ROOT_THERE" ]; then
		read_controller
		[ -z "$LINEAGE_HERE" ] || ANSWER="$ANSWER${NL}controller $LINEAGE_HERE $EPOCH_HERE"
		say_installed
	fi
	answer facts
}

say_room() {
	room=$(df -Pk "$1" 2>/dev/null)
	room=${room##*"$NL"}
	IFS=' '
	set -- $room
	IFS=$NL
	[ $# -ge 6 ] && is_number "$4" && ANSWER="$ANSWER${NL}free $4"
}

say_installed() {
	components=''
	set +f
	set -- "$R"/*/current
	set -f
	for path in "$@"; do
		path=${path%/current} component=''
		[ -L "$path" ] || component=${path##*/}
		! is_component "$component" || components=$components$NL$component
	done
	survey "$components"
	at=0 watched='' targets=''
	for component in $components; do
		at=$((at + 1))
		eval "version=\$V_$at digest=\$D_$at previous=\$P_$at layout=\$L_$at wrong=\$W_$at"
		[ -d "$R/$component/$previous" ] || previous=''
		[ -z "$version" ] ||
			ANSWER="$ANSWER${NL}installed $component $version ${digest:--} ${previous:--} ${layout:--} $wrong"
		eval "watched=\$watched\$U_$at targets=\$targets\$T_$at"
	done
	say_unmanaged "$watched" "$targets"
}

# say_unmanaged FOLDERS TARGETS: names what is in watched folders and wasn't put there by us, the first hundred.
say_unmanaged() {
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
			ANSWER="$ANSWER${NL}unmanaged $entry"
		done
	done
}

# answer KIND: prints what was found, at the end of everything.
answer() {
	cleanup
	printf 'updoser 1 %s\n%s\nend\n' "$1" "${ANSWER#"$NL"}" 2>/dev/null
	exit 0
}

# --- deploy ---------------------------------------------------------------------------------------------------------

# Reads the header into C_n X_n ("FROM FROM-DIGEST TO TO-DIGEST LAYOUT") and the lines S_n of each step. Rule 3.
read_steps() {
	COMPONENTS='' step=0 target=''
	for line in $HEADER; do
		rest=${line#* }
		case $line in
		'root '*) ROOT=$rest && is_folder "$ROOT" || fail protocol 'install_root is no absolute folder' ;;
		'keep '*) KEEP=$rest && is_number "$KEEP" && [ "$KEEP" -ge 1 ] || fail protocol 'keep is no number' ;;
		'controller '*) LINEAGE=${rest% *} EPOCH=${rest#* } && is_token "$LINEAGE" && is_number "$EPOCH" || fail protocol 'controller is malformed' ;;
		'step '*)
			IFS=' '
			set -- $rest
			IFS=$NL
			[ $# -eq 6 ] && is_component "$1" && is_version "$4" && is_digest "$5" && is_token "$6" || fail protocol "malformed: $line"
			[ "$2" = - ] || is_version "$2" || fail protocol "malformed: $line"
			[ "$3" = - ] || is_digest "$3" || fail protocol "malformed: $line"
			case $COMPONENTS$NL in *"$NL$1$NL"*) fail protocol "the component $1 twice" ;; esac
			step=$((step + 1)) target='' COMPONENTS=$COMPONENTS$NL$1
			eval "C_$step=\$1 S_$step= FV_$step=\$2 FD_$step=\$3 TV_$step=\$4 TD_$step=\$5 TL_$step=\$6 M_$step= Q_$step="
			;;
		'file '* | 'into '* | 'name '* | 'old '* | 'watch '*)
			check_line
			eval "S_$step=\$S_$step\$NL\$line"
			;;
		end) ;;
		*) fail protocol "unknown directive: ${line%% *}" ;;
		esac
	done
	COUNT=$step
	[ -n "$ROOT" ] && [ -n "$KEEP" ] && [ -n "$LINEAGE" ] && [ $COUNT -ge 1 ] || fail protocol 'the header is incomplete'
}

check_line() {
	[ $step -ge 1 ] || fail protocol "no step before: $line"
	IFS=' '
	set -- $rest
	IFS=$NL
	case $line in
	'file '*)
		case $1 in sent | kept) ;; *) fail protocol "malformed: $line" ;; esac
		is_number "$2" && is_digest "$3" && is_name "${rest#* * * }" || fail protocol "malformed: $line"
		;;
	'into '*)
		case $1 in rename | copy | link) ;; *) fail protocol "malformed: $line" ;; esac
		case $4 in - | [0-7][0-7][0-7] | [0-7][0-7][0-7][0-7]) ;; *) fail protocol "malformed: $line" ;; esac
		case $5 in restore | none) ;; *) fail protocol "malformed: $line" ;; esac
		is_account "$2" && is_account "$3" && is_folder "${rest#* * * * * }" || fail protocol "malformed: $line"
		target=1
		;;
	'name '*) is_name "$rest" && [ -n "$target" ] || fail protocol "malformed: $line" ;;
	'old '*) case $rest in '' | */* | *\\*) fail protocol "malformed: $line" ;; esac ;;
	'watch '*) is_folder "$rest" || fail protocol "malformed: $line" ;;
	esac
}

# Sets M_n to what is to be done: ok, stale, go (all of it), layout (targets only) or failed (Q_n says why).
judge() {
	at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "version=\$V_$at digest=\$D_$at layout=\$L_$at from=\$FV_$at from_digest=\$FD_$at to=\$TV_$at to_digest=\$TD_$at to_layout=\$TL_$at"
		if [ "$version" = "$to" ] && [ "$digest" = "$to_digest" ] && [ "$layout" = "$to_layout" ]; then
			verdict=ok
		elif [ "${version:--}" != "$from" ] || [ "${digest:--}" != "$from_digest" ]; then
			verdict=stale
		elif [ "$version" = "$to" ] && [ "$digest" = "$to_digest" ]; then
			verdict=layout
		else
			verdict=go
		fi
		eval "M_$at=\$verdict"
	done
}

# fails N TEXT: gives a step up, for a reason.
fails() {
	eval "M_$1=failed Q_$1=\$2"
}

# Rule 5. Adds up what each step writes, on the file system of install_root and on those of its target folders; a
# target with the method rename must be on the file system of install_root, or the rename would be a copy.
check_room() {
	folders=$NEAREST
	at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at lines=\$S_$at"
		case $verdict in go | layout) ;; *) continue ;; esac
		for line in $lines; do
			case $line in 'into '*) ;; *) continue ;; esac
			folder=${line#into * * * * * }
			if [ ! -d "$folder" ]; then
				fails $at "the target folder $folder is not there"
			else
				case $NL$folders$NL in *"$NL$folder$NL"*) ;; *) folders=$folders$NL$folder ;; esac
			fi
		done
	done
	table=$(batch "$folders" df -Pk --) || fail disk "df doesn't know the room of $folders"
	mounts='' at=0
	for line in $table; do
		case $line in Filesystem* | 'Filesystem '*) continue ;; esac
		IFS=' '
		set -- $line
		IFS=$NL
		shift 3
		free=$1
		shift 2
		mounts="$mounts$NL$free $*"
	done
	HOME_MOUNT=''
	set -- $mounts
	for folder in $folders; do
		[ -n "$HOME_MOUNT" ] || HOME_MOUNT=${1#* }
		mount_of="$mount_of$NL${1#* }|$folder" room_of="$room_of$NL${1%% *} $folder"
		shift
	done
	need=0
	at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at lines=\$S_$at"
		case $verdict in go | layout) ;; *) continue ;; esac
		sizes='' method='' away=''
		for line in $lines; do
			rest=${line#* }
			case $line in
			'file '*)
				size=${rest#* }
				size=${size%% *}
				sizes="$sizes$NL$size ${rest#* * * }"
				[ $verdict = layout ] || need=$((need + (size + 4095) / 4096 * 4))
				;;
			'into '*)
				method=${rest%% *} folder=${rest#* * * * * } away=''
				case "$mount_of$NL" in *"$NL$HOME_MOUNT|$folder$NL"*) ;; *) away=1 ;; esac
				if [ -n "$away" ] && [ "$method" = rename ]; then
					fails $at "$folder is on another file system than install_root: use \`method: copy\`"
				fi
				room_there=0
				for known in $room_of; do [ "${known#* }" != "$folder" ] || room_there=${known%% *}; done
				;;
			'name '*)
				[ "$method" != link ] || continue
				for known in $sizes; do
					[ "${known#* }" = "$rest" ] || continue
					size=$(((${known%% *} + 4095) / 4096 * 4))
					need=$((need + size)) room_there=$((room_there - size))
				done
				[ -z "$away" ] || [ $room_there -ge 0 ] || fails $at "not enough disk in $folder"
				;;
			esac
		done
	done
	set -- $mounts
	free=${1%% *}
	[ $need -le "$free" ] || refuse_all "not enough disk: $need KiB are needed and $free are free"
}

refuse_all() {
	at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at"
		case $verdict in go | layout) fails $at "$1" ;; esac
	done
}

# Makes install_root and .updoser, and sweeps up after runs that are gone.
make_places() {
	if [ -z "$ROOT_THERE" ]; then
		mkdir -p -- "$ROOT" 2>/dev/null || fail unwritable "$ROOT can't be made"
		check_root
		[ -n "$ROOT_THERE" ] || fail unwritable "$ROOT can't be made"
	fi
	[ -d "$STATE" ] || mkdir -m 700 -- "$STATE" 2>/dev/null || fail unwritable "$STATE can't be made"
	[ -d "$STATE/manifests" ] || mkdir -m 700 -- "$STATE/manifests" 2>/dev/null || fail unwritable "$STATE/manifests can't be made"
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
			[ "$(batch "$paths" sha256sum -- 2>/dev/null)" = "${expected#"$NL"}" ] || fails $at 'what arrived has other bytes than announced'
		done
	fi
	batch "$files" chmod 0444 -- 2>/dev/null
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

# Under the lock: what was surveyed before the bytes came must still be so.
recheck() {
	read_controller
	refuse_foreign
	at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at component=\$C_$at version=\$V_$at head=\$H_$at"
		case $verdict in go | layout) ;; *) continue ;; esac
		now=''
		[ ! -L "$R/$component/current" ] || now=$(readlink "$R/$component/current")
		first=''
		[ -z "$head" ] || IFS= read -r first <"$STATE/manifests/$component@$version"
		if [ "$version" != unknown ] && [ "$now" != "$version" ] || [ "$first" != "$head" ]; then
			fails $at 'somebody else changed it meanwhile'
		fi
	done
}

refuse_foreign() {
	[ -n "$LINEAGE_HERE" ] || return 0
	[ "$LINEAGE_HERE" = "$LINEAGE" ] || fail controller "$LINEAGE_HERE $EPOCH_HERE"
	[ "$EPOCH_HERE" -le "$EPOCH" ] || fail controller "$LINEAGE_HERE $EPOCH_HERE"
}

# Rule 7. Brings versions and manifests to their places, and all to the disk, before any switch.
settle() {
	if [ "$LINEAGE_HERE $EPOCH_HERE" != "$LINEAGE $EPOCH" ]; then
		printf '%s %s\n' "$LINEAGE" "$EPOCH" >"$STAGE/controller" && mv -fT "$STAGE/controller" "$STATE/controller" ||
			fail unwritable "$STATE can't be written"
	fi
	place_versions
	files='' fixed='' durable='' at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at component=\$C_$at"
		[ "$verdict" = go ] || continue
		expect $at
		files=$files$paths fixed=$fixed$NL$R/$component/$version
		durable=$durable$NL$R/$component/$version$NL$R/$component$NL$STATE/manifests/$component@$version
		for path in $paths; do durable=$durable$NL$R/$path; done
	done
	[ -n "$files" ] || return 0
	batch "$fixed" chmod 0555 --
	STAMPS=''
	[ -z "$STAT" ] || STAMPS=$(cd "$R" && batch "$files" stat -c "$STAMP" --)
	set -- $STAMPS
	at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at from=\$V_$at previous=\$P_$at"
		[ "$verdict" = go ] || continue
		expect $at
		[ "$from" = "$version" ] || previous=$from
		[ "$previous" != unknown ] || previous=''
		stamped=''
		for path in $paths; do
			while [ $# -gt 0 ] && [ "${1#*|*|}" != "$path" ]; do shift; done
			stamped=$stamped$NL${1:-$NOSTAMP$path}
		done
		eval "P_$at=\$previous G_$at=\$stamped"
		write_manifest $at || fails $at "$STATE/manifests can't be written"
	done
	make_durable "$durable$NL$STATE/manifests$NL$STATE"
}

# Brings what was received to its folders: all at once by hard links where every version is new, else one by one.
place_versions() {
	components='' all_new=1 at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at component=\$C_$at version=\$TV_$at"
		[ "$verdict" = go ] || continue
		components=$components$NL$component
		if [ -e "$R/$component/$version" ] || [ -L "$R/$component/$version" ] || [ -L "$R/$component" ]; then all_new=''; fi
	done
	[ -n "$components" ] || return 0
	link_into() { cp -lR -- "$@" "$R/"; }
	if [ -z "$all_new" ] || ! batch "$components" link_into 2>/dev/null; then place_one_by_one; fi
	rm -rf -- "$TREE"
}

place_one_by_one() {
	at=0
	while [ $at -lt $COUNT ]; do
		at=$((at + 1))
		eval "verdict=\$M_$at component=\$C_$at version=\$TV_$at from=\$V_$at"
		[ "$verdict" = go ] || continue
		if [ -L "$R/$component" ] || ! [ -d "$R/$component" ] && ! mkdir -- "$R/$component" 2>/dev/null; then
			fails $at "$R/$component can't be made"
		elif [ "$from" = "$version" ]; then
			expect $at
			replace_files || fails $at "$R/$component/$version can't be written"
		elif { [ -e "$R/$component/$version" ] || [ -L "$R/$component/$version" ]; } &&
			! clear_away "$R/$component/$version"; then
			fails $at "$R/$component/$version can't be replaced"
		else
			mv -fT "$TREE/$component/$version" "$R/$component/$version" || fails $at "$R/$component can't be written"
		fi
	done
}

make_durable() {
	batch "$1" sync -- 2>/dev/null || sync
}

clear_away() {
	COUNT_TRASH=$((${COUNT_TRASH:-0} + 1))
	chmod u+rwx "$1" 2>/dev/null
	mv -fT "$1" "$STAGE/trash.$COUNT_TRASH"
}

# replace_files: puts new bytes under the names of the version that is in force, one rename for each file.
replace_files() {
	folder=$R/$component/$version
	[ -d "$folder" ] || mkdir -- "$folder" || return 1
	chmod u+rwx "$folder" || return 1
	for path in $paths; do
		[ ! -d "$R/$path" ] || [ -L "$R/$path" ] || clear_away "$R/$path" || return 1
		mv -fT "$TREE/$path" "$R/$path" || return 1
	done
	set +f
	set -- "$folder"/* "$folder"/.[!.]* "$folder"/..?*
	set -f
	for entry in "$@"; do
		[ -e "$entry" ] || [ -L "$entry" ] || continue
		case "$paths$NL" in *"$NL$component/$version/${entry##*/}$NL"*) continue ;; esac
		clear_away "$entry" || return 1
	done
}

# write_manifest N: from G_n, the stamped files, and I_n, the targets; without I_n, their paths with no stamp.
write_manifest() {
	eval "component=\$C_$1 version=\$TV_$1 digest=\$TD_$1 layout=\$TL_$1 previous=\$P_$1 lines=\$S_$1 stamped=\$G_$1 placed=\${I_$1:-}"
	step_of=$1
	text="manifest $component $version $digest ${previous:--} $layout"
	set -- $stamped
	files='' method='' folder=''
	for line in $lines; do
		rest=${line#* }
		case $line in
		'file '*)
			sized=${rest#* }
			files="$files$NL${sized% "${sized#* * }"} ${sized#* * }"
			stamp=$NOSTAMP$component/$version/${sized#* * }
			if [ $# -gt 0 ] && [ "${1#*|*|}" = "${stamp#"$NOSTAMP"}" ]; then stamp=$1 && shift; fi
			text="$text${NL}f ${sized% "${sized#* * }"} $stamp"
			;;
		'into '*) method=${rest%% *} folder=${rest#* * * * * } ;;
		'name '*)
			sized=${files#*"$NL"}
			for line in $files; do [ "${line#* * }" != "$rest" ] || sized=${line% "$rest"}; done
			[ "$method" != link ] || sized="${sized%% *} -"
			stamp=$NOSTAMP$folder/$rest
			for line in $placed; do [ "${line#*|*|}" != "$folder/$rest" ] || stamp=$line; done
			text="$text${NL}i $sized $stamp"
			;;
		'watch '*) text="$text${NL}w $rest" ;;
		esac
	done
	eval "from=\$V_$step_of"
	if [ "$from" != "$version" ] && [ ! -L "$STATE/manifests/$component@$version" ]; then
		# Nothing leads to this version yet, and one that is cut short is no manifest.
		printf '%s\nend\n' "$text" >"$STATE/manifests/$component@$version"
	else
		printf '%s\nend\n' "$text" >"$STAGE/manifest" && mv -fT "$STAGE/manifest" "$STATE/manifests/$component@$version"
	fi
}

# Rules 7 and 8. Moves `current` and then the targets of one step; undoes both if something fails.
switch() {
	eval "verdict=\$M_$1 component=\$C_$1 version=\$TV_$1 from=\$V_$1 lines=\$S_$1 before=\$T_$1"
	UNDO='' UNDONE=0
	link=$R/$component/current
	if [ "$verdict" = go ] && [ "$from" != "$version" ]; then
		[ ! -d "$link" ] || [ -L "$link" ] || clear_away "$link" || { fails $1 "$link can't be replaced"; return; }
		# Where there is nothing yet, making the link is atomic by itself.
		if [ -L "$link" ] || ! ln -s "$version" "$link" 2>/dev/null; then
			ln -s "$version" "$STAGE/current" && mv -fT "$STAGE/current" "$link" || {
				fails $1 "$link can't be written"
				return
			}
		fi
	fi
	if [ "$verdict" = layout ] || [ -n "$before" ] || case $lines in *"${NL}into "*) ;; *) false ;; esac; then
		TROUBLE=''
		place_targets $1
		if [ -n "$TROUBLE" ]; then
			undo_targets
			if [ "$from" != "$version" ]; then
				if [ -n "$from" ] && [ "$from" != unknown ]; then
					ln -s "$from" "$STAGE/back" && mv -fT "$STAGE/back" "$link"
				else
					rm -f -- "$link"
				fi
				rm -f -- "$STATE/manifests/$component@$version"
				clear_away "$R/$component/$version"
			fi
			fails $1 "$TROUBLE"
			return
		fi
		write_manifest $1
		make_durable "$PLACED$NL$STATE/manifests/$component@$version"
	fi
	eval "M_$1=changed"
}

# place_targets N: carries all targets of a step out, until TROUBLE; sets I_n to their stamps.
place_targets() {
	PLACED='' labels='' method='' folder='' at_file=0
	for line in $lines; do
		rest=${line#* }
		case $line in
		'into '*)
			IFS=' '
			set -- "$1" $rest
			IFS=$NL
			method=$2 owner=$3 group=$4 mode=$5 label=$6 folder=${rest#* * * * * }
			if [ "$method" = copy ]; then
				ancestors "$folder"
				check_owners "$folder" "$folder" || { TROUBLE="method copy: $INSECURE" && return; }
			fi
			;;
		'name '*)
			place_one "$folder/$rest" || return
			PLACED=$PLACED$NL$folder/$rest
			[ "$label" != restore ] || [ "$method" = link ] || labels=$labels$NL$folder/$rest
			;;
		esac
	done
	remove_replaced || return
	[ -z "$labels" ] || ! command -v restorecon >/dev/null 2>&1 || batch "$labels" restorecon -- 2>/dev/null
	placed=''
	[ -z "$STAT" ] || [ -z "$PLACED" ] || placed=$(batch "$PLACED" stat -c "$STAMP" -- 2>/dev/null)
	eval "I_$1=\$placed"
}

# place_one PATH: makes one target ready in STAGE and puts it in its place.
place_one() {
	ready=$STAGE/ready
	rm -f -- "$ready"
	if [ -d "$1" ] && [ ! -L "$1" ]; then TROUBLE="$1 is a folder" && return 1; fi
	if [ "$method" = link ]; then
		remember "$1" || return 1
		ln -s "$R/$component/current/${1##*/}" "$ready" && mv -fT "$ready" "$1" 2>/dev/null && return 0
		TROUBLE="$1 can't be written" && return 1
	fi
	cp -- "$R/$component/$version/${1##*/}" "$ready" && chmod u+w "$ready" || { TROUBLE="$STAGE can't be written" && return 1; }
	dress "$ready" || return 1
	remember "$1" || return 1
	if [ "$method" = copy ] && [ -e "$1" ]; then
		if [ -L "$1" ] || [ ! -f "$1" ]; then TROUBLE="$1 is no plain file" && return 1; fi
		cat -- "$ready" 2>/dev/null >"$1" && dress "$1" && return 0
	else
		mv -fT "$ready" "$1" 2>/dev/null && return 0
	fi
	TROUBLE=${TROUBLE:-"$1 can't be written"}
	return 1
}

# dress FILE: gives it the owner, group and mode that the target asks for.
dress() {
	who=''
	[ "$owner" = - ] || who=$owner
	[ "$group" = - ] || who=$who:$group
	if [ -n "$who" ] && ! chown -h "$who" "$1" 2>/dev/null; then TROUBLE="no owner $who can be given to $folder" && return 1; fi
	[ "$mode" != - ] || mode=0644
	chmod "$mode" "$1" 2>/dev/null || { TROUBLE="no mode $mode can be given to $1" && return 1; }
}

# remember PATH: keeps what is at a path, so that it can be put back. A hard link will do unless it is written into.
remember() {
	UNDONE=$((UNDONE + 1))
	if [ -e "$1" ] || [ -L "$1" ]; then
		if [ "$method" = copy ] || ! ln -- "$1" "$STAGE/undo.$UNDONE" 2>/dev/null; then
			cp -a -- "$1" "$STAGE/undo.$UNDONE" 2>/dev/null || { TROUBLE="$1 can't be kept for an undo" && return 1; }
		fi
		UNDO="$UNDO$NL$method $UNDONE $1"
	else
		UNDO="$UNDO${NL}none $UNDONE $1"
	fi
}

undo_targets() {
	for line in $UNDO; do
		path=${line#* * } number=${line#* }
		number=${number%% *}
		case $line in
		none*) rm -f -- "$path" ;;
		copy*) if [ -f "$path" ]; then cat -- "$STAGE/undo.$number" >"$path"; else mv -fT "$STAGE/undo.$number" "$path"; fi ;;
		# rename(2) does nothing when both names are one file, and then the undo's name stays: it goes with STAGE
		*) mv -fT "$STAGE/undo.$number" "$path" 2>/dev/null ;;
		esac
	done
}

# Removes what `replaces` names in the target folders, and what an earlier version put there and this one doesn't.
remove_replaced() {
	gone='' folders=''
	for path in $before; do
		case "$PLACED$NL" in *"$NL$path$NL"*) ;; *) gone=$gone$NL$path ;; esac
	done
	for line in $lines; do
		case $line in 'into '*) folders=$folders$NL${line#into * * * * * } ;; esac
	done
	for line in $lines; do
		case $line in 'old '*) pattern=${line#old } ;; *) continue ;; esac
		for folder in $folders; do
			set +f
			set -- "$folder"/* "$folder"/.[!.]*
			set -f
			for path in "$@"; do
				# shellcheck disable=SC2254 # it is a pattern
				case ${path##*/} in $pattern) ;; *) continue ;; esac
				case "$PLACED$NL" in *"$NL$path$NL"*) continue ;; esac
				if [ -f "$path" ] || [ -L "$path" ]; then gone=$gone$NL$path; fi
			done
		done
	done
	method=rename
	for path in $gone; do
		[ -f "$path" ] || [ -L "$path" ] || continue
		remember "$path" && rm -f -- "$path" || { TROUBLE=${TROUBLE:-"$path can't be removed"} && return 1; }
	done
}

# Rule 10. Keeps the version in force and those before it, KEEP in all, along the manifests.
prune() {
	eval "component=\$C_$1 kept=\$NL\$TV_$1\$NL version=\$TV_$1"
	left=$KEEP
	while [ "$left" -gt 1 ] && [ -f "$STATE/manifests/$component@$version" ]; do
		IFS=' '
		read -r word name this digest version rest <"$STATE/manifests/$component@$version"
		IFS=$NL
		case $kept in *"$NL$version$NL"*) break ;; esac
		kept=$kept$version$NL left=$((left - 1))
	done
	set +f
	set -- "$STATE/manifests/$component@"*
	set -f
	for manifest in "$@"; do
		version=${manifest##*@}
		case $kept in *"$NL$version$NL"*) continue ;; esac
		is_version "$version" && [ ! -L "$R/$component/$version" ] || continue
		SPARE="$SPARE$NL$R/$component/$version" SPARE_MANIFESTS=$SPARE_MANIFESTS$NL$manifest
	done
}

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

# --- main -----------------------------------------------------------------------------------------------------------

identify
VERIFY='' ROOT='' KEEP='' LINEAGE='' EPOCH='' ANSWER='' STAMPS='' mount_of='' room_of=''
STAT=''
! command -v stat >/dev/null 2>&1 || STAT=1
IFS=' '
read -r word protocol operation length rest
IFS=$NL
[ "$word" = updoser ] && [ "$protocol" = 1 ] || fail protocol "this client speaks protocol 1, not ${protocol:-none}"
is_number "$length" && [ "$length" -ge 1 ] && [ "$length" -le 16777216 ] || fail protocol 'the header has no length'
HEADER=$(dd bs="$length" count=1 iflag=fullblock 2>/dev/null)
[ "${HEADER##*"$NL"}" = end ] || fail cut 'the request was cut short'
case $operation in
facts) facts ;;
deploy) deploy ;;
*) fail protocol "unknown operation: $operation" ;;
esac
# end
