"""Workers that are spoken to, as one crew: each has a lane, and one that is lost is replaced."""

from __future__ import annotations

import time
import zlib
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from reconciler.errors import UpdoserError

from .line import Line

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import Self

    from reconciler.contracts import Hands
    from reconciler.model.batch import Halt, Order, Report

    from .line import Wire

TRIES = 3
"""How often a worker is started that never gets ready, before its lane is given up."""
PAUSES = (0.0, 1.0, 3.0)
_TICK = 0.5
"""Seconds between two looks at who is silent."""


class _Lane:
    """A line of clients, and the worker of the moment."""

    def __init__(self, name: str, connect: Callable[[], Wire]) -> None:
        self.name = name
        self.connect = connect
        self.line: Line | None = None
        self.failed = 0
        self.again = 0.0


class SpokenCrew:
    """The `Crew` protocol of reconciler/contracts.py over some workers that are spoken to."""

    def __init__(
        self,
        workers: Mapping[str, Callable[[], Wire]],
        hands: Hands,
        setup: Mapping[str, Any],
        *,
        forks: int,
        size: int,
    ) -> None:
        """Take what starts each worker, by its name, and what each is told first.

        Each works on so many (`forks`) clients at a time, and wants batches of `size`.
        """
        self._hands = hands
        lends = {"lends": hands.lends} if hands.lends > 1 else {}
        self._setup = {"format_version": "1.1", **setup, "forks": forks, **lends}
        self._forks = forks
        self._most_lent = (hands.lends - 1) * forks
        self._size = size
        names = map(str, range(len(workers))) if len(workers) > 1 else [""]
        self._lanes = {at: _Lane(name, connect) for at, (name, connect) in zip(names, workers.items(), strict=True)}
        self._reports: SimpleQueue[Report | UpdoserError] = SimpleQueue()
        self._halted: set[Halt] = set()
        self._over = False

    def __enter__(self) -> Self:
        """Start all workers."""
        for lane in self._lanes.values():
            self._start(lane)
        return self

    def __exit__(self, *error: object) -> None:
        """Begin nothing any more, wait for what is under way, and let the workers go."""
        self.stop()
        lines = [lane.line for lane in self._lanes.values() if lane.line is not None]
        while any(line.under_way and not line.lost for line in lines):
            for line in lines:
                line.look()
            time.sleep(_TICK / 10)
        for line in lines:
            line.close()

    def lane(self, client: str) -> str:
        """Name the lane of a client: the same in each run."""
        return str(zlib.crc32(client.encode()) % len(self._lanes)) if len(self._lanes) > 1 else ""

    def room(self, lane: str) -> int:
        """Say for how many clients more there is room: as many wait there as are worked on, so that nobody idles.

        What a worker lends comes on top of that, as far as it may.
        """
        found = self._lanes[lane]
        self._revive(found)
        line = found.line
        if line is None or line.lost:
            return 0
        return max(2 * self._forks + min(line.lent, self._most_lent) - line.under_way, 0)

    @property
    def size(self) -> int:
        """How many clients a batch should have."""
        return self._size

    def refusal(self, lane: str) -> str:
        """Say why nobody works in a lane: its worker never got ready."""
        found = self._lanes[lane]
        self._revive(found)
        return found.line.lost if found.line is not None and found.line.lost and found.failed >= TRIES else ""

    def give(self, lane: str, order: Order) -> None:
        """Have a batch carried out."""
        found = self._lanes[lane]
        self._revive(found)
        if found.line is not None:
            found.line.give(order)

    def halt(self, halted: Collection[Halt]) -> None:
        """Let no client begin with a step of these rollouts any more; workers that come later are told as well."""
        self._halted.update(halted)
        for lane in self._lanes.values():
            if lane.line is not None:
                lane.line.halt(halted)

    def receive(self, timeout: float) -> Sequence[Report]:
        """Give what was reported since the last call; see `contracts.Crew`."""
        reports: list[Report] = []
        deadline = time.monotonic() + timeout
        while True:
            for lane in self._lanes.values():
                if lane.line is not None:
                    lane.line.look()
            left = deadline - time.monotonic()
            try:
                report = (
                    self._reports.get_nowait() if reports or left <= 0 else self._reports.get(timeout=min(left, _TICK))
                )
            except Empty:
                if reports or left <= 0:
                    return reports
                continue
            if isinstance(report, UpdoserError):
                raise report
            reports.append(report)

    def stop(self) -> None:
        """Begin no client any more."""
        self._over = True
        for lane in self._lanes.values():
            if lane.line is not None:
                lane.line.stop()

    def _start(self, lane: _Lane) -> None:
        lane.line = Line(lane.name, lane.connect, hands=self._hands, reports=self._reports, setup=self._setup)
        if self._halted:
            lane.line.halt(self._halted)
        if self._over:
            lane.line.stop()

    def _revive(self, lane: _Lane) -> None:
        """Replace a worker that is lost, a little later each time, unless it never gets ready."""
        line = lane.line
        if line is None or not line.lost:
            return
        if lane.again == 0.0:
            lane.failed = 0 if line.ready else lane.failed + 1
            lane.again = time.monotonic() + PAUSES[min(lane.failed, TRIES - 1)]
        if lane.failed < TRIES and time.monotonic() >= lane.again:
            lane.again = 0.0
            self._start(lane)
