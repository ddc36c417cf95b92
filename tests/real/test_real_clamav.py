"""Debian's ClamAV: databases of its own form, clamscan before a switch, and after it clamd that says what it loaded."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fleet import Fleet
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import ExitStack
    from typing import Self


pytestmark = pytest.mark.needs("clamscan", "sigtool")

EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS" + b"-TEST-FILE!$H+H*"
"""The string that scanners agree to detect, in parts: nothing is to find it in this file."""
COMPONENT = "eicar-signatures"
CLIENTS = 6
CANARY = "c1"
CATALOG = f"""\
version: 1
name: clamav
components:
  - {{id: {COMPONENT}, name: Signatures of the EICAR test file, kind: pattern, version_scheme: integer}}
"""
SCAN = 'clamscan --no-summary -d "$UPDOSER_STAGED"'
STAGED: list[dict[str, Any]] = [
    {"name": "detects", "for": COMPONENT, "phase": "staged", "run": f"{SCAN} FOLDER/eicar", "expect_exit": 1},
    {"name": "spares", "for": COMPONENT, "phase": "staged", "run": f"{SCAN} FOLDER/clean"},
]
ASK = 'clamdscan --config-file="$UPDOSER_VAR_CLAMD"'
LOADED = {"run": f"{ASK} --ping 1 >/dev/null && {ASK} --version | cut -s -d/ -f2", "within": "1m"}
"""As in the bundled catalog, of a daemon with a configuration of its own."""
SWITCHED: list[dict[str, Any]] = [
    {
        "name": "in-force",
        "for": COMPONENT,
        "phase": "switched",
        "run": f"{ASK} --no-summary --stream FOLDER/eicar",
        "expect_exit": 1,
    },
]
WAVES = {"waves": [{"select": "label=canary", "max_failed": 0}, {"share": "50%"}, {"share": "100%"}]}


def signature(name: str, content: bytes = EICAR) -> str:
    """Write a signature that finds a content at the beginning of any file."""
    return f"{name}:0:0:{content.hex()}"


def database(folder: Path, version: int, *signatures: str) -> bytes:
    """Have ClamAV's own tool make a database of some signatures, with its version in its header, and give its bytes."""
    made = folder / f"made-{version}"
    made.mkdir()
    (made / "COPYING").write_text("Made by a test of updoser.\n")
    (made / "daily.ndb").write_text("".join(f"{line}\n" for line in signatures))
    environment = {**os.environ, "SIGNDUSER": "updoser"}
    build = ["sigtool", "--build=daily.cud", "--unsigned", f"--cvd-version={version}", "--no-cdiff", "--max-bad-sigs=0"]
    done = subprocess.run(build, cwd=made, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return (made / "daily.cud").read_bytes()


def good(folder: Path, version: int) -> bytes:
    return database(folder, version, signature(f"Eicar-Test-{version}"))


class ClamAV(Fleet):
    """A fleet with one canary, whose clients check what they get with ClamAV."""

    def __init__(
        self, folder: Path, checks: Sequence[dict[str, Any]] = STAGED, clients: int = CLIENTS, **component: Any
    ) -> None:
        super().__init__(folder)
        self.names = [f"c{n}" for n in range(1, clients + 1)]
        (folder / "catalog.yaml").write_text(CATALOG)
        (folder / "eicar").write_bytes(EICAR)
        (folder / "clean").write_bytes(b"nothing bad is in here\n")
        self.spec["components"] = {COMPONENT: component}
        self.spec["auto_update"] = {"rollout": {**WAVES, "on_failure": "rollback"}}
        self.spec["groups"]["all"] |= {
            "checks": [{**check, "run": check["run"].replace("FOLDER", str(folder))} for check in checks],
            "clients": [
                {"name": name, "install_root": f"clients/{name}", "labels": ["canary"] if name == CANARY else []}
                for name in self.names
            ],
        }
        self.write()

    def offer(self, version: int, content: bytes, name: str = "daily_cud") -> None:
        self.release(COMPONENT, str(version), **{name: content})

    def versions(self) -> list[int]:
        """Give the versions in force."""
        return [int((self.root(name) / COMPONENT / "current").readlink().name) for name in self.names]

    def settles_at(self, version: int, *, halted: bool = False) -> None:
        """See a version in force everywhere, and that the next apply changes nothing; it says what is halted."""
        assert set(self.versions()) == {version}
        before = self.listing()
        again = self.apply()
        assert again.code == (3 if halted else 0), again.err
        assert " 0 downloads (0 B), 0 changes on 0 of " in again.out
        assert self.listing() == before

    def arrives(self, version: int) -> None:
        """Offer a good release, and see it go to every client."""
        self.offer(version, good(self.folder, version))
        done = self.apply()
        assert done.code == 0, done.err
        self.settles_at(version)

    def stops_at_the_canary(
        self, version: int, says: str, stays: int, *, commands: Sequence[Sequence[str]] = (("status",),)
    ) -> None:
        """See a release that was offered stop at the canary, commands say why, and another version stay everywhere."""
        done = self.apply("--format", "json")
        assert done.code == 3, done.err
        recap = done.json["recap"]["all"]
        assert (recap["failed"], recap["changed"]) == (1, 0)
        assert [entry["client"] for entry in done.json["failed"]] == [CANARY]
        assert set(self.versions()) == {stays}
        halted = f"Halted: {COMPONENT} {version} in wave 1 of 3: 1 of 1 clients failed, and at most 0 may ({CANARY}: "
        for command in commands:
            told = self.run(*command)
            assert told.code == 0
            assert halted in told.out, command
            assert says in told.out, command


def bad(folder: Path, version: int) -> Iterator[tuple[int, str, bytes, str]]:
    """Give databases of some versions that are bad, each in another way: the file's name, its bytes, what is said."""
    line = signature(f"Eicar-Test-{version}")
    other = signature(f"Other-Test-{version}", b"something quite different")
    wrong = signature(f"Wrong-Test-{version}", b"nothing bad is in here")
    cut_off = good(folder, version)[:-200]
    yield version, "daily_cud", cut_off, "detects failed before the switch: exit 2, expected 1: ERROR: "
    half_a_line = f"{line}\n{line[:-1]}\n".encode()
    yield version + 1, "daily_ndb", half_a_line, "detects failed before the switch: exit 2, expected 1: ERROR: "
    blind = database(folder, version + 2, other)
    yield version + 2, "daily_cud", blind, "detects failed before the switch: exit 0, expected 1: "
    eager = database(folder, version + 3, line, wrong)
    yield version + 3, "daily_cud", eager, "spares failed before the switch: exit 1, expected 0: "


def test_a_bad_database_stops_at_the_canary_however_it_is_bad(tmp_path: Path) -> None:
    fleet = ClamAV(tmp_path)
    fleet.arrives(27811)
    for version, name, content, says in bad(tmp_path, 27812):
        fleet.offer(version, content, name)
        fleet.stops_at_the_canary(version, says, stays=27811)
    fleet.settles_at(27811, halted=True)
    fleet.arrives(27816)
    assert fleet.run("rollout", "list").out == "No rollouts.\n"


# --- with the daemon --------------------------------------------------------------------------------------------------

RELOAD = {"run": f"{ASK} --reload", "timeout": "1m", "on_failure": "rollback"}
ALLOWED = "Eicar-Allowed"
"""A signature that every machine's own list says to ignore: it takes the daemon, which reads both, to notice."""


class Daemon:
    """A clamd of a machine: it reads a folder, which has two files of the machine's own."""

    def __init__(self, folder: Path, program: Path) -> None:
        self.databases = folder / "databases"
        self.databases.mkdir(parents=True)
        (self.databases / "site.ndb").write_text(signature("Site-Own-1", b"no file has this text") + "\n")
        (self.databases / "site.ign2").write_text(f"{ALLOWED}\n")
        self.config = folder / "clamd.conf"
        self._pid = folder / "pid"
        self.config.write_text(
            f"LocalSocket {folder}/socket\nPidFile {self._pid}\nLogFile {folder}/log\n"
            f"DatabaseDirectory {self.databases}\nSelfCheck 0\nMaxThreads 2\n"
        )
        self._program = program

    def __enter__(self) -> Self:
        subprocess.run([self._program, "--config-file", self.config], check=True, capture_output=True, timeout=PATIENCE)
        return self

    def __exit__(self, *_exception: object) -> None:
        pid = int(self._pid.read_text())
        os.kill(pid, signal.SIGTERM)
        for _ in range(200):
            if not self._pid.exists():
                return
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)

    def ask(self, *arguments: str | Path) -> str:
        done = subprocess.run(
            ["clamdscan", "--config-file", self.config, *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.stdout + done.stderr

    def runs(self, version: int, path: Path) -> None:
        """See that it has loaded the database of a version, by its header and by what it finds in the EICAR file.

        It is patient: clamd answers a request to reload before it has done so, serves the former one meanwhile, and
        for a moment says no version at all.
        """
        wanted = f"/{version}/", f"Eicar-Test-{version}.UNOFFICIAL FOUND"

        def has_loaded() -> bool:
            found = self.ask("--version"), self.ask("--no-summary", "--stream", path).strip()
            return wanted[0] in found[0] and found[1].rpartition(": ")[2] == wanted[1]

        until(has_loaded)


@pytest.fixture
def daemons(stack: ExitStack) -> Callable[[str], Daemon]:
    """Give a function that starts the clamd of a machine: with a short path for its socket, and no AppArmor profile."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clamd-")))
    folder.chmod(0o755)
    clamd = shutil.which("clamd")
    assert clamd
    program = Path(shutil.copy(clamd, folder / "daemon"))
    return lambda name: stack.enter_context(Daemon(folder / name, program))


@pytest.mark.needs("clamd", "clamdscan")
def test_every_daemon_has_loaded_what_its_client_should_run_through_good_and_bad_days(
    daemons: Callable[[str], Daemon], tmp_path: Path
) -> None:
    fleet = ClamAV(tmp_path, (*STAGED, *SWITCHED), hooks={"after": RELOAD}, loaded=LOADED)
    machines = {name: daemons(name) for name in fleet.names}
    for client in fleet.spec["groups"]["all"]["clients"]:
        machine, current = machines[client["name"]], fleet.root(client["name"]) / COMPONENT / "current"
        client["vars"] = {"clamd": str(machine.config)}
        (machine.databases / "daily.cud").symlink_to(current / "daily.cud")
    fleet.write()

    def all_run(version: int) -> None:
        for machine in machines.values():
            machine.runs(version, tmp_path / "eicar")

    for version in (27811, 27812):
        fleet.arrives(version)
        all_run(version)
    (entry,) = fleet.run("status", "--format", "json").json["components"]
    assert (entry["updated"], entry["pending"]) == (CLIENTS, 0)

    # one that is broken: it doesn't get past the check before the switch
    fleet.offer(27813, good(tmp_path, 27813)[:-200])
    says = "check detects failed before the switch: exit 2, expected 1: ERROR: "
    fleet.stops_at_the_canary(27813, says, stays=27812, commands=(("status",), ("plan",), ("rollout", "list")))
    fleet.settles_at(27812, halted=True)
    all_run(27812)
    assert fleet.run("rollout", "abort", COMPONENT, "--reason", "cut off").code == 0
    fleet.settles_at(27812)

    # one that only the daemon finds nothing with: the canary is back at once, and so is its daemon
    fleet.offer(27814, database(tmp_path, 27814, signature(ALLOWED)))
    says = f"check in-force failed after the switch: exit 0, expected 1: {tmp_path}/eicar: OK; it is back at 27812"
    fleet.stops_at_the_canary(27814, says, stays=27812)
    all_run(27812)
    assert fleet.run("rollout", "abort", COMPONENT, "--reason", "finds nothing").code == 0

    # one that all checks let pass, and people don't
    fleet.arrives(27815)
    all_run(27815)
    taken_back = fleet.run("rollback", COMPONENT, "--reason", "finds fonts", "--auto-approve")
    assert taken_back.code == 0, taken_back.err
    assert '+      - {version: "27815", reason: "finds fonts"}\n' in taken_back.out
    assert "27815  ->  27812  6 clients  from what it kept, nothing sent" in taken_back.out
    assert fleet.apply().code == 0
    fleet.settles_at(27812)
    all_run(27812)

    fleet.arrives(27816)
    all_run(27816)
    assert fleet.run("rollout", "list").out == "No rollouts.\n"


@pytest.mark.needs("clamd", "clamdscan")
def test_a_daemon_that_nobody_told_of_new_files_is_pending_until_it_has_read_them(
    daemons: Callable[[str], Daemon], tmp_path: Path
) -> None:
    machine = daemons("machine")
    install = [{"files": "*", "to": str(machine.databases), "method": "rename", "mode": "0644"}]
    fleet = ClamAV(tmp_path, (), 1, install=install, loaded={"run": LOADED["run"]})
    fleet.spec["groups"]["all"]["clients"][0]["vars"] = {"clamd": str(machine.config)}
    fleet.write()
    fleet.arrives(27811)
    assert "pending: 1 client has installed eicar-signatures, and not loaded it" in fleet.run("status").out
    machine.ask("--reload")
    machine.runs(27811, tmp_path / "eicar")
    assert "pending" not in fleet.run("status", "--refresh").out


@pytest.mark.needs("clamd", "clamdscan")
@pytest.mark.parametrize("method", ["rename", "copy"])
def test_a_daemon_that_reads_a_folder_of_its_own_has_its_former_files_back_after_a_bad_one(
    method: str, daemons: Callable[[str], Daemon], tmp_path: Path
) -> None:
    machine = daemons("machine")
    install = [{"files": "*", "to": str(machine.databases), "method": method, "mode": "0644"}]
    fleet = ClamAV(tmp_path, (*STAGED, *SWITCHED), 1, install=install, hooks={"after": RELOAD}, loaded=LOADED)
    fleet.spec["groups"]["all"]["clients"][0]["vars"] = {"clamd": str(machine.config)}
    fleet.write()
    fleet.arrives(27811)
    files = {path.name: path.read_bytes() for path in machine.databases.iterdir()}
    assert sorted(files) == ["daily.cud", "site.ign2", "site.ndb"]
    fleet.offer(27812, database(tmp_path, 27812, signature(ALLOWED)))
    assert fleet.apply().code == 3
    assert {path.name: path.read_bytes() for path in machine.databases.iterdir()} == files
    machine.runs(27811, tmp_path / "eicar")
    fleet.arrives(27813)
    machine.runs(27813, tmp_path / "eicar")
