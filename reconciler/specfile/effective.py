"""What is in force at a path of the spec, and from which line each value came.

    updoser validate --effective groups.dmz

Values that a group takes from `defaults` stand in it, with the place that wrote them; so do the defaults of the schema.
Under `auto_update` stands the whole policy: also what components and groups take from the top of the spec, and waves
of which nobody wrote a word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.errors import UsageError
from reconciler.hints import suggestion
from reconciler.specfile.in_force import with_policies
from reconciler.specfile.tree import DEFAULT, Map, Seq, child_map, value_place, written

if TYPE_CHECKING:
    from reconciler.specfile.load import Loaded
    from reconciler.specfile.tree import Key, Place

_INHERITED = ("scan_method", "install_root", "labels", "proxy", "checks", "settings")
FORMAT_VERSION = "1.0"


def explain(loaded: Loaded, path: str) -> dict[str, Any]:
    """Give the document of what is in force at a dotted path; an empty one stands for the whole spec.

    Raises:
        UsageError: there is nothing at the path.
    """
    values = values_in_force(loaded, path)
    entries = [{"path": ".".join(key), "value": value, "from": origin} for key, value, origin in values]
    return {"format_version": FORMAT_VERSION, "path": path, "values": entries}


def values_in_force(loaded: Loaded, path: str) -> list[tuple[tuple[str, ...], Any, str]]:
    """Give what is in force at a dotted path: keys, value, and where that came from.

    Raises:
        UsageError: there is nothing at the path.
    """
    tree = with_policies(_inherit(loaded.tree), loaded.tree)
    node, place = tree, DEFAULT
    walked: list[str] = []
    for part in filter(None, path.split(".")):
        node, place, key = _step(node, part, walked)
        walked.append(str(key))
    return [(key, value, _origin(where, loaded)) for key, value, where in _values(node, place, tuple(walked))]


def effective_text(document: dict[str, Any]) -> str:
    """Render that document: a line for each value, its place behind it."""
    rows = [(f"{entry['path']}: {_shown(entry['value'])}", entry["from"]) for entry in document["values"]]
    width = min(max((len(row[0]) for row in rows), default=0), 100)
    return "".join(f"{left:<{width}}  # {right}\n" for left, right in rows)


def _step(node: Any, part: str, walked: list[str]) -> tuple[Any, Place, Key]:
    """Go one key further; entries of lists are found by number or by name."""
    if isinstance(node, Map):
        if part in node:
            return node[part], value_place(node, part), part
        known = list(node)
    elif isinstance(node, Seq):
        for at, entry in enumerate(node):
            if part == str(at) or (isinstance(entry, Map) and part in {entry.get("name"), entry.get("id")}):
                return entry, value_place(node, at), part
        known = [str(entry.get("name", at)) if isinstance(entry, Map) else str(at) for at, entry in enumerate(node)]
    else:
        known = []
    where = ".".join(walked) or "the spec"
    raise UsageError(f"there is no `{part}` in {where}", hint=suggestion(part, known))


def _inherit(tree: Map) -> Map:
    """Show in each group what it takes from `defaults`, and in each component what it takes from `*`.

    The tree itself stays as it is.
    """
    shown = tree.copy()
    for holder, source, keys in (
        ("groups", child_map(tree, "defaults"), _INHERITED),
        ("components", child_map(child_map(tree, "components"), "*"), None),
    ):
        if not isinstance(tree.get(holder), Map):
            continue
        listed = tree[holder].copy()
        for name, entry in tree[holder].items():
            full = entry.copy()
            for key in source if keys is None else keys:
                if key in source and key not in written(full):
                    full.take(key, source)
            listed.put(name, full, listed.keys_at.get(name, DEFAULT), listed.values_at.get(name, DEFAULT))
        shown.put(holder, listed, tree.keys_at.get(holder, DEFAULT), tree.values_at.get(holder, DEFAULT))
    return shown


def _values(node: Any, place: Place, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any, Place]]:
    pairs: list[tuple[Key, Any]]
    if isinstance(node, Map):
        pairs = list(node.items())
    elif isinstance(node, Seq):
        pairs = list(enumerate(node))
    else:
        return [(path, node, place)]
    if not pairs:
        return [(path, {} if isinstance(node, Map) else [], place)]
    return [
        found for key, value in pairs for found in _values(value, value_place(node, key), (*path, _name(key, value)))
    ]


def _name(key: Key, value: Any) -> str:
    named = isinstance(key, int) and isinstance(value, Map) and isinstance(value.get("name"), str)
    return str(value["name"]) if named else str(key)


def _origin(place: Place, loaded: Loaded) -> str:
    """Say where a value came from; one that `-e` gave is told by the template that took it."""
    if place.text is None:
        return f"default: {place.raw}" if place.raw else "default"
    names = [name for name in loaded.variables if name in place.template]
    return f"{place}, with -e {', '.join(names)}" if names else str(place)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if not isinstance(value, str) else value or '""'
