# --- tools ----------------------------------------------------------------------------------------------------------
# Rule 18: what a change asks of the client's tools is tried where it can harm nobody.

# try_tools COMMANDS: sets LACKS to what they can't do, one a line; what checks and hooks need is tried, too, unless
# COMMANDS is empty. Fails where no folder can be made to try them in.
try_tools() {
	local tool place room read_back
	LACKS='' read_back=''
	for tool in dd sha256sum mv ln readlink sync mkdir chmod cp rm df cat ${1:+mkfifo} ${1:+sleep} ${1:+tail}; do
		command -v "$tool" >/dev/null 2>&1 || note_lack "$tool"
	done
	[ -z "$LACKS" ] || return 0
	for place in "$STATE/stage" /dev/shm/updoser "${TMPDIR:-/tmp}/updoser"; do
		STAGE=$place.$OWN_ID
		! mkdir -m 700 -- "$STAGE" || break
		STAGE=''
	done
	[ -n "$STAGE" ] && cd "$STAGE" || return 1
	mkdir -p -- folder/in other || { note_lack 'mkdir -p' && mkdir folder other; }
	echo 12345 >seed
	dd bs=5 count=1 iflag=fullblock of=five <seed && { IFS= read -r read_back <five || :; } &&
		[ "$read_back" = 12345 ] || note_lack 'dd iflag=fullblock'
	[ "$(sha256sum -- seed)" = 'f33ae3bc9a22cd7564990a794789954409977013966fb1a8f43c35776b833a95  seed' ] ||
		note_lack sha256sum
	# The lock: nobody gets it twice, and a link to a folder is a link.
	ln -sn folder lock && ! ln -sn other lock && [ -d lock ] && [ ! -L folder/other ] || note_lack 'ln -sn'
	cp -a -- lock kept && [ -L kept ] && [ -d kept ] || note_lack 'cp -a'
	# `current`: a link to a folder is replaced, nothing moves into the folder.
	ln -s other next && mv -fT next lock && [ "$(readlink lock)" = other ] || note_lack 'mv -T'
	cp -- seed copy && [ "$(cat -- seed copy)" = "12345${NL}12345" ] || note_lack cp
	chmod a-w -- seed && chmod -R u+rwx folder || note_lack chmod
	sync -- seed || sync || note_lack sync
	room=$(df -Pk -- .)
	IFS=' '
	set -- "$1" ${room##*"$NL"}
	IFS=$NL
	[ $# -ge 7 ] && is_number "$5" || note_lack 'df -Pk'
	if [ -n "$1" ]; then
		mkfifo -m 600 fifo && [ -p fifo ] || note_lack 'mkfifo -m'
		sleep 0 || note_lack sleep
	fi
	cd / && rm -rf -- "$STAGE" && [ ! -e "$STAGE" ] || note_lack 'rm -rf'
	STAGE=''
} 2>/dev/null

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
