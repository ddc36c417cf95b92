"""The controller as a service: what a manager hears of it, its unit, and its image."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from click import Command, Group

from reconciler.cli.root import cli
from reconciler.errors import SpecError, UsageError
from reconciler.specfile.load import load
from reconciler.storage.lease import PATIENCE as BEATS
from tests.fleet import ROOT, Fleet
from tests.pages import example
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Manager:
    """A manager of services: it has a socket, and hears what is told."""

    def __init__(self, folder: Path, watchdog: float) -> None:
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "notify"))
        self._socket.setblocking(False)
        self.environment = {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": str(int(watchdog * 1e6))}

    def close(self) -> None:
        self._socket.close()

    def listen(self) -> list[str]:
        """Give all that was told until now."""
        while True:
            try:
                self.heard += self._socket.recv(9999).decode().splitlines()
            except BlockingIOError:
                return self.heard

    def since(self, word: str, then: str) -> bool:
        """Say whether `then` was told after the last time that something beginning with `word` was."""
        heard = self.listen()
        last = max((at for at, told in enumerate(heard) if told.startswith(word)), default=None)
        return last is not None and any(told.startswith(then) for told in heard[last:])


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path, watchdog=1)
    yield made
    made.close()


@contextmanager
def running(fleet: Fleet, manager: Manager) -> Iterator[subprocess.Popen[str]]:
    with (fleet.folder / "said").open("a") as said:
        process = fleet.start_telling(said, "run", **manager.environment)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


def ended(process: subprocess.Popen[str]) -> int:
    process.communicate(timeout=PATIENCE)
    return process.returncode


def test_its_manager_hears_that_it_is_ready_lives_reads_anew_and_ends(tmp_path: Path, manager: Manager) -> None:
    fleet = Fleet(tmp_path, 1)
    with running(fleet, manager) as process:
        until(lambda: manager.since("STATUS=sleeping until ", "WATCHDOG=1"), process)
        assert manager.heard.index("READY=1") < manager.heard.index("STATUS=looking")
        process.send_signal(signal.SIGHUP)
        until(lambda: manager.since("RELOADING=1", "READY=1"), process)
        assert "STOPPING=1" not in manager.heard
        process.send_signal(signal.SIGTERM)
        assert ended(process) == 0
    assert "STOPPING=1" in manager.listen()
    assert manager.heard[-2:] == ["STATUS=stopped", "STOPPING=1"]


def test_it_shows_that_it_lives_while_a_client_takes_its_time(tmp_path: Path, manager: Manager) -> None:
    go_on = tmp_path / "go-on"
    hook = {"run": f"while ! test -e {go_on}; do sleep 0.1; done", "timeout": "1h"}
    fleet = Fleet(tmp_path, 1, components={"rules": {"hooks": {"before": hook}}})
    fleet.release("rules", "1", rules_txt=b"one")
    with running(fleet, manager) as process:
        until(lambda: manager.since("STATUS=changing", "WATCHDOG=1"), process)
        count = manager.heard.count("WATCHDOG=1")
        until(lambda: manager.listen().count("WATCHDOG=1") > count + 2, process)
        assert manager.since("STATUS=", "STATUS=changing")
        go_on.touch()
        until(lambda: manager.since("STATUS=sleeping", "STATUS=sleeping"), process)
    assert fleet.current("c1", "rules") == {"rules.txt": b"one"}


def test_who_waits_to_lead_is_ready_and_lives(tmp_path: Path, manager: Manager) -> None:
    fleet = Fleet(tmp_path, 1)
    with (tmp_path / "first").open("w") as said:
        first = fleet.start_telling(said, "run")
    try:
        until(lambda: "next look at" in (tmp_path / "first").read_text(), first)
        with running(fleet, manager) as second:
            until(lambda: manager.since("READY=1", "WATCHDOG=1"), second)
            (status,) = (told for told in manager.heard if told.startswith("STATUS="))
            assert status.endswith(f"(process {first.pid}) leads; this one waits")
    finally:
        first.kill()
        ended(first)


def test_somebody_can_ask_whether_it_is_well(tmp_path: Path, manager: Manager) -> None:
    fleet = Fleet(tmp_path, 1)
    with running(fleet, manager) as process:
        until(lambda: manager.since("STATUS=sleeping", "STATUS=sleeping"), process)
        done = fleet.run("controller", "check")
        assert (done.code, f"(process {process.pid}) leads: sleeping until " in done.err) == (0, True), done.err
    done = fleet.run("controller", "check")
    assert (done.code, "no controller runs on this state" in done.err) == (1, True), done.err


# --- the unit and the image -----------------------------------------------------------------------------------------

SERVICE = ROOT / "docs" / "service"
PAGES = [ROOT / "docs" / name for name in ("service.md", "console.md", "sites.md")]
UNITS = {name: (SERVICE / f"{name}.service").read_text(encoding="utf-8") for name in ("updoser", "updoser-console")}
UNIT = UNITS["updoser"]
MOST_EXPOSED = 20
"""The most that systemd may say of the unit, in tenths: 0 is shut, 100 is open."""


def analyze(folder: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Ask systemd about a unit; the program is one that is here."""
    unit = folder / f"{name}.service"
    unit.write_text(UNITS[name].replace("/opt/updoser/bin/updoser", "/bin/true"))
    return subprocess.run(
        ["systemd-analyze", *arguments, unit], capture_output=True, text=True, check=False, timeout=PATIENCE
    )


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("name", list(UNITS))
def test_systemd_takes_the_unit_and_calls_it_well_shut(tmp_path: Path, name: str) -> None:
    done = analyze(tmp_path, name, "verify", "--man=no")
    assert (done.returncode, str(tmp_path) in done.stderr) == (0, False), done.stderr
    done = analyze(tmp_path, name, "security", "--offline=true", f"--threshold={MOST_EXPOSED}")
    assert done.returncode == 0, done.stdout


@pytest.mark.needs("systemd-sysusers")
@pytest.mark.parametrize(("name", "home"), [("updoser", "/var/lib/updoser"), ("updoser-console", "/")])
def test_systemd_makes_the_user_that_the_unit_names(tmp_path: Path, name: str, home: str) -> None:
    (tmp_path / "etc").mkdir()
    done = subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", SERVICE / f"{name}.sysusers"],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    made = [line.split(":") for line in (tmp_path / "etc/passwd").read_text().splitlines()]
    assert [(line[0], line[5]) for line in made] == [(setting("User", UNITS[name]), home)]


def setting(name: str, unit: str = UNIT) -> str:
    (found,) = re.findall(rf"^{name}=(.*)$", unit, re.MULTILINE)
    return str(found)


def test_the_console_has_no_credentials_of_the_controller_but_its_group() -> None:
    console = UNITS["updoser-console"]
    assert re.findall("^LoadCredential", console, re.MULTILINE) == []
    assert (setting("Group", console), setting("User", console)) == (setting("User"), "updoser-console")


@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
def test_the_unit_starts_nothing_again_whose_file_or_call_is_wrong(unit: str) -> None:
    assert command_of(shlex.split(setting("ExecStart", unit))[1:]).name in {"run", "serve"}
    given_up = {int(code) for code in setting("RestartPreventExitStatus", unit).split()}
    assert given_up == {SpecError.exit_code, UsageError.exit_code}


def test_secrets_are_where_the_unit_or_the_container_puts_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert setting("Environment") == "UPDOSER_VAR_CREDENTIALS=%d"
    name, _, _file = setting("LoadCredential").partition(":")
    (tmp_path / "updoser.yaml").write_text(example("service:systemd").text)
    monkeypatch.setenv("UPDOSER_VAR_CREDENTIALS", str(tmp_path))
    with pytest.raises(SpecError, match=f"the file {tmp_path}/{name} isn't there"):
        load(tmp_path / "updoser.yaml")
    (tmp_path / name).write_text("key")
    load(tmp_path / "updoser.yaml")


def test_the_steps_of_the_page_name_files_and_commands_that_there_are() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES).replace("\\\n", " ")
    files = re.findall(r"install -m \d+ (docs/\S+)", text)
    assert {ROOT / file for file in files} == set(SERVICE.iterdir())
    lines = re.findall(
        r"^(?:runuser .* -- updoser|podman exec updoser updoser|podman run .* updoser) (.+)$", text, re.MULTILINE
    )
    assert len(lines) == 5
    for line in lines:
        assert not isinstance(command_of(shlex.split(line)), Group), line


def command_of(words: list[str]) -> Command:
    """Give the command that words call, with options that it has."""
    command: Command = cli
    context = cli.make_context("updoser", words)
    while isinstance(command, Group):
        _, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None
        command, context = found, found.make_context(" ".join(words), rest, parent=context)
    return command


def instructions() -> list[tuple[str, str]]:
    """Give the instructions of the image, and what they say."""
    text = (ROOT / "Containerfile").read_text(encoding="utf-8").replace("\\\n", "")
    lines = [line.split(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, " ".join(rest.split())) for name, rest in lines]


def test_the_image_is_made_of_files_that_there_are_and_that_are_let_in(tmp_path: Path) -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [rest.split()[:-1] for name, rest in instructions() if name == "COPY" and "--from" not in rest]
    sources = [source for some in copied for source in some]
    assert set(sources) == let_in
    for source in sources:
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, tmp_path)
    wheel = "from hatchling.build import build_wheel; print(build_wheel('.'))"
    done = subprocess.run(
        [sys.executable, "-c", wheel], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / done.stdout.strip()).is_file()


def test_the_image_runs_as_nobody_else_and_says_whether_it_is_well() -> None:
    last = dict(instructions())
    assert (last["ENTRYPOINT"], "CMD" in last) == ('["updoser"]', False)
    assert (last["USER"], last["VOLUME"]) == ("10001:10001", "/var/lib/updoser")
    check = json.loads(last["HEALTHCHECK"].partition(" CMD ")[2])
    assert command_of(check[1:]).name == "check"
    seconds = re.search(r"--timeout=(\d+)s", last["HEALTHCHECK"])
    assert seconds
    assert int(seconds[1]) > BEATS
