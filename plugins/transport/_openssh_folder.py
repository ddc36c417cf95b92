"""The private folder of a run of this transport: ssh's configuration, the sockets of its connections and their logs.

* Only this user can look into it, and its path is short: a socket's path has a hundred bytes or so.
* It is locked for as long as the run lasts. A run that was killed leaves its folder; the next one removes what nobody
  holds any more.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import weakref
from contextlib import suppress
from itertools import count
from pathlib import Path

from reconciler.errors import TransportError, own_limit

_PREFIX = "updoser-ssh-"
_CONFIG = "config"
_LONGEST = 104 - 32
"""Bytes of a folder's path: behind it come a socket's name and what ssh hangs on that while it makes it."""
_PLACES = ("/tmp", "/var/tmp")  # noqa: S108 - what is made there is only this user's


class PrivateFolder:
    """A folder for one process."""

    def __init__(self, config: str) -> None:
        """Make it, with ssh's configuration in it.

        Raises:
            TransportError: there is no place for it.
            LimitError: this machine has no room for more.
        """
        self._numbers = count(1)
        self._owner = os.getpid()
        try:
            self.path, self._lock = _made()
            self.config = self.path / _CONFIG
            self.config.write_text(config, encoding="utf-8")
        except OSError as error:
            if own := own_limit(error):
                raise own from error
            raise TransportError(
                f"no folder for the sockets of ssh can be made: {error.strerror}",
                hint="set TMPDIR to a folder with a short path that may be written to",
                reason="other",
            ) from error
        self._finalizer = weakref.finalize(self, _remove, self.path, self._lock, self._owner)

    @property
    def usable(self) -> bool:
        """Whether it is this process's, and nobody took it away."""
        return self._owner == os.getpid() and self.config.exists()

    def place(self) -> Path:
        """Give a path for a new socket."""
        return self.path / f"{next(self._numbers):x}"


def _made() -> tuple[Path, int]:
    """Make a folder and lock it; who sweeps may have been quicker than the lock."""
    for _each in range(3):
        path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_place()))
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            _sweep(path)
            return path, lock
        os.close(lock)
    raise FileNotFoundError(None, "it is taken away again and again")


def _place() -> str:
    places = dict.fromkeys((tempfile.gettempdir(), *_PLACES))
    short = [place for place in places if len(os.fsencode(place)) + len(_PREFIX) + 9 <= _LONGEST]
    return next((place for place in short if os.access(place, os.W_OK | os.X_OK)), short[0])


def _sweep(own: Path) -> None:
    """Remove what runs that were killed have left; what another one holds can't be locked."""
    for path in own.parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            found = path.lstat()
            if path == own or not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                continue
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)


def _remove(path: Path, lock: int, owner: int) -> None:
    if os.getpid() == owner:  # a fork of it has the same object, and not the folder
        shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):
            os.close(lock)
