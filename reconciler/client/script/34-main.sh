# --- main -----------------------------------------------------------------------------------------------------------

# A shell that has no `local` would take one function's variables for another's.
knows_local() {
	local probe
	probe=1
}

# Reads a request, and carries it out.
run_request() {
	local word protocol operation length rest probe
	probe=''
	knows_local 2>/dev/null
	[ -z "$probe" ] || refuse tools 'local variables in sh'
	identify
	! command -v setsid >/dev/null 2>&1 || SETSID=setsid
	! command -v stat >/dev/null 2>&1 || HAS_STAT=1
	IFS=' '
	read -r word protocol operation length rest
	IFS=$NL
	[ "$word" = updoser ] && [ "$protocol" = 1 ] || refuse protocol "this client speaks protocol 1, not ${protocol:-none}"
	is_number "$length" && [ "$length" -ge 1 ] && [ "$length" -le 16777216 ] || refuse protocol 'the header has no length'
	read_header "$length"
	! is_much "$HEADER" 0 || stay_alive
	case $operation in
	facts) facts ;;
	deploy) deploy ;;
	read) read_files ;;
	hold | serve)
		command -v hold_parts >/dev/null || refuse protocol 'this copy of the script is none for a relay'
		"${operation}_parts"
		;;
	*) refuse protocol "unknown operation: $operation" ;;
	esac
}

# Rule 1. read_header BYTES: sets HEADER. A `read` takes a byte at a time, which costs less than a process where there
# are few.
read_header() {
	local line left
	HEADER='' left=$1
	if [ $left -gt 2000 ]; then
		HEADER=$(dd bs=$left count=1 iflag=fullblock 2>/dev/null)
	else
		while [ $left -gt 0 ] && IFS= read -r line; do
			HEADER=$HEADER$NL$line left=$((left - ${#line} - 1))
		done
		HEADER=${HEADER#"$NL"}
		[ $left -eq 0 ] || HEADER=''
	fi
	[ "${HEADER##*"$NL"}" = end ] || {
		try_dd
		refuse cut 'the request was cut short'
	}
}

# What can't be read may be a fault of dd.
try_dd() { echo | dd bs=1 count=1 iflag=fullblock >/dev/null 2>&1 || refuse tools 'dd iflag=fullblock'; }
