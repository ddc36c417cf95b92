"""The lease: of all the controllers that share a state, one leads.

Who leads beats, as who holds the lock does (`storage.holding`); who waits takes over once the beat is too old, once it
watched the same beat for `PATIENCE` by its own watch, or where the leader is seen to be gone. Each taking over raises
the generation, and a leader of an earlier one writes nothing any more, however late it wakes up: each of its
transactions compares first (`fence`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from reconciler.errors import LeaseLostError
from reconciler.storage.base import Part
from reconciler.storage.cells import checked
from reconciler.storage.database import upsert
from reconciler.storage.holding import BEAT, PATIENCE, holder_name, holder_text, is_over, now_of
from reconciler.storage.moved import check_usable
from reconciler.storage.tables import LEASE

if TYPE_CHECKING:
    from sqlalchemy import Connection, Select

__all__ = ["BEAT", "PATIENCE", "Lease", "Leases"]


@dataclass(frozen=True, slots=True)
class Lease:
    """Who leads: `holder` as locks name it, `who` for people; empty where the lease was given back."""

    generation: int
    beat: int
    holder: str
    who: str


class Leases(Part):
    """The lease of the state."""

    def lease(self) -> Lease:
        """Give who leads; generation 0 where nobody ever did."""
        with self._read() as connection:
            return checked(_lease(connection, select(LEASE)))

    def has_leader(self) -> bool:
        """Say whether somebody leads, as far as can be known from here."""
        with self._read() as connection:
            return leads(connection)

    def take_lease(self, watched: Lease | None = None) -> Lease | None:
        """Lead from now on; None while somebody else does. What was `watched` for long enough counts as dead.

        Raises:
            StateError: the state can't be written.
        """
        holder = holder_name(os.getpid())
        who = holder_text()
        with self._write(lasts=True, fenced=False) as connection:
            upsert(connection, LEASE, [_NOBODY], ())  # so that there is a row to lock
            check_usable(connection, self._engine.url.render_as_string(hide_password=True))
            held = _lease(connection, select(LEASE).with_for_update())
            if held != watched and leads(connection):
                return None
            taken = Lease(held.generation + 1, 0, holder, who)
            row = {"id": 1, "generation": taken.generation, "beat": 0, "holder": holder, "who": who}
            connection.execute(LEASE.update().values({**row, "beat_at": now_of(connection)}))
        return taken

    def beat(self, generation: int) -> None:
        """Show that the leader is alive.

        Raises:
            LeaseLostError: another one leads.
        """
        with self._write() as connection:
            mine = LEASE.update().where(LEASE.c.generation == generation)
            if not connection.execute(mine.values(beat=LEASE.c.beat + 1, beat_at=now_of(connection))).rowcount:
                raise LeaseLostError("another controller leads by now")

    def give_back_lease(self, generation: int) -> None:
        """Let another one lead at once; nothing happens where one does."""
        mine = LEASE.update().where(LEASE.c.generation == generation).values(holder="", who="")
        with self._write(lasts=True, fenced=False) as connection:
            connection.execute(mine)


_NOBODY = {"id": 1, "generation": 0, "beat": 0, "holder": "", "who": ""}


def leads(connection: Connection) -> bool:
    """Say whether somebody leads, as far as can be known."""
    row = connection.execute(select(LEASE)).first()
    return row is not None and bool(row.holder) and not is_over(connection, row.holder, row.beat_at)


def _lease(connection: Connection, wanted: Select[Any]) -> Lease:
    row = connection.execute(wanted).first()
    return Lease(0, 0, "", "") if row is None else Lease(row.generation, row.beat, row.holder, row.who)
