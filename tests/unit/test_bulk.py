"""Many clients at once: as many as a fleet has, with any text, on both databases, and by several commands at a time."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from threading import Barrier
from typing import Any

import pytest

from reconciler.errors import StateError
from reconciler.model.client import Client, Installed, Profile
from reconciler.model.report import JournalEntry
from reconciler.storage import bulk
from reconciler.storage.observations import Observation
from reconciler.storage.state import State
from tests.fakes import NOW

MANY = 70_000
ODD = ["", "plain", 'a "quoted" one', "back\\slash", "{a,b}", "NULL", "tab\tand\nline", "\\N", "ö \U0001f600", "'; --"]
PROFILE = Profile("linux-x86_64", (Installed("pattern", "1", "0" * 64),))


def listed(count: int) -> list[Client]:
    return [Client(name=f"client-{number:06}", group="all") for number in range(count)]


def look(client: str, **fields: Any) -> Observation:
    return Observation(**{"client": client, "profile": PROFILE, "free": 1, "error": "", "at": NOW, **fields})


def test_a_whole_fleet_is_asked_for_by_name(any_state: State) -> None:
    fleet = listed(MANY)
    names = [client.name for client in fleet]
    any_state.sync_clients("all", fleet[:5])
    assert [client.name for client, _has in any_state.named(names)] == names[:5]
    assert set(any_state.lines_of(names)) == set(names[:5])
    assert any_state.among(["all", "none"], names) == set(names[:5])
    assert any_state.doubles(names) == []
    assert any_state.profiles_of(names) == {}
    assert any_state.last_failures(names) == {}
    assert any_state.sync_groups(["all", *names]) == []
    assert any_state.sync_groups(names) == names[:5]


def test_more_clients_than_one_statement_takes_are_listed_seen_and_let_go(
    any_state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "AT_ONCE", 100)
    fleet = listed(201)
    any_state.sync_clients("all", fleet)
    any_state.record_observations([look(client.name, free=number) for number, client in enumerate(fleet)])
    assert any_state.clients() == fleet
    assert all(row.fingerprint == PROFILE.fingerprint for row in any_state.rows())
    assert sum(1 for _row in any_state.rows(["all"])) == len(fleet)
    assert len(any_state.seen()) == len(any_state.members()) == len(fleet)
    assert any_state.sync_clients("all", []) == [client.name for client in fleet]


@pytest.mark.parametrize("text", ODD)
def test_any_text_is_kept_as_it_is(any_state: State, text: str) -> None:
    names = [f"a{text}".replace("\n", ""), "b", "c"]
    any_state.sync_clients(text, [Client(name=name, group=text) for name in names])
    bad = [look(name, profile=None, free=None, error=f"failed: {text}") for name in names[:2]]
    any_state.record_observations([*bad, look("c", settings=text, machine=text)])
    rows = {row.name: row for row in any_state.rows([text])}
    assert [rows[name].error for name in names] == [f"failed: {text}"] * 2 + [""]
    assert rows["c"].settings == text
    assert {row.group for row in rows.values()} == {text}


def test_what_a_look_doesnt_know_stays_as_it_was(any_state: State) -> None:
    any_state.sync_clients("all", listed(2))
    one, two = (client.name for client in listed(2))
    any_state.record_observations([look(one, free=7, settings="s", machine="m"), look(two, free=8)])
    any_state.record_observations([look(one, free=None), look(two, profile=None, free=None, error="timeout: late")])
    seen = any_state.seen()
    assert seen[one].settings == "s"
    assert seen[two].fingerprint == PROFILE.fingerprint
    assert seen[two].error == "timeout: late"
    assert [any_state.client_in_full(name).free for name in (one, two)] == [7, 8]


def test_of_two_looks_at_a_client_the_later_counts(any_state: State) -> None:
    any_state.sync_clients("all", listed(1))
    name, later = "client-000000", NOW + timedelta(minutes=1)
    away = look(name, profile=None, free=None, error="timeout: late")
    any_state.record_observations([look(name), away, look(name, at=later), replace(away, at=later)])
    assert any_state.seen()[name].error == "timeout: late"
    assert any_state.seen()[name].failing_since == later.timestamp()
    any_state.record_observations([away, look(name)])
    assert any_state.seen()[name].error == ""


def test_many_who_write_the_same_clients_in_any_order_dont_stop_each_other(state_url: str) -> None:
    fleet, barrier = listed(300), Barrier(4)
    with State.open(state_url, clock=lambda: NOW) as state:
        state.sync_clients("all", fleet)

    def work(seed: int) -> None:
        draw = Random(seed)
        with State.open(state_url, clock=lambda: NOW) as mine:
            barrier.wait()
            for _round in range(4):
                some = draw.sample(fleet, len(fleet))
                groups = [f"group-{draw.randrange(9)}" for _client in some]
                mine.record_listing({"all": some}, {client.name: "direct" for client in some})
                mine.sync_clients(
                    "all", [replace(client, labels=(label,)) for client, label in zip(some, groups, strict=True)]
                )
                mine.record_observations([look(client.name) for client in some])
                mine.prune_profiles()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    with State.open(state_url, clock=lambda: NOW) as state:
        assert {seen.fingerprint for seen in state.seen().values()} == {PROFILE.fingerprint}
        assert set(state.profiles()) == {PROFILE.fingerprint}


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_driver_that_is_asked_directly_fails_as_the_state_does(url_of: Callable[[Path], str], tmp_path: Path) -> None:
    with State.open(url_of(tmp_path), clock=lambda: NOW) as state:
        with state._engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE clients")
        with pytest.raises(StateError, match="clients"):
            list(state.rows())


def test_what_no_database_keeps_is_replaced_in_many_rows_as_well(any_state: State) -> None:
    fleet = listed(3)
    any_state.sync_clients("all", fleet)
    any_state.record_observations(
        [look(one.name, profile=None, free=None, error="bad: \0 \ud800 \\u0000") for one in fleet]
    )
    assert {row.error for row in any_state.rows()} == {"bad: \ufffd \ufffd \\u0000"}
    any_state.journal("r", [JournalEntry(client=one.name, outcome="failed", message="\0", at=NOW) for one in fleet])
    assert {entry.message for entry in any_state.journal_of("r")} == {"\ufffd"}
