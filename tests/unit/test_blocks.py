"""Clients by what their rows are alike in: the same clients as the rows, on both databases."""

import sqlite3
from collections import Counter
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from sqlalchemy import make_url

from reconciler.errors import StateError
from reconciler.model.client import Client, Profile
from reconciler.storage.blocks import blocks_of
from reconciler.storage.fleet import ClientRow
from reconciler.storage.roll import Roll
from reconciler.storage.state import Observation, State
from tests.fakes import NOW

GROUPS = ("berlin", "Lyon", "ånge", "z-last")
NAMES = [f"{first}-{number}" for number in range(40) for first in ("pc", "PC", "ß", "a.b")]


def rows_of(blocks: Any) -> list[ClientRow]:
    """Give a row for each client of some blocks."""
    return [
        ClientRow(name, group, *block.like)
        for block in blocks
        for group, names in block.names.items()
        for name in names
    ]


def told(row: ClientRow) -> tuple[Any, ...]:
    return tuple("" if cell is None else cell for cell in row)


def fill(state: State, random: Random) -> dict[str, list[Client]]:
    """Write a fleet in which clients differ in all that a row has; give it by group."""
    names = list(NAMES)
    random.shuffle(names)
    listed = {}
    for at, group in enumerate(GROUPS):
        mine = names[at * 40 : (at + 1) * 40]
        labels = [(), ("canary",), ("x", "ü")]
        listed[group] = [Client(name, group, labels=random.choice(labels)) for name in mine]
        ways = {name: random.choice(["via bridge", "unreachable: no way"]) for name in mine if random.random() < 0.2}
        state.sync_clients(group, listed[group], ways)
        profiles = [Profile(memory=size) for size in (1, 2, 3)]
        seen = [name for name in mine if random.random() < 0.8]
        state.record_observations(
            [
                Observation(
                    client=name,
                    profile=random.choice(profiles),
                    free=1,
                    error="",
                    at=NOW,
                    settings=random.choice([None, "f:v1:d"]),
                )
                for name in seen
            ]
        )
        state.record_observations(
            [
                Observation(client=name, profile=None, free=None, error="no connection: 1", at=NOW - timedelta(hours=2))
                for name in mine
                if random.random() < 0.2
            ]
        )
    return listed


@pytest.mark.parametrize("seed", range(3))
def test_blocks_have_the_clients_of_the_rows_each_once(state_url: str, seed: int) -> None:
    with State.open(state_url, clock=lambda: NOW) as state:
        fill(state, Random(seed))
        state.sync_clients(GROUPS[3], [])  # they left
        roll = Roll(state)
        roll.call(GROUPS[:2], {}, {}, asked=False)
        assert Counter(rows_of(roll.blocks())) == Counter(roll.rows())
        for block in roll.blocks():
            assert list(block.names) == sorted(block.names)
            assert all(list(names) == sorted(names) for names in block.names.values())


def test_clients_that_a_look_listed_stand_in_where_a_group_has_no_others(state_url: str) -> None:
    with State.open(state_url, clock=lambda: NOW) as state:
        state.sync_clients("berlin", [Client("pc-1", "berlin")])
        state.record_listing({"berlin": [Client("pc-2", "berlin")], "Lyon": [Client("pc-3", "Lyon")]}, {})
        roll = Roll(state)
        roll.call(GROUPS, {}, {}, asked=False)
        assert {row.name for row in rows_of(roll.blocks())} == {row.name for row in roll.rows()} == {"pc-1", "pc-3"}


def test_what_a_list_says_goes_before_what_is_remembered(state_url: str) -> None:
    with State.open(state_url, clock=lambda: NOW) as state:
        listed = fill(state, Random(7))
        roll = Roll(state)
        roll.call(GROUPS, {"berlin": [*listed["berlin"][3:], Client("new", "berlin")]}, {"new": "via b"}, asked=True)
        assert Counter(rows_of(roll.blocks())) == Counter(roll.rows())


def test_rows_in_any_order_make_the_same_blocks() -> None:
    rows = [ClientRow(name, "g", "[]", None, "", "direct", None, None, "") for name in ("b", "a", "c")]
    (block,) = blocks_of(rows)
    assert block.names == {"g": ["a", "b", "c"]}


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "damage",
    [
        "name = x'00'",
        "labels = x'41'",
        "error = x'41'",
        "fingerprint = x'41'",
        "failing_since = 'soon'",
        "quarantined = -1",
    ],
)
def test_cells_of_another_kind_are_damage_and_no_plan_is_made_of_them(state_url: str, damage: str) -> None:
    with State.open(state_url, clock=lambda: NOW) as state:
        state.sync_clients("g", [Client("pc-1", "g")])
    with sqlite3.connect(make_url(state_url).database or "") as file:
        file.execute(f"UPDATE clients SET {damage}")
    with State.open(state_url, clock=lambda: NOW) as state, pytest.raises(StateError):
        list(state.alike(["g"]))


def test_clients_are_streamed_in_the_order_of_their_names_with_what_a_list_says(state_url: str) -> None:
    with State.open(state_url, clock=lambda: NOW) as state:
        fill(state, Random(1))
        roll = Roll(state)
        roll.call(GROUPS, {"berlin": [Client(NAMES[5], "berlin", "192.0.2.1")]}, {}, asked=False)
        wanted = sorted(NAMES)[::2]
        found = [client for client, _has in roll.stream(["nobody", *wanted], at_once=7)]
    assert [client.name for client in found] == wanted
    assert {client.address for client in found if client.name == NAMES[5]} <= {"192.0.2.1"}
