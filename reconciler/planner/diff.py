"""What differs between one profile and what is desired.

For each component that the clients should have, the first rule that fits:

* nothing installed                                   -> `missing`
* the same version, other bytes or damaged files      -> `digest_mismatch`
* the same version and bytes, other install targets   -> `layout_changed`
* a version that is blocked or was withdrawn          -> `blocked` or `withdrawn`, up or down
* a lower version                                     -> `outdated` (`pinned` when the target is a pin)
* a higher version, and the target is a pin           -> `pinned`, marked as a downgrade
* a higher version                                    -> nothing: the client is ahead; a downgrade needs a pin

A version that the component's scheme can't read (the catalog changed) counts as lower.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reconciler.model.client import Installed, Profile
    from reconciler.model.spec import ComponentSpec
    from reconciler.planner.desired import Desired, Target


@dataclass(frozen=True, slots=True)
class Difference:
    """One component that is not as it should be. `installed` is None when the client has nothing of it."""

    target: Target
    installed: Installed | None
    reason: str
    downgrade: bool = False


@dataclass(frozen=True, slots=True)
class Drift:
    """Something on clients that nobody declared: files that changed, or files of others where none should be."""

    component: str
    version: str
    what: str


def compare(
    profile: Profile, components: Iterable[ComponentSpec], desired: Desired
) -> tuple[list[Difference], list[Drift]]:
    """Compare a profile with what is desired of these components, in their order."""
    differences = []
    drift = [Drift("", "", f"unmanaged file {path}") for path in profile.unmanaged]
    for spec in components:
        installed = profile.by_component.get(spec.component.id)
        if installed is not None and installed.damage:
            drift.append(Drift(spec.component.id, installed.version, installed.damage))
        target = desired.target(spec.component.id, profile.platform)
        if target is None:
            continue
        difference = _difference(installed, target, desired)
        if difference is not None:
            differences.append(difference)
    return differences, drift


def find_waiting(
    profile: Profile, components: Iterable[ComponentSpec], desired: Desired
) -> Iterator[tuple[Target, str]]:
    """Give the releases that a client lacks and would get if they were old enough, each with the reason."""
    for spec in components if desired.anything_waits else ():
        waiting = desired.waiting(spec.component.id, profile.platform)
        installed = profile.by_component.get(spec.component.id)
        if waiting is None:
            continue
        scheme, version = spec.component.scheme, waiting.target.version
        known = installed is not None and scheme.accepts(installed.version)
        if not (known and installed is not None and scheme.parse(installed.version) >= version):
            yield waiting.target, waiting.why


def _difference(installed: Installed | None, target: Target, desired: Desired) -> Difference | None:
    if installed is None:
        return Difference(target, None, "missing")
    if installed.version == target.release.version:
        if installed.digest != target.release.digest:
            return Difference(target, installed, "digest_mismatch")
        if installed.layout != target.spec.layout.fingerprint:
            return Difference(target, installed, "layout_changed")
        return None
    scheme = target.spec.component.scheme
    refusal = desired.refused.get((installed.component, installed.version))
    if refusal is not None:
        lower = scheme.accepts(installed.version) and scheme.parse(installed.version) > target.version
        return Difference(target, installed, refusal.word, downgrade=lower)
    if scheme.accepts(installed.version) and scheme.parse(installed.version) > target.version:
        return Difference(target, installed, "pinned", downgrade=True) if target.pinned else None
    return Difference(target, installed, "pinned" if target.pinned else "outdated")
