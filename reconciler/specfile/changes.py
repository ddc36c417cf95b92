"""What changed in the spec, in words, for the eyes of a reviewer.

Compared are effective specs, so layout, comments and templates count for nothing. Entries of lists are compared with
themselves: by their names, else where they stand. What takes away a protection comes first (`safety`), then what is
new or gone as a whole, then single values.

A plan file holds no commands, addresses, paths, URLs or secrets, and these sentences stand in it. So a value is shown
only under a key that is known to have words, numbers or times (`_SHOWN`), and never in what a plugin is given or a
variable is; of all others it is said that they changed.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, NamedTuple

from reconciler.errors import printable
from reconciler.model.spec_change import SpecChange
from reconciler.present.words import count_text, name_list
from reconciler.specfile.judges import ABSENT
from reconciler.specfile.safety import keyed, losses

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from reconciler.model.spec_change import SpecChangeKind
    from reconciler.specfile.judges import Path

MAX_SHOWN = 200
_LONGEST = 80
_EXAMPLES = 3
_SHOWN = frozenset(
    [
        "after_failures",
        "approve",
        "at",
        "at_once",
        "blackouts",
        "block",
        "client_keep",
        "codec",
        "component",
        "components",
        "count",
        "days",
        "duplicate",
        "enabled",
        "every",
        "except",
        "families",
        "for",
        "from",
        "incrementals",
        "interval",
        "keep_fulls",
        "labels",
        "level",
        "max_catch_up",
        "max_fail_percentage",
        "max_failed",
        "max_shrink",
        "max_unreachable_percentage",
        "may_outrank",
        "method",
        "min_age",
        "min_attempted",
        "min_clients",
        "newer_release",
        "on_failure",
        "phase",
        "publish",
        "reason",
        "recheck",
        "required_version",
        "retries",
        "rollback_scope",
        "scan_method",
        "scope",
        "select",
        "selinux",
        "share",
        "soak",
        "spread",
        "stage",
        "stale_after",
        "threshold",
        "timeout",
        "timezone",
        "to",
        "trigger",
        "unmanaged",
        "until",
        "version",
        "wait_loaded",
        "when_absent",
        "where",
        "windows",
        "within",
        "withdraw",
    ]
)
"""Keys of the spec's own schema whose values are words, numbers and times: these may be shown."""
_HIDDEN = frozenset(["vars", "install", "settings", "server", "proxies", "transport", "executor", "secrets", "plugins"])
"""Below these nothing is shown: paths, addresses, options of plugins, and whatever people put into variables."""
_WAYS_TO = {"groups": "group", "sources": "source"}
_LIKE_A_PLACE = re.compile(r"[\\@]|^\.{0,2}/|://|(?:\d+\.){3}\d+|^[0-9a-fA-F:]*::")
"""What a path, an address or a URL looks like, wherever it stands; a time zone (Europe/Berlin) doesn't."""


class _Difference(NamedTuple):
    path: Path
    kind: SpecChangeKind
    before: Any
    after: Any


def spec_changes(
    before: Mapping[str, Any], after: Mapping[str, Any], clients: Mapping[str, int] | None = None
) -> tuple[SpecChange, ...]:
    """Give the differences between two effective specs, the most important first, about MAX_SHOWN at most.

    `clients` are how many groups have by now, for those whose clients an inventory lists. Whatever takes away a
    protection is listed, however much there is.
    """
    if before == after:
        return ()
    before, after = _named_in(before, after), _named_in(after, before)
    lost = [SpecChange(_dotted(path), "changed", _clean(says), safety=True) for path, says in losses(before, after)]
    told = {change.path for change in lost}
    found = list(_differences((), before, after))
    single = [entry for entry in found if not _is_client(entry.path)]
    others = [_said(entry, clients or {}) for entry in single if not _is_told(entry, told)]
    others += _of_clients([entry for entry in found if _is_client(entry.path)])
    whole = {"added": 0, "removed": 0}
    others.sort(key=lambda change: (whole.get(change.kind, 1), change.path))
    room = max(MAX_SHOWN - len(lost), 0)
    more = len(others) - room
    rest = [SpecChange("", "more", f"and {more} more", count=more)] if more > 0 else []
    return (*dict.fromkeys(lost), *others[:room], *rest)


def _named_in(spec: Mapping[str, Any], other: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give a spec with what it says of components that only the other one names: what its `*` says of all."""
    components, named = spec.get("components"), other.get("components")
    if not isinstance(components, dict) or not isinstance(named, dict) or "*" not in components:
        return spec
    return {**spec, "components": {**dict.fromkeys(named, components["*"]), **components}}


def _is_told(entry: _Difference, told: Collection[str]) -> bool:
    """Say whether a loss tells of a difference already: it is the same one, or an entry of the list that got less."""
    whole = entry.path[:-1] if entry.kind == "removed" and entry.path[-1].isdigit() else entry.path
    return _dotted(entry.path) in told or _dotted(whole) in told


def _differences(path: Path, before: Any, after: Any) -> Iterator[_Difference]:
    """Walk two values side by side and give where they part."""
    if before == after:
        return
    left, right = keyed(before), keyed(after)
    if isinstance(left, dict) and isinstance(right, dict):
        for key in dict.fromkeys((*left, *right)):
            if key not in left:
                yield _Difference((*path, key), "added", ABSENT, right[key])
            elif key not in right:
                yield _Difference((*path, key), "removed", left[key], ABSENT)
            else:
                yield from _differences((*path, key), left[key], right[key])
        common = [name for name in left if name in right]
        if isinstance(before, list) and common != [name for name in right if name in left]:
            yield _Difference(path, "reordered", before, after)
    elif _has_maps(left) and _has_maps(right):
        yield from _in_list(path, left, right)
    else:
        yield _Difference(path, "changed", before, after)


def _in_list(path: Path, left: Sequence[Any], right: Sequence[Any]) -> Iterator[_Difference]:
    """Compare lists of maps without names: what stands unchanged somewhere else has only moved along."""
    ours, theirs = ([json.dumps(entry, sort_keys=True, default=str) for entry in side] for side in (left, right))
    for _tag, first, end, other, other_end in SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
        if ours[first:end] == theirs[other:other_end]:
            continue
        both = min(end - first, other_end - other)
        for at in range(both):
            yield from _differences((*path, str(other + at)), left[first + at], right[other + at])
        for at in range(first + both, end):
            yield _Difference((*path, str(at)), "removed", left[at], ABSENT)
        for at in range(other + both, other_end):
            yield _Difference((*path, str(at)), "added", ABSENT, right[at])


def _has_maps(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


def _said(found: _Difference, clients: Mapping[str, int]) -> SpecChange:
    return SpecChange(_dotted(found.path), found.kind, _clean(_sentence(found, clients)))


def _sentence(found: _Difference, clients: Mapping[str, int]) -> str:
    path, kind, before, after = found
    is_new = kind == "added"
    if kind == "reordered":
        return f"{_dotted(path)}: another order"
    if len(path) == 2 and path[0] == "groups" and kind in {"added", "removed"}:
        has = _clients_of(after, clients.get(path[1], 0)) if is_new else _clients_of(before)
        return f"group {path[1]} {'is new' if is_new else 'is gone'}: {has}"
    if len(path) == 2 and path[0] == "components" and kind in {"added", "removed"}:
        return f"component {path[1]} {'is managed now' if is_new else 'is not managed any more'}{_with(path, after)}"
    if len(path) == 2 and path[0] == "sources" and kind in {"added", "removed"}:
        return f"source {path[1]} {'is new' if is_new else 'is not asked any more'}"
    if len(path) == 2 and path[0] == "proxies" and kind in {"added", "removed"}:
        return f"proxy {path[1]} {'is new' if is_new else 'is gone'}"
    if len(path) == 3 and path[2] == "proxy":
        return _way_sentence(path, before, after)
    if kind == "added":
        return f"{_dotted(path)} is new{_with(path, after)}"
    if kind == "removed":
        return f"{_dotted(path)} is gone{_with(path, before)}"
    left, right = _shown(path, before), _shown(path, after)
    if left is None or right is None or left == right:  # equal once they are cut
        return f"{_dotted(path)} changed"
    return f"{_dotted(path)}: {left} -> {right}"


def _way_sentence(path: Path, before: Any, after: Any) -> str:
    """Say over which proxy clients or a source are reached, by its name; another form of it isn't shown."""
    who = f"{_WAYS_TO.get(path[0], path[0])} {path[1]}"
    old, new = (
        value if isinstance(value, str) and not _LIKE_A_PLACE.search(value) else "" for value in (before, after)
    )
    if after in (ABSENT, None):
        return f"{who} is reached directly, no more over {_cut(old) or 'a proxy'}"
    return f"{who} is reached over {_cut(new) or 'another proxy'}, no more {f'over {_cut(old)}' if old else 'directly'}"


def _clients_of(group: Any, count: int = 0) -> str:
    """Count the clients of a group and name some; whom an inventory has isn't in the spec, but maybe their `count`."""
    clients = group.get("clients", ()) if isinstance(group, dict) else ()
    if isinstance(group, dict) and "inventory" in group:
        return f"{count_text(count, 'client') if count else 'clients'} of an inventory"
    return _names(list(keyed(clients)) if isinstance(keyed(clients), dict) else [])


def _names(names: Sequence[str]) -> str:
    count = count_text(len(names), "client")
    return f"{count} ({name_list(names, _EXAMPLES)})" if names else count


def _is_client(path: Path) -> bool:
    return len(path) >= 4 and path[0] == "groups" and path[2] == "clients"


def _of_clients(found: Sequence[_Difference]) -> list[SpecChange]:
    """Say once for each group what changed of its clients in the same way."""
    alike: dict[tuple[Path, str, Path, str], list[str]] = defaultdict(list)
    for entry in found:
        group, client, rest = entry.path[:2], entry.path[3], entry.path[4:]
        how = "" if not rest or entry.kind != "changed" else _change_text(entry)
        alike[group, entry.kind, rest, how].append(client)
    changes = []
    for (group, kind, rest, how), names in alike.items():
        path = _dotted((*group, "clients", *rest))
        if not rest and kind in {"added", "removed"}:
            says = f"group {group[1]}: {_names(names)} {'new' if kind == 'added' else 'gone'}"
        else:
            says = f"{path} {how or 'changed'} of {_names(names)}"
        changes.append(SpecChange(path, kind, _clean(says)))  # type: ignore[arg-type]
    return changes


def _change_text(entry: _Difference) -> str:
    left, right = _shown(entry.path, entry.before), _shown(entry.path, entry.after)
    return "" if left is None or right is None or left == right else f"{left} -> {right}"


def _with(path: Path, value: Any) -> str:
    """Give what may be shown of something that is new or gone, behind a colon."""
    if value is ABSENT:
        return ""
    if isinstance(value, dict):
        inner = {key: _shown((*path, str(key)), entry) for key, entry in value.items() if entry not in ({}, [], "")}
        parts = [
            f"{key} {text}" for key, text in inner.items() if text is not None and not isinstance(value[key], dict)
        ]
        return f": {_cut(', '.join(parts))}" if parts else ""
    text = _shown(path, value)
    return f": {text}" if text is not None else ""


def _shown(path: Path, value: Any) -> str | None:
    """Write a value as YAML and JSON have it; None where it may not be shown."""
    words = [part for part in path if not part.isdigit()]
    known = words and words[-1] in _SHOWN and not _HIDDEN & set(words)
    if words[:1] == ["hold"] and words[-1] == "clients":
        known = True
    if words[:1] in (["groups"], ["defaults"]) and "labels" in words:
        known = True
    if value is None:
        return "null"
    if not known and words != ["client_keep"]:
        return None
    if any(_LIKE_A_PLACE.search(text) for text in _texts(value)):
        return None
    return _cut(_written(value))


def _written(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_written(entry)}' for key, entry in value.items())}}}"
    if isinstance(value, str) and value and re.fullmatch(r"[\w.*&!%][\w.*&!%=:,+-]*(?: [\w.*&!%=:,+-]+)*", value):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield str(key)
            yield from _texts(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _texts(entry)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _clean(says: str) -> str:
    return printable(says)


def _dotted(path: Path) -> str:
    return ".".join(path)
