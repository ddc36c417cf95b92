"""Says why a client has what it has: what is asked for, what is in the way, and what comes next.

The answer is a plan for that one client, made by the one planner from the whole fleet as it was last seen. What an
apply would do, and for which reasons it wouldn't, is read from that plan; nothing is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.assembly import at_work
from reconciler.desk import read_spec
from reconciler.errors import UsageError
from reconciler.hints import suggestion
from reconciler.model.report import Asked
from reconciler.model.standing import ClientStanding, ComponentStanding, Happened, RolloutPlace
from reconciler.observe.listing import make_ruler
from reconciler.observe.observed import Sight, observe
from reconciler.planner.inputs import Wanted
from reconciler.planner.waves import Lineup, first_waves
from reconciler.planning import PlanOptions, plan_of
from reconciler.present.standing_form import standing_document
from reconciler.present.views import STANDING
from reconciler.present.words import size_text
from reconciler.specfile.asked import asked_of, holds_of
from reconciler.storage.base import moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.desk import Desk
    from reconciler.model.change import Deploy
    from reconciler.model.plan import Cohort, Finding, Plan, RolloutStep
    from reconciler.model.spec import ComponentSpec
    from reconciler.model.standing import Coming
    from reconciler.planner.inputs import Observed
    from reconciler.planner.ruler import Ruler
    from reconciler.specfile.load import Loaded
    from reconciler.workspace import Workspace

_JOURNAL = 200
"""Entries of the journal that are looked through for what happened last."""
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class WhyOptions:
    """Whom to ask about, and what: all components where `component` is empty. `refresh` looks at the client first."""

    client: str
    component: str = ""
    refresh: bool = False


def why(desk: Desk, options: WhyOptions) -> int:
    """Say why a client has what it has."""
    with at_work(desk) as work:
        work.managed(*filter(None, [options.component]))
        sight = Sight(refresh=options.refresh, names=(options.client,), settings=False)
        observed = observe(work, sight)
        _check(work, options, observed)
        cohort = observed.cohorts[0]
        made = plan_of(work, PlanOptions(sight), observed)
        standing = _Teller(work, read_spec(desk), made, cohort).tell(options.component)
    desk.terminal.show(standing_document(standing), desk.form, STANDING)
    return 0


def _check(work: Workspace, options: WhyOptions, observed: Observed) -> None:
    """Refuse a client that isn't there, or a component that its group doesn't get."""
    if not observed.cohorts:
        near = suggestion(options.client, sorted(row.name for row in work.roll.rows()), "clients are")
        raise UsageError(f"there is no client {options.client}", hint=near or "`updoser plan` lists the fleet")
    group = observed.cohorts[0].group
    gets = [spec.component.id for spec in Wanted(work.spec.components, work.spec.groups).of_group(group)]
    if options.component and options.component not in gets:
        hint = suggestion(options.component, gets, "they get")
        raise UsageError(f"clients of group {group} don't get {options.component}", hint=hint)


class _Teller:
    """Reads from the plan of one client how it stands."""

    def __init__(self, work: Workspace, loaded: Loaded, plan: Plan, cohort: Cohort) -> None:
        self._work = work
        self._loaded = loaded
        self._plan = plan
        self._cohort = cohort
        (self._name,) = cohort.members
        self._lineup = Lineup([cohort])
        self._wanted = Wanted(work.spec.components, work.spec.groups)
        self._ruler: Ruler = make_ruler(work)
        self._happened = [
            Happened(
                run_id=run_id,
                at=entry.at,
                component=entry.component,
                from_version=entry.from_version,
                to_version=entry.to_version,
                outcome=entry.outcome,
                message=entry.message,
            )
            for run_id, entry in work.state.outcomes(Asked(client=self._name), _JOURNAL)
        ]

    def tell(self, component: str) -> ClientStanding:
        """Say how the client stands, with one component or all."""
        line = self._work.state.lines_of([self._name]).get(self._name)
        ((client, _settings),) = self._work.roll.named([self._name]) or ((None, ""),)
        labels = client.labels if client else ()
        group, now = self._cohort.group, self._plan.created
        specs = [one for one in self._wanted.of_group(group) if component in {"", one.component.id}]
        failing = moment(line.failing_since) if line and line.error else None
        return ClientStanding(
            created=now,
            name=self._name,
            group=group,
            labels=labels,
            platform=self._cohort.profile.platform if self._cohort.profile else "",
            seen=moment(line.seen_at) if line else None,
            failing_since=failing,
            reasons=tuple(self._in_general(line.error if line else "")),
            holds=holds_of(self._loaded, self._name, group, labels, now.date().isoformat()),
            components=tuple(map(self._component, specs)),
            happened=tuple(one for one in self._happened if not one.component)[:_SHOWN],
        )

    def _in_general(self, error: str) -> list[str]:
        """Give what keeps everything from the client."""
        blind = [*self._plan.unreachable, *self._plan.unknown]
        said = [error or finding.reason for finding in blind]
        return list(dict.fromkeys([*said, *([self._cohort.hold] if self._cohort.hold else [])]))

    def _component(self, spec: ComponentSpec) -> ComponentStanding:
        component, profile = spec.component.id, self._cohort.profile
        installed = profile.by_component.get(component) if profile else None
        platform = profile.platform if profile else ""
        deploys = [one for one in self._plan.deploys if one.component == component]
        held, deferred = (_about(found, component) for found in (self._plan.held, self._plan.deferred))
        drift = _about(self._plan.drift, component)
        steps = [step for step in self._plan.rollouts if step.record.component == component]
        rollouts = tuple(self._rollout(step) for step in steps if step.record.group in {"", self._cohort.group})
        coming = self._coming(deploys, held, deferred)
        return ComponentStanding(
            id=component,
            version=installed.version if installed else "",
            wanted=self._ruler.wanted(component, platform),
            state=self._ruler.state(component, installed, platform) if profile else "unknown",
            damage=installed.damage if installed else "",
            previous=installed.previous if installed else "",
            asked=asked_of(self._loaded, component, self._cohort.group),
            coming=coming,
            to=next((one.to for one in deploys), ""),
            reasons=tuple(
                dict.fromkeys(f"{one.version}: {one.reason}" if one.version else one.reason for one in held + deferred)
            )
            + tuple(one.reason for one in drift),
            rollouts=rollouts,
            next=_next(coming, deploys, rollouts),
            happened=tuple(one for one in self._happened if one.component == component)[:_SHOWN],
        )

    def _coming(self, deploys: Sequence[Deploy], held: Sequence[Finding], deferred: Sequence[Finding]) -> Coming:
        if self._cohort.profile is None:
            return "blind"
        if deploys:
            return "sent_early" if all(one.early for one in deploys) else "due"
        return "held" if held else "deferred" if deferred else "nothing"

    def _rollout(self, step: RolloutStep) -> RolloutPlace:
        record = step.record
        parts = [first_waves(record.cuts, wave) for wave in range(1, len(record.cuts) + 1)]
        ((inside, _names),) = self._lineup.split(0, parts).items() if parts else (((), ()),)
        return RolloutPlace(
            version=record.version,
            group=record.group,
            status=record.status,
            own_wave=inside.index(True) + 1 if True in inside else 0,
            open_wave=record.wave,
            waves=len(record.cuts),
            says=step.says,
            next_at=step.next_at,
        )


def _about(findings: Sequence[Finding], component: str) -> list[Finding]:
    return [one for one in findings if one.component == component]


def _next(coming: Coming, deploys: Sequence[Deploy], rollouts: Sequence[RolloutPlace]) -> str:
    """Say what comes next, and when as far as the time alone decides."""
    at = min((one.next_at for one in rollouts if one.next_at is not None), default=None)
    then = f"; the next step of its rollout is due {at:%Y-%m-%dT%H:%M:%SZ}" if at else ""
    if coming == "due":
        change = next(one for one in deploys if not one.early)
        way = "kept there already" if change.held else size_text(change.bytes)
        what = " -> ".join(filter(None, (change.from_version or "nothing", change.to)))
        until = f", to begin before {change.not_after:%Y-%m-%dT%H:%M:%SZ}" if change.not_after else ""
        return f"the next apply changes it: {what} ({change.reason}, {way}){until}"
    words = {
        "sent_early": "the next apply sends it, and a later one switches to it",
        "held": "nothing until somebody acts",
        "deferred": "a later apply, once what it waits for is over",
        "blind": "nothing as long as the client isn't known: see what it said",
        "nothing": "nothing: it has what it should have",
    }
    return words[coming] + (then if coming in {"sent_early", "deferred"} else "")
