"""A state on a disk that is full, or that may only be read: questions are answered, and nothing is begun."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.fleet import Fleet

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

QUESTIONS = {"status": "1 client", "history": "apply", "why c1 rules": "rules: has 1"}


def fill(disk: Path) -> None:
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
        while filler.write(b"x" * 4096):
            pass


def lock(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)


@pytest.mark.parametrize(
    ("spoil", "says"), [(fill, "look at its disk: it may be full, or broken"), (lock, "may be written")]
)
def test_what_is_remembered_is_told_where_the_state_cannot_be_written_and_an_apply_says_why_not(
    small_disk: Path, spoil: Callable[[Path], None], says: str
) -> None:
    fleet = Fleet(small_disk, clients=1)
    fleet.release("rules", "1", rules_txt=b"1")
    assert fleet.apply().code == 0
    spoil(small_disk)
    for question, answer in QUESTIONS.items():
        done = fleet.run(*question.split())
        assert (done.code, "it is only read" in done.err, answer in done.out) == (0, True, True), done.err
    refused = fleet.apply()
    assert (refused.code, says in refused.err) == (1, True), refused.err
