"""Looks back at a round that went well: one look at the fleet as it left it, for all who are told or shown of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.observe.observed import Sight, observe
from reconciler.planner.conditions import FleetFacts, fleet_conditions
from reconciler.planning import PlanOptions, note_protection, plan_of, published_roles, status_from

if TYPE_CHECKING:
    from reconciler.controller.round import Round
    from reconciler.model.notice import Condition
    from reconciler.model.plan import Plan
    from reconciler.model.report import Status
    from reconciler.planner.inputs import Observed
    from reconciler.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Seen:
    """The fleet as a round left it: what is still to be done, how far it is, and what people may want to know."""

    plan: Plan
    observed: Observed
    status: Status
    conditions: tuple[Condition, ...]


def look_back(work: Workspace, made: Round) -> Seen:
    """See the fleet as a round left it; nobody is asked, and what changed nothing isn't counted twice.

    Raises:
        UpdoserError: store or state can't be read.
    """
    plan, observed = made.plan, made.observed
    if made.report is not None:
        silent = replace(work, means=replace(work.means, emit=lambda _event: None))  # the round told it
        sight = Sight(refresh=False)
        observed = observe(silent, sight)
        plan = plan_of(silent, PlanOptions(sight), observed)
    note_protection(work, observed, made.plan)
    status = status_from(work, observed, plan)
    return Seen(plan, observed, status, fleet_conditions(_facts(work, made, plan, status), status.created))


def _facts(work: Workspace, made: Round, plan: Plan, status: Status) -> FleetFacts:
    spec = work.spec
    return FleetFacts(
        plan=plan,
        components=status.components,
        sources=status.sources,
        quarantined=len(status.quarantined),
        waits=bool(made.waits) and spec.controller.mode == "approve" and work.state.paused() is None,
        roles=published_roles(work),
        lifetimes=spec.repository.expires if spec.repository else None,
    )
