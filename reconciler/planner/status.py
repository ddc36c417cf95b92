"""Counts how far a fleet is: updated, outdated, ahead and unknown clients for each component and group.

What a client counts as says the `ruler`. A cohort that isn't known counts as unknown.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from reconciler.model.report import ComponentStatus, SourceStatus, Status, Traffic, WithdrawnStatus
from reconciler.planner.ruler import Counts, Ruler

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from reconciler.model.offer import SourceReport
    from reconciler.model.plan import Cohort
    from reconciler.model.spec import SourceSpec
    from reconciler.planner.inputs import Observed, Wanted
    from reconciler.planner.ruler import Allowance


def make_status(
    wanted: Wanted,
    observed: Observed,
    allowance: Allowance,
    *,
    as_of: datetime | None,
    sources: tuple[SourceStatus, ...],
    traffic: Traffic,
) -> Status:
    """Say how the whole fleet stands; `as_of` is when its clients were looked at last."""
    components, groups = count_fleet(wanted, observed, allowance)
    clients = sum(len(cohort.members) for cohort in observed.cohorts)
    return Status(
        created=allowance.now,
        as_of=as_of,
        clients=clients,
        components=components,
        groups=groups,
        sources=sources,
        traffic=traffic,
        withdrawn=withdrawn_statuses(wanted, observed),
    )


def withdrawn_statuses(wanted: Wanted, observed: Observed) -> tuple[WithdrawnStatus, ...]:
    """List the versions of managed components that sources took back, and count the clients that run them."""
    running: Counter[tuple[str, str]] = Counter()
    for cohort in observed.cohorts:
        for installed in cohort.profile.installed if cohort.profile else ():
            running[installed.component, installed.version] += len(cohort.members)
    return tuple(
        WithdrawnStatus(
            component=entry.component,
            version=entry.version,
            reason=entry.reason,
            source=source,
            clients=running[entry.component, entry.version],
        )
        for source, entries in observed.withdrawn.items()
        for entry in sorted(entries)
        if entry.component in wanted.components
    )


def source_statuses(
    sources: Iterable[SourceSpec], reports: Iterable[tuple[SourceReport, datetime | None]], now: datetime
) -> tuple[SourceStatus, ...]:
    """Say of each source when it answered last; `stale` when that, or ever, is longer ago than the spec allows."""
    known = {report.source: (report, last_success) for report, last_success in reports}
    found = []
    for source in sources:
        report, last_success = known.get(source.name, (None, None))
        limit = source.stale_after
        stale = limit is not None and (last_success is None or now - last_success > limit)
        trouble = (report.error or report.accepted) if report else ""
        until = report.cooldown_until if report else None
        found.append(
            SourceStatus(
                name=source.name,
                last_success=last_success,
                error=trouble,
                stale=stale,
                cooldown_until=until if until and until > now else None,
            )
        )
    return tuple(found)


def count_fleet(
    wanted: Wanted, observed: Observed, allowance: Allowance
) -> tuple[tuple[ComponentStatus, ...], dict[str, tuple[ComponentStatus, ...]]]:
    """Count clients for each component of the fleet, and the same by group; the worst rate first."""
    ruler = Ruler(wanted, observed, allowance)
    cohorts: dict[str, list[Cohort]] = defaultdict(list)
    for cohort in observed.cohorts:
        cohorts[cohort.group].append(cohort)
    counts: dict[tuple[str, str], Counts] = {}
    for group in wanted.groups:
        for spec in wanted.of_group(group):
            counts[group, spec.component.id] = _count(spec.component.id, cohorts[group], ruler)
    by_group = {
        group: _sorted(ruler.status(spec, [counts[group, spec.component.id]]) for spec in wanted.of_group(group))
        for group in wanted.groups
    }
    fleet = _sorted(
        ruler.status(spec, [counts[key] for key in counts if key[1] == spec.component.id])
        for spec in wanted.components.values()
    )
    return fleet, by_group


def _sorted(statuses: Iterable[ComponentStatus]) -> tuple[ComponentStatus, ...]:
    return tuple(sorted(statuses, key=lambda status: (status.rate, status.id)))


def _count(component: str, cohorts: Iterable[Cohort], ruler: Ruler) -> Counts:
    counts = Counts(Counter(), Counter())
    for cohort in cohorts:
        if cohort.profile is None:
            counts.verdicts["unknown"] += len(cohort.members)
            continue
        installed = cohort.profile.by_component.get(component)
        verdict = ruler.verdict(component, installed, cohort.profile.platform)
        counts.verdicts[verdict] += len(cohort.members)
        if verdict == "updated" and ruler.lacks(component, installed, cohort.profile.platform):
            counts.deferred += len(cohort.members)
        counts.versions[installed.version if installed else "missing"] += len(cohort.members)
    return counts
