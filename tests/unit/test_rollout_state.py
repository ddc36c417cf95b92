"""What the state remembers of rollouts, who failed in them, and which clients are left alone."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.client import Client
from reconciler.model.offer import SourceReport
from reconciler.model.rollout import STATUSES, Approval, Cut, RolloutRecord
from reconciler.model.spec import Quarantine
from reconciler.storage.outcomes import Fared
from reconciler.storage.state import Observation, State
from tests.fakes import NOW, make_release

HOUR = timedelta(hours=1)
KEY = ("rules", "2", "")
THREE = Quarantine(after_failures=3, span=timedelta(hours=24))


@pytest.fixture
def state(state_url: str) -> Iterator[Any]:
    with State.open(state_url, clock=lambda: NOW) as opened:
        opened.sync_clients("g", [Client(name, "g") for name in "abc"])
        yield opened


times = st.integers(0, 10**6).map(lambda seconds: NOW - timedelta(seconds=seconds))
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=5)
records = st.builds(
    RolloutRecord,
    component=st.sampled_from(["rules", "engine"]),
    version=st.sampled_from(["1", "2"]),
    group=st.sampled_from(["", "g"]),
    status=st.sampled_from(STATUSES),
    cuts=st.lists(
        st.builds(Cut, names, st.integers(-1, 2**32 - 1), st.lists(names, max_size=3).map(tuple)), max_size=3
    ).map(tuple),
    sizes=st.lists(st.integers(0, 10**6), max_size=3).map(tuple),
    structure=names,
    started=times,
    opened=times,
    wave=st.integers(0, 9),
    passed=st.none() | times,
    cleared=st.booleans(),
    first=st.booleans(),
    reason=names,
    undo=st.sampled_from(["", "wave", "all"]),
    approved=st.lists(st.builds(Approval, st.integers(1, 9), names, times), max_size=2).map(tuple),
    catches_up=st.booleans(),
    had=st.dictionaries(names, st.integers(1, 10**6), max_size=2).map(lambda counts: tuple(sorted(counts.items()))),
).map(lambda record: replace(record, wave=min(record.wave, len(record.cuts)), sizes=sized(record)))


def sized(record: Any) -> Any:
    """Give each wave a size."""
    return (*record.sizes, 0, 0, 0)[: len(record.cuts)]


@given(st.lists(records, max_size=5))
@settings(max_examples=60, deadline=None)
def test_a_rollout_comes_back_as_it_was_with_cuts_and_approvals_and_the_last_word_counts(
    tmp_path_factory: pytest.TempPathFactory, written: Any
) -> None:
    folder = tmp_path_factory.mktemp("s")
    with State.open(f"sqlite:///{folder}/state.db", clock=lambda: NOW) as state:
        for record in written:
            state.record_rollout(record)
    with State.open(f"sqlite:///{folder}/state.db", clock=lambda: NOW) as state:
        known = state.rollouts()
    assert known == {record.key: record for record in written}
    assert all(known[record.key].fingerprint == record.fingerprint for record in known.values())


def made(component: str, version: str, group: str = "") -> RolloutRecord:
    cut = Cut("all", 100, ())
    return RolloutRecord(
        component=component,
        version=version,
        group=group,
        status="running",
        cuts=(cut,),
        sizes=(3,),
        structure="s",
        started=NOW,
        opened=NOW,
        wave=1,
    )


def test_rollouts_that_move_at_once_each_have_the_move_that_is_new_and_the_last_word_counts(state: Any) -> None:
    first = made("rules", "2")
    state.record_rollout(first)
    others = [made("engine", "2"), made("engine", "3", "g")]
    state.record_rollouts([others[1], first, others[0], replace(others[0], status="halted", reason="1 failed")])
    known = state.rollouts()
    assert {key: known[key].status for key in known} == {
        ("rules", "2", ""): "running",
        ("engine", "2", ""): "halted",
        ("engine", "3", "g"): "running",
    }
    assert [move.status for move in state.rollout_moves(("rules", "2", ""))] == ["running"]
    assert [(move.status, move.reason) for move in state.rollout_moves(("engine", "2", ""))] == [
        ("running", ""),
        ("halted", "1 failed"),
    ]
    assert known["engine", "3", "g"] == others[1]


# --- failures -------------------------------------------------------------------------------------------------------


def test_failures_are_kept_by_rollout_and_the_last_message_of_a_client_counts(state: Any) -> None:
    other = ("rules", "2", "g")
    state.record_fared([("a", Fared(KEY, "no room"))])
    state.record_fared([("a", Fared(KEY, "worse")), ("a", Fared(KEY, "check detects failed"))])
    state.record_fared([("b", Fared(KEY, "no room")), ("a", Fared(other, "of a group"))])
    assert state.rollout_failures() == {
        KEY: {"a": "check detects failed", "b": "no room"},
        other: {"a": "of a group"},
    }


def test_a_client_that_has_the_version_after_all_is_forgotten_and_so_are_all_when_a_rollout_ends(state: Any) -> None:
    other = ("rules", "3", "")
    state.record_fared([(client, Fared(key, "no room")) for key in (KEY, other) for client in "ab"])
    state.record_fared([("a", Fared(KEY))])
    assert state.rollout_failures() == {KEY: {"b": "no room"}, other: {"a": "no room", "b": "no room"}}
    state.forget_failures(other)
    assert state.rollout_failures() == {KEY: {"b": "no room"}}


# --- quarantine -----------------------------------------------------------------------------------------------------


def quarantined(state: Any, at: Any = NOW) -> Any:
    return {entry.client: entry for entry in state.quarantined(at, THREE.span)}


def fail(state: Any, client: str = "a", rules: Any = THREE, at: Any = NOW, times_: int = 1) -> None:
    for _ in range(times_):
        state.count_outcome(client, rules, at, failed=True)


def test_a_client_is_left_alone_once_it_failed_so_often_in_a_row(state: Any) -> None:
    fail(state, times_=2)
    assert quarantined(state) == {}
    fail(state)
    (entry,) = state.quarantined(NOW, THREE.span)
    assert (entry.client, entry.group, entry.until, entry.failures) == ("a", "g", NOW + timedelta(hours=24), 3)
    assert {row[0]: row[7] for row in state.rows()} == {
        "a": (NOW + timedelta(hours=24)).timestamp(), "b": None, "c": None,
    }  # fmt: skip


def test_a_success_in_between_begins_the_count_anew(state: Any) -> None:
    fail(state, times_=2)
    state.count_outcome("a", THREE, NOW, failed=False)
    fail(state, times_=2)
    assert quarantined(state) == {}
    fail(state)
    assert set(quarantined(state)) == {"a"}


def test_quarantine_is_over_by_itself_and_begins_again_with_the_next_failure(state: Any) -> None:
    fail(state, times_=3)
    later = NOW + timedelta(hours=24)
    assert set(quarantined(state, later - HOUR)) == {"a"}
    assert quarantined(state, later) == {}
    fail(state, at=later)
    assert quarantined(state, later)["a"].until == later + timedelta(hours=24)
    assert quarantined(state, later)["a"].failures == 4


def test_a_success_ends_quarantine(state: Any) -> None:
    fail(state, times_=3)
    state.count_outcome("a", THREE, NOW, failed=False)
    assert quarantined(state) == {}


def test_without_a_number_nobody_is_ever_left_alone(state: Any) -> None:
    fail(state, rules=Quarantine(), times_=9)
    assert quarantined(state) == {}


def test_the_list_of_quarantine_is_by_name_with_the_last_error_and_without_those_that_are_gone(state: Any) -> None:
    for client in "cab":
        fail(state, client, times_=3)
    state.record_observations(
        [Observation(client="a", profile=None, free=None, error="client failed: no room", at=NOW)]
    )
    state.sync_clients("g", [Client(name, "g") for name in "ac"])
    found = state.quarantined(NOW, THREE.span)
    assert [(entry.client, entry.message) for entry in found] == [("a", "client failed: no room"), ("c", "")]


# --- a clock that was ahead -----------------------------------------------------------------------------------------


def test_moments_that_lie_ahead_count_as_now_until_an_apply_writes_that_down(state_url: str) -> None:
    ahead = NOW + timedelta(days=4000)
    clock = [ahead]
    with State.open(state_url, clock=lambda: clock[0]) as state:
        state.sync_clients("g", [Client("a", "g")])
        state.record_observations([Observation(client="a", profile=None, free=None, error="timed out: 10 s", at=ahead)])
        state.record_source(SourceReport("s", (make_release("rules", "2", {"f": b"2"}),)), ahead)
        state.record_first_seen([("rules", "2")], ahead)
        state.record_rollout(
            RolloutRecord(
                component="rules",
                version="2",
                group="",
                status="running",
                cuts=(),
                sizes=(),
                structure="",
                started=ahead,
                opened=ahead,
                wave=1,
                passed=ahead,
            )
        )
        fail(state, at=ahead, times_=3)

        def remembered() -> Any:
            record, (row,), ((_report, answered),) = state.rollouts()[KEY], state.rows(), state.source_reports()
            return record.passed, state.first_seen()["rules", "2"], answered, row[6:8]

        raw = ahead.timestamp(), (ahead + THREE.span).timestamp()
        for now in (NOW, NOW + HOUR):
            clock[0] = now
            assert remembered() == (now, now, now, raw)
            assert quarantined(state, now)["a"].until == now + THREE.span
            assert set(state.moments_ahead(THREE.span).values()) == {ahead, ahead + THREE.span}
        state.cut_moments(THREE.span)
        assert state.cut_moments(THREE.span) == state.moments_ahead(THREE.span) == {}
        cut, clock[0] = clock[0], ahead
        assert remembered() == (cut, cut, cut, (cut.timestamp(), (cut + THREE.span).timestamp()))
