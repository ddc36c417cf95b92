#!/bin/sh
# What runs on a client: looks (facts, read) or changes (deploy), and answers on stdout. POSIX sh; dash, bash, busybox.
#
# It needs sh, dd, sha256sum, mv -T, ln, readlink, sync and mkdir chmod chown cp rm ls df cat id uname; for checks and
# hooks sleep, mkfifo, tail and rmdir, and od to show files; it uses stat, restorecon, gzip, zstd, bspatch, setsid and
# env --default-signal where they are. The controller sends it ahead of each request; a copy that root owns can be the
# one command that sudoers allows. The first line of a request is `updoser 1 OP BYTES`, then BYTES of header lines up
# to `end`, then the payload of all steps, then `go`. client/requests.py writes it, client/protocol.py reads the answer.
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
#    `replaces` names, and what was put there before, is removed. facts writes nothing, unless it is to try the tools.
# 11 A patch reads the version in force and writes beside it, no more than the size that its result should have; what
#    comes between the patches of a chain goes to memory (/dev/shm), not to the disk. Where a patch can't be applied the
#    step is `unpatched`, and nothing of it is switched.
# 12 A copy of this script stays in .updoser, so that it isn't sent again; who starts it compares its digest first.
# 13 What is believed without hashing is a file whose mode, owner, inode, size and times are those of the manifest.
# 14 A version that was kept or sent early (`file held`) is linked, and hashed as if it had been sent.
# 15 Checks and hooks are data until `sh -c` gets them: their text and variables stand in the header, never in an eval.
#    They read /dev/null, may say what they like, ignore no signal (rule 9 is for us, not for what they start), and are
#    stopped with their children when their time is up. While one runs a line is printed every five seconds, so that the
#    controller knows that this client is alive.
# 16 Staged checks come before the lock, on files that are hashed again afterwards. Then: `before` hooks, all switches,
#    `after` hooks, switched checks, `always` hooks. What fails goes back at once, and its `after` hook runs once more.
# 17 Before a switch that something is to be run after, .updoser/unchecked/COMPONENT gets the version and is synced; it
#    goes when all of that has passed. A version in force that stands there isn't believed.
# 18 What a change asks of the tools is tried before the first one, in a folder of its own: a client whose tools can't do
#    it is refused with their names, and not half-way in its first update.
# 19 Who goes through many files, or large ones, says every five seconds that it is there, whatever it is doing.
# 20 What another process did, or is doing, is never a failure: a step whose component was changed under it is `stale`,
#    or `ok` when there is now what was wanted. Each failure has a code that says what it is about; see
#    `FAULTS` in model/client.py.
# 21 Power may be cut at any moment: what gets a name that counts is on the disk before its rename, and its folder
#    after; one sync for all of a phase. Nothing of ours is written in place. An empty file of ours is no file; an empty
#    manifest says that its version is being brought to its place, and who finds it later removes both.
# 22 Target folders, and those above, are where nobody but root and us can put another one, or aren't used; we go there
#    and use names, not paths.
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
STAGE='' LOCKED='' ASIDE='' BEGUN='' TICKER='' COUNT=0 NOSTAMP='-|-|'
TAB='	'

cleanup() {
	if [ -n "$STAGE" ] && ! rm -rf -- "$STAGE" 2>/dev/null; then
		chmod -R u+rwx "$STAGE" 2>/dev/null
		rm -rf -- "$STAGE"
	fi
	[ -z "$LOCKED" ] || rm -f -- "$STATE/lock"
	[ -z "$ASIDE" ] || rm -rf -- "$ASIDE"
	STAGE='' LOCKED='' ASIDE=''
}

# fail CODE TEXT: ends the whole request; nothing was switched.
fail() {
	[ -z "$BEGUN" ] || run_always
	cleanup
	hush
	printf 'updoser 1 error\n%s %s\nend\n' "$1" "$2" 2>/dev/null
	exit 0
}

# --- signs of life --------------------------------------------------------------------------------------------------

say_alive() { printf 'updoser waits\n' 2>/dev/null; }

# Rule 19. stay_alive: says every five seconds that all is well, until the answer, or the end of this process.
stay_alive() {
	[ -z "$TICKER" ] || return 0
	tick </dev/null 2>/dev/null &
	TICKER=$!
}

# Naps are short, so that what is left of a process that was killed doesn't hold its output for long.
tick() {
	nap='' napped=0
	trap '[ -z "$nap" ] || kill $nap; exit 0' TERM
	while kill -0 $$; do
		sleep 1 >/dev/null &
		nap=$!
		wait $nap || exit 0
		nap='' napped=$((napped + 1))
		[ $((napped % 5)) -gt 0 ] || say_alive
	done
}

# hush: ends that, so that nothing comes between the lines of the answer.
hush() {
	[ -n "$TICKER" ] || return 0
	{
		kill $TICKER
		wait $TICKER
	} 2>/dev/null
	TICKER=''
}

# is_much TEXT BYTES: says whether lines of files, or what is in these, take long to go through.
is_much() { [ ${#1} -ge 30000 ] || [ "$2" -ge 67108864 ]; }

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
is_variable() { case $1 in '' | *[!A-Z0-9_]*) return 1 ;; esac; [ ${#1} -le 128 ]; }
# is_text TEXT: says whether there is no control character in it, but for tabs.
is_text() {
	IFS=$TAB
	set -- $1
	IFS=
	set -- "$*"
	IFS=$NL
	case $1 in *[[:cntrl:]]*) return 1 ;; esac
}
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
