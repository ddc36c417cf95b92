"""Many processes on one PostgreSQL: they open it, look at the same clients, and go on when it restarts."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import make_url, text

from reconciler.errors import StateError
from reconciler.model.batch import Batch, Look
from reconciler.model.batch import Target as Worked
from reconciler.model.client import Client
from reconciler.model.controller import Pause
from reconciler.model.report import JournalEntry
from reconciler.model.request import Request, Target
from reconciler.model.rollout import RolloutRecord
from reconciler.storage import postgres as dialect
from reconciler.storage.batches import BatchEntry
from reconciler.storage.database import open_engine
from reconciler.storage.migrations import MIGRATIONS, VERSION
from reconciler.storage.outcomes import Fared
from reconciler.storage.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine

    from tests.postgres import Postgres

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
FOR_EVER = 1e9
WISH = Request(at=NOW, who="ann", roles=("operator",), address="", kind="look", target=Target(), reason="", seen="")
RECORD = RolloutRecord(
    component="rules", version="2", group="", status="running", cuts=(), sizes=(), structure="", started=NOW, opened=NOW
)
BEGIN = (
    "import random, sys; from datetime import datetime, UTC\n"
    "from reconciler.model.client import Client, Installed, Profile\n"
    "from reconciler.storage.state import Observation, State\n"
    "NOW = datetime.now(UTC)\n"
    "def opened(): return State.open(sys.argv[1], clock=lambda: NOW)\n"
)
OPEN = BEGIN + "opened().close()\n"
LOOK = BEGIN + (
    "names = [f'c{n}' for n in range(500)]\n"
    "with opened() as state:\n"
    "    for turn in range(6):\n"
    "        random.shuffle(names)\n"
    "        state.sync_clients('g', [Client(name, 'g', address=str(random.random())) for name in names])\n"
    "        profile = Profile('linux-x86_64', (Installed('rules', str(turn), '0' * 64),))\n"
    "        looks = [Observation(client=name, profile=random.choice([profile, None]), free=1, error='e', at=NOW)\n"
    "                 for name in names]\n"
    "        for start in range(0, len(looks), 100):\n"
    "            state.record_observations(looks[start:start + 100])\n"
    "        state.prune_profiles()\n"
)


def at_once(program: str, url: str, count: int) -> list[str]:
    """Run processes that begin at once, and give what each complained of."""
    made = [
        subprocess.Popen([sys.executable, "-c", program, url], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for _each in range(count)
    ]
    return [process.communicate()[1] for process in made]


def open_state(url: str) -> State:
    return State.open(url, clock=lambda: NOW)


def test_a_new_database_is_made_by_one_of_those_that_begin_at_once_and_none_fails(postgres: Postgres) -> None:
    url = postgres.empty()
    assert at_once(OPEN, url, 8) == [""] * 8
    name = postgres.name_of(url)
    assert postgres.ask("SELECT version FROM schema_version", name) == [(VERSION,)]
    assert postgres.ask("SELECT count(*) FROM identity", name) == [(1,)]


def test_an_earlier_schema_is_brought_up_to_date_by_one_of_those_that_begin_at_once(postgres: Postgres) -> None:
    url = postgres.empty()
    with postgres.connected(postgres.name_of(url)) as connection:
        for statement in MIGRATIONS[1]:
            connection.execute(statement if isinstance(statement, str) else statement.of("postgresql"))
        connection.execute("INSERT INTO schema_version VALUES (1)")
        connection.execute("INSERT INTO identity VALUES (1, 'c0ffee', 7, 1, false, true)")
    assert at_once(OPEN, url, 8) == [""] * 8
    with open_state(url) as state:
        identity = state.identity()
    assert (identity.lineage, identity.epoch) == ("c0ffee", 7)


def test_plans_that_look_at_the_same_clients_in_any_order_neither_fail_nor_lose_a_profile(postgres_url: str) -> None:
    open_state(postgres_url).close()
    assert at_once(LOOK, postgres_url, 4) == [""] * 4
    with open_state(postgres_url) as state:
        known = state.profiles()
        assert {row.fingerprint for row in state.rows() if row.fingerprint} <= known.keys()


def entry(name: str) -> JournalEntry:
    return JournalEntry(client=name, group="g", component="c", outcome="changed", message="", at=NOW)


@pytest.mark.parametrize("mode", ["immediate", "fast"])
def test_a_server_that_restarts_between_and_within_transactions_costs_a_retry(
    postgres: Postgres, postgres_url: str, mode: str
) -> None:
    with open_state(postgres_url) as state, state.lock("apply"):
        assert state.raise_serial() == 1
        postgres.restart(mode)
        assert state.raise_serial() == 2
        restarts = [0]

        def two() -> int:
            state.journal("r", [entry("a")])
            if restarts[0] < 2:
                restarts[0] += 1
                postgres.restart(mode)
            state.journal("r", [entry("b")])
            return state.raise_serial()

        assert state.whole(two) == 3
        assert restarts == [2]
        assert [one.client for one in state.journal_of("r")] == ["a", "b"]
        postgres.restart(mode)
        assert state.identity().serial == 3


@contextmanager
def lost_in_commit(engine: Engine, *, before: bool) -> Iterator[list[str]]:
    """Have the first commit of the block lose its connection before it gets to the server, or after; gives all."""
    commit, commits = engine.dialect.do_commit, list[str]()

    def lose(connection: Any) -> None:
        commits.append("commit")
        if len(commits) == 1:
            if not before:
                commit(connection)
            connection.dbapi_connection.close()
        commit(connection)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(engine.dialect, "do_commit", lose)
        yield commits


@pytest.mark.parametrize("before", [True, False])
def test_a_transaction_whose_commit_got_no_answer_is_not_done_again(postgres_url: str, before: bool) -> None:
    with open_state(postgres_url) as state:
        with (
            lost_in_commit(state._engine, before=before) as done,
            pytest.raises(StateError, match="it may be that the last change was written down"),
        ):
            state.raise_serial()
        assert len(done) == 1
        assert state.identity().serial == (0 if before else 1)


@pytest.mark.parametrize("before", [True, False])
def test_who_failed_in_rollouts_is_remembered_where_the_commit_got_no_answer(postgres_url: str, before: bool) -> None:
    key = "rules", "2", ""
    with open_state(postgres_url) as state:
        state.record_fared([("b", Fared(key, "no room"))])
        with lost_in_commit(state._engine, before=before) as done:
            state.record_fared([("a", Fared(key, "no room")), ("b", Fared(key))])
        assert len(done) == 2
        assert state.rollout_failures() == {key: {"a": "no room"}}


@pytest.mark.parametrize("before", [True, False])
def test_batches_whose_commit_got_no_answer_are_written_down_once(postgres_url: str, before: bool) -> None:
    batch = Batch(id="1", run_id="r", group="g", task=Look(), targets=(Worked(client=Client("c1", "g")),))
    with open_state(postgres_url) as state:
        with lost_in_commit(state._engine, before=before) as done:
            state.record_batches([BatchEntry(batch=batch, site="lyon", lane="", lease_until=NOW)])
        assert len(done) == 2
        with lost_in_commit(state._engine, before=before):
            state.end_batches("r", ["1"])
        assert [(one.batch, one.status) for one in state.batches("r")] == [("1", "over")]


def test_two_that_wait_for_each_other_are_told_apart_and_both_get_through(
    postgres: Postgres, postgres_url: str
) -> None:
    with open_state(postgres_url) as state, postgres.connected(postgres.name_of(postgres_url)) as other:
        state.raise_serial()
        state.pause_controller(None)
        other.execute("SET deadlock_timeout = '1h'")  # so that it is the other one who is told
        tries = []

        def do() -> None:
            tries.append(1)
            state.raise_serial()
            if len(tries) == 1:
                other.execute("BEGIN")
                other.execute("UPDATE controller SET asked = 5")
                other.pgconn.send_query(b"UPDATE identity SET epoch = 9; COMMIT")
            state.ask_controller()

        state.whole(do)
        assert len(tries) == 2
        while other.pgconn.get_result() is not None:
            pass
        assert (state.identity().epoch, state.identity().serial, state.asked()) == (9, 2, 6)


def test_a_connection_has_a_name_and_limits_unless_the_url_says_otherwise(postgres_url: str) -> None:
    def session(url: str) -> list[str]:
        engine = open_engine(url)
        with engine.connect() as connection:
            names = ("application_name", "statement_timeout", "idle_in_transaction_session_timeout")
            found = [str(connection.scalar(text(f"SHOW {name}"))) for name in names]
        engine.dispose()
        return found

    assert session(postgres_url) == ["updoser", "5min", "40s"]
    own = f"{postgres_url}&application_name=mine&options=-c%20statement_timeout%3D7s"
    assert session(own) == ["mine", "7s", "40s"]


@pytest.mark.parametrize(
    ("url", "is_told"),
    [
        ("postgresql+psycopg://u@db.example/x", True),
        ("postgresql+psycopg://u@db.example/x?sslmode=require", True),
        ("postgresql+psycopg://u@db.example/x?sslmode=verify-full", False),
        ("postgresql+psycopg://u@/x?host=db.example", True),
        ("postgresql+psycopg://u@/x?host=/run/postgresql", False),
        ("postgresql+psycopg://u@127.0.0.1/x", False),
        ("postgresql+psycopg://u@[::1]/x", False),
        ("postgresql+psycopg://u@localhost/x", False),
        ("postgresql+psycopg:///x", False),
        ("sqlite:///x", False),
    ],
)
def test_a_way_to_another_machine_on_which_nobody_verifies_the_server_is_told(url: str, is_told: bool) -> None:
    assert bool(dialect.unverified(make_url(url))) == is_told


def test_a_plain_url_of_postgresql_speaks_as_updoser_does(postgres_url: str) -> None:
    engine = open_engine(postgres_url.replace("postgresql+psycopg", "postgresql"))
    assert engine.url.drivername == "postgresql+psycopg"
    engine.dispose()


def test_a_database_that_cannot_be_reached_is_an_error_with_its_place_and_without_its_password(
    postgres: Postgres,
) -> None:
    url = f"postgresql+psycopg://updoser@/none?host={postgres.folder}"
    with pytest.raises(StateError, match="none") as caught:
        State.open(url, clock=lambda: NOW, password="s3cret")
    assert "s3cret" not in str(caught.value)


def test_who_waits_hears_at_once_what_others_do_and_not_itself(postgres: Postgres, postgres_url: str) -> None:
    doing: list[Callable[[State], object]] = [
        State.ask_controller,
        lambda state: state.pause_controller(Pause(who="ann", reason="freeze", since=NOW, until=None)),
        lambda state: state.pause_controller(None),
        lambda state: state.ask(WISH),
        lambda state: state.record_rollout(RECORD),
    ]
    stop = Event()
    with open_state(postgres_url) as waiting, open_state(postgres_url) as other:
        waiting.await_news(stop, 0.01)  # it listens from now on
        for do in doing:
            do(waiting)
            do(other)
            assert not waiting.await_news(stop, FOR_EVER)
            waiting.ask_controller()
            assert not waiting._ear.heard()
        other.raise_serial()  # what nobody waits for
        assert not waiting._ear.heard()
        postgres.restart()
        assert not waiting.await_news(stop, FOR_EVER)  # it listens again, and may have missed something
        other.ask_controller()
        assert not waiting.await_news(stop, FOR_EVER)
        stop.set()
        assert waiting.await_news(stop, FOR_EVER)
