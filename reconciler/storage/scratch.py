"""A state to look with and throw away: what is recorded in it changes nothing that lasts."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import StateError
from reconciler.storage.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

_SQLITE = "sqlite:///"


@contextmanager
def scratch_state(url: str, clock: Callable[[], datetime]) -> Iterator[State]:
    """Give a copy of the state at `url`, or an empty one where that isn't an SQLite file that is there.

    Raises:
        StateError: the file is no state.
    """
    original = Path(url.removeprefix(_SQLITE)) if url.startswith(_SQLITE) else None
    with tempfile.TemporaryDirectory(prefix="updoser-") as folder:
        copy = Path(folder) / "state.db"
        if original is not None and original.is_file():
            _copy(original, copy)
        with State.open(f"{_SQLITE}{copy}", clock=clock) as state:
            yield state


def _copy(original: Path, copy: Path) -> None:
    try:
        with (
            closing(sqlite3.connect(f"{original.absolute().as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
    except sqlite3.Error as error:
        raise StateError(f"the state {original} can't be read: {error}") from error
