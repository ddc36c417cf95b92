"""Patches on real shells and with real tools: what they may write, what fails, and what is left when one is killed."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import struct
import subprocess
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.client.session import ShellSession, client_script
from reconciler.model.deploy import Layout
from reconciler.plugins.transport.local import LocalPipe
from tests.machine import SHELLS, Machine, into, kill_at_any_moment, patched, raw, request_bytes, step
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import ExitStack

    from reconciler.contracts import Completed, Pipe

pytestmark = pytest.mark.needs("zstd", "bspatch")

OLD = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(20_000))
NEW = OLD[:320_000] + os.urandom(1_000) + OLD[320_500:]
NEWER = NEW[:100] + b"!" + NEW[100:]
SHM = Path("/dev/shm")


@pytest.fixture(params=SHELLS)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    return Machine(tmp_path, request.param)


@pytest.fixture
def dash(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


LEFT = SHM / "updoser.999999999:x:1"


def left_in_memory() -> list[str]:
    """Give what runs left that are gone; tests beside this one may have some that aren't, or kill one just now."""
    found = SHM.glob("updoser.*") if SHM.is_dir() else ()
    gone = (path for path in found if not Path("/proc", path.name.split(".")[1].split(":")[0]).exists())
    return sorted(path.name for path in gone if path != LEFT)


@pytest.mark.parametrize("codec", ["zstd", "bsdiff"])
def test_a_patched_file_gets_to_its_targets(machine: Machine, codec: str) -> None:
    target = machine.folder / "daemon"
    target.mkdir()
    layout = Layout((into(target),))
    old = machine.install("rules", "1", {"lpt$vpn.677": OLD, "same": b"s" * 600}, layout)
    new = machine.release("rules", "2", {"lpt$vpn.679": NEW, "same": b"s" * 600})
    way = patched(old, new, "lpt$vpn.679", "lpt$vpn.677", machine.hop(codec, OLD, NEW), layout=layout, kept={"same"})
    assert machine.deploy(way)[0].status == "changed"
    assert machine.current("rules") == {"lpt$vpn.679": NEW, "same": b"s" * 600}
    assert {path.name: path.read_bytes() for path in target.iterdir()} == machine.current("rules")
    assert machine.leftovers() == []
    assert (machine.root / "rules/1/same").stat().st_ino != (machine.root / "rules/2/same").stat().st_ino


@pytest.mark.skipif(not SHM.is_dir(), reason="needs /dev/shm")
@pytest.mark.parametrize("size", [1_000, 5_000_000], ids=["few bytes", "many"])
def test_each_patch_is_applied_to_its_own_file_whatever_becomes_of_the_steps_around_it(
    machine: Machine, size: int
) -> None:
    much = os.urandom(size)  # patches of more than 4 MiB in all come one by one
    news = [OLD + much, NEWER, NEWER, NEW]
    old = [machine.install(f"rules-{at}", "1", {"a": OLD, "b": b"b"}) for at in range(4)]
    new = [machine.release(f"rules-{at}", "2", {"a": a, "b": b"%d" % at}) for at, a in enumerate(news)]
    chain = machine.hop("zstd", OLD, NEW), machine.hop("bsdiff", NEW, NEWER)
    stale = replace(patched(old[1], new[1], "a", "a", *chain), from_digest="0" * 64)
    outcomes = machine.deploy(
        patched(old[0], new[0], "a", "a", machine.hop("zstd", OLD, OLD + much)),
        stale,
        patched(old[2], new[2], "a", "a", machine.hop("zstd", OLD, NEW, b"no patch"), chain[1]),
        patched(old[3], new[3], "a", "a", machine.hop("bsdiff", OLD, NEW)),
    )
    assert [outcome.status for outcome in outcomes] == ["changed", "stale", "unpatched", "changed"]
    here = [{"a": OLD + much, "b": b"0"}, {"a": OLD, "b": b"b"}, {"a": OLD, "b": b"b"}, {"a": NEW, "b": b"3"}]
    assert [machine.current(f"rules-{at}") for at in range(4)] == here
    assert machine.leftovers() == []


@pytest.mark.skipif(not SHM.is_dir(), reason="needs /dev/shm")
def test_what_lies_between_two_patches_is_in_memory_and_gone_afterwards(machine: Machine) -> None:
    old, new = machine.install("rules", "1", {"a": OLD}), machine.release("rules", "3", {"a": NEWER})
    hops = machine.hop("zstd", OLD, NEW), machine.hop("bsdiff", NEW, NEWER)
    assert machine.deploy(patched(old, new, "a", "a", *hops))[0].status == "changed"
    assert machine.current("rules") == {"a": NEWER}
    until(lambda: left_in_memory() == [])


@pytest.mark.skipif(not SHM.is_dir(), reason="needs /dev/shm")
def test_a_client_that_is_in_memory_itself_keeps_its_files_when_a_patch_fails(stack: ExitStack) -> None:
    machine = Machine(Path(stack.enter_context(tempfile.TemporaryDirectory(dir=SHM))))
    old, new = machine.install("rules", "1", {"a": OLD}), machine.release("rules", "2", {"a": NEW})
    bad = machine.hop("bsdiff", OLD, NEW, b"no patch")
    assert machine.deploy(patched(old, new, "a", "a", bad))[0].status == "unpatched"
    assert machine.current("rules") == {"a": OLD}


@pytest.mark.skipif(not SHM.is_dir(), reason="needs /dev/shm")
def test_what_a_killed_run_left_in_memory_goes_with_the_next(dash: Machine) -> None:
    LEFT.mkdir(exist_ok=True)
    dash.install("rules", "1", {"a": OLD})
    assert not LEFT.exists()


@cache
def bomb_of(codec: str) -> bytes:
    """Give a patch that says, or does, more than it may."""
    if codec == "zstd":
        zeros = "head -c 300000000 /dev/zero | zstd -q --long=31"
        return subprocess.run(zeros, shell=True, capture_output=True, check=True).stdout
    if codec == "gzip":
        return gzip.compress(bytes(200_000_000), 6)
    empty = bytes.fromhex("425a683917724538509000000000")
    return b"BSDIFF40" + struct.pack("<3Q", 14, 14, 2**40) + empty * 3


@pytest.mark.parametrize("codec", ["zstd", "gzip", "bsdiff"])
def test_a_patch_that_would_write_more_than_its_result_is_cut_off(machine: Machine, codec: str) -> None:
    old, new = machine.install("rules", "1", {"a": OLD}), machine.release("rules", "2", {"a": NEW})
    way = patched(old, new, "a", "" if codec == "gzip" else "a", machine.hop(codec, OLD, NEW, bomb_of(codec)))
    (outcome,) = machine.deploy(way)
    assert outcome.status == "unpatched"
    assert sum(path.lstat().st_size for path in machine.root.rglob("*")) < 1_000_000
    assert machine.current("rules") == {"a": OLD}
    assert machine.leftovers() == []


def test_a_bspatch_that_writes_on_stops_at_the_size_that_was_announced(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools, log = machine.folder / "tools", machine.folder / "log"
    tools.mkdir()
    tool = tools / "bspatch"
    tool.write_text(f'#!/bin/sh\nhead -c 10000000 /dev/zero >"$2"\nstat -c %s "$2" >>{log}\n')
    tool.chmod(0o755)
    old, new = machine.install("rules", "1", {"a": OLD}), machine.release("rules", "2", {"a": NEW})
    way = patched(old, new, "a", "a", machine.hop("bsdiff", OLD, NEW))
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    assert machine.deploy(way)[0].status == "unpatched"
    assert 0 < int(log.read_text()) < len(NEW) + 1024
    assert machine.current("rules") == {"a": OLD}


def test_a_bsdiff_patch_for_a_longer_file_is_refused(machine: Machine) -> None:
    old, wrong = machine.install("rules", "1", {"a": OLD}), machine.release("rules", "2", {"a": NEW})
    patch = machine.hop("bsdiff", OLD, NEW * 20)
    way = patched(old, wrong, "a", "a", machine.hop("bsdiff", OLD, NEW, machine.content[patch.sha256]))
    assert machine.deploy(way)[0].status == "unpatched"
    assert machine.current("rules") == {"a": OLD}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_client_needs_no_more_room_than_the_new_file_and_the_patch(small_disk: Path, shell: str) -> None:
    machine = Machine(small_disk, shell)
    old, new = machine.install("rules", "1", {"a": OLD}), machine.release("rules", "2", {"a": NEW})
    hop = machine.hop("zstd", OLD, NEW)
    spare = 60 * 1024  # manifests, folders, the controller's mark
    filler = shutil.disk_usage(small_disk).free - len(NEW) - hop.size - spare
    (small_disk / "filler").write_bytes(bytes(filler))
    assert machine.deploy(patched(old, new, "a", "a", hop))[0].status == "changed"
    assert machine.current("rules") == {"a": NEW}


def test_without_room_for_the_result_nothing_is_written(small_disk: Path) -> None:
    machine = Machine(small_disk)
    old, new = machine.install("rules", "1", {"a": OLD}), machine.release("rules", "2", {"a": NEW * 3})
    (outcome,) = machine.deploy(patched(old, new, "a", "a", machine.hop("zstd", OLD, NEW * 3)))
    assert (outcome.status, "not enough disk" in outcome.message) == ("failed", True)


def test_room_for_the_patch_counts_too(small_disk: Path) -> None:
    machine = Machine(small_disk)
    new = os.urandom(400_000)
    old, release = machine.install("rules", "1", {"a": OLD}), machine.release("rules", "2", {"a": new})
    hop = machine.hop("zstd", OLD, new)
    (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free - len(new) - hop.size // 2))
    (outcome,) = machine.deploy(patched(old, release, "a", "a", hop))
    assert (outcome.status, "not enough disk" in outcome.message) == ("failed", True)


@pytest.mark.skipif(not SHM.is_dir(), reason="needs /dev/shm")
def test_a_chain_that_memory_has_no_room_for_is_answered(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = machine.folder / "tools"
    tools.mkdir()
    (tools / "df").write_text(
        '#!/bin/sh\ncase "$*" in *" /dev/shm") echo "shm 100 90 10 90% /dev/shm"; exit ;; esac\n'
        f'exec {shutil.which("df")} "$@"\n'
    )
    (tools / "df").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    old, new = machine.install("rules", "1", {"a": OLD}), machine.release("rules", "3", {"a": NEWER})
    hops = machine.hop("zstd", OLD, NEW), machine.hop("zstd", NEW, NEWER)
    (outcome,) = machine.deploy(patched(old, new, "a", "a", *hops))
    assert (outcome.status, "more room in /dev/shm" in outcome.message) == ("unpatched", True)
    assert machine.current("rules") == {"a": OLD}
    until(lambda: left_in_memory() == [])


def test_a_patched_request_that_is_cut_short_anywhere_changes_nothing(machine: Machine) -> None:
    old, new = machine.install("rules", "1", {"a": OLD}), machine.release("rules", "2", {"a": NEW})
    data = request_bytes(machine, patched(old, new, "a", "a", machine.hop("zstd", OLD, NEW)))
    header = data.index(b"end\n") + 4
    for length in (header - 1, header, header + 500, len(data) - 4, len(data) - 2):
        raw(machine, data[:length])
        assert machine.current("rules") == {"a": OLD}, length
    assert b"changed 2" in raw(machine, data).stdout


@pytest.mark.parametrize(
    "lines",
    [
        ["patch zstd 1 3", "file sent 3 DIGEST x"],
        ["base y", "file sent 3 DIGEST x"],
        ["file patched 3 DIGEST x"],
        ["patch zstd 1 4", "file patched 3 DIGEST x"],
        ["base ../y", "patch zstd 1 3", "file patched 3 DIGEST x"],
        ["base -rf", "file kept 3 DIGEST x"],
        ["base y", "base z", "file kept 3 DIGEST x"],
        ["patch zstd;id 1 3", "file patched 3 DIGEST x"],
        ["patch zstd -1 3", "file patched 3 DIGEST x"],
    ],
)
def test_a_header_with_odd_patches_is_refused_whole(dash: Machine, lines: list[str]) -> None:
    lines = [line.replace("DIGEST", "0" * 64) for line in lines]
    head = ["root " + str(dash.root), "keep 2", "controller a 1", f"step good - - 1 {'0' * 64} l"]
    header = "\n".join([*head, *lines, "end", ""]).encode()
    done = raw(dash, b"updoser 1 deploy %d\n%sgo\n" % (len(header), header))
    assert done.stdout.startswith(b"updoser 1 error\nprotocol "), done.stdout
    assert not dash.root.exists()


@pytest.mark.parametrize(
    ("said", "has"),
    [
        ("*** zstd command line interface 64-bits v1.4.4, by its author ***", False),
        ("*** zstd command line interface 64-bits v1.4.5, by its author ***", True),
        ("*** Zstandard CLI (64-bit) v1.5.7, by its author ***", True),
        ("*** Zstandard CLI (64-bit) v2.0.0, by its author ***", True),
        ("BusyBox", False),
        ("", False),
    ],
)
def test_a_zstd_that_takes_no_prefix_is_no_tool(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, said: str, has: bool
) -> None:
    tools = machine.folder / "tools"
    tools.mkdir()
    (tools / "zstd").write_text(f"#!/bin/sh\necho '{said}'\n")
    (tools / "zstd").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    profile = machine.facts()
    assert ("zstd" in profile.tools) is has
    assert {"bspatch", "gzip"} <= set(profile.tools)


def test_the_memory_of_a_client_is_known_as_a_power_of_2(machine: Machine) -> None:
    memory = machine.facts().memory
    assert memory
    assert memory & (memory - 1) == 0


def test_a_tool_that_fails_leaves_what_was_there(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = machine.folder / "tools"
    tools.mkdir()
    for tool in ("zstd", "bspatch"):
        (tools / tool).write_text("#!/bin/sh\nexit 1\n")
        (tools / tool).chmod(0o755)
    old, new = machine.install("rules", "1", {"a": OLD}), machine.release("rules", "2", {"a": NEW})
    ways = [patched(old, new, "a", "a", machine.hop(codec, OLD, NEW)) for codec in ("zstd", "bsdiff")]
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    for way in ways:
        (outcome,) = machine.deploy(way)
        assert (outcome.status, outcome.version, outcome.digest) == ("unpatched", "1", old.digest)
        assert outcome.message
    assert machine.current("rules") == {"a": OLD}
    assert machine.deploy(ways[0].full)[0].status == "changed"


KILLERS = ["dd", "zstd", "bspatch", "cp", "sha256sum", "mv", "ln", "sync", "rm"]


@pytest.mark.explore
def test_killed_at_any_moment_a_patched_client_has_one_whole_version(tmp_path: Path) -> None:
    traps = tmp_path / "traps"
    traps.mkdir()
    for name in KILLERS:
        tool = shutil.which(name)
        (traps / name).write_text(
            f"#!/bin/sh\nuntil /bin/mkdir {tmp_path}/mutex 2>/dev/null; do :; done\n"  # a pipeline counts at once
            f"n=$(/bin/cat {tmp_path}/count); n=$((n - 1)); echo $n >{tmp_path}/count; /bin/rmdir {tmp_path}/mutex\n"
            f'[ $n -ne 0 ] || kill -9 $TRAP_PID\n{tool} "$@"\n'
        )
        (traps / name).chmod(0o755)
    machine = Machine(tmp_path)
    first, second = {"a": OLD, "b": NEW}, {"a": NEW, "b": NEWER}
    hops = machine.hop("zstd", OLD, NEW), machine.hop("bsdiff", NEW, NEWER)

    def killed(at: int, _way: str) -> bool:
        shutil.rmtree(machine.root, ignore_errors=True)
        old, new = machine.install("rules", "1", first), machine.release("rules", "2", second)
        one, other = (patched(old, new, name, name, hop) for name, hop in zip("ab", hops, strict=True))
        way = replace(one, patched={**one.patched, **other.patched})
        (tmp_path / "count").write_text(f"{at}\n")
        script = f"TRAP_PID=$$ PATH={traps}:$PATH; export TRAP_PID PATH\n{client_script().decode()}"
        done = subprocess.run(
            ["dash", "-c", script],
            input=request_bytes(machine, way),
            capture_output=True,
            check=False,
            timeout=PATIENCE,
        )
        assert machine.current("rules") in (first, second), at
        (entry,) = machine.facts(verify=True).installed
        assert not entry.damage
        assert machine.deploy(way)[0].status in {"changed", "ok"}
        assert machine.current("rules") == second
        assert machine.leftovers() == []
        return done.returncode != 0

    assert kill_at_any_moment(killed, tmp_path / "count", 10) > 5


# --- the script that stays on the client ----------------------------------------------------------------------------


class CountingPipe:
    """Counts the bytes of each request."""

    def __init__(self, sent: list[int] | None = None) -> None:
        self._local: Pipe = LocalPipe()
        self.sent = [] if sent is None else sent

    def run(self, command: str, stdin: Iterable[bytes], *, timeout: float, patience: float = 0.0) -> Completed:
        data = b"".join(stdin)
        self.sent.append(len(command) + len(data))
        return self._local.run(command, [data], timeout=timeout, patience=patience)


@pytest.fixture
def counted(machine: Machine) -> tuple[Machine, list[int]]:
    pipe = CountingPipe()
    machine.session = ShellSession(pipe, shell=machine.shell)
    return machine, pipe.sent


def test_the_script_is_sent_once_and_then_read_from_the_client(counted: tuple[Machine, list[int]]) -> None:
    machine, sent = counted
    machine.install("rules", "1", {"a": b"one"})
    assert len(sent) == 3  # the copy isn't there, a look, the change
    assert (machine.root / ".updoser/script").read_bytes() == client_script()
    sent.clear()
    machine.install("rules", "2", {"a": b"two"})
    assert len(sent) == 2
    assert sum(sent) < 2_000


def test_a_new_session_asks_for_the_script_of_a_client_that_was_changed_before(
    counted: tuple[Machine, list[int]],
) -> None:
    machine, sent = counted
    before = machine.install("rules", "1", {"a": b"one"})
    for there in (True, False):
        machine.session = ShellSession(CountingPipe(sent), shell=machine.shell)
        sent.clear()
        after = machine.release("rules", f"2-{there}", {"a": b"two"})
        assert machine.deploy(step(before, after))[0].status == "changed"
        assert (sum(sent) < 2_000) is there
        before = after
        if there:
            (machine.root / ".updoser/script").unlink()


@pytest.mark.parametrize("how", ["other", "gone", "cut"])
def test_a_copy_that_is_not_the_script_is_never_run_and_is_renewed(
    counted: tuple[Machine, list[int]], how: str
) -> None:
    machine, sent = counted
    machine.install("rules", "1", {"a": b"one"})
    copy = machine.root / ".updoser/script"
    if how == "gone":
        copy.unlink()
    else:
        copy.write_bytes(b"touch %s/owned\n" % bytes(machine.folder) if how == "other" else client_script()[:-1000])
    sent.clear()
    machine.install("rules", "2", {"a": b"two"})
    assert not (machine.folder / "owned").exists()
    assert copy.read_bytes() == client_script()
    assert machine.current("rules") == {"a": b"two"}


def test_a_copy_that_goes_between_a_look_and_a_change_is_sent_again(counted: tuple[Machine, list[int]]) -> None:
    machine, _sent = counted
    machine.install("rules", "1", {"a": OLD})
    have = machine.facts().by_component["rules"]
    (machine.root / ".updoser/script").unlink()
    new = machine.release("rules", "2", {"a": NEW})
    assert machine.deploy(step(have, new))[0].status == "changed"
    assert machine.current("rules") == {"a": NEW}
