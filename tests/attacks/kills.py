"""Runs that are killed at any moment, and the states that this, or a power cut, can leave on a client."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from reconciler.client.session import client_script
from tests.machine import request_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from reconciler.model.deploy import Step
    from tests.machine import Machine


def run_and_kill(machine: Machine, seconds: float, *steps: Step) -> None:
    """Send a request to the script, and kill it with all that it started when the time is up."""
    process = subprocess.Popen(
        [*machine.shell.split(), "-c", client_script().decode()],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    with process:
        assert process.stdin
        process.stdin.write(request_bytes(machine, *steps))
        process.stdin.close()
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)


def time_of(change: Callable[[], object]) -> float:
    """Give the seconds that something takes."""
    began = time.monotonic()
    change()
    return time.monotonic() - began


def _empty(name: str) -> Callable[[Machine, Random], None]:
    def half(machine: Machine, _draw: Random) -> None:
        for path in (machine.root / ".updoser").glob(name):
            path.write_bytes(b"")

    return half


def _cut_short(machine: Machine, draw: Random) -> None:
    for path in (machine.root / ".updoser/manifests").iterdir():
        whole = path.read_bytes()
        path.write_bytes(whole[: draw.randrange(len(whole) or 1)])


def _gone(name: str) -> Callable[[Machine, Random], None]:
    def half(machine: Machine, _draw: Random) -> None:
        for path in machine.root.glob(name):
            path.parent.chmod(0o755)
            path.unlink()

    return half


def _begun(machine: Machine, draw: Random) -> None:
    """Leave a version that was being brought to its place."""
    (machine.root / "rules/begun").mkdir()
    if draw.random() < 0.5:
        (machine.root / "rules/begun/a").write_bytes(b"half")
    (machine.root / ".updoser/manifests/rules@begun").touch()


def _staging(machine: Machine, draw: Random) -> None:
    folder = machine.root / f".updoser/stage.{draw.choice([999_999, 1])}:no-boot:5"
    (folder / "tree/rules/2").mkdir(parents=True)
    (folder / "tree/rules").chmod(0o555)


def _locked(machine: Machine, draw: Random) -> None:
    for name in draw.choice((["lock"], ["lock", "claim.1:no-boot:5"])):
        (machine.root / ".updoser" / name).symlink_to("1:no-boot:5")


def _unchecked(machine: Machine, draw: Random) -> None:
    (machine.root / ".updoser/unchecked").mkdir()
    (machine.root / ".updoser/unchecked/rules").write_text(draw.choice(["", "1\n", "2\n"]))


def _torn(machine: Machine, _draw: Random) -> None:
    for path in (machine.folder / "daemon").iterdir():
        path.write_bytes(b"")


def _without_state(machine: Machine, _draw: Random) -> None:
    shutil.rmtree(machine.root / ".updoser")


HALVES = (
    _empty("controller"), _empty("script"), _empty("manifests/*"), _cut_short, _gone(".updoser/controller"),
    _gone(".updoser/manifests/*"), _begun, _staging, _locked, _unchecked, _torn,
)  # fmt: skip


def half_state(machine: Machine, draw: Random) -> None:
    """Bring a client into a state that somebody who was killed, or a power cut, can leave behind."""
    if draw.random() < 0.05:
        _without_state(machine, draw)
        return
    for half in sorted(draw.sample(HALVES, draw.randint(1, 3)), key=HALVES.index):  # what is begun has its mark
        half(machine, draw)
