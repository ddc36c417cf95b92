"""The relays of a run: filled before their clients' turn comes, and offered to these as long as they give something.

* A relay is filled before its clients' turn comes; the others don't wait for that. What it gets are the parts that
  cohorts behind it need, so that no client is looked at for it, however many there are.
* The script that clients run is one of the parts, where there is room for it: who never had it needn't get it over the
  line.
* What it offers stands in a batch (`model.relay.Offer`): any worker has its clients fetch that. What came of it stands
  in their answers. It is always filled from here: only the controller knows what all workers' clients will need, and
  may say so before the first of them begins.
* Only what every host that is used has is offered. Who is kept from its relay, or is more than that may serve, is
  offered nothing.
* Once clients waited for a relay in vain, those after them don't wait; when it gives nothing to DISTRUST in a row, it
  isn't offered any more in this run. One that gives something is trusted again.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from queue import Empty, SimpleQueue
from threading import Event, Lock, Semaphore, Thread
from typing import TYPE_CHECKING

from reconciler.client.behind import Behind
from reconciler.client.reach import expecting
from reconciler.client.session import client_script, script_digest
from reconciler.errors import UpdoserError
from reconciler.execute.filling import Filler
from reconciler.guards import Caught
from reconciler.model.events import Trouble
from reconciler.model.relay import Offer
from reconciler.model.report import JournalEntry
from reconciler.model.work_events import RelayFilled
from reconciler.present.words import count_text, size_text
from reconciler.worker.fetching import DISTRUST, NO_TOOL, large_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from typing import BinaryIO, Self

    from reconciler.execute.deploy import Task
    from reconciler.execute.filling import Filled
    from reconciler.execute.work_list import Parts
    from reconciler.model.batch import Answer
    from reconciler.model.deploy import Step
    from reconciler.model.events import Event as Told
    from reconciler.model.plan import Plan
    from reconciler.model.relay import RelaySeen, RelaySpec
    from reconciler.workspace import Workspace

AT_ONCE = 8
"""How many relays are filled at a time."""
RETRY = 30.0
"""Seconds before a relay that couldn't be filled is tried again, while its `wait` lasts."""
PATIENCE = 60.0
"""Seconds that a relay may be silent to a client."""
_REMEMBERED = 1000
"""Offers of a relay that are kept because the next clients are likely to get the same."""


@dataclass
class _Site:
    """A relay in a run: what it is to have, and how it fares. `lock` is for all that follows it.

    `fetching` are the clients that were offered something, where there may not be more than so many; `clients` counts
    those that fetched `fetched` bytes, and `direct` those that got theirs from their worker.
    """

    spec: RelaySpec
    parts: dict[str, int] = field(default_factory=dict)
    ready: Event = field(default_factory=Event)
    lock: Lock = field(default_factory=Lock)
    hosts: list[Filled] = field(default_factory=list)
    seen: list[RelaySeen] = field(default_factory=list)
    trouble: str = ""
    silent: int = 0
    fetching: set[str] = field(default_factory=set)
    offers: dict[tuple[object, ...], tuple[Offer, Task]] = field(default_factory=dict)
    clients: int = 0
    fetched: int = 0
    direct: int = 0

    @property
    def gone(self) -> str:
        """Why it isn't offered any more; empty while it is."""
        if self.hosts and self.silent < DISTRUST:
            return ""
        return self.trouble or "it isn't filled"


class Relays:
    """The relays of a run's clients, filled and served for the time of a `with`. Used from one thread."""

    def __init__(self, plan: Plan, work: Workspace, cohorts: Mapping[str, Parts], useful: Collection[str] = ()) -> None:
        """Take the steps of cohorts; what later ones may need by its digest, too, stays where it is if there is room.

        The plan says which cohorts are behind which relay.
        """
        self._work = work
        self._useful = useful
        self._threads: list[Thread] = []
        self._told: SimpleQueue[Told] = SimpleQueue()
        self._behind = Behind(work.spec.relays, work.spec.groups)
        self._sites: dict[str, _Site] = {}
        self._over = Event()
        self.of_cohorts: dict[str, str] = {}
        """The relays that cohorts wait for."""
        behind = {cohort: use.relay for use in plan.relays for cohort in use.cohorts if use.relay in work.spec.relays}
        for cohort, (steps, early) in cohorts.items() if behind else ():
            parts = {part.sha256: part.size for part in large_parts((*steps, *early))}
            if parts and cohort in behind:
                name = self.of_cohorts[cohort] = behind[cohort]
                self._sites.setdefault(name, _Site(work.spec.relays[name])).parts |= parts
        for site in self._sites.values():
            room = site.spec.disk - sum(site.parts.values()) if site.spec.disk else len(client_script())
            if room >= len(client_script()):
                site.parts[script_digest()] = len(client_script())

    def __enter__(self) -> Self:
        filler, turns = self._filler(), Semaphore(AT_ONCE)
        for site in self._sites.values():
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

    def ready(self, name: str) -> Callable[[], bool]:
        """Give what says whether the turn of a relay's clients has come; of no relay's where the name is empty."""
        return self._sites[name].ready.is_set if name else _at_once

    # --- filling ------------------------------------------------------------------------------------------------------

    def _filler(self) -> Filler:
        work = self._work
        return Filler(work.relay_reach, self._content, (work.means.stop, self._over), work.means.clock)

    def _content(self, sha256: str) -> AbstractContextManager[BinaryIO]:
        """Open a part: of a release, of an incremental, or the script."""
        return BytesIO(client_script()) if sha256 == script_digest() else self._work.store.open(sha256)

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
        text = f"relay {spec.name}: {count_text(site.clients, 'client')} fetched {size_text(site.fetched)}"
        text += f", and {size_text(sent)} were sent to fill it"
        if site.direct:
            text += f"; {count_text(site.direct, 'client')} got theirs directly"
        entry = JournalEntry(outcome="remark", message=text, at=self._work.means.clock())
        state.journal(self._work.means.run_id, [entry])

    # --- what clients get, and say of it ------------------------------------------------------------------------------

    def offered(self, task: Task) -> Task:
        """Give a task with what its client's relay has for it now; as it is where the client is behind none."""
        if not self._sites:
            return task
        place = self._behind.of(task.client)
        site = self._sites.get(place.relay.name) if place.relay is not None else None
        if site is None or not any(True for _part in large_parts((*task.steps, *task.early))):
            return task
        with site.lock:
            why = place.apart or site.gone or _beyond(site, task.client.name)
            urls = () if why else tuple(filled.url for filled in site.hosts)
            wait = 0.0 if why or site.silent else site.spec.wait
        key = id(task.steps), id(task.early), urls, wait, why
        known = site.offers.get(key)
        if known is None:
            if len(site.offers) >= _REMEMBERED:
                site.offers.clear()
            offer = Offer(
                relay=site.spec.name,
                urls=urls,
                parts=frozenset(_there(site, (*task.steps, *task.early))) if urls else frozenset(),
                wait=wait,
                patience=PATIENCE,
                then=site.spec.then,
                why=why,
            )
            known = site.offers[key] = (offer, task)  # the task holds the steps, so that no others have their id
        return replace(task, offer=known[0])

    def learn(self, task: Task, answer: Answer) -> None:
        """Remember how a client fared with its relay."""
        offer = task.offer
        if offer is None or answer.not_begun:
            return
        site = self._sites[offer.relay]
        told = False
        with site.lock:
            site.clients += bool(answer.fetched)
            site.fetched += answer.fetched
            site.direct += offer.then == "direct" and bool(answer.steps) and bool(answer.unfetched or not offer.urls)
            if answer.unfetched:
                site.trouble = answer.unfetched
            if answer.unfetched and answer.unfetched != NO_TOOL:
                site.silent += 1
                told = site.silent == DISTRUST
            elif answer.fetched:
                site.silent = 0
        if told:
            self._told.put(Trouble(f"relay {site.spec.name} isn't asked any more: {answer.unfetched}"))


@contextmanager
def expecting_nothing(site: _Site) -> Iterator[None]:
    """Have what nobody expected of a relay be its trouble: it is of no use then, and the run goes on."""
    try:
        with expecting():
            yield
    except UpdoserError as error:
        site.trouble = error.brief
        site.hosts.clear()


def _beyond(site: _Site, name: str) -> str:
    """Say of a client that it is more than a relay may serve; empty where it is one of those."""
    most = site.spec.clients
    if not most or name in site.fetching:
        return ""
    if len(site.fetching) >= most:
        return f"more than the {most} clients that it may serve"
    site.fetching.add(name)
    return ""


def _there(site: _Site, steps: Iterable[Step]) -> Iterator[str]:
    """Give what a relay has of steps: what is sent for them, files for where a patch is of no use; and the script."""
    if script_digest() in site.parts:
        yield script_digest()
    for step in steps:
        if not step.private:
            yield from (part.sha256 for part in (*step.payload, *step.files) if part.sha256 in site.parts)


def _at_once() -> bool:
    return True
