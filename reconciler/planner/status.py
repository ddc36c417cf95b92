"""Counts how far a fleet is: updated, outdated, ahead and unknown clients for each component and group.

A client is measured against what a plan wants of all that is held or offered: the highest version, or the pin. What is
offered and can't be downloaded counts; what has to wait for its age, or is blocked, doesn't.

* updated   runs that version, undamaged
* ahead     runs a higher version: newer than the server isn't "updated"
* unknown   did not answer, or was never seen
* outdated  everything else: a lower version, none, or damaged files

Two allowances turn outdated into updated: `within` N releases behind (releases that are known, not numerals), and
`max_age`: the first release that the client lacks came out less than that long ago.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.model.report import ComponentStatus, SourceStatus, Status, Traffic, WithdrawnStatus
from reconciler.planner.desired import Desired, Times

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime, timedelta

    from reconciler.model.client import Installed
    from reconciler.model.offer import SourceReport
    from reconciler.model.plan import Cohort
    from reconciler.model.spec import ComponentSpec, SourceSpec
    from reconciler.model.version import Version
    from reconciler.planner.desired import Target
    from reconciler.planner.inputs import Observed, Wanted


@dataclass(frozen=True, slots=True)
class Allowance:
    """What still counts as updated; `first_seen` gives release times by (component, version) where they are known."""

    now: datetime
    within: int = 0
    max_age: timedelta | None = None
    first_seen: Mapping[tuple[str, str], datetime] | None = None


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
    ruler = _Ruler(wanted, observed, allowance)
    cohorts: dict[str, list[Cohort]] = defaultdict(list)
    for cohort in observed.cohorts:
        cohorts[cohort.group].append(cohort)
    counts: dict[tuple[str, str], _Counts] = {}
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


@dataclass(slots=True)
class _Counts:
    verdicts: Counter[str]
    versions: Counter[str]


def _count(component: str, cohorts: Iterable[Cohort], ruler: _Ruler) -> _Counts:
    counts = _Counts(Counter(), Counter())
    for cohort in cohorts:
        if cohort.profile is None:
            counts.verdicts["unknown"] += len(cohort.members)
            continue
        installed = cohort.profile.by_component.get(component)
        counts.verdicts[ruler.verdict(component, installed, cohort.profile.platform)] += len(cohort.members)
        counts.versions[installed.version if installed else "missing"] += len(cohort.members)
    return counts


class _Ruler:
    """What clients are measured against."""

    def __init__(self, wanted: Wanted, observed: Observed, allowance: Allowance) -> None:
        times = Times(allowance.now, allowance.first_seen or {})
        self._held = Desired(wanted.components, observed.held, (), observed.withdrawn, times)
        remembered = observed.remembered or observed.offers
        self._offered = Desired(wanted.components, observed.held, remembered, observed.withdrawn, times)
        self._allowance = allowance
        self._known: dict[str, list[Version]] = {component: [] for component in wanted.components}
        self._released: dict[tuple[str, str], datetime] = dict(allowance.first_seen or {})
        self._offers: dict[str, Version] = {}
        for release in (*observed.held, *(offer.release for offer in remembered)):
            spec = wanted.components.get(release.component)
            if spec is None or not spec.component.scheme.accepts(release.version):
                continue
            self._known[release.component].append(spec.component.version(release.version))
            if release.released and times.says_when(release):
                self._released[release.component, release.version] = release.released
        for offer in remembered:
            spec = wanted.components.get(offer.release.component)
            if spec is not None and spec.component.scheme.accepts(offer.release.version):
                version = spec.component.version(offer.release.version)
                self._offers[spec.component.id] = max(version, self._offers.get(spec.component.id, version))
        for versions in self._known.values():
            versions[:] = sorted(set(versions))

    def _target(self, component: str, platform: str) -> Target | None:
        return self._offered.target(component, platform)

    def verdict(self, component: str, installed: Installed | None, platform: str) -> str:
        """Say what one profile counts as; without any known release nothing can be said: `unknown`."""
        target = self._target(component, platform)
        if target is None:
            return "unknown"
        if installed is None or installed.damage or not target.spec.component.scheme.accepts(installed.version):
            return "outdated"
        version = target.spec.component.version(installed.version)
        if version == target.version:
            return "updated" if installed.digest == target.release.digest else "outdated"
        if version > target.version:
            return "ahead"
        return "updated" if self._allowed(component, version, target.version) else "outdated"

    def _allowed(self, component: str, version: Version, target: Version) -> bool:
        lacking = [known for known in self._known[component] if version < known <= target]
        if len(lacking) <= self._allowance.within:
            return True
        released = self._released.get((component, lacking[0].text)) if lacking else None
        max_age = self._allowance.max_age
        return max_age is not None and released is not None and self._allowance.now - released < max_age

    def status(self, spec: ComponentSpec, parts: Iterable[_Counts]) -> ComponentStatus:
        """Add counts up to the status of a component."""
        verdicts: Counter[str] = Counter()
        versions: Counter[str] = Counter()
        for part in parts:
            verdicts += part.verdicts
            versions += part.versions
        component = spec.component.id
        latest = max((target.version for target in self._held.targets(component)), default=None)
        released = self._released.get((component, latest.text)) if latest else None
        offered = self._offers.get(component)
        return ComponentStatus(
            id=component,
            latest_held=latest.text if latest else "",
            latest_offered=offered.text if offered else "",
            updated=verdicts["updated"],
            outdated=verdicts["outdated"],
            ahead=verdicts["ahead"],
            unknown=verdicts["unknown"],
            versions=dict(sorted(versions.items(), key=lambda item: _newest_first(spec, item[0]))),
            age=int((self._allowance.now - released).total_seconds()) if released else None,
        )


def _newest_first(spec: ComponentSpec, text: str) -> tuple[int, tuple[int, ...], str]:
    scheme = spec.component.scheme
    if not scheme.accepts(text):
        return 1, (), text
    return 0, tuple(-field for field in scheme.parse(text).key), text
