"""Events in a file: what can't be written costs those events, said once, and never the run."""

import os
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import UpdoserError
from reconciler.storage.eventfile import event_file


class Losses(list):  # type: ignore[type-arg]
    def __call__(self, what: str, error: OSError) -> None:
        self.append((what, error.strerror))


@pytest.mark.parametrize("name", ["", "nowhere/events", "file/events"])
def test_a_path_that_cannot_be_is_refused_by_name(tmp_path: Path, name: Any) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UpdoserError, match="can't be written"), event_file(tmp_path / name, Losses()):
        raise AssertionError("not reached")


def test_an_error_of_the_work_is_not_taken_for_one_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), event_file(tmp_path / "events", Losses()):
        (tmp_path / "other").read_text()


def test_a_reader_that_does_not_read_holds_nobody_up_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.storage.eventfile._PATIENCE", 0)
    fifo, losses = tmp_path / "fifo", Losses()
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with event_file(fifo, losses) as append:
        append("x" * 1_000_000)
        append("more\n")
    os.close(reader)
    assert losses == [(f"the events in {fifo}", "its reader doesn't read")]


def test_a_link_is_followed_and_lines_come_behind_those_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old\n")
    (tmp_path / "events").symlink_to("real")
    with event_file(tmp_path / "events", Losses()) as append:
        append("new\n")
    assert (tmp_path / "events").is_symlink()
    assert (tmp_path / "real").read_text() == "old\nnew\n"
