"""The document of a component: its releases and how far each went, what clients run by group, and what happened.

A controller makes it after each round, so that its page needs no look at a store or a source.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from reconciler.present.fields import time_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from reconciler.model.delta import Incremental
    from reconciler.model.offer import Offer, Withdrawal
    from reconciler.model.release import Release
    from reconciler.model.report import ComponentStatus
    from reconciler.model.rollout import Key, Move, RolloutRecord
    from reconciler.model.spec import ComponentSpec

ReleaseState = Literal[
    "withdrawn", "blocked", "halted", "aborted", "stalled", "paused", "soaking", "running", "everywhere", "wanted",
    "new", "held", "offered", "in use",
]  # fmt: skip
RELEASE_STATES: tuple[ReleaseState, ...] = get_args(ReleaseState)
"""How far a release is; the first one that holds. `in use`: clients run it, and nobody has it any more."""
MOST_RELEASES = 40
MOST_GROUPS = 30
MOST_MOVES = 60
MOST_INCREMENTALS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentFacts:
    """What is known of one component: of the fleet and by group, in the store, from sources, and of its rollouts."""

    spec: ComponentSpec
    status: ComponentStatus
    groups: Mapping[str, ComponentStatus] = field(default_factory=dict)
    held: Sequence[Release] = ()
    offers: Sequence[Offer] = ()
    incrementals: Sequence[Incremental] = ()
    withdrawn: Sequence[tuple[str, Withdrawal]] = ()
    rollouts: Sequence[RolloutRecord] = ()
    moves: Sequence[tuple[Key, Move]] = ()
    first_seen: Mapping[str, datetime] = field(default_factory=dict)


def component_document(facts: ComponentFacts) -> dict[str, Any]:
    """Give the document of a component."""
    status = facts.status
    releases = _releases(facts)
    groups = sorted(facts.groups.items(), key=lambda item: (item[1].rate, item[0]))
    moves = sorted(facts.moves, key=lambda entry: entry[1].at, reverse=True)
    return {
        "id": status.id,
        "blocked": dict(facts.spec.blocked),
        "releases": releases[:MOST_RELEASES],
        "more_releases": max(len(releases) - MOST_RELEASES, 0),
        "incrementals": [_incremental(entry, facts.held) for entry in _newest(facts)[:MOST_INCREMENTALS]],
        "groups": [
            {
                "group": group,
                **{name: getattr(entry, name) for name in ("updated", "outdated", "ahead", "unknown", "pending")},
                "latest_held": entry.latest_held or None,
                "versions": dict(entry.versions),
            }
            for group, entry in groups[:MOST_GROUPS]
        ],
        "more_groups": max(len(groups) - MOST_GROUPS, 0),
        "moves": [
            {
                "version": key[1],
                "group": key[2] or None,
                "status": move.status,
                "wave": move.wave,
                "at": time_text(move.at),
                "reason": move.reason or None,
            }
            for key, move in moves[:MOST_MOVES]
        ],
    }


def _releases(facts: ComponentFacts) -> list[dict[str, Any]]:
    """Give the versions that are held, offered, withdrawn, or run by clients, the newest first."""
    scheme = facts.spec.component.scheme
    found: dict[str, list[Release]] = defaultdict(list)
    sources: dict[str, set[str]] = defaultdict(set)
    held = {release.version for release in facts.held}
    for release in facts.held:
        found[release.version].append(release)
    for offer in facts.offers:
        sources[offer.release.version].add(offer.source)
        if all(known.digest != offer.release.digest for known in found[offer.release.version]):
            found[offer.release.version].append(offer.release)
    running = {version for version in facts.status.versions if scheme.accepts(version)}
    versions = {*found, *running, *(entry.version for _source, entry in facts.withdrawn)}
    ordered = sorted(filter(scheme.accepts, versions), key=lambda version: scheme.parse(version).key, reverse=True)
    return [
        _release(facts, version, found[version], sorted(sources[version]), is_held=version in held)
        for version in ordered
    ]


def _release(
    facts: ComponentFacts, version: str, releases: Sequence[Release], sources: Sequence[str], *, is_held: bool
) -> dict[str, Any]:
    state, says = _state(facts, version, offered=bool(sources), is_held=is_held)
    released = min((release.released for release in releases if release.released), default=None)
    seen = facts.first_seen.get(version)
    return {
        "version": version,
        "state": state,
        "says": says,
        "held": is_held,
        "sources": list(sources),
        "released": released and time_text(released),
        "first_seen": seen and time_text(seen),
        "clients": facts.status.versions.get(version, 0),
        "notes": next((release.notes for release in releases if release.notes), ""),
        "signed": sorted({release.signed.text for release in releases if release.signed}),
        "platforms": [
            {
                "platform": release.platform,
                "bytes": release.size,
                "files": len(release.files),
                "digest": release.digest,
                "signed": release.signed is not None,
            }
            for release in sorted(releases, key=lambda release: release.platform)
        ],
    }


def _state(facts: ComponentFacts, version: str, *, offered: bool, is_held: bool) -> tuple[ReleaseState, str]:
    """Say how far a version is, and why or where."""
    withdrawn = next((one for one in facts.withdrawn if one[1].version == version), None)
    if withdrawn is not None:
        return "withdrawn", f"by {withdrawn[0]}: {withdrawn[1].reason}"
    if version in facts.spec.blocked:
        return "blocked", facts.spec.blocked[version]
    records = [record for record in facts.rollouts if record.version == version]
    for record in sorted(records, key=lambda record: _TURNS.get(record.status, len(_TURNS))):
        if record.status in _TURNS:
            where = f"{record.place}{f' of {record.group}' if record.group else ''}"
            soaks = record.status == "running" and record.passed is not None and record.wave > 0
            state: ReleaseState = "soaking" if soaks else record.status  # type: ignore[assignment]
            return state, f"{where}: {record.reason}" if record.reason else where
    if any(record.status == "done" for record in records) and version == facts.status.wanted:
        return "everywhere", "it went through all waves"
    if version == facts.status.wanted:
        return "wanted", facts.status.target_reason
    scheme, wanted = facts.spec.component.scheme, facts.status.wanted
    newer = not wanted or scheme.parse(version).key > scheme.parse(wanted).key
    if offered and newer:
        kept_back = facts.status.kept_back
        return "new", kept_back.partition(" ")[2] if kept_back.startswith(f"{version} ") else ""
    return ("held", "") if is_held else ("offered", "") if offered else ("in use", "")


_TURNS = {status: turn for turn, status in enumerate(("halted", "aborted", "stalled", "paused", "running"))}


def _newest(facts: ComponentFacts) -> list[Incremental]:
    """Give the incrementals that were made, or tried, the newest goal first."""
    scheme = facts.spec.component.scheme
    made = [entry for entry in facts.incrementals if entry.from_version and scheme.accepts(entry.to_version)]
    return sorted(made, key=lambda entry: (scheme.parse(entry.to_version).key, entry.size), reverse=True)


def _incremental(entry: Incremental, held: Iterable[Release]) -> dict[str, Any]:
    full = next((release.size for release in held if release.digest == entry.to_digest), None)
    return {
        "from": entry.from_version,
        "to": entry.to_version,
        "platform": entry.platform,
        "codec": entry.codec,
        "bytes": entry.size,
        "bytes_full": full,
        "refused": entry.refused or None,
    }
