"""What differs between two plans: changes, clients, bytes, rollouts and findings, and nothing else."""

import copy
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from reconciler.present.document import plan_document
from reconciler.present.look import Look
from reconciler.present.plan_diff import plan_difference, plan_difference_text
from reconciler.present.reading import read_plan

SCHEMAS = Path(__file__).parents[2] / "schema"
SCHEMA: Any = json.loads((SCHEMAS / "plan.schema.json").read_text(encoding="utf-8"))
EXAMPLE: Any = plan_document(read_plan(SCHEMA["examples"][0]))
OF_DIFFERENCES = Draft202012Validator(json.loads((SCHEMAS / "plan-diff.schema.json").read_text(encoding="utf-8")))
DEPLOY = "deploy virus-pattern office any 16.677.00 16.679.00 outdated"


@pytest.fixture
def later() -> Any:
    return {**copy.deepcopy(EXAMPLE), "plan_id": "later"}


def deploy_of(document: Any) -> Any:
    return next(change for change in document["changes"] if change["action"] == "deploy")


def test_plans_that_do_the_same_are_said_to(later: Any) -> None:
    found = plan_difference(EXAMPLE, later)
    assert found["differences"] == []
    assert plan_difference_text(found).endswith("Both plans do the same.\n")


def test_a_change_on_other_clients_is_one_line_with_clients_and_bytes(later: Any) -> None:
    deploy = deploy_of(later)
    later["members"]["c1"] = ["pc-1", "pc-9"]
    deploy["clients"] = 2
    found = plan_difference(EXAMPLE, later)
    (entry,) = (entry for entry in found["differences"] if entry["what"] == "change")
    assert entry["before"] == {"clients": 4, "bytes": 4 * deploy["bytes"]}
    assert (entry["clients_new"], entry["clients_gone"]) == (1, 3)
    assert "~  change  deploy" in plan_difference_text(found)
    assert "4 clients, 402.0 KiB -> 2 clients, 201.0 KiB (1 new, 3 gone)" in plan_difference_text(found)


def test_other_clients_of_the_same_number_differ_too(later: Any) -> None:
    later["members"]["c1"] = ["pc-1", "pc-2", "pc-3", "pc-9"]
    found = plan_difference(EXAMPLE, later)
    assert "4 clients, 402.0 KiB (1 new, 1 gone)" in plan_difference_text(found)


def test_what_is_new_or_gone_and_where_rollouts_are_is_told(later: Any) -> None:
    later["changes"].remove(deploy_of(later))
    later["rollouts"][0]["says"] = "halted"
    later["problems"].append("source hq: \x1b[2J away")
    later["spec_digest"] = "f" * 64
    text = plan_difference_text(plan_difference(EXAMPLE, later))
    assert "~  basis" in text
    assert "-  change" in text
    assert f"{EXAMPLE['rollouts'][0]['says']} -> halted" in text
    assert "+  problems" in text
    assert "\x1b" not in text
    assert "- " not in plan_difference_text(plan_difference(EXAMPLE, EXAMPLE)).replace("Plan", "")


# --- every key of a plan ----------------------------------------------------------------------------------------------

NOT_COMPARED = {"format_version", "plan_id", "created", "summary", "members"}
"""What plans are called, and what is counted from the rest, or compared where something refers to it."""
COHORTS = {name: [f"pc-{name}"] for name in ("c1", "c2", "c3", "c4", "c5")}
CHANGES = [part["examples"][0] for part in SCHEMA["properties"]["changes"]["items"]["oneOf"]]


def altered(value: Any) -> Any:
    """Give another value of the same type."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, str):
        return f"{value}x"
    if isinstance(value, list):
        return [*value[:-1], altered(value[-1])] if value else ["another"]
    key = next(iter(value))
    return {**value, key: altered(value[key])}


def differences(before: Any, after: Any) -> Any:
    plans = ({**EXAMPLE, "members": COHORTS, **part} for part in (before, after))
    found = plan_difference(*plans)
    OF_DIFFERENCES.validate(found)
    assert plan_difference_text(found).endswith("Both plans do the same.\n") is not bool(found["differences"])
    return found["differences"]


@pytest.mark.parametrize("key", sorted(set(SCHEMA["properties"]) - NOT_COMPARED))
def test_plans_that_differ_in_any_key_are_told_apart_by_it(key: str) -> None:
    value = SCHEMA["properties"][key]["examples"][0]
    assert differences({key: value}, {key: altered(value)})
    assert not differences({key: value}, {key: copy.deepcopy(value)})


@pytest.mark.parametrize("key", sorted(NOT_COMPARED))
def test_what_plans_are_called_and_what_is_counted_from_the_rest_is_no_difference(key: str) -> None:
    if key != "members":
        value = EXAMPLE[key]
        later = "2027-01-01T00:00:00Z" if key == "created" else altered(value)
        assert not differences({"run": {}, "rollouts": []}, {"run": {}, "rollouts": [], key: later})


@pytest.mark.parametrize(
    "value",
    [1, True, "word", "20261124", "2026-99-99T99:99:99Z", ["word"], {"a": 1}, [{"a": 1}], {"a": {"b": [1]}}],
    ids=repr,
)
def test_a_key_that_nobody_thought_of_is_compared_like_any_other(value: Any) -> None:
    assert differences({"novel": value}, {"novel": altered(value)})
    assert {entry["kind"] for entry in differences({}, {"novel": value})} == {"added"}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change["action"])
def test_changes_that_differ_in_any_key_are_told_apart(change: Any) -> None:
    for key, value in change.items():
        other = ["c5"] if key == "members" else altered(value)
        assert differences({"changes": [change]}, {"changes": [{**change, key: other}]}), key


def test_only_what_differs_is_told_of_a_change_that_both_have() -> None:
    change = next(change for change in CHANGES if change["action"] == "deploy")
    (entry,) = differences({"changes": [change]}, {"changes": [{**change, "wave": 2, "route": "via egress"}]})
    assert (entry["before"]["says"], entry["after"]["says"]) == ("route direct, wave 1", "route via egress, wave 2")


def test_a_time_that_moved_on_with_the_plan_is_the_same_and_any_other_is_not() -> None:
    arrival = {"component": "rules", "version": "2", "group": None, "half": "2026-11-24T16:00:00Z"}
    made = datetime.fromisoformat(EXAMPLE["created"])
    later = {"created": (made + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")}
    for half, same in (("17:00", True), ("16:00", True), ("18:00", False)):
        moved = {**arrival, "half": f"2026-11-24T{half}:00Z"}
        found = differences(
            {"run": {"arrivals": [arrival]}, "rollouts": []}, {"run": {"arrivals": [moved]}, "rollouts": [], **later}
        )
        assert bool(found) is not same, half


def test_clients_that_come_to_a_group_and_go_from_it_are_told_apart(later: Any) -> None:
    move = {"kind": "clients_new", "group": "office", "before": "", "clients": 3, "names": ["n-1", "n-2", "n-3"]}
    gone = {"kind": "clients_gone", "group": "office", "before": "", "clients": 2, "names": ["g-1", "g-2"]}
    before = {**EXAMPLE, "fleet_moves": [move, gone]}
    found = plan_difference(before, {**later, "fleet_moves": [{**move, "clients": 4}, gone]})
    (entry,) = found["differences"]
    assert (entry["subject"], entry["before"]["clients"], entry["after"]["clients"]) == ("clients_new office", 3, 4)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_differences_fit_into_the_terminal_and_lose_nothing(later: Any, width: int) -> None:
    later["changes"].remove(deploy_of(later))
    later["rollouts"][0]["says"] = "halted: 3 of 4 clients failed"
    found = plan_difference(EXAMPLE, later)
    narrow, wide = plan_difference_text(found, look=Look(width)), plan_difference_text(found)
    assert max(map(len, narrow.splitlines())) <= width
    words = [sorted(word.strip(",;") for word in text.split()) for text in (narrow, wide)]
    assert words[0] == words[1]
