"""What the spec managed when it was applied last, as the state remembers it, and what clients have of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.model.release import SCAN_METHODS
from reconciler.model.settings import setting_id, unpack
from reconciler.planner.leaving import Before

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.release import ScanMethod
    from reconciler.workspace import Workspace

_ALL = "*"


def managed_before(work: Workspace) -> Before | None:
    """Give what the spec managed when it was applied last; None where it never was.

    Raises:
        StateError: the state can't be read.
    """
    spec = work.state.applied_spec()
    return None if spec is None else _before(spec)


def settings_left(work: Workspace, before: Before | None) -> dict[str, list[str]]:
    """Give the clients, by group, that have files of settings which their group had then, and has no more.

    Raises:
        StateError: the state can't be read.
    """
    gone: dict[str, frozenset[str]] = {}
    for name, had in (before.settings if before else {}).items():
        group = work.spec.groups.get(name)
        left = had - {setting_id(setting.path) for setting in group.settings} if group else frozenset[str]()
        if left:
            gone[name] = left
    found: dict[str, list[str]] = {}
    for row in work.roll.rows() if gone else ():
        if row.settings and row.group in gone and gone[row.group] & unpack(row.settings).keys():
            found.setdefault(row.group, []).append(row.name)
    return found


def _before(spec: Mapping[str, Any]) -> Before:
    """Read the values of a spec that some version of updoser wrote down."""
    components, groups, defaults = spec.get("components"), _map(spec.get("groups")), _map(spec.get("defaults"))
    listed = components if isinstance(components, dict) and _ALL not in components else None
    settings = {name: _files({**defaults, **_map(group)}.get("settings")) for name, group in groups.items()}
    return Before(
        frozenset(listed) if listed is not None else None,
        {name: _method({**defaults, **_map(group)}.get("scan_method")) for name, group in groups.items()},
        {name: ids for name, ids in settings.items() if ids},
    )


def _map(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _method(value: object) -> ScanMethod | None:
    return value if value in SCAN_METHODS else None


def _files(value: object) -> frozenset[str]:
    entries = value if isinstance(value, list) else []
    return frozenset(setting_id(str(entry["path"])) for entry in entries if isinstance(entry, dict) and "path" in entry)
