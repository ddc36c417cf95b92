# --- many at once -----------------------------------------------------------------------------------------------------
# What would need a process for each file is done by one perl, where there is one.

# Rule 25. act OPERATIONS: carries them out in their order; each has three lines. Whoever asks for them looks at what
# became of them, or hashes it.
#   take SIZE FILE      so many bytes of the payload become a file
#   copy FILE NEW-FILE  the bytes of a file, with a mode of its own
#   keep NAME NEW-NAME  link(2)
#   link TEXT NAME      symlink(2)
#   move NAME NEW-NAME  rename(2)
#   make FOLDER -       mkdir(2), below a folder that is there
#   room FOLDER -       the same, and nobody else may enter it
#   seal NAME -         nobody may write to it any more; where that can't be, it is nothing that failed
act() { batch "$1" act_at_once; }

act_at_once() {
	local said
	if [ $# -ge 12 ] && [ -z "$NO_PERL" ]; then
		said=$(exec perl -e "$ACTIONS" $$ "$@" 2>/dev/null)
		case $said in
		begun*)
			HAS_PERL=1
			[ "$said" = "begun${NL}done" ]
			return
			;;
		esac
		NO_PERL=1
	fi
	act_by_tools "$@"
}

# Those that follow each other, and only bring files to one folder under the names that they have, are one call. Nothing
# is moved into a folder that is in the way: it would be into FOLDER/NAME/NAME.
act_by_tools() {
	local status verb folder names
	status=0
	while [ $# -gt 0 ]; do
		verb=$1 folder=${3%/*} names=''
		while case $verb:${1:-} in make:make | room:room | seal:seal) ;; *) false ;; esac; do
			names=$names$NL$2
			shift 3
		done
		while [ "$verb" != take ] && [ "${1:-}" = "$verb" ] && [ "${2##*/}" = "${3##*/}" ] && [ "${3%/*}" = "$folder" ]; do
			names=$names$NL$2
			shift 3
		done
		case $verb:$names in
		take:*) take "$2" "$3" || return 1 ;;
		make:*) mkdir -p -- $names ;;
		room:*) mkdir -m 700 -- $names ;;
		seal:*) chmod a-w -- $names || : ;;
		link:) ln -s -- "$2" "$3" ;;
		link:*) ln -s -- $names "$folder/" ;;
		move:) mv -fT -- "$2" "$3" ;;
		copy:*) cp -- $names "$folder/" ;;
		keep:*) ln -- $names "$folder/" ;;
		move:*) mv -f -- $names "$folder/" ;;
		esac || status=1
		[ -n "$names" ] || shift 3
	done 2>/dev/null
	return $status
}

# take SIZE FILE: reads so many bytes of the payload into a file. What is large comes in blocks of what a pipe holds: who
# gathers a megabyte first has it fetched from memory again by the time that it is written.
take() {
	if [ "$1" -eq 0 ]; then
		: >"$2"
	elif [ "$1" -le 1048576 ]; then
		dd bs="$1" count=1 iflag=fullblock 2>/dev/null >"$2"
	else
		dd bs=65536 count=$(($1 / 65536)) iflag=fullblock 2>/dev/null >"$2"
		[ $(($1 % 65536)) -eq 0 ] || dd bs=$(($1 % 65536)) count=1 iflag=fullblock 2>/dev/null >>"$2"
	fi
}

# It ends when we are gone, as a tool ends after its one call: another run may have the lock by then.
ACTIONS='
$| = 1;
print "begun\n";
my ($parent, $failed) = (shift, 0);
while (my ($verb, $from, $to) = splice @ARGV, 0, 3) {
	exit 1 if getppid() != $parent;
	if ($verb eq "take") { take($from, $to) or exit 1 }
	elsif ($verb eq "copy") { copy($from, $to) or $failed = 1 }
	elsif ($verb eq "keep") { link $from, $to or $failed = 1 }
	elsif ($verb eq "link") { symlink $from, $to or $failed = 1 }
	elsif ($verb eq "move") { rename $from, $to or $failed = 1 }
	elsif ($verb eq "make") { mkdir $from or $failed = 1 }
	elsif ($verb eq "room") { mkdir $from, 0700 or $failed = 1 }
	elsif ($verb eq "seal") { chmod((stat $from)[2] & 07555, $from) }
}
print "done\n" unless $failed;
sub take {
	my ($size, $file) = @_;
	return transfer(*STDIN, $size, $file);
}
sub copy {
	my ($file, $copy) = @_;
	open my $in, "<", $file or return 0;
	return transfer($in, -s $in, $copy);
}
sub transfer {
	my ($in, $left, $file) = @_;
	open my $out, ">", $file or return 0;
	while ($left > 0) {
		my $got = sysread $in, my $bytes, $left < 65536 ? $left : 65536;
		return 0 unless defined $got;
		last if $got == 0;
		$left -= $got;
		for (my $at = 0; $at < $got;) { $at += syswrite($out, $bytes, $got - $at, $at) || return 0 }
	}
	return close $out;
}
'
