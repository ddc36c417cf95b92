"""The one planner: desired state and observed facts in, a plan out. Nothing here looks or acts.

1. Choose what each platform should run (`desired`).
2. Compare each distinct (profile, scan method) once (`diff`); cohorts share the result, clients are only counted.
3. A platform that clients have and no release of a component is for is a problem, and said.
4. Clients that nothing is known of are `unknown`, those to which there is no way `unreachable`, held clients `held`:
   never "no change".
5. What the auto-update policy keeps back is `held` or `deferred` (`timing`); it is brought into the store all the same.
6. Bring what some client or group should have into the store, at the least bytes, and keep incrementals of it
   (`duplicate`); choose how each client is supplied (`delivery`).
7. Aggregate over cohorts by (component, group, from, to, reason, way).
8. Say what the repository for other sites gets (`publish`).

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
from reconciler.model.plan import Plan
from reconciler.model.policy import AutoUpdate
from reconciler.model.release import ANY_PLATFORM
from reconciler.planner.delivery import Dispatcher, camp_of
from reconciler.planner.desired import Desired, Times
from reconciler.planner.duplicate import Demand, Duplicator, Supplies
from reconciler.planner.publish import plan_publishing
from reconciler.planner.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from reconciler.model.client import Profile
    from reconciler.model.delta import CodecTraits, Incremental
    from reconciler.model.plan import Basis, Cohort
    from reconciler.model.release import Offer, Release, Withdrawal
    from reconciler.model.repository import Published
    from reconciler.model.spec import ComponentSpec, GroupSpec, RepositorySpec
    from reconciler.planner.desired import Target
    from reconciler.planner.stock import OfferedIncremental


ALWAYS = AutoUpdate()


@dataclass(frozen=True, slots=True)
class Wanted:
    """The part of the spec that decides: managed components and groups, and whether a target left some out.

    `forced` passes over what triggers updates, `limited` says that the plan is for some clients only.
    """

    components: Mapping[str, ComponentSpec]
    groups: Mapping[str, GroupSpec]
    partial: bool = False
    duplication: Duplication = Duplication()
    repository: RepositorySpec | None = None
    policies: Mapping[tuple[str, str], AutoUpdate] = field(default_factory=dict)
    forced: bool = False
    limited: bool = False

    def policy(self, group: str, component: str) -> AutoUpdate:
        """Give the auto-update policy of a group for a component."""
        return self.policies.get((group, component), ALWAYS)

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
    tally = Tally(wanted, desired, Dispatcher(desired, duplicator), observed.freeze, times)
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
