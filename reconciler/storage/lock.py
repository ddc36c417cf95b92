"""The lock: one command at a time changes the fleet.

It names its holder, which beats (`storage.holding`). One that is dead is taken over; so is one that an earlier leader
took (`storage.lease`), wherever that ran. Any other must be taken away by its id, by a person who knows that the holder
is gone.

Each taking and each taking away raises the fence, and each transaction of a run compares whether the lock is its own
first: a run that lost it writes nothing any more, however late it wakes up. Its clients refuse it, too: where it may
live still, the epoch is raised.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from reconciler.errors import LockHeldError, LockLostError, StateError, UpdoserError
from reconciler.model.client import MAX_EPOCH
from reconciler.storage.base import Held, Part, moment, seconds
from reconciler.storage.database import inserting, mapped, writing
from reconciler.storage.holding import PATIENCE, holder_name, holder_text, is_alive, is_gone, keep_beating, now_of
from reconciler.storage.holding import is_over as is_dead
from reconciler.storage.moved import check_usable
from reconciler.storage.tables import IDENTITY, LEASE, LOCK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection
    from sqlalchemy.engine import Row

_TRIES = 5
"""How often a lock is tried to take that is given back just then."""


class Locks(Part):
    """The lock of the state."""

    @contextmanager
    def lock(self, command: str) -> Iterator[str]:
        """Hold the lock for the time of the block; gives its id.

        All that this object writes within the block is written only as long as the lock is its own.

        Raises:
            LockHeldError: another run holds it.
            LockLostError: it was taken away; by what is written in the block.
        """
        held = self._again(lambda: self._take(command))
        self._held = held
        ended = Event()
        thread = Thread(target=keep_beating, args=(lambda: self._beat(held), ended), name="lock", daemon=True)
        if self._is_shared():
            thread.start()
        done = False
        try:
            yield held.lock_id
            done = True
        finally:
            ended.set()
            if thread.ident is not None:
                thread.join(PATIENCE)
            self._held = None
            with suppress(*(() if done else (UpdoserError,))):  # what ended the run is what is told
                self._again(lambda: self._give_back(held))

    @property
    def held_fence(self) -> int:
        """The fence of the lock that is held; 0: none is."""
        return self._held.fence if self._held else 0

    def _take(self, command: str) -> Held:
        for _try in range(_TRIES):
            with self._write(lasts=True) as connection:
                taken = self._try_to_take(connection, command)
                if taken is not None:
                    return taken
        raise LockHeldError("several runs begin at once, and this one came to nothing", hint="try again")

    def _try_to_take(self, connection: Connection, command: str) -> Held | None:
        """Take the lock; None where it was given back just now.

        Raises:
            LockHeldError: somebody holds it.
        """
        lock_id = os.urandom(6).hex()
        row = {
            "id": 1,
            "lock_id": lock_id,
            "who": holder_text(),
            "holder": holder_name(os.getpid()),
            "command": command,
            "since": seconds(self._clock()),
            "generation": self._generation,
            "beat": 0,
            "beat_at": now_of(connection),
            "fence": 0,
        }
        connection.execute(inserting(connection, LOCK).values(row).on_conflict_do_nothing())
        held = connection.execute(select(LOCK).with_for_update()).first()
        check_usable(connection, self._engine.url.render_as_string(hide_password=True))
        if held is None:
            return None
        if held.lock_id != lock_id:
            if not is_over(connection, held):
                raise LockHeldError(
                    f"the state is locked by {held.who} since {moment(held.since):%Y-%m-%d %H:%M:%S} UTC "
                    f"for `updoser {held.command}`",
                    hint=f"wait for it: {PATIENCE:.0f} s after its last sign of life another run may begin; "
                    f"if it is gone for sure: updoser unlock {held.lock_id}",
                )
            _shut_out(connection, held)
            connection.execute(LOCK.update().values(row))
        fence = _raise_fence(connection)
        connection.execute(LOCK.update().values(fence=fence))
        return Held(lock_id, fence)

    def _beat(self, held: Held) -> None:
        """Show that the run is alive; by a thread of its own, with a connection of its own."""
        with mapped(self._engine.url), writing(self._engine) as connection:
            mine = LOCK.update().where(LOCK.c.lock_id == held.lock_id)
            if not connection.execute(mine.values(beat=LOCK.c.beat + 1, beat_at=now_of(connection))).rowcount:
                raise LockLostError("the lock of this run was taken away")

    def _is_shared(self) -> bool:
        """Say whether others can see the state: one in memory is of this process, and of one connection."""
        return self._engine.dialect.name != "sqlite" or self._engine.url.database not in {None, "", ":memory:"}

    def _give_back(self, held: Held) -> None:
        with self._write(fenced=False) as connection:
            connection.execute(LOCK.delete().where(LOCK.c.lock_id == held.lock_id))

    def busy(self) -> str:
        """Say who changes the fleet now, with which command; empty where nobody does, as far as can be known."""
        with self._read() as connection:
            held = connection.execute(select(LOCK)).first()
            over = held is None or is_over(connection, held)
        return "" if held is None or over else f"`updoser {held.command}` of {held.who}"

    def unlock(self, lock_id: str, *, force: bool = False) -> None:
        """Take a lock away; that of a run that is known to live only with `force`.

        Raises:
            StateError: no lock has this id.
            LockHeldError: its run is alive.
        """
        with self._write(lasts=True) as connection:
            held = connection.execute(select(LOCK).with_for_update()).first()
            if held is None or held.lock_id != lock_id:
                hint = f"the lock that is held is {held.lock_id}" if held else "nothing is locked"
                raise StateError(f"there is no lock {lock_id}", hint=hint)
            if is_alive(held.holder) and not force:
                raise LockHeldError(
                    f"the run that holds {lock_id} is alive: `updoser {held.command}` of {held.who}",
                    hint="wait for it, or end it; with --force it goes on until it is to write down what it did",
                )
            _shut_out(connection, held)
            _raise_fence(connection)
            connection.execute(LOCK.delete())
            self._announce(connection)


def is_over(connection: Connection, held: Row[Any]) -> bool:
    """Say whether who holds a lock is dead, or was a leader and isn't any more."""
    if is_dead(connection, held.holder, held.beat_at):
        return True
    return held.generation is not None and held.generation < (connection.scalar(select(LEASE.c.generation)) or 0)


def _shut_out(connection: Connection, held: Row[Any]) -> None:
    """Have clients refuse a run that may wake up again, from now on."""
    if not is_gone(held.holder):
        later = IDENTITY.update().where(IDENTITY.c.epoch < MAX_EPOCH)
        connection.execute(later.values(epoch=IDENTITY.c.epoch + 1))


def _raise_fence(connection: Connection) -> int:
    connection.execute(IDENTITY.update().values(fence=IDENTITY.c.fence + 1))
    return int(connection.scalar(select(IDENTITY.c.fence)) or 0)
