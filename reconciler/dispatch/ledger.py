"""The truth about every batch: to whom it was given, which attempt is in force, and for whom it was answered.

* An answer counts once, and only when it is of the attempt that is in force and the lock has the fence that it had when
  the batch was given. What comes twice, late, or from somebody who was taken for lost, is refused and counted as such.
* For workers that die with this process it is kept in memory: once it is gone nobody is there whose answer could be
  refused. For those that outlive it, each batch is written down before it is given, in the same words, and answers are
  written down with what they brought.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from reconciler.storage.batches import BatchEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from reconciler.model.batch import Batch, Ended

LEASE = timedelta(hours=2)
"""How long a batch may be without a word before its worker is taken for lost: two requests at their longest."""


class Book(Protocol):
    """Where batches of workers that outlive this process are written down; `State` is one."""

    def record_batches(self, entries: Sequence[BatchEntry]) -> None:
        """Write batches down, or another attempt of them.

        Raises:
            StateError: the state can't be written.
        """

    def leave_batches(self, run_id: str) -> None:
        """Write down that nobody waits for what other runs gave.

        Raises:
            StateError: the state can't be written.
        """

    def end_batches(self, run_id: str, ids: Collection[str]) -> None:
        """Write down that batches are over.

        Raises:
            StateError: the state can't be written.
        """


@dataclass(slots=True, kw_only=True)
class _Given:
    attempt: int
    fence: int
    site: str
    written: bool
    lease_until: datetime
    clients: set[str] = field(default_factory=set)


class Ledger:
    """The batches of one run. Used from one thread."""

    def __init__(self, run_id: str, clock: Callable[[], datetime], book: Book, fence: Callable[[], int]) -> None:
        """Begin with none; `fence` gives that of the run's lock as it is now."""
        self.run_id = run_id
        self._clock = clock
        self._book = book
        self._fence = fence
        self._made = 0
        self._wrote = False
        self._given: dict[str, _Given] = {}
        self.refused = 0
        """Answers that didn't count."""

    def new_id(self) -> str:
        """Give an id that no other batch of the run has."""
        self._made += 1
        return str(self._made)

    def is_given(self, id_: str) -> bool:
        """Say whether a batch is under way."""
        return id_ in self._given

    @property
    def fence(self) -> int:
        """That of the run's lock."""
        return self._fence()

    def give(self, batch: Batch, site: str, lane: str, *, written: bool) -> None:
        """Remember that a batch is given, in place of an earlier attempt; `written` where its workers outlive us.

        Raises:
            StateError: it can't be written down.
        """
        until = self._clock() + LEASE
        if written:
            if not self._wrote:
                self._book.leave_batches(self.run_id)
            self._wrote = True
            self._book.record_batches([BatchEntry(batch=batch, site=site, lane=lane, lease_until=until)])
        names = {target.client.name for target in batch.targets}
        self._given[batch.id] = _Given(
            attempt=batch.attempt, fence=batch.fence, site=site, written=written, lease_until=until, clients=names
        )

    def accept(self, batch: str, attempt: int, client: str) -> bool:
        """Say whether an answer counts; from then on no other for that client does."""
        given = self._given.get(batch)
        if given is None or attempt != given.attempt or client not in given.clients or given.fence != self.fence:
            self.refused += 1
            return False
        given.clients.discard(client)
        given.lease_until = self._clock() + LEASE
        return True

    def end(self, ended: Ended) -> set[str] | None:
        """Take that a batch is over: gives the clients that weren't answered for; None where that isn't in force.

        Raises:
            StateError: it can't be written down.
        """
        given = self._given.get(ended.batch)
        if given is None or given.attempt != ended.attempt:
            self.refused += 1
            return None
        self._forget(ended.batch, given)
        return given.clients

    def lose(self, site: str) -> dict[str, set[str]]:
        """Give up all batches of a site; gives the clients of each that weren't answered for."""
        return self._lose(lambda given: given.site == site)

    def expired(self) -> dict[str, set[str]]:
        """Give up batches of which nobody said a word for too long; gives their clients that weren't answered for."""
        now = self._clock()
        return self._lose(lambda given: given.written and given.lease_until <= now)

    def _lose(self, is_lost: Callable[[_Given], bool]) -> dict[str, set[str]]:
        lost = {id_: given for id_, given in self._given.items() if is_lost(given)}
        for id_, given in lost.items():
            self._forget(id_, given)
        return {id_: given.clients for id_, given in lost.items()}

    def _forget(self, id_: str, given: _Given) -> None:
        del self._given[id_]
        if given.written and not given.clients:
            self._book.end_batches(self.run_id, [id_])

    def abandon(self) -> None:
        """Forget all that is under way: nobody waits for it any more."""
        self._given.clear()
