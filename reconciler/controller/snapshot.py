"""Keeps what a controller saw for those who show it: nobody who is asked for a page looks at the fleet or counts it.

* `status`: the document of the status, without its groups; each `group` is one of its own, as there may be thousands.
* `plan`: the document of the plan, without the names of clients.
* `samples`: how far each component and the whole fleet was, at most one in SAMPLED; the older, the fewer are kept.

What is kept of secrets is what a terminal would show of them: a mask.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from reconciler.present.document import plan_document, status_document
from reconciler.storage.samples import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from reconciler.model.plan import Plan
    from reconciler.model.report import Status
    from reconciler.storage.state import State
    from reconciler.workspace import Workspace

SAMPLED = timedelta(minutes=15)
"""The time between two samples."""
HOURLY, DAILY = timedelta(days=7), timedelta(days=60)
"""From which age on samples are kept for each hour, and for each day."""


def keep_snapshots(work: Workspace, status: Status, plan: Plan, mask: Callable[[str], str] = lambda text: text) -> None:
    """Keep what is shown of the fleet as it is now.

    Raises:
        StateError: the state can't be written.
    """
    with work.state.together():
        keep_documents(work.state, status, plan, mask)
        _keep_samples(work, status)


def keep_documents(state: State, status: Status, plan: Plan, mask: Callable[[str], str] = lambda text: text) -> None:
    """Keep the documents of a status and a plan."""
    document = status_document(status)
    groups = {entry["group"]: entry for entry in document.pop("groups")}
    state.keep_snapshots("status", {"": _masked(document, mask)})
    state.keep_snapshots("group", _masked(groups, mask))
    state.keep_snapshots("plan", {"": _masked(shown_plan(plan), mask)})


def shown_plan(plan: Plan) -> dict[str, Any]:
    """Give the document of a plan without the names of clients: they may be a million."""
    document = plan_document(plan)
    for place in ("changes", "drift", "held", "deferred", "unknown", "unreachable", "claims"):
        document[place] = [{**entry, "members": []} for entry in document.get(place, ())]
    return {**document, "members": {}}


def _keep_samples(work: Workspace, status: Status) -> None:
    now, last = status.created, work.state.last_sample()
    if last is not None and timedelta() <= now - last < SAMPLED:
        return
    work.state.keep_samples(samples_of(status))
    work.state.thin_samples(now - HOURLY, timedelta(hours=1))
    work.state.thin_samples(now - DAILY, timedelta(days=1))
    work.state.forget_samples(now - work.spec.controller.retention.samples)


def samples_of(status: Status) -> Mapping[str, Sample]:
    """Give how far each component is; of the whole fleet, clients are updated that are so in everything."""
    found = {
        entry.id: _sample(status.created, entry.updated, entry.outdated, entry.ahead, entry.unknown)
        for entry in status.components
    }
    behind = status.clients - status.current - status.unknown
    return {**found, "": _sample(status.created, status.current, behind, 0, status.unknown)}


def _sample(at: datetime, updated: int, outdated: int, ahead: int, unknown: int) -> Sample:
    return Sample(at=at, updated=updated, outdated=outdated, ahead=ahead, unknown=unknown)


def _masked(value: Any, mask: Callable[[str], str]) -> Any:
    """Take secrets out of all texts of a document."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, list):
        return [_masked(entry, mask) for entry in value]
    if isinstance(value, dict):
        return {key: _masked(entry, mask) for key, entry in value.items()}
    return value
