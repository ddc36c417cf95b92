"""What runs on a client, on real shells: its rules one by one, and what is left when it is cut off or killed."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.client.session import ShellSession, client_script
from reconciler.contracts import Become
from reconciler.errors import ClientError, ProtocolError
from reconciler.model.deploy import Layout
from reconciler.plugins.transport.local import LocalPipe
from tests.machine import MORE_SHELLS, SHELLS, Machine, into, kill_at_any_moment, raw, request_bytes, rot, step
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.model.deploy import InstallMethod

ODD_NAMES = [
    "lpt$vpn.679",
    "a b",
    "it's",
    '"x"',
    "grün",
    "*",
    "?",
    "a|b",
    "[x]",
    "x;y",
    "$(id)",
    "`id`",
    "~",
    "#",
    "e=1",
]


@pytest.fixture(params=MORE_SHELLS)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    return Machine(tmp_path, request.param)


@pytest.fixture
def dash(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# --- content --------------------------------------------------------------------------------------------------------


@pytest.mark.each_shell
def test_odd_names_empty_and_large_files_arrive_as_they_are(machine: Machine) -> None:
    files = {name: name.encode() for name in ODD_NAMES}
    files["empty"] = b""
    files["large"] = os.urandom(5 * 1024 * 1024 + 12_345)
    machine.install("rules", "1", files)
    assert machine.current("rules") == files
    (entry,) = machine.facts(verify=True).installed
    assert not entry.damage
    assert machine.leftovers() == []


@pytest.mark.each_shell
def test_hundreds_of_files_arrive(machine: Machine) -> None:
    files = {f"file-{n:03}": b"%d" % n for n in range(450)}
    machine.install("rules", "1", files)
    assert machine.current("rules") == files
    assert not machine.facts(verify=True).installed[0].damage


def test_files_in_force_are_read_only(dash: Machine) -> None:
    dash.install("rules", "1", {"a": b"one"})
    assert stat.S_IMODE((dash.root / "rules/1/a").stat().st_mode) == 0o444
    assert stat.S_IMODE((dash.root / "rules/1").stat().st_mode) == 0o555
    assert stat.S_IMODE((dash.root / ".updoser").stat().st_mode) == 0o700


def test_a_look_writes_nothing(machine: Machine) -> None:
    machine.install("rules", "1", {"a": b"one", "b": b"two"})
    before = machine.listing()
    machine.facts()
    machine.facts(verify=True)
    assert machine.listing() == before


def test_a_request_with_nothing_to_do_writes_nothing(machine: Machine) -> None:
    release = machine.install("rules", "1", {"a": b"one"})
    before = machine.listing()
    assert machine.deploy(step(None, release))[0].status == "ok"
    assert machine.listing() == before


@pytest.mark.parametrize(("keep", "left"), [(1, {"4"}), (2, {"3", "4"}), (3, {"2", "3", "4"})])
def test_as_many_versions_stay_as_are_kept_and_only_ours_are_removed(dash: Machine, keep: int, left: set[str]) -> None:
    before = None
    for version in "1234":
        release = dash.release("rules", version, {"a": version.encode()})
        dash.deploy(step(before, release), keep=keep)
        (dash.root / "rules/mine").mkdir(exist_ok=True)
        before = release
    assert {path.name for path in (dash.root / "rules").iterdir()} == {*left, "current", "mine"}


# --- damage ---------------------------------------------------------------------------------------------------------


def unlocked(path: Path) -> Path:
    path.parent.chmod(0o755)
    if path.exists():
        path.chmod(0o644)
    return path


def test_what_somebody_changed_is_noticed_and_the_next_request_mends_it(machine: Machine) -> None:
    release = machine.install("rules", "1", {"a": b"one", "b": b"two"})
    folder = machine.root / "rules/1"

    def lead_astray() -> None:
        (machine.root / "rules/current").unlink()
        (machine.root / "rules/current").symlink_to("9")

    changes: dict[str, Callable[[], object]] = {
        "was changed": lambda: unlocked(folder / "a").write_bytes(b"uno"),
        "is missing": lambda: unlocked(folder / "b").unlink(),
        "do not belong": lambda: unlocked(folder / "c").write_bytes(b"more"),
        "no version": lead_astray,
    }
    for words, change in changes.items():
        change()
        (entry,) = machine.facts().installed
        assert words in entry.damage
        assert entry.digest == ""
        (outcome,) = machine.deploy(step(entry, release))
        assert outcome.status == "changed", (words, outcome)
        assert not machine.facts(verify=True).installed[0].damage
        assert machine.current("rules") == {"a": b"one", "b": b"two"}


def test_a_change_that_keeps_size_and_times_is_noticed_when_everything_is_hashed(dash: Machine) -> None:
    dash.install("rules", "1", {"a": b"one"})
    file = unlocked(dash.root / "rules/1/a")
    info = file.stat()
    with file.open("r+b") as handle:
        handle.write(b"uno")
    file.chmod(0o444)
    file.parent.chmod(0o555)
    os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert "was changed" in dash.facts(verify=True).installed[0].damage


def test_what_only_a_hash_can_tell_is_mended_by_who_saw_it(machine: Machine) -> None:
    release = machine.install("rules", "1", {"a": b"one", "b": b"two"})
    newer = machine.release("rules", "2", {"a": b"new", "b": b"two"})
    for wanted in (release, newer):
        rot(machine.root, "rules", "1", "a")
        assert not machine.facts().installed[0].damage
        (entry,) = machine.facts(verify=True).installed
        assert "was changed" in entry.damage
        assert machine.deploy(step(entry, wanted))[0].status == "changed"
        assert not machine.facts(verify=True).installed[0].damage
    assert machine.current("rules") == {"a": b"new", "b": b"two"}


def test_a_file_that_rotted_is_not_kept_and_is_no_fault_of_the_next_release(machine: Machine) -> None:
    old = machine.install("rules", "1", {"a": b"one", "same": b"same"})
    rot(machine.root, "rules", "1", "same")
    way = step(old, machine.release("rules", "2", {"a": b"two", "same": b"same"}), kept={"same"})
    (outcome,) = machine.deploy(way)
    assert (outcome.status, outcome.message) == (
        "unpatched",
        "the version 1 that lies there has other bytes than announced",
    )
    assert machine.deploy(replace(way, kept={}))[0].status == "changed"
    assert machine.current("rules") == {"a": b"two", "same": b"same"}


@pytest.mark.parametrize("name", ["controller", "script", "manifests/rules@1"])
def test_an_empty_file_of_ours_is_none(machine: Machine, name: str) -> None:
    machine.install("rules", "1", {"a": b"one"})
    file = machine.root / ".updoser" / name
    whole = file.read_bytes()
    file.write_bytes(b"")
    (entry,) = machine.facts().installed
    assert entry.damage == ("its manifest is missing" if "@" in name else "")
    release = machine.release("rules", "1", {"a": b"one"})
    assert machine.deploy(step(entry, release))[0].status == ("changed" if "@" in name else "ok")
    if name != "script":
        assert file.read_bytes()[:60] == whole[:60]
    assert not machine.facts(verify=True).installed[0].damage


def test_a_manifest_that_is_gone_or_cut_short_is_damage_not_a_crash(machine: Machine) -> None:
    release = machine.install("rules", "1", {"a": b"one"})
    manifest = machine.root / ".updoser/manifests/rules@1"
    whole = manifest.read_text()
    for text in ("", whole[: len(whole) // 2], "manifest ", "manifest rules 1\n", "garbage\n\n\nend\n"):
        manifest.write_text(text)
        (entry,) = machine.facts().installed
        assert entry.damage
    manifest.unlink()
    (entry,) = machine.facts().installed
    assert "manifest is missing" in entry.damage
    assert machine.deploy(step(entry, release))[0].status == "changed"
    assert not machine.facts(verify=True).installed[0].damage


# --- install targets ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["rename", "copy", "link"])
def test_targets_get_the_files_and_follow_the_next_version(machine: Machine, method: InstallMethod) -> None:
    target = machine.folder / "daemon"
    target.mkdir()
    layout = Layout((into(target, method, mode="" if method == "link" else "0640"),))
    machine.install("rules", "1", {"a": b"one", "lpt$vpn.1": b"x"}, layout)
    inode = (target / "a").lstat().st_ino
    machine.install("rules", "2", {"a": b"two", "lpt$vpn.2": b"y"}, layout)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {"a": b"two", "lpt$vpn.2": b"y"}
    if method == "link":
        assert (target / "a").is_symlink()
    else:
        assert stat.S_IMODE((target / "a").stat().st_mode) == 0o640
    assert ((target / "a").lstat().st_ino == inode) == (method == "copy")
    assert not machine.facts().installed[0].damage
    before = machine.listing()
    machine.facts()
    assert machine.listing() == before


def test_copying_into_a_file_keeps_its_owner_and_mode_unless_others_are_asked_for(machine: Machine) -> None:
    target = machine.folder / "daemon"
    target.mkdir()
    (target / "a").write_bytes(b"mine")
    (target / "a").chmod(0o600)
    machine.install("rules", "1", {"a": b"one"}, Layout((into(target, "copy"),)))
    assert (target / "a").read_bytes() == b"one"
    assert stat.S_IMODE((target / "a").stat().st_mode) == 0o600


def test_a_target_that_somebody_changed_is_damage_and_is_mended(machine: Machine) -> None:
    target = machine.folder / "daemon"
    target.mkdir()
    layout = Layout((into(target),))
    release = machine.install("rules", "1", {"a": b"one"}, layout)
    (target / "a").write_bytes(b"evil")
    (entry,) = machine.facts().installed
    assert f"{target}/a was changed" in entry.damage
    machine.deploy(step(entry, release, layout))
    assert (target / "a").read_bytes() == b"one"
    assert not machine.facts().installed[0].damage


def test_what_is_replaced_goes_in_the_switch_and_unmanaged_files_are_named(machine: Machine) -> None:
    target = machine.folder / "daemon"
    target.mkdir()
    for name in ("x.old", "mine"):
        (target / name).write_text(name)
    machine.install("rules", "1", {"a": b"one"}, Layout((into(target),), ("*.old",), "report"))
    assert sorted(path.name for path in target.iterdir()) == ["a", "mine"]
    assert machine.facts().unmanaged == (f"{target}/mine",)


def test_a_name_with_a_line_end_is_neither_believed_nor_two_other_files(machine: Machine) -> None:
    target = machine.folder / "daemon"
    target.mkdir()
    lie = f"x\ninstalled engine 99.9.9 {'a' * 64} - - "
    for name in (lie, "kept\nand.old", "kept"):
        (target / name).write_text("mine")
    machine.install("rules", "1", {"a": b"one"}, Layout((into(target),), ("*.old",), "report"))
    profile = machine.facts()
    assert list(profile.by_component) == ["rules"]
    assert set(profile.unmanaged) == {f"{target}/kept", f"{target}/? (its name has control characters)"}
    assert (target / "kept").exists()


def test_a_switch_that_fails_half_way_is_undone_in_all_targets(machine: Machine) -> None:
    good, bad = machine.folder / "good", machine.folder / "bad"
    good.mkdir()
    bad.mkdir()
    (good / "x.old").write_text("old")
    layout = Layout((into(good), into(bad)), ("*.old",))
    machine.install("rules", "1", {"a": b"one"}, Layout((into(good),)))
    have = machine.facts().by_component["rules"]
    (bad / "a").mkdir()  # in the way
    (outcome,) = machine.deploy(step(have, machine.release("rules", "2", {"a": b"two", "b": b"new"}), layout))
    assert outcome.status == "failed"
    assert "is a folder" in outcome.message
    assert outcome.version == "1"
    assert {path.name: path.read_bytes() for path in good.iterdir()} == {"a": b"one", "x.old": b"old"}
    assert machine.current("rules") == {"a": b"one"}
    (entry,) = machine.facts().installed
    assert (entry.version, entry.damage) == ("1", "")
    assert machine.leftovers() == []


def test_a_first_install_that_fails_leaves_nothing_in_force(machine: Machine) -> None:
    target = machine.folder / "daemon"
    target.mkdir()
    layout = Layout((into(target), into(target, owner="no-such-user")))
    (outcome,) = machine.deploy(step(None, machine.release("rules", "1", {"a": b"one"}), layout))
    assert outcome.status == "failed"
    assert list(target.iterdir()) == []
    assert machine.facts().installed == ()


def test_installed_files_get_the_label_of_their_folder_where_selinux_has_one(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools, target = machine.folder / "bin", machine.folder / "daemon"
    tools.mkdir()
    target.mkdir()
    (tools / "restorecon").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >>{machine.folder}/labelled\n')
    (tools / "restorecon").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    machine.install("rules", "1", {"a": b"one"}, Layout((into(target),), selinux="restore"))
    assert (machine.folder / "labelled").read_text() == f"--\n{target}/a\n"
    assert not machine.facts().installed[0].damage


def test_a_target_folder_that_is_not_there_fails_its_step_only(machine: Machine) -> None:
    layout = Layout((into(machine.folder / "missing"),))
    outcomes = machine.deploy(
        step(None, machine.release("rules", "1", {"a": b"one"}), layout),
        step(None, machine.release("engine", "1", {"b": b"two"})),
    )
    assert [outcome.status for outcome in outcomes] == ["failed", "changed"]
    assert "is not there" in outcomes[0].message


@pytest.mark.parametrize("shell", SHELLS)
def test_a_full_disk_is_noticed_before_anything_is_written(small_disk: Path, shell: str) -> None:
    machine = Machine(small_disk, shell)
    machine.install("rules", "1", {"a": b"one"})
    have = machine.facts().by_component["rules"]
    before = machine.listing()
    (outcome,) = machine.deploy(step(have, machine.release("rules", "2", {"a": os.urandom(3_000_000)})))
    assert outcome.status == "failed"
    assert "not enough disk" in outcome.message
    assert machine.current("rules") == {"a": b"one"}
    after = machine.listing()
    assert {path: info[:3] for path, info in after.items()} == {path: info[:3] for path, info in before.items()}


def test_rename_to_another_file_system_is_refused_and_copy_is_not(dash: Machine, small_disk: Path) -> None:
    release = dash.release("rules", "1", {"a": b"one"})
    (outcome,) = dash.deploy(step(None, release, Layout((into(small_disk),))))
    assert outcome.status == "failed"
    assert "another file system" in outcome.message
    assert dash.deploy(step(None, release, Layout((into(small_disk, "copy"),))))[0].status == "changed"
    assert (small_disk / "a").read_bytes() == b"one"


def test_a_read_only_file_system_fails_with_its_reason(small_disk: Path) -> None:
    machine = Machine(small_disk)
    machine.install("rules", "1", {"a": b"one"})
    have = machine.facts().by_component["rules"]
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(ClientError, match=r"can't be (written|made)"):
        machine.deploy(step(have, machine.release("rules", "2", {"a": b"two"})))
    assert machine.facts().installed[0].version == "1"


# --- who may write --------------------------------------------------------------------------------------------------


def test_a_folder_that_others_can_write_is_refused(machine: Machine) -> None:
    machine.root.mkdir()
    machine.root.chmod(0o777)
    with pytest.raises(ClientError, match="can be written by its group or by everyone"):
        machine.facts()
    machine.root.chmod(0o775)
    with pytest.raises(ClientError, match="can be written by its group or by everyone"):
        machine.deploy(step(None, machine.release("rules", "1", {"a": b"one"})))


def test_a_planted_link_is_refused(machine: Machine) -> None:
    machine.root.mkdir()
    elsewhere = machine.folder / "elsewhere"
    elsewhere.mkdir()
    (machine.root / ".updoser").symlink_to(elsewhere)
    with pytest.raises(ClientError, match="is a link"):
        machine.deploy(step(None, machine.release("rules", "1", {"a": b"one"})))
    assert list(elsewhere.iterdir()) == []


def test_a_component_folder_that_is_a_link_is_not_followed(machine: Machine) -> None:
    machine.root.mkdir()
    elsewhere = machine.folder / "elsewhere"
    elsewhere.mkdir()
    (machine.root / "rules").symlink_to(elsewhere)
    (outcome,) = machine.deploy(step(None, machine.release("rules", "1", {"a": b"one"})))
    assert outcome.status == "failed"
    assert list(elsewhere.iterdir()) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give folders away")
def test_a_root_of_another_user_is_refused(dash: Machine) -> None:
    dash.root.mkdir()
    os.chown(dash.root, 12345, 12345)
    with pytest.raises(ClientError, match="belongs to user 12345"):
        dash.facts()


# --- cut off and killed ---------------------------------------------------------------------------------------------


@pytest.mark.each_shell
def test_a_request_that_is_cut_short_anywhere_changes_nothing(machine: Machine) -> None:
    old = machine.install("rules", "1", {"a": b"one", "b": b"x" * 300})
    data = request_bytes(machine, step(old, machine.release("rules", "2", {"a": b"two", "b": b"y" * 300})))
    header = data.index(b"end\n") + 4
    for length in sorted(
        {0, 5, 20, header - 1, header, header + 1, header + 3, header + 200, len(data) - 4, len(data) - 2}
    ):
        raw(machine, data[:length])
        assert machine.current("rules") == {"a": b"one", "b": b"x" * 300}, length
        assert machine.facts(verify=True).installed[0].digest == old.digest, length
    assert b"changed 2" in raw(machine, data).stdout
    assert machine.leftovers() == []


def test_bytes_that_were_damaged_on_the_way_are_refused(machine: Machine) -> None:
    old = machine.install("rules", "1", {"a": b"one"})
    data = request_bytes(machine, step(old, machine.release("rules", "2", {"a": b"two"})))
    done = raw(machine, data.replace(b"two", b"twu"))
    assert b"rules failed 1" in done.stdout
    assert b"other bytes than announced" in done.stdout
    assert machine.current("rules") == {"a": b"one"}


@pytest.mark.parametrize(
    "line",
    [
        "step rules - - ../x " + "0" * 64 + " l",
        "step ../rules - - 1 " + "0" * 64 + " l",
        "step rules - - 1 short l",
        "file sent 3 " + "0" * 64 + " ../x",
        "file sent 3 " + "0" * 64 + " .hidden",
        "file sent 3 " + "0" * 64 + " -rf",
        "file sent 99999999999999999999 " + "0" * 64 + " x",
        "into rename - - 9999 none /x",
        "into rename - - - none /x/../etc",
        "into rename root;id - - none /x",
        "old ../../*",
        "nonsense",
        "root relative",
        "keep 0",
    ],
)
def test_a_header_with_anything_odd_is_refused_whole(dash: Machine, line: str) -> None:
    lines = ["root " + str(dash.root), "keep 2", "controller a 1", f"step good - - 1 {'0' * 64} l", line, "end", ""]
    header = "\n".join(lines).encode()
    done = raw(dash, b"updoser 1 deploy %d\n%sgo\n" % (len(header), header))
    assert done.stdout.startswith(b"updoser 1 error\nprotocol "), done.stdout
    assert not dash.root.exists()


KILLERS = ["dd", "mkdir", "cp", "sha256sum", "chmod", "mv", "ln", "sync", "rm", "stat", "readlink", "df", "ls"]


@pytest.mark.explore
def test_killed_at_any_moment_the_client_has_one_whole_version_and_the_next_request_goes_on(tmp_path: Path) -> None:
    """Each tool that the script calls is a trap: at its n-th call the script is killed, before or after it.

    There is no perl, which would do the work of many of them.
    """
    traps = tmp_path / "traps"
    traps.mkdir()
    (traps / "perl").write_text("#!/bin/sh\nexit 127\n")
    (traps / "perl").chmod(0o755)
    for name in KILLERS:
        tool = shutil.which(name)
        (traps / name).write_text(
            f"#!/bin/sh\nn=$(cat {tmp_path}/count); n=$((n - 1)); echo $n >{tmp_path}/count\n"
            f'[ $n -ne 0 ] || [ "$TRAP_AFTER" ] || kill -9 $TRAP_PID\n{tool} "$@"; s=$?\n'
            f"[ $n -ne 0 ] || kill -9 $TRAP_PID\nexit $s\n".replace("$(cat", "$(/bin/cat")
        )
        (traps / name).chmod(0o755)
    target = tmp_path / "daemon"
    target.mkdir()
    layout = Layout((into(target),), ("*.old",))
    machine = Machine(tmp_path)
    versions = {"1": {"a": b"one", "same": b"s"}, "2": {"a": b"two", "same": b"s", "c": b"new"}}

    def killed(at: int, after: str) -> bool:
        shutil.rmtree(machine.root, ignore_errors=True)
        old = machine.install("rules", "1", versions["1"], layout)
        new = machine.release("rules", "2", versions["2"])
        (tmp_path / "count").write_text(f"{at}\n")
        script = f"TRAP_PID=$$ PATH={traps}:$PATH; export TRAP_PID PATH\n{client_script().decode()}"
        environment = {"PATH": os.environ["PATH"], "TRAP_AFTER": after}
        done = subprocess.run(
            ["dash", "-c", script],
            input=request_bytes(machine, step(old, new, layout, kept={"same"})),
            capture_output=True,
            env=environment,
            check=False,
            timeout=PATIENCE,
        )
        assert machine.current("rules") in versions.values(), (at, after)
        (entry,) = machine.facts(verify=True).installed
        (outcome,) = machine.deploy(step(entry, new, layout))
        assert outcome.status in {"changed", "ok"}, (at, after, outcome)
        assert machine.current("rules") == versions["2"]
        assert {path.name for path in target.iterdir()} == {"a", "same", "c"}
        assert not machine.facts(verify=True).installed[0].damage
        assert machine.leftovers() == []
        return done.returncode != 0

    assert kill_at_any_moment(killed, tmp_path / "count", 8, ("", "1")) > 15


@pytest.mark.each_shell
@pytest.mark.parametrize("name", ["more", ".hidden", "..odd", "...", "*", ".*", "a b"])
def test_a_file_that_somebody_puts_beside_those_of_a_version_is_damage_whatever_its_name(
    machine: Machine, name: str
) -> None:
    machine.install("rules", "1", {"a": b"one"})
    machine.install("empty", "1", {"b": b"two"})
    (machine.root / "rules/1" / name).write_bytes(b"")
    damage = {entry.component: entry.damage for entry in machine.facts().installed}
    assert damage == {"rules": "there are files that do not belong to it", "empty": ""}


def test_a_version_that_was_never_finished_goes_with_the_next_update(machine: Machine) -> None:
    trap = machine.folder / "chmod"
    trap.write_text('#!/bin/sh\ncase "$*" in a-w*|*" a-w "*) kill -9 $TRAP_PID ;; esac\nexec /bin/chmod "$@"\n')
    trap.chmod(0o755)
    (machine.root / "rules/mine").mkdir(parents=True)
    old = machine.install("rules", "1", {"a": b"one"})
    script = f"TRAP_PID=$$ PATH={machine.folder}:$PATH; export TRAP_PID PATH\n{client_script().decode()}"
    for other in ("rules", "engine"):
        have = old if other == "rules" else None
        data = request_bytes(machine, step(have, machine.release(other, "2", {"a": b"two"})))
        subprocess.run([*machine.shell.split(), "-c", script], input=data, check=False, timeout=PATIENCE)
        assert (machine.root / other / "2").exists()
    assert machine.deploy(step(old, machine.release("rules", "3", {"a": b"three"})))[0].status == "changed"
    assert {path.name for path in (machine.root / "rules").iterdir()} == {"1", "3", "current", "mine"}
    assert {path.name for path in machine.root.iterdir()} == {".updoser", "rules"}
    assert machine.leftovers() == []


def test_a_client_that_another_run_changes_now_is_left_alone_and_a_dead_run_is_not_waited_for(machine: Machine) -> None:
    old = machine.install("rules", "1", {"a": b"one"})
    new = machine.release("rules", "2", {"a": b"two"})
    lock = machine.root / ".updoser/lock"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    started = Path(f"/proc/{os.getpid()}/stat").read_text().rpartition(")")[2].split()[19]
    lock.symlink_to(f"{os.getpid()}:{boot}:{started}")
    with pytest.raises(ClientError, match="is changing this client now"):
        machine.deploy(step(old, new))
    assert machine.current("rules") == {"a": b"one"}
    for dead in (f"{os.getpid()}:{boot}:1", f"999999:{boot}:5", f"1:{'0' * 8}:5"):
        lock.unlink(missing_ok=True)
        lock.symlink_to(dead)
        have = machine.facts().by_component["rules"]
        wanted = new if have.version == "1" else old
        assert machine.deploy(step(have, wanted))[0].status == "changed"
        assert machine.leftovers() == []


# --- becoming root --------------------------------------------------------------------------------------------------


def with_sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "sudo").write_text(f"#!/bin/sh\n{body}\n")
    (tools / "sudo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")


def test_a_fixed_copy_of_the_script_serves_as_the_one_command_of_sudoers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_sudo(tmp_path, monkeypatch, 'shift 2; exec "$@"')
    copy = tmp_path / "updoser-client"
    copy.write_bytes(client_script())
    copy.chmod(0o755)
    machine = Machine(tmp_path)
    machine.session = ShellSession(LocalPipe(), become=Become("sudo", str(copy)))
    machine.install("rules", "1", {"a": b"one"})
    assert machine.current("rules") == {"a": b"one"}
    copy.write_bytes(client_script().replace(b'[ "$protocol" = 1 ]', b'[ "$protocol" = 0 ]'))
    with pytest.raises(ClientError, match="speaks protocol") as caught:
        machine.facts()
    assert "renew it" in caught.value.hint


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("echo 'sudo: a password is required' >&2; exit 1", "sudo refuses"),
        ("echo 'sudo: sorry, you must have a tty to run sudo' >&2; exit 1", "sudo refuses"),
        ("exit 127", "no such command"),
        ("echo hello; exit 0", "gave no answer"),
    ],
)
def test_a_refusal_of_sudo_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, words: str
) -> None:
    with_sudo(tmp_path, monkeypatch, body)
    session = ShellSession(LocalPipe(), become=Become())
    with pytest.raises((ClientError, ProtocolError), match=words):
        session.facts(str(tmp_path / "root"))
