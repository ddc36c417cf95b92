# --- tools ----------------------------------------------------------------------------------------------------------
# Rule 18: what a change asks of the client's tools is tried where it can harm nobody.

# try_tools COMMANDS: sets LACKS to what they can't do, one a line; what checks and hooks need is tried, too, unless
# COMMANDS is empty. Fails where no folder can be made to try them in.
try_tools() {
	LACKS=''
	for tool in dd sha256sum mv ln readlink sync mkdir chmod cp rm df cat ${1:+mkfifo} ${1:+sleep} ${1:+tail}; do
		command -v "$tool" >/dev/null 2>&1 || lacks "$tool"
	done
	[ -z "$LACKS" ] || return 0
	for place in "$STATE/stage" /dev/shm/updoser "${TMPDIR:-/tmp}/updoser"; do
		STAGE=$place.$ME
		! mkdir -m 700 -- "$STAGE" || break
		STAGE=''
	done
	[ -n "$STAGE" ] && cd "$STAGE" || return 1
	mkdir folder other
	mkdir -p -- folder/in || lacks 'mkdir -p'
	printf 12345 | dd bs=5 count=1 iflag=fullblock of=five && [ "$(cat -- five)" = 12345 ] || lacks 'dd iflag=fullblock'
	printf 12345 >five
	[ "$(sha256sum -- five)" = '5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5  five' ] || lacks sha256sum
	# The lock: nobody gets it twice, and a link to a folder is a link.
	ln -sn folder lock && ! ln -sn other lock && [ "$(readlink lock)" = folder ] || lacks 'ln -sn'
	# `current`: a link to a folder is replaced, nothing moves into the folder.
	ln -s folder current && ln -s other next && mv -fT next current && [ "$(readlink current)" = other ] || lacks 'mv -T'
	cp -- five copy && [ "$(cat -- copy)" = 12345 ] || lacks cp
	ln -s gone link && cp -a -- link kept && [ "$(readlink kept)" = gone ] || lacks 'cp -a'
	chmod a-w -- five && chmod -R u+rwx folder || lacks chmod
	sync -- five || sync || lacks sync
	room=$(df -Pk -- .)
	IFS=' '
	set -- "$1" ${room##*"$NL"}
	IFS=$NL
	[ $# -ge 7 ] && is_number "$5" || lacks 'df -Pk'
	if [ -n "$1" ]; then
		mkfifo -m 600 fifo && [ -p fifo ] || lacks 'mkfifo -m'
		sleep 0 || lacks sleep
	fi
	cd / && rm -rf -- "$STAGE" && [ ! -e "$STAGE" ] || lacks 'rm -rf'
	STAGE=''
} 2>/dev/null

lacks() { LACKS=$LACKS$NL$1; }

# Makes install_root and a folder in it, as a first update does, and removes both again. Sets UNMADE to what can't be.
try_root() {
	UNMADE=''
	[ -n "$ROOT_THERE" ] || mkdir -p -- "$ROOT" || UNMADE=$ROOT
	set -- "$ROOT"
	[ ! -d "$STATE" ] || set -- "$ROOT" "$STATE"
	for place in "$@"; do
		[ -n "$UNMADE" ] || { mkdir -m 700 -- "$place/stage.$ME" && rmdir -- "$place/stage.$ME"; } || UNMADE="a folder in $place"
	done
	made=$ROOT
	[ -z "$ROOT_THERE" ] || made=''
	while [ -n "$made" ] && [ "$made" != "$NEAREST" ]; do
		[ ! -d "$made" ] || rmdir -- "$made" || break
		made=${made%/*}
	done
} 2>/dev/null

# A client that was never changed is refused here, with nothing written, and not somewhere in its first update.
try_tools_once() {
	[ -z "$LINEAGE_HERE" ] && try_tools "${COMMANDS#0}" && [ -n "$LACKS" ] || return 0
	listed=''
	for what in $LACKS; do listed="${listed:+$listed, }$what"; done
	fail tools "$listed"
}
