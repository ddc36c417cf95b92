# The mark of a client: it is equal as long as a look would find the same. One line goes ahead of a request, is read by
# the command that then looks for the copy of the script (see opening.py), and makes it, in any POSIX shell. It changes
# nothing, and where it can't say all for sure, it says what it never says again.
#
# In it are: the boot, and what a look reads of the kernel; who we are; mode and owner of install_root and of the folders
# above it; each folder that a look reads, so that nothing comes or goes unseen; each file whose stamp or content it
# reads, by the stamp of the script's rule 13 and the device; targets and watched folders of all manifests, where there
# are any; and which tools there are.
#
# No line may go on in the next one but behind `then`, `do`, `in`, `{`, `&&` and `;;`, as all become one.

# updoser_lists ROOT OUTER: prints all that. OUTER isn't empty where there are targets or watched folders.
updoser_lists() {
	export LC_ALL=C TZ=UTC0 PATH="${PATH:+$PATH:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	read -r once </proc/sys/kernel/random/uuid || return
	read -r boot </proc/sys/kernel/random/boot_id || return
	read -r memory </proc/meminfo || return
	cd -P "$1" && [ "$PWD" = "$1" ] && [ ! -L .updoser ] || return
	user='' policy='' armour='' outer=$2 at='' rest=${1#/}
	while read -r word real user more && [ "$word" != Uid: ]; do
		:
	done </proc/self/status
	[ ! -r /sys/fs/selinux/enforce ] || read -r policy </sys/fs/selinux/enforce
	[ ! -r /sys/module/apparmor/parameters/enabled ] || read -r armour </sys/module/apparmor/parameters/enabled
	set -- / .updoser
	while [ "$rest" ]; do
		at=$at/${rest%%/*}
		set -- "$@" "$at"
		case $rest in
		*/*) rest=${rest#*/} ;;
		*) rest='' ;;
		esac
	done
	word=$(stat -c "$boot $user:$policy:$armour:$memory %A %u %g %d:%i %n" -- "$@")
	case $word in
	*"$boot"*" $at") echo "$word" ;;
	*) echo "$once" ;;
	esac
	set -- . .updoser/controller .updoser/manifests/* .updoser/unchecked/*
	command -v bspatch
	command -v gzip
	word=$(command -v zstd) && set -- "$@" "$word"
	if [ "$outer" ]; then
		rest=$(cat .updoser/manifests/*)
		IFS=$(printf '\n.')
		IFS=${IFS%.}
		set -f
		for word in $rest; do
			case $word in
			'i '*) set -- "$@" "${word#*\|*\|}" ;;
			'w '*) set -- "$@" "${word#w }" ;;
			esac
		done
		set +f
	fi
	stat -c '%f %u %g %d:%i %s %y|%z|%n' -- "$@" * */current */current/. */current/*
	[ $? -le 1 ] || echo "$once"
}
