"""The lock: one command at a time changes the fleet.

It names its holder. One whose process is gone, on this machine and since this boot, is taken over; so is one that an
earlier leader took (`storage.lease`), wherever that ran. Any other must be taken away by its id, by a person who knows
that the holder is gone.
"""

from __future__ import annotations

import getpass
import os
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from reconciler.errors import LockHeldError, StateError
from reconciler.model.client import MAX_EPOCH
from reconciler.storage.base import Part, moment, seconds
from reconciler.storage.tables import IDENTITY, LEASE, LOCK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection
    from sqlalchemy.engine import Row


class Locks(Part):
    """The lock of the state."""

    @contextmanager
    def lock(self, command: str) -> Iterator[str]:
        """Hold the lock for the time of the block; gives its id.

        Raises:
            LockHeldError: another run holds it.
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
        }
        with self._write() as connection:
            held = connection.execute(select(LOCK)).first()
            if held is not None:
                if not is_over(connection, held):
                    raise LockHeldError(
                        f"the state is locked by {held.who} since {moment(held.since):%Y-%m-%d %H:%M:%S} UTC "
                        f"for `updoser {held.command}`",
                        hint=f"wait for it; if it is gone for sure: updoser unlock {held.lock_id}",
                    )
                if not is_gone(held.holder):  # a leader that may wake up again: clients refuse it from now on
                    later = IDENTITY.update().where(IDENTITY.c.epoch < MAX_EPOCH)
                    connection.execute(later.values(epoch=IDENTITY.c.epoch + 1))
                connection.execute(LOCK.delete())
            connection.execute(LOCK.insert().values(**row))
        try:
            yield lock_id
        finally:
            with self._write(fenced=False) as connection:
                connection.execute(LOCK.delete().where(LOCK.c.lock_id == lock_id))

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
            held = connection.execute(select(LOCK).where(LOCK.c.lock_id == lock_id)).first()
            if held is not None and is_alive(held.holder) and not force:
                raise LockHeldError(
                    f"the run that holds {lock_id} is alive: `updoser {held.command}` of {held.who}",
                    hint="wait for it, or end it; with --force two runs may change the same clients at once",
                )
            if not connection.execute(LOCK.delete().where(LOCK.c.lock_id == lock_id)).rowcount:
                held = connection.execute(select(LOCK)).first()
                hint = f"the lock that is held is {held.lock_id}" if held else "nothing is locked"
                raise StateError(f"there is no lock {lock_id}", hint=hint)


def is_over(connection: Connection, held: Row[Any]) -> bool:
    """Say whether who holds a lock is gone, or was a leader and isn't any more."""
    if is_gone(held.holder):
        return True
    return held.generation is not None and held.generation < (connection.scalar(select(LEASE.c.generation)) or 0)


def holder_text() -> str:
    """Name this process for people."""
    return f"{_user()}@{socket.gethostname()} (process {os.getpid()})"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def holder_name(pid: int) -> str:
    """Name a process so that no other ever has its name: by machine, boot, PID namespace, number and when it began."""
    return f"{_machine()} {pid} {_started(pid)}"


def _machine() -> str:
    """Name the machine; a container beside this one has a host name of its own only where somebody gave it one."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{socket.gethostname()} -"


def _started(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return "-"


def is_alive(holder: str) -> bool:
    """Say whether the process that a lock names is seen to run here."""
    machine, pid, started = holder.rsplit(" ", 2)
    return machine == _machine() and started != "-" and pid.isdigit() and holder_name(int(pid)) == holder


def is_gone(holder: str) -> bool:
    """Say whether the process that a lock names has ended, as far as that can be known from here."""
    machine, pid, _started_at = holder.rsplit(" ", 2)
    if machine != _machine() or machine.endswith(" -") or not pid.isdigit():
        return False
    return not _is_hidden(int(pid)) and holder_name(int(pid)) != holder


def _is_hidden(pid: int) -> bool:
    """Say whether a process runs that isn't shown, as those of others where services see their own only."""
    if _started(pid) != "-":
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # it is there, and somebody else's
    return True
