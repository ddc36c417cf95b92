"""Keeps what a controller saw for those who show it: nobody who is asked for a page looks at the fleet or counts it.

* `status`: the document of the status, without its groups; each `group` is one of its own, as there may be thousands.
* `component`: each with its releases, how far they are, and what clients run by group (`present.component_form`).
* `plan`: the document of the plan, without the names of clients.
* What clients are found by (`observe.judging`), from the same look, so that lists are as long as the figures say.
* `samples`: how far each component and the whole fleet was, at most one in SAMPLED; the older, the fewer are kept.

What is kept of secrets is what a terminal would show of them: a mask.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from reconciler.observe.judging import keep_index
from reconciler.present.component_form import MOST_MOVES, ComponentFacts, component_document
from reconciler.present.document import plan_document, status_document
from reconciler.storage.samples import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from reconciler.model.plan import Plan
    from reconciler.model.report import ComponentStatus, Status
    from reconciler.planner.inputs import Observed
    from reconciler.storage.state import State
    from reconciler.workspace import Workspace

SAMPLED = timedelta(minutes=15)
"""The time between two samples."""
HOURLY, DAILY = timedelta(days=7), timedelta(days=60)
"""From which age on samples are kept for each hour, and for each day."""


def keep_snapshots(
    work: Workspace, status: Status, plan: Plan, observed: Observed, mask: Callable[[str], str] = lambda text: text
) -> None:
    """Keep what is shown of the fleet as it is now.

    Raises:
        StateError: the state can't be written.
    """

    def keep() -> None:
        keep_documents(work.state, status, plan, mask)
        components = {facts.status.id: component_document(facts) for facts in component_facts(work, status, observed)}
        work.state.keep_snapshots("component", masked(components, mask))
        keep_index(work, observed)
        _keep_samples(work, status)

    work.state.whole(keep)


def component_facts(work: Workspace, status: Status, observed: Observed) -> Iterator[ComponentFacts]:
    """Give what is known of each managed component."""
    of = {entry.id: entry for entry in status.components}
    groups: dict[str, dict[str, ComponentStatus]] = {name: {} for name in of}
    for group, entries in status.groups.items():
        for entry in entries:
            groups[entry.id][group] = entry
    rollouts = work.state.rollouts()
    seen = work.state.first_seen()
    for name, entry in of.items():
        yield ComponentFacts(
            spec=work.spec.components[name],
            status=entry,
            groups=groups[name],
            held=[release for release in observed.held if release.component == name],
            offers=[offer for offer in observed.remembered or observed.offers if offer.release.component == name],
            incrementals=[one for one in observed.incrementals if one.component == name],
            withdrawn=[
                (source, one)
                for source, of_one in observed.withdrawn.items()
                for one in of_one
                if one.component == name
            ],
            rollouts=[record for record in rollouts.values() if record.component == name],
            moves=work.state.moves_of(name, MOST_MOVES),
            first_seen={version: at for (component, version), at in seen.items() if component == name},
        )


def keep_documents(state: State, status: Status, plan: Plan, mask: Callable[[str], str] = lambda text: text) -> None:
    """Keep the documents of a status and a plan."""
    document = status_document(status)
    groups = {entry["group"]: entry for entry in document.pop("groups")}
    state.keep_snapshots("status", {"": masked(document, mask)})
    state.keep_snapshots("group", masked(groups, mask))
    state.keep_snapshots("plan", {"": masked(plan_document(plan, names=False), mask)})


def _keep_samples(work: Workspace, status: Status) -> None:
    now, last = status.created, work.state.last_sample()
    if last is not None and timedelta() <= now - last < SAMPLED:
        return
    work.state.keep_samples(samples_of(status))
    work.state.thin_samples(now - HOURLY, timedelta(hours=1))
    work.state.thin_samples(now - DAILY, timedelta(days=1))
    work.state.forget_samples(now - work.spec.controller.retention.samples)
    work.state.forget_protections(now - work.spec.controller.retention.samples)


def samples_of(status: Status) -> Mapping[str, Sample]:
    """Give how far each component is; of the whole fleet, clients are updated that are so in everything."""
    found = {
        entry.id: Sample(
            at=status.created,
            updated=entry.updated,
            outdated=entry.outdated,
            ahead=entry.ahead,
            unknown=entry.unknown,
            pending=entry.pending,
        )
        for entry in status.components
    }
    behind = status.clients - status.current - status.unknown
    whole = Sample(at=status.created, updated=status.current, outdated=behind, ahead=0, unknown=status.unknown)
    return {**found, "": whole}


def masked(value: Any, mask: Callable[[str], str]) -> Any:
    """Take secrets out of all texts of a document."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, list):
        return [masked(entry, mask) for entry in value]
    if isinstance(value, dict):
        return {key: masked(entry, mask) for key, entry in value.items()}
    return value
