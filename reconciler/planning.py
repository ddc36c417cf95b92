"""Makes plans from what is observed, and the steps that follow from one that was approved.

A plan approves a rollout. Its first step is the plan itself; what follows is planned anew from what is there by then,
and only the part about the versions that were approved is carried out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING

from reconciler.assembly import new_id
from reconciler.errors import RepositoryError, SecretError, SpecError, UpdoserError, UsageError
from reconciler.formats.select import parse
from reconciler.model.events import Trouble, WaitStarted
from reconciler.model.relay import relay_statuses
from reconciler.model.rollout import UNDER_WAY
from reconciler.observe.before import managed_before, settings_left
from reconciler.observe.observed import Sight, ahead_text, observe, wanted_settings
from reconciler.observe.samples import take_samples
from reconciler.observe.troubles import find_troubles, left_alone
from reconciler.planner.against import against
from reconciler.planner.conditions import drifted
from reconciler.planner.inputs import Wanted
from reconciler.planner.leaving import leaving
from reconciler.planner.outlook import Imagination, run_of
from reconciler.planner.planner import make_plan
from reconciler.planner.protection import advance
from reconciler.planner.provenance import provenance
from reconciler.planner.ruler import Allowance, Ruler
from reconciler.planner.sites import site_standings
from reconciler.planner.status import make_status, source_statuses
from reconciler.planner.turns import turned_away
from reconciler.planner.ways_back import ways_back
from reconciler.repository.edition import folder_of
from reconciler.specfile.changes import spec_changes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

    from reconciler.execute.gate import Bounds
    from reconciler.formats.select import Pattern
    from reconciler.model.change import Deploy, Settings
    from reconciler.model.client import Client
    from reconciler.model.controller import Pause
    from reconciler.model.plan import Plan, RolloutStep
    from reconciler.model.protection import Protection
    from reconciler.model.report import ComponentStatus, Status
    from reconciler.model.repository import RoleStatus
    from reconciler.model.rollout import Key, RolloutRecord
    from reconciler.model.spec import Hold, Spec
    from reconciler.planner.inputs import Observed
    from reconciler.workspace import Workspace

LOOK_AT_TURNS = 1.0
"""Seconds between two looks at what people may have stopped, while clients change."""
LOOK_AGAIN = timedelta(seconds=20)
"""How often a run that waits looks whether anything became due that no time tells of: an approval, a window."""


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What to plan.

    `targets` are component ids; `forced` passes over what triggers updates, and `expedited` are the components that
    wait for no soak and no window.
    """

    sight: Sight
    targets: tuple[str, ...] = ()
    forced: bool = False
    expedited: tuple[str, ...] = ()


def wanted_of(work: Workspace, options: PlanOptions) -> Wanted:
    """Give what the spec wants, as far as the options ask for it.

    Raises:
        UsageError: an option names a component that isn't managed.
    """
    work.managed(*options.targets, option="--target")
    work.managed(*options.expedited, option="--expedite")
    managed = work.spec.components
    components = {name: spec for name, spec in managed.items() if not options.targets or name in options.targets}
    return Wanted(
        components=components,
        groups=work.spec.groups,
        partial=bool(options.targets or options.sight.limit or options.sight.names),
        duplication=work.spec.duplication,
        repository=work.spec.repository,
        mirrors=work.spec.mirrors,
        policies=work.spec.policies,
        forced=options.forced,
        limited=bool(options.sight.limit),
        expedited=frozenset(options.expedited),
        client_keep=work.spec.client_keep,
        relays=work.spec.relays,
        afar=_afar(work) if work.spec.relays else frozenset(),
    )


def _afar(work: Workspace) -> frozenset[str]:
    """Give the groups whose clients are worked on by other machines."""
    return frozenset(group for group in work.spec.groups if work.plugins.afar(work.spec.site_of(group)))


def new_plan(work: Workspace, options: PlanOptions) -> Plan:
    """Look, and decide.

    Raises:
        UsageError: an option names what isn't there.
        UpdoserError: what `observe` raises.
    """
    return look_and_plan(work, options)[0]


def look_and_plan(work: Workspace, options: PlanOptions) -> tuple[Plan, Observed]:
    """Look, and decide; gives what was seen, too, for who has more to say of it.

    Raises:
        UsageError: an option names what isn't there.
        UpdoserError: what `observe` raises.
    """
    wanted = wanted_of(work, options)  # before anything is looked at, which may take long
    observed = _look(work, options, wanted)
    return _decide(work, options, wanted, observed), observed


def whole_plan(work: Workspace, options: PlanOptions) -> Plan:
    """Look, decide, and add what a reviewer wants to know.

    That is the whole run, the way back, where releases come from, what isn't managed any more, who came and left.

    Raises:
        UsageError: an option names what isn't there.
        UpdoserError: what `observe` raises.
    """
    wanted = wanted_of(work, options)
    observed = _look(work, options, wanted)
    made = _decide(work, options, wanted, observed)
    now = made.created
    imagined = Imagination(wanted, observed)
    found = run_of(imagined, made, now)
    before = managed_before(work)
    left, clients = leaving(wanted, observed, before, settings_left(work, before), work.roll.moved())
    run = None
    if found:
        from reconciler.planner.forecast import all_arrive, arrivals

        done, run = found
        if not all_arrive(wanted, imagined.observed, done, now):
            run = replace(run, arrivals=arrivals(wanted, observed, made, now))
    return replace(
        made,
        run=run,
        ways_back=ways_back(made, wanted.client_keep),
        provenance=provenance(made, observed),
        leaving=left,
        leaving_clients=clients,
        fleet_moves=tuple(work.roll.moves(before.groups if before else ())),
    )


def _look(work: Workspace, options: PlanOptions, wanted: Wanted) -> Observed:
    sight = replace(options.sight, settings=options.sight.settings and not options.targets)
    return _sampled(work, wanted, observe(work, sight))


def _sampled(work: Workspace, wanted: Wanted, observed: Observed) -> Observed:
    """Add samples of what isn't made yet; see `observe.samples`."""
    return replace(observed, samples=take_samples(work, wanted, observed, work.means.clock()))


def plan_of(work: Workspace, options: PlanOptions, observed: Observed) -> Plan:
    """Decide from what was observed."""
    return _decide(work, options, wanted_of(work, options), observed)


def status_of(work: Workspace, sight: Sight, *, within: int = 0, max_age: timedelta | None = None) -> Status:
    """Say how far the fleet is; `within` and `max_age` are what still counts as updated.

    Raises:
        UpdoserError: what `observe` raises.
    """
    observed = observe(work, replace(sight, settings=False))
    plan = plan_of(work, PlanOptions(sight), observed)
    return status_from(work, observed, plan, within=within, max_age=max_age)


def status_from(
    work: Workspace, observed: Observed, plan: Plan, *, within: int = 0, max_age: timedelta | None = None
) -> Status:
    """Say how far the fleet is, from what was observed and the plan that was made of it; see `status_of`.

    Raises:
        StateError: the state can't be read.
    """
    now = work.means.clock()
    made = make_status(
        Wanted(work.spec.components, work.spec.groups),
        observed,
        Allowance(now, within, max_age, work.state.first_seen()),
        as_of=work.state.last_observed(),
        sources=source_statuses(work.spec.sources, work.state.source_reports(), now),
        traffic=work.state.traffic(),
    )
    return replace(
        made,
        components=_with_protection(work.state.protections(), made.components),
        rollouts=tuple(step for step in plan.rollouts if step.before),
        drifted=drifted(plan.drift),
        quarantined=left_alone(work, now),
        troubles=find_troubles(work, observed.cohorts),
        conditions=work.state.conditions(),
        controller=work.state.controller_status(),
        repository={role.role: role.expires for role in published_roles(work) if role.expires is not None},
        relays=relay_statuses(work.spec.relays, observed.relays),
        sites=site_standings(work.spec.sites, observed.cohorts),
    )


def published_roles(work: Workspace) -> tuple[RoleStatus, ...]:
    """Give the roles of the repository for other sites; nothing where there is none, or it can't be read."""
    folder = folder_of(work)
    try:
        return folder.roles() if folder else ()
    except RepositoryError:  # the plan has that among its problems
        return ()


def _with_protection(
    known: Mapping[tuple[str, str], Protection], entries: Iterable[ComponentStatus]
) -> tuple[ComponentStatus, ...]:
    """Say how fast the fleet was with the release that it should run, or else with the latest that is followed."""
    latest = {component: one for (component, _version), one in known.items()}
    return tuple(
        replace(entry, protection=known.get((entry.id, entry.wanted), latest.get(entry.id))) for entry in entries
    )


def note_protection(work: Workspace, observed: Observed | None, plan: Plan) -> None:
    """Remember which share of the clients that should have them has which releases, after a plan was carried out.

    `observed` is the fleet as it is then; None: as the state remembers it.

    Raises:
        UpdoserError: what `observe` raises.
    """
    now = work.means.clock()
    if observed is None:
        observed = observe(_silent(work), Sight(refresh=False, settings=False))
    wanted, known = Wanted(work.spec.components, work.spec.groups), work.state.protections()
    seen = replace(observed, first_seen=work.state.first_seen())
    ruler = Ruler(wanted, seen, Allowance(now, first_seen=seen.first_seen))
    found = advance(wanted, seen, ruler, known, since=plan.created - _FRESH, now=now)
    if found:
        work.state.keep_protections(found)


def _silent(work: Workspace) -> Workspace:
    return replace(work, means=replace(work.means, emit=lambda _event: None))


_FRESH = timedelta(hours=1)
"""How long before a plan a release is first seen that the plan brings: sources are asked before clients."""


def _decide(work: Workspace, options: PlanOptions, wanted: Wanted, observed: Observed) -> Plan:
    now = work.means.clock()
    made = make_plan(wanted, observed, plan_id=new_id(now), now=now)
    return replace(
        made,
        limit=options.sight.limit,
        spec_commit=work.spec.commit,
        signer=work.spec.signer,
        sites=site_standings(work.spec.sites, observed.cohorts),
    )


def as_limited(options: PlanOptions, made: Plan) -> PlanOptions:
    """Give what the steps after a plan are planned with: where it was made for some clients, they are for those alone.

    They go by the names that stand in it, which were seen by who approved it: a pattern may take others by now.
    """
    if not made.limit:
        return options
    names = tuple(sorted({name for members in made.members.values() for name in members}))
    return replace(options, sight=replace(options.sight, limit=made.limit, names=names))


def with_spec_changes(made: Plan, work: Workspace) -> Plan:
    """Say in a plan what changed in the spec since it was applied last; nothing, where it never was."""
    before = work.state.applied_spec()
    counts = {} if made.partial else made.clients
    return made if before is None else replace(made, spec_changes=spec_changes(before, work.spec.effective, counts))


def against_base(made: Plan, work: Workspace, options: PlanOptions, base: Spec) -> Plan:
    """Say in a plan what comes of the spec and what would come of a base, too, by the facts that the plan is made from.

    Settings of which the base's templates or secrets aren't at hand count as changed by the spec.

    Raises:
        StoreError, StateError: store or state can't be read.
    """
    other = replace(work, spec=base)
    targets = tuple(name for name in options.targets if name in base.components)
    if options.targets and not targets:  # the base manages none of them
        return replace(made, against_base=against(made.nothing, made))
    expedited = tuple(name for name in options.expedited if name in base.components)
    sight = replace(options.sight, refresh=False, settings=options.sight.settings and not targets)
    again = replace(options, targets=targets, expedited=expedited)
    rewritten: set[str] = set()
    try:
        try:
            observed = observe(other, sight, seen=work.roll)
            if made.settings:
                before, after = wanted_settings(other), wanted_settings(work)
                rewritten = {name for name, wish in after.items() if before.get(name) != wish}
        except (SpecError, SecretError):
            observed = observe(other, replace(sight, settings=False), seen=work.roll)
        before_plan = plan_of(other, again, _sampled(other, wanted_of(other, again), observed))
    except UsageError:  # the limit takes nobody of the base
        before_plan = made.nothing
    return replace(made, against_base=against(before_plan, made, rewritten))


def cut_moments(work: Workspace) -> None:
    """Make remembered moments that lie ahead of the clock what they count as, and say so.

    Raises:
        StateError: the state can't be written.
    """
    ahead = work.state.cut_moments(work.spec.quarantine.span)
    if ahead:
        work.means.emit(Trouble(ahead_text(ahead)))


class Following:
    """Gives the steps that follow from a plan, one after the other; None when none is due."""

    def __init__(self, plan: Plan, work: Workspace, options: PlanOptions, *, wait: bool = False) -> None:
        """Take the plan that was approved; with `wait`, what comes later is waited for."""
        self._work = work
        self._options = options
        self._wait = wait
        self._approved = plan.subjects
        self._goes_on = bool(plan.rollouts)
        self.observed: Observed | None = None
        """What the last of these steps was made from."""

    def step(self) -> Plan:
        """Give the step that is due now, from a new look; it may be empty."""
        return self._look(refresh=True)

    def __call__(self) -> Plan | None:
        """Give the next step: from what the run itself saw, or after a wait from a new look; the last one is empty."""
        if not self._goes_on:
            return None
        step = self._look(refresh=False)
        if not step.due and self._wait:
            step = self._wait_for(step)
        self._goes_on = step.due
        return step

    def _look(self, *, refresh: bool) -> Plan:
        cut_moments(self._work)
        sight = replace(self._options.sight, refresh=refresh and self._options.sight.refresh, settings=False)
        made, self.observed = look_and_plan(self._work, replace(self._options, sight=sight))
        return made.only(self._approved)

    def _wait_for(self, step: Plan) -> Plan:
        """Wait until something is due, nothing is under way any more, or the run is stopped."""
        means, told = self._work.means, ""
        while not step.due and any(map(_goes_on, step.rollouts)):
            says = "; ".join(f"{entry.record.component}: {entry.says}" for entry in step.rollouts)
            if says != told:
                means.emit(WaitStarted(f"waiting: {says}", next_step_at=str(step.next_step_at or "")))
                told = says
            until = min(step.next_step_at or means.clock() + LOOK_AGAIN, means.clock() + LOOK_AGAIN)
            if self._work.state.await_news(means.stop, max((until - means.clock()).total_seconds(), 0.0)):
                break
            step = self._look(refresh=False)
            if step.due:
                step = self._look(refresh=True)
        return step


class Turns:
    """Says at each client's turn whether it may still begin, by what holds then: the `Turns` of `execute.clients`."""

    def __init__(
        self, work: Workspace, file: Path, read_holds: Callable[[], Iterable[Hold]], *, heeds_pause: bool = False
    ) -> None:
        """Take the spec's file, and what gives the holds that stand in it by now.

        `heeds_pause`: a controller that is paused begins with nobody.
        """
        self._heeds_pause = heeds_pause
        self._pause: Pause | None = None
        self._work = work
        self._file = file
        self._read_holds = read_holds
        self._stamp = _stamp(file)
        self._holds = _with_patterns(work.spec.holds)
        self._stopped: Mapping[Key, RolloutRecord] = {}
        self._looked = 0.0

    def look(self) -> None:
        """Read what is steered by people, at most every LOOK_AT_TURNS seconds.

        Raises:
            StateError: the state can't be read.
        """
        if self._looked and monotonic() - self._looked < LOOK_AT_TURNS:
            return
        self._stopped = self._work.state.stopped()
        if self._heeds_pause:
            self._pause = self._work.state.paused()
        stamp = _stamp(self._file)
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._holds = _with_patterns(self._read_holds())
            except UpdoserError as error:
                says = f"{self._file} changed and can't be read, so holds stay as they were: {error.message}"
                self._work.means.emit(Trouble(says))
        self._looked = monotonic()

    def lets_all(self, bounds: Bounds) -> bool:
        """Say that no client whatever is turned away now from changes within these bounds."""
        if self._pause is not None or self._holds:
            return False
        now = self._work.means.clock()
        begun = bounds.begins is None or bounds.begins <= now
        return begun and (bounds.ends is None or now < bounds.ends) and bounds.rollouts.isdisjoint(self._stopped)

    def stopped(self) -> Collection[Key]:
        """Give the rollouts that people stopped, as of the last look."""
        return self._stopped.keys()

    def turned_away(self, client: Client, change: Deploy | Settings) -> str:
        """Say why a client must not begin with a change any more; empty where it may."""
        if self._pause is not None:
            return f"the controller is paused by {self._pause.who}: {self._pause.reason}"
        return turned_away(client, change, self._work.means.clock(), self._stopped, self._holds)


def _with_patterns(holds: Iterable[Hold]) -> list[tuple[Pattern, Hold]]:
    return [(parse(hold.clients), hold) for hold in holds]


def _stamp(file: Path) -> tuple[int, int, int] | None:
    """Give what changes when a file does."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _goes_on(step: RolloutStep) -> bool:
    """Say whether a rollout may go on while it is waited for; clients that are off aren't waited for."""
    return step.record.status in UNDER_WAY and not (step.record.passed is None and step.counts.asleep)
