"""What a person at a terminal sees: a question, progress, and no answer taken for a yes."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.fleet import ROOT, Fleet
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

CTRL_C = "\x03"


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    made = Fleet(tmp_path)
    made.release("rules", "1", rules_txt=b"one\n")
    return made


def talk(fleet: Fleet, *arguments: str, answer: str) -> tuple[int, str]:
    """Run a command on a terminal, answer its question, and give its exit code and all that was shown."""
    master, slave = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(
        [sys.executable, "-m", "reconciler", *arguments],
        cwd=fleet.folder, env=environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    shown, asked, deadline = "", False, time.monotonic() + PATIENCE
    try:
        while time.monotonic() < deadline:
            if not select.select([master], [], [], 1)[0]:
                continue
            try:
                chunk = os.read(master, 65536)
            except OSError:
                break
            shown += chunk.decode(errors="replace")
            if "Enter a value: " in shown and not asked:
                asked = True
                process.send_signal(signal.SIGINT) if answer == CTRL_C else os.write(master, answer.encode())
        return process.wait(PATIENCE), shown
    finally:
        os.close(master)
        process.kill()


def test_yes_carries_the_plan_out_and_progress_is_shown(fleet: Fleet) -> None:
    code, shown = talk(fleet, "apply", answer="yes\n")
    assert code == 0, shown
    assert "Only 'yes' will be accepted" in shown
    assert "looking at 3 clients" in shown
    assert "3/3" in shown
    assert fleet.current("c1", "rules") == {"rules.txt": b"one\n"}


@pytest.mark.parametrize("answer", ["y\n", "no\n", "\n", "YES\n", "\x04"])
def test_nothing_else_is_taken_for_a_yes(fleet: Fleet, answer: str) -> None:
    code, shown = talk(fleet, "apply", answer=answer)
    assert code == 1, shown
    assert "apply cancelled; nothing was changed" in shown
    assert not (fleet.folder / "clients").exists()


def test_ctrl_c_at_the_question_changes_nothing_and_leaves_no_lock(fleet: Fleet) -> None:
    code, shown = talk(fleet, "apply", answer=CTRL_C)
    assert code == 130, shown
    assert not (fleet.folder / "clients").exists()
    assert fleet.apply().code == 0


def test_a_reader_that_goes_away_is_no_error_of_ours(fleet: Fleet) -> None:
    command = f"{sys.executable} -m reconciler plan --format json | head -c 1"
    done = subprocess.run(
        command,
        shell=True,
        cwd=fleet.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
