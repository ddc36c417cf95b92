"""Whether anything was written since somebody looked, without looking at what."""

from __future__ import annotations

import sqlite3
from threading import Lock
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from reconciler.storage.base import Part
from reconciler.storage.database import mapped

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Engine, PoolProxiedConnection


class Changes(Part):
    """The version of all that the state holds."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime]) -> None:
        """Take an open engine."""
        super().__init__(engine, clock)
        self._watch: PoolProxiedConnection | None = None
        self._watching = Lock()

    def version(self) -> str:
        """Give what is another one once anybody wrote anything: between two equal ones all that is read is the same.

        It is for this process and as long as the state is open. Any thread may ask.

        Raises:
            StateError: the state can't be read.
        """
        with mapped(self._engine.url):
            if self._engine.dialect.name == "sqlite":
                return str(self._version_of_file())
            with self._engine.connect() as connection:
                # Transactions that can be seen: it differs with each that wrote, and with those under way.
                return str(connection.scalar(text("SELECT CAST(pg_current_snapshot() AS text)")))

    def _version_of_file(self) -> int:
        """Ask SQLite whether others wrote: only one and the same connection can, and only one that writes nothing."""
        with self._watching:
            if self._watch is None:
                self._watch = self._engine.raw_connection()
            asked = "PRAGMA data_version"
            try:
                cursor = self._watch.cursor()
                cursor.execute(asked)
                found: tuple[int] = cursor.fetchone()  # type: ignore[assignment]
                cursor.close()
            except sqlite3.Error as error:  # as SQLAlchemy would
                raise DBAPIError(asked, None, error) from error
        return found[0]

    def _end_watch(self) -> None:
        with self._watching:
            if self._watch is not None:
                self._watch.close()
                self._watch = None
