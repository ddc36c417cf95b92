"""What a key of the spec means, as its schema says it: type, default, what is possible, and the keys below.

A path is written as people say it, `groups.auto_update.rollout`: the names that the spec's author gives (of groups, of
components) and the numbers of a list's entries may be left out. After a place that takes a plugin comes the plugin, as
in `sources.tuf.url`, or one of its options.

    groups.dmz.clients.0.address    groups.clients.address    both: an address of a client
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.errors import UsageError
from reconciler.formats.defaults import resolve
from reconciler.hints import did_you_mean, suggestion
from reconciler.specfile.whole_schema import KEY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NAME = "NAME"
"""Stands in paths for a name that the author of the spec gives."""
_TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "map",
    "array": "list",
    "null": "nothing",
}
_PART = re.compile(r'"([^"]*)"|([^.\[\]"]+)|\[(\d*)\]')
_DEEPEST = 12
_MOST_PLACES = 12


@dataclass(frozen=True, slots=True)
class _Spot:
    """A place in the schema: how it is called, what it says, and whether its key must be there.

    `plugin` is the one whose options are meant, where the place takes several.
    """

    path: str
    node: Mapping[str, Any]
    required: bool = False
    plugin: str = ""


def explain(schema: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Give what there is to know of a key as a document; an empty path stands for the whole spec.

    Raises:
        UsageError: there is no such key; the hint says what was probably meant.
    """
    spot = _Spot("", schema)
    for word in _words(path):
        spot = _step(schema, spot, word)
    return _document(schema, spot)


def _words(path: str) -> list[str]:
    text = path.strip().strip(".")
    words = [quoted or plain or number for quoted, plain, number in _PART.findall(text)]
    if "".join(_PART.split(text)[::4]).strip("."):
        raise UsageError(f"`{path}` is no path of keys", hint="such as groups.auto_update.rollout")
    return [word for word in words if word]


def _step(root: Mapping[str, Any], spot: _Spot, word: str) -> _Spot:
    """Go one word down."""
    if word.isdecimal() and _whole(root, spot.node).get("type") == "array":
        return _Spot(f"{spot.path}[]", _entry(root, spot.node))
    spot = _inside(root, spot)
    found = _children(root, spot).get(word)
    if found is not None:
        return found
    plugins = _plugins(root, spot)
    if word in plugins:
        return _Spot(f"{spot.path}.{word}", spot.node, plugin=word)
    named = _named(root, spot.node)
    if named is None:
        raise _unknown(root, spot, word, [*plugins, *_children(root, spot)])
    inner = _Spot(_under(spot.path, NAME), named)
    below = _children(root, _inside(root, inner))
    if word in below:
        return below[word]
    if word != NAME and did_you_mean(word, below):
        raise _unknown(root, inner, word, list(below))
    return inner


def _unknown(root: Mapping[str, Any], spot: _Spot, word: str, known: list[str]) -> UsageError:
    where = f"`{spot.path}` has" if spot.path else "the spec has"
    hint = did_you_mean(word, known)
    if not hint:
        places = _places(root, word)[:_MOST_PLACES]
        listed = suggestion(word, _plugins(root, spot), "plugins are") or suggestion(word, known)
        hint = f"there is: {', '.join(places)}" if places else listed
    return UsageError(f"{where} no key `{word}`", hint=hint)


def _places(root: Mapping[str, Any], word: str) -> list[str]:
    """Give the paths of all keys of that name, the short ones first."""
    found = {spot.path for spot in _walk(root, _Spot("", root), _DEEPEST) if spot.path.rpartition(".")[2] == word}
    return sorted(found, key=lambda path: (path.count("."), path))


def _walk(root: Mapping[str, Any], spot: _Spot, depth: int) -> Iterator[_Spot]:
    inside = _inside(root, spot)
    named = _named(root, inside.node)
    below = [*_children(root, inside).values()]
    below += [_Spot(_under(inside.path, NAME), named)] if named is not None else []
    for child in below if depth else ():
        yield child
        yield from _walk(root, child, depth - 1)


# --- the schema -----------------------------------------------------------------------------------------------------


def _whole(root: Mapping[str, Any], node: Any) -> Mapping[str, Any]:
    """Give a node with what its reference says; what stands beside the reference is nearer."""
    if not isinstance(node, dict):
        return {}
    beside = {key: value for key, value in node.items() if key != "$ref"}
    return {**resolve(node, root), **beside} if "$ref" in node else node


def _entry(root: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    return _whole(root, _whole(root, node).get("items"))


def _named(root: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Give what stands under each name of a map whose names are the author's; None for other maps."""
    others = _whole(root, node).get("additionalProperties")
    return _whole(root, others) if isinstance(others, dict) else None


def _inside(root: Mapping[str, Any], spot: _Spot) -> _Spot:
    """Give the entries of a list in its place."""
    node = _whole(root, spot.node)
    while "items" in node and "properties" not in node:
        node = _entry(root, node)
        spot = _Spot(f"{spot.path}[]", node)
    return _Spot(spot.path, node, spot.required, spot.plugin)


def _children(root: Mapping[str, Any], spot: _Spot) -> dict[str, _Spot]:
    """Give the keys below: those of the place itself, then options of its plugins."""
    node = _whole(root, spot.node)
    found: dict[str, _Spot] = {}
    own = [] if spot.plugin else [node]
    shapes = [shape for name, shape in _plugins(root, spot).items() if spot.plugin in {"", name}]
    naming = node.get(KEY, "type")
    for part in (*own, *shapes):
        required = part.get("required", ())
        for key, value in part.get("properties", {}).items():
            if value is not True and (part is node or key != naming):
                child = _Spot(_under(spot.path, key), _whole(root, value), key in required)
                found.setdefault(key, child)
    return found


def _plugins(root: Mapping[str, Any], spot: _Spot) -> dict[str, Mapping[str, Any]]:
    """Give what the plugins take that are possible at a place, by their names."""
    node = _whole(root, spot.node)
    naming = node.get(KEY, "type")
    named = {shape.get("properties", {}).get(naming, {}).get("const"): shape for shape in node.get("oneOf", ())}
    return {name: shape for name, shape in named.items() if isinstance(name, str)}


def _under(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


# --- the document ---------------------------------------------------------------------------------------------------


def _document(root: Mapping[str, Any], spot: _Spot) -> dict[str, Any]:
    node = _whole(root, spot.node)
    plugin = _plugins(root, spot).get(spot.plugin, {})
    keys_of = _inside(root, spot)
    names = _named(root, keys_of.node) if not spot.plugin else None
    if names is not None and not keys_of.node.get("properties"):
        keys_of = _inside(root, _Spot(_under(keys_of.path, NAME), names))
    about = {**node, **({"examples": [], "default": None} if plugin else {}), **_text_of(plugin)}
    document = {"path": spot.path, **_facts(root, about), "required": spot.required}
    if about.get("examples"):
        document["examples"] = about["examples"]
    children = _children(root, _Spot(keys_of.path, {**keys_of.node, "oneOf": []}, plugin=""))
    if plugin:
        children = _children(root, spot)
    document["keys"] = [_row(root, name, child) for name, child in children.items()]
    document["keys_of"] = keys_of.path if not plugin else spot.path
    if not plugin:
        document["plugins"] = [
            {
                "name": name,
                "key": _whole(root, keys_of.node).get(KEY, "type"),
                "description": shape.get("description", ""),
                "keys": [
                    _row(root, key, child)
                    for key, child in _children(root, _Spot(keys_of.path, keys_of.node, plugin=name)).items()
                ],
            }
            for name, shape in _plugins(root, keys_of).items()
        ]
    return document


def _text_of(plugin: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": plugin["description"]} if "description" in plugin else {}


def _row(root: Mapping[str, Any], name: str, spot: _Spot) -> dict[str, Any]:
    return {"name": name, "path": spot.path, **_facts(root, spot.node), "required": spot.required}


def _facts(root: Mapping[str, Any], node: Mapping[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {"type": type_text(root, node), "description": node.get("description", "")}
    if node.get("default") is not None:
        facts["default"] = node["default"]
    if node.get("enum"):
        facts["values"] = list(node["enum"])
    if node.get("x-says"):
        facts["says"] = node["x-says"]
    limits = {word: node[word] for word in ("minimum", "maximum", "minItems", "maxItems") if word in node}
    return {**facts, **({"limits": limits} if limits else {})}


def type_text(root: Mapping[str, Any], node: Mapping[str, Any]) -> str:
    """Say of which type a value is, in words."""
    node = _whole(root, node)
    types = node.get("type", ())
    types = [types] if isinstance(types, str) else list(types)
    words = " or ".join(_TYPES.get(word, word) for word in types) or "anything"
    if types == ["array"] and "items" in node:
        return f"list of {_plural(type_text(root, node['items']))}"
    if types == ["object"] and "properties" not in node and _named(root, node) is not None:
        return "map by name"
    return words


def _plural(words: str) -> str:
    plurals = {"text": "texts", "whole number": "whole numbers", "number": "numbers", "map": "maps", "list": "lists"}
    return plurals.get(words, words)
