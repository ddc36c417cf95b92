"""Clients fetch from their relays what they would be sent, as long as these give it.

* A relay is filled before its clients' turn comes; the others don't wait for that.
* What is fetched are parts of releases and incrementals that every host of the relay which is used has. Small ones are
  sent, and settings always.
* A client whose relay gives nothing gets its bytes directly on the same connection, or is left as it is until a later
  run: as `then` says. So does one that is kept from its relay, or is more than that may serve.
* Once clients waited for a relay in vain, those after them ask it, but don't wait; when it gives nothing to DISTRUST in
  a row, it isn't asked any more in this run. One that gives something is trusted again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from threading import Event, Lock, Semaphore, Thread
from typing import TYPE_CHECKING

from reconciler.client.behind import NOWHERE, Behind
from reconciler.client.reach import expecting
from reconciler.client.requests import fetched_bytes
from reconciler.errors import BusyError, LimitError, UpdoserError
from reconciler.execute.filling import Filler
from reconciler.guards import Caught
from reconciler.model.deploy import MACHINE, DeployReport, FromRelay, Outcome
from reconciler.model.events import RelayFilled, Trouble
from reconciler.model.relay import SMALL
from reconciler.model.report import JournalEntry
from reconciler.present.words import count_text, size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import BinaryIO, Self

    from reconciler.client.behind import Place
    from reconciler.contracts import Session
    from reconciler.execute.deploy import Task
    from reconciler.execute.filling import Filled
    from reconciler.model.client import Client
    from reconciler.model.deploy import DeployRequest, Step
    from reconciler.model.events import Event as Told
    from reconciler.model.relay import RelaySeen, RelaySpec
    from reconciler.workspace import Workspace

    Content = Callable[[str], AbstractContextManager[BinaryIO]]

DISTRUST = 3
AT_ONCE = 8
"""How many relays are filled at a time."""
RETRY = 30.0
"""Seconds before a relay that couldn't be filled is tried again, while its `wait` lasts."""
PATIENCE = 60.0
"""Seconds that a relay may be silent to a client."""


@dataclass
class _Site:
    """A relay in a run: what it is to have for whom, and how it fares. `lock` is for all that follows it."""

    spec: RelaySpec
    parts: dict[str, int] = field(default_factory=dict)
    clients: set[str] = field(default_factory=set)
    over: set[str] = field(default_factory=set)
    ready: Event = field(default_factory=Event)
    lock: Lock = field(default_factory=Lock)
    hosts: list[Filled] = field(default_factory=list)
    seen: list[RelaySeen] = field(default_factory=list)
    trouble: str = ""
    silent: int = 0
    fetched: Counter[str] = field(default_factory=Counter)
    direct: set[str] = field(default_factory=set)

    @property
    def gone(self) -> str:
        """Why it isn't asked any more; empty while it is."""
        if self.hosts and self.silent < DISTRUST:
            return ""
        return self.trouble or "it isn't filled"


class Relays:
    """The relays of a run's tasks, filled and served for the time of a `with`. Its sessions are used by any thread."""

    def __init__(self, work: Workspace, tasks: Sequence[Task], useful: Collection[str] = ()) -> None:
        """Take the tasks; what later ones may need by its digest, too, stays where it is while there is room."""
        self._work = work
        self._useful = useful
        self._threads: list[Thread] = []
        self._told: SimpleQueue[Told] = SimpleQueue()
        self._behind = Behind(work.spec.relays, work.spec.groups, work.spec.works_here)
        self._places: dict[str, Place] = {}
        self._sites: dict[str, _Site] = {}
        self._over = Event()
        for task in tasks if work.spec.relays else ():
            self._add(task)

    def _add(self, task: Task) -> None:
        parts = dict(_parts((*task.steps, *task.early)))
        place = self._behind.of(task.client) if parts else NOWHERE
        if place.relay is None:
            return
        self._places[task.client.name] = place
        site = self._sites.setdefault(place.relay.name, _Site(place.relay))
        if place.apart:
            return
        if place.relay.clients and len(site.clients) >= place.relay.clients:
            site.over.add(task.client.name)
        else:
            site.clients.add(task.client.name)
            site.parts |= parts

    def __enter__(self) -> Self:
        filler, turns = self._filler(), Semaphore(AT_ONCE)
        for site in self._sites.values():
            if site.clients:
                thread = Thread(target=self._open, args=(site, filler, turns), name=f"relay {site.spec.name}")
                thread.start()
                self._threads.append(thread)
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self.tell()
        for site in self._sites.values():
            self._write(site)

    def in_turn(self, tasks: Iterable[Task]) -> list[tuple[list[Task], Callable[[], bool]]]:
        """Give the tasks that wait for no relay, and those of each relay with what says that it is filled."""
        waiting: dict[str, list[Task]] = defaultdict(list)
        for task in tasks:
            site = self._site(task.client)
            waits = site is not None and task.client.name in site.clients
            waiting[site.spec.name if site is not None and waits else ""].append(task)
        return [(found, self._sites[name].ready.is_set if name else _at_once) for name, found in waiting.items()]

    def session(self, client: Client, session: Session) -> Session:
        """Give a session over another one, in which a client fetches what its relay has."""
        site = self._site(client)
        return session if site is None else _Fetching(self, site, client.name, session)

    def _site(self, client: Client) -> _Site | None:
        place = self._places.get(client.name, NOWHERE)
        return self._sites[place.relay.name] if place.relay is not None else None

    def why_not(self, site: _Site, name: str) -> str:
        """Say why a client can't have its relay; empty where it may ask it."""
        if self._places[name].apart:
            return self._places[name].apart
        if name in site.over:
            return f"more than the {site.spec.clients} clients that it may serve"
        return site.gone

    # --- filling ------------------------------------------------------------------------------------------------------

    def _filler(self) -> Filler:
        work = self._work
        return Filler(work.relay_reach, work.store.open, (work.means.stop, self._over), work.means.clock)

    def _open(self, site: _Site, filler: Filler, turns: Semaphore) -> None:
        """Fill a relay, and have it served until all is over; what goes wrong is known to its site."""
        with ExitStack() as served, expecting_nothing(site):
            try:
                self._fill_in_time(site, filler, turns, served)
            finally:
                site.ready.set()
            self._over.wait()

    def _fill_in_time(self, site: _Site, filler: Filler, turns: Semaphore, served: ExitStack) -> None:
        waited, most = 0.0, site.spec.wait
        while not filler.stopped:
            with turns:
                if self._fill(site, filler, served) or waited >= most:
                    return
            pause = min(RETRY, most - waited)
            filler.wait(pause)
            waited += pause

    def _fill(self, site: _Site, filler: Filler, served: ExitStack) -> bool:
        spec = site.spec
        for host in spec.hosts:
            with Caught() as caught:
                filled = filler.fill(spec, host, site.parts, self._useful)
                held = served.enter_context(filler.serving(spec, host))
            if caught.error is None:
                text = f"relay {spec.name}: {host} has {size_text(sum(site.parts.values()))}"
                self._told.put(
                    RelayFilled(f"{text}, {size_text(filled.sent)} of it new", relay=spec.name, bytes=filled.sent)
                )
                with site.lock:
                    site.hosts.append(filled)
                    site.seen.append(filler.seen(spec, host, held))
            else:
                with site.lock:
                    site.trouble = f"{host}: {caught.error.brief}"
                    site.seen.append(filler.seen(spec, host, None, caught.error.brief))
                self._told.put(Trouble(f"relay {spec.name} isn't filled: {site.trouble}"))
        return bool(site.hosts)

    def tell(self) -> None:
        """Tell what became of relays since the last call; from the thread that tells."""
        while True:
            try:
                event = self._told.get_nowait()
            except Empty:
                return
            self._work.means.emit(event)

    def _write(self, site: _Site) -> None:
        """Remember what became of a relay, and write into the history what it was good for."""
        state, spec = self._work.state, site.spec
        state.keep_relays({(seen.relay, seen.host): seen for seen in site.seen}.values())
        sent = sum(filled.sent for filled in site.hosts)
        text = f"relay {spec.name}: {count_text(len(site.fetched), 'client')} fetched {size_text(site.fetched.total())}"
        text += f", and {size_text(sent)} were sent to fill it"
        if site.direct:
            text += f"; {count_text(len(site.direct), 'client')} got theirs directly"
        entry = JournalEntry(outcome="remark", message=text, at=self._work.means.clock())
        state.journal(self._work.means.run_id, [entry])

    # --- what clients say of it ---------------------------------------------------------------------------------------

    def offer(self, site: _Site, request: DeployRequest) -> FromRelay | None:
        """Say what of a request may be fetched, and where."""
        with site.lock:
            urls = tuple(filled.url for filled in site.hosts)
            wait = 0.0 if site.silent else site.spec.wait
        parts = frozenset(sha256 for sha256, _size in _parts(request.steps) if sha256 in site.parts)
        return FromRelay(urls, parts, wait, PATIENCE) if urls and parts else None

    def learn(self, site: _Site, name: str, fetched: int, trouble: str) -> None:
        """Remember how a client fared with its relay."""
        with site.lock:
            if fetched:
                site.fetched[name] += fetched
            if trouble:
                site.direct.add(name)
                site.trouble = trouble
            if trouble == _NO_TOOL:
                return
            site.silent = site.silent + 1 if trouble else 0
            told = site.silent == DISTRUST
        if told:
            self._told.put(Trouble(f"relay {site.spec.name} isn't asked any more: {trouble}"))

    def goes_direct(self, site: _Site, name: str) -> None:
        """Remember that a client gets its bytes directly."""
        with site.lock:
            site.direct.add(name)


@contextmanager
def expecting_nothing(site: _Site) -> Iterator[None]:
    """Have what nobody expected of a relay be its trouble: it is of no use then, and the run goes on."""
    try:
        with expecting():
            yield
    except UpdoserError as error:
        site.trouble = error.brief
        site.hosts.clear()


_NO_TOOL = "the client has neither curl nor wget"
"""What a client says that can't ask any relay, which is no relay's fault."""


def _parts(steps: Iterable[Step]) -> Iterator[tuple[str, int]]:
    """Give the parts of steps that may be fetched, with their sizes."""
    for step in steps:
        if not step.private:
            yield from ((part.sha256, part.size) for part in step.payload if part.size >= SMALL)


def _at_once() -> bool:
    return True


class _Fetching:
    """The `Session` protocol over another session: what is sent there is fetched here, where it can be."""

    def __init__(self, relays: Relays, site: _Site, name: str, session: Session) -> None:
        self._relays = relays
        self._site = site
        self._name = name
        self._session = session
        self.facts = session.facts
        self.read = session.read

    def deploy(self, request: DeployRequest, content: Content) -> DeployReport:
        """Carry out a request; see `contracts.Session`."""
        if request.purpose == "check" or not any(True for _part in _parts(request.steps)):
            return self._session.deploy(request, content)
        why = self._relays.why_not(self._site, self._name)
        relay = None if why else self._relays.offer(self._site, request)
        if relay is not None:
            return self._fetch(replace(request, relay=relay), content)
        if why and self._site.spec.then == "wait":
            return self._without(request, content, why)
        if why:
            self._relays.goes_direct(self._site, self._name)
        return self._session.deploy(request, content)

    def _fetch(self, request: DeployRequest, content: Content) -> DeployReport:
        """Have a client fetch what it can; what no relay gave is sent, or left for a later run."""
        report = self._session.deploy(request, content)
        steps = {step.component: step for step in request.steps}
        lacking = {outcome.component: outcome.message for outcome in report.outcomes if outcome.status == "unfetched"}
        sizes = fetched_bytes(request)
        came = sum(
            sizes.get(outcome.component, 0) for outcome in report.outcomes if outcome.status in {"changed", "staged"}
        )
        if came or lacking:
            self._relays.learn(self._site, self._name, came, next(iter(lacking.values()), ""))
        if not lacking:
            return report
        if self._site.spec.then == "wait":
            late = {name: self._left(steps[name], why) for name, why in lacking.items()}
            sent = 0
        else:
            late, sent = self._send(replace(request, relay=None, steps=tuple(map(steps.__getitem__, lacking))), content)
        outcomes = tuple(late.get(outcome.component, outcome) for outcome in report.outcomes)
        return DeployReport(outcomes, report.bytes_sent + sent)

    def _send(self, request: DeployRequest, content: Content) -> tuple[dict[str, Outcome], int]:
        """Send what wasn't fetched; what goes wrong with that is no reason to forget what went well before."""
        try:
            report = self._session.deploy(request, content)
        except LimitError:
            raise
        except BusyError as error:
            return {
                step.component: Outcome(step.component, "stale", message=error.message) for step in request.steps
            }, 0
        except UpdoserError as error:
            return {step.component: self._failed(step, error.brief, error) for step in request.steps}, 0
        return {outcome.component: outcome for outcome in report.outcomes}, report.bytes_sent

    def _without(self, request: DeployRequest, content: Content, why: str) -> DeployReport:
        """Do what needs no relay; the rest is left for a later run."""
        needs = {step.component for step in request.steps if any(True for _part in _parts([step]))}
        rest = tuple(step for step in request.steps if step.component not in needs)
        report = self._session.deploy(replace(request, steps=rest), content) if rest else DeployReport((), 0)
        done = {outcome.component: outcome for outcome in report.outcomes}
        done |= {step.component: self._left(step, why) for step in request.steps if step.component in needs}
        return DeployReport(tuple(done[step.component] for step in request.steps), report.bytes_sent)

    def _left(self, step: Step, why: str) -> Outcome:
        spec = self._site.spec
        return self._failed(step, f"relay {spec.name} doesn't give it: {why}; it waits for a later run (then: wait)")

    def _failed(self, step: Step, message: str, error: UpdoserError | None = None) -> Outcome:
        return Outcome(
            component=step.component,
            status="failed",
            version=step.from_version,
            digest=step.from_digest,
            message=message,
            fault=MACHINE,
            reason=error.reason if error is not None else "relay",
        )
