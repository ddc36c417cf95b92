"""Clients listed from what the state remembers: what each has, what is in its way, and page by page."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from reconciler.errors import UsageError
from reconciler.model.client import Client, Profile
from reconciler.model.spec import Hold, InventorySpec, PluginConfig
from reconciler.observe.listing import Query, list_page
from reconciler.present.listing_form import listing_document
from reconciler.present.listing_text import clients_markdown, clients_rows, clients_text
from reconciler.storage.observations import Observation
from reconciler.storage.state import State
from tests.fakes import NOW
from tests.postgres import BOTH
from tests.unit.test_documents import schema
from tests.unit.workbench import COMPONENT, Bench, Opened

BENCHES_ON = BOTH


def listing(bench: Bench, where: str = "", limit: str = "", **more: Any) -> Any:
    with bench.work() as work:
        document = listing_document(list_page(work, Query(limit, where, **more)))
    Draft202012Validator(schema("clients")).validate(document)
    return document


def states(bench: Bench, where: str = "", limit: str = "") -> dict[str, str]:
    return {client["name"]: client["state"] for client in listing(bench, where, limit)["clients"]}


@pytest.fixture
def bench(opened: Opened) -> Bench:
    return opened({"g": 3, "h": 2})


def test_clients_count_as_in_a_status_and_nobody_is_contacted(bench: Bench) -> None:
    bench.release("2")
    bench.plan()
    for machine in bench.machines.values():
        machine.calls.clear()
    bench.apply(limit="g-0")
    assert states(bench) == {
        "g-0": "updated",
        "g-1": "outdated",
        "g-2": "outdated",
        "h-0": "outdated",
        "h-1": "outdated",
    }
    assert states(bench, "state=updated") == {"g-0": "updated"}
    assert set(states(bench, "component=rules version<2 group=h")) == {"h-0", "h-1"}
    assert [machine.calls["facts"] for name, machine in bench.machines.items() if name != "g-0"] == [0] * 4


def test_what_is_in_the_way_of_a_client_comes_before_what_it_lacks(bench: Bench) -> None:
    bench.release("2")
    bench.machines["g-1"].unreachable = True
    bench.plan()
    bench.spec = replace(bench.spec, holds=(Hold("h-0", "moving house"),))
    document = listing(bench)
    found = {client["name"]: (client["state"], client["why"]) for client in document["clients"]}
    assert found["h-0"] == ("held", "hold: moving house")
    assert found["g-1"][0] == "unreachable"
    assert found["g-1"][1].startswith("no connection: ")
    assert found["g-0"] == ("outdated", None)
    (silent,) = listing(bench, "state=unreachable")["clients"]
    assert silent["failing_since"] == "2026-11-24T12:00:00Z"
    assert [(one["version"], one["state"]) for one in silent["components"]] == [("1", "unknown")]
    assert set(states(bench, 'error~"no connection"')) == {"g-1"}


def test_a_client_that_failed_says_what_it_said_last(bench: Bench) -> None:
    bench.release("2")
    bench.machines["g-0"].broken = {COMPONENT}
    bench.apply(limit="g-0")
    (failed,) = listing(bench, "state=failed error~TARGET")["clients"]
    assert failed["name"] == "g-0"
    assert failed["why"] == "a target can't be written"
    bench.machines["g-0"].broken = set()
    bench.release("3")
    bench.apply(limit="g-0")
    assert states(bench, "state=failed") == {}


def test_a_limit_shows_whom_a_pattern_takes_and_refuses_one_that_takes_nobody(bench: Bench) -> None:
    assert set(states(bench, limit="group=g:!g-1")) == {"g-0", "g-2"}
    with pytest.raises(UsageError, match="takes no client"):
        listing(bench, limit="g-9")


def test_a_bad_condition_is_bad_usage(bench: Bench) -> None:
    with pytest.raises(UsageError, match="--where: at character 1: there is no field"):
        listing(bench, "stat=x")


def test_pages_follow_one_another_without_a_gap_and_say_which_is_the_last(bench: Bench) -> None:
    first = listing(bench, size=2)
    second = listing(bench, size=2, after=first["next"])
    last = listing(bench, size=2, after=second["next"])
    names = [client["name"] for part in (first, second, last) for client in part["clients"]]
    assert names == ["g-0", "g-1", "g-2", "h-0", "h-1"]
    assert (first["next"], second["next"], last["next"]) == ("g-1", "h-0", None)
    assert "--after g-1" in clients_text(first)
    assert "--after" not in clients_text(last)


def test_clients_of_an_inventory_are_listed_from_the_state_among_those_of_the_file(bench: Bench) -> None:
    listed = InventorySpec(PluginConfig("inventory", "csv", {}))
    inside = replace(bench.spec.groups["h"], clients=(), inventory=listed)
    bench.spec = replace(bench.spec, groups={**bench.spec.groups, "h": inside})
    bench.state.sync_clients("h", [Client(name, "h", labels=("canary",)) for name in ("aa", "g-11", "h-0")])
    assert list(states(bench)) == ["aa", "g-0", "g-1", "g-11", "g-2", "h-0"]
    assert states(bench, limit="label=canary")["aa"] == "unknown"
    (never,) = listing(bench, "seen=never name=aa")["clients"]
    assert never["why"] == "not looked at yet"


def test_what_others_wrote_cannot_move_a_cursor_or_become_markup_or_a_formula(bench: Bench) -> None:
    bench.spec = replace(bench.spec, holds=(Hold("*", "=1+1 |<b>\x1b[2J"),))
    document = listing(bench)
    assert "\x1b" not in clients_text(document)
    assert "<b>" not in clients_markdown(document)
    rows = clients_rows(document)
    assert {len(row) for row in rows} == {len(rows[0])}
    assert len(rows) == 6


def test_a_quarantine_is_told_with_its_end(bench: Bench) -> None:
    with bench.state._write() as connection:
        connection.exec_driver_sql(f"UPDATE clients SET quarantined = {(NOW + timedelta(hours=3)).timestamp()}")
    (one,) = listing(bench, "state=quarantined", "g-0")["clients"]
    assert one["until"] == "2026-11-24T15:00:00Z"


@settings(max_examples=20)
@given(st.sets(st.text("abZ-.0é", min_size=1, max_size=5), max_size=30), st.integers(1, 7))
def test_the_state_gives_each_client_once_in_order_however_it_is_read(names: Any, first: int) -> None:
    with State.open("sqlite://", clock=lambda: NOW) as state:
        state.sync_clients("g", [Client(name, "g") for name in sorted(names)])
        state.record_observations(
            [Observation(client=name, profile=Profile(memory=len(name)), free=1, error="", at=NOW) for name in names]
        )
        assert [line.name for line in state.lines(["g"], first=first)] == sorted(names)
        for name in list(names)[:3]:
            assert [line.name for line in state.lines(["g"], name, first)] == sorted(x for x in names if x > name)
        assert len(state.profiles_of({line.fingerprint or "" for line in state.lines(["g"])})) == len(
            {len(name) for name in names}
        )
