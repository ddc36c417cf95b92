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
        target = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        schema = target
    return schema if isinstance(schema, dict) else {}
