"""What mirrors for other programs get, and what goes from them.

1. A version that this spec, or a source of ours, takes back goes.
2. What is in a mirror stays while the store holds it, and as long as the layout keeps that many of a component.
3. The releases that this fleet should run are added when the policy lets them, as for the signed repository
   (`publish`). They come first where a layout keeps only some; then the highest do.
4. A release that can't lie in such a folder isn't added, and the plan says why.
5. Where one takes the place of a higher one, and readers don't follow that, the plan says so.
6. When nothing else changes, what isn't as the layout wants it is written anew.

Example: a mirror that keeps one release has daily 27002, which is withdrawn; the fleet is to run 27001. The plan
withdraws 27002, publishes 27001, and says that those who read the mirror stay with 27002.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from reconciler.model.change import Publish
from reconciler.model.release import ANY_PLATFORM
from reconciler.planner.publish import held_after, key_of, lacking_attached, may_go, reason_for, withdrawals

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.model.change import PublishKind
    from reconciler.model.mirror import Mirror
    from reconciler.model.plan import Plan
    from reconciler.model.release import Release, ReleaseKey
    from reconciler.model.spec import ComponentSpec, MirrorSpec
    from reconciler.planner.inputs import Observed
    from reconciler.planner.targets import Target

    Place = tuple[str, str]
    """A component, and the platform of a release."""


def plan_mirror(
    spec: MirrorSpec, components: Mapping[str, ComponentSpec], plan: Plan, targets: Sequence[Target], observed: Observed
) -> tuple[Publish, ...]:
    """Decide what changes in a mirror; see the module's rules."""
    mirror = observed.mirrors.get(spec.name)
    if mirror is None or mirror.problem:
        return ()
    reasons = {(entry.component, entry.version): entry.reason for entry in withdrawals(spec, observed)}
    held = held_after(plan, observed)
    there = {key_of(release): release for release in mirror.releases}
    stays = {
        key: release
        for key, release in there.items()
        if held.get(key) == release.digest and key[:2] not in reasons and spec.has(release.component)
    }
    comes = {
        key_of(target.release): target.release
        for target in targets
        if spec.has(target.release.component)
        and held.get(key_of(target.release)) == target.release.digest
        and key_of(target.release)[:2] not in reasons
        and key_of(target.release) not in mirror.refused
        and (key_of(target.release) in stays or may_go(spec, target.release, plan, observed))
    }
    wanted = kept(mirror.traits.keeps, components, stays, comes)
    changes = []
    for key in sorted(wanted.keys() - stays.keys()):
        above = _above(wanted[key], there.values(), components) if mirror.traits.forward else ""
        reason = reason_for(spec) + (f"; {above} was published: {mirror.traits.forward}" if above else "")
        changes.append(_entry(spec, wanted[key], "release", wanted[key].size, reason))
    for key in sorted(there.keys() - wanted.keys()):
        why = _gone(spec, key, held, wanted, mirror.traits.keeps)
        taken_back = key[:2] in reasons
        changes.append(
            _entry(
                spec,
                there[key],
                "withdraw" if taken_back else "let go",
                0,
                _taken_back(mirror, there[key], reasons[key[:2]], wanted) if taken_back else why,
            )
        )
    changes += _attached(spec, wanted, observed)
    if not changes and mirror.renew:
        changes.append(
            Publish(
                component="",
                previous="",
                to="",
                to_digest="",
                platform=ANY_PLATFORM,
                kind="files",
                bytes=0,
                reason=mirror.renew,
                repository=spec.name,
            )
        )
    return tuple(sorted(changes, key=lambda change: (change.component, change.to, change.platform, change.kind)))


def refusals(spec: MirrorSpec, targets: Sequence[Target], observed: Observed) -> list[str]:
    """Say which of the releases that this fleet should run can't lie in a mirror."""
    mirror = observed.mirrors.get(spec.name)
    if mirror is None or mirror.problem:
        return []
    refused = {key_of(target.release): mirror.refused.get(key_of(target.release), "") for target in targets}
    return [
        f"repository {spec.name}: {component} {version} isn't published: {why}"
        for (component, version, _platform), why in sorted(refused.items())
        if why and spec.has(component)
    ]


def kept(
    keeps: int,
    components: Mapping[str, ComponentSpec],
    stays: Mapping[ReleaseKey, Release],
    comes: Mapping[ReleaseKey, Release],
) -> dict[ReleaseKey, Release]:
    """Give what is to lie in a mirror: of each component and platform so many (0: all), and first those that come."""
    places: dict[Place, list[Release]] = defaultdict(list)
    for release in {**stays, **comes}.values():
        places[release.component, release.platform].append(release)
    found: dict[ReleaseKey, Release] = {}
    for (component, _platform), releases in places.items():
        if keeps and component in components:
            version = components[component].component.version
            releases.sort(key=lambda release: (key_of(release) in comes, version(release.version)), reverse=True)
            del releases[keeps:]
        found |= {key_of(release): release for release in releases}
    return found


def _above(release: Release, others: Iterable[Release], components: Mapping[str, ComponentSpec]) -> str:
    """Give the highest version that a mirror has above a release for its platform; empty when there is none."""
    spec = components.get(release.component)
    if spec is None:
        return ""
    versions = [
        spec.component.version(other.version)
        for other in others
        if (other.component, other.platform) == (release.component, release.platform)
        and spec.component.scheme.accepts(other.version)
    ]
    highest = max(versions, default=None)
    return highest.text if highest is not None and highest > spec.component.version(release.version) else ""


def _taken_back(mirror: Mirror, release: Release, reason: str, wanted: Mapping[ReleaseKey, Release]) -> str:
    """Say why a release is taken back, and that readers don't notice where nothing else comes that says so."""
    place = release.component, release.platform
    replaced = any((other.component, other.platform) == place for other in wanted.values())
    return reason if replaced or not mirror.traits.forward else f"{reason}; {mirror.traits.forward}"


def _gone(
    spec: MirrorSpec,
    key: ReleaseKey,
    held: Mapping[ReleaseKey, str],
    wanted: Mapping[ReleaseKey, Release],
    keeps: int,
) -> str:
    if not spec.has(key[0]):
        return "the mirror isn't to have the component"
    if key not in held:
        return "the store doesn't keep it"
    others = [other[1] for other in wanted if (other[0], other[2]) == (key[0], key[2])]
    if not others:
        return "the store holds other bytes"
    return f"{others[0]} is there" if keeps == 1 else f"{keeps} others are kept"


def _attached(spec: MirrorSpec, wanted: Mapping[ReleaseKey, Release], observed: Observed) -> list[Publish]:
    """Find the releases of which what is attached didn't come yet."""
    found = []
    for key, lacking in lacking_attached(observed).items():
        if key in wanted:
            size = sum(file.size for file in lacking)
            reason = f"to be fetched: {', '.join(file.name for file in lacking[:3])}{', …' if len(lacking) > 3 else ''}"
            found.append(_entry(spec, wanted[key], "attached", size, reason))
    return found


def _entry(spec: MirrorSpec, release: Release, kind: PublishKind, size: int, reason: str) -> Publish:
    return Publish(
        component=release.component,
        previous="",
        to=release.version,
        to_digest=release.digest if kind in {"release", "attached"} else "",
        platform=release.platform,
        kind=kind,
        bytes=size,
        reason=reason,
        repository=spec.name,
    )
