"""A state to look with and throw away: what is recorded in it changes nothing that lasts.

For files from anyone, and for questions where the state itself can't be written.
"""

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
def scratch_state(
    url: str,
    clock: Callable[[], datetime],
    *,
    must_be: bool = False,
    tell: Callable[[str], None] = lambda _says: None,
) -> Iterator[State]:
    """Give a copy of the state at `url`, or an empty one where there is none; what can't be reached is told.

    A server gets no password in the clear: who wrote the URL may not be one of us.

    Raises:
        StateError: the file is no state, or there is none and it `must_be`.
    """
    original = Path(url.removeprefix(_SQLITE)) if url.startswith(_SQLITE) else None
    with tempfile.TemporaryDirectory(prefix="updoser-") as folder:
        copy = Path(folder) / "state.db"
        if original is not None and original.is_file():
            _copy(original, copy)
        elif must_be:
            raise StateError("there is no file of the state to read")
        elif original is None:
            from reconciler.storage.moving import copy_server

            try:
                copy_server(url, copy)
            except StateError as error:
                tell(f"{error.message}; nothing is known of clients")
        with State.open(f"{_SQLITE}{copy}", clock=clock) as state:
            yield state


@contextmanager
def copied_file(original: Path) -> Iterator[Path]:
    """Give a copy of the file of a state.

    Raises:
        StateError: it is none.
    """
    with tempfile.TemporaryDirectory(prefix="updoser-") as folder:
        copy = Path(folder) / "state.db"
        _copy(original, copy)
        yield copy


def _copy(original: Path, copy: Path) -> None:
    try:
        try:
            _back_up(original, copy, "mode=ro")
        except sqlite3.OperationalError:
            # Where SQLite can't put its own files beside it, as on a disk that is full or only read, the file itself is
            # all there is, unless somebody writes right now.
            if not _is_at_rest(original):
                raise
            _back_up(original, copy, "immutable=1")
            if not _is_at_rest(original):
                raise
    except sqlite3.Error as error:
        raise StateError(f"the state {original} can't be read: {error}") from error


def _back_up(original: Path, copy: Path, how: str) -> None:
    with (
        closing(sqlite3.connect(f"{original.absolute().as_uri()}?{how}", uri=True)) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)


def _is_at_rest(original: Path) -> bool:
    """Say whether nothing of a state stands in a log beside it."""
    log = Path(f"{original}-wal")
    return not log.exists() or log.stat().st_size == 0
