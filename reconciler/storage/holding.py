"""Who holds something that one at a time may hold, as the lock and the lease: its name, its beat, and when it is over.

* A holder is a process. On this machine and since this boot it is seen whether it lives.
* A holder beats. One that is elsewhere, in another PID namespace or stopped is dead once its beat is older than
  `PATIENCE`. Ages of beats are told by one clock: that of the database, where it is a server; for a file, which
  processes of one machine share, the one that counts since the machine started, and no one sets.
* Whoever takes over raises a number that only grows (generation, fence); each transaction of a holder compares first,
  so one that is taken for dead and wakes up writes nothing any more.
"""

from __future__ import annotations

import getpass
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text

from reconciler.errors import RefusedError, UpdoserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from sqlalchemy import Connection

BEAT = 5.0
"""Seconds between two beats."""
PATIENCE = 45.0
"""Seconds after which a holder whose beat doesn't change is taken for dead: a transaction of another command may keep
it from writing for 30."""
NOW = text("SELECT CAST(extract(epoch FROM clock_timestamp()) AS double precision)")


def now_of(connection: Connection) -> float:
    """Read the clock by which ages of beats are told, in seconds."""
    if connection.dialect.name == "postgresql":
        return float(connection.scalar(NOW) or 0.0)
    return time.monotonic()


def is_over(connection: Connection, holder: str, beat_at: float | None) -> bool:
    """Say whether a holder is dead, as far as that can be known; None: it was never heard to beat.

    One that is seen to run here isn't, whatever keeps it from writing.
    """
    if is_gone(holder):
        return True
    if beat_at is None or (is_alive(holder) and not _is_stopped(holder)):
        return False
    if connection.dialect.name != "postgresql" and _boot(holder) != _boot(holder_name(os.getpid())):
        return True  # a file is in use on one machine, and this machine has started anew since
    return now_of(connection) - beat_at > PATIENCE


def keep_beating(beat: Callable[[], None], ended: Event) -> bool:
    """Beat until the end; gives whether that could be kept up. Who can't write for long may have been followed."""
    kept = time.monotonic()
    while not ended.wait(BEAT):
        try:
            beat()
            kept = time.monotonic()
        except RefusedError:
            return False
        except UpdoserError:
            if time.monotonic() - kept > PATIENCE - BEAT:
                return False
    return True


# --- names of processes -----------------------------------------------------------------------------------------------


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


def _is_stopped(holder: str) -> bool:
    """Say whether a process of this machine is suspended: it writes nothing as long as nobody wakes it up."""
    pid = holder.rsplit(" ", 2)[1]
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state in {"T", "t"}


def _boot(holder: str) -> str:
    """Give which boot of which machine a holder is of: containers beside each other share it, whatever their names."""
    words = holder.rsplit(" ", 2)[0].split(" ")
    return words[1] if len(words) > 1 else "-"
