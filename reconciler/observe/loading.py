"""Who has had a release for so long that its engine should have loaded it: that client failed, whatever it is now.

The time counts from the switch, as the journal has it; of who had the release otherwise, from when its wave opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.rollout import OPEN
from reconciler.planner.loading import not_loaded

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from reconciler.model.client import Profile
    from reconciler.model.rollout import Key, RolloutRecord
    from reconciler.workspace import Workspace


def late_loads(
    work: Workspace, records: Mapping[Key, RolloutRecord], profiles: Mapping[str, Profile], now: datetime
) -> dict[Key, dict[str, str]]:
    """Give by rollout the clients that have had its version for longer than `wait_loaded`, and what they run with.

    Raises:
        StateError: the state can't be read.
    """
    found: dict[Key, dict[str, str]] = {}
    for key, record in records.items():
        waits = _waits(work, record) if record.status in OPEN and record.wave else {}
        if not waits:
            continue
        unloaded = _unloaded(work, record, profiles, waits)
        if unloaded:
            since = work.state.switched_at(record.component, record.version, record.started)
            late = {
                client: f"it has {record.version} installed, and {why}"
                for client, (group, why) in unloaded.items()
                if now - since.get(client, record.opened) > waits[group]
            }
            if late:
                found[key] = late
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
