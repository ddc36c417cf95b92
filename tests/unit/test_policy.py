"""What `plan --fail-on` and the example in Rego say of a plan, and that no text breaks the reader of conditions."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler import cli
from reconciler.errors import PolicyError
from reconciler.model.change import Deploy, Settings
from reconciler.model.plan import Basis, Finding, Plan
from reconciler.present.document import plan_document
from reconciler.present.policy import MEASURES, breaches, check_policy, parse_policy
from reconciler.present.terminal import Terminal
from tests.fakes import NOW

ROOT = Path(__file__).parents[2]
MEMBERS = {"c1": ("pc-1", "pc-2"), "c2": ("pc-3",), "c3": ("pc-4",)}


def deploy(component: str, *members: str, **more: Any) -> Deploy:
    clients = sum(len(MEMBERS[cohort]) for cohort in members)
    fields = {"reason": "pinned", "clients": clients, "members": members, "bytes": 2**20, "bytes_full": 2**21, **more}
    return Deploy(component, "office", "1", "a" * 64, "2", "b" * 64, "any", **fields)


def made(**fields: Any) -> Any:
    fields = {"clients": {"office": 4}, "members": MEMBERS, **fields}
    return plan_document(Plan("p", NOW, Basis("l", 1, 0, "0" * 64, "0" * 64), **fields))


PLAN = made(
    deploys=(deploy("rules", "c1", downgrade=True), deploy("engine", "c1", "c2")),
    settings=(Settings("office", "changed", 1, ("c2",)),),
    unknown=(Finding("office", 1, ("c3",), "no connection"),),
    gone=("old-1",),
    leaving_clients=2,
    problems=("source a: away", "source b: away"),
    excused=("source b: away",),
    unmet=("rules",),
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("downgrade", ["downgrade: 2 clients of 4 (50.00 %)"]),
        ("clients>50%", ["clients>50%: 3 clients of 4 (75.00 %)"]),
        ("clients > 3, clients>75%", []),
        ("unknown>24.999%", ["unknown>24.999%: 1 client of 4 (25.00 %)"]),
        ("unknown>25%", []),
        ("bytes>4MiB", ["bytes>4MiB: 5.0 MiB"]),
        ("bytes>5MiB", []),
        ("gone>19%", ["gone>19%: 1 client of 5 (20.00 %)"]),
        ("removed>2", ["removed>2: 3 clients of 5 (60.00 %)"]),
        ("removed>60%", []),
        ("problems>1", []),
        ("unmet, problems", ["unmet: 1 component", "problems: 1 problem"]),
        ("drift,held,deferred,unreachable,halted,stuck,unread,downloads", []),
    ],
)
def test_a_condition_is_met_beyond_its_limit_and_said_with_figures(text: str, says: list[str]) -> None:
    assert breaches(parse_policy(text), PLAN) == says


def test_a_plan_without_clients_is_beyond_no_share() -> None:
    assert breaches(parse_policy("unknown>0%,clients>0%"), made(clients={}, members={})) == []


def test_all_conditions_that_a_plan_meets_are_named_by_one_refusal() -> None:
    with pytest.raises(PolicyError, match=r"downgrade: .*; unmet: 1 component"):
        check_policy(parse_policy("downgrade,halted,unmet"), PLAN)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "condition 1 of 1"),
        ("drift,,held", "condition 2 of 3"),
        (
            "drift,unknowns>5%",
            "condition 2 of 2: there is no measure 'unknowns'; did you mean `unknown`?; there is: clients",
        ),
        ("unknown<5%", "condition 1 of 1"),
        ("unknown>", "a share of the clients"),
        ("unknown>5GiB", "a share of the clients"),
        ("unknown>2.5", "a share of the clients"),
        ("bytes>5", "a size (such as 10GiB)"),
        ("bytes>5%", "a size (such as 10GiB)"),
        ("halted>5%", "a whole number"),
        ("drift>٣", "a number"),
    ],
)
def test_a_condition_of_another_form_is_refused_with_its_place_and_what_there_is(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        parse_policy(text)


@given(st.text(max_size=30) | st.text(alphabet="bytesunkow>%,5.GiB ", max_size=30))
def test_no_text_breaks_the_reader_of_conditions(text: str) -> None:
    try:
        conditions = parse_policy(text)
    except ValueError:
        return
    breaches(conditions, PLAN)


def test_a_plan_file_that_a_policy_forbids_is_shown_and_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(made(unmet=("rules",), problems=("rules: it isn't offered",))))
    assert cli.run(["show", str(file), "--fail-on", "halted, drift>5%"], Terminal()) == 0
    assert cli.run(["show", str(file), "--fail-on", "halted, unmet"], Terminal()) == 5
    shown = capsys.readouterr()
    assert shown.out.count("Plan: ") == 2
    assert "--fail-on: unmet: 1 component" in shown.err


@pytest.mark.parametrize("command", ["plan", "show"])
def test_a_malformed_policy_is_bad_usage(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [command, *(["none.json"] if command == "show" else []), "--fail-on", "nonsense"]
    assert cli.run(arguments, Terminal()) == 64
    assert "there is no measure 'nonsense'" in capsys.readouterr().err


# --- the pages --------------------------------------------------------------------------------------------------------


def test_the_page_lists_every_measure_and_no_other() -> None:
    rows = re.findall(r"^\| (`.+?) \|", (ROOT / "docs/policy.md").read_text(), flags=re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(MEASURES)


def test_every_field_that_the_rego_example_asks_for_is_in_the_schema() -> None:
    rego = (ROOT / "docs/policy/plan.rego").read_text()
    schema = json.loads((ROOT / "schema/plan.schema.json").read_text())
    paths = set(re.findall(r"input((?:\.\w+)+)", rego))
    assert paths
    for path in paths:
        node = schema
        for key in path.strip(".").split("."):
            node = resolved(schema, node)["properties"][key]
    lists = {"change": "changes", "rollout": "rollouts", "release": "provenance", "left": "leaving"}
    for name, place in lists.items():
        assert f"some {name} in input.{place}" in rego
        known = json.dumps(resolved(schema, resolved(schema, schema["properties"][place])["items"])) + json.dumps(
            schema.get("$defs", {})
        )
        for key in re.findall(rf"\b{name}\.(\w+)", rego):
            assert f'"{key}": {{' in known, key


def resolved(schema: Any, node: Any) -> Any:
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return node
