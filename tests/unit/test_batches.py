"""What the state remembers of batches whose workers outlive us: what they bring counts once, and never too late."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.model.batch import Batch, Look, Target
from reconciler.model.client import Client
from reconciler.storage.batches import BatchEntry
from tests.fakes import NOW

if TYPE_CHECKING:
    from reconciler.storage.state import State

RUNS = count()


def entry(id_: str = "1", clients: int = 3, run: str = "run", **more: Any) -> BatchEntry:
    targets = tuple(Target(client=Client(f"c{at}", "g")) for at in range(clients))
    batch = Batch(id=id_, run_id=run, group="g", task=Look(), targets=targets, **more)
    return BatchEntry(batch=batch, site="lyon", lane="a", lease_until=NOW + timedelta(hours=1))


def test_a_batch_is_remembered_as_it_was_given(any_state: State) -> None:
    any_state.record_batches([entry(fence=4)])
    (found,) = any_state.batches("run")
    assert (found.site, found.lane, found.status, found.attempt, found.fence) == ("lyon", "a", "given", 1, 4)
    assert (found.clients, found.answered, found.lease_until) == (("c0", "c1", "c2"), 0, NOW + timedelta(hours=1))
    assert len(found.digest) == 64


def test_a_client_counts_once_in_a_batch(any_state: State) -> None:
    any_state.record_batches([entry(), entry("2")])
    assert any_state.record_answered("run", {("1", 1, "c0"), ("2", 1, "c0")}) == {("1", "c0"), ("2", "c0")}
    assert any_state.record_answered("run", {("1", 1, "c0"), ("1", 1, "c1")}) == {("1", "c1")}
    assert any_state.record_answered("run", ()) == set()
    assert [found.answered for found in any_state.batches("run")] == [2, 1]


def test_only_the_attempt_in_force_counts(any_state: State) -> None:
    any_state.record_batches([entry()])
    any_state.record_batches([entry(attempt=2, clients=1)])
    assert any_state.record_answered("run", {("1", 1, "c0")}) == set()
    assert any_state.record_answered("run", {("1", 2, "c0")}) == {("1", "c0")}
    assert any_state.record_answered("run", {("no such batch", 1, "c0")}) == set()


def test_what_is_answered_last_counts_though_the_batch_is_over(any_state: State) -> None:
    any_state.record_batches([entry()])
    any_state.end_batches("run", ["1"])
    assert any_state.record_answered("run", {("1", 1, "c0")}) == {("1", "c0")}
    assert [found.status for found in any_state.batches("run")] == ["over"]


def test_what_is_answered_to_a_run_that_another_one_followed_does_not_count(any_state: State) -> None:
    any_state.record_batches([entry(), entry("1", run="next")])
    any_state.leave_batches("next")
    assert any_state.record_answered("run", {("1", 1, "c0")}) == set()
    assert any_state.record_answered("next", {("1", 1, "c0")}) == {("1", "c0")}


def test_an_answer_is_written_with_what_it_brought_or_not_at_all(any_state: State) -> None:
    any_state.record_batches([entry()])

    def fail() -> None:
        with any_state.together():
            any_state.record_answered("run", {("1", 1, "c0")})
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert any_state.record_answered("run", {("1", 1, "c0")}) == {("1", "c0")}


def test_batches_are_forgotten_with_their_run(any_state: State) -> None:
    for at, run in enumerate(("run", "next")):
        any_state.begin_run(run, "plan", "apply", NOW + timedelta(days=at))
        any_state.record_batches([entry(run=run)])
        any_state.record_answered(run, {("1", 1, "c0")})
    any_state.forget_runs(NOW + timedelta(days=9), NOW)
    assert not any_state.batches("run")
    assert [found.answered for found in any_state.batches("next")] == [1]


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=st.lists(st.lists(st.tuples(st.integers(1, 2), st.integers(0, 30)), max_size=10), max_size=6))
def test_however_answers_come_each_client_counts_once(any_state: State, said: list[list[tuple[int, int]]]) -> None:
    run = f"run-{next(RUNS)}"
    any_state.record_batches([entry(run=run, clients=31, attempt=2)])
    counted: list[tuple[str, str]] = []
    for part in said:
        counted += any_state.record_answered(run, {("1", attempt, f"c{client}") for attempt, client in part})
    wanted = {("1", f"c{client}") for part in said for attempt, client in part if attempt == 2}
    assert sorted(counted) == sorted(wanted)
