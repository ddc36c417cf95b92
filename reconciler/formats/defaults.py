"""The defaults that a JSON Schema states, filled into data where nobody wrote a value."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def completed(data: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Give a copy of plain data with the defaults of its schema, at every depth."""
    found = deepcopy(dict(data))
    complete(found, schema, schema, lambda node, key, value: node.update({key: deepcopy(value)}))
    return found


def complete(node: Any, schema: Any, root: Any, put: Callable[[Any, str, Any], None]) -> None:
    """Have `put` set each key that isn't there and has a default; `root` is the schema that `$ref` looks into."""
    schema = resolve(schema, root)
    if isinstance(node, dict):
        properties = schema.get("properties", {})
        for key, described in properties.items():
            part = resolve(described, root)
            if key not in node and "default" in part:
                put(node, key, part["default"])
        for key, value in node.items():
            part = properties.get(key, schema.get("additionalProperties"))
            if isinstance(part, dict) and isinstance(value, (dict, list)):
                complete(value, part, root, put)
    elif isinstance(node, list) and isinstance(schema.get("items"), dict):
        for value in node:
            if isinstance(value, (dict, list)):
                complete(value, schema["items"], root, put)


def resolve(schema: Any, root: Any) -> Mapping[str, Any]:
    """Follow `$ref`s into the whole schema."""
    while isinstance(schema, dict) and "$ref" in schema:
        schema = _target(schema["$ref"], root)
    return schema if isinstance(schema, dict) else {}


def _target(reference: str, root: Any) -> Any:
    for part in reference.removeprefix("#/").split("/"):
        root = root[part]
    return root


def inlined(schema: Any, root: Any) -> Any:
    """Give a schema with what its `$ref`s lead to in their place; those that lead back into themselves stay.

    It judges as `schema` does: what stands beside a reference holds as well.
    """
    found = _inlined(schema, root, ())
    return {**found, "$defs": root["$defs"]} if "$defs" in root else found


def _inlined(node: Any, root: Any, inside: tuple[str, ...]) -> Any:
    if isinstance(node, list):
        return [_inlined(entry, root, inside) for entry in node]
    if not isinstance(node, dict):
        return node
    beside = {key: _inlined(value, root, inside) for key, value in node.items() if key not in {"$ref", "$defs"}}
    if "$ref" not in node:
        return beside
    name = node["$ref"]
    if name in inside:
        return {**beside, "$ref": name}
    meant = _inlined(_target(name, root), root, (*inside, name))
    return {**beside, "allOf": [*beside.get("allOf", ()), meant]} if beside.keys() - _REMARKS else meant


_REMARKS = frozenset(["description", "default", "examples", "title"])
"""What judges nothing."""
