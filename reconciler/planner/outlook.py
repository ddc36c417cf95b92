"""The whole run that an apply of a plan takes, if nothing fails, and what it leaves for later.

A run carries a plan out, and then the steps that follow from it: each is planned anew from what is there by then, and
only the part about what was approved is done (`planning.Following`, `execute.engine`). Here the same is done in
imagination, while time stands still.

Example: waves of 2 and 6 clients without a soak. The plan has 2 clients; its run changes 2, then 6, 8 in all. With a
soak of 4 h the run ends after 2 clients, and 6 are for later.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.model.outlook import Later, Outlook, WaveStep
from reconciler.model.rollout import OPEN
from reconciler.model.roster import clients_of
from reconciler.planner.imagined import advance, first_seen, place_of, set_free
from reconciler.planner.moments import Moments
from reconciler.planner.planner import make_plan

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from reconciler.model.change import Change
    from reconciler.model.plan import Finding, Plan
    from reconciler.planner.inputs import Observed, Wanted

MAX_STEPS = 30
"""How many steps of one run are looked at."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one apply does: the plans that it carries out, and the one that says what is `left` by then.

    `more`: it was cut off, and something of what is left is done, too.
    """

    plans: tuple[Plan, ...]
    left: Plan
    more: bool = False


class Imagination:
    """Carries plans out in imagination, one after the other; `observed` is what would be there by now."""

    def __init__(self, wanted: Wanted, observed: Observed) -> None:
        self.wanted = wanted
        self.observed = observed
        self._guessed: set[tuple[str, str, str]] = set()

    def plan(self, now: datetime) -> Plan:
        """Give the plan of a moment."""
        return make_plan(self.wanted, self.observed, plan_id="", now=now)

    def look(self, now: datetime) -> None:
        """Let holds and quarantines be over that end by a time, and have what sources offer be seen."""
        cohorts, others = (set_free(part, now) for part in (self.observed.cohorts, self.observed.others))
        seen = first_seen(self.observed, now)
        self.observed = replace(self.observed, cohorts=cohorts, others=others, first_seen=seen)

    def is_guess(self, plan: Plan) -> bool:
        """Say whether nobody knows exactly how many bytes a plan that was carried out sends."""
        return bool(plan.settings) or any(
            deploy.estimated or any((deploy.component, deploy.platform, name) in self._guessed for name in deploy.path)
            for deploy in plan.deploys
        )

    def run(self, plan: Plan, now: datetime, *, most: int = MAX_STEPS) -> Run:
        """Carry out a plan, and what follows from it in the same run."""
        tried: set[Change] = set()

        def is_new(change: Change) -> bool:
            known = change in tried
            tried.add(change)
            return not known

        done = []
        step, approved = plan.untried(is_new), plan.subjects
        for _number in range(most):
            self._guessed.update(map(place_of, step.generates))
            self.observed = advance(self.wanted, self.observed, step, now)
            done.append(step)
            step = self.plan(now).only(approved).untried(is_new)
            if not (step.due and plan.rollouts):
                return Run(tuple(done), step)
        return Run(tuple(done), step, more=True)


def run_of(imagined: Imagination, plan: Plan, now: datetime) -> tuple[Run, Outlook] | None:
    """Give the whole run of a plan that was made of what is there; None where no release goes by waves.

    What is imagined is what would be there after it.
    """
    if not plan.rollouts:
        return None
    run = imagined.run(plan, now)
    return run, _outlook(imagined, run, now)


def _outlook(imagined: Imagination, run: Run, now: datetime) -> Outlook:
    steps: list[WaveStep] = []
    made_for: list[Plan] = []
    for made in run.plans:
        if made.for_clients:
            made_for.append(made)
            steps.append(
                WaveStep(
                    step=len(steps) + 1,
                    clients=clients_of(made.members, made.for_clients),
                    bytes=sum(deploy.traffic for deploy in made.deploys),
                    estimated=imagined.is_guess(made),
                    rollouts=made.waves_open,
                )
            )
    return Outlook(
        steps=tuple(steps),
        clients=steps[0].clients if len(steps) == 1 else _clients(made_for),
        bytes=sum(step.bytes for step in steps),
        estimated=any(step.estimated for step in steps),
        more=run.more,
        later=() if run.more else _later(imagined.wanted, run.left, now),
    )


def _clients(plans: Iterable[Plan]) -> int:
    """Count the clients that some plans change, each once."""
    found: set[str] = set()
    for plan in plans:
        cohorts = {cohort for change in plan.for_clients for cohort in change.members}
        found.update(name for cohort in cohorts for name in plan.members[cohort])
    return len(found)


def _later(wanted: Wanted, left: Plan, now: datetime) -> tuple[Later, ...]:
    """Give what is left by release and reason; what is held for another reason than its rollout isn't for later."""
    moments = Moments(wanted, left, now)
    waits = {(*step.record.key[:2], f"rollout: {step.says}") for step in left.rollouts if step.record.status in OPEN}
    found: dict[tuple[str, str, str, bool], list[Finding]] = defaultdict(list)
    for kind, findings in (("deferred", left.deferred), ("held", left.held)):
        for finding in findings:
            about = finding.component, finding.version, finding.reason
            if finding.component and (kind == "deferred" or about in waits):
                found[*about, kind == "held"].append(finding)
    entries = []
    for (component, version, reason, held), alike in found.items():
        ends = [at for at in map(moments.of, alike) if at is not None]
        groups = {finding.group for finding in alike}
        entries.append(
            Later(
                component=component,
                version=version,
                group=groups.pop() if len(groups) == 1 else "",
                clients=sum(finding.clients for finding in alike),
                reason=reason,
                at=min(ends, default=None),
                waits=held,
            )
        )
    return tuple(sorted(entries, key=lambda entry: (entry.component, entry.version, entry.reason)))
