"""Finds out what people may want to know after a round that went well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import RepositoryError
from reconciler.observe.observed import Sight, observe
from reconciler.planner.conditions import FleetFacts, fleet_conditions
from reconciler.planner.inputs import Wanted
from reconciler.planner.ruler import Allowance
from reconciler.planner.status import count_fleet, source_statuses
from reconciler.planning import PlanOptions, plan_of
from reconciler.repository.edition import folder_of

if TYPE_CHECKING:
    from reconciler.controller.round import Round
    from reconciler.model.notice import Condition
    from reconciler.model.report import ComponentStatus
    from reconciler.model.repository import RoleStatus
    from reconciler.workspace import Workspace


def find_conditions(work: Workspace, made: Round) -> tuple[Condition, ...]:
    """Give the conditions of the fleet as the round left it; nothing where nobody is told.

    Raises:
        UpdoserError: store or state can't be read.
    """
    spec, state, now = work.spec, work.state, work.means.clock()
    if not spec.notify:
        return ()
    plan = made.plan
    components: tuple[ComponentStatus, ...] = ()
    counts = any("outdated" in notifier.on for notifier in spec.notify)
    if made.report is not None or counts:
        observed = observe(work, Sight(refresh=False))
        if made.report is not None:
            plan = plan_of(work, PlanOptions(Sight(refresh=False)), observed)
        if counts:
            wanted = Wanted(spec.components, spec.groups)
            components, _groups = count_fleet(wanted, observed, Allowance(now, first_seen=state.first_seen()))
    facts = FleetFacts(
        plan=plan,
        components=components,
        sources=source_statuses(spec.sources, state.source_reports(), now),
        quarantined=len(state.quarantined(now, spec.quarantine.span)),
        waits=bool(made.waits) and spec.controller.mode == "approve" and state.paused() is None,
        roles=_roles(work),
        lifetimes=spec.repository.expires if spec.repository else None,
    )
    return fleet_conditions(facts, now)


def _roles(work: Workspace) -> tuple[RoleStatus, ...]:
    folder = folder_of(work)
    try:
        return folder.roles() if folder else ()
    except RepositoryError:  # the plan has that among its problems
        return ()
