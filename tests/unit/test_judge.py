"""What the quick judge calls right is right for jsonschema, and all that is wrong is left to that."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from reconciler.formats.judge import Judge
from reconciler.specfile.validate import schema_of

EXAMPLES = sorted((Path(__file__).parent / "data/examples").glob("*.yaml"))
SPEC = schema_of("updoser")
TREE = {
    "$defs": {
        "leaf": {"type": "integer", "minimum": 0, "description": "a number"},
        "small": {"$ref": "#/$defs/leaf", "maximum": 3},
        "node": {"type": "object", "properties": {"sub": {"$ref": "#/$defs/node"}, "n": {"$ref": "#/$defs/small"}}},
    },
    "type": "object",
    "properties": {
        "node": {"$ref": "#/$defs/node", "description": "what is beside says nothing"},
        "some": {"type": "array", "items": {"$ref": "#/$defs/small", "minimum": 2}},
    },
    "additionalProperties": False,
}
NODES: st.SearchStrategy[Any] = st.recursive(
    st.integers(-1, 5) | st.none(), lambda inner: st.dictionaries(st.sampled_from(["sub", "n"]), inner, max_size=2)
)


WRONG: tuple[Any, ...] = ({"no": "such"}, [], -1)


def agree(schema: Any, value: Any) -> None:
    assert Judge(schema).is_right(value, schema) == Draft202012Validator(schema).is_valid(value)


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.sampled_from([0.0, 1.0, 1.5, "", "a", "b", "ab", "1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "ab"]), inner, max_size=3),
    max_leaves=6,
)
NUMBERS = st.integers(0, 2)
SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.just({}),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["object", "array", "string", "integer", "number", "boolean", "null"])
            | st.just(["integer", "string"]),
            "properties": st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
            "additionalProperties": inner,
            "required": st.lists(st.sampled_from(["a", "b"]), max_size=1),
            "items": inner,
            "propertyNames": st.just({"pattern": "^a"}),
            "enum": st.lists(VALUES, min_size=1, max_size=3),
            "const": VALUES,
            "pattern": st.sampled_from(["^a", "b$", "1"]),
            "uniqueItems": st.booleans(),
            **dict.fromkeys(["minLength", "maxLength", "minItems", "maxItems"], NUMBERS),
            **dict.fromkeys(["minProperties", "maxProperties", "minimum", "maximum"], NUMBERS),
            "not": inner,
            "$ref": st.just("#/$defs/leaf"),
            "x-says": st.just("something"),
        },
    ),
    max_leaves=5,
)


@given(schema=SCHEMAS, value=VALUES)
def test_nothing_is_called_right_in_which_jsonschema_finds_something_wrong(schema: Any, value: Any) -> None:
    whole = {"$defs": {"leaf": {"type": ["integer", "string", "object"]}}, "items": schema}
    if Judge(whole).is_right([value], whole):
        assert Draft202012Validator(whole).is_valid([value])


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ({"type": "string"}, "1", 1),
        ({"type": "integer"}, 1, True),
        ({"type": ["number", "null"]}, None, "1"),
        ({"enum": ["a", 1]}, 1, True),
        ({"const": False}, False, 0),
        ({"pattern": "^a"}, "ab", "ba"),
        ({"required": ["a"]}, {"a": 1}, {"b": 1}),
        ({"properties": {"a": {"type": "null"}}}, {"a": None}, {"a": 1}),
        ({"additionalProperties": False}, {}, {"a": 1}),
        ({"propertyNames": {"pattern": "^a"}}, {"a": 1}, {"b": 1}),
        ({"items": {"minimum": 1}}, [1], [1, 0]),
        ({"uniqueItems": True}, ["a", "b"], ["a", "a"]),
        ({"minItems": 1}, [0], []),
        ({"maxLength": 1}, "a", "ab"),
        ({"maximum": 1}, 1, 2),
    ],
    ids=lambda part: str(part)[:40],
)
def test_each_word_of_a_schema_tells_right_from_wrong(schema: Any, right: Any, wrong: Any) -> None:
    agree(schema, right)
    agree(schema, wrong)
    assert Judge(schema).is_right(right, schema)
    assert not Judge(schema).is_right(wrong, schema)


@pytest.mark.parametrize("schema", [{"oneOf": [True]}, {"type": "no such"}, {"pattern": "("}, {"$ref": "#/gone"}, 5])
def test_a_schema_that_it_does_not_know_all_words_of_is_left_to_jsonschema(schema: Any) -> None:
    assert not Judge(schema).is_right("a", schema)


@given(node=NODES, some=st.lists(st.integers(-1, 5), max_size=3))
def test_references_that_are_followed_or_lead_back_are_judged_alike(node: Any, some: list[int]) -> None:
    agree(TREE, {"node": node, "some": some})


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [place for key, inner in entries for place in leaves(inner, (*path, key))]
    return found or [path]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_and_all_that_may_be_wrong_in_it_are_judged_alike(file: Path) -> None:
    spec = yaml.safe_load(file.read_text(encoding="utf-8"))
    agree(SPEC, spec)
    for path in leaves(spec)[::3]:
        holder = spec
        for key in path[:-1]:
            holder = holder[key]
        before = holder[path[-1]]
        for wrong in WRONG:
            holder[path[-1]] = wrong
            agree(SPEC, spec)
        holder[path[-1]] = before
