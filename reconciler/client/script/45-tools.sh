# --- tools ----------------------------------------------------------------------------------------------------------
# Rule 18: what a change asks of the client's tools is tried where it can harm nobody.

# try_tools COMMANDS: sets LACKS to what they can't do, one a line; what checks and hooks need is tried, too, unless
# COMMANDS is empty. Fails where no folder can be made to try them in. What a change does itself before it writes
# anything isn't tried ahead of one: a header of some length came through dd, `check_room` asks df, and `make_root` needs
# `mkdir -p`.
try_tools() {
	local tool place read_back sum
	LACKS='' read_back=''
	for tool in dd sha256sum mv ln readlink sync mkdir chmod cp rm df cat ${1:+mkfifo} ${1:+sleep} ${1:+tail}; do
		command -v "$tool" >/dev/null 2>&1 || note_lack "$tool"
	done
	[ -z "$LACKS" ] || return 0
	for place in "$STATE/stage" /dev/shm/updoser "${TMPDIR:-/tmp}/updoser"; do
		STAGE=$place.$OWN_ID
		[ ! -d "${place%/*}" ] || ! mkdir -m 700 -- "$STAGE" "$STAGE/folder" "$STAGE/other" || break
		STAGE=''
	done
	[ -n "$STAGE" ] && cd "$STAGE" || return 1
	echo 12345 >seed
	if [ -z "$PURPOSE" ]; then
		mkdir -p -- folder/in || note_lack 'mkdir -p'
		try_df || note_lack 'df -Pk'
	fi
	if [ ${#HEADER} -lt 2000 ]; then
		dd bs=5 count=1 iflag=fullblock >five <seed && { IFS= read -r read_back <five || :; } &&
			[ "$read_back" = 12345 ] || note_lack 'dd iflag=fullblock'
	fi
	# The lock: nobody gets it twice, and a link to a folder is a link.
	ln -sn folder lock && ! ln -sn other lock && [ -d lock ] && [ ! -L folder/other ] || note_lack 'ln -sn'
	if ! cp -a -- lock seed other || [ ! -L other/lock ]; then
		note_lack 'cp -a'
		cp -- seed other
		[ -L other/lock ] || ln -s folder other/lock
	fi
	sum=f33ae3bc9a22cd7564990a794789954409977013966fb1a8f43c35776b833a95
	case $(sha256sum -- seed other/seed) in
	"$sum  seed$NL$sum  other/seed") ;;
	"$sum  seed"*) note_lack cp ;;
	*)
		note_lack sha256sum
		[ "$(cat -- seed other/seed)" = "12345${NL}12345" ] || note_lack cp
		;;
	esac
	# `current`: a link to a folder is replaced, nothing moves into the folder.
	mv -fT other/lock lock && [ ! -L other/lock ] && [ ! -L folder/lock ] && [ "$(readlink lock)" = folder ] ||
		note_lack 'mv -T'
	chmod -R a-w,u+rwx -- seed folder || note_lack chmod
	sync -- seed || sync || note_lack sync
	if [ -n "$1" ]; then
		mkfifo -m 600 fifo && [ -p fifo ] || note_lack 'mkfifo -m'
		sleep 0 || note_lack sleep
	fi
	cd / && rm -rf -- "$STAGE" && [ ! -e "$STAGE" ] || note_lack 'rm -rf'
	STAGE=''
} 2>/dev/null

# Says whether df tells how much is free, as it is read here.
try_df() {
	local room
	room=$(df -Pk -- / 2>/dev/null)
	IFS=' '
	set -- ${room##*"$NL"}
	IFS=$NL
	[ $# -ge 6 ] && is_number "$4"
}

note_lack() { LACKS=$LACKS$NL$1; }

# Makes install_root and a folder in it, as a first update does, and removes both again. Sets UNMADE to what can't be.
try_root() {
	local place made
	UNMADE=''
	[ -n "$ROOT_THERE" ] || mkdir -p -- "$INSTALL_ROOT" || UNMADE=$INSTALL_ROOT
	set -- "$INSTALL_ROOT"
	[ ! -d "$STATE" ] || set -- "$INSTALL_ROOT" "$STATE"
	for place in "$@"; do
		[ -n "$UNMADE" ] || { mkdir -m 700 -- "$place/stage.$OWN_ID" && rmdir -- "$place/stage.$OWN_ID"; } ||
			UNMADE="a folder in $place"
	done
	made=$INSTALL_ROOT
	[ -z "$ROOT_THERE" ] || made=''
	while [ -n "$made" ] && [ "$made" != "$NEAREST" ]; do
		[ ! -d "$made" ] || rmdir -- "$made" || break
		made=${made%/*}
	done
} 2>/dev/null

# A client that was never changed is refused here, with nothing written, and not somewhere in its first update.
try_tools_once() {
	local listed what
	[ -z "$LINEAGE_HERE" ] && try_tools "${COMMAND_COUNT#0}" && [ -n "$LACKS" ] || return 0
	listed=''
	for what in $LACKS; do listed="${listed:+$listed, }$what"; done
	refuse tools "$listed"
}
