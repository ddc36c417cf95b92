"""Which clients keep what they have now when a release comes, so that they can go back without being sent anything."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from reconciler.model.way_back import WayBack

if TYPE_CHECKING:
    from reconciler.model.plan import Plan

_WITH_FORMER = 2
"""Versions that must stay on a client, so that the former one is among them."""
_SAME_VERSION = frozenset(["digest_mismatch", "layout_changed"])
"""Reasons that put a version in place of itself: what was there is no version to go back to."""


def ways_back(plan: Plan, client_keep: int) -> tuple[WayBack, ...]:
    """Say of each release that the plan switches clients to how many keep the former version.

    `client_keep` is how many versions stay on a client. What goes back itself, or is only sent early, has no entry.
    """
    clients: Counter[tuple[str, str]] = Counter()
    kept: Counter[tuple[str, str]] = Counter()
    first: Counter[tuple[str, str]] = Counter()
    for deploy in plan.deploys:
        key = deploy.component, deploy.to
        if deploy.early or deploy.reason == "rolled_back" or deploy.reason in _SAME_VERSION:
            continue
        clients[key] += deploy.clients
        if not deploy.from_digest:
            first[key] += deploy.clients
        elif client_keep >= _WITH_FORMER:
            kept[key] += deploy.clients
    return tuple(WayBack(*key, count, kept[key], first[key]) for key, count in sorted(clients.items()))
