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
    _Completer(root, put).complete(node, schema)


class _Completer:
    """Completes data by the parts of one schema; what it learned of a part is kept, as many nodes share it."""

    def __init__(self, root: Any, put: Callable[[Any, str, Any], None]) -> None:
        self._root = root
        self._put = put
        self._known: dict[int, tuple[Mapping[str, Any], list[tuple[str, Any]]]] = {}

    def complete(self, node: Any, schema: Any) -> None:
        known = self._known.get(id(schema))
        if known is None:
            known = self._known[id(schema)] = self._learned(schema)
        meant, defaults = known
        if isinstance(node, dict):
            for key, value in defaults:
                if key not in node:
                    self._put(node, key, value)
            properties, others = meant.get("properties", {}), meant.get("additionalProperties")
            for key, value in node.items():
                if isinstance(value, (dict, list)):
                    self.complete(value, properties.get(key, others))
        elif isinstance(node, list):
            for value in node:
                if isinstance(value, (dict, list)):
                    self.complete(value, meant.get("items"))

    def _learned(self, schema: Any) -> tuple[Mapping[str, Any], list[tuple[str, Any]]]:
        meant = resolve(schema, self._root)
        parts = ((key, resolve(described, self._root)) for key, described in meant.get("properties", {}).items())
        return meant, [(key, part["default"]) for key, part in parts if "default" in part]


def resolve(schema: Any, root: Any) -> Mapping[str, Any]:
    """Follow `$ref`s into the whole schema."""
    while isinstance(schema, dict) and "$ref" in schema:
        schema = target(schema["$ref"], root)
    return schema if isinstance(schema, dict) else {}


def target(reference: str, root: Any) -> Any:
    """Give the part of a whole schema that a `$ref` names."""
    for part in reference.removeprefix("#/").split("/"):
        root = root[part]
    return root
