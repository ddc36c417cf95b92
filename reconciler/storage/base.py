"""What the parts of the state share: reading and writing with errors mapped, and times as the tables hold them."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from threading import local
from typing import TYPE_CHECKING

from sqlalchemy import select

from reconciler.errors import LeaseLostError
from reconciler.storage.cells import sound
from reconciler.storage.database import mapped, writing
from reconciler.storage.tables import LEASE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection, Engine


class Part:
    """A part of the state; all parts share one engine."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime]) -> None:
        """Take an open engine."""
        self._engine = engine
        self._clock = clock
        self._open: Connection | None = None
        self._looks = local()
        self._generation: int | None = None

    def fence(self, generation: int) -> None:
        """Write only as long as the lease is of this generation: all else raises LeaseLostError."""
        self._generation = generation

    @contextmanager
    def together(self, *, lasts: bool = True) -> Iterator[None]:
        """Make all that the block writes one transaction: all of it stays, or nothing when the block fails.

        Where it `lasts`, a power cut takes nothing of it back.
        """
        with self._write(lasts=lasts) as connection:
            before, self._open = self._open, connection
            try:
                yield
            finally:
                self._open = before

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Have all that this thread reads in the block be of one moment, and of one connection: what it shows fits.

        What is written meanwhile, by this thread as well, is seen after it.
        """
        with ExitStack() as stack:
            with mapped(self._engine.url):
                connection = stack.enter_context(self._engine.connect())
            before, self._looks.connection = getattr(self._looks, "connection", None), connection
            try:
                yield
            finally:
                self._looks.connection = before

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        """Give a connection that reads; all that is made from what it gives is made inside of the block."""
        place = self._engine.url.render_as_string(hide_password=True)
        known = self._open if self._open is not None else getattr(self._looks, "connection", None)
        if known is not None:
            with mapped(self._engine.url), sound(place):
                yield known
            return
        with mapped(self._engine.url), sound(place), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _write(self, *, lasts: bool = False, fenced: bool = True) -> Iterator[Connection]:
        """Give a transaction that writes; `lasts` where somebody is told that it was done.

        One that isn't `fenced` may be of a leader that is none any more: it must touch nothing of anybody else.

        Raises:
            LeaseLostError: another controller leads by now.
        """
        if self._open is not None:
            yield self._open
            return
        with mapped(self._engine.url), writing(self._engine, lasts=lasts) as connection:
            if fenced and self._generation is not None:
                self._check_lease(connection)
            yield connection

    def _check_lease(self, connection: Connection) -> None:
        """Look who leads; nobody else can begin to while the transaction lasts."""
        if connection.scalar(select(LEASE.c.generation).with_for_update(read=True)) != self._generation:
            raise LeaseLostError("another controller leads by now; this one changes nothing any more")

    def _past(self, value: float | None) -> datetime | None:
        """Read a time that was the present when it was written: one that lies ahead counts as now (`Moments`)."""
        read = moment(value)
        return None if read is None else min(read, self._clock())


def seconds(moment: datetime) -> float:
    """Write a time as the tables hold it."""
    return moment.timestamp()


def moment(value: float | None) -> datetime | None:
    """Read a time from the tables."""
    return None if value is None else datetime.fromtimestamp(value, UTC)
