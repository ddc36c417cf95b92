"""The state: what is remembered between two commands, who may change it, and what happens when it can't be read."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, text

from reconciler.errors import LockHeldError, StateError
from reconciler.model.client import Client, Installed, Profile
from reconciler.model.offer import SourceReport, Unfetched
from reconciler.model.report import JournalEntry
from reconciler.model.rollout import RolloutRecord
from reconciler.storage.cells import clean
from reconciler.storage.state import Observation, State
from tests.fakes import make_release

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
NORMAL, FULL = 1, 2
"""What SQLite calls it when a commit may be lost with the power, and when it may not."""
ROOT = Path(__file__).parents[2]


def open_state(url: str, **options: Any) -> Any:
    return State.open(url, clock=lambda: NOW, **options)


@pytest.fixture
def state(state_url: str) -> Iterator[Any]:
    with open_state(state_url) as opened:
        yield opened


def client(name: str, group: str = "g", **fields: Any) -> Any:
    return Client(name, group, **fields)


def profile(version: str) -> Any:
    return Profile(platform="linux-x86_64", installed=(Installed("rules", version, "0" * 64),))


def seen(name: str, version: str = "1", **fields: Any) -> Any:
    return Observation(client=name, profile=profile(version), free=100, error="", at=fields.get("at", NOW))


def names(state: Any) -> Any:
    return [row[0] for row in state.rows()]


# --- who it is ------------------------------------------------------------------------------------------------------


def test_a_new_state_has_an_identity_that_stays(state_url: str) -> None:
    with open_state(state_url) as state:
        first = state.identity()
        assert (first.epoch, first.serial, first.frozen) == (1, 0, False)
        assert state.is_new()
    with open_state(state_url) as state:
        assert state.identity() == first


def test_the_file_of_a_new_state_is_for_its_owner_only(tmp_path: Path) -> None:
    open_state(f"sqlite:///{tmp_path}/state.db").close()
    assert (tmp_path / "state.db").stat().st_mode & 0o077 == 0


def test_applying_counts_and_adopting_freezes_until_it_is_confirmed(state: Any) -> None:
    assert state.raise_serial() == 1
    assert not state.is_new()
    state.adopt("other", 7)
    assert (state.identity().lineage, state.identity().epoch, state.identity().frozen) == ("other", 7, True)
    state.confirm_adopted()
    assert not state.identity().frozen


def test_what_is_written_together_stays_as_a_whole_or_not_at_all(state_url: str, state: Any) -> None:
    def fails() -> None:
        with state.together():
            state.adopt("other", 7)
            with state.together():
                state.confirm_adopted()
            assert state.identity().lineage == "other"
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert (state.identity().lineage == "other", state.is_new()) == (False, True)
    with state.together():
        state.adopt("other", 7)
    with open_state(state_url) as again:
        assert again.identity().lineage == "other"


# --- the fleet ------------------------------------------------------------------------------------------------------


def test_clients_come_back_as_they_were_listed(state: Any) -> None:
    listed = [client("b", address="192.0.2.1", port=2222, user="u", labels=("x",), install_root="/r", vars={"k": "v"})]
    listed.append(client("a"))
    assert state.sync_clients("g", listed) == []
    assert state.clients() == sorted(listed, key=lambda entry: entry.name)
    assert state.known_count("g") == 2


def test_a_client_that_leaves_is_gone_once_and_may_come_back(state: Any) -> None:
    state.sync_clients("g", [client("a"), client("b")])
    state.record_observations([seen("a"), seen("b")])
    assert state.sync_clients("g", [client("a")]) == ["b"]
    assert state.sync_clients("g", [client("a")]) == []
    assert names(state) == ["a"]
    assert state.sync_clients("g", [client("a"), client("b")]) == []
    assert names(state) == ["a", "b"]
    assert state.sync_groups(["other"]) == ["a", "b"]
    assert state.sync_groups(["other"]) == []


def test_a_client_that_moves_to_another_group_is_in_that_one_only(state: Any) -> None:
    state.sync_clients("g", [client("a")])
    state.sync_clients("h", [client("a", "h")])
    assert state.sync_clients("g", []) == []
    assert [row[:2] for row in state.rows()] == [("a", "h")]


def test_a_failed_look_keeps_the_profile_and_says_why(state: Any) -> None:
    state.sync_clients("g", [client("a")])
    state.record_observations([seen("a")])
    state.record_observations(
        [Observation(client="a", profile=None, free=None, error="no connection: refused", at=NOW)]
    )
    (row,) = state.rows()
    assert row[3:6] == (profile("1").fingerprint, "no connection: refused", "direct")
    state.record_observations([seen("a", "2")])
    assert next(iter(state.rows()))[4] == ""
    assert set(state.profiles()) == {profile("2").fingerprint}
    assert state.profiles()[profile("2").fingerprint] == profile("2")
    assert state.last_observed() == NOW


def failing_since(state: Any) -> Any:
    return {row[0]: row[6] for row in state.rows()}


def test_a_client_fails_since_the_first_look_that_failed_and_until_one_goes_well(state: Any) -> None:
    state.sync_clients("g", [client("a"), client("b")])
    state.record_observations([seen("a"), seen("b")])
    assert failing_since(state) == {"a": None, "b": None}
    first = NOW + timedelta(hours=1)
    for hours, error in ((1, "no connection: refused"), (2, "timed out: 10 s")):
        state.record_observations(
            [Observation(client="a", profile=None, free=None, error=error, at=NOW + timedelta(hours=hours))]
        )
    assert failing_since(state) == {"a": first.timestamp(), "b": None}
    state.record_observations([seen("a")])
    assert failing_since(state) == {"a": None, "b": None}
    state.record_observations(
        [Observation(client="a", profile=None, free=None, error="timed out: 10 s", at=NOW + timedelta(hours=9))]
    )
    assert failing_since(state)["a"] == (NOW + timedelta(hours=9)).timestamp()


@given(st.lists(st.lists(st.sampled_from("abcdef"), unique=True), max_size=6))
@settings(max_examples=30, deadline=None)
def test_whatever_an_inventory_lists_each_departure_is_told_once(
    tmp_path_factory: pytest.TempPathFactory, listings: Any
) -> None:
    with open_state(f"sqlite:///{tmp_path_factory.mktemp('s')}/state.db") as state:
        alive: set[Any] = set()
        for listing in listings:
            gone = state.sync_clients("g", [client(name) for name in listing])
            assert gone == sorted(alive - set(listing))
            alive = set(listing)
            assert sorted(names(state)) == sorted(alive)


# --- sources --------------------------------------------------------------------------------------------------------


def test_what_a_source_offered_is_remembered_while_it_is_away(state: Any) -> None:
    release = make_release("rules", "1", {"a": b"one"}, released=NOW, notes="n")
    ends = {"root": NOW + timedelta(days=300), "timestamp": NOW + timedelta(days=1)}
    unfetched = (
        Unfetched("rules", "9", size=7, released=NOW, why="it is large"),
        Unfetched("rules", "8", "linux-x86_64"),
    )
    offered = SourceReport("drop", (release,), problems=("odd",), expires=ends, unfetched=unfetched)
    state.record_source(offered, NOW)
    state.record_source(SourceReport("drop", error="no route"), NOW + timedelta(hours=1))
    ((report, last_success),) = state.source_reports()
    assert report == replace(offered, error="no route")
    assert report.releases[0].released == NOW
    assert last_success == NOW
    assert state.first_seen() == {}, "a look alone counts for nothing"
    for hours in (3, 2):
        state.record_first_seen({("rules", "1")}, NOW - timedelta(hours=hours))
    assert state.first_seen() == {("rules", "1"): NOW - timedelta(hours=3)}


# --- plans and runs -------------------------------------------------------------------------------------------------


def test_starting_a_plan_supersedes_every_other_that_is_not_done(state: Any) -> None:
    for plan in ("a", "b", "c"):
        state.record_plan(plan, "0" * 64, 0, NOW)
    state.start_plan("a")
    state.finish_plan("a")
    state.start_plan("b")
    assert [state.plan_record(plan).status for plan in ("a", "b", "c")] == ["done", "running", "superseded"]
    assert state.plan_record("missing") is None


def entry(name: Any, outcome: Any = "changed") -> Any:
    return JournalEntry(
        client=name,
        group="g",
        component="rules",
        from_version="1",
        to_version="2",
        outcome=outcome,
        message="",
        bytes=5,
        at=NOW,
    )


def test_runs_are_told_newest_first_with_what_they_did(state: Any) -> None:
    state.begin_run("r1", "p1", "apply", NOW)
    state.journal("r1", [entry("a"), entry("b", "failed")])
    state.end_run("r1", "failed", {"recap": {"g": {"failed": 1}}, "failed": [{"client": "b"}]}, NOW)
    state.begin_run("r2", "p2", "apply", NOW + timedelta(minutes=1))
    assert [(run.run_id, run.status) for run in state.runs(5)] == [("r2", "broken off"), ("r1", "failed")]
    assert state.journal_of("r1") == [entry("a"), entry("b", "failed")]
    assert state.last_failed() == {"b"}
    state.begin_run("r3", "", "unlock", NOW + timedelta(minutes=2))
    state.end_run("r3", "done", {}, NOW + timedelta(minutes=2))
    assert state.last_failed() == {"b"}  # an unlock tried no client
    with state.lock("apply"):
        assert state.run("r2").status == "running"


def test_the_spec_that_was_applied_is_remembered(state: Any) -> None:
    assert state.applied_spec() is None
    state.record_applied_spec("d", {"a": [1]})
    state.record_applied_spec("e", {"a": [2]})
    assert state.applied_spec() == {"a": [2]}


# --- the lock -------------------------------------------------------------------------------------------------------


def test_one_at_a_time_and_the_refused_one_is_told_who_and_how(state: Any) -> None:
    with state.lock("apply") as lock_id:
        with pytest.raises(LockHeldError) as caught, state.lock("apply"):
            pass
        assert f"process {os.getpid()}" in caught.value.message
        assert lock_id in caught.value.hint
        assert "`updoser apply`" in caught.value.message
    with state.lock("apply"):
        pass


def test_the_lock_of_a_process_that_is_gone_is_taken_over(state_url: str) -> None:
    program = (
        "import os,sys; from datetime import datetime, UTC; from reconciler.storage.state import State\n"
        "state = State.open(sys.argv[1], clock=lambda: datetime.now(UTC))\n"
        "lock = state.lock('apply'); lock.__enter__(); os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", program, state_url], cwd=ROOT, check=False)
    with open_state(state_url) as state, state.lock("apply"):
        pass


def test_a_lock_that_an_earlier_version_left_on_another_machine_is_kept_until_a_person_takes_it_away(
    state: Any,
) -> None:
    with state.lock("apply"):
        pass
    with state._engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO lock (id, lock_id, who, holder, command, since) "
                "VALUES (1, 'abc', 'root@elsewhere', 'elsewhere boot ns 1 2', 'apply', 0)"
            )
        )
    with pytest.raises(LockHeldError), state.lock("apply"):
        pass
    with pytest.raises(StateError, match="there is no lock x"):
        state.unlock("x")
    state.unlock("abc")
    with state.lock("apply"):
        pass


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_file_that_is_no_state_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database at all, but long enough to be looked at" * 30)
    with pytest.raises(StateError, match=r"state\.db"):
        open_state(f"sqlite:///{tmp_path}/state.db")
    other = tmp_path / "other"
    other.mkdir()
    with sqlite3.connect(other / "state.db") as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    with pytest.raises(StateError, match="something else"):
        open_state(f"sqlite:///{other}/state.db")


@pytest.mark.parametrize("url", ["nonsense", "sqlite:////proc/nothing/state.db", "nothing://x"])
def test_a_state_that_cannot_be_opened_is_an_error_with_its_place(url: str) -> None:
    with pytest.raises(StateError):
        State.open(url, clock=lambda: NOW)


def test_one_machine_with_several_names_is_known_for_as_long_as_it_answers_under_them(state: Any) -> None:
    def names_of(machine: Any, *clients: Any) -> None:
        state.record_observations([replace(seen(name), machine=machine) for name in clients])

    state.sync_clients("g", [client(name) for name in "abcdef"], {"f": "unreachable: no way"})
    state.sync_clients("h", [client("z")])
    assert state.doubles() == []
    names_of("one", "b", "z", "f")
    names_of("two", "c", "d", "e")
    names_of("", "a")
    assert state.doubles() == [["b", "z"], ["c", "d", "e"]]
    state.record_observations([seen("b"), replace(seen("c"), machine="three")])
    assert state.doubles() == [["b", "z"], ["d", "e"]]
    state.record_observations([Observation(client="z", profile=None, free=None, error="no connection: 1", at=NOW)])
    assert state.doubles() == [["d", "e"]]
    state.record_observations([replace(seen("z"), machine="one")])
    state.sync_clients("g", [client(name) for name in "bcd"])
    assert state.doubles() == [["b", "z"]]
    state.sync_clients("g", [client(name) for name in "bcde"])
    assert state.doubles() == [["b", "z"]]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_somebody_is_told_was_done_is_on_the_disk_by_then_and_what_is_seen_again_is_not_waited_for(
    state: Any,
) -> None:
    levels = []

    @event.listens_for(state._engine, "commit")
    def see(connection: Any) -> None:
        levels.append(connection.exec_driver_sql("PRAGMA synchronous").scalar())

    record = RolloutRecord(
        component="rules",
        version="2",
        group="",
        status="halted",
        cuts=(),
        sizes=(),
        structure="",
        started=NOW,
        opened=NOW,
        reason="1 of 1 failed",
    )
    waits = {
        "a halt": lambda: state.record_rollout(record),
        "a plan file": lambda: state.record_plan("p", "0" * 64, 1, NOW),
        "the end of a run": lambda: (state.begin_run("r", "p", "apply", NOW), state.end_run("r", "done", {}, NOW)),
        "an adoption": lambda: state.adopt("lineage", 2),
        "who we are": lambda: State(state._engine, lambda: NOW).settings_key(),
    }
    for what, do in waits.items():
        do()  # type: ignore[no-untyped-call]
        assert levels[-1] == FULL, what
    state.journal(
        "r",
        [
            JournalEntry(
                client="a",
                group="g",
                component="rules",
                from_version="",
                to_version="1",
                outcome="changed",
                message="",
                bytes=5,
                at=NOW,
            )
        ],
    )
    assert levels[-1] == NORMAL
    with state.together():
        state.journal(
            "r",
            [
                JournalEntry(
                    client="",
                    group="g",
                    component="rules",
                    from_version="",
                    to_version="1",
                    outcome="aborted",
                    message="by eva",
                    bytes=0,
                    at=NOW,
                )
            ],
        )
    assert levels[-1] == FULL


# --- texts of others ------------------------------------------------------------------------------------------------

HOSTILE = "SSH-\0-\ud800evil\U0001f600\\u0000"
CLEANED = "SSH-\ufffd-\ufffdevil\U0001f600\\u0000"


def test_what_no_database_can_hold_of_a_text_is_replaced_wherever_it_comes_in(state: Any) -> None:
    odd = client(f"a{HOSTILE}", vars={HOSTILE: HOSTILE}, labels=(HOSTILE,))
    state.sync_clients("g", [odd, client("b")])
    state.record_observations(
        [
            Observation(client="b", profile=None, free=None, error=f"no connection: {HOSTILE}", at=NOW),
            replace(seen(odd.name), settings=HOSTILE, machine=HOSTILE),
        ]
    )
    one, other = sorted(state.rows())
    assert (one.name, one.settings, json.loads(one.labels)) == (f"a{CLEANED}", CLEANED, [CLEANED])
    assert other.error == f"no connection: {CLEANED}"
    known = state.clients()[0]
    assert (known.name, known.vars, known.labels) == (f"a{CLEANED}", {CLEANED: CLEANED}, (CLEANED,))
    state.journal("r", [replace(entry("a"), message=HOSTILE)])
    assert [one.message for one in state.journal_of("r")] == [CLEANED]
    state.keep_snapshots("plan", {HOSTILE: {HOSTILE: [HOSTILE]}})
    assert state.snapshot("plan", HOSTILE).document == {CLEANED: [CLEANED]}


@given(st.text(st.characters(), max_size=8), st.booleans())
def test_a_clean_text_can_be_written_and_one_that_was_clean_stays_as_it_is(text_: str, in_json: bool) -> None:
    made = clean(json.dumps(text_)) if in_json else clean(text_)
    made.encode()
    found = json.loads(made) if in_json else made
    assert "\0" not in found
    assert clean(made) == made
    if "\0" not in text_ and not any("\ud800" <= char <= "\udfff" for char in text_):
        assert found == text_
