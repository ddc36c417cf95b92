"""The one planner: desired state and observed facts in, a plan out. Nothing here looks or acts.

1. Choose what each platform should run (`desired`).
2. Compare each distinct situation once (`comparison`, `diff`); cohorts share the result, clients are only counted.
3. A platform that clients have and no release of a component is for is a problem, and said.
4. Clients that nothing is known of are `unknown`, those to which there is no way `unreachable`, held clients `held`:
   never "no change".
5. What the auto-update policy keeps back is `held` or `deferred`: by its time (`timing`) or its wave (`rollout`). It is
   brought into the store all the same.
6. Bring what some client or group should have into the store, at the least bytes, and keep incrementals of it
   (`duplicate`); choose how each client is supplied (`delivery`).
7. Have fetched what some client or group should have and nobody knows the bytes of (`fetching`).
8. Aggregate over cohorts by (component, group, from, to, reason, way).
9. Say what clients fetch from relays, and what that spares (`relays`).
10. Say what the repository for other sites gets (`publish`).

Equal input gives an equal plan, in an order that doesn't depend on the order of the input.

Example: 48,212 clients of the group branch with virus-pattern 16.677.00 in three cohorts and an offer of 16.679.00 give
one download and one deploy change that names the three cohorts.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.formats.counts import count_text
from reconciler.model.network import DIRECT
from reconciler.model.plan import Plan
from reconciler.model.release import ANY_PLATFORM
from reconciler.planner.aggregate import Aggregate
from reconciler.planner.comparison import Comparison
from reconciler.planner.delivery import Dispatcher, camp_of
from reconciler.planner.desired import Desired, changed_offers
from reconciler.planner.duplicate import Demand, Duplicator, Supplies
from reconciler.planner.fetching import plan_fetches
from reconciler.planner.mirrors import plan_mirror, refusals
from reconciler.planner.publish import plan_publishing
from reconciler.planner.relays import relay_uses
from reconciler.planner.rollout import Rollouts, forced_versions, halts
from reconciler.planner.sums import in_order
from reconciler.planner.targets import Times
from reconciler.planner.timing import judge

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from reconciler.model.change import Publish
    from reconciler.model.client import Profile
    from reconciler.model.plan import Finding
    from reconciler.model.policy import AutoUpdate
    from reconciler.model.release import ScanMethod
    from reconciler.model.rollout import Key
    from reconciler.model.spec import ComponentSpec
    from reconciler.planner.inputs import Observed, Wanted
    from reconciler.planner.targets import First, Target
    from reconciler.planner.timing import Verdict


def make_plan(wanted: Wanted, observed: Observed, *, plan_id: str, now: datetime) -> Plan:
    """Decide what is to be done; see the module's rules."""
    times = Times(now, observed.first_seen)
    halted = halts(observed.rollouts.values())
    past = observed.past
    if changed_offers(observed.offers, observed.held, past.contents):  # else it isn't worth looking through the fleet
        past = replace(past, got=observed.got())
    desired = Desired(
        wanted.components,
        observed.held,
        observed.offers,
        observed.withdrawn,
        times,
        halted,
        past,
        observed.unfetched,
    )
    stuck: frozenset[Key] = frozenset()
    while True:
        forced = forced_versions(wanted, desired, observed.rollouts, stuck)
        plan, found = _make(wanted, observed, desired, forced, plan_id, times)
        if found <= stuck or not forced:
            return plan
        stuck |= found  # what can't go on keeps nothing newer waiting


def _make(
    wanted: Wanted,
    observed: Observed,
    desired: Desired,
    forced: Mapping[str, Mapping[str, tuple[First, ...]]],
    plan_id: str,
    times: Times,
) -> tuple[Plan, frozenset[Key]]:
    """Decide which version goes where, and give the rollouts that are stuck with that."""
    now = times.now
    platforms = {ANY_PLATFORM, *(cohort.profile.platform for cohort in observed.cohorts if cohort.profile)}
    supplies = Supplies(
        held=observed.incrementals,
        offered=observed.offered,
        traits=observed.codecs,
        policy=wanted.duplication,
        passes_on=wanted.passes_on,
        samples=observed.samples,
        memory=observed.memory,
    )
    duplicator = Duplicator(desired, observed.held, supplies, _demand(wanted, observed, desired, forced))
    targets = _targets(wanted, desired, platforms, forced)
    for target in targets:
        held = desired.newest_held.get((target.release.component, target.release.platform))
        duplicator.supply(target, held.text if held else "")
    comparison = Comparison(wanted, desired, Dispatcher(desired, duplicator), forced)
    verdicts = judge_all(wanted, now)
    ordered = replace(observed, cohorts=in_order(observed.cohorts))
    rollouts = Rollouts(wanted, ordered, desired, comparison, verdicts, now)
    tally = Aggregate(wanted, comparison, rollouts, verdicts, observed.freeze, times, observed.basis, observed.back)
    tally.add_all(ordered.cohorts)
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
        settings=tally.settings(),
        fetches=plan_fetches(wanted, observed, desired, _reached(wanted), platforms, forced),
        proofs=tally.proofs(),
        rollouts=tuple(sorted(rollouts.steps, key=lambda step: step.record.key)),
        drift=tally.findings("drift"),
        pending=tally.findings("pending"),
        held=tally.findings("held"),
        deferred=tally.findings("deferred"),
        unknown=tally.findings("unknown"),
        unreachable=tally.findings("unreachable"),
        gone=tuple(sorted(observed.gone)),
        problems=(*observed.problems, *desired.problems, *comparison.problems()),
        notes=(*observed.notes, *desired.notes, *duplicator.notes, *_claimed(tally.findings("claims"))),
        claims=tally.findings("claims"),
        excused=(*observed.excused, *desired.excused),
        unmet=tuple(dict.fromkeys(desired.unmet)),
        unread=tuple(observed.unread),
        members=tally.roster,
        clients=tally.clients(),
        partial=wanted.partial,
        platforms=tuple(sorted(platforms)),
    )
    uses, trouble = relay_uses(wanted, plan, tally.behind, observed)
    plan = replace(plan, relays=uses, problems=(*plan.problems, *trouble))
    refused = () if wanted.partial else [text for spec in wanted.mirrors for text in refusals(spec, targets, observed)]
    plan = replace(plan, problems=(*plan.problems, *refused))
    return replace(plan, publishes=_publishes(wanted, observed, plan, targets)), rollouts.stuck


def _publishes(wanted: Wanted, observed: Observed, plan: Plan, targets: Sequence[Target]) -> tuple[Publish, ...]:
    """Give what changes in the signed repository and in each mirror; nothing by a plan for a part of what is wanted."""
    if wanted.partial:
        return ()
    changes: tuple[Publish, ...] = ()
    if wanted.repository is not None and observed.published is not None:
        changes = plan_publishing(wanted.repository, observed.published, plan, targets, observed)
    for mirror in wanted.mirrors:
        changes += plan_mirror(mirror, wanted.components, plan, targets, observed)
    return changes


def _claimed(claims: Sequence[Finding]) -> list[str]:
    """Say that clients are told who their controller is."""
    clients = sum(finding.clients for finding in claims)
    if not clients:
        return []
    are = f"{count_text(clients, 'client')} {'is' if clients == 1 else 'are'}"
    return [f"{are} told that this state is their controller now; who has an earlier one is refused from then on"]


def judge_all(wanted: Wanted, now: datetime) -> dict[str, dict[str, Verdict]]:
    """Judge the policy of each group and component; each distinct one once."""
    judged: dict[tuple[AutoUpdate, bool], Verdict] = {}
    found: dict[str, dict[str, Verdict]] = {}
    for group in wanted.groups:
        verdicts = found[group] = {}
        for spec in wanted.of_group(group):
            policy, hurry = wanted.policy(group, spec.component.id), spec.component.id in wanted.expedited
            if (policy, hurry) not in judged:
                judged[policy, hurry] = judge(
                    policy, now, forced=wanted.forced, limited=wanted.limited, expedited=hurry
                )
            verdicts[spec.component.id] = judged[policy, hurry]
    return found


def _demand(
    wanted: Wanted, observed: Observed, desired: Desired, forced: Mapping[str, Mapping[str, tuple[First, ...]]]
) -> Demand:
    """Count what clients have of the components that are duplicated; each distinct profile is looked at once."""
    demand = Demand(staying=set(observed.dormant))
    duplicated = {
        group: [spec for spec in wanted.of_group(group) if spec.duplicate and wanted.duplication.enabled]
        for group in wanted.groups
    }
    clients: dict[tuple[str, ScanMethod | None], int] = defaultdict(int)
    seen: dict[tuple[str, ScanMethod | None], tuple[Profile, list[ComponentSpec], Mapping[str, tuple[First, ...]]]] = {}
    for cohort in observed.cohorts:
        if cohort.profile is None:
            continue
        if cohort.hold or observed.freeze:
            demand.staying.update((entry.component, entry.digest) for entry in cohort.profile.installed)
        key = cohort.profile.fingerprint, wanted.groups[cohort.group].scan_method
        clients[key] += len(cohort.members)
        seen.setdefault(key, (cohort.profile, duplicated[cohort.group], forced.get(cohort.group, {})))
    for key, (profile, specs, first) in seen.items():
        camp = camp_of(profile)
        for spec in specs:
            target = desired.target(spec.component.id, profile.platform, first.get(spec.component.id, ()))
            if target is not None:
                installed = profile.by_component.get(spec.component.id)
                demand.add(target.release, installed.digest if installed else "", camp, clients[key])
    return demand


def _targets(
    wanted: Wanted, desired: Desired, platforms: Collection[str], forced: Mapping[str, Mapping[str, tuple[First, ...]]]
) -> list[Target]:
    """List the releases that some group should have on some platform of the fleet, each once.

    Where all groups have to wait for the rollout of an earlier release, that one is what the store is for.
    """
    found: dict[tuple[str, str], Target] = {}
    for spec in _reached(wanted):
        component = spec.component.id
        first = {forced.get(group, {}).get(component, ()) for group in wanted.groups if spec in wanted.of_group(group)}
        ahead = next(iter(first)) if len(first) == 1 else ()
        for platform in sorted(platforms):
            target = desired.target(component, platform, ahead)
            if target is not None:
                found.setdefault((spec.component.id, target.release.platform), target)
    return list(found.values())


def _reached(wanted: Wanted) -> Iterable[ComponentSpec]:
    """Give the components that at least one group gets, or all when there is no group."""
    groups = [spec.scan_method for spec in wanted.groups.values()]
    for spec in wanted.components.values():
        if not groups or any(spec.component.for_scan_method(method) for method in groups):
            yield spec
