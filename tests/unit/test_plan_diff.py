"""What differs between two plans: changes, clients, bytes, rollouts and findings, and nothing else."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from reconciler.present.document import plan_document
from reconciler.present.plan_diff import plan_difference, plan_difference_text
from reconciler.present.reading import read_plan

SCHEMA = Path(__file__).parents[2] / "schema" / "plan.schema.json"
EXAMPLE: Any = plan_document(read_plan(json.loads(SCHEMA.read_text(encoding="utf-8"))["examples"][0]))
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
