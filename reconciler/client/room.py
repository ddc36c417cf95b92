"""How many clients this machine can work on at once: what its limit on open files leaves room for.

A process may raise its soft limit up to the hard one, so that comes first. What is left is counted before any work
begins: a descriptor that is missing in the middle of it would look like trouble of a client.
"""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from reconciler.contracts import Crew, Executor, Hands

PER_CLIENT = 12
"""Descriptors that work on one client takes at its worst: a program with its pipes, or two addresses tried at once."""
SPARE = 64
"""Descriptors for all else: the state, the store, sources, an inventory."""
WANTED = 16 * 1024
"""Descriptors that are asked for: more than the most forks can use."""
_OPEN = Path("/proc/self/fd")


class Room:
    """The descriptors that this process may still open, counted once."""

    def __init__(self) -> None:
        """Raise the limit as far as it is needed and may be, and count."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
        if resource.RLIM_INFINITY != soft < wanted:
            with suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
                soft = wanted
        self.limit = WANTED if soft == resource.RLIM_INFINITY else soft
        self.left = max(self.limit - _open() - SPARE, 0)

    def kept(self, most: int) -> int:
        """Give how many connections may be kept open beside the work: a quarter of the room at most."""
        return min(most, self.left // 4)

    def forks(self, kept: int) -> int:
        """Give how many clients may be worked on at once while so many connections are kept."""
        return max((self.left - kept) // PER_CLIENT, 1)


def _open() -> int:
    try:
        return sum(1 for _entry in _OPEN.iterdir())
    except OSError:  # no /proc here
        return SPARE


class Bounded:
    """An `Executor` that works on no more clients at once than this machine has room for, and says so."""

    def __init__(self, executor: Executor, most: int, tell: Callable[[int], None]) -> None:
        """Take the executor that does it; `tell` is called with the forks that were asked for, once."""
        self._executor = executor
        self._most = most
        self._tell: Callable[[int], None] | None = tell

    def open(self, hands: Hands, forks: int) -> AbstractContextManager[Crew]:
        """Have workers ready; see `contracts.Executor`."""
        if forks > self._most and self._tell is not None:
            tell, self._tell = self._tell, None
            tell(forks)
        return self._executor.open(hands, min(forks, self._most))
