"""Shows how far the fleet is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.assembly import at_work
from reconciler.errors import OutcomeError
from reconciler.observe.observed import Sight, observe
from reconciler.observe.troubles import find_troubles, left_alone
from reconciler.planner.inputs import Wanted
from reconciler.planner.ruler import Allowance
from reconciler.planner.status import make_status, source_statuses
from reconciler.planner.thresholds import Condition, breaches
from reconciler.planning import PlanOptions, plan_of
from reconciler.present.closing import after_status
from reconciler.present.document import status_document
from reconciler.present.views import STATUS

if TYPE_CHECKING:
    from datetime import timedelta

    from reconciler.desk import Desk


@dataclass(frozen=True, slots=True)
class StatusOptions:
    """What counts as updated in a status, and `fail_on`, the conditions that make it fail."""

    sight: Sight
    within: int = 0
    max_age: timedelta | None = None
    fail_on: tuple[Condition, ...] = ()


def status(desk: Desk, options: StatusOptions) -> int:
    """Show how far the fleet is; a condition that is met makes the command fail."""
    with at_work(desk, reads=not options.sight.refresh) as work:
        observed = observe(work, replace(options.sight, settings=False))
        wanted = Wanted(work.spec.components, work.spec.groups)
        now = work.means.clock()
        made = make_status(
            wanted,
            observed,
            Allowance(now, options.within, options.max_age, work.state.first_seen()),
            as_of=work.state.last_observed(),
            sources=source_statuses(work.spec.sources, work.state.source_reports(), now),
            traffic=work.state.traffic(),
        )
        plan = plan_of(work, PlanOptions(options.sight), observed)
        made = replace(
            made,
            rollouts=tuple(step for step in plan.rollouts if step.before),
            quarantined=left_alone(work, now),
            troubles=find_troubles(work, observed.cohorts),
            controller=work.state.controller_status(),
        )
    document = status_document(made)
    desk.terminal.show(document, desk.form, STATUS)
    met = breaches(options.fail_on, made.components)
    if met:
        raise OutcomeError(f"--fail-on: {'; '.join(met)}")
    desk.terminal.hint(after_status(document, spec=desk.options))
    return 0
