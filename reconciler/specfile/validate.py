"""Checks a tree against a JSON Schema, fills its defaults in, and says what is wrong in the words of the reader.

`settle` comes first: it walks tree and schema together and decides what scalars mean at their place. A rendered
template becomes the number or truth value that is wanted there, and what YAML turned into something else where text is
wanted is a trap with a message of its own. Then jsonschema judges, and each of its errors is translated. What it found
wrong is `BROKEN` from then on: whoever looks further meets values that the schema allows, and nothing else.

One word of our own in schemas: `x-says` describes a value better than a pattern does.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from reconciler.formats.defaults import complete, resolve
from reconciler.formats.judge import Judge
from reconciler.hints import listing, suggestion
from reconciler.plugin_loader import schema_folder
from reconciler.specfile.tree import BROKEN, DEFAULT, Map, Odd, Seq, locate, replace, value_place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jsonschema import ValidationError

    from reconciler.errors import Problem
    from reconciler.specfile.tree import Key, Place

Schema = Any
_TYPE_WORDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "a map",
    "array": "a list",
    "null": "nothing",
}
MAX_SHOWN = 60
_ELSEWHERE = re.compile(r'"\$ref": "(\w+)\.schema\.json#/\$defs/')
"""A reference to a part of another schema."""


@cache
def schema_of(name: str) -> Mapping[str, Any]:
    """Give a schema of ours by its name, such as `updoser`; what it takes from another one stands in it, too."""
    text = (schema_folder() / f"{name}.schema.json").read_text(encoding="utf-8")
    others = dict.fromkeys(_ELSEWHERE.findall(text))
    schema: dict[str, Any] = json.loads(_ELSEWHERE.sub('"$ref": "#/$defs/', text))
    for other in others:
        schema["$defs"] = {**schema_of(other)["$defs"], **schema.get("$defs", {})}
    return schema


def check(tree: Map, schema: Schema, problems: list[Problem], root: Schema = None) -> None:
    """Settle, judge and complete a tree; what is wrong with it is added to `problems`.

    `root` is the schema that `$ref` looks into, when `schema` is only a part of it.
    """
    whole = root if root is not None else schema
    _Settler(whole, problems).settle(tree, schema, tree, ())
    errors = _errors(tree, schema, whole)
    for error in errors:
        problems += _translated(error, tree)
    for error in sorted(errors, key=lambda error: -len(error.absolute_path)):  # what is inside before what holds it
        _break(error, tree)
    complete(tree, schema, whole, _put)


def _put(node: Map, key: str, value: Any) -> None:
    """Set a key to what the schema says of it."""
    node.put(key, _tree(value), DEFAULT, DEFAULT)


def _tree(value: Any) -> Any:
    """Make a tree of plain data that nobody wrote."""
    if isinstance(value, dict):
        made = Map()
        for key, entry in value.items():
            made.put(key, _tree(entry), DEFAULT, DEFAULT)
        return made
    if isinstance(value, list):
        items = Seq()
        for entry in value:
            items.put(_tree(entry), DEFAULT)
        return items
    return value


class _Settler:
    """Decides what scalars mean where they stand."""

    def __init__(self, root: Schema, problems: list[Problem]) -> None:
        self._root = root
        self._problems = problems

    def settle(self, node: Any, schema: Schema, container: Any, path: tuple[Key, ...]) -> None:
        schema = resolve(schema, self._root)
        if isinstance(node, Map):
            properties = schema.get("properties", {})
            others = schema.get("additionalProperties")
            for key, value in list(node.items()):
                self.settle(value, properties.get(key, others), node, (*path, key))
        elif isinstance(node, Seq):
            for at, value in enumerate(node):
                self.settle(value, schema.get("items"), node, (*path, at))
        elif path:
            self._scalar(node, schema, container, path[-1])

    def _scalar(self, value: Any, schema: Mapping[str, Any], container: Any, key: Key) -> None:
        wanted = schema.get("type", ())
        if wanted == "string" and isinstance(value, str):
            return  # most are: it means what it says
        types = {wanted} if isinstance(wanted, str) else set(wanted)
        place = value_place(container, key)
        if isinstance(value, Odd) and value is not BROKEN:
            self._odd(value, types, container, key, place)
        elif isinstance(value, str) and place.template and "string" not in types:
            meant = _meant(value, types)
            if meant is not None:
                replace(container, key, meant, place)
        elif isinstance(value, bool):
            if "string" in types and "boolean" not in types:
                self._trap(place, value, "true or false", container, key)
        elif isinstance(value, (int, float)) and "string" in types and not types & {"integer", "number"}:
            self._trap(place, value, f"the number {value}", container, key)

    def _odd(self, value: Odd, types: set[str], container: Any, key: Key, place: Place) -> None:
        fits = {bool: "boolean", int: "integer", float: "number"}.get(type(value.value), "")
        if not types or (fits and fits in types and "string" not in types):
            replace(container, key, value.value if fits else value.raw, place)
        else:
            self._trap(place, value.raw, value.becomes, container, key)

    def _trap(self, place: Place, value: Any, becomes: str, container: Any, key: Key) -> None:
        written = place.raw or str(value)
        self._problems.append(
            place.problem(f"`{written}` is read by YAML as {becomes}, and text is meant here", f'quote it: "{written}"')
        )
        replace(container, key, BROKEN, place)


def _meant(text: str, types: set[str]) -> int | float | bool | None:
    """Read a rendered template as what is wanted in its place."""
    try:
        if "integer" in types:
            return int(text)
        if "number" in types:
            return float(text)
    except ValueError:
        return None
    return {"true": True, "false": False}.get(text.lower()) if "boolean" in types else None


# --- judging --------------------------------------------------------------------------------------------------------


def _errors(tree: Map, schema: Schema, root: Schema) -> list[ValidationError]:
    """Give what jsonschema finds wrong.

    Most trees are right, which a quick judge tells without it.
    """
    if Judge(root).is_right(tree, schema):
        return []
    from jsonschema import Draft202012Validator

    whole = schema if schema is root else {**schema, "$defs": root.get("$defs", {})}
    return list(Draft202012Validator(whole).iter_errors(tree))


def _translated(error: Any, tree: Map) -> list[Problem]:
    """Say what an error of jsonschema means; nothing where the reason is told already."""
    path = list(error.absolute_path)
    if error.instance is BROKEN or isinstance(error.instance, Odd):
        return []
    place = locate(tree, path, tree.place)
    kind = str(error.validator)
    schema = error.schema if isinstance(error.schema, dict) else {}
    says = schema.get("x-says", "")
    if kind == "additionalProperties" and isinstance(error.instance, Map):
        return _unknown_keys(error.instance, schema)
    if kind == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        if f"'{missing[0]}'" not in error.message and len(missing) > 1:
            return []  # one error for each missing key: told with the first
        return [place.problem(f"`{key}` is missing here") for key in missing]
    if "propertyNames" in error.absolute_schema_path and isinstance(error.instance, str):
        where = place if not isinstance(locate_node(tree, path), Map) else _name_place(tree, path, error.instance)
        return [where.problem(f"`{_short(error.instance)}` can't be a key here: {says or error.message}")]
    return [place.problem(*_value_problem(kind, error, says))]


def _value_problem(kind: str, error: Any, says: str) -> tuple[str, str]:
    shown, wanted = _short(error.instance), error.validator_value
    if kind == "type":
        types = [wanted] if isinstance(wanted, str) else wanted
        words = " or ".join(_TYPE_WORDS[word] for word in types)
        if error.instance is None:
            return f"there is no value here; {says or words} is wanted", ""
        return f"{says or words} is wanted here, not {_kind(error.instance)}", _quotes(error.instance, types)
    if kind in {"enum", "const"}:
        possible = [_written(word) for word in (wanted if kind == "enum" else [wanted])]
        if shown in possible:  # it is spelled alike, and of another type
            hint = f"without quotes: {shown}" if isinstance(error.instance, str) else f'quote it: "{shown}"'
            return f"{_kind(error.instance)} isn't possible here", hint
        if kind == "enum":
            return f"`{shown}` isn't possible here", suggestion(_written(error.instance), possible)
        return f"only `{possible[0]}` is possible here, not `{shown}`", ""
    if says:
        return f"`{shown}` isn't {says}", ""
    sentences = {
        "minLength": "this is empty",
        "minItems": "this list is too short",
        "minProperties": "this map is empty",
        "maxProperties": "this map has too many keys",
        "uniqueItems": "an entry stands here twice",
        "minimum": f"{shown} is too small: at least {wanted} is possible",
        "maximum": f"{shown} is too large: at most {wanted} is possible",
        "maxLength": f"this is longer than {wanted} characters",
        "pattern": f"`{shown}` isn't possible here",
    }
    return sentences.get(kind, error.message[:200]), ""


_OF_WHAT_IS_INSIDE = frozenset(
    ["required", "additionalProperties", "minItems", "minProperties", "maxProperties", "uniqueItems"]
)


def _break(error: Any, tree: Map) -> None:
    """Put `BROKEN` in the place of a value that can't be what it is; a map or list of the right kind stays."""
    path = list(error.absolute_path)
    if path and str(error.validator) not in _OF_WHAT_IS_INSIDE and "propertyNames" not in error.absolute_schema_path:
        holder = locate_node(tree, path[:-1])
        if isinstance(holder, (Map, Seq)):
            replace(holder, path[-1], BROKEN, value_place(holder, path[-1]))


def _unknown_keys(node: Map, schema: Mapping[str, Any]) -> list[Problem]:
    known = list(schema.get("properties", {}))
    unknown = [key for key in node if key not in schema.get("properties", {})]
    return [
        node.keys_at.get(key, node.place).problem(f"unknown key `{_short(key)}`", _hint(key, known)) for key in unknown
    ]


def _hint(key: str, known: list[str]) -> str:
    return suggestion(key, known) or listing(known)


def _name_place(tree: Map, path: list[Key], name: str) -> Place:
    node = locate_node(tree, path)
    return node.keys_at.get(name, node.place) if isinstance(node, Map) else locate(tree, path)


def locate_node(tree: Any, path: list[Key]) -> Any:
    """Give what stands at a path."""
    for key in path:
        tree = tree[key]
    return tree


def _kind(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return _TYPE_WORDS["object" if isinstance(value, dict) else "array"]
    return f"the text `{_short(value)}`" if isinstance(value, str) else f"`{_short(value)}`"


def _quotes(value: Any, types: Sequence[str]) -> str:
    """Say that a text would be right without its quotes; empty when it wouldn't."""
    meant = _meant(value, {*types} - {"string"}) if isinstance(value, str) else None
    return f"without quotes: {value}" if meant is not None else ""


def _written(value: Any) -> str:
    """Give a scalar as YAML has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)


def _short(value: Any) -> str:
    text = _written(value)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
