"""The lock: one command at a time changes the fleet.

It names its holder. One whose process is gone, on this machine and since this boot, is taken over; any other must be
taken away by its id, by a person who knows that the holder is gone.
"""

from __future__ import annotations

import getpass
import os
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from reconciler.errors import LockHeldError, StateError
from reconciler.storage.base import Part, moment, seconds
from reconciler.storage.tables import LOCK

if TYPE_CHECKING:
    from collections.abc import Iterator


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
            "who": f"{_user()}@{socket.gethostname()} (process {os.getpid()})",
            "holder": _holder(os.getpid()),
            "command": command,
            "since": seconds(self._clock()),
        }
        with self._write() as connection:
            held = connection.execute(select(LOCK)).first()
            if held is not None:
                if not is_gone(held.holder):
                    raise LockHeldError(
                        f"the state is locked by {held.who} since {moment(held.since):%Y-%m-%d %H:%M:%S} UTC "
                        f"for `updoser {held.command}`",
                        hint=f"wait for it; if it is gone for sure: updoser unlock {held.lock_id}",
                    )
                connection.execute(LOCK.delete())
            connection.execute(LOCK.insert().values(**row))
        try:
            yield lock_id
        finally:
            with self._write() as connection:
                connection.execute(LOCK.delete().where(LOCK.c.lock_id == lock_id))

    def busy(self) -> str:
        """Say who changes the fleet now, with which command; empty where nobody does, as far as can be known."""
        with self._read() as connection:
            held = connection.execute(select(LOCK)).first()
        return "" if held is None or is_gone(held.holder) else f"`updoser {held.command}` of {held.who}"

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


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _holder(pid: int) -> str:
    """Name a process so that no other ever has its name: machine, boot, process and when that started."""
    return f"{_machine()} {pid} {_started(pid)}"


def _machine() -> str:
    try:
        return f"{socket.gethostname()} {Path('/proc/sys/kernel/random/boot_id').read_text(encoding='ascii').strip()}"
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
    return machine == _machine() and started != "-" and pid.isdigit() and _holder(int(pid)) == holder


def is_gone(holder: str) -> bool:
    """Say whether the process that a lock names has ended, as far as that can be known from here."""
    machine, pid, _started_at = holder.rsplit(" ", 2)
    if machine != _machine() or machine.endswith(" -") or not pid.isdigit():
        return False
    return _holder(int(pid)) != holder
