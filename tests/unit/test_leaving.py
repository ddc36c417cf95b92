"""What isn't managed any more and who comes and goes: told as it is, counted once, and cheap to read for any fleet."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from reconciler.model.client import Client
from reconciler.model.leaving import FleetMove, Leaving
from reconciler.model.plan import Basis, Plan
from reconciler.model.settings import setting_id
from reconciler.model.spec_change import SpecChange
from reconciler.observe.before import managed_before, settings_left
from reconciler.planner.inputs import Observed
from reconciler.planner.leaving import Before, leaving
from reconciler.present.document import plan_document
from reconciler.present.policy import breaches, parse_policy
from reconciler.present.reading import read_plan
from reconciler.present.render import render
from reconciler.present.views import PLAN
from reconciler.storage.roll import Roll
from reconciler.storage.state import State
from reconciler.workspace import Workspace
from tests.unit.situations import IDS, METHODS, Situation, situations

SCHEMA = Path(__file__).parents[2] / "schema" / "plan.schema.json"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
BASIS = Basis("l", 1, 0, "a" * 64, "b" * 64)
PLAIN = Plan("p", NOW, BASIS, clients={"branch": 6, "office": 2})
ENGINE = Leaving("engine", "branch", "not_listed", 6, ("pc-1", "pc-2", "pc-3"), now=True)


def shown(form: str = "text", *, names: bool = False, **fields: Any) -> str:
    return render(plan_document(replace(PLAIN, **fields)), form, PLAN, names=names)


def part(text: str, title: str) -> list[str]:
    """Give the rows of a part of a plan's text, with one blank between cells."""
    rows = text.partition(f"\n{title}\n")[2].partition("\n\n")[0].splitlines()
    return [" ".join(row.split()) for row in rows]


# --- the planner ------------------------------------------------------------------------------------------------------

specs_before = st.none() | st.builds(
    Before,
    st.none() | st.frozensets(st.sampled_from(IDS)),
    st.dictionaries(st.sampled_from("abc"), st.sampled_from([None, *METHODS]), max_size=3),
)


@given(situations(in_waves=False), specs_before)
@settings(max_examples=100, deadline=None)
def test_what_leaves_and_what_stays_managed_is_all_that_clients_have(
    situation: Situation, before: Before | None
) -> None:
    chosen, _others = situation.gather()
    wanted = situation.wanted
    left, clients = leaving(wanted, Observed(BASIS, cohorts=chosen), before)
    known = [cohort for cohort in chosen if cohort.profile is not None]
    there = sum(len(cohort.members) * len(cohort.profile.installed) for cohort in known)
    managed = sum(
        len(cohort.members)
        for cohort in known
        for entry in cohort.profile.installed
        if entry.component in {spec.component.id for spec in wanted.of_group(cohort.group)}
    )
    assert managed + sum(entry.clients for entry in left) == there
    now = [entry.clients for entry in left if entry.now]
    assert max(now, default=0) <= clients <= sum(now)
    assert all(len(entry.names) == min(entry.clients, 3) for entry in left)
    if before is None:
        assert clients == 0


# --- what is read of the state ----------------------------------------------------------------------------------------


def work_of(applied: Any, groups: Any = (), rows: Any = (), moved: Any = ()) -> Workspace:
    """Give as much of a workspace as is asked: the spec that was applied, groups of the present one, rows, moves."""
    listed = [SimpleNamespace(group=group, name=name, settings=has) for group, name, has in rows]
    made = SimpleNamespace(
        state=SimpleNamespace(applied_spec=lambda: applied),
        spec=SimpleNamespace(groups=dict(groups)),
        roll=SimpleNamespace(rows=lambda: listed, moved=lambda: dict(moved)),
    )
    return cast("Workspace", made)


@pytest.mark.parametrize(
    ("spec", "components"),
    [
        ({}, None),
        ({"components": {"*": {}, "engine": {}}}, None),
        ({"components": {"engine": {"version": "9"}}}, frozenset({"engine"})),
        ({"components": {}}, frozenset()),
        ({"components": "odd", "groups": ["odd"], "defaults": 7}, None),
    ],
)
def test_without_a_list_all_components_were_managed(spec: Any, components: Any) -> None:
    before = managed_before(work_of(spec))
    assert before is not None
    assert before.components == components


def test_before_the_first_apply_nothing_was_managed() -> None:
    assert managed_before(work_of(None)) is None


def test_groups_had_the_scan_method_and_the_settings_of_the_defaults_unless_they_said_otherwise() -> None:
    file, other = {"path": "/etc/a"}, {"path": "/etc/b"}
    spec = {
        "defaults": {"scan_method": "smart", "settings": [file]},
        "groups": {"a": {}, "b": {"scan_method": "conventional", "settings": [other]}, "c": {"settings": []}},
    }
    before = managed_before(work_of(spec))
    assert before is not None
    assert before.groups == {"a": "smart", "b": "conventional", "c": "smart"}
    assert before.settings == {"a": {setting_id("/etc/a")}, "b": {setting_id("/etc/b")}}


def test_clients_that_have_a_file_which_their_group_has_no_more_are_found() -> None:
    stays, goes = setting_id("/etc/stays"), setting_id("/etc/goes")
    before = Before(settings={"a": frozenset({stays, goes}), "b": frozenset({goes}), "gone": frozenset({goes})})
    groups = {"a": SimpleNamespace(settings=[SimpleNamespace(path="/etc/stays")]), "b": SimpleNamespace(settings=())}
    both = f"{goes}:1:aa {stays}:1:bb"
    rows = [("a", "a-1", both), ("a", "a-2", f"{stays}:1:bb"), ("a", "a-3", ""), ("b", "b-1", f"{goes}:1:!")]
    assert settings_left(work_of({}, groups, rows), before) == {"a": ["a-1"], "b": ["b-1"]}
    assert settings_left(work_of({}, groups, rows), None) == {}


def test_clients_that_moved_leave_the_files_that_only_their_former_group_has() -> None:
    file, other = setting_id("/etc/file"), setting_id("/etc/other")
    before = Before(settings={"a": frozenset({file, other}), "gone": frozenset({file})})
    groups = {
        "a": SimpleNamespace(settings=[SimpleNamespace(path="/etc/file"), SimpleNamespace(path="/etc/other")]),
        "b": SimpleNamespace(settings=[SimpleNamespace(path="/etc/other")]),
    }
    has = f"{file}:1:aa {other}:1:bb"
    rows = [("a", "a-1", has), ("b", "b-1", has), ("b", "was-a", has), ("b", "was-gone", has), ("b", "bare", "")]
    moved = {"b": {"was-a": "a", "was-gone": "gone", "bare": "a"}}
    assert settings_left(work_of({}, groups, rows, moved), before) == {"b": ["was-a", "was-gone"]}


# --- the fleet --------------------------------------------------------------------------------------------------------


@pytest.fixture
def roll(state_url: str) -> Iterator[Roll]:
    with State.open(state_url, clock=lambda: NOW) as state:
        yield Roll(state)


def call(roll: Roll, *, asked: bool = True, **groups: str) -> None:
    """List a fleet: groups and the names of their clients; `?` is a group that can't be listed."""
    listed = {group: [Client(name, group) for name in names.split()] for group, names in groups.items() if names != "?"}
    roll.call(list(groups), listed, {}, asked=asked)


def test_who_came_left_and_moved_is_told_by_group(roll: Roll) -> None:
    call(roll, office="pc-1 pc-2 pc-3 pc-4", branch="b-1", lab="l-1 l-2", far="f-1")
    assert roll.moves() == []
    roll.take_in()
    assert roll.moves() == []
    call(roll, office="pc-1 new-1 b-1", branch="pc-2", dmz="d-1 d-2 d-3 d-4", far="?", empty="")
    assert roll.moves(["empty"]) == [
        FleetMove("group_new", "dmz", "", 4, ("d-1", "d-2", "d-3")),
        FleetMove("group_gone", "lab", "", 2, ("l-1", "l-2")),
        FleetMove("clients_new", "office", "", 1, ("new-1",)),
        FleetMove("clients_gone", "office", "", 2, ("pc-3", "pc-4")),
        FleetMove("clients_moved", "office", "branch", 1, ("b-1",)),
        FleetMove("clients_moved", "branch", "office", 1, ("pc-2",)),
    ]
    assert roll.gone() == ["l-1", "l-2", "pc-3", "pc-4"]
    assert roll.moved() == {"office": {"b-1": "branch"}, "branch": {"pc-2": "office"}}
    roll.take_in()
    call(roll, office="pc-1 new-1 b-1", branch="pc-2", dmz="d-1 d-2 d-3 d-4", far="?", empty="")
    assert roll.moves(["empty"]) == []


def test_a_fleet_that_was_not_asked_for_says_nothing_of_who_left(roll: Roll) -> None:
    call(roll, office="pc-1 pc-2")
    roll.take_in()
    call(roll, asked=False, office="pc-1")
    assert (roll.moves(), roll.gone()) == ([], [])


# --- what people read -------------------------------------------------------------------------------------------------


def test_a_plan_says_what_stays_on_clients_unmanaged_and_what_one_can_do() -> None:
    entries = (ENGINE, replace(ENGINE, group="office", clients=2, names=("o-1", "o-2")))
    earlier = Leaving("", "office", "settings", 2, ("o-1", "o-2"), now=False)
    text = shown(leaving=(*entries, earlier))
    assert part(text, "Not managed any more") == [
        "- engine stays on 8 clients branch, office the spec doesn't list it any more"
    ]
    assert part(text, "Not managed") == [
        "= files of settings stay on 2 clients office the group's settings don't have them",
        "It is left as it is: list it again to keep it current, or take it off the clients.",
    ]
    table = shown("markdown", leaving=(*entries, earlier))
    assert "| engine stays on | 8 clients | branch, office | the spec doesn't list it any more |" in table


def test_components_that_leave_in_the_same_way_share_a_row() -> None:
    many = tuple(replace(ENGINE, component=f"c{at}", clients=at + 1, names=("pc-1",)) for at in range(13))
    names = ", ".join(sorted(entry.component for entry in many))
    assert part(shown(leaving=many), "Not managed any more")[:2] == [
        "- 13 components stay on up to 13 clients branch the spec doesn't list it any more",
        names,
    ]
    assert "c12 stay on | up to 13 clients | branch |" in shown("markdown", leaving=many)


def test_a_plan_says_who_comes_and_goes_with_three_names() -> None:
    moves = (
        FleetMove("group_new", "dmz", "", 12, ("d-1", "d-2", "d-3")),
        FleetMove("clients_gone", "office", "", 1, ("pc-9",)),
        FleetMove("clients_moved", "office", "branch", 2, ("b-1", "b-2")),
    )
    text = shown(fleet_moves=moves, gone=("pc-9",))
    assert part(text, "Clients that come and go") == [
        "+ group dmz is new 12 clients d-1, d-2, d-3 and 9 more",
        "~ from branch to office 2 clients b-1, b-2",
        "- gone from office 1 client pc-9",
        "What is gone keeps what it has, unmanaged.",
    ]
    assert "| gone from office | 1 client | pc-9 |" in shown("markdown", fleet_moves=moves, gone=("pc-9",))


def test_many_groups_that_come_share_a_row() -> None:
    moves = tuple(FleetMove("group_new", f"g{at:02}", "", 10, ("a", "b", "c")) for at in range(40))
    assert part(shown(fleet_moves=moves), "Clients that come and go") == [
        "+ 40 groups are new 400 clients g00, g01, g02 and 37 more"
    ]


def test_what_changed_in_the_spec_is_not_said_twice_unless_it_is_gone() -> None:
    moves = (
        FleetMove("group_new", "dmz", "", 1, ("d-1",)),
        FleetMove("clients_gone", "office", "", 1, ("pc-9",)),
    )
    changes = (
        SpecChange("groups.dmz", "added", "group dmz is new: 1 client (d-1)"),
        SpecChange("groups.office.clients", "removed", "group office: 1 client (pc-9) gone"),
    )
    assert part(shown(fleet_moves=moves, gone=("pc-9",), spec_changes=changes), "Clients that come and go") == [
        "- gone from office 1 client pc-9",
        "What is gone keeps what it has, unmanaged.",
    ]


def test_all_who_are_gone_are_named_when_all_is_asked_for_also_where_nobody_says_from_which_group() -> None:
    gone = tuple(f"pc-{at}" for at in range(12))
    assert part(shown(gone=gone), "Clients that come and go")[0] == (
        "- gone from the inventory 12 clients pc-0, pc-1, pc-2 and 9 more"
    )
    for form in ("text", "markdown"):
        assert all(name in shown(form, names=True, gone=gone) for name in gone)


def test_hostile_names_of_clients_that_come_and_go_are_no_markup() -> None:
    name = "x\x1b[2J\n| `a` <script> @everyone"
    moves = (FleetMove("clients_new", name, "", 1, (name,)),)
    assert "\x1b" not in shown(fleet_moves=moves, gone=(name,), names=True)
    text = shown("markdown", fleet_moves=moves, gone=(name,), names=True)
    assert "<script>" not in text
    assert "@everyone" not in text


def test_a_plan_fits_its_schema_and_comes_back_with_what_leaves() -> None:
    moves = (FleetMove("clients_moved", "office", "branch", 2, ("b-1", "b-2")),)
    plan = replace(PLAIN, leaving=(ENGINE, replace(ENGINE, component="")), leaving_clients=6, fleet_moves=moves)
    document = plan_document(plan)
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(document)
    assert read_plan(json.loads(json.dumps(document))) == plan
    assert not {"leaving", "leaving_clients", "fleet_moves"} & plan_document(PLAIN).keys()


def test_a_policy_refuses_what_leaves_with_this_plan_and_not_what_left_before() -> None:
    document = plan_document(replace(PLAIN, leaving=(ENGINE,), leaving_clients=6, gone=("pc-9",)))
    assert breaches(parse_policy("removed>50%,removed>7"), document) == ["removed>50%: 7 clients of 9 (77.78 %)"]
    earlier = plan_document(replace(PLAIN, leaving=(replace(ENGINE, now=False),)))
    assert breaches(parse_policy("removed"), earlier) == []
