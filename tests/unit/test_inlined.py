"""A schema whose references are put in their place judges as it did with them."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from reconciler.formats.defaults import inlined
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


def agree(schema: Any, value: Any) -> bool:
    found = Draft202012Validator(schema).is_valid(value)
    assert Draft202012Validator(inlined(schema, schema)).is_valid(value) == found
    return found


@given(node=NODES, some=st.lists(st.integers(-1, 5), max_size=3))
def test_references_that_are_followed_or_lead_back_judge_alike(node: Any, some: list[int]) -> None:
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
