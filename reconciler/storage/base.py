"""What the parts of the state share: reading and writing with errors mapped, and times as the tables hold them.

A transaction that breaks off because the server was lost or had to choose between two is done again: each public method
of a part as a whole (`Part.__init_subclass__`), and several together by `Part.whole`. What broke off while it was being
committed isn't: nobody knows whether it was.
"""

from __future__ import annotations

import inspect
import os
import random
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import cached_property, wraps
from threading import local
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from sqlalchemy import select

from reconciler.errors import LeaseLostError, LockLostError, StateError
from reconciler.storage import postgres
from reconciler.storage.cells import sound
from reconciler.storage.database import connected, mapped, of_one_moment, writing
from reconciler.storage.tables import LEASE, LOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection, Engine

T = TypeVar("T")
PAUSES = (0.05, 0.2, 0.8)
"""Seconds before a transaction is done again, for each time; half of it by chance, as two may have met."""


class Held(NamedTuple):
    """The lock that a state holds: its id, and the number that only grows with each."""

    lock_id: str
    fence: int


class Part:
    """A part of the state; all parts share one engine.

    `repeatable` names methods that leave the same, done once or twice: they are done again as well where a server was
    lost while it committed, and nobody knows whether it did.
    """

    repeatable: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls) -> None:
        """Have each public method done again where a server lost it: it is one transaction, or reads."""
        super().__init_subclass__()
        for name, method in list(vars(cls).items()):
            if inspect.isfunction(method) and not name.startswith("_") and not _is_lazy(method):
                setattr(cls, name, _done_again(method, repeatable=name in cls.repeatable))

    def __init__(self, engine: Engine, clock: Callable[[], datetime]) -> None:
        """Take an open engine."""
        self._engine = engine
        self._clock = clock
        self._open: Connection | None = None
        self._looks = local()
        self._generation: int | None = None
        self._held: Held | None = None
        self._commits = 0
        self._name = os.urandom(6).hex()

    def fence(self, generation: int) -> None:
        """Write only as long as the lease is of this generation: all else raises LeaseLostError."""
        self._generation = generation

    @contextmanager
    def together(self, *, lasts: bool = True) -> Iterator[None]:
        """Make all that the block writes one transaction: all of it stays, or nothing when the block fails.

        Where it `lasts`, a power cut takes nothing of it back. A block can't be done again, see `whole`.
        """
        with self._write(lasts=lasts) as connection:
            before, self._open = self._open, connection
            try:
                yield
            finally:
                self._open = before

    def whole(self, do: Callable[[], T], *, lasts: bool = True, repeatable: bool = False) -> T:
        """Make all that `do` writes one transaction, as `together` does; gives what it gives.

        It may be called several times: what it does beside writing has to bear that. Where it is `repeatable`, what it
        writes does, too.
        """

        def once() -> T:
            with self.together(lasts=lasts):
                return do()

        return self._again(once, repeatable=repeatable)

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Have all that this thread reads in the block be of one moment, and of one connection: what it shows fits.

        What is written meanwhile, by this thread as well, is seen after it.
        """
        with ExitStack() as stack:
            with mapped(self._engine.url):
                connection = of_one_moment(stack.enter_context(connected(self._engine)))
            before, self._looks.connection = getattr(self._looks, "connection", None), connection
            try:
                yield
            finally:
                self._looks.connection = before

    @cached_property
    def _place(self) -> str:
        """Where the state is, for messages."""
        return self._engine.url.render_as_string(hide_password=True)

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        """Give a connection that reads; all that is made from what it gives is made inside of the block."""
        known = self._open if self._open is not None else getattr(self._looks, "connection", None)
        if known is not None:
            with mapped(self._engine.url), sound(self._place):
                yield known
            return
        with mapped(self._engine.url), sound(self._place), connected(self._engine) as connection:
            yield connection

    @contextmanager
    def _write(self, *, lasts: bool = False, fenced: bool = True) -> Iterator[Connection]:
        """Give a transaction that writes; `lasts` where somebody is told that it was done.

        One that isn't `fenced` may be of a run or leader that is none any more: it must touch nothing of anybody else.

        Raises:
            LockLostError: the lock of this run was taken away.
            LeaseLostError: another controller leads by now.
        """
        if self._open is not None:
            yield self._open
            return
        with mapped(self._engine.url), writing(self._engine, lasts=lasts) as connection:
            if fenced:
                self._check_right(connection)
            yield connection
        self._commits += 1

    def _announce(self, connection: Connection) -> None:
        """Let all who wait for what people do hear it, once it is written (`Changes.await_news`)."""
        postgres.announce(connection, self._name)

    def _check_right(self, connection: Connection) -> None:
        """Look whether what gave the right to write is there still; nobody takes it away while the transaction lasts.

        Who takes it away waits for such a transaction, who beats doesn't: hence the key of the row.
        """
        if self._held is not None:
            mine = connection.scalar(select(LOCK.c.lock_id).with_for_update(read=True, key_share=True))
            if mine != self._held.lock_id:
                raise LockLostError(
                    "the lock of this run was taken away; it changes nothing any more",
                    hint="somebody unlocked it, or it gave no sign of life for so long that another run followed",
                )
        if self._generation is not None:
            leads = connection.scalar(select(LEASE.c.generation).with_for_update(read=True, key_share=True))
            if leads != self._generation:
                raise LeaseLostError("another controller leads by now; this one changes nothing any more")

    def _again(self, do: Callable[[], T], *, repeatable: bool = False) -> T:
        """Do something, and once more where a server lost it before anything of it was written, or it bears that."""
        if self._open is not None or getattr(self._looks, "connection", None) or getattr(self._looks, "again", False):
            return do()  # it is part of something that is done again as a whole
        self._looks.again = True
        try:
            for pause in PAUSES:
                commits = self._commits
                try:
                    return do()
                except StateError as error:
                    again = error.passing or (repeatable and error.in_doubt)
                    if not again or commits != self._commits:
                        raise
                time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - spreads those that met
            return do()
        finally:
            self._looks.again = False

    def _past(self, value: float | None) -> datetime | None:
        """Read a time that was the present when it was written: one that lies ahead counts as now (`Moments`)."""
        read = moment(value)
        return None if read is None else min(read, self._clock())


def _is_lazy(method: Any) -> bool:
    """Say whether a function gives what goes on after it returned: an iterator, or a context manager."""
    return inspect.isgeneratorfunction(inspect.unwrap(method))


def _done_again(method: Callable[..., T], *, repeatable: bool) -> Callable[..., T]:
    @wraps(method)
    def call(self: Part, *given: Any, **named: Any) -> T:
        return self._again(lambda: method(self, *given, **named), repeatable=repeatable)

    return call


def seconds(moment: datetime) -> float:
    """Write a time as the tables hold it."""
    return moment.timestamp()


def moment(value: float | None) -> datetime | None:
    """Read a time from the tables."""
    return None if value is None else datetime.fromtimestamp(value, UTC)
