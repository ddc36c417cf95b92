"""How many clients more than `forks` may be under way: one that says nothing lends its place to another one.

* A client is silent when nothing was heard of it for longer than FAR times what is usual, and for FLOOR at least.
  Usual is the median of the longest silences of the last clients that came through what it is waited for (`Wait`, with
  changes by their releases): so a machine that is busy, or clients that are all slow alike, make none of them silent.
* As long as nothing usual is known, one that is reached or looked at is silent after FIRST, and one in the middle of a
  change never is.
* All in all there are at most `most` under way. Those in the middle of a change lend twice the `forks` with these, or a
  SHARE of the like changes that came through, where that is more: what holds up few among many holds up nobody else,
  and a release that makes clients hang gets no further than those.
* Who comes to its change when so many are changed waits for a place, such as when a network is there again, and all who
  were being reached are reached at once.
* Where this machine has no room for more, nothing is lent any more.

Time is read from a clock that is given, and by who asks: there is no thread here.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from math import inf
from statistics import median
from threading import Condition, Lock
from time import monotonic
from typing import TYPE_CHECKING

from reconciler.client.pulse import Pulse

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.client.pulse import Wait

LENDS = 16
"""Clients that may be under way in all for each fork, at most."""
FLOOR = 0.25
FAR = 3.0
FIRST = 2.0
"""Seconds; see above."""
FEW = 5
"""Clients that must have come through before what they took is usual."""
SHARE = 20
"""One of so many changes that came through may be in the middle of its change beyond `forks`."""
_LAST = 64
_REMEMBERED = 256
"""Waits of which is known what they take."""
_LOOK = 0.05
"""Seconds between two looks at who is silent."""
_PATIENCE = 0.2
"""Seconds after which one that waits for a place asks whether all is over."""


def lends_of(forks: int) -> int:
    """Say how many may be under way in all for each fork; who wants one after the other has just that."""
    return 1 if forks == 1 else LENDS


@dataclass(slots=True)
class _Known:
    """How many came through a wait, and the longest silences of the last ones."""

    through: int = 0
    longest: deque[float] = field(default_factory=lambda: deque(maxlen=_LAST))


class Usual:
    """What silences are usual, for as long as a worker lasts. Used by several threads at once.

    What is noted isn't locked, as that is done for each client: a count that misses one now and then decides the same.
    """

    def __init__(self) -> None:
        """Know nothing."""
        self._lock = Lock()
        self._known: dict[Wait, _Known] = {}
        self.changed = 0
        """How many changes came through."""

    def take(self, wait: Wait, longest: float) -> None:
        """Note the longest silence of a client that came through."""
        known = self._known.get(wait) or self._new(wait)
        known.through += 1
        known.longest.append(longest)
        if wait.what == "changed":
            self.changed += 1

    def limit(self, wait: Wait) -> float:
        """Give the seconds after which a client is silent."""
        known = self._known.get(wait)
        longest = known.longest.copy() if known is not None else ()
        if len(longest) < FEW:
            return inf if wait.what == "changed" else FIRST
        return max(FLOOR, FAR * median(longest))

    def through(self, wait: Wait) -> int:
        """Say how many came through."""
        known = self._known.get(wait)
        return known.through if known is not None else 0

    def _new(self, wait: Wait) -> _Known:
        with self._lock:
            if len(self._known) >= _REMEMBERED:
                del self._known[next(iter(self._known))]
            return self._known.setdefault(wait, _Known())


class Lending:
    """The clients under way in a pool, and what is lent for them. Used by several threads at once."""

    def __init__(
        self, forks: int, most: int = 0, *, usual: Usual | None = None, clock: Callable[[], float] = monotonic
    ) -> None:
        """Have `forks` places and lend up to `most` in all; left out, none is lent."""
        self._usual = usual or Usual()
        self._clock = clock
        self._lock = Lock()
        self._freed = Condition(self._lock)
        self._under_way: set[Pulse] = set()
        self._silent: dict[Pulse, Wait] = {}
        self._changing = 0
        self._next = -inf
        self.forks = forks
        self.most = max(most, forks)
        self.lent = 0
        """How many places are lent now."""

    def begin(self) -> Pulse:
        """Count a client as under way, until its `end`."""
        pulse = Pulse(self._usual.take, self.enough, self._clock)
        with self._lock:
            self._under_way.add(pulse)
        return pulse

    def end(self, pulse: Pulse) -> None:
        """Count it no more, and what was lent for it either."""
        with self._lock:
            self._under_way.discard(pulse)
            if self._silent.pop(pulse, None) is not None:
                self._count()

    def look(self) -> bool:
        """Find out who is silent; False where that was done a moment ago."""
        if self.most <= self.forks or (now := self._clock()) < self._next:
            return False
        self._next = now + _LOOK
        limits: dict[Wait, float] = {}
        with self._lock:
            silent = {}
            for pulse in self._under_way:
                wait, at = pulse.wait, pulse.at  # in this order: the time of a wait isn't taken for that of the next
                if now - at <= FLOOR:
                    continue
                limit = limits.get(wait)
                if limit is None:
                    limit = limits[wait] = self._usual.limit(wait)
                if now - at > limit:
                    silent[pulse] = wait
            if silent or self._silent:
                self._silent = silent
                self._count()
        return True

    def _count(self) -> None:
        """Count what is lent; changes that aren't alike don't vouch for each other."""
        alike = Counter(self._silent.values())
        changes = {wait: count for wait, count in alike.items() if wait.what == "changed"}
        others = alike.total() - sum(changes.values())
        changed = sum(min(count, self._share(self._usual.through(wait))) for wait, count in changes.items())
        self.lent = max(min(others + min(changed, self._of_changes), self.most - self.forks), 0)

    @property
    def _of_changes(self) -> int:
        """How many clients more than `forks` may be in the middle of a change."""
        return max(min(self._share(self._usual.changed), self.most - self.forks), 0)

    def _share(self, through: int) -> int:
        return max(self.forks, through // SHARE)

    def enough(self, forks: int = 0) -> None:
        """Lend nothing any more, as there is no room for it; with `forks`, there is room for so many only."""
        with self._lock:
            self.forks = min(self.forks, forks or self.forks)
            self.most = self.forks
            self._silent.clear()
            self.lent = 0

    def begin_change(self, over: Callable[[], bool], *, at_once: bool = False) -> bool:
        """Have a place in which a client is changed, until `end_change`; gives whether it was waited for.

        Once all is `over` it isn't waited for any longer: whoever had to asks again whether it may begin.
        """
        waited = False
        with self._freed:
            while not at_once and self._changing >= self.forks + self._of_changes:
                waited = True
                if over():
                    break
                self._freed.wait(_PATIENCE)
            self._changing += 1
        return waited

    def end_change(self) -> None:
        """Give the place to another one."""
        with self._freed:
            self._changing -= 1
            self._freed.notify()
