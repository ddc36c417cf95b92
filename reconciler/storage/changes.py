"""Whether anything was written since somebody looked, without looking at what; and waiting until somebody steers."""

from __future__ import annotations

import sqlite3
from threading import Lock
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from reconciler.storage.base import Part
from reconciler.storage.database import mapped
from reconciler.storage.postgres import Ear

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from threading import Event

    from sqlalchemy import Engine, PoolProxiedConnection


_LISTENS = 0.25
"""Seconds between two looks at whether something was heard: it is there already, and nobody is asked."""


class Changes(Part):
    """The version of all that the state holds."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime]) -> None:
        """Take an open engine."""
        super().__init__(engine, clock)
        self._watch: PoolProxiedConnection | None = None
        self._watching = Lock()
        self._ear: Ear | None = None

    def await_news(self, stop: Event, span: float) -> bool:
        """Wait so many seconds, less where it is to stop (gives True) or somebody else steers.

        That somebody steers (a rollout, the controller) is heard in PostgreSQL only; in a file it is seen afterwards.
        """
        if self._engine.dialect.name == "sqlite":
            return stop.wait(span)
        if self._ear is None:
            self._ear = Ear(self._engine, self._name)
        while span > 0 and not self._ear.heard():
            part = min(span, _LISTENS)
            if stop.wait(part):
                return True
            span -= part
        return stop.is_set()

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
        if self._ear is not None:
            self._ear.close()
        with self._watching:
            if self._watch is not None:
                self._watch.close()
                self._watch = None
