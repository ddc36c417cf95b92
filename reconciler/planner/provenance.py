"""Where the releases of a plan come from: who vouches for their bytes, since when they are out, what is new.

A release is its bytes: whoever signed these vouches for them, whichever source they are taken from, and whether they
are offered now or lie in the store since they were. What sources say now goes before what was said then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.provenance import MAX_NOTES, Provenance
from reconciler.model.release import ANY_PLATFORM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.model.change import Deploy, Download, Merge, Publish
    from reconciler.model.plan import Plan
    from reconciler.model.release import Release
    from reconciler.planner.inputs import Observed

    _Key = tuple[str, str, str, str]


def provenance(plan: Plan, observed: Observed) -> tuple[Provenance, ...]:
    """Say where each release comes from that the plan brings to the store, clients or others, in the order of names."""
    passed_on = [change for change in plan.publishes if change.kind in change.PASSING_ON]
    bringing: list[Download | Merge | Deploy | Publish] = [*plan.downloads, *plan.merges, *plan.deploys, *passed_on]
    known: dict[_Key, list[Release]] = {
        (change.component, change.to, change.platform, change.to_digest): [] for change in bringing
    }
    for release in _releases(observed):
        found = known.get(_key(release))
        if found is not None:
            found.append(release)
    return tuple(_of(key, releases) for key, releases in sorted(known.items()))


def of_version(component: str, version: str, platform: str, observed: Observed) -> Provenance | None:
    """Say where the release of a version comes from that clients of a platform get; None where none is known."""
    fits = [
        release
        for release in _releases(observed)
        if (release.component, release.version) == (component, version) and release.platform in {platform, ANY_PLATFORM}
    ]
    if not fits:
        return None
    key = _key(next((release for release in fits if release.platform == platform), fits[0]))
    return _of(key, [release for release in fits if _key(release) == key])


def _releases(observed: Observed) -> Iterator[Release]:
    """Give all that is known of releases, what sources say now first."""
    yield from (offer.release for offer in (*observed.offers, *observed.remembered))
    yield from observed.held


def _key(release: Release) -> _Key:
    return release.component, release.version, release.platform, release.digest


def _of(key: _Key, releases: list[Release]) -> Provenance:
    said = [release for release in releases if release.signed] or releases
    notes = next((release.notes for release in said if release.notes), "")
    return Provenance(
        *key,
        released=next((release.released for release in said if release.released), None),
        notes=_fit(notes),
        signed_by=said[0].signed if said else None,
    )


def _fit(notes: str) -> str:
    """Cut notes, and take out what moves a cursor or can't be written."""
    sound = notes.encode("utf-8", "replace").decode()
    shown = "".join(char if char.isprintable() or char == "\n" else " " for char in sound).strip()
    return shown if len(shown) <= MAX_NOTES else f"{shown[: MAX_NOTES - 1]}…"
