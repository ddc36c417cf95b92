"""Keeps copies of the state, and brings it to another place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.assembly import place_of_state
from reconciler.present.words import count_text

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.desk import Desk
    from reconciler.storage.moving import Brought


def backup(desk: Desk, file: Path) -> int:
    """Write the state into a file, whoever uses it meanwhile."""
    from reconciler.storage.moving import back_up

    brought = back_up(place_of_state(desk), file)
    desk.terminal.note(f"backed up: {_words(brought)} in {file}, read back and compared")
    return 0


def restore(desk: Desk, file: Path, *, force: bool) -> int:
    """Make the state of a backup."""
    from reconciler.storage import moving
    from reconciler.storage.scratch import copied_file

    with copied_file(file) as copy:
        brought = moving.restore(copy, place_of_state(desk), force=force)
    desk.terminal.note(f"restored: {_words(brought)}, read back and compared; the epoch is {brought.epoch} now")
    desk.terminal.note("plan files that were made before are refused; `updoser plan` looks what is true by now")
    return 0


def move(desk: Desk, url: str, *, force: bool) -> int:
    """Bring the state to another place, and mark what stays behind."""
    from reconciler.storage import moving

    brought = moving.move(place_of_state(desk), moving.Place(url), force=force)
    desk.terminal.note(f"moved: {_words(brought)}, read back and compared")
    desk.terminal.note("the former state refuses to be used: let server.state name the new one")
    return 0


def _words(brought: Brought) -> str:
    rows = sum(brought.rows.values())
    clients, runs = brought.rows["clients"], brought.rows["runs"]
    return f"{count_text(rows, 'row')} ({count_text(clients, 'client')}, {count_text(runs, 'run')})"
