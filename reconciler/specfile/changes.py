"""What changed in the spec since it was applied last, for the eyes of a reviewer.

DeepDiff names differences well and slowly, so it only sees what `!=` found different.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NAMED = ("name", "id")
MAX_SHOWN = 200


def spec_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """List the differences between two effective specs, one line each, at most MAX_SHOWN."""
    if before == after:
        return []
    from deepdiff import DeepDiff

    left, right = _differing(_keyed(before), _keyed(after))
    found = DeepDiff(left, right, view="tree", ignore_numeric_type_changes=True)
    lines = []
    for kind, items in found.items():
        for item in items:
            path = ".".join(str(part) for part in item.path(output_format="list"))
            lines.append(_line(kind, path, item.t1, item.t2))
    lines += _reordered("", before, after)
    lines.sort(key=lambda line: line[2:])
    more = len(lines) - MAX_SHOWN
    return [*lines[:MAX_SHOWN], f"  and {more} more"] if more > 0 else lines


def _reordered(path: str, before: Any, after: Any) -> list[str]:
    """Name lists whose named entries stand in another order now: of sources and waves the first one counts."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return [
            line
            for key in before.keys() & after.keys()
            if before[key] != after[key]
            for line in _reordered(f"{path}.{key}".lstrip("."), before[key], after[key])
        ]
    left, right = _keyed(before), _keyed(after)
    if not (isinstance(before, list) and isinstance(left, dict) and isinstance(right, dict)):
        return []
    common = [name for name in left if name in right]
    return [f"~ {path}: another order"] if common != [name for name in right if name in left] else []


def _line(kind: str, path: str, before: Any, after: Any) -> str:
    if kind.endswith("_added"):
        return f"+ {path}: {_short(after)}"
    if kind.endswith("_removed"):
        return f"- {path}: {_short(before)}"
    return f"~ {path}: {_short(before)} -> {_short(after)}"


def _short(value: Any) -> str:
    text = str(value) if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _keyed(value: Any) -> Any:
    """Turn lists of named entries into maps by name, so that entries are compared with themselves."""
    if isinstance(value, Mapping):
        return {key: _keyed(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        for name in _NAMED:
            if value and all(isinstance(entry, Mapping) and name in entry for entry in value):
                keyed = {entry[name]: _keyed(entry) for entry in value}
                if len(keyed) == len(value):
                    return keyed
        return [_keyed(entry) for entry in value]
    return value


def _differing(left: Any, right: Any) -> tuple[Any, Any]:
    """Drop from two maps what is equal in both."""
    if not (isinstance(left, Mapping) and isinstance(right, Mapping)):
        return left, right
    ours, theirs = {}, {}
    for key in left.keys() | right.keys():
        if key in left and key in right:
            if left[key] != right[key]:
                ours[key], theirs[key] = _differing(left[key], right[key])
        elif key in left:
            ours[key] = left[key]
        else:
            theirs[key] = right[key]
    return ours, theirs
