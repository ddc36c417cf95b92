"""Kinds of changes: each stands in all the places that know of kinds, and so is written, read, counted and shown."""

import inspect
import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from reconciler.errors import DocumentError
from reconciler.model import change as changes
from reconciler.model.change import KINDS, Change, FleetChange
from reconciler.model.plan import Basis, Plan
from reconciler.present.document import plan_document
from reconciler.present.kinds import BY_CHANGE, TABLE
from reconciler.present.markdown import plan_markdown
from reconciler.present.plan_text import plan_text
from reconciler.present.reading import read_plan
from tests.fakes import NOW

SCHEMA = json.loads((Path(__file__).parents[2] / "schema/plan.schema.json").read_text(encoding="utf-8"))
BY_ACTION = {part["properties"]["action"]["const"]: part for part in SCHEMA["properties"]["changes"]["items"]["oneOf"]}
CLASSES = {
    found
    for _name, found in inspect.getmembers(changes, inspect.isclass)
    if issubclass(found, Change) and is_dataclass(found)  # type: ignore[redundant-expr]
}
each_kind = pytest.mark.parametrize("kind", sorted(CLASSES, key=str), ids=lambda kind: kind.__name__)


@each_kind
def test_a_kind_of_change_stands_in_every_place_that_knows_of_kinds(kind: Any) -> None:
    counts = SCHEMA["properties"]["summary"]
    places = {
        "KINDS of model/change.py": kind in KINDS,
        f"the field {kind.place} of Changes": kind.place in {field.name for field in fields(Plan)},
        "the table of present/kinds.py": kind in BY_CHANGE,
        "the changes of schema/plan.schema.json": kind.action in BY_ACTION,
        "the summary of schema/plan.schema.json": kind.action in counts["properties"],
        "what the summary of schema/plan.schema.json requires": kind.action in counts["required"],
    }
    assert [place for place, there in places.items() if not there] == []


def test_no_other_kinds_are_known() -> None:
    assert set(KINDS) == set(BY_CHANGE) == CLASSES
    assert set(BY_ACTION) == {kind.action for kind in CLASSES}  # type: ignore[attr-defined]
    assert len({kind.action for kind in KINDS}) == len({kind.place for kind in KINDS}) == len(KINDS)


def example(kind: Any) -> Any:
    """Give the example of the schema, and a plan that does nothing else."""
    (entry,) = BY_ACTION[kind.action]["examples"]
    change = BY_CHANGE[kind].form.read(entry)
    members = dict.fromkeys(entry.get("members", ()), ())
    for number in range(entry.get("clients", 0)):
        members[entry["members"][0]] += (f"pc-{number}",)  # type: ignore[assignment]
    more = {kind.place: (change,), "members": members, "clients": {"office": 9}}
    return entry, Plan("p", NOW, Basis("l", 1, 0, "a" * 64, "b" * 64), **more)  # type: ignore[arg-type]


SAID_ELSEWHERE = {"signed"}
"""What a change has of the plan's `provenance`: readers pass over it."""


@each_kind
def test_a_change_is_written_as_its_schema_says_and_counted(kind: Any) -> None:
    entry, plan = example(kind)
    document = plan_document(plan)
    assert document["changes"] == [entry]
    Draft202012Validator(SCHEMA).validate(document)
    assert not plan.empty
    count = document["summary"][kind.action]
    assert (count["changes"], count["clients"]) == (1, entry.get("clients", 0))
    assert [action for action, count in document["summary"].items() if action in BY_ACTION and count["changes"]] == [
        kind.action
    ]


@each_kind
def test_a_change_has_all_the_keys_of_its_schema_and_each_must_be_there(kind: Any) -> None:
    entry, plan = example(kind)
    assert set(entry) == set(BY_ACTION[kind.action]["required"])
    assert set(entry) == set(BY_ACTION[kind.action]["properties"]) - SAID_ELSEWHERE
    for key in set(entry) - {"action"}:
        document = plan_document(plan)
        del document["changes"][0][key]
        with pytest.raises(DocumentError, match=f"malformed: '{key}'"):
            read_plan(document)


@each_kind
@pytest.mark.parametrize("value", [None, True, 7.5, [1], {"a": 1}], ids=repr)
def test_a_value_of_another_type_is_refused_by_the_name_of_its_key(kind: Any, value: Any) -> None:
    entry, plan = example(kind)
    for key, part in BY_ACTION[kind.action]["properties"].items():
        if key not in SAID_ELSEWHERE and not Draft202012Validator(part).is_valid(value):
            document = plan_document(plan)
            document["changes"][0] = {**entry, key: value}
            with pytest.raises(DocumentError, match=key):
                read_plan(document)


@each_kind
def test_a_change_is_shown_below_its_title_and_in_a_row_of_its_table(kind: Any) -> None:
    entry, plan = example(kind)
    view, document = BY_CHANGE[kind], plan_document(plan)
    text = plan_text(document, names=True).split("\n")
    title = text.index(view.title)
    assert text[title + 1].strip()
    if issubclass(kind, FleetChange) and entry["clients"]:
        assert text[title + 2].strip() == ", ".join(plan.members[entry["members"][0]])
    head, _line, row = plan_markdown(document).split(f"| {view.head[0]} | ")[1].split("\n")[:3]
    assert head.count("|") + 1 == row.count("|") - 1 == len(view.head)


def test_the_table_stands_in_the_order_in_which_changes_are_carried_out() -> None:
    assert tuple(kind.change for kind in TABLE) == KINDS
