"""The loop of a controller: it reads the spec, takes a round, tells what came of it, and sleeps until the next one.

What outlives a round is here: the lease, the spec in force, and what was told already. Time comes from outside
(`Time`), and is let pass by the event that stops the loop: who gives both decides how long a week takes.
"""

from __future__ import annotations

import random
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from socket import gethostname
from threading import Event
from typing import TYPE_CHECKING, NamedTuple

from reconciler.assembly import at_work, utc_now, warn_of_state
from reconciler.controller.finding import look_back
from reconciler.controller.leading import await_lease, beating
from reconciler.controller.meanwhile import telling, urgent
from reconciler.controller.pace import Fetched, next_look, next_retry
from reconciler.controller.places import keep_wanted
from reconciler.controller.post import Post
from reconciler.controller.requests import Judge, attending
from reconciler.controller.round import Sources, Told, go_round
from reconciler.controller.showing import look_meanwhile, showing
from reconciler.controller.snapshot import keep_snapshots, masked
from reconciler.desk import read_spec
from reconciler.errors import InterruptedRunError, LeaseLostError, LockHeldError, UpdoserError
from reconciler.model.controller import ControllerReport, status_text
from reconciler.model.events import Trouble, WaitStarted
from reconciler.model.notice import CONDITIONS, OF_CONTROLLER, URGENT
from reconciler.planner.conditions import controller_conditions
from reconciler.specfile.secrets import Masker
from reconciler.storage.holding import PATIENCE
from reconciler.workspace import open_state, open_workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from datetime import datetime

    from reconciler.controller.finding import Seen
    from reconciler.controller.health import Health
    from reconciler.controller.round import Round
    from reconciler.controller.service import ServiceManager
    from reconciler.controller.spec_source import SpecSource
    from reconciler.model.controller import ControllerPhase
    from reconciler.model.events import Event as Happening
    from reconciler.model.notice import Condition, ConditionKind
    from reconciler.model.plan import Plan, RolloutStep
    from reconciler.model.report import Status
    from reconciler.planner.inputs import Observed
    from reconciler.specfile.load import Loaded
    from reconciler.storage.lease import Lease
    from reconciler.workspace import Workspace

_MOST_TOLD = 2_000
"""Characters of what is wrong with a spec that the controller says of itself."""
POLL = 2.0
"""Seconds between two looks at whether somebody wants something, while the controller sleeps."""


@dataclass(frozen=True, slots=True)
class Time:
    """What tells the time: a `clock`, which people set, and a `watch` of seconds, which runs on."""

    clock: Callable[[], datetime] = utc_now
    watch: Callable[[], float] = time.monotonic


class Outside(NamedTuple):
    """Who is told how the controller is: what started it as a service, and those who ask."""

    manager: ServiceManager
    health: Health


@dataclass(frozen=True, slots=True)
class Signals:
    """What ends a loop, and what has it look now."""

    stop: Event
    wake: Event


def keep_current(
    source: SpecSource,
    loaded: Loaded,
    outside: Outside,
    signals: Signals,
    *,
    forks: int,
    time: Time = Time(),
) -> None:
    """Wait to lead, and then take one round after the other until a signal ends it; begins with the spec `loaded`.

    Raises:
        LeaseLostError: another controller leads by now.
        UpdoserError: the state can't be opened, or read and written.
    """
    stop, lost, masker = signals.stop, Event(), Masker()
    with ExitStack() as stack:
        lead = stack.enter_context(at_work(source.desk, loaded=loaded, stop=stop, clock=time.clock, masker=masker))
        lease = await_lease(lead.state, stop, partial(_say_who_leads, lead, outside), beat=outside.health.beat)
        if lease is None:
            return
        outside.manager.ready()
        lead.state.fence(lease.generation)
        warn_of_state(lead)
        with beating(partial(open_state, lead.spec, lead.means), lease, stop, lost):
            loop = Loop(source, lead, lease, loaded, outside, forks=forks, time=time, masker=masker)
            while not stop.is_set():
                loop.sleep(loop.go_round(stop), signals)
            if not lost.is_set():
                loop.report("stopped")
    if lost.is_set():
        raise LeaseLostError("the lease is lost: another controller leads, or the state can't be written")


def _say_who_leads(work: Workspace, outside: Outside, lease: Lease) -> None:
    spec, says = work.spec.controller, f"{lease.who or 'another controller'} leads; this one waits"
    waits = ControllerReport(who="", phase="waiting to lead", mode=spec.mode, since=work.means.clock())
    outside.health.say(waits, spec)
    work.means.emit(WaitStarted(says, next_step_at=""))
    outside.manager.status(says)
    outside.manager.ready()  # who waits does what it is there for


class Loop:
    """What a controller that leads remembers from one round to the next."""

    def __init__(
        self,
        source: SpecSource,
        lead: Workspace,
        lease: Lease,
        loaded: Loaded,
        outside: Outside,
        *,
        forks: int,
        time: Time,
        masker: Masker,
    ) -> None:
        """Begin with the spec `loaded`; `lead` is the workspace that is open as long as the lease is held."""
        self._source = source
        self._lead = lead
        self._lease = lease
        self._good = loaded
        self._manager, self._health = outside
        self._forks = forks
        self._time = time
        self._masker = masker
        self._judge = Judge()
        self._told = Told()
        self._spec_told = Told()
        self._left_out = Told()
        self._sources = Sources()
        self._rejected: list[str] = []
        self._unreachable = ""
        self._fetch_at: datetime | None = None
        self._fetched = Fetched()
        self._wanted = False
        self._steps: tuple[RolloutStep, ...] = ()
        self._changing: Plan | None = None
        host = lead.means.origin.get("host", "") or gethostname()
        self._post = Post(host, count=self._health.count_message)
        self._chance = random.Random()  # noqa: S311 - spreads rounds of many controllers
        self._failures = 0
        self._asked = lead.state.asked()
        self._said = ControllerReport(
            who=lease.who, phase="starting", mode=loaded.spec.controller.mode, since=time.clock(), verified=time.clock()
        )

    def report(self, phase: ControllerPhase, **news: object) -> None:
        """Write down what the controller does from now on."""
        spec = self._good.spec
        rejected = self._masker.mask("; ".join(self._rejected))[:_MOST_TOLD]
        of = {"mode": spec.controller.mode, "commit": spec.commit, "signer": spec.signer, "rejected": rejected}
        self._said = replace(self._said, phase=phase, since=self._time.clock(), **of, **news)  # type: ignore[arg-type]
        self._lead.state.report_controller(self._said)
        self._manager.status(status_text(self._said))
        self._health.say(self._said, spec.controller)

    def go_round(self, stop: Event) -> datetime:
        """Take one round, and give when the next one is due."""
        loaded = self._read(stop)
        self._manager.ready()  # the file is read: that ends a reload
        clock = self._time.clock
        self.report("looking", next_at=None)
        try:
            with at_work(self._source.desk, loaded=loaded, stop=stop, clock=clock, masker=self._masker) as opened:
                work = self._heard(opened)
                work.state.fence(self._lease.generation)
                self._steps, self._changing = (), None
                self._judge_requests(work)
                with self._beside():
                    made = go_round(
                        work,
                        self._source.desk.file,
                        lambda: read_spec(self._source.desk).spec.holds,
                        forks=self._forks,
                        changing=partial(self._begin_changing, work),
                    )
                self._told.tell(work, [*made.plan.problems, *([made.waits] if made.waits else [])])
                if made.report is not None or not stop.is_set():
                    seen = look_back(work, made)
                    self._note("", seen.conditions)
                    self._hand_on(work, seen)
                self._forget(work)
                self._health.end_round("ok", made.report)
        except (LeaseLostError, InterruptedRunError):
            stop.set()
            return clock()
        except LockHeldError as error:  # somebody's command changes the fleet: no failure, but nothing to do beside it
            self._health.end_round("left_out")
            self._left_out.tell(self._lead, [f"this round is left out: {error.message}"])
            at = next_look(loaded.spec.controller, clock(), self._due(None), self._chance.random())
            at = min(at, clock() + timedelta(seconds=PATIENCE))  # by then it is known whether that one lives
            self.report("sleeping", next_at=at)
            return at
        except UpdoserError as error:
            self._failures += 1
            self._health.end_round("failed")
            message = self._masker.mask(error.message)
            self._note(message)
            self._lead.means.emit(Trouble(f"this round failed: {message}", level="error"))
            at = next_retry(loaded.spec.controller, clock(), self._failures, self._chance.random())
            self.report("sleeping", next_at=at, trouble=message, failures=self._failures)
            return at
        self._failures = 0
        self._left_out.tell(self._lead, [])
        due = self._due(self._after_fetching(made))
        at = next_look(loaded.spec.controller, clock(), due, self._chance.random())
        self.report("sleeping", next_at=at, trouble="", failures=0, looked=made.plan.created)
        return at

    def _due(self, step: datetime | None) -> datetime | None:
        """Give when something is due: a step, or another try to reach where the spec is from."""
        return min((at for at in (step, self._fetch_at) if at is not None), default=None)

    def _after_fetching(self, made: Round) -> datetime | None:
        """Give when the next step of a round is due: soon, where it had something fetched that can be deployed now."""
        fetched = made.plan.fetches if made.report is not None and made.report.fetched else ()
        soon = self._fetched.due(self._time.clock(), fetched)
        return min((at for at in (made.due, soon) if at is not None), default=None)

    def _judge_requests(self, work: Workspace) -> None:
        """Judge what people asked in the console."""
        console = self._good.spec.console
        self._judge(work, four_eyes=console is not None and console.four_eyes)

    @contextmanager
    def _workspace(self) -> Iterator[Workspace]:
        """Give another workspace beside that of the round."""
        means = replace(self._lead.means, emit=lambda _event: None)
        with open_workspace(self._good.spec, means) as work:
            work.state.fence(self._lease.generation)
            yield work

    def _heard(self, work: Workspace) -> Workspace:
        """Have all that happens count as a sign of life."""
        emit = work.means.emit

        def hear(event: Happening, /) -> None:
            self._health.beat()
            emit(self._sources.heard(event))

        return replace(work, means=replace(work.means, emit=hear))

    def _begin_changing(self, work: Workspace, made: Round) -> None:
        """Show what is about to be done: it may take hours, and the one before may be of long ago."""
        self.report("changing")
        self._steps = made.plan.rollouts
        self._hand_on(work, look_back(work, made))
        self._changing = made.plan

    @contextmanager
    def _beside(self) -> Iterator[None]:
        """Have done what can't wait for the end of a round, which may be hours away."""
        with (
            attending(self._judge_requests, self._workspace),
            telling(self._tell_now, self._workspace),
            showing(self._show_now, self._workspace),
        ):
            yield

    def _show_now(self, work: Workspace, ended: Event) -> None:
        """Show how far the run is that changes clients; called by a thread of its own."""
        plan = self._changing
        if plan is None:
            return
        status, observed = look_meanwhile(work)
        if not ended.is_set():
            self._show(work, status, plan, observed)

    def _hand_on(self, work: Workspace, seen: Seen) -> None:
        """Hand the fleet as it is now on to all who show it without looking themselves."""
        status = replace(seen.status, conditions=work.state.conditions())
        self._show(work, status, seen.plan, seen.observed)
        keep_wanted(work, self._good, partial(masked, mask=self._masker.mask))

    def _show(self, work: Workspace, status: Status, plan: Plan, observed: Observed) -> None:
        self._health.keep_status(status)
        keep_snapshots(work, status, plan, observed, self._masker.mask)

    def _read(self, stop: Event) -> Loaded:
        """Read the spec; one that is no good is told, and the last good one stays in force."""
        found = self._source.look(stop, now=self._wanted)
        self._wanted = False
        self._unreachable, self._fetch_at = found.unreachable, found.again
        new, problems = found.loaded, found.problems
        if new and new.spec.server.state != self._good.spec.server.state:
            told = "server.state is another one now, which takes a new start; the spec before stays in force"
            problems = (*problems, told)
        elif new:
            if new.spec.digest != self._good.spec.digest:
                self._failures = 0
            self._good = new
            if not problems and not found.unreachable:
                self._said = replace(self._said, verified=self._time.clock())
        unknown = [f"the last good spec stays in force: {found.unreachable}"] if found.unreachable else []
        self._spec_told.tell(self._lead, [*problems, *unknown])
        self._rejected = list(problems)
        return self._good

    def _note(self, failure: str, found: tuple[Condition, ...] | None = None) -> None:
        """Have people told what a round found, or that it failed. They are told later where that can't be written."""
        own = controller_conditions(failure, self._failures, self._rejected, self._unreachable)
        judged = OF_CONTROLLER if found is None else frozenset(CONDITIONS)
        try:
            self._put(self._lead, (*own, *(found or ())), judged)
        except LeaseLostError:
            raise
        except UpdoserError as error:
            self._lead.means.emit(Trouble(f"nobody is told of this round: {error.message}", level="error"))

    def _put(self, work: Workspace, found: Iterable[Condition], judged: Collection[ConditionKind]) -> None:
        told = [replace(one, summary=self._masker.mask(one.summary)) for one in found]
        self._post.note(work, self._good.spec, told, judged)

    def _tell_now(self, work: Workspace, ended: Event) -> None:
        """Tell what can't wait for the end of the round, and send what is due; called by a thread of its own."""
        if self._steps:
            self._put(work, urgent(work, self._steps), URGENT)
        loud = replace(work, means=replace(work.means, emit=self._lead.means.emit))
        self._post.deliver(loud, self._good.spec, ended)

    def _deliver(self) -> None:
        """Send what is due; a state that can't be written keeps it."""
        try:
            self._post.deliver(self._lead, self._good.spec)
        except LeaseLostError:
            raise
        except UpdoserError as error:
            self._lead.means.emit(Trouble(f"no message is sent: {error.message}", level="error"))

    def _forget(self, work: Workspace) -> None:
        """Let go of runs and plans that are as old as the spec wants."""
        now, ages = self._time.clock(), work.spec.controller.retention
        work.state.forget_runs(now - ages.runs, now - ages.plans)

    def sleep(self, at: datetime, signals: Signals) -> None:
        """Wait until a time, a signal, or somebody's wish.

        A clock that jumps back doesn't make it longer: the span counts by a watch, too.
        """
        stop, wake = signals.stop, signals.wake
        clock, watch = self._time.clock, self._time.watch
        began, span = watch(), max((at - clock()).total_seconds(), 0.0)
        self._lead.means.emit(WaitStarted(f"next look at {at:%Y-%m-%d %H:%M:%S} UTC", next_step_at=at.isoformat()))
        self._deliver()
        while not (stop.is_set() or wake.is_set()) and clock() < at and watch() - began < span:
            self._health.beat()
            asked = self._lead.state.asked()
            if asked != self._asked:
                self._asked, self._wanted = asked, True
                break
            self._lead.state.await_news(stop, min(POLL, span))
            if self._post.due is not None and self._post.due <= clock():
                self._deliver()
        if wake.is_set() and not stop.is_set():
            self._wanted = True
            self._manager.reloading()
        wake.clear()
