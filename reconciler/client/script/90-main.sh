# --- main -----------------------------------------------------------------------------------------------------------

# A shell that has no `local` would take one function's variables for another's.
knows_local() {
	local probe
	probe=1
}
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
HEADER=$(dd bs="$length" count=1 iflag=fullblock 2>/dev/null)
! is_much "$HEADER" 0 || stay_alive
if [ "${HEADER##*"$NL"}" != end ]; then
	echo | dd bs=1 count=1 iflag=fullblock >/dev/null 2>&1 || refuse tools 'dd iflag=fullblock'
	refuse cut 'the request was cut short'
fi
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
# end
