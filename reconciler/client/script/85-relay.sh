# --- relay ----------------------------------------------------------------------------------------------------------
# Rule 24. A relay has parts in a folder, each under its SHA-256, and gives them to whoever asks.

# Takes parts, and lets go of others; then says what is there. Who only looks writes nothing.
hold_parts() {
	local line rest dropped held takes probe size part tools changes
	dropped='' held='' takes='' probe='' size='' part='' tools='' changes=''
	for line in $HEADER; do
		rest=${line#* }
		case $line in
		'store '*)
			INSTALL_ROOT=$rest
			is_folder "$INSTALL_ROOT" || refuse protocol 'the store is no absolute folder'
			;;
		'drop '*)
			is_digest "$rest" || refuse protocol "malformed: $line"
			dropped=$dropped$NL$rest$NL$rest.part changes=1
			;;
		'held '*)
			is_digest "$rest" || refuse protocol "malformed: $line"
			held=$held$NL$rest changes=1
			;;
		'take '*)
			IFS=' '
			set -- $rest
			IFS=$NL
			[ $# -eq 3 ] && is_number "$1" && is_number "$2" && is_digest "$3" && [ "$1" -le "$2" ] ||
				refuse protocol "malformed: $line"
			takes=$takes$NL$rest changes=1
			;;
		'probe '*)
			IFS=' '
			set -- $rest
			IFS=$NL
			[ $# -eq 1 ] || { [ $# -eq 3 ] && is_number "$2" && is_digest "$3"; } || refuse protocol "malformed: $line"
			is_url "$1" || refuse protocol "malformed: $line"
			probe=$1 size=${2-} part=${3-}
			;;
		tools) tools=1 ;;
		end) ;;
		*) refuse protocol "unknown directive: ${line%% *}" ;;
		esac
	done
	[ -n "$INSTALL_ROOT" ] || refuse protocol 'the header is incomplete'
	stay_alive
	check_root
	if [ -n "$changes" ]; then
		open_store
		take_lock
		cd "$ROOT" || refuse unwritable "$ROOT can't be entered"
		[ -z "$dropped" ] || batch "$dropped" rm -f -- || refuse unwritable "$ROOT can't be written"
		check_parts "$held"
		take_parts "$takes"
		read_closing
	fi
	[ -z "$ROOT_THERE" ] || say_parts
	say_room "$NEAREST"
	[ -z "$ROOT_THERE" ] || say_server
	[ -z "$probe" ] || say_probe "$probe" "$size" "$part"
	[ -z "$tools" ] || find_server || ANSWER="$ANSWER${NL}unserved"
	answer relay
}

# Makes the folder of parts, which others may read, and a place of ours in it.
open_store() {
	if [ -z "$ROOT_THERE" ]; then
		mkdir -p -- "$INSTALL_ROOT" 2>/dev/null || refuse unwritable "$INSTALL_ROOT can't be made"
		check_root
	fi
	[ -d "$STATE" ] || mkdir -m 700 -- "$STATE" 2>/dev/null || refuse unwritable "$STATE can't be made"
	STAGE=$STATE/stage.$OWN_ID
	mkdir -m 700 -- "$STAGE" 2>/dev/null || { STAGE='' && refuse unwritable "$STATE can't be written"; }
}

# check_parts DIGESTS: hashes parts that are there, and removes those that are other ones.
check_parts() {
	local part summed
	for part in $1; do
		[ ! -L "$part" ] && summed=$(sha256sum <"$part") && [ "${summed%% *}" = "$part" ] && continue
		rm -rf -- "$part"
		ANSWER="$ANSWER${NL}bad $part"
	done
} 2>/dev/null

# take_parts TAKES: reads parts, each `OFFSET SIZE SHA256`, behind what came of them before. One that breaks off stays
# as it is, and is gone on with later.
take_parts() {
	local take part size begun need room
	need=0
	for take in $1; do
		size=${take#* }
		need=$((need + (${size%% *} - ${take%% *} + 1023) / 1024))
	done
	room=$(df -Pk -- "$ROOT" 2>/dev/null)
	IFS=' '
	set -- "$1" ${room##*"$NL"}
	IFS=$NL
	[ $# -ge 7 ] && is_number "$5" && [ $need -le "$5" ] ||
		refuse disk "not enough disk: $need KiB are needed and ${5:-0} are free in $ROOT"
	for take in $1; do
		begun=${take%% *} part=${take##* } size=${take#* }
		size=${size%% *}
		[ $begun -gt 0 ] || rm -rf -- "$part.part"
		[ $begun -eq 0 ] || [ "$(size_of "$part.part")" = $begun ] || refuse locked "$ROOT was changed by another process"
		take_more $((size - begun)) "$part.part" || {
			rm -f -- "$part.part"
			refuse disk "$ROOT can't be written: no room?"
		}
		[ "$(size_of "$part.part")" = "$size" ] || refuse cut 'the request was cut short'
		if has_sum "$part.part" "$part" $size; then
			chmod 644 -- "$part.part" && mv -fT -- "$part.part" "$part" 2>/dev/null || refuse unwritable "$ROOT can't be written"
		else
			rm -f -- "$part.part"
			ANSWER="$ANSWER${NL}bad $part"
		fi
	done
}

take_more() {
	: >>"$2" && dd bs=65536 count=$(($1 / 65536)) iflag=fullblock >>"$2" &&
		{ [ $(($1 % 65536)) -eq 0 ] || dd bs=$(($1 % 65536)) count=1 iflag=fullblock >>"$2"; }
} 2>/dev/null

size_of() {
	local listing
	[ -f "$1" ] && [ ! -L "$1" ] && listing=$(ls -ln -- "$1") || return 1
	IFS=' '
	set -- $listing
	IFS=$NL
	printf '%s' "$5"
}

# Names the parts that are there, and those that were begun.
say_parts() {
	local line part names
	cd "$ROOT" || refuse unreadable "$ROOT can't be entered"
	names=''
	set +f
	set -- *
	set -f
	for part in "$@"; do
		! is_digest "${part%.part}" || [ -L "$part" ] || [ ! -f "$part" ] || names=$names$NL$part
	done
	[ -n "$names" ] || return 0
	for line in $(batch "$names" ls -ln --); do
		IFS=' '
		set -- $line
		IFS=$NL
		part=${line##* }
		case $part in
		*.part) ANSWER="$ANSWER${NL}part $5 ${part%.part}" ;;
		*) ANSWER="$ANSWER${NL}has $5 $part" ;;
		esac
	done
}

# Says whether a server that a run started gives them now.
say_server() {
	local holder
	holder=''
	[ ! -f "$STATE/serving" ] || IFS= read -r holder <"$STATE/serving"
	[ -z "$holder" ] || ! is_alive "$holder" || ANSWER="$ANSWER${NL}server"
}

# say_probe URL SIZE SHA256: says whether a part can be had as a client has it, if that can be tried here: this one, or
# without it one that is there. Who tries may be a client, and have no folder of ours.
say_probe() {
	local size part place
	size=$2 part=$3
	if [ -z "$part" ]; then
		part=${ANSWER#*"${NL}has "}
		[ "$part" != "$ANSWER" ] || return 0
		part=${part%%"$NL"*}
		size=${part% *} part=${part#* }
	fi
	find_fetcher || return 0
	for place in "$STATE/stage" /dev/shm/updoser "${TMPDIR:-/tmp}/updoser"; do
		[ -z "$STAGE" ] || break
		! mkdir -m 700 -- "$place.$OWN_ID" 2>/dev/null || STAGE=$place.$OWN_ID
	done
	[ -n "$STAGE" ] || return 0
	RELAY_PATIENCE=10
	if fetch_from "$1/$part" "$size" "$part" "$STAGE/probe"; then
		ANSWER="$ANSWER${NL}probe yes"
	else
		ANSWER="$ANSWER${NL}probe no $TROUBLE"
	fi
}

# Gives the folder by HTTP for as long as the controller says so: it ends with the connection, whatever ends that.
serve_parts() {
	local line rest address port server watcher beat
	address='' port=''
	for line in $HEADER; do
		rest=${line#* }
		case $line in
		'store '*)
			INSTALL_ROOT=$rest
			is_folder "$INSTALL_ROOT" || refuse protocol 'the store is no absolute folder'
			;;
		'listen '*)
			address=${rest% *} port=${rest##* }
			is_token "$address" && is_number "$port" || refuse protocol "malformed: $line"
			;;
		end) ;;
		*) refuse protocol "unknown directive: ${line%% *}" ;;
		esac
	done
	[ -n "$INSTALL_ROOT" ] && [ -n "$port" ] || refuse protocol 'the header is incomplete'
	check_root
	find_server || refuse tools 'a web server (python3, or busybox httpd)'
	NEW_FOLDERS=''
	[ -e "$STATE" ] || NEW_FOLDERS=$STATE
	[ -n "$ROOT_THERE" ] || NEW_FOLDERS=$STATE$NL$(new_folders)
	open_store
	cd "$ROOT" || refuse unwritable "$ROOT can't be entered"
	start_server "$address" "$port" </dev/null >/dev/null 2>"$STAGE/said" &
	server=$!
	echo 0 >"$STAGE/pulse"
	end_with_us $server "$STAGE/pulse" </dev/null >/dev/null 2>&1 &
	watcher=$!
	stay_alive
	beat=0
	until listens $server || [ $beat -ge 600 ]; do
		goes_on $server "$address:$port"
		sleep 0.1 2>/dev/null || sleep 1
		beat=$((beat + 1))
	done
	printf '%s\n' "$OWN_ID" >"$STAGE/serving" && mv -fT -- "$STAGE/serving" "$STATE/serving"
	beat=0
	while IFS= read -r line && [ "$line" = beat ] && kill -0 $server 2>/dev/null; do
		beat=$((beat + 1))
		echo $beat >"$STAGE/pulse"
	done
	rm -f -- "$STATE/serving"
	goes_on $server "$address:$port"
	{
		kill -s KILL $server $watcher
		wait $server $watcher
	} 2>/dev/null
	say_room "$NEAREST"
	leave_store
	answer relay
}

# listens PID: says whether a process has a socket at which it takes connections (state 0A).
listens() {
	local link socket line
	for link in 0 1 2 3 4 5 6 7 8 9; do
		socket=$(readlink -- /proc/$1/fd/$link 2>/dev/null)
		case $socket in 'socket:['*) ;; *) continue ;; esac
		socket=${socket#*'['}
		for line in $(cat -- /proc/$1/net/tcp /proc/$1/net/tcp6 2>/dev/null); do
			case $line in *' 0A '*" ${socket%']'} "*) return 0 ;; esac
		done
	done
	return 1
}

# Names the folders from the store up to what is there already.
new_folders() {
	local folder
	folder=$INSTALL_ROOT
	while [ "$folder" != "$NEAREST" ] && [ -n "$folder" ]; do
		printf '%s\n' "$folder"
		folder=${folder%/*}
	done
}

# Removes what only serving has made: a store that nothing was ever brought to is as it was then.
leave_store() {
	local folder
	cd / && cleanup
	for folder in $NEW_FOLDERS; do
		rmdir -- "$folder" 2>/dev/null || break
	done
}

# goes_on PID PLACE: refuses when a web server ended by itself, at once or later, as where others have its port.
goes_on() {
	local said
	! kill -0 $1 2>/dev/null || return 0
	said=$(tail -n 1 "$STAGE/said")
	leave_store
	refuse server "nobody can listen on $2: $said"
}

# Sets SERVER to what can give a folder by HTTP here.
find_server() {
	if python3 -I -c 'import http.server' >/dev/null 2>&1; then
		SERVER=python3
	elif busybox httpd --help >/dev/null 2>&1 </dev/null; then
		SERVER=busybox
	else
		return 1
	fi
}

start_server() {
	case $SERVER in
	python3) exec python3 -I -m http.server "$2" --bind "$1" ;;
	*)
		case $1 in *:*) set -- "[$1]" "$2" ;; esac
		exec busybox httpd -f -p "$1:$2"
		;;
	esac
}

# end_with_us PID PULSE: ends a process once this one is gone, or nobody was heard for two minutes.
end_with_us() {
	local before now quiet
	before='' quiet=0
	while sleep 1 && kill -0 $$ && kill -0 $1 && [ $quiet -lt 120 ]; do
		IFS= read -r now <"$2"
		quiet=$((quiet + 1))
		[ "$now" = "$before" ] || quiet=0
		before=$now
	done
	kill -s KILL $1
}
