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
    """Give the clients, by group, that have files of settings which they had from it then, and have no more.

    Those that moved since had what their former group had.

    Raises:
        StateError: the state can't be read.
    """
    had = before.settings if before else {}
    if not had:
        return {}
    moved = work.roll.moved()
    has = {name: {setting_id(file.path) for file in group.settings} for name, group in work.spec.groups.items()}
    ways = {(name, name) for name in has} | {(to, was) for to, names in moved.items() for was in names.values()}
    gone = {way: left for way in ways if (left := had.get(way[1], frozenset()) - has.get(way[0], set()))}
    found: dict[str, list[str]] = {}
    for row in work.roll.rows() if gone else ():
        files = gone.get((row.group, moved.get(row.group, {}).get(row.name, row.group)))
        if files and row.settings and files & unpack(row.settings).keys():
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
