"""Who has had a release for so long that its engine should have loaded it: that client failed, whatever it is now.

The time counts from the switch, as the journal has it; of who had the release otherwise, from when its wave opened.
Only a look after that time says so: those that are waited for are looked at in each round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.rollout import OPEN
from reconciler.planner.loading import not_loaded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    from reconciler.model.client import Profile
    from reconciler.model.rollout import Key, RolloutRecord
    from reconciler.workspace import Workspace


_BATCH = 1000


def with_late_loads(
    work: Workspace,
    failures: Mapping[Key, Mapping[str, str]],
    records: Mapping[Key, RolloutRecord],
    profiles: Mapping[str, Profile],
) -> dict[Key, Mapping[str, str]]:
    """Give the clients that failed in rollouts: with the switch, or because their engines didn't load the release.

    Raises:
        StateError: the state can't be read.
    """
    late = _late_loads(work, records, profiles, work.means.clock())
    return {key: {**late.get(key, {}), **failures.get(key, {})} for key in {**late, **failures}}


def _late_loads(
    work: Workspace, records: Mapping[Key, RolloutRecord], profiles: Mapping[str, Profile], now: datetime
) -> dict[Key, dict[str, str]]:
    """Give by rollout the clients that have had its version for longer than `wait_loaded`, and what they run with."""
    found: dict[Key, dict[str, str]] = {}
    for key, record in records.items():
        waits = _waits(work, record) if record.status in OPEN and record.wave else {}
        if not waits:
            continue
        unloaded = _unloaded(work, record, profiles, waits)
        if unloaded:
            since = work.state.switched_at(record.component, record.version, record.started)
            ends = {name: since.get(name, record.opened) + waits[group] for name, (group, _why) in unloaded.items()}
            over = [name for name, end in ends.items() if now > end]
            seen = _seen_at(work, over)
            late = {
                name: f"it has {record.version} installed, and {unloaded[name][1]}"
                for name in over
                if seen.get(name, 0.0) > ends[name].timestamp()
            }
            if late:
                found[key] = late
    return found


def awaited_loads(work: Workspace) -> set[str]:
    """Give the clients whose engines the gate of a rollout waits for, as last seen.

    Raises:
        StateError: the state can't be read.
    """
    if not any(policy.rollout.wait_loaded for policy in work.spec.policies.values()):
        return set()
    profiles, found = work.state.profiles(), set[str]()
    for record in work.state.rollouts().values():
        waits = _waits(work, record) if record.status in OPEN and record.wave else {}
        found |= _unloaded(work, record, profiles, waits).keys() if waits else set()
    return found


def _seen_at(work: Workspace, names: Sequence[str]) -> dict[str, float]:
    """Give when some clients answered last, in seconds since the epoch."""
    found: dict[str, float] = {}
    for at in range(0, len(names), _BATCH):
        lines = work.state.lines_of(names[at : at + _BATCH]).values()
        found |= {line.name: line.seen_at for line in lines if line.seen_at is not None}
    return found


def _waits(work: Workspace, record: RolloutRecord) -> dict[str, timedelta]:
    """Give how long clients may take to load the version of a rollout, by group."""
    spec = work.spec.components.get(record.component)
    if spec is None or spec.loaded is None:
        return {}
    spans = {
        group: policy.rollout.wait_loaded
        for (group, component), policy in work.spec.policies.items()
        if component == record.component and record.group in {"", group}
    }
    return {group: span for group, span in spans.items() if span is not None}


def _unloaded(
    work: Workspace, record: RolloutRecord, profiles: Mapping[str, Profile], waits: Mapping[str, timedelta]
) -> dict[str, tuple[str, str]]:
    """Give the clients that have the version and haven't loaded it: the group of each, and what it runs with."""
    spec = work.spec.components[record.component]
    why: dict[str, str] = {}
    for fingerprint, profile in profiles.items():
        installed = profile.by_component.get(record.component)
        if installed is not None and installed.version == record.version and not_loaded(spec, installed):
            why[fingerprint] = not_loaded(spec, installed)
    if not why:
        return {}
    return {
        row.name: (row.group, why[row.fingerprint])
        for row in work.roll.rows()
        if row.fingerprint in why and row.group in waits and not row.error
    }
