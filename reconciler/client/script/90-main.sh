# --- main -----------------------------------------------------------------------------------------------------------

identify
VERIFY='' DOUBTED='' TRY='' UNMADE='' ROOT='' KEEP='' LINEAGE='' EPOCH='' ANSWER='' STAMPS='' mount_of='' room_of=''
FRESH='' DUE='' ALWAYS='' runs=0 SETSID='' USUALLY='' DEFAULT_SIGNALS=--default-signal=HUP,INT,QUIT,PIPE
! command -v setsid >/dev/null 2>&1 || SETSID=setsid
STAT=''
! command -v stat >/dev/null 2>&1 || STAT=1
IFS=' '
read -r word protocol operation length rest
IFS=$NL
[ "$word" = updoser ] && [ "$protocol" = 1 ] || fail protocol "this client speaks protocol 1, not ${protocol:-none}"
is_number "$length" && [ "$length" -ge 1 ] && [ "$length" -le 16777216 ] || fail protocol 'the header has no length'
HEADER=$(dd bs="$length" count=1 iflag=fullblock 2>/dev/null)
! is_much "$HEADER" 0 || stay_alive
if [ "${HEADER##*"$NL"}" != end ]; then
	echo | dd bs=1 count=1 iflag=fullblock >/dev/null 2>&1 || fail tools 'dd iflag=fullblock'
	fail cut 'the request was cut short'
fi
case $operation in
facts) facts ;;
deploy) deploy ;;
read) read_files ;;
*) fail protocol "unknown operation: $operation" ;;
esac
# end
