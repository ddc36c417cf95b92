"""A crew of threads of one process: a client is mostly waited for, and threads wait cheaply.

* At most `forks` clients are under way that aren't silent, and what is lent for silent ones (`lending`). There is room
  for as many as aren't, so that a client is given only when its turn has come; what is given beyond that waits in the
  order in which it came.
* There are threads for that many. One that isn't needed any more, as a silent client was heard of, ends after its own.
* A client that can't be reached is tried once more when no other waits for its turn, and holds nobody up meanwhile.
* Where this machine gives no more threads, those that there are do it; where it gives none at all, and where work on a
  client finds no room for more, nothing new is begun, what is under way is reported, and then `receive` says so.
* Nothing is begun after `stop`, nor once the event `stop` is set; what is under way is finished, so that no client is
  left in the middle of a change. Leaving the pool waits for that.
* An error of one client is in its answer; what is private of an order is forgotten with its last client.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from threading import Lock, Thread, current_thread
from time import monotonic
from typing import TYPE_CHECKING, BinaryIO

from reconciler.client import reach as reaching
from reconciler.content.small import SmallInMemory
from reconciler.errors import own_limit
from reconciler.model.batch import Ended
from reconciler.worker.answering import Answerer, Turn
from reconciler.worker.fetching import Fetching
from reconciler.worker.halts import Halts
from reconciler.worker.lending import Lending

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from threading import Event
    from typing import Self

    from reconciler.client.reach import Reach
    from reconciler.model.batch import Batch, Halt, Order, Report

_LULL = 0.2
"""Seconds without a turn after which a client is tried again that couldn't be reached."""


class Pool:
    """The `Crew` protocol of reconciler/contracts.py, with threads of this process; it has one lane."""

    def __init__(
        self,
        reach: Reach,
        content: Callable[[str], AbstractContextManager[BinaryIO]],
        *,
        forks: int,
        stop: Event,
        clock: Callable[[], datetime],
        size: int = 1,
        fetching: Fetching | None = None,
        lending: Lending | None = None,
    ) -> None:
        """Take the ways to clients and what opens content by its SHA-256; `size` is that of the batches it wants.

        `fetching` knows how relays fare, where that is known for longer than the pool lasts. `lending` is for the same
        `forks`; left out, no place is lent.

        Raises:
            ValueError: `forks` is below 1.
        """
        if forks < 1:
            raise ValueError(f"forks must be at least 1, not {forks}")
        self._lending = lending or Lending(forks)
        self._size = size
        self._run_stop = stop
        self._over = False
        self._halts = Halts(clock, self._is_over)
        self._answerer = Answerer(
            reach, SmallInMemory(content).open, clock, self._halts, fetching or Fetching(), self._lending
        )
        self._turns: SimpleQueue[Turn | _Wake | None] = SimpleQueue()
        self._later: deque[tuple[float, Turn]] = deque()
        self._reports: SimpleQueue[Report | _Broken] = SimpleQueue()
        self._threads: set[Thread] = set()
        self._started = 0
        self._lock = Lock()
        self._left: dict[tuple[str, int], int] = {}
        self._under_way = 0
        self._broken: BaseException | None = None

    def __enter__(self) -> Self:
        """Begin with no thread."""
        return self

    def __exit__(self, *error: object) -> None:
        """Begin nothing any more, and wait for what is under way."""
        self.stop()
        with self._lock:
            threads = list(self._threads)
        for _thread in threads:
            self._turns.put(None)
        for thread in threads:
            thread.join()

    def lane(self, client: str) -> str:  # noqa: ARG002 - all clients are of the same
        """Name the only lane."""
        return ""

    def room(self, lane: str) -> int:  # noqa: ARG002 - there is one
        """Say how many clients more may be worked on at once."""
        self._lend()
        if self._broken:
            return 0
        room = self._lending.forks + self._lending.lent - (self._under_way - len(self._later))
        return max(min(room, self._most - self._under_way), 0)

    @property
    def lent(self) -> int:
        """How many clients more than its forks it may have under way now; see `contracts.Lender`."""
        return self._lending.lent + len(self._later)

    @property
    def size(self) -> int:
        """How many clients a batch should have: a thread takes one at a time, so one, unless it was made otherwise."""
        return self._size

    def refusal(self, lane: str) -> str:  # noqa: ARG002 - there is one
        """Say why nobody works; somebody always does."""
        return ""

    def give(self, lane: str, order: Order) -> None:  # noqa: ARG002 - there is one
        """Have a batch carried out."""
        batch = order.batch
        if not batch.targets:
            self._reports.put(Ended(batch.id, batch.attempt))
            return
        with self._lock:
            self._left[batch.id, batch.attempt] = len(batch.targets)
        for target in batch.targets:
            self._under_way += 1
            self._begin_thread()
            if self._threads:
                self._turns.put(Turn(order, target, tries=0))
            else:  # nobody can: it is over, so nothing is begun
                self._take(Turn(order, target))

    def halt(self, halted: Collection[Halt]) -> None:
        """Let no client begin with a step of these rollouts, from now on."""
        self._halts.add(halted)

    def receive(self, timeout: float) -> Sequence[Report]:
        """Give what was reported since the last call; wait up to `timeout` seconds where that is nothing.

        What is lent is known from here, and from who asks for `room`.

        Raises:
            LimitError: this machine has no room for more; all else that was begun has been reported by then.
            BaseException: what nobody expected, where the ways to clients let it through.
        """
        self._lend()
        reports: list[Report] = []
        waits = 0.0 if self._broken is not None and not self._under_way else timeout
        while True:
            try:
                report = self._reports.get(timeout=waits) if waits > 0 else self._reports.get_nowait()
            except Empty:
                break
            waits = 0.0
            self._under_way -= not isinstance(report, Ended)
            if isinstance(report, _Broken):
                self._broken = self._broken or report.error
            else:
                reports.append(report)
        if self._broken is not None and not reports and not self._under_way:
            raise self._broken
        return reports

    def stop(self) -> None:
        """Begin no client any more; those that wait are answered as `stopped`."""
        self._over = True

    def _is_over(self) -> bool:
        return self._over or self._run_stop.is_set()

    @property
    def _most(self) -> int:
        """How many clients may be under way in all, those that wait to be tried again among them."""
        return max(self._lending.most, 2 * self._lending.forks)

    def _lend(self) -> None:
        """See who is silent, and have threads for what may be begun in their places."""
        if self._lending.look():
            for _turn in range(self._turns.qsize() + len(self._later)):
                if not self._begin_thread():
                    break

    def _begin_thread(self) -> bool:
        """Have a thread for each client under way, as far as they have places and this machine gives them."""
        lending = self._lending
        if len(self._threads) >= min(self._under_way, lending.forks + lending.lent):
            return False
        thread = Thread(target=self._serve, name=f"updoser_{self._started}")
        with self._lock:
            self._threads.add(thread)
        try:
            thread.start()
            self._started += 1
        except (RuntimeError, MemoryError) as error:
            with self._lock:
                self._threads.discard(thread)
            if self._threads:
                lending.enough(len(self._threads))
                return False
            self._over = True
            self._broken = self._broken or own_limit(error) or error
            return False
        return True

    def _serve(self) -> None:
        while (turn := self._next()) is not None:
            self._take(turn)
            del turn  # an order isn't kept while the next one is waited for
            if self._is_spare():
                return

    def _is_spare(self) -> bool:
        """Say of the thread that asks whether it isn't needed any more; it is forgotten then."""
        with self._lock:
            spare = len(self._threads) > self._lending.forks + self._lending.lent
            if spare:
                self._threads.discard(current_thread())
            return spare

    def _next(self) -> Turn | None:
        """Wait for a turn: one that comes again only while there is no other. None when there is nothing any more."""
        while True:
            turn: Turn | _Wake | None
            try:
                turn = self._turns.get(timeout=_LULL if self._later else None)
            except Empty:
                turn = self._ripe() or _Wake()
            if turn is None and (turn := self._ripe()) is not None:  # at the end nobody is left unanswered
                self._turns.put(None)
            if not isinstance(turn, _Wake):
                return turn

    def _ripe(self) -> Turn | None:
        """Give the client that waits for its second try for longest, if its time has come."""
        with self._lock:
            if self._later and (self._is_over() or self._later[0][0] <= monotonic()):
                return self._later.popleft()[1]
        return None

    def _take(self, turn: Turn) -> None:
        batch = turn.order.batch
        try:
            if len(self._later) >= self._most - self._lending.forks:  # so many can't be reached that others had no room
                turn = replace(turn, tries=turn.tries or reaching.CONNECT_TRIES)
            answer = self._answerer.answer(turn)
            if answer is None:
                with self._lock:
                    self._later.append((monotonic() + reaching.PAUSE, replace(turn, tries=reaching.CONNECT_TRIES - 1)))
                self._turns.put(_Wake())
                return
            self._reports.put(answer)
        except BaseException as error:  # noqa: BLE001 - `receive` raises it
            self._over = True
            self._reports.put(_Broken(error))
        else:
            self._through(batch)

    def _through(self, batch: Batch) -> None:
        """Say that a batch is over with its last client."""
        key = batch.id, batch.attempt
        with self._lock:
            self._left[key] -= 1
            if self._left[key]:
                return
            del self._left[key]
        self._reports.put(Ended(batch.id, batch.attempt))


class _Wake:
    """Has a thread look for who is to be tried again."""


@dataclass(frozen=True, slots=True)
class _Broken:
    """What ended the work of the pool while it was on one client: nothing else is said of that, or of its batch."""

    error: BaseException
