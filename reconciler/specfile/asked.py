"""Which lines of a spec decide what one client gets of a component: what was written, and where.

A policy is read as `specfile.policy` lays it together: top, component, group; the last one that wrote a key is named.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from reconciler.formats.select import parse
from reconciler.model.standing import Asked
from reconciler.specfile.extend import lay_over
from reconciler.specfile.policy import own_policy, top_policy
from reconciler.specfile.tree import Map, child_map, child_seq, maps_of, plain, text_of, value_place, written

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from reconciler.model.client import Client
    from reconciler.specfile.load import Loaded
    from reconciler.specfile.tree import Place

ALL = "*"
_WHICH = ("version", "min_age", "snapshot", "block")
_MAX_VALUE = 120


def asked_of(loaded: Loaded, component: str, group: str) -> tuple[Asked, ...]:
    """Give what was written about a component and about a group's policy for it; the version always."""
    tree = loaded.tree
    nodes = child_map(tree, "components")
    chosen = lay_over(written(child_map(nodes, ALL)), written(child_map(nodes, component)))
    found = [
        _asked(f"components.{component if key in written(child_map(nodes, component)) else ALL}.{key}", chosen, key)
        for key in _WHICH
        if key in chosen
    ]
    if "version" not in chosen:
        found.insert(0, Asked(f"components.{component}.version", "latest", "default"))
    return (*found, *_policy(tree, component, group))


def asked_of_setting(loaded: Loaded, group: str, path: str) -> tuple[Asked, ...]:
    """Give what was written about the file of settings that a group has at a path: in the group, or in `defaults`."""
    own, holder = child_map(child_map(loaded.tree, "groups"), group), f"groups.{group}"
    if "settings" not in written(own):
        own, holder = child_map(loaded.tree, "defaults"), "defaults"
    return tuple(
        _asked(f"{holder}.settings.{at}.{key}", node, key)
        for at, node in enumerate(maps_of(child_seq(own, "settings")))
        if text_of(node, "path") == path
        for key in written(node)
    )


def values_read(loaded: Loaded, client: Client, names: Collection[str], entries: Collection[str]) -> Iterator[Asked]:
    """Give values that a template reads of the spec's variables and of a client's, and where each was written."""
    variables = child_map(loaded.tree, "vars")
    for name in sorted(names):
        if name in loaded.variables:
            yield Asked(f"vars.{name}", _shown(loaded.variables[name]), f"-e {name}")
        elif name in variables:
            yield _asked(f"vars.{name}", variables, name)
    group = child_map(child_map(loaded.tree, "groups"), client.group)
    listed = [node for node in maps_of(child_seq(group, "clients")) if text_of(node, "name") == client.name]
    for name in sorted(entries):
        own = child_map(listed[0], "vars") if listed else Map()
        where = str(_written_at(own, name)) if name in own else f"the inventory of {client.group}"
        if name in client.vars:
            yield Asked(f"clients.{client.name}.vars.{name}", _shown(client.vars[name]), where)


def holds_of(loaded: Loaded, name: str, group: str, labels: Collection[str], today: str) -> tuple[Asked, ...]:
    """Give the holds that take a client; `today` is a day as ISO 8601 writes it."""
    found = []
    listed = child_seq(loaded.tree, "hold")
    for at, node in enumerate(maps_of(listed)):
        until = str(node.get("until") or "")
        if (not until or today <= until) and parse(text_of(node, "clients")).matches(name, (group,), labels):
            place = value_place(node, "clients")
            found.append(Asked(f"hold.{at}", _shown(node), str(place)))
    return tuple(found)


def _policy(tree: Map, component: str, group: str) -> Iterator[Asked]:
    """Give the keys of the policy that somebody wrote."""
    own = own_policy(child_map(tree, "components"), component)
    over = own_policy(child_map(tree, "groups"), group)
    whole = lay_over(lay_over(top_policy(tree), own), over)
    for key in whole:
        holder = f"groups.{group}." if key in over else f"components.{component}." if key in own else ""
        yield _asked(f"{holder}auto_update.{key}", whole, key)


def _asked(path: str, node: Map, key: str) -> Asked:
    return Asked(path, _shown(node[key]), str(_written_at(node, key)))


def _written_at(node: Map, key: str) -> Place:
    """Give where a value stands; of a map or list, where its key does."""
    place = node.keys_at.get(key)
    return place if place is not None and place.text is not None else value_place(node, key)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(_short(plain(value)), ensure_ascii=False, default=str)
    return text if len(text) <= _MAX_VALUE else f"{text[: _MAX_VALUE - 1]}…"


def _short(value: Any) -> Any:
    """Leave out what is null: a default that nobody wrote."""
    if isinstance(value, dict):
        return {key: _short(entry) for key, entry in value.items() if entry is not None}
    return [_short(entry) for entry in value] if isinstance(value, list) else value
