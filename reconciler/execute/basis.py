"""What a plan counts on: content that the store holds, that a source offers, or that the plan itself makes.

A plan may be carried out by another server than the one that made it, or when time went by. What isn't there then would
show client by client: as changes that fail, or as fulls in place of incrementals, ten times the bytes that somebody
approved. So all of it is looked for before anything begins. What rots on the disk meanwhile is another matter: see
`mend`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import StalePlanError
from reconciler.execute.download import Offers
from reconciler.model.delta import incremental_name

if TYPE_CHECKING:
    from reconciler.model.plan import Plan
    from reconciler.workspace import Workspace

_AGAIN = "make a new plan, with the state and the store that carry it out"


def check_content(plan: Plan, work: Workspace) -> None:
    """Refuse a plan that counts on content that this server neither has nor can get.

    Raises:
        StalePlanError: it does.
    """
    inspection = work.store.inspect()
    offers = Offers(work.state)
    fulls = _check_fulls(plan, {release.digest for release in inspection.releases}, offers)
    incrementals = {(entry.component, entry.platform, entry.name) for entry in inspection.incrementals}
    _check_incrementals(plan, fulls, incrementals, offers)


def _check_fulls(plan: Plan, held: set[str], offers: Offers) -> set[str]:
    """Check the releases that come and that go out; give the digests of all that are held then."""
    fulls = set(held)
    for change in plan.arriving:
        if change.to_digest not in fulls and offers.release(change) is None:
            raise StalePlanError(
                f"{change.component} {change.to}: source {change.source} doesn't offer the planned bytes now",
                hint="make a new plan",
            )
        fulls.add(change.to_digest)
    for deploy in plan.deploys:
        if deploy.to_digest not in fulls:
            raise StalePlanError(
                f"{deploy.component} {deploy.to}: the store doesn't hold the planned bytes any more",
                hint="make a new plan",
            )
    return fulls


def _check_incrementals(plan: Plan, fulls: set[str], held: set[tuple[str, str, str]], offers: Offers) -> None:
    """Check the incrementals that clients are to get, and what those are made of that the plan makes."""
    there = set(held)
    for change in plan.downloads:
        if change.kind == "full":
            continue
        key = change.component, change.platform, incremental_name(change.previous, change.to, change.kind)
        if key not in there and offers.incremental(change) is None:
            raise StalePlanError(
                f"{change.component} {key[2]}: source {change.source} doesn't offer the planned incremental now",
                hint="make a new plan",
            )
        there.add(key)
    for order in plan.generates:
        missing = (order.previous and order.from_digest not in fulls) or order.to_digest not in fulls
        key = order.component, order.platform, incremental_name(order.previous, order.to, order.codec)
        if missing and key not in there:
            raise StalePlanError(
                f"{order.component} {key[2]}: the store doesn't hold what the planned incremental is made of",
                hint=_AGAIN,
            )
        there.add(key)
    for deploy in plan.deploys:
        for name in deploy.path:
            if (deploy.component, deploy.platform, name) not in there:
                raise StalePlanError(
                    f"{deploy.component} {deploy.to}: the store doesn't hold the planned incremental {name}; "
                    f"clients would get the full",
                    hint=_AGAIN,
                )
