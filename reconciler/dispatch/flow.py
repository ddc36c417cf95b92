"""The flow of work on clients: jobs become batches as there is room, crews carry them out, and answers come back.

* Never more is given than a crew has room for, and jobs are taken from their streams only then: memory doesn't grow
  with the fleet. Each stream goes at its own pace, so that a slow site holds nobody else up.
* What becomes of a job is decided when its batch is made (`make`): what may not be done any more by then is left.
* A batch is for clients of one group and place that get the same task. What is `alone`, such as a canary, has a batch
  of its own.
* Each job is answered for once. One whose worker was lost, or stopped, or found the time over that isn't over here, is
  made and given again: ATTEMPTS times in all, and then it failed, for the reason that was given last.
* What is found out of a client beside the flow, such as by a check that runs here, takes up room like one that is under
  way: a bad release gets no further while its first clients are checked.
* A client of a place where nobody works can't be reached; the others go on.
* Once `stop` is set nothing is begun but what finishes what was begun before. However the flow ends, what is under way
  in workers that die with this process is waited for, so that no client is left in the middle of a change.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from time import sleep
from typing import TYPE_CHECKING, Generic

from reconciler.dispatch.aside import Aside
from reconciler.dispatch.jobs import AboutT, Line
from reconciler.errors import LimitError, PluginError, TransportError, UpdoserError
from reconciler.model.batch import Answer, Batch, Ended, Order, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from threading import Event

    from reconciler.dispatch.crews import Crews, Place
    from reconciler.dispatch.jobs import Job, Made, Stream
    from reconciler.model.batch import Halt, Report

ATTEMPTS = 3
WAIT = 0.2
"""Seconds that are waited for a report before the flow looks around; SLICE where several crews are listened to."""
SLICE = 0.02
REFUSED_AT_ONCE = 500


@dataclass(slots=True)
class _Entry(Generic[AboutT]):
    job: Job[AboutT]
    attempt: int = 1
    batch: str = ""


@dataclass(slots=True)
class _Open(Generic[AboutT]):
    """A batch that is being made."""

    place: Place
    first: Made
    entries: list[_Entry[AboutT]] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    private: dict[str, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class _View:
    """A place as it is while batches are made: why nobody works there, the size of its batches, and its room."""

    refusal: str
    size: int
    room: int


class Flow(Generic[AboutT]):
    """Work on some clients. Used from one thread."""

    def __init__(
        self,
        crews: Crews,
        make: Callable[[Job[AboutT]], Made | None],
        *,
        stop: Event,
        settle: Callable[[bool], None] = lambda _now: None,
    ) -> None:
        """Take what gives a job its form when its turn has come, or None when it isn't done any more.

        `settle` is called between two looks at what was reported: with True, all that was answered must be written
        down when it comes back.
        """
        self._crews = crews
        self._ledger = crews.ledger
        self._make = make
        self._stop = stop
        self._settle = settle
        self._aside = Aside()
        self._first: deque[_Entry[AboutT]] = deque()
        self._batches: dict[tuple[object, ...], _Open[AboutT]] = {}
        self._given: dict[tuple[str, str], _Entry[AboutT]] = {}
        self._places: Counter[Place] = Counter()
        self._where: dict[tuple[str, str], Place] = {}
        self._said: deque[tuple[Job[AboutT], Answer]] = deque()
        self._views: dict[Place, _View] = {}
        self._stopped = False

    # --- what its user does -------------------------------------------------------------------------------------------

    def answers(self, *streams: Iterable[Job[AboutT]] | Stream[AboutT]) -> Iterator[tuple[Job[AboutT], Answer]]:
        """Have all jobs done, and give what became of each as it comes; those that weren't begun when it ends are left.

        Raises:
            LimitError: this machine has no room for more.
            PluginError: what carries work out for no site is broken.
            BaseException: what a stream, `make`, `settle` or work aside raises.
        """
        lines = [Line(stream) for stream in streams]
        done = False
        try:
            while True:
                self._fill(lines)
                while self._said:
                    yield self._said.popleft()
                if not (self._given or self._aside.pending or self._first or self._said or lines):
                    break
                for report in self._receive():
                    taken = self._take(report)
                    if taken is not None:
                        yield taken
                self._aside.settle(0.0 if self._given else WAIT)
                self._settle(False)
            done = True
        finally:
            self._end(done=done)

    def first(self, job: Job[AboutT]) -> None:
        """Have a job done before all others, whether there is room for it or not."""
        self._first.append(_Entry(job))

    def aside(self, work: Callable[[], object], then: Callable[[object], None]) -> None:
        """Have something found out in another thread; `then` is called with it in this one."""
        self._aside.do(work, then)

    def halt(self, halted: Collection[Halt]) -> None:
        """Let no client begin with a step of these rollouts any more."""
        self._crews.halt(halted)

    # --- giving -------------------------------------------------------------------------------------------------------

    def _fill(self, lines: list[Line[AboutT]]) -> None:
        """Make batches of jobs for which there is room, and give them."""
        self._views.clear()
        if self._stop.is_set():
            lines.clear()
            if not self._stopped:
                self._stopped = True
                self._crews.stop()
        first, self._first = self._first, deque()
        for entry in first:
            place = self._crews.place(entry.job.client)
            if entry.attempt == 1 or self._stopped or self._has_room(place):
                self._view(place).room -= 1
                self._enter(entry, place)
            else:
                self._first.append(entry)
        for line in list(lines):
            while not self._stop.is_set() and (found := line.next(self._crews.place, self._has_room)) is not None:
                job, place = found
                self._view(place).room -= 1
                self._enter(_Entry(job), place)
            if line.over:
                lines.remove(line)
        for key in list(self._batches):
            self._give(self._batches.pop(key))

    def _has_room(self, place: Place) -> bool:
        return self._view(place).room > 0

    def _view(self, place: Place) -> _View:
        """Look at a place, once for all batches that are made now; a lane that is at work gets whole batches only."""
        view = self._views.get(place)
        if view is None:
            refusal, size = self._crews.refusal(place), self._crews.size(place)
            room = REFUSED_AT_ONCE if refusal else self._crews.room(place) - self._aside.pending
            if not refusal and room < size and self._places[place]:
                room = 0
            view = self._views[place] = _View(refusal, size, room)
        return view

    def _enter(self, entry: _Entry[AboutT], place: Place) -> None:
        """Put a job into the batch that it belongs to, as it is by now."""
        if self._stopped and not entry.job.finishes:
            return
        made = self._make(entry.job)
        if made is None:
            return
        view = self._view(place)
        if view.refusal:
            self._answer_here(entry, TransportError(view.refusal, reason="worker"))
            return
        job = entry.job
        key = (place, job.client.group, id(made.task), made.until, job.finishes, entry.batch, entry.attempt)
        batch = None if made.alone else self._batches.get(key)
        if batch is None:
            batch = _Open(place, made)
        batch.entries.append(entry)
        batch.targets.append(made.target)
        batch.private.update(made.private)
        if made.alone:
            self._give(batch)
        elif len(batch.entries) >= view.size:
            self._batches.pop(key, None)
            self._give(batch)
        else:
            self._batches[key] = batch

    def _give(self, open_: _Open[AboutT]) -> None:
        known = open_.entries[0].batch
        batch = Batch(
            id=known if known and not self._ledger.is_given(known) else self._ledger.new_id(),
            run_id=self._ledger.run_id,
            group=open_.entries[0].job.client.group,
            task=open_.first.task,
            targets=tuple(open_.targets),
            attempt=open_.entries[0].attempt,
            fence=self._ledger.fence,
            until=open_.first.until,
            finishes=open_.entries[0].job.finishes,
        )
        place = open_.place
        self._ledger.give(batch, place.site, place.lane, written=self._crews.outlives(place.site))
        for entry in open_.entries:
            entry.batch = batch.id
            key = batch.id, entry.job.client.name
            self._given[key] = entry
            self._where[key] = place
        self._places[place] += len(open_.entries)
        why = self._crews.give(place, Order(batch, open_.private))
        if why:
            self._lose(self._ledger.lose(place.site), why)

    # --- receiving ----------------------------------------------------------------------------------------------------

    def _receive(self) -> Sequence[Report]:
        """Give what was reported, after a while where that is nothing; batches that were lost are given again."""
        sites = list(dict.fromkeys(place.site for place, count in self._places.items() if count))
        if not (sites or self._aside.pending):  # there is no room, and somebody may say why
            sites = self._crews.sites
        if any(map(self._crews.outlives, sites)):
            self._settle(True)
            self._lose(self._ledger.expired(), "its worker said nothing for too long")
        if not sites:
            if not self._aside.pending:
                sleep(SLICE)  # a stream isn't ready, and nobody was asked for anything yet
            return ()
        patience = SLICE if self._aside.pending else WAIT
        if len(sites) == 1:
            return self._from_site(sites[0], patience)
        found = [report for site in sites for report in self._from_site(site, 0.0)]
        for site in () if found else sites:
            found += self._from_site(site, SLICE / len(sites))
        return found

    def _from_site(self, site: str, timeout: float) -> Sequence[Report]:
        reports = self._crews.receive(site, timeout)
        if reports is None:
            self._lose(self._ledger.lose(site), "its site has no worker")
            return ()
        return reports

    def _take(self, report: Report) -> tuple[Job[AboutT], Answer] | None:
        """Give what became of a job, where the report says that for the first time."""
        if isinstance(report, Ended):
            rest = self._ledger.end(report)
            if rest:
                self._lose({report.batch: rest}, report.lost or "its worker said nothing of it")
            return None
        if not self._ledger.accept(report.batch, report.attempt, report.client):
            return None
        entry = self._pop(report.batch, report.client)
        if report.not_begun == "late":
            self._again(entry, "its time was over, by its worker's clock")
        elif report.not_begun == "stopped":
            self._again(entry, "its worker stopped")
        else:
            return entry.job, report
        return None

    def _pop(self, batch: str, client: str) -> _Entry[AboutT]:
        key = batch, client
        self._places[self._where.pop(key)] -= 1
        return self._given.pop(key)

    def _lose(self, lost: Mapping[str, Collection[str]], why: str) -> None:
        for batch, clients in lost.items():
            for client in sorted(clients):
                self._again(self._pop(batch, client), why, begun=True)

    def _again(self, entry: _Entry[AboutT], why: str, *, begun: bool = False) -> None:
        """Have a job done again; of one that may have been `begun` in a run that stops, nobody will know more."""
        if begun and self._stopped:
            self._answer_here(entry, UpdoserError(f"its worker was lost: {why}", reason="worker"))
        elif entry.attempt < ATTEMPTS:
            entry.attempt += 1
            self._first.append(entry)
        elif not self._stopped:
            text = f"no worker could do it, {ATTEMPTS} times: {why}"
            self._answer_here(entry, UpdoserError(text, reason="worker"))

    def _answer_here(self, entry: _Entry[AboutT], error: UpdoserError) -> None:
        answer = Answer(batch=entry.batch, attempt=entry.attempt, client=entry.job.client.name, error=error)
        self._said.append((entry.job, answer))

    # --- the end ------------------------------------------------------------------------------------------------------

    def _end(self, *, done: bool) -> None:
        """Leave nothing under way in this process."""
        try:
            if not done:
                self._crews.stop()
                self._wait_out()
        finally:
            self._aside.close()
            if not done:
                self._ledger.abandon()
            if not done or self._stopped:
                self._crews.close()

    def _wait_out(self) -> None:
        """Wait for what is under way in workers that die with this process; its answers aren't given any more."""
        for site in {place.site for place in self._where.values()}:
            while not self._crews.outlives(site) and any(place.site == site for place in self._where.values()):
                try:
                    reports = self._crews.receive(site, WAIT)
                except (LimitError, PluginError):
                    break
                if reports is None:
                    break
                for report in reports:
                    self._forget(report)

    def _forget(self, report: Report) -> None:
        """Take note that a client, or all of a batch, isn't under way any more."""
        if isinstance(report, Answer):
            self._where.pop((report.batch, report.client), None)
        else:
            self._where = {key: place for key, place in self._where.items() if key[0] != report.batch}
