"""A quick judge of data by a JSON Schema: it says whether there is certainly nothing wrong.

Most data is right. jsonschema says in detail what is wrong with the rest; to hear from it that nothing is takes ten
times as long, half of that until it is imported. So this knows only the words of JSON Schema that our schemas use, and
is never sure where there is another one, or where the two could differ.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from reconciler.formats.defaults import target

if TYPE_CHECKING:
    from collections.abc import Mapping

Test = Callable[[Any], bool]
_REMARKS = frozenset(["$comment", "$defs", "$schema", "default", "description", "examples", "title"])
"""What judges nothing; nor does what begins with `x-`."""
_TYPES: Mapping[str, Test] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


class Judge:
    """Judges data by the parts of one schema; what it learned of a part is kept."""

    def __init__(self, root: Any) -> None:
        """Take the schema that `$ref` looks into."""
        self._root = root
        self._known: dict[int, tuple[Any, tuple[Test, ...]]] = {}

    def is_right(self, value: Any, schema: Any) -> bool:
        """Say whether nothing is wrong with a value; False when that isn't certain."""
        try:
            return self._holds(value, schema)
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, re.error):
            return False  # a schema that is none itself

    def _holds(self, value: Any, schema: Any) -> bool:
        known = self._known.get(id(schema))
        if known is None:
            known = self._known[id(schema)] = schema, tuple(self._tests(schema))
        for test in known[1]:  # noqa: SIM110 - `all` takes twice as long, and there are many values
            if not test(value):
                return False
        return True

    def _tests(self, schema: Any) -> list[Test]:
        if isinstance(schema, bool):
            return [] if schema else [_never]
        words = {word for word in schema if word not in _REMARKS and not word.startswith("x-")}
        if schema is self._root:
            words.discard("$id")
        if "properties" in words:
            words.discard("additionalProperties")  # one test is for both
        if words - _WORDS.keys():
            return [_never]
        return [_WORDS[word](self, schema) for word in sorted(words, key=_FIRST.__ne__)]

    # --- words of a schema, each as a test of values ------------------------------------------------------------------

    def _reference(self, schema: Any) -> Test:
        if not schema["$ref"].startswith("#/"):
            return _never
        meant = target(schema["$ref"], self._root)
        return lambda value: self._holds(value, meant)

    def _members(self, schema: Any) -> Test:
        properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        return lambda value: (
            not isinstance(value, dict)
            or all(self._holds(entry, properties.get(key, others)) for key, entry in value.items())
        )

    def _items(self, schema: Any) -> Test:
        each = schema["items"]
        return lambda value: not isinstance(value, list) or all(self._holds(entry, each) for entry in value)

    def _names(self, schema: Any) -> Test:
        each = schema["propertyNames"]
        return lambda value: not isinstance(value, dict) or all(self._holds(key, each) for key in value)


def _never(_value: Any) -> bool:
    return False


def _type(_judge: Judge, schema: Any) -> Test:
    wanted = schema["type"]
    if isinstance(wanted, str):
        return _TYPES[wanted]
    tests = [_TYPES[word] for word in wanted]
    return lambda value: any(test(value) for test in tests)


def _one_of(possible: Any) -> Test:
    """Test for single values: of maps and lists it isn't certain what is equal to them."""
    return lambda value: any(type(value) is type(one) and value == one and _single(one) for one in possible)


def _single(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float))


def _pattern(_judge: Judge, schema: Any) -> Test:
    pattern = schema["pattern"]  # compiled when a value comes by: there are many, and most are of what isn't there
    return lambda value: not isinstance(value, str) or re.search(pattern, value) is not None


def _required(_judge: Judge, schema: Any) -> Test:
    names = schema["required"]
    return lambda value: not isinstance(value, dict) or all(name in value for name in names)


def _unique(_judge: Judge, schema: Any) -> Test:
    wanted = schema["uniqueItems"]
    return lambda value: (
        not wanted
        or not isinstance(value, list)
        or len(value) < 2
        or (all(isinstance(entry, str) for entry in value) and len(set(value)) == len(value))
    )


def _least(word: str, kind: type[str | list[Any] | dict[str, Any]]) -> Callable[[Judge, Any], Test]:
    def make(_judge: Judge, schema: Any) -> Test:
        least = schema[word]
        return lambda value: not isinstance(value, kind) or len(value) >= least

    return make


def _most(word: str, kind: type[str | list[Any] | dict[str, Any]]) -> Callable[[Judge, Any], Test]:
    def make(_judge: Judge, schema: Any) -> Test:
        most = schema[word]
        return lambda value: not isinstance(value, kind) or len(value) <= most

    return make


def _minimum(_judge: Judge, schema: Any) -> Test:
    least = schema["minimum"]
    return lambda value: not _TYPES["number"](value) or value >= least


def _maximum(_judge: Judge, schema: Any) -> Test:
    most = schema["maximum"]
    return lambda value: not _TYPES["number"](value) or value <= most


_FIRST = "type"
"""The word that is asked first: it decides most, and is cheap."""
_WORDS: Mapping[str, Callable[[Judge, Any], Test]] = {
    "$ref": Judge._reference,  # noqa: SLF001 - the words are the class's own
    "properties": Judge._members,  # noqa: SLF001
    "additionalProperties": Judge._members,  # noqa: SLF001
    "items": Judge._items,  # noqa: SLF001
    "propertyNames": Judge._names,  # noqa: SLF001
    "type": _type,
    "enum": lambda _judge, schema: _one_of(schema["enum"]),
    "const": lambda _judge, schema: _one_of([schema["const"]]),
    "pattern": _pattern,
    "required": _required,
    "uniqueItems": _unique,
    "minLength": _least("minLength", str),
    "maxLength": _most("maxLength", str),
    "minItems": _least("minItems", list),
    "maxItems": _most("maxItems", list),
    "minProperties": _least("minProperties", dict),
    "maxProperties": _most("maxProperties", dict),
    "minimum": _minimum,
    "maximum": _maximum,
}
