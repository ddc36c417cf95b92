# --- fetching -------------------------------------------------------------------------------------------------------
# Rule 23. Parts that a relay has come from there by HTTP; whoever it is, it can only give bytes that are refused.

# read_relay REST: reads where parts may be fetched from.
read_relay() {
	local url
	IFS=' '
	set -- $1
	IFS=$NL
	[ $# -ge 3 ] && is_number "$1" && is_limit "$2" || refuse protocol 'malformed: relay'
	RELAY_WAIT=$1 RELAY_PATIENCE=$2 RELAYS=''
	shift 2
	for url in "$@"; do
		is_url "$url" || refuse protocol "malformed: relay $url"
		RELAYS=$RELAYS$NL$url
	done
}

is_url() {
	case $1 in http://[!/]* | https://[!/]*) ;; *) return 1 ;; esac
	case $1 in *[!]A-Za-z0-9._:/%@~[-]*) return 1 ;; esac
	[ ${#1} -le 500 ]
}

# fetch_part SIZE SHA256 FILE: gets a part from one relay or another, and waits for them for a while. Where that fails
# TROUBLE says why; no further part is asked for then.
fetch_part() {
	local url began pause
	TROUBLE=$RELAY_GONE
	[ -z "$TROUBLE" ] && find_fetcher || { RELAY_GONE=$TROUBLE && return 1; }
	stay_alive
	read_uptime
	began=$UPTIME pause=1
	while :; do
		for url in $RELAYS; do
			! fetch_from "$url/$2" "$1" "$2" "$3" || return 0
		done
		read_uptime
		[ $((UPTIME - began)) -lt $RELAY_WAIT ] && sleep $pause || break
		[ $pause -ge 16 ] || pause=$((pause * 2))
	done
	RELAY_GONE=$TROUBLE
	return 1
}

# Sets UPTIME to the seconds since the boot; where nobody tells them, to more each time that it is asked.
read_uptime() {
	local seconds rest
	seconds=''
	[ ! -r /proc/uptime ] || IFS=' ' read -r seconds rest </proc/uptime
	seconds=${seconds%%.*}
	is_number "$seconds" || seconds=$((UPTIME + 60))
	UPTIME=$seconds
}

# Sets FETCHER to what gets a URL here. A busybox follows redirections (what comes from there is verified alike), and
# breaks down in some builds when it is told to hurry.
find_fetcher() {
	[ -z "$FETCHER" ] || return 0
	if curl -q --version >/dev/null 2>&1; then
		FETCHER=curl
		return 0
	fi
	case $(wget --version 2>&1 </dev/null) in
	*GNU*) FETCHER=wget ;;
	*BusyBox*) FETCHER=busybox ;;
	*) TROUBLE='the client has neither curl nor wget' && return 1 ;;
	esac
}

# fetch_from URL SIZE SHA256 FILE: gets one part; goes on where an earlier try broke off, and anew where that is no use.
fetch_from() {
	local way begun status
	for way in on anew; do
		[ $way = on ] || rm -f -- "$4"
		begun=''
		[ ! -s "$4" ] || begun=1
		download "$1" "$2" "$4"
		status=$?
		! has_sum "$4" "$3" $2 || return 0
		[ -n "$begun" ] || break
	done 2>/dev/null
	if [ $status -eq 0 ]; then
		rm -f -- "$4"
		TROUBLE="$1: other bytes than announced"
	else
		TROUBLE="$1: $(fetcher_says $status)"
	fi
	return 1
}

fetcher_says() {
	local line said
	said=''
	for line in $(tail -c 500 "$STAGE/fetched" 2>/dev/null); do said=$line; done
	is_text "$said" && [ -n "$said" ] || said="$FETCHER ends with $1"
	printf '%.200s' "$said"
}

# download URL SIZE FILE: writes what comes behind what FILE has, never much more than SIZE; ended when its time is up.
download() {
	local block job watcher status
	: >"$STAGE/fetched"
	(
		block=512
		[ -z "${BASH_VERSION:-}" ] || [ -n "${POSIXLY_CORRECT:-}" ] || block=1024
		ulimit -c 0
		ulimit -f $((($2 + block - 1) / block)) || exit 1
		unset http_proxy https_proxy all_proxy HTTPS_PROXY ALL_PROXY
		case $FETCHER in
		curl)
			exec curl -qgfsS --noproxy '*' --proto =http,https --max-redirs 0 --connect-timeout 10 -Y 1024 \
				-y "$RELAY_PATIENCE" -C - -o "$3" "$1"
			;;
		wget)
			exec wget -nv --no-config --no-proxy --max-redirect=0 --tries=1 --connect-timeout=10 \
				--read-timeout="$RELAY_PATIENCE" -c -O "$3" "$1"
			;;
		*) exec wget -q -c -O "$3" "$1" ;;
		esac
	) </dev/null >/dev/null 2>"$STAGE/fetched" &
	job=$!
	end_in_time $job $((RELAY_PATIENCE + $2 / 65536)) </dev/null >/dev/null 2>&1 &
	watcher=$!
	wait $job
	status=$?
	kill $watcher
	wait $watcher
	return $status
} 2>/dev/null

# end_in_time PID SECONDS: ends a process that isn't through by then.
end_in_time() {
	local left
	left=$2
	while sleep 1 && kill -0 $1; do
		left=$((left - 1))
		[ $left -gt 0 ] && kill -0 $$ || break
	done
	kill -s KILL $1
}

# mark_unfetched N: gives a step up that the controller can send by itself.
mark_unfetched() {
	eval "VERDICT_$1=unfetched REASON_$1=\$TROUBLE"
}
