# --- reading --------------------------------------------------------------------------------------------------------
# Small files are shown to who asks for differences. What is said in one answer has a limit; the rest is asked for again.

read_files() {
	local line wanted number path bytes
	wanted=''
	for line in $HEADER; do
		case $line in
		'root '*)
			INSTALL_ROOT=${line#root }
			is_folder "$INSTALL_ROOT" || refuse protocol 'install_root is no absolute folder'
			;;
		'path '*)
			is_folder "${line#path }" || refuse protocol "malformed: $line"
			wanted=$wanted$NL${line#path }
			;;
		end) ;;
		*) refuse protocol "unknown directive: ${line%% *}" ;;
		esac
	done
	check_root
	command -v od >/dev/null 2>&1 || refuse unreadable 'the client has no od'
	number=0
	for path in $wanted; do
		number=$((number + 1))
		[ ${#ANSWER} -le 800000 ] || break
		if may_be_shown "$path" && bytes=$(od -An -v -tx1 -N65536 "$path" 2>/dev/null); then
			ANSWER="$ANSWER${NL}file $number$NL$bytes"
		else
			ANSWER="$ANSWER${NL}none $number"
		fi
	done
	answer content
}

# may_be_shown PATH: a plain file, or a link that we made; another link could lead to what only root may read.
may_be_shown() {
	local leads
	[ -f "$1" ] || return 1
	[ -L "$1" ] || return 0
	leads=$(readlink "$1")
	[ -n "$ROOT" ] && is_folder "$leads" && case $leads in "$ROOT"/*/current/*) ;; *) false ;; esac && [ ! -L "$leads" ]
}
