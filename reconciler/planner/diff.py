"""What differs between one profile and what is desired.

For each component that the clients should have, the first rule that fits:

* nothing installed                                   -> `missing`
* the same version, bytes that it stood for before    -> `outdated`
* the same version, other bytes or damaged files      -> `digest_mismatch`
* the same version and bytes, other install targets   -> `layout_changed`
* a version that is blocked or was withdrawn          -> `blocked` or `withdrawn`, up or down
* a version whose rollout failed and is taken back    -> `rolled_back`, down; up, and to a pin, goes as any update
* a lower version                                     -> `outdated` (`pinned` when the target is a pin)
* a higher version, and the target is a pin           -> `pinned`, marked as a downgrade
* a higher version                                    -> nothing: the client is ahead; a downgrade needs a pin

A version that the component's scheme can't read (the catalog changed) counts as lower.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from reconciler.planner.loading import unloaded
from reconciler.planner.targets import Refusal, Waiting

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from reconciler.model.change import DeployReason
    from reconciler.model.client import Installed, Profile
    from reconciler.model.spec import ComponentSpec
    from reconciler.planner.desired import Desired
    from reconciler.planner.targets import First, Target

NOTHING: Mapping[str, tuple[First, ...]] = MappingProxyType({})
_UNDONE = Refusal("rolled_back", "its rollout failed")


@dataclass(frozen=True, slots=True)
class Difference:
    """One component that is not as it should be. `installed` is None when the client has nothing of it."""

    target: Target
    installed: Installed | None
    reason: DeployReason
    downgrade: bool = False


@dataclass(frozen=True, slots=True)
class Drift:
    """Something on clients that nobody declared: files that changed, or files of others where none should be."""

    component: str
    version: str
    what: str


def compare(
    profile: Profile,
    components: Iterable[ComponentSpec],
    desired: Desired,
    forced: Mapping[str, tuple[First, ...]] = NOTHING,
) -> tuple[list[Difference], list[Drift]]:
    """Compare a profile with what is desired of these components, in their order.

    `forced` has the versions that the clients should get before what is desired, by component.
    """
    differences = []
    drift = [Drift("", "", f"unmanaged file {path}") for path in profile.unmanaged]
    for spec in components:
        installed = profile.by_component.get(spec.component.id)
        if installed is not None and installed.damage:
            drift.append(Drift(spec.component.id, installed.version, installed.damage))
        target = desired.target(spec.component.id, profile.platform, forced.get(spec.component.id, ()))
        if target is None:
            continue
        difference = _difference(installed, target, desired)
        if difference is not None:
            differences.append(difference)
    return differences, drift


def find_waiting(
    profile: Profile,
    components: Iterable[ComponentSpec],
    desired: Desired,
    forced: Mapping[str, tuple[First, ...]] = NOTHING,
) -> Iterator[Waiting]:
    """Give the releases that a client lacks and would get if something weren't in the way."""
    for spec in components if desired.anything_waits or forced else ():
        waiting = desired.waiting(spec.component.id, profile.platform)
        first = forced.get(spec.component.id, ())
        if first:
            waiting = _queued(spec.component.id, profile.platform, desired, first) or waiting
        installed = profile.by_component.get(spec.component.id)
        if waiting is None:
            continue
        scheme, version = spec.component.scheme, waiting.target.version
        if installed is not None and scheme.accepts(installed.version):
            has = scheme.parse(installed.version)
            if has == version or (has > version and not waiting.target.pinned):
                continue
        yield waiting


def find_unloaded(profile: Profile, components: Iterable[ComponentSpec], differing: Collection[str]) -> Iterator[Drift]:
    """Give what is installed and isn't loaded, of the components that aren't among those that differ."""
    for spec in components:
        installed = profile.by_component.get(spec.component.id) if spec.loaded is not None else None
        if installed is not None and spec.component.id not in differing:
            why = unloaded(spec, installed)
            if why:
                yield Drift(spec.component.id, installed.version, why)


def _queued(component: str, platform: str, desired: Desired, first: tuple[First, ...]) -> Waiting | None:
    latest, before = desired.target(component, platform), desired.target(component, platform, first)
    if latest is None or before is None or latest.release.version == before.release.version:
        return None
    return Waiting(latest, f"queued: the rollout of {before.release.version} comes first")


def _difference(installed: Installed | None, target: Target, desired: Desired) -> Difference | None:
    if installed is None:
        return Difference(target, None, "missing")
    if installed.version == target.release.version:
        if installed.digest != target.release.digest:
            former = desired.is_former(target.release, installed.digest)
            return Difference(target, installed, "outdated" if former else "digest_mismatch")
        if installed.layout != target.spec.layout.fingerprint:
            return Difference(target, installed, "layout_changed")
        return None
    scheme = target.spec.component.scheme
    refusal = desired.refused.get((installed.component, installed.version))
    lower = scheme.accepts(installed.version) and scheme.parse(installed.version) > target.version
    if refusal is None and lower and not target.pinned and desired.is_undone(installed.component, installed.version):
        refusal = _UNDONE
    if refusal is not None:
        return Difference(target, installed, refusal.word, downgrade=lower)
    if lower:
        return Difference(target, installed, "pinned", downgrade=True) if target.pinned else None
    return Difference(target, installed, "pinned" if target.pinned else "outdated")
