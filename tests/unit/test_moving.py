"""A state is backed up, restored and moved whole, on any database, and never can two be used that are one."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, insert, select

from reconciler.errors import LockHeldError, StateError
from reconciler.model.client import Client, Installed, Profile
from reconciler.model.report import JournalEntry
from reconciler.storage import bulk, moving
from reconciler.storage.cells import Boolean, Float, Integer, String
from reconciler.storage.moving import LEFT_BEHIND, Place, back_up, move, restore
from reconciler.storage.observations import Observation
from reconciler.storage.scratch import copied_file, scratch_state
from reconciler.storage.state import State
from reconciler.storage.tables import IDENTITY, LEASE, METADATA
from tests.fakes import NOW

PROFILE = Profile("linux-x86_64", (Installed("pattern", "1", "0" * 64),))
Urls = Callable[[Path], str]


@pytest.fixture
def places(tmp_path: Path, url_of: Urls, database: str) -> tuple[Place, Place]:
    """Give two places: a file, and one on the database of the test."""
    del database
    (tmp_path / "other").mkdir()
    return Place(f"sqlite:///{tmp_path}/one.db"), Place(url_of(tmp_path / "other"))


@pytest.fixture(params=["there", "back"])
def way(request: pytest.FixtureRequest, places: tuple[Place, Place]) -> tuple[Place, Place]:
    """Give from where to where."""
    return places if request.param == "there" else (places[1], places[0])


def opened(place: Place) -> State:
    return State.open(place.url, clock=lambda: NOW)


def fill(place: Place) -> None:
    """Put some of all into a state."""
    with opened(place) as state:
        state.raise_serial()
        state.settings_key()
        state.sync_clients("all", [Client(name=f'c"\\{number}', group="all", labels=("ö",)) for number in range(30)])
        seen = Observation(client='c"\\1', profile=PROFILE, free=2**40, error="", at=NOW, settings="[]")
        state.record_observations([seen])
        state.begin_run("r-1", "p-1", "apply", NOW)
        state.journal("r-1", [JournalEntry(client='c"\\1', outcome="changed", message="tab\t\\N", at=NOW)] * 3)
        state.record_plan("p-1", "digest", 1, NOW)


def contents(place: Place) -> dict[str, list[Any]]:
    """Give all rows, by table, in one order."""
    with moving._opened(place) as engine, engine.connect() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(select(table))))
            for table in METADATA.sorted_tables
            if table not in (*LEFT_BEHIND, IDENTITY, LEASE)
        }


def test_a_state_is_the_same_at_its_new_place_and_goes_on_there(way: tuple[Place, Place]) -> None:
    old, new = way
    fill(old)
    with opened(old) as state:
        identity, key = state.identity(), state.settings_key()
    before = contents(old)
    brought = move(old, new)
    assert brought.rows["clients"] == 30
    assert contents(new) == before
    with opened(new) as state:
        assert state.identity() == identity
        assert state.settings_key() == key
        state.journal("r-1", [JournalEntry(outcome="remark", at=NOW)])
        assert len(state.journal_of("r-1")) == 4
        with state.lock("apply"):
            assert state.raise_serial() == identity.serial + 1


def test_what_was_moved_refuses_to_be_used(way: tuple[Place, Place]) -> None:
    old, new = way
    fill(old)
    with opened(old) as early:
        move(old, new)
        for begin in (lambda: early.lock("apply").__enter__(), early.take_lease):
            with pytest.raises(StateError, match="was moved to"):
                begin()
    for use in (
        lambda: opened(old),
        lambda: State.open_shared(old.url, clock=lambda: NOW),
        lambda: move(old, Place("sqlite:////nonexistent/x.db")),
    ):
        with pytest.raises(StateError):
            use()


def test_a_move_that_broke_off_leaves_at_most_one_and_is_ended_by_the_same_command(
    way: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = way
    fill(old)
    before = contents(old)

    def die(*_given: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(moving, "update", die)  # the new place has all, and the old one isn't marked
        with pytest.raises(KeyboardInterrupt):
            move(old, new)
    opened(old).close()
    with pytest.raises(StateError, match="isn't complete"):
        opened(new)
    with monkeypatch.context() as patched:
        patched.setattr(moving, "_arrive", die)  # both are marked
        with pytest.raises(KeyboardInterrupt):
            move(old, new)
    for place in way:
        with pytest.raises(StateError):
            opened(place)
    for _time in range(2):
        assert move(old, new).rows["clients"] == 30
        assert contents(new) == before
        opened(new).close()


def test_a_move_never_takes_the_place_of_another_state_unasked(way: tuple[Place, Place]) -> None:
    for place in way:
        fill(place)
    with pytest.raises(StateError, match="isn't empty"):
        move(*way)
    for place in way:
        opened(place).close()
    assert move(*way, force=True).rows["clients"] == 30


def test_a_state_in_use_isnt_moved_nor_replaced(way: tuple[Place, Place], tmp_path: Path) -> None:
    old, new = way
    fill(old)
    file = tmp_path / "backup"
    back_up(old, file)
    with opened(old) as state, state.lock("apply"):
        with pytest.raises(LockHeldError, match="updoser apply"):
            move(old, new)
        with copied_file(file) as copy, pytest.raises(LockHeldError):
            restore(copy, old, force=True)
    with opened(old) as state:
        assert state.take_lease() is not None
        with pytest.raises(LockHeldError, match="controller"):
            move(old, new)


def test_a_backup_is_one_file_and_becomes_a_state_of_a_later_epoch(way: tuple[Place, Place], tmp_path: Path) -> None:
    old, new = way
    fill(old)
    file = tmp_path / "backup"
    with opened(old) as state, state.lock("apply"):  # a run goes on
        brought = back_up(old, file)
        identity = state.identity()
    assert brought.rows["clients"] == 30
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("backup")] == ["backup"]
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(StateError, match="is a backup"):
        opened(Place(f"sqlite:///{file}"))
    with copied_file(file) as copy:
        assert restore(copy, new).epoch == identity.epoch + 1
    assert contents(new) == contents(old)
    with opened(new) as state:
        assert state.identity() == replace(identity, epoch=identity.epoch + 1)
    with copied_file(file) as copy, pytest.raises(StateError, match="isn't empty"):
        restore(copy, new)
    with copied_file(file) as copy:
        assert restore(copy, new, force=True).epoch == identity.epoch + 2


def test_a_backup_takes_the_place_of_nothing(tmp_path: Path) -> None:
    here, file = Place(f"sqlite:///{tmp_path}/state.db"), tmp_path / "backup"
    file.write_text("mine")
    fill(here)
    with pytest.raises(StateError, match="is there already"):
        back_up(here, file)
    assert file.read_text() == "mine"
    with pytest.raises(StateError, match="no state"):
        back_up(Place(f"sqlite:///{tmp_path}/none.db"), tmp_path / "other")
    assert not (tmp_path / "none.db").exists()
    assert not (tmp_path / "other").exists()


def test_what_isnt_what_was_read_is_never_called_done(
    way: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = way
    fill(old)
    real = bulk.insert_rows

    def lossy(connection: Connection, table: Any, columns: Any, rows: Any) -> None:
        real(connection, table, columns, list(rows)[1:])

    monkeypatch.setattr(moving, "insert_rows", lossy)
    with pytest.raises(StateError, match=r"\d+ rows were written"):
        move(old, new)
    monkeypatch.undo()
    opened(old).close()
    with opened(new) as state:
        assert state.members() == []


def test_texts_that_only_a_file_can_hold_are_moved_as_all_can(tmp_path: Path, postgres_url: str) -> None:
    here = Place(f"sqlite:///{tmp_path}/state.db")
    fill(here)
    with closing(sqlite3.connect(tmp_path / "state.db")) as file:
        file.execute("UPDATE journal SET message = 'a' || char(0) || 'b'")
        file.commit()
    move(here, Place(postgres_url))
    with State.open(postgres_url, clock=lambda: NOW) as state:
        assert {entry.message for entry in state.journal_of("r-1")} == {"a\ufffdb"}


def test_a_look_with_a_copy_knows_what_the_server_does_and_writes_nothing_there(postgres_url: str) -> None:
    fill(Place(postgres_url))
    before = contents(Place(postgres_url))
    with scratch_state(postgres_url, lambda: NOW) as copy:
        assert len(copy.members()) == 30
        assert set(copy.profiles()) == {PROFILE.fingerprint}
        copy.record_plan("p-2", "digest", 0, NOW)
    assert contents(Place(postgres_url)) == before


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


def values(column: Any) -> st.SearchStrategy[Any]:
    """Give what a column may hold."""
    kinds: dict[type, st.SearchStrategy[Any]] = {
        Boolean: st.booleans(),
        Float: st.floats(0, 2e9),
        Integer: st.integers(0, 2**31 - 1),
    }
    found = kinds.get(type(column.type), TEXTS if isinstance(column.type, String) else st.integers(0, 2**40))
    if isinstance(column.type, String) and not kinds.get(type(column.type)):
        found = TEXTS
    return st.none() | found if column.nullable else found


ROWS = st.fixed_dictionaries(
    {
        table.name: st.lists(
            st.fixed_dictionaries({column.name: values(column) for column in table.columns}),
            max_size=4,
            unique_by=lambda row, keys=tuple(column.name for column in table.primary_key): tuple(map(row.get, keys)),  # type: ignore[misc]
        )
        for table in METADATA.sorted_tables
        if table not in (*LEFT_BEHIND, IDENTITY, LEASE)
    }
)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=ROWS)
def test_any_state_comes_back_from_a_server_as_it_went_there(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: str, rows: dict[str, list[dict[str, Any]]]
) -> None:
    folder = tmp_path_factory.mktemp("state")
    here, there, back = Place(f"sqlite:///{folder}/a.db"), Place(postgres_url), Place(f"sqlite:///{folder}/b.db")
    opened(here).close()
    with moving._opened(here) as engine, engine.begin() as connection:
        for table in METADATA.sorted_tables:
            for row in rows.get(table.name, ()):
                connection.execute(insert(table).prefix_with("OR IGNORE").values(row))
    before = contents(here)
    move(here, there, force=True)
    assert contents(there) == before
    move(there, back)
    assert contents(back) == before
