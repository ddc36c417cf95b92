#!/bin/sh
# What runs on a client: looks (facts, read) or changes (deploy), and answers on stdout. POSIX sh, with `local`.
#
# It needs sh, dd, sha256sum, mv -T, ln, readlink, sync and mkdir chmod chown cp rm ls df cat id uname; for checks and
# hooks sleep, mkfifo, tail and rmdir, and od to show files; it uses stat, perl, restorecon, gzip, zstd, bspatch, setsid,
# env --default-signal, and openssl with timeout, where they are. The controller sends it ahead of each request; a copy
# that root owns can be the one command that sudoers allows. The first line of a request is `updoser 1 OP BYTES`, then
# BYTES of header lines up to `end`, then the payload of all steps, then `go`. client/requests.py writes it,
# client/protocol.py reads the answer.
#
#  1 Read by length, with dd iflag=fullblock: head -c and plain dd lose bytes. Where there are few, the shell reads them
#    by lines and counts them. Payloads of steps that aren't carried out are drained. Without the closing `go` nothing is
#    switched.
#  2 No tar (it restores owners), no pipeline whose exit status matters, no plain mv onto something.
#  3 Everything in the header is checked, and an unknown directive refuses the request, before anything is touched.
#  4 install_root and its parents belong to root or to us and nobody else can write there; links in the places that
#    are ours are refused; staging is created exclusively, mode 0700, and everything is made ready in it.
#  5 Room is checked on each file system before anything is written, and no more than the header's sizes is written.
#  6 One lock, a symbolic link that names pid, boot and start time; it is held while switching, never while waiting
#    for bytes. A lock whose holder is gone is taken over by a rename that only one can win.
#  7 The manifest is written and synced before `current` moves: the link is the only commit point. Killed anywhere,
#    `current` leads to one whole version. What a run left behind, the next one removes. The exception is a version
#    whose bytes are replaced under its own name, as when it is damaged: that goes file by file, each by a rename.
#  8 Targets follow the switch. If one fails, all of them and `current` go back.
#  9 SIGPIPE and SIGHUP are ignored, and the answer is printed when all is done or undone.
# 10 Only versions that have a manifest are pruned, never `current` or the previous one. In target folders only what
#    `replaces` names, and what was put there before, is removed. facts writes nothing, unless it is to try the tools, or
#    to ask engines what they have loaded: for what they say there is a folder in memory, if there is memory for one.
# 11 A patch reads the version in force and writes beside it, no more than a block beyond the size that its result should
#    have; what comes between the patches of a chain goes to memory (/dev/shm), not to the disk. Where a patch can't be applied the
#    step is `unpatched`, and nothing of it is switched.
# 12 A copy of this script stays in .updoser, so that it isn't sent again, and one of what a look needs of it; who starts
#    either compares its digest first.
# 13 What is believed without hashing is a file whose mode, owner, inode, size and times are those of the manifest.
# 14 A version that was kept or sent early (`file held`) is linked, and hashed as if it had been sent.
# 15 Checks and hooks are data until `sh -c` gets them: their text and variables stand in the header, never in an eval.
#    They read /dev/null, may say what they like, ignore no signal (rule 9 is for us, not for what they start), and are
#    stopped with their children when their time is up. While one runs a line is printed every five seconds, so that the
#    controller knows that this client is alive. What an engine says of what it has loaded is only repeated.
# 16 Staged checks come before the lock, on files that are hashed again afterwards. Then: `before` hooks, all switches,
#    `after` hooks, switched checks, `always` hooks. What fails goes back at once, and its `after` hook runs once more.
# 17 Before a switch that something is to be run after, .updoser/unchecked/COMPONENT gets the version and is synced; it
#    goes when all of that has passed. A version in force that stands there isn't believed.
# 18 What a change asks of the tools is tried before the first one, in a folder of its own: a client whose tools can't do
#    it is refused with their names, and not half-way in its first update. What a change asks of them before it writes
#    anything need not be tried ahead of that.
# 19 Who goes through many files, or large ones, says every five seconds that it is there, whatever it is doing.
# 20 What another process did, or is doing, is never a failure: a step whose component was changed under it is `stale`,
#    or `ok` when there is now what was wanted. Each failure has a code that says what it is about; see
#    `FAULTS` in model/deploy.py.
# 21 Power may be cut at any moment: what gets a name that counts is on the disk before its rename, and its folder
#    after; one sync for all of a phase. Nothing of ours is written in place. An empty file of ours is no file; an empty
#    manifest says that its version is being brought to its place, and who finds it later removes both.
# 22 Target folders, and those above, are where nobody but root and us can put another one, or aren't used; we go there
#    and use names, not paths.
# 23 What a relay has (`file fetched`, a patch with a digest) is got by HTTP, with what there is: no more bytes than it
#    should have, hashed before it is used, within a time. Relays are asked in their order, again and again until the
#    wait is over; the step is `unfetched` then, and nothing of it is switched.
# 24 A relay (hold, serve) has parts under their SHA-256 in a folder of its own, and nothing else there is touched. They
#    are hashed when they come, and again at each filling. A web server that is started gives that folder only, and ends
#    with the process that started it, which ends with its input.
# 25 A process costs a millisecond or two. So what can be asked of one tool for all files is asked once, the shell does by
#    itself what it can, and nothing is forked in a loop over components or files. Where a tool takes one file only, and
#    there are many, a perl does all of them in one process, by the same system calls and in the same order. It decides
#    nothing, it isn't needed, and what it did is hashed or looked at like all else.
# 26 Where there are many bytes to hash, openssl is asked first, if it can tell a hash that we know; it has so much time.
#    All that it can do is spare us sha256sum: nothing is refused, or called damaged, for what it says.
#
# A manifest, .updoser/manifests/COMPONENT@VERSION, has a line for itself, one for each file, target and watched folder:
#   manifest COMPONENT VERSION DIGEST PREVIOUS LAYOUT
#   f SIZE SHA256 STAMP|COMPONENT/VERSION/NAME
#   i SIZE SHA256 STAMP|/FOLDER/NAME        (for a link the digest is -)
#   w /FOLDER
#   end
#
# Variables. Those in capitals, and `own`, are for all functions: each stands in this table with who sets it. Those in
# small letters belong to the function that declares them. `local` is in no standard, but in dash,
# bash, busybox and mksh. It comes first and the value after it: dash splits `local a=$b`, and `local a=$(b)` hides
# whether b failed. A flag is 1 or empty. A list has a line end before each of its items. What there isn't is empty.
#
# From the start to the end (10-common.sh, 34-main.sh)
#   NL               a line end; IFS is that too, but for moments (head)
#   TAB              a tab (head)
#   STANDARD_PATH    where tools are looked for last, or first (head)
#   OWNER_FORMAT     what stat is asked for in place of `ls -ldn` (head)
#   STAMP_FORMAT     what stat is asked for: the STAMP of a file, and its path (head)
#   NO_STAMP         what stands for the STAMP of a file that has to be hashed (head)
#   DEFAULT_SIGNALS  the option of env that gives a command the signals which we ignore (head)
#   HAS_STAT         flag: there is a stat; without it everything is hashed (run_request)
#   SETSID           `setsid`, where there is one (run_request)
#   RESET_SIGNALS    list: env and DEFAULT_SIGNALS, where that works (run_command)
#   HEADER           the lines of the request's header (read_header)
#   HASHER           what hashes many bytes: `openssl` or `none`, once that is known (is_large, have_sums)
#   HAS_PERL         flag: there is a perl, and it worked (act_at_once)
#   NO_PERL          flag: there is none, or it doesn't work (act_at_once)
#   ACTIONS          what perl gets (head)
#   own_kept         PID of this process where that is the copy (opening.py)
#   own_mark         the same PID, and the mark that was made ahead of a look (opening.py)
#   own              the text of this script, where it came ahead of the request or from its copy (opening.py)
#   LOOK_BYTES       how much of that a look needs, and keeps a copy of; session.py says (head)
#   ANSWER           lines of the answer as far as they are known (facts, read_files, answer_outcomes, take_parts)
#
# This process, and what it must end or remove (10-common.sh)
#   BOOT             the id of the boot, or `unknown` (identify)
#   OWN_ID           PID:BOOT:START_TIME of this process, as in a lock or in the name of a folder (identify)
#   START_TIME       when the process that was asked for began, in ticks since boot (read_start)
#   OWN_UID          the number of the user that we are (read_own_uid)
#   HOLDER           the OWN_ID of who holds the lock (refuse_live_lock)
#   LOCKED           flag: the lock is ours (take_lock)
#   STAGE            our staging folder, or the one in which tools are tried (make_places, try_tools, open_store)
#   TREE             the folder in STAGE for what arrives: COMPONENT/VERSION/NAME, as below ROOT (make_places)
#   ASIDE            our folder in /dev/shm (next_aside)
#   TICKER           the PID of who says meanwhile that we are there (stay_alive)
#   NAP              the PID of the sleep that a trap is to end, in a process of its own (tick, watch_over)
#   TRASH_COUNT      how many things lie in STAGE that were cleared away (clear_away)
#   ASIDE_COUNT      how many files were put in ASIDE (next_aside)
#   RUN_COUNT        how many commands were run (run_command)
#
# Where (10-common.sh)
#   INSTALL_ROOT     install_root, or a relay's store, as named (facts, read_steps, read_files, hold_parts, serve_parts)
#   ROOT             its physical path, when it is there (check_root)
#   ROOT_THERE       flag: it is there (check_root)
#   STATE            its folder .updoser, there or not (check_root)
#   ANCESTORS        list: all folders down to a path, and the path, as far as they exist (ancestors)
#   NEAREST          the last of them (ancestors)
#   PLACE            DEVICE:INODE of ROOT, or of the last folder above it that is there (check_owners)
#   INSECURE         why a folder isn't one that only root and we can change (check_owners, is_settled)
#   FRESH            list: folders that were made for this request, and the one above (make_places)
#   ENTERED          the target folder that is the working directory, if one is (enter)
#
# What is asked of a look (30-facts.sh, 45-tools.sh)
#   VERIFY           flag: everything is to be hashed (facts)
#   TRY              the tools to try: those for `files`, or for `commands` too (facts)
#   LACKS            list: what the tools can't do (try_tools, note_lack)
#   UNMADE           what can't be made in install_root, or is install_root (try_root)
#
# What is asked of a change (40-request.sh)
#   KEEP             how many versions of a component are kept (read_steps)
#   PURPOSE          `switch`, `stage` or `check` (read_steps)
#   LINEAGE          who asks: the lineage of its state (read_steps)
#   EPOCH            and its epoch, a number (read_steps)
#   LINEAGE_HERE     the lineage that this client answers to (read_controller)
#   EPOCH_HERE       and the epoch (read_controller)
#   COMPONENTS       list: the components of all steps (read_steps)
#   DOUBTED          list: those that somebody saw damaged, so that they are hashed (read_steps)
#   VARS             list: NAME VALUE for commands, until they are exported (read_steps, environment)
#   STEP_COUNT       how many steps there are, or were read yet; the number of a step is 1 to that (read_steps, facts)
#   COMMAND_COUNT    how many checks and hooks there are; the number of a command is 1 to that (read_command)
#   HAS_TARGET       flag: the step that is read has a target (read_step_line)
#   HAS_BASE         flag: the next file was given its base (read_step_line)
#   PATCH_RESULT     the size that the next file gets by its last patch (read_step_line)
#   HAS_TEXT         flag: the last command has a text (read_command)
#   GATHERED_LINES   list: lines of a step that aren't in LINES_n yet (read_steps)
#   GATHERED_COUNT   how many lines of it, or of manifests, wait in GATHERED_… (read_steps, read_manifests)
#   WEIGHT           bytes of all files that the header, or all manifests, name (read_step_line, read_manifests)
#
# The nth step (40-request.sh)
#   COMPONENT_n      its component; in a look the nth that is asked (add_step, facts)
#   FROM_VERSION_n   the version that should be in force, or - (add_step)
#   FROM_DIGEST_n    its digest, or - where there is none to believe (add_step)
#   TO_VERSION_n     the version that is wanted (add_step)
#   TO_DIGEST_n      its digest (add_step)
#   TO_LAYOUT_n      the fingerprint of its targets (add_step)
#   LINES_n          list: its lines base, patch, file, into, name, old, watch (add_step_lines)
#   PRIVATE_n        flag: only the owner may read it (read_steps)
#   STAGED_CHECKS_n  list: the numbers of its checks before the switch (read_command)
#   SWITCHED_CHECKS_n  list: of those after it (read_command)
#   BEFORE_HOOK_n    the number of its `before` hook (read_command)
#   AFTER_HOOK_n     of its `after` hook (read_command)
#   ALWAYS_HOOK_n    of its `always` hook (read_command)
#   VERDICT_n        what is to be done, then what became of it; see `judge` and `answer_outcomes` (judge, fail_step)
#   REASON_n         why, or what was wrong besides (fail_step, mark_unpatched, run_after)
#   FAULT_n          the code of a failure (fail_step, run_after)
#   WAS_THERE_n      flag: the version lay there before it came to its place (place_versions)
#   IN_PLACE_n       flag: it replaces the bytes of the version in force, which can't go back (mark_unchecked)
#   QUESTION_n       of what says what is loaded; in a look the nth component is the one that is asked (read_command)
#   LOADED_n         how that ended at last, and what it said (ask_all_engines)
#   MARKED_n         flag: its version was marked as unchecked (mark_unchecked)
#   UNDO_LINES_n     UNDO_LINES of its switch (put_into, switch)
#   PUT_n            list: the paths of its targets that came to their places at once (put_into)
#   PLACED_n         PLACED of its switch (switch)
#   TARGET_STAMPS_n  list: STAMP|PATH of its targets, once they are in place (note_targets)
#
# The command with the number n (35-commands.sh, 75-commands.sh)
#   COMMAND_TEXT_n   what sh gets (read_command)
#   COMMAND_LIMIT_n  seconds that it may take (read_command)
#   CHECK_NAME_n     the name of a check (read_command)
#   CHECK_EXPECTS_n  the exit status that is good (read_command)
#   CHECK_RETRIES_n  how often it is tried again (read_command)
#   CHECK_INTERVAL_n  seconds between two tries (read_command)
#   ON_FAILURE_n     what a hook that fails asks for: `rollback` or `keep` (read_command)
#   RESULT_WHY_n     WHY of a hook that ran (run_once)
#   RESULT_CODE_n    and its CODE (run_once)
#
# The nth component that was surveyed, in a change the one of the nth step (20-survey.sh)
#   VERSION_n        the version in force, or `unknown` (survey)
#   DAMAGE_n         what is wrong with it (survey, read_manifests, examine)
#   DIGEST_n         its digest, where nothing is wrong (read_manifests, survey)
#   PREVIOUS_n       the version before it; with a new version, what its manifest is to say (read_manifests, settle)
#   LAYOUT_n         the fingerprint of its targets (read_manifests)
#   HEAD_n           the first line of its manifest (read_manifests)
#   PATHS_n          list: its files, then its targets, below ROOT or absolute (add_lines)
#   HASHES_n         list: the SHA-256 of each, - for a link (add_lines)
#   STAMPS_n         list: STAMP|PATH of each (add_lines)
#   FILE_STAMPS_n    list: STAMP|PATH of its files; with a new version, of that one's (add_lines, settle)
#   FILE_COUNT_n     how many files these are (add_lines)
#   BYTES_n          what all of these hold, or so (add_lines)
#   TARGETS_n        list: the paths of its targets (add_lines)
#   WATCHED_n        list: the folders in which what isn't ours is told (read_manifests)
#   WAS_UNCHECKED_n  flag: a run was ended before its last check (survey)
#   MANIFEST_LINES   list: the lines of all manifests (survey, read_few)
#   ALL_PATHS        list: PATHS_n of all (add_lines)
#   ALL_STAMPS       list: STAMPS_n of all (add_lines)
#   IN_FORCE         the version that `current` of a component leads to (in_force)
#   FOUND_AT         the number of the component that was looked for, or 0 (find_component)
#   GATHERED_PATHS, GATHERED_HASHES, GATHERED_STAMPS  lists: what isn't in PATHS_n … yet (read_manifests)
#   GATHERED_FILE_STAMPS, GATHERED_FILE_COUNT, GATHERED_TARGETS  the same (read_manifests)
#   GATHERED_BYTES   what isn't in BYTES_n yet (read_manifests)
#
# What arrives and gets its place (50-receive.sh, 60-settle.sh)
#   TAKES_ALL        flag: what is sent is taken at once, as patches are few or small (check_room)
#   PATCH_AT         the number of the last patch of these that was applied (receive_patched)
#   SEALED           flag: versions are in their places, and nobody may write to them (place_versions)
#   DRAINED          bytes that nobody wants, to be read at the end of the step (receive, receive_patched, take_sent)
#   EXPECTED_PATHS   list: the files of a step, below ROOT or TREE (expect)
#   EXPECTED_SUMS    list: what sha256sum should say of them (expect)
#   EXPECTED_BYTES   what they hold together (expect)
#   EXPECTED_PATHS_n, EXPECTED_SUMS_n, EXPECTED_BYTES_n  the same of the nth step, once it was asked for (expect)
#   RELAYS           list: URLs of folders that have parts by their digests (read_relay)
#   RELAY_WAIT       seconds for which they are asked again (read_relay)
#   RELAY_PATIENCE   seconds that one may be silent, or slow (read_relay, say_probe)
#   RELAY_GONE       why none is asked any more (fetch_part)
#   FETCHER          what gets a URL: `curl`, `wget` or `busybox` (find_fetcher)
#   NEW_FOLDERS      list: folders that were made to serve a store, the innermost first (serve_parts)
#   SERVER           what gives a folder by HTTP: `python3` or `busybox` (find_server)
#   UPTIME           seconds since the boot (read_uptime)
#   ASIDE_FILE       a place for what lies between two patches (next_aside)
#   DURABLE          list: what has to be on the disk before any switch (settle, make_ready)
#   DUE              list: FILE and NAME, in turn: what gets a name once it is on the disk (rename_later)
#
# The switch (70-switch.sh, 80-deploy.sh)
#   TARGET_FOLDER, TARGET_OWNER, TARGET_GROUP  what the target says that is worked on (read_target)
#   TARGET_MODE, TARGET_LABEL  the same (read_target)
#   TARGET_METHOD    `rename`, `copy` or `link`; where something is put back also `none` (read_target, undo_targets)
#   TROUBLE          why a step can't go on (enter, place_one, dress, remember, apply_patch, fetch_part)
#   SETTLED          list: WHOSE FOLDER that was found to be where only root and we decide; see `enter` (enter)
#   READY_n          list: the files that are ready for targets, and get the nth owner, group and mode (make_ready)
#   PUTS_n           list: METHOD, STEP, TARGET, NAME, in turn: what comes to the nth target folder (put_at_once)
#   UNDO_AT_n        the NUMBER of its folder for UNDO_LINES (put_at_once)
#   LEFT             list: the paths of targets that are remembered, and couldn't be put at once (put_into)
#   ARRIVED          list: the steps whose targets are in place (switch)
#   PLACED           list: the targets that are in place (place_targets)
#   FOLDERS          list: the folders in which something was changed for it (place_targets, remove_replaced)
#   TOUCHED          list: all folders and files in which the switches changed something (switch, undo_targets)
#   WRITTEN          list: the targets of all switches (switch)
#   UNDO_LINES       list: METHOD NUMBER PATH of what was there before; it is STAGE/undo.NUMBER, or there (switch, remember)
#   UNDO_COUNT       the last NUMBER (remember)
#   SPARE            list: folders of versions that need not be kept (prune)
#   SPARE_MANIFESTS  list: their manifests (prune)
#
# Commands (75-commands.sh)
#   EXITED           the exit status of the last command (run_command)
#   LATE             flag: its time was up (run_command)
#   SAID             the last line of what it said (run_command)
#   HINDERED         flag: it couldn't be run (run_command)
#   LOADED           how a question ended, and what was said (ask_engine)
#   WHY              what was wrong with it, or with a round of checks (describe_run, run_checks, run_once)
#   CODE             the code of that failure (describe_run, run_once)
#   VICTIMS          list: what to kill when its time is up (watch_over, descendants)
#   RAN              list: the hooks that ran in this round (run_once)
#   BEGUN            flag: a hook or a switch was begun, and `always` hooks are due (run_before, switch_at_once)
#   ALWAYS           list: the steps with these (note_always_hooks)
#   UPDOSER_COMPONENT, UPDOSER_VERSION, UPDOSER_PREVIOUS  what commands get, see docs/rollouts.md (environment)
#   UPDOSER_ROOT, UPDOSER_STAGED  the same (environment)
