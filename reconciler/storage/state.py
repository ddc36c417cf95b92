"""The state: a cache with a memory, in SQLite or PostgreSQL.

What clients, store and sources can tell is observed again when it is lost. What only the state knows is who it is to
the clients (lineage and epoch), how far rollouts are, which plans were made, and what runs did.

All methods are called from one thread. Each that writes is one transaction, unless a block of `together` makes several
of them one; each that fails raises StateError.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import func, select

from reconciler.model.controller import ControllerStatus
from reconciler.model.request import OPEN
from reconciler.storage.audit import Audit
from reconciler.storage.batches import Batches
from reconciler.storage.blocks import Blocks
from reconciler.storage.cells import checked, sound
from reconciler.storage.changes import Changes
from reconciler.storage.controller import ControllerRecords, read_progress, read_report
from reconciler.storage.database import open_engine, open_shared_engine, upsert
from reconciler.storage.full import FullRecords
from reconciler.storage.holding import is_over
from reconciler.storage.lease import Leases
from reconciler.storage.lock import Locks
from reconciler.storage.logbook import Logbook
from reconciler.storage.memory import Memories
from reconciler.storage.moments import Moments
from reconciler.storage.moved import check_usable
from reconciler.storage.observations import Observation
from reconciler.storage.outbox import Outbox
from reconciler.storage.outcomes import Outcomes
from reconciler.storage.postgres import unverified
from reconciler.storage.protection import Protections
from reconciler.storage.relays import RelayMemory
from reconciler.storage.requests import Requests
from reconciler.storage.runs import PlanRecord, Runs
from reconciler.storage.samples import Samples
from reconciler.storage.sessions import Sessions
from reconciler.storage.shelf import Shelf
from reconciler.storage.tables import CONTROLLER, IDENTITY, LEASE, REQUESTS
from reconciler.storage.upstream import Upstream
from reconciler.storage.working import Working

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from types import TracebackType
    from typing import Self

    from sqlalchemy import Engine

    from reconciler.model.controller import RunProgress

__all__ = ["Identity", "Observation", "PlanRecord", "Standing", "State"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this state is to clients. `serial` counts applies; `frozen`: adopted, and not confirmed yet."""

    lineage: str
    epoch: int
    serial: int
    frozen: bool


class Standing(NamedTuple):
    """What goes on now: the controller (None: there never was one), the run under way, and how many requests wait."""

    controller: ControllerStatus | None
    progress: RunProgress | None
    waiting: int


_STANDING = select(
    *(
        wanted.scalar_subquery().label(name)
        for name, wanted in {
            "report": select(CONTROLLER.c.report),
            "pause": select(CONTROLLER.c.pause),
            "progress": select(CONTROLLER.c.progress),
            "holder": select(LEASE.c.holder),
            "beat_at": select(LEASE.c.beat_at),
            "waiting": select(func.count()).select_from(REQUESTS).where(REQUESTS.c.status.in_(OPEN)),
        }.items()
    )
)


class State(
    FullRecords,
    Blocks,
    Outcomes,
    Working,
    Batches,
    Upstream,
    Runs,
    Logbook,
    Moments,
    Locks,
    Leases,
    ControllerRecords,
    Outbox,
    Requests,
    Sessions,
    Samples,
    Audit,
    Protections,
    RelayMemory,
    Changes,
    Shelf,
    Memories,
):
    """Everything that is remembered between two commands; a context manager."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime], *, shared: bool = False) -> None:
        """Take an open engine; a state that has no identity yet gets one, unless it is another process's (`shared`)."""
        super().__init__(engine, clock)
        with self._read() as connection:
            check_usable(connection, engine.url.render_as_string(hide_password=True))
        if shared:
            return
        row = {"id": 1, "lineage": os.urandom(16).hex(), "epoch": 1, "serial": 0, "frozen": False, "used": False}
        with self._read() as connection:
            known = connection.scalar(select(IDENTITY.c.id))
        if known is None:
            with self._write(lasts=True) as connection:
                upsert(connection, IDENTITY, [row], ())

    @classmethod
    def open(cls, url: str, *, clock: Callable[[], datetime], password: str | None = None) -> Self:
        """Open the state at an SQLAlchemy URL; it is made when it isn't there.

        Raises:
            StateError: it can't be opened, is no state, or was written by a later version of updoser.
        """
        engine = open_engine(url, password)
        try:
            return cls(engine, clock)
        except BaseException:
            engine.dispose()
            raise

    @classmethod
    def open_shared(cls, url: str, *, clock: Callable[[], datetime], password: str | None = None) -> Self:
        """Open a state of another process to show it: of all tables, only `database.SHARED` are written.

        It may be used by several threads.

        Raises:
            StateError: it isn't there, can't be opened, or was written by another version of updoser.
        """
        engine = open_shared_engine(url, password)
        try:
            return cls(engine, clock, shared=True)
        except BaseException:
            engine.dispose()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections to the database."""
        self._end_watch()
        self._engine.dispose()

    def identity(self) -> Identity:
        """Give who this state is to clients."""
        with self._read() as connection:
            row = connection.execute(select(IDENTITY)).one()
            return checked(Identity(row.lineage, row.epoch, row.serial, row.frozen))

    def settings_key(self) -> bytes:
        """Give the key of the fingerprints of settings; it is made when it is first asked for."""
        made = os.urandom(32).hex()
        with self._write(lasts=True) as connection:
            connection.execute(IDENTITY.update().where(IDENTITY.c.settings_key == "").values(settings_key=made))
            with sound(self._engine.url.render_as_string(hide_password=True)):
                return bytes.fromhex(connection.scalar(select(IDENTITY.c.settings_key)) or made)

    def standing(self) -> Standing:
        """Give what goes on now. Each page says it, so it is one statement."""
        with self._read() as connection:
            row = connection.execute(_STANDING).one()
            said, progress = read_report(row.report), read_progress(row.progress)
            alive = bool(row.holder) and not is_over(connection, row.holder, row.beat_at)
            pause = self._pause_now(row.pause)
        if said is None:
            return Standing(None, progress, row.waiting)
        status = ControllerStatus(report=said, alive=alive, pause=pause, waiting=row.waiting)
        return Standing(status, progress, row.waiting)

    def controller_status(self) -> ControllerStatus | None:
        """Give what is known of the controller; None where there never was one."""
        return self.standing().controller

    def unverified(self) -> str:
        """Say what is wrong with the way to the database; empty where nobody else can pass for it."""
        return unverified(self._engine.url)

    def is_new(self) -> bool:
        """Say whether nothing was ever applied or adopted with this state."""
        with self._read() as connection:
            return not connection.scalar(select(IDENTITY.c.used))

    def adopt(self, lineage: str, epoch: int) -> None:
        """Take over the clients of a controller that is gone; frozen until `confirm_adopted`."""
        with self._write(lasts=True) as connection:
            connection.execute(IDENTITY.update().values(lineage=lineage, epoch=epoch, frozen=True, used=True))

    def confirm_adopted(self) -> None:
        """Let upgrades go to clients that were taken over."""
        with self._write(lasts=True) as connection:
            connection.execute(IDENTITY.update().values(frozen=False))

    def raise_serial(self) -> int:
        """Count an apply that starts; gives the new serial."""
        with self._write(lasts=True) as connection:
            connection.execute(IDENTITY.update().values(serial=IDENTITY.c.serial + 1, used=True))
            return int(connection.scalar(select(IDENTITY.c.serial)) or 0)
