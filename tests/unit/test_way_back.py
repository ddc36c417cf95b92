"""The way back: how far a plan reaches, and what clients keep of what they have now."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from reconciler.model.attribution import Attribution
from reconciler.model.change import Deploy, DeployReason
from reconciler.model.plan import Basis, Plan
from reconciler.model.way_back import WayBack
from reconciler.planner.against import against
from reconciler.planner.ways_back import ways_back
from reconciler.present.base_text import base_rows
from reconciler.present.document import plan_document
from reconciler.present.reading import read_plan
from reconciler.present.render import render
from reconciler.present.views import PLAN

SCHEMA = Path(__file__).parents[2] / "schema" / "plan.schema.json"
PLAIN = Plan("p", datetime(2026, 11, 24, 12, tzinfo=UTC), Basis("l", 1, 0, "a" * 64, "b" * 64))


def plan_of(*deploys: Deploy) -> Plan:
    return replace(
        PLAIN,
        deploys=deploys,
        members={"c1": ("pc-1", "pc-2", "pc-3"), "c2": ("pc-4",)},
        clients={"branch": 6, "office": 1},
    )


def deploy(
    group: str = "branch", cohort: str = "c1", clients: int = 3, before: str = "1", reason: DeployReason = "outdated"
) -> Deploy:
    digest = "c" * 64 if before else ""
    return Deploy(
        "rules", group, before, digest, "2", "d" * 64, "any", reason, clients, (cohort,), bytes=10, bytes_full=10
    )


@pytest.mark.parametrize(("keep", "kept"), [(2, 3), (1, 0)])
def test_clients_keep_the_version_before_if_more_than_one_may_stay(keep: int, kept: int) -> None:
    plan = plan_of(deploy(), deploy("office", "c2", 1, before="", reason="missing"))
    assert ways_back(plan, keep) == (WayBack("rules", "2", clients=4, kept=kept, first=1),)


@pytest.mark.parametrize("reason", ["rolled_back", "digest_mismatch", "layout_changed"])
def test_what_goes_back_or_takes_its_own_place_has_no_way_back(reason: DeployReason) -> None:
    assert ways_back(plan_of(deploy(reason=reason)), 2) == ()


def test_a_plan_says_how_far_it_reaches_and_whether_a_rollback_sends_something() -> None:
    plan = plan_of(deploy(), deploy("office", "c2", 1, before="", reason="missing"))
    for keep, says in ((2, "Rollback: the version before is kept on all clients"), (1, "is kept on 0 of 3 clients.")):
        document = plan_document(replace(plan, ways_back=ways_back(plan, keep)))
        for form in ("text", "markdown"):
            shown = render(document, form, PLAN)
            assert "This step changes 57 % of the fleet: 100 % of office, 50 % of branch." in shown
            assert says in shown


def test_the_way_back_and_the_comparison_come_back_from_a_document_as_its_schema_has_them() -> None:
    plan = plan_of(deploy())
    document = plan_document(replace(plan, ways_back=ways_back(plan, 2), against_base=against(PLAIN, plan)))
    Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8"))).validate(document)
    assert plan_document(read_plan(document)) == document
    assert not {"ways_back", "against_base"} & plan_document(PLAIN).keys()


def test_clients_of_one_change_are_told_apart_by_what_the_base_gives_them() -> None:
    before, after = plan_of(deploy("office", "c2", 1)), plan_of(deploy(), deploy("office", "c2", 1))
    assert against(before, after) == (
        Attribution("change", "deploy", "rules", "2", "branch", 3),
        Attribution("anyway", "deploy", "rules", "2", "office", 1),
    )
    assert against(after, before)[0] == Attribution("no longer", "deploy", "rules", "2", "branch", 3)


def test_what_differs_in_nothing_but_its_release_is_one_row_against_the_base() -> None:
    entry = {"by": "anyway", "action": "deploy", "version": "2", "clients": 3, "group": "office"}
    several = [{**entry, "component": f"rules-{n}"} for n in range(5)]
    other = {**entry, "by": "change", "component": "engine", "clients": 1}
    assert base_rows({"against_base": [other, *several]}) == [
        ("by this change", "deploy", "engine 2", "1 client", "office"),
        ("would happen anyway", "deploy", "5 releases", "3 clients", "office"),
    ]
    assert len(base_rows({"against_base": several[:3]})) == 3
