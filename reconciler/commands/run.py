"""Keeps the fleet current by itself: the controller."""

from __future__ import annotations

import os
import random
import time
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from socket import gethostname
from threading import Event
from typing import TYPE_CHECKING, NamedTuple

from reconciler.assembly import at_work, stop_on_signals
from reconciler.controller.finding import find_conditions
from reconciler.controller.health import Health
from reconciler.controller.leading import await_lease, beating
from reconciler.controller.pace import next_look, next_retry
from reconciler.controller.post import Post
from reconciler.controller.round import Told, go_round
from reconciler.controller.service import Asked, ServiceManager
from reconciler.controller.spec_source import FromFile, FromGit
from reconciler.desk import read_spec
from reconciler.errors import InterruptedRunError, LeaseLostError, LockHeldError, UpdoserError
from reconciler.model.controller import ControllerReport, status_text
from reconciler.model.events import Trouble, WaitStarted
from reconciler.model.notice import CONDITIONS, OF_CONTROLLER
from reconciler.observe.observed import Sight
from reconciler.planner.conditions import controller_conditions
from reconciler.planning import status_of
from reconciler.workspace import open_state

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from datetime import datetime

    from reconciler.controller.mirror import GitOptions
    from reconciler.controller.round import Round
    from reconciler.controller.spec_source import SpecSource
    from reconciler.desk import Desk
    from reconciler.model.controller import ControllerPhase
    from reconciler.model.events import Event as Happening
    from reconciler.model.notice import Condition
    from reconciler.specfile.load import Loaded
    from reconciler.storage.lease import Lease
    from reconciler.workspace import Workspace

POLL = 2.0
"""Seconds between two looks at whether somebody wants something, while the controller sleeps."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run: `forks` clients at a time, and the spec of a file, or from `git`.

    `listen` is the host and the port at which health and metrics are answered; None: nowhere.
    """

    forks: int = 20
    git: GitOptions | None = None
    listen: tuple[str, int] | None = None


def run(desk: Desk, options: RunOptions) -> int:
    """Look, decide and carry out, again and again, until a signal ends it."""
    wake, lost = Event(), Event()
    outside = Outside(ServiceManager.of(os.environ), Health())
    manager, health = outside
    source: SpecSource = FromGit(desk, options.git) if options.git else FromFile(desk)

    def warn(text: str) -> None:
        manager.stopping()
        desk.terminal.note(text, "warning")

    with ExitStack() as stack:
        stop = stack.enter_context(stop_on_signals(warn, wake, Asked(manager.beat)))
        loaded = source.first(stop)  # one that is no good when it starts is said at once, and nothing begins
        stack.enter_context(_answering(desk, options, health))
        lead = stack.enter_context(at_work(desk, loaded=loaded, stop=stop))
        lease = await_lease(lead.state, stop, partial(_say_who_leads, lead, outside), beat=health.beat)
        if lease is None:
            return 0
        manager.ready()
        lead.state.fence(lease.generation)
        with beating(partial(open_state, lead.spec, lead.means), lease, stop, lost):
            controller = _Controller(source, options, lead, lease, loaded, outside)
            while not stop.is_set():
                controller.sleep(controller.go_round(stop), stop, wake)
            if not lost.is_set():
                controller.report("stopped")
    manager.stopping()
    if lost.is_set():
        raise LeaseLostError("the lease is lost: another controller leads, or the state can't be written")
    return 0


class Outside(NamedTuple):
    """Who is told how the controller is: what started it as a service, and those who ask."""

    manager: ServiceManager
    health: Health


def _answering(desk: Desk, options: RunOptions, health: Health) -> AbstractContextManager[object]:
    """Answer about health where that is wanted, and say where."""
    if options.listen is None:
        return nullcontext()
    from reconciler.controller.listening import answering

    return answering(*options.listen, health, desk.terminal.note)


def _say_who_leads(work: Workspace, outside: Outside, lease: Lease) -> None:
    spec, says = work.spec.controller, f"{lease.who or 'another controller'} leads; this one waits"
    waits = ControllerReport(who="", phase="waiting to lead", mode=spec.mode, since=work.means.clock())
    outside.health.say(waits, spec)
    work.means.emit(WaitStarted(says, next_step_at=""))
    outside.manager.status(says)
    outside.manager.ready()  # who waits does what it is there for


class _Controller:
    """What a controller remembers from one round to the next."""

    def __init__(
        self,
        source: SpecSource,
        options: RunOptions,
        lead: Workspace,
        lease: Lease,
        loaded: Loaded,
        outside: Outside,
    ) -> None:
        self._source = source
        self._options = options
        self._lead = lead
        self._lease = lease
        self._good = loaded
        self._manager, self._health = outside
        self._told = Told()
        self._spec_told = Told()
        self._left_out = Told()
        self._status_told = Told()
        self._rejected: list[str] = []
        self._post = Post(lead, lead.means.origin.get("host", "") or gethostname())
        self._chance = random.Random()  # noqa: S311 - spreads rounds of many controllers
        self._failures = 0
        self._asked = lead.state.asked()
        self._said = ControllerReport(
            who=lease.who, phase="starting", mode=loaded.spec.controller.mode, since=lead.means.clock()
        )

    def report(self, phase: ControllerPhase, **news: object) -> None:
        """Write down what the controller does from now on."""
        spec = self._good.spec
        of = {"mode": spec.controller.mode, "commit": spec.commit, "signer": spec.signer}
        self._said = replace(self._said, phase=phase, since=self._lead.means.clock(), **of, **news)  # type: ignore[arg-type]
        self._lead.state.report_controller(self._said)
        self._manager.status(self._source.desk.terminal.mask(status_text(self._said)))
        self._health.say(self._said, spec.controller)

    def go_round(self, stop: Event) -> datetime:
        """Take one round, and give when the next one is due."""
        loaded = self._read(stop)
        self._manager.ready()  # the file is read: that ends a reload
        clock = self._lead.means.clock
        self.report("looking", next_at=None)
        try:
            with at_work(self._source.desk, loaded=loaded, stop=stop) as opened:
                work = self._heard(opened)
                work.state.fence(self._lease.generation)
                made = go_round(
                    work,
                    self._source.desk.file,
                    lambda: read_spec(self._source.desk).spec.holds,
                    forks=self._options.forks,
                    changing=partial(self.report, "changing"),
                )
                self._tell(work, made)
                found = find_conditions(work, made)
                self._forget(work)
                self._health.end_round("ok", made.report)
                self._keep_status(work)
        except (LeaseLostError, InterruptedRunError):
            stop.set()
            return clock()
        except LockHeldError as error:  # somebody's command changes the fleet: no failure, but nothing to do beside it
            self._health.end_round("left_out")
            self._left_out.tell(self._lead, [f"this round is left out: {error.message}"])
            at = next_look(loaded.spec.controller, clock(), None, self._chance.random())
            self.report("sleeping", next_at=at)
            return at
        except UpdoserError as error:
            self._failures += 1
            self._health.end_round("failed")
            self._note(error.message)
            self._lead.means.emit(Trouble(f"this round failed: {error.message}", level="error"))
            at = next_retry(loaded.spec.controller, clock(), self._failures, self._chance.random())
            self.report("sleeping", next_at=at, trouble=error.message, failures=self._failures)
            return at
        self._failures = 0
        self._left_out.tell(self._lead, [])
        self._note("", found)
        at = next_look(loaded.spec.controller, clock(), made.due, self._chance.random())
        self.report("sleeping", next_at=at, trouble="", failures=0, looked=made.plan.created)
        return at

    def _heard(self, work: Workspace) -> Workspace:
        """Have all that happens count as a sign of life."""
        emit = work.means.emit

        def hear(event: Happening, /) -> None:
            self._health.beat()
            emit(event)

        return replace(work, means=replace(work.means, emit=hear))

    def _keep_status(self, work: Workspace) -> None:
        """Count how far the fleet is, for those who ask; what keeps that from being counted ends no round."""
        if self._options.listen is None or work.means.stop.is_set():
            return
        silent = replace(work, means=replace(work.means, emit=lambda _event: self._health.beat()))
        try:
            self._health.keep_status(status_of(silent, Sight(refresh=False)))
            problems = []
        except (LeaseLostError, InterruptedRunError):
            raise
        except UpdoserError as error:
            problems = [f"the metrics stay as they were: {error.message}"]
        self._status_told.tell(work, problems)

    def _read(self, stop: Event) -> Loaded:
        """Read the spec; one that is no good is told, and the last good one stays in force."""
        found = self._source.look(stop)
        new, problems = found.loaded, found.problems
        if new and new.spec.server.state != self._good.spec.server.state:
            told = "server.state is another one now, which takes a new start; the spec before stays in force"
            problems = (*problems, told)
        elif new:
            if new.spec.digest != self._good.spec.digest:
                self._failures = 0
            self._good = new
        self._spec_told.tell(self._lead, problems)
        self._rejected = list(problems)
        return self._good

    def _tell(self, work: Workspace, made: Round) -> None:
        self._told.tell(work, [*made.plan.problems, *([made.waits] if made.waits else [])])

    def _note(self, failure: str, found: tuple[Condition, ...] | None = None) -> None:
        """Have people told what a round found, or that it failed. They are told later where that can't be written."""
        own = controller_conditions(failure, self._failures, self._rejected)
        judged = OF_CONTROLLER if found is None else frozenset(CONDITIONS)
        try:
            self._post.note(self._good.spec, (*own, *(found or ())), judged)
        except LeaseLostError:
            raise
        except UpdoserError as error:
            self._lead.means.emit(Trouble(f"nobody is told of this round: {error.message}", level="error"))

    def _deliver(self) -> None:
        """Send what is due; a state that can't be written keeps it."""
        try:
            self._post.deliver(self._good.spec)
        except LeaseLostError:
            raise
        except UpdoserError as error:
            self._lead.means.emit(Trouble(f"no message is sent: {error.message}", level="error"))

    def _forget(self, work: Workspace) -> None:
        """Let go of runs and plans that are as old as the spec wants."""
        now, ages = work.means.clock(), work.spec.controller.retention
        work.state.forget_runs(now - ages.runs, now - ages.plans)

    def sleep(self, at: datetime, stop: Event, wake: Event) -> None:
        """Wait until a time, a signal, or somebody's wish.

        A clock that jumps back doesn't make it longer: the span counts by a watch, too.
        """
        clock, began = self._lead.means.clock, time.monotonic()
        span = max((at - clock()).total_seconds(), 0.0)
        self._lead.means.emit(WaitStarted(f"next look at {at:%Y-%m-%d %H:%M:%S} UTC", next_step_at=at.isoformat()))
        self._deliver()
        while not (stop.is_set() or wake.is_set()) and clock() < at and time.monotonic() - began < span:
            self._health.beat()
            asked = self._lead.state.asked()
            if asked != self._asked:
                self._asked = asked
                break
            stop.wait(min(POLL, span))
            if self._post.due is not None and self._post.due <= clock():
                self._deliver()
        if wake.is_set() and not stop.is_set():
            self._manager.reloading()
        wake.clear()
