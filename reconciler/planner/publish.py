"""What the repository for other sites gets, takes back and lets go of.

1. Nothing, while it has no root that enough keys signed.
2. A version that this spec, or a source of ours, takes back is listed as withdrawn and not offered.
3. What was published stays while the store holds it.
4. The releases that this fleet should run are added when the policy lets them: `downloaded` as soon as the store holds
   them; `after_rollout` when they passed here: their rollouts are done and, where there were none, a client runs them;
   `manual` never by itself.
5. Incrementals that the store holds to what is published are published with it, and what is attached to it.
6. When nothing changes, signatures are renewed once half of their time is over.

Example: hq holds 16.679.00, its lab runs it, 16.677.00 is published; the plan publishes 16.679.00 with the incremental
16.677.00..16.679.00.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from reconciler.model.change import Publish
from reconciler.model.delta import incremental_name
from reconciler.model.release import ANY_PLATFORM, ReleaseKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.model.change import Download, Generate, PublishKind
    from reconciler.model.offer import Withdrawal
    from reconciler.model.plan import Plan
    from reconciler.model.release import Release, ReleaseFile
    from reconciler.model.repository import Published
    from reconciler.model.spec import MirrorSpec, RepositorySpec
    from reconciler.planner.inputs import Observed
    from reconciler.planner.targets import Target


def plan_publishing(
    spec: RepositorySpec, published: Published, plan: Plan, targets: Sequence[Target], observed: Observed
) -> tuple[Publish, ...]:
    """Decide what changes in the repository; see the module's rules."""
    if not published.ready:
        return ()
    withdrawn = withdrawals(spec, observed)
    taken_back = {(entry.component, entry.version) for entry in withdrawn}
    held = held_after(plan, observed)
    offered = {key_of(release): release for release in published.releases}
    kept = {
        key: release
        for key, release in offered.items()
        if held.get(key) == release.digest and key[:2] not in taken_back and spec.has(release.component)
    }
    added = [
        target.release
        for target in targets
        if key_of(target.release) not in kept
        and spec.has(target.release.component)
        and held.get(key_of(target.release)) == target.release.digest
        and (target.release.component, target.release.version) not in taken_back
        and may_go(spec, target.release, plan, observed)
    ]
    changes = [_entry(release, "release", release.size, reason_for(spec)) for release in added]
    changes += [
        _entry(release, "let go", 0, LOST if spec.has(release.component) else OUT)
        for key, release in offered.items()
        if key not in kept and key[:2] not in taken_back
    ]
    changes += _withdraw(withdrawn, published)
    changes += _attached(kept, {change.component for change in changes}, observed)
    changes += _incrementals([*kept.values(), *added], {change.component for change in changes}, plan, observed)
    if not changes and published.renew:
        changes.append(
            Publish(
                component="",
                previous="",
                to="",
                to_digest="",
                platform=ANY_PLATFORM,
                kind="signatures",
                bytes=0,
                reason=published.renew,
            )
        )
    return tuple(sorted(changes, key=lambda change: (change.component, change.to, change.platform, change.kind)))


LOST = "the store doesn't keep it"
OUT = "the repository isn't to have the component"


def withdrawals(spec: RepositorySpec | MirrorSpec, observed: Observed) -> frozenset[Withdrawal]:
    """Give all that is listed as withdrawn: what the spec says, and what our own sources say."""
    own = {(entry.component, entry.version) for entry in spec.withdrawn}
    passed_on = {
        (entry.component, entry.version): entry
        for entries in observed.withdrawn.values()
        for entry in entries
        if (entry.component, entry.version) not in own
    }
    return frozenset((*spec.withdrawn, *passed_on.values()))


def key_of(release: Release) -> ReleaseKey:
    """Give what names a release."""
    return release.component, release.version, release.platform


def held_after(plan: Plan, observed: Observed) -> dict[ReleaseKey, str]:
    """Give the content digests of the releases that the store holds when the plan is carried out."""
    held = {key_of(release): release.digest for release in observed.held}
    held |= {(change.component, change.to, change.platform): change.to_digest for change in plan.arriving}
    for prune in plan.prunes:
        if prune.kind == "full":
            held.pop((prune.component, prune.to, prune.platform), None)
    return held


def may_go(spec: RepositorySpec | MirrorSpec, release: Release, plan: Plan, observed: Observed) -> bool:
    """Say whether the policy lets a release be published; see the module's rules."""
    if spec.publish != "after_rollout":
        return spec.publish == "downloaded"
    name = release.component, release.version
    rollouts = {key: record for key, record in observed.rollouts.items() if key[:2] == name}
    rollouts |= {step.record.key: step.record for step in plan.rollouts if step.record.key[:2] == name}
    statuses = {record.status for record in rollouts.values()} - {"superseded"}
    if statuses:
        return statuses == {"done"}
    return any(
        installed is not None and installed.digest == release.digest
        for cohort in observed.cohorts
        if cohort.profile is not None
        for installed in (cohort.profile.by_component.get(release.component),)
    )


def reason_for(spec: RepositorySpec | MirrorSpec) -> str:
    """Give the reason for which the policy lets a release be published."""
    return "downloaded" if spec.publish == "downloaded" else "passed here"


def _entry(release: Release, kind: PublishKind, size: int, reason: str) -> Publish:
    return Publish(
        component=release.component,
        previous="",
        to=release.version,
        to_digest=release.digest,
        platform=release.platform,
        kind=kind,
        bytes=size,
        reason=reason,
    )


def _withdraw(withdrawn: Iterable[Withdrawal], published: Published) -> list[Publish]:
    wanted, listed = set(withdrawn), set(published.withdrawn)
    versions = {(entry.component, entry.version) for entry in wanted}
    changes: list[tuple[Withdrawal, PublishKind, str]] = [
        (entry, "withdraw", entry.reason) for entry in wanted - listed
    ]
    changes += [
        (entry, "restore", "not withdrawn any more")
        for entry in listed - wanted
        if (entry.component, entry.version) not in versions
    ]
    return [
        Publish(
            component=entry.component,
            previous="",
            to=entry.version,
            to_digest="",
            platform=ANY_PLATFORM,
            kind=kind,
            bytes=0,
            reason=why,
        )
        for entry, kind, why in changes
    ]


def lacking_attached(observed: Observed) -> dict[ReleaseKey, tuple[ReleaseFile, ...]]:
    """Give what sources have attached to releases that the store holds, and that the store lacks."""
    offers = (offer.release for offer in observed.offers if offer.release.attached)
    offered = {(*key_of(release), release.digest): release.attached for release in offers}
    found = {
        key_of(release): tuple(
            file for file in offered.get((*key_of(release), release.digest), ()) if file not in release.attached
        )
        for release in (observed.held if offered else ())
    }
    return {key: files for key, files in found.items() if files}


def _attached(kept: Mapping[ReleaseKey, Release], touched: set[str], observed: Observed) -> list[Publish]:
    """Find the releases to which other files are attached than are published, or could be, though all else is."""
    held = {key_of(release): release for release in observed.held}
    missing = lacking_attached(observed)
    found = []
    for key, release in kept.items():
        if key not in held:
            continue  # it comes in this plan, and what is attached with it
        lacking = missing.get(key, ())
        new = {*held[key].attached, *lacking} - {*release.attached}
        if new and (lacking or release.component not in touched):
            names = ", ".join(sorted(file.name for file in new)[:3])
            size = sum(file.size for file in new)
            found.append(_entry(release, "attached", size, f"{'to be fetched' if lacking else 'new'}: {names}"))
    return found


def _incrementals(releases: Iterable[Release], touched: set[str], plan: Plan, observed: Observed) -> list[Publish]:
    """Find the components whose incrementals differ, though nothing else of them does."""
    assert observed.published is not None
    goals = {release.digest for release in releases}
    wanted: dict[str, dict[tuple[str, str], int]] = defaultdict(dict)
    for entry in observed.incrementals:
        if entry.to_digest in goals and entry.from_version and not entry.refused:
            wanted[entry.component][entry.platform, entry.name] = entry.size
    coming: list[tuple[Generate | Download, str]] = [(change, change.codec) for change in plan.generates]
    coming += [(change, change.kind) for change in plan.downloads if change.kind != "full"]
    for change, codec in coming:
        if change.to_digest in goals and change.previous:
            name = incremental_name(change.previous, change.to, codec)
            wanted[change.component][change.platform, name] = change.bytes
    for prune in plan.prunes:
        if prune.kind != "full" and prune.previous:
            name = incremental_name(prune.previous, prune.to, prune.kind)
            wanted[prune.component].pop((prune.platform, name), None)
    listed: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for entry in observed.published.incrementals:
        listed[entry.component].add((entry.platform, entry.name))
    return [
        Publish(
            component=component,
            previous="",
            to="",
            to_digest="",
            platform=ANY_PLATFORM,
            kind="incrementals",
            bytes=sum(size for key, size in wanted[component].items() if key not in listed[component]),
            reason="as the store has them",
        )
        for component in sorted({*wanted, *listed})
        if component not in touched and set(wanted[component]) != listed[component]
    ]
