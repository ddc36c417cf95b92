"""What the manager of services is told: systemd's protocol of notifications, which podman speaks as well.

It is told by whoever does the work, and never by a thread that only tells: one would go on while the work hangs. All
that may take long asks again and again whether it is to stop, or it couldn't be stopped. So who asks is alive: `Asked`.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from threading import Event
from typing import TYPE_CHECKING

from reconciler.errors import printable

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping
    from typing import Self

_OFTEN = 4
"""Beats in the time after which the manager takes a service for hung."""
_SLICE = 1.0
"""Seconds that somebody waits for an event before he shows again that he is there."""


class ServiceManager:
    """Who started this process as a service, and wants to know how it is; where nobody did, nothing is told.

    It may be called from any thread. A manager that can't be told is none: the fleet is kept current all the same.
    """

    def __init__(self, address: str = "", watchdog: float = 0.0) -> None:
        """Tell the socket at `address`, a path or a name after `@`.

        Who gives no sign for `watchdog` seconds is taken for hung; 0: nobody is.
        """
        self._address = address.replace("@", "\0", 1) if address.startswith("@") else address
        self._pause = watchdog / _OFTEN
        self._beat_at = 0.0

    @classmethod
    def of(cls, environ: MutableMapping[str, str]) -> Self:
        """Take what the manager left in the environment; programs that this process runs aren't the service."""
        address = environ.pop("NOTIFY_SOCKET", "")
        span, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        mine = span.isdecimal() and pid in {"", str(os.getpid())}
        return cls(address if address.startswith(("/", "@")) else "", int(span) / 1e6 if mine else 0.0)

    def ready(self) -> None:
        """Say that it has begun, or has read again what it was told to."""
        self._tell("READY=1")

    def status(self, text: str) -> None:
        """Say in a sentence what it does."""
        self._tell(f"STATUS={printable(text)}")

    def reloading(self) -> None:
        """Say that it reads its file again; `ready` ends that."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Say that it ends, which takes as long as the clients under way do."""
        self._tell("STOPPING=1")

    def beat(self) -> None:
        """Say that it is alive, as often as the manager wants it."""
        now = time.monotonic()
        if self._pause and now - self._beat_at >= self._pause:
            self._beat_at = now
            self._tell("WATCHDOG=1")

    def _tell(self, text: str) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.settimeout(_SLICE)
            to.sendto(text.encode(errors="replace"), self._address)


class Asked(Event):
    """An event that tells each time that somebody asks for it or waits for it: who does isn't hung."""

    def __init__(self, tell: Callable[[], None]) -> None:
        """Tell by `tell`, from the thread that asks."""
        super().__init__()
        self._tell = tell

    def is_set(self) -> bool:
        """Say whether it is set."""
        self._tell()
        return super().is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, for so many seconds at most; say whether it is."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            self._tell()
            left = _SLICE if end is None else min(end - time.monotonic(), _SLICE)
            if super().wait(max(left, 0.0)):
                return True
            if end is not None and time.monotonic() >= end:
                return False
