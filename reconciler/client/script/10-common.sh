# --- from the start -------------------------------------------------------------------------------------------------

LC_ALL=C TZ=UTC0
export LC_ALL TZ
unset CDPATH ENV BASH_ENV PERL5OPT PERL5LIB PERLLIB PERL5DB PERLIO PERL_UNICODE
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
TAB='	'
OWNER_FORMAT='%A %h %u %g %d:%i %n'
STAMP_FORMAT='%f %u %g %i %s %y|%z|%n' NO_STAMP='-|-|' DEFAULT_SIGNALS=--default-signal=HUP,INT,QUIT,PIPE
VERIFY='' TRY='' PURPOSE='' INSTALL_ROOT='' KEEP='' LINEAGE='' EPOCH='' DOUBTED='' STEP_COUNT=0 ANSWER=''
STAGE='' LOCKED='' TICKER='' ASIDE='' ASIDE_COUNT=0 TRASH_COUNT=0 FRESH='' DUE='' ENTERED='' UNMADE=''
BEGUN='' ALWAYS='' RUN_COUNT=0 HAS_PERL='' NO_PERL='' TAKES_ALL='' PATCH_AT=0 SEALED='' HASHER=''
LOOK_BYTES='' PLACE='' HAS_STAT='' SETSID='' RESET_SIGNALS='' RELAYS='' RELAY_GONE='' FETCHER='' UPTIME=0

cleanup() {
	set -- ${STAGE:+"$STAGE"} ${LOCKED:+"$STATE/lock"} ${ASIDE:+"$ASIDE"}
	if [ $# -gt 0 ] && ! rm -rf -- "$@" 2>/dev/null; then
		chmod -R u+rwx "$STAGE" 2>/dev/null
		rm -rf -- "$@"
	fi
	STAGE='' LOCKED='' ASIDE=''
}

# refuse CODE TEXT: ends the whole request; nothing was switched.
refuse() {
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
	local napped
	NAP='' napped=0
	trap '[ -z "$NAP" ] || kill $NAP; exit 0' TERM
	while kill -0 $$; do
		sleep 1 >/dev/null &
		NAP=$!
		wait $NAP || exit 0
		NAP='' napped=$((napped + 1))
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

# batch LIST COMMAND...: runs COMMAND with the lines of LIST as further arguments, some hundred, a multiple of three (see
# `act`), at a time.
batch() {
	local list item some count status
	list=$1 some='' count=0 status=0
	shift
	if is_short "$list"; then
		"$@" $list
		return
	fi
	for item in $list; do
		some=$some$NL$item count=$((count + 1))
		[ $count -lt 399 ] && continue
		"$@" $some || status=1
		some='' count=0
	done
	[ -z "$some" ] || "$@" $some || status=1
	return $status
}

# gather LIST COMMAND...: the same in a $(...), whose process becomes COMMAND where one is enough.
gather() {
	local list
	list=$1
	shift
	! is_short "$list" || exec "$@" $list
	batch "$list" "$@"
}

is_short() {
	set -- $1
	[ $# -ge 1 ] && [ $# -le 399 ]
}

# --- hashes -----------------------------------------------------------------------------------------------------------
# Rule 26. Of many bytes openssl is asked first: it uses a processor's own instructions, which sha256sum often doesn't.

# have_sums PATHS SUMS BYTES: says whether files are those of which sha256sum says SUMS; BYTES is what they hold, or so.
have_sums() {
	! is_large "$3" || ! openssl_agrees "$@" || return 0
	[ "$(gather "$1" sha256sum -- 2>/dev/null)" = "${2#"$NL"}" ] || return 1
	! is_large "$3" || HASHER=none
}

# has_sum FILE SHA256 BYTES: says so of one file, whatever its path is.
has_sum() {
	local summed
	if is_large "$3"; then
		summed=$(ask_openssl '' "$3" 2>/dev/null <"$1")
		[ "${summed%% *}" != "$2" ] || return 0
	fi
	summed=$(sha256sum 2>/dev/null <"$1")
	[ "${summed%% *}" = "$2" ]
}

# is_large BYTES: says whether openssl is worth its start, and there; it is asked for a hash that is known, once.
is_large() {
	local said
	[ "$1" -ge 16777216 ] || return 1
	if [ -z "$HASHER" ]; then
		HASHER=none
		said=$(printf '12345\n' | ask_openssl '' 0 2>/dev/null)
		[ "${said%% *}" != f33ae3bc9a22cd7564990a794789954409977013966fb1a8f43c35776b833a95 ] || HASHER=openssl
	fi
	[ $HASHER = openssl ]
}

# openssl_agrees PATHS SUMS BYTES: its lines are `SHA256 *PATH`.
openssl_agrees() {
	local said line
	said=$(ask_openssl "$1" "$3" 2>/dev/null)
	set -- $2
	for line in $said; do
		[ "${line%% *}  ${line#* \*}" = "${1:-}" ] || return 1
		shift
	done
	[ $# -eq 0 ]
}

# ask_openssl PATHS BYTES: hashes files, or its input, in a $(...). It gets ten seconds, and one more for each MiB.
ask_openssl() {
	unset OPENSSL_CONF OPENSSL_MODULES OPENSSL_ENGINES
	set -- "$1" timeout -s KILL $((10 + $2 / 1048576)) openssl dgst -sha256 -r
	if [ -n "$1" ]; then gather "$@"; else shift && exec "$@"; fi
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

# read_start PID: sets START_TIME to the start of a process in ticks since boot, field 22 of its stat line; the name in
# field 2 may hold anything.
read_start() {
	local stat_line
	START_TIME=''
	[ -r "/proc/$1/stat" ] || return 1
	read -r stat_line <"/proc/$1/stat" || return 1
	IFS=' '
	set -- ${stat_line##*) }
	IFS=$NL
	[ $# -ge 20 ] && shift 19 && START_TIME=$1
}

# Sets OWN_ID, by which others know whether this process still runs.
identify() {
	BOOT=unknown
	[ -r /proc/sys/kernel/random/boot_id ] && read -r BOOT </proc/sys/kernel/random/boot_id
	read_start $$
	OWN_ID=$$:$BOOT:$START_TIME
}

# is_alive ID: says whether the process that calls itself ID still runs.
is_alive() {
	local pid rest
	pid=${1%%:*} rest=${1#*:}
	is_number "$pid" && [ "${rest%%:*}" = "$BOOT" ] || return 1
	[ -d /proc/self ] || { kill -0 "$pid" 2>/dev/null; return; }
	read_start "$pid" && [ "${rest#*:}" = "$START_TIME" ]
}

# Sets HOLDER to who holds the lock, and refuses the request while that one lives.
refuse_live_lock() {
	HOLDER=$(readlink "$STATE/lock") || return 0
	! is_alive "$HOLDER" || refuse locked "process ${HOLDER%%:*} is changing this client now"
}

# Rule 6. A claim names the dead holder that it follows, and one rename uses it up: whoever `lock` then names has it.
take_lock() {
	local claim rival
	if ! ln -sn "$OWN_ID" "$STATE/lock" 2>/dev/null; then
		refuse_live_lock
		claim=$STATE/claim.$HOLDER
		if ! ln -sn "$OWN_ID" "$claim" 2>/dev/null; then
			rival=$(readlink "$claim") && is_alive "$rival" && refuse locked "process ${rival%%:*} takes the lock now"
			rm -f "$claim"
			ln -sn "$OWN_ID" "$claim" 2>/dev/null || refuse locked 'another process takes the lock now'
		fi
		[ "$(readlink "$STATE/lock")" = "$HOLDER" ] || { rm -f "$claim"; refuse locked 'another process took the lock'; }
		mv -fT "$claim" "$STATE/lock" 2>/dev/null
		[ "$(readlink "$STATE/lock")" = "$OWN_ID" ] || refuse locked 'another process took the lock'
	fi
	LOCKED=1
}

# Sets OWN_UID, from the line `Uid: REAL EFFECTIVE ...` of this process.
read_own_uid() {
	local word real rest
	OWN_UID=''
	while IFS=$TAB read -r word real OWN_UID rest && [ "$word" != Uid: ]; do OWN_UID=''; done </proc/self/status
	is_number "$OWN_UID" || OWN_UID=$(id -u)
} 2>/dev/null

# Rule 4. Sets ROOT_THERE, and ROOT, the physical path of INSTALL_ROOT, when it is there.
check_root() {
	ROOT='' STATE=$INSTALL_ROOT/.updoser ROOT_THERE=''
	read_own_uid
	ancestors "$INSTALL_ROOT"
	[ ! -L "$STATE" ] || refuse insecure "$STATE is a link"
	[ ! -e "$STATE" ] || ANCESTORS=$ANCESTORS$NL$STATE
	check_owners "$ANCESTORS" "$INSTALL_ROOT" || refuse insecure "$INSECURE"
	[ -e "$INSTALL_ROOT" ] || return 0
	cd -P "$INSTALL_ROOT" 2>/dev/null || refuse unreadable "$INSTALL_ROOT can't be entered by user $OWN_UID"
	ROOT=$PWD ROOT_THERE=1
	if [ "$ROOT" != "$INSTALL_ROOT" ]; then
		ancestors "$ROOT"
		check_owners "$ANCESTORS" "$ROOT" || refuse insecure "$INSECURE"
	fi
	STATE=$ROOT/.updoser
	[ -r "$ROOT" ] || refuse unreadable "$ROOT can't be read by user $OWN_UID"
	[ ! -e "$STATE" ] || [ -r "$STATE" ] && [ -x "$STATE" ] || [ ! -e "$STATE" ] ||
		refuse unreadable "$STATE can't be read by user $OWN_UID"
}

# Sets ANCESTORS to those of a path and itself as far as they exist, and NEAREST to the last of them.
ancestors() {
	local rest path
	rest=${1#/} ANCESTORS=/ NEAREST=/ path=
	while [ -n "$rest" ]; do
		path=$path/${rest%%/*}
		[ -e "$path" ] || [ -L "$path" ] || return 0
		ANCESTORS=$ANCESTORS$NL$path NEAREST=$path
		case $rest in */*) rest=${rest#*/} ;; *) rest='' ;; esac
	done
}

# check_owners PATHS TOP: a shared sticky folder such as /tmp may stand above TOP, never be it. Where stat lists them, with
# mode and owner where ls has them, it says where TOP lies, too.
check_owners() {
	local listing line shown top
	INSECURE='' PLACE=''
	[ -n "$HAS_STAT" ] && listing=$(stat -c "$OWNER_FORMAT" -- $1 2>/dev/null) && [ -n "$listing" ] ||
		listing=$(ls -ldn -- $1 2>&1) || { INSECURE="can't look at $2" && return 1; }
	for line in $listing; do
		IFS=' '
		set -- $line "$2"
		IFS=$NL
		shown=/${line#*/} top=$2
		eval "top=\${$#}"
		case $3 in
		0 | "$OWN_UID") ;;
		*) INSECURE="$shown belongs to user $3, not to root or user $OWN_UID" && return 1 ;;
		esac
		case $1 in
		l*) continue ;;
		d????w???[tT]* | d???????w[tT]*) [ "$3" = 0 ] && [ "$shown" != "$top" ] && continue ;;
		d????[!w]??[!w]*)
			case $5:$shown in *:*:"$top" | *:*:"$NEAREST") PLACE=$5 ;; esac
			continue
			;;
		d*) ;;
		*) INSECURE="$shown is no folder" && return 1 ;;
		esac
		INSECURE="$shown can be written by its group or by everyone"
		return 1
	done
}
