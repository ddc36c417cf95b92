"""The one planner: desired state and observed facts in, a plan out. Nothing here looks or acts.

1. Choose what each platform should run (`desired`).
2. Compare each distinct (profile, scan method) once (`diff`); cohorts share the result, clients are only counted.
3. A platform that clients have and no release of a component is for is a problem, and said.
4. Clients that nothing is known of are `unknown`, those to which there is no way `unreachable`, held clients `held`:
   never "no change".
5. Bring what some client or group should have into the store, at the least bytes, and keep incrementals of it
   (`duplicate`); choose how each client is supplied (`delivery`).
6. Aggregate over cohorts by (component, group, from, to, reason, way).
7. Say what the repository for other sites gets (`publish`).

Equal input gives an equal plan, in an order that doesn't depend on the order of the input.

Example: 48,212 clients of the group branch with virus-pattern 16.677.00 in three cohorts and an offer of 16.679.00 give
one download and one deploy change that names the three cohorts.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.model.delta import Duplication
from reconciler.model.network import DIRECT
from reconciler.model.plan import Deploy, Finding, Plan
from reconciler.model.release import ANY_PLATFORM
from reconciler.planner.delivery import Dispatcher, camp_of
from reconciler.planner.desired import Desired, Times
from reconciler.planner.diff import compare, find_waiting
from reconciler.planner.duplicate import Demand, Duplicator, Supplies
from reconciler.planner.publish import plan_publishing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from reconciler.model.client import Profile
    from reconciler.model.delta import CodecTraits, Incremental
    from reconciler.model.plan import Basis, Cohort
    from reconciler.model.release import Offer, Release, Withdrawal
    from reconciler.model.repository import Published
    from reconciler.model.spec import ComponentSpec, GroupSpec, RepositorySpec
    from reconciler.planner.delivery import Delivery
    from reconciler.planner.desired import Target
    from reconciler.planner.diff import Difference, Drift
    from reconciler.planner.stock import OfferedIncremental

    _Compared = tuple[list[int], list[Drift], list[tuple[Target, str]]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The part of the spec that decides: managed components and groups, and whether a target left some out."""

    components: Mapping[str, ComponentSpec]
    groups: Mapping[str, GroupSpec]
    partial: bool = False
    duplication: Duplication = Duplication()
    repository: RepositorySpec | None = None

    def of_group(self, group: str) -> tuple[ComponentSpec, ...]:
        """Give the components that clients of a group get, in catalog order."""
        method = self.groups[group].scan_method
        return tuple(spec for spec in self.components.values() if spec.component.for_scan_method(method))


@dataclass(frozen=True, slots=True)
class Observed:
    """All facts that a plan is made from.

    `freeze` is a reason for which nothing but first installs may be sent (a state that was taken over and isn't
    confirmed yet), or empty. `dormant` are the (component, digest) of clients that didn't answer, as last seen.
    `withdrawn` has what sources took back, by the source's name; `remembered` what they offer or offered when they were
    last read; `source_routes` the way to each. `published` is what the repository for other sites has. `first_seen`
    says when each (component, version) was.
    """

    basis: Basis
    held: Sequence[Release] = ()
    offers: Sequence[Offer] = ()
    problems: Sequence[str] = ()
    cohorts: Sequence[Cohort] = ()
    gone: Sequence[str] = ()
    freeze: str = ""
    incrementals: Sequence[Incremental] = ()
    offered: Sequence[OfferedIncremental] = ()
    codecs: Mapping[str, CodecTraits] = field(default_factory=dict)
    dormant: frozenset[tuple[str, str]] = frozenset()
    withdrawn: Mapping[str, Sequence[Withdrawal]] = field(default_factory=dict)
    remembered: Sequence[Offer] = ()
    source_routes: Mapping[str, str] = field(default_factory=dict)
    first_seen: Mapping[tuple[str, str], datetime] = field(default_factory=dict)
    published: Published | None = None


def make_plan(wanted: Wanted, observed: Observed, *, plan_id: str, now: datetime) -> Plan:
    """Decide what is to be done; see the module's rules."""
    times = Times(now, observed.first_seen)
    desired = Desired(wanted.components, observed.held, observed.offers, observed.withdrawn, times)
    platforms = {ANY_PLATFORM, *(cohort.profile.platform for cohort in observed.cohorts if cohort.profile)}
    supplies = Supplies(observed.incrementals, observed.offered, observed.codecs, wanted.duplication)
    duplicator = Duplicator(desired, observed.held, supplies, _demand(wanted, observed, desired))
    targets = _targets(wanted, desired, platforms)
    for target in targets:
        held = desired.newest_held.get((target.release.component, target.release.platform))
        duplicator.supply(target, held.text if held else "")
    tally = _Tally(wanted, desired, Dispatcher(desired, duplicator), observed.freeze)
    for cohort in sorted(observed.cohorts, key=_cohort_order):
        tally.add(cohort)
    plan = Plan(
        plan_id=plan_id,
        created=now,
        basis=observed.basis,
        downloads=tuple(
            replace(download, route=observed.source_routes.get(download.source, DIRECT))
            for download in duplicator.downloads
        ),
        merges=tuple(duplicator.merges),
        generates=tuple(duplicator.generates),
        prunes=tuple(prune for target in targets for prune in duplicator.prunes(target)),
        deploys=tally.deploys(),
        drift=tally.findings("drift"),
        held=tally.findings("held"),
        deferred=tally.findings("deferred"),
        unknown=tally.findings("unknown"),
        unreachable=tally.findings("unreachable"),
        gone=tuple(sorted(observed.gone)),
        problems=(*observed.problems, *desired.problems, *tally.problems()),
        members=tally.members,
        clients=tally.clients(),
        partial=wanted.partial,
        platforms=tuple(sorted(platforms)),
    )
    if wanted.repository is None or observed.published is None or wanted.partial:
        return plan
    return replace(plan, publishes=plan_publishing(wanted.repository, observed.published, plan, targets, observed))


def _cohort_order(cohort: Cohort) -> tuple[str, str, str, str, tuple[str, ...]]:
    fingerprint = cohort.profile.fingerprint if cohort.profile else ""
    return cohort.group, cohort.hold, cohort.unknown or cohort.unreachable, fingerprint, cohort.members[:1]


class _Tally:
    """Adds cohorts up to changes and findings."""

    def __init__(self, wanted: Wanted, desired: Desired, dispatcher: Dispatcher, freeze: str) -> None:
        self.members: dict[str, tuple[str, ...]] = {}
        self._clients: dict[str, int] = defaultdict(int)
        self._without: set[tuple[str, str]] = set()
        self._components = {group: wanted.of_group(group) for group in wanted.groups}
        self._order = tuple(wanted.components)
        self._methods = {group: spec.scan_method for group, spec in wanted.groups.items()}
        self._desired = desired
        self._dispatcher = dispatcher
        self._freeze = freeze
        self._compared: dict[tuple[str, str | None, str], _Compared] = {}
        # Differences are numbered once, by what they say: a fleet of many distinct profiles has few of them.
        self._numbers: dict[tuple[object, ...], int] = {}
        self._differences: list[tuple[Difference, Delivery, str]] = []
        self._deploys: dict[str, dict[int, _Count]] = {group: defaultdict(_Count) for group in wanted.groups}
        self._findings: dict[str, dict[tuple[str, ...], _Count]] = defaultdict(dict)

    def add(self, cohort: Cohort) -> None:
        """Count a cohort in."""
        cohort_id = f"c{len(self.members) + 1}"
        self._clients[cohort.group] += len(cohort.members)
        if cohort.unreachable:
            used = self._find("unreachable", cohort, cohort_id, cohort.unreachable)
        elif cohort.profile is None:
            used = self._find("unknown", cohort, cohort_id, cohort.unknown)
        else:
            numbers, drift, waiting = self._compare(cohort)
            used = bool(numbers or drift or waiting)
            for target, why in waiting:
                self._find("deferred", cohort, cohort_id, why, target.release.component, target.release.version)
            for entry in drift:
                self._find("drift", cohort, cohort_id, entry.what, entry.component, entry.version)
            counts, clients = self._deploys[cohort.group], len(cohort.members)
            for number in numbers if cohort.hold or self._freeze else ():
                self._hold(number, cohort, cohort_id)
            for number in () if cohort.hold else numbers:
                if not self._freeze or self._differences[number][0].reason == "missing":
                    count = counts[number]
                    count.cohorts.append(cohort_id)
                    count.clients += clients
        if used:
            self.members[cohort_id] = cohort.members

    def _compare(self, cohort: Cohort) -> _Compared:
        assert cohort.profile is not None
        key = cohort.profile.fingerprint, self._methods[cohort.group], cohort.route
        if key not in self._compared:
            self._note_platform(cohort.group, cohort.profile.platform)
            differences, drift = compare(cohort.profile, self._components[cohort.group], self._desired)
            numbers = [
                self._number(entry, self._dispatcher.deliver(entry, cohort.profile), cohort.route)
                for entry in differences
            ]
            waiting = list(find_waiting(cohort.profile, self._components[cohort.group], self._desired))
            self._compared[key] = numbers, drift, waiting
        return self._compared[key]

    def _note_platform(self, group: str, platform: str) -> None:
        """Remember components of which there are releases, and none for this platform."""
        for spec in self._components[group]:
            component = spec.component.id
            if self._desired.target(component, platform) is None and self._desired.targets(component):
                self._without.add((component, platform))

    def _number(self, difference: Difference, delivery: Delivery, route: str) -> int:
        key = *_what(difference), delivery.path, delivery.why_full, route
        number = self._numbers.setdefault(key, len(self._differences))
        if number == len(self._differences):
            self._differences.append((difference, delivery, route))
        return number

    def _hold(self, number: int, cohort: Cohort, cohort_id: str) -> None:
        difference, *_how = self._differences[number]
        hold = cohort.hold or (self._freeze if difference.reason != "missing" else "")
        if hold:
            target = difference.target.release
            self._find("held", cohort, cohort_id, hold, target.component, target.version)

    def _find(
        self, kind: str, cohort: Cohort, cohort_id: str, reason: str, component: str = "", version: str = ""
    ) -> bool:
        key = cohort.group, component, reason, version
        self._findings[kind].setdefault(key, _Count()).add(cohort_id, cohort)
        return True

    def problems(self) -> list[str]:
        """Give sentences about platforms that some clients have and no release is for."""
        return [
            f"{component}: no known release is for {platform}; clients of that platform get nothing of it"
            for component, platform in sorted(self._without)
        ]

    def clients(self) -> dict[str, int]:
        """Give the number of clients that were compared, by group."""
        return dict(sorted(self._clients.items()))

    def deploys(self) -> tuple[Deploy, ...]:
        """Give the deploy changes in the order of the catalog, then by group, version and reason."""
        order = {component: at for at, component in enumerate(self._order)}
        found = [
            (_what(self._differences[number][0]), group, number, count)
            for group, counts in self._deploys.items()
            for number, count in counts.items()
        ]
        ways = {number: (delivery.path, route) for number, (_what, delivery, route) in enumerate(self._differences)}
        found.sort(key=lambda entry: (order[entry[0][0]], entry[1], entry[0], ways[entry[2]]))
        return tuple(_deploy(group, *self._differences[number], count) for _, group, number, count in found)

    def findings(self, kind: str) -> tuple[Finding, ...]:
        """Give the findings of a kind, ordered by group, component and reason."""
        return tuple(
            Finding(group, count.clients, tuple(count.cohorts), reason, component, version)
            for (group, component, reason, version), count in sorted(self._findings[kind].items())
        )


def _what(difference: Difference) -> tuple[str, ...]:
    """Say what a difference is about; those that say the same are one change."""
    installed, release = difference.installed, difference.target.release
    have = (installed.version, installed.digest) if installed else ("", "")
    return release.component, *have, release.platform, difference.reason


class _Count:
    """The cohorts to which something applies, and how many clients they have."""

    __slots__ = ("clients", "cohorts")

    def __init__(self) -> None:
        self.cohorts: list[str] = []
        self.clients = 0

    def add(self, cohort_id: str, cohort: Cohort) -> None:
        self.cohorts.append(cohort_id)
        self.clients += len(cohort.members)


def _deploy(group: str, difference: Difference, delivery: Delivery, route: str, count: _Count) -> Deploy:
    release, installed = difference.target.release, difference.installed
    return Deploy(
        component=release.component,
        group=group,
        from_version=installed.version if installed else "",
        from_digest=installed.digest if installed else "",
        to=release.version,
        to_digest=release.digest,
        platform=release.platform,
        reason=difference.reason,
        clients=count.clients,
        members=tuple(count.cohorts),
        bytes=delivery.bytes,
        bytes_full=release.size,
        path=delivery.path,
        downgrade=difference.downgrade,
        estimated=delivery.estimated,
        why_full=delivery.why_full,
        route=route,
    )


def _demand(wanted: Wanted, observed: Observed, desired: Desired) -> Demand:
    """Count what clients have of the components that are duplicated; each distinct profile is looked at once."""
    demand = Demand(staying=set(observed.dormant))
    duplicated = {
        group: [spec for spec in wanted.of_group(group) if spec.duplicate and wanted.duplication.enabled]
        for group in wanted.groups
    }
    clients: dict[tuple[str, str | None], int] = defaultdict(int)
    seen: dict[tuple[str, str | None], tuple[Profile, list[ComponentSpec]]] = {}
    for cohort in observed.cohorts:
        if cohort.profile is None:
            continue
        if cohort.hold or observed.freeze:
            demand.staying.update((entry.component, entry.digest) for entry in cohort.profile.installed)
        key = cohort.profile.fingerprint, wanted.groups[cohort.group].scan_method
        clients[key] += len(cohort.members)
        seen.setdefault(key, (cohort.profile, duplicated[cohort.group]))
    for key, (profile, specs) in seen.items():
        camp = camp_of(profile)
        for spec in specs:
            target = desired.target(spec.component.id, profile.platform)
            if target is not None:
                installed = profile.by_component.get(spec.component.id)
                demand.add(target.release, installed.digest if installed else "", camp, clients[key])
    return demand


def _targets(wanted: Wanted, desired: Desired, platforms: Collection[str]) -> list[Target]:
    """List the releases that some group should have on some platform of the fleet, each once."""
    found: dict[tuple[str, str], Target] = {}
    for spec in _reached(wanted):
        for platform in sorted(platforms):
            target = desired.target(spec.component.id, platform)
            if target is not None:
                found.setdefault((spec.component.id, target.release.platform), target)
    return list(found.values())


def _reached(wanted: Wanted) -> Iterable[ComponentSpec]:
    """Give the components that at least one group gets, or all when there is no group."""
    groups = [spec.scan_method for spec in wanted.groups.values()]
    for spec in wanted.components.values():
        if not groups or any(spec.component.for_scan_method(method) for method in groups):
            yield spec
