"""Ctrl-C: the first asks the run to end cleanly, the second leaves it where it stands."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager, suppress
from threading import Event
from typing import TYPE_CHECKING

from reconciler.errors import InterruptedRunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stop_on_signals(tell: Callable[[str], None]) -> Iterator[Event]:
    """Give an event that SIGINT, SIGTERM or SIGHUP sets, for the time of the block.

    On the second signal the process ends at once with 130. Nothing is lost by that: stores and states are written
    atomically, the lock of a process that is gone is taken over, and clients finish or undo on their own.
    """
    stop = Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            with suppress(OSError):  # the terminal may be gone
                os.write(2, b"left where it stands; the next apply goes on from there\n")
            os._exit(InterruptedRunError.exit_code)
        stop.set()
        tell("interrupted: no new work begins, clients under way are finished; once more to leave at once")

    heard = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]  # as under nohup
    before = {number: signal.signal(number, handle) for number in heard}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
