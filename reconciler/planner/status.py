"""Counts how far a fleet is: updated, pending, outdated, ahead and unknown clients for each component and group.

What a client counts as says the `ruler`. A cohort that isn't known counts as unknown.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from reconciler.model.report import ComponentStatus, SourceStatus, Status, Traffic, WithdrawnStatus
from reconciler.planner.ruler import Counts, Ruler

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from reconciler.model.client import Decides, Profile
    from reconciler.model.offer import SourceReport
    from reconciler.model.plan import Cohort
    from reconciler.model.spec import SourceSpec
    from reconciler.planner.inputs import Observed, Wanted
    from reconciler.planner.ruler import Allowance, Verdict

    _Mark = tuple[Verdict, bool, str, int]
    """What clients of a profile count as for one component: whether a release is kept back from them, their version,
    and how many releases they lack."""


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
    counted = _count(wanted, observed, allowance)
    clients = sum(len(cohort.members) for cohort in observed.cohorts)
    return Status(
        created=allowance.now,
        as_of=as_of,
        clients=clients,
        components=counted.fleet,
        groups=counted.groups,
        sources=sources,
        traffic=traffic,
        current=counted.current,
        unknown=sum(len(cohort.members) for cohort in observed.cohorts if cohort.profile is None),
        withdrawn=withdrawn_statuses(wanted, observed),
    )


def withdrawn_statuses(wanted: Wanted, observed: Observed) -> tuple[WithdrawnStatus, ...]:
    """List the versions of managed components that sources took back, and count the clients that run them."""
    entries = [
        (source, entry)
        for source, of_one in observed.withdrawn.items()
        for entry in sorted(of_one)
        if entry.component in wanted.components
    ]
    running: Counter[tuple[str, str]] = Counter()
    if entries:
        for profile, clients in _by_profile(observed.cohorts):
            for installed in profile.installed:
                running[installed.component, installed.version] += clients
    return tuple(
        WithdrawnStatus(
            component=entry.component,
            version=entry.version,
            reason=entry.reason,
            source=source,
            clients=running[entry.component, entry.version],
        )
        for source, entry in entries
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
                expires=report.expires if report else {},
                signed=source.signed,
            )
        )
    return tuple(found)


def count_fleet(
    wanted: Wanted, observed: Observed, allowance: Allowance
) -> tuple[tuple[ComponentStatus, ...], dict[str, tuple[ComponentStatus, ...]]]:
    """Count clients for each component of the fleet, and the same by group; the worst rate first."""
    counted = _count(wanted, observed, allowance)
    return counted.fleet, counted.groups


class _Counted(NamedTuple):
    """Clients by component for the fleet and by group, and how many are updated in all that they should have."""

    fleet: tuple[ComponentStatus, ...]
    groups: dict[str, tuple[ComponentStatus, ...]]
    current: int


def _count(wanted: Wanted, observed: Observed, allowance: Allowance) -> _Counted:
    ruler = Ruler(wanted, observed, allowance)
    marked = _Marked(wanted, ruler)
    cohorts: dict[str, list[tuple[Profile | None, int]]] = defaultdict(list)
    for cohort in observed.cohorts:
        for group, clients in cohort.by_group:
            cohorts[group].append((cohort.profile, clients))
    counts: dict[tuple[str, str], Counts] = {}
    current = 0
    for group in wanted.groups:
        own = {spec.component.id for spec in wanted.of_group(group)}
        counted, fine = marked.count(cohorts[group], own)
        current += fine
        for spec in wanted.of_group(group):
            counts[group, spec.component.id] = counted[spec.component.id]
    by_group = {
        group: _sorted(ruler.status(spec, [counts[group, spec.component.id]]) for spec in wanted.of_group(group))
        for group in wanted.groups
    }
    fleet = _sorted(
        ruler.status(spec, [counts[key] for key in counts if key[1] == spec.component.id])
        for spec in wanted.components.values()
    )
    return _Counted(fleet, by_group, current)


def _sorted(statuses: Iterable[ComponentStatus]) -> tuple[ComponentStatus, ...]:
    return tuple(sorted(statuses, key=lambda status: (status.rate, status.id)))


class _Marked:
    """What profiles count as for each component: what is alike for the `ruler` is judged once, however many have it.

    Cohorts are counted by whole columns, one of a component: that costs next to nothing where nearly each client is a
    cohort of its own.
    """

    def __init__(self, wanted: Wanted, ruler: Ruler) -> None:
        self._components = tuple(wanted.components)
        self._ruler = ruler
        self._rows: dict[int, tuple[Profile, tuple[int, ...]]] = {}  # keeps the profile, so that its id stays its own
        self._numbers: dict[tuple[str, str, Decides | None], int] = {}
        self._marks: list[_Mark] = []

    def count(
        self, cohorts: Iterable[tuple[Profile | None, int]], own: Collection[str]
    ) -> tuple[dict[str, Counts], int]:
        """Count the clients of some profiles for each component, and those that are updated in all of their `own`."""
        unknown = current = 0
        rows: dict[int, list[tuple[int, ...]]] = defaultdict(list)
        for profile, clients in cohorts:
            if profile is None:
                unknown += clients
            else:
                rows[clients].append(self._row(profile))
        found = {component: Counts(Counter(), Counter()) for component in self._components}
        for counts in found.values() if unknown else ():
            counts.verdicts["unknown"] += unknown
        places = [at for at, component in enumerate(self._components) if component in own]
        for clients, of_size in rows.items():
            updated = {number for number, mark in enumerate(self._marks) if mark[0] == "updated"}
            alike = Counter(map(itemgetter(*places), of_size)) if places else Counter()
            for row, times in alike.items():
                fine = row in updated if len(places) == 1 else updated.issuperset(row)
                current += times * clients if fine else 0
            for counts, column in zip(found.values(), zip(*of_size, strict=True), strict=True):
                for number, times in Counter(column).items():
                    verdict, deferred, version, lag = self._marks[number]
                    counts.verdicts[verdict] += times * clients
                    counts.versions[version] += times * clients
                    counts.deferred += times * clients if deferred else 0
                    if lag:
                        counts.lags[lag] += times * clients
        return found, current

    def _row(self, profile: Profile) -> tuple[int, ...]:
        known = self._rows.get(id(profile))
        if known is None:
            row = tuple(self._number(component, profile) for component in self._components)
            known = self._rows[id(profile)] = profile, row
        return known[1]

    def _number(self, component: str, profile: Profile) -> int:
        installed, platform = profile.by_component.get(component), profile.platform
        alike = component, platform, installed.decides if installed else None
        number = self._numbers.get(alike)
        if number is None:
            number = self._numbers[alike] = len(self._marks)
            verdict = self._ruler.verdict(component, installed, platform)
            deferred = verdict == "updated" and self._ruler.lacks(component, installed, platform) is not None
            lag = self._ruler.lag(component, installed, platform) if verdict == "outdated" else 0
            self._marks.append((verdict, deferred, installed.version if installed else "missing", lag))
        return number


def _by_profile(cohorts: Iterable[Cohort]) -> Iterable[tuple[Profile, int]]:
    """Give each profile that is known, and how many clients have it; the same again where it is another object."""
    clients: Counter[int] = Counter()
    profiles: dict[int, Profile] = {}
    for cohort in cohorts:
        if cohort.profile is not None:
            profiles[id(cohort.profile)] = cohort.profile
            clients[id(cohort.profile)] += len(cohort.members)
    return ((profile, clients[key]) for key, profile in profiles.items())
