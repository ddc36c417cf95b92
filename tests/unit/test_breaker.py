"""While a wave changes: too many failures halt it at once, or between two batches, and what failed is remembered."""

from dataclasses import replace
from typing import Any

import pytest

from reconciler.execute.rollouts import Breaker, move_on
from reconciler.model.policy import Limits, Wave
from reconciler.model.rollout import Key
from reconciler.storage.outcomes import Fared
from tests.fakes import NOW
from tests.unit.workbench import COMPONENT, Bench, Opened

WAVE = Wave(share=1.0)
TEN = {"g": 10}


@pytest.fixture
def bench(opened: Opened) -> Bench:
    return opened(TEN)


def breaker_of(bench: Bench, **rollout: Any) -> Breaker:
    """Open a wave of all ten clients, and give what watches it."""
    bench.policy(**{"waves": (WAVE,), "limits": Limits(), **rollout})
    bench.release("2")
    plan = bench.plan()
    assert plan.rollouts[0].counts.planned == len(bench.machines)
    with bench.work() as work:
        move_on(plan, work)
        return Breaker(plan, work)


def count(bench: Bench, breaker: Breaker, key: Key | None, name: str, message: str) -> None:
    """Count a client as an apply does: what is to be remembered is written down, and then halts what must."""
    fared = breaker.take(key, name, message)
    bench.state.record_fared([(name, fared)] if fared is not None else [])
    breaker.trip()


def test_a_rollout_halts_with_the_first_failure_more_than_it_may_have_and_says_who_and_why(bench: Bench) -> None:
    breaker, key = breaker_of(bench, limits=Limits(max_failed=1)), bench.key("2")
    count(bench, breaker, key, "g-0", "")
    count(bench, breaker, key, "g-1", "no room")
    assert breaker.halted == set()
    count(bench, breaker, key, "g-2", "no room\n  at all")
    assert breaker.halted == {key}
    record = bench.record("2")
    assert (record.status, record.undo) == ("halted", "")
    assert record.reason == "2 of 3 clients failed, and at most 1 may (g-2: no room at all)"
    assert bench.failures("2") == {"g-1": "no room", "g-2": "no room\n  at all"}


def test_failures_of_earlier_runs_count(bench: Bench) -> None:
    bench.state.record_fared([("g-0", Fared(bench.key("2"), "no room"))])
    breaker = breaker_of(bench, limits=Limits(max_failed=1))
    count(bench, breaker, bench.key("2"), "g-1", "no room")
    assert bench.record("2").status == "halted"


def test_a_client_that_failed_and_passes_later_counts_no_more(bench: Bench) -> None:
    bench.state.record_fared([("g-0", Fared(bench.key("2"), "no room"))])
    breaker, key = breaker_of(bench, limits=Limits(max_failed=1)), bench.key("2")
    count(bench, breaker, key, "g-0", "")
    assert bench.failures("2") == {}
    count(bench, breaker, key, "g-1", "no room")
    assert breaker.halted == set()


def test_a_client_that_fails_twice_counts_once(bench: Bench) -> None:
    breaker, key = breaker_of(bench, limits=Limits(max_failed=1)), bench.key("2")
    count(bench, breaker, key, "g-0", "no room")
    count(bench, breaker, key, "g-0", "still no room")
    assert breaker.halted == set()
    assert bench.failures("2") == {"g-0": "still no room"}


def test_a_share_of_the_whole_wave_is_a_number_that_is_not_exceeded(bench: Bench) -> None:
    breaker, key = breaker_of(bench, limits=Limits(max_fail_percentage=25.0)), bench.key("2")
    for name in ("g-0", "g-1"):  # 25 % of ten are two
        count(bench, breaker, key, name, "no room")
    assert breaker.halted == set()
    count(bench, breaker, key, "g-2", "no room")
    assert breaker.halted == {key}


def test_between_batches_the_share_is_of_those_that_were_attempted(bench: Bench) -> None:
    breaker, key = breaker_of(bench, limits=Limits(max_fail_percentage=25.0)), bench.key("2")
    for at in range(3):
        count(bench, breaker, key, f"g-{at}", "")
    count(bench, breaker, key, "g-3", "no room")
    breaker.look()
    assert breaker.halted == set(), "one of four isn't more than 25 %"
    count(bench, breaker, key, "g-4", "no room")
    breaker.look()
    assert bench.record("2").reason == "2 of 5 clients failed, and max_fail_percentage is 25 (g-3: no room)"


def test_a_halt_is_told_once_and_says_what_goes_back(bench: Bench) -> None:
    breaker, key = breaker_of(bench, on_failure="rollback", rollback_scope="all"), bench.key("2")
    bench.told.clear()
    breaker.halt(key, "INC-1")
    breaker.halt(key, "INC-2")
    assert bench.events("rollout_moved") == [f"{COMPONENT} 2: halted in wave 1 of 1: INC-1"]
    assert (bench.record("2").reason, bench.record("2").undo) == ("INC-1", "all")


@pytest.mark.parametrize(
    ("rollout", "undo"),
    [
        ({"on_failure": "halt"}, ""),
        ({"on_failure": "rollback", "rollback_scope": "client"}, ""),
        ({"on_failure": "rollback", "rollback_scope": "wave"}, "wave"),
        ({"on_failure": "rollback", "rollback_scope": "all"}, "all"),
    ],
)
def test_what_is_undone_after_a_halt_is_what_the_policy_says(bench: Bench, rollout: dict[str, str], undo: str) -> None:
    breaker = breaker_of(bench, **rollout)
    breaker.halt(bench.key("2"), "INC-1")
    assert bench.record("2").undo == undo


def test_a_reason_without_end_is_cut_and_stays_on_a_line(bench: Bench) -> None:
    breaker = breaker_of(bench)
    breaker.halt(bench.key("2"), "x\n" * 5000)
    assert "\n" not in bench.record("2").reason
    assert len(bench.record("2").reason) == 1000


def test_what_no_rollout_decides_over_halts_nothing(bench: Bench) -> None:
    breaker = breaker_of(bench, limits=Limits(max_failed=0))
    assert breaker.key_of(COMPONENT, "1", "g") is None
    assert breaker.key_of("engine", "2", "g") is None
    count(bench, breaker, None, "g-0", "no room")
    assert breaker.halted == set()
    assert breaker.key_of(COMPONENT, "2", "g") == bench.key("2")


def test_the_smallest_batch_of_the_waves_that_change_now_holds(opened: Opened) -> None:
    bench = opened({"g": 2, "h": 2})
    for group, at_once in (("g", 7), ("h", 3)):
        bench.policy(group, scope="group", waves=(replace(WAVE, at_once=at_once),))
    bench.release("2")
    plan = bench.plan()
    with bench.work() as work:
        assert Breaker(plan, work).batch == 3
        through = [
            replace(step, record=replace(step.record, passed=NOW if step.record.group == "h" else None))
            for step in plan.rollouts
        ]
        assert Breaker(replace(plan, rollouts=tuple(through)), work).batch == 7
        assert Breaker(replace(plan, rollouts=()), work).batch == 0


def test_what_is_over_forgets_who_failed_and_what_is_halted_does_not(bench: Bench) -> None:
    breaker = breaker_of(bench)
    count(bench, breaker, bench.key("2"), "g-0", "no room")
    breaker.halt(bench.key("2"), "INC-1")
    plan = bench.plan()
    (step,) = plan.rollouts
    with bench.work() as work:
        move_on(replace(plan, rollouts=(replace(step, new=True),)), work)
        assert bench.failures("2") == {"g-0": "no room"}
        done = replace(step, new=True, record=replace(step.record, status="done"))
        move_on(replace(plan, rollouts=(done,)), work)
    assert bench.failures("2") == {}
    assert bench.record("2").status == "done"


def test_what_a_plan_says_is_not_new_is_not_written(bench: Bench) -> None:
    breaker_of(bench)
    (step,) = bench.plan().rollouts
    with bench.work() as work:
        move_on(replace(bench.plan(), rollouts=(replace(step, new=False, record=replace(step.record, wave=9)),)), work)
    assert bench.record("2").wave == 1


def test_a_client_that_is_well_in_all_its_rollouts_counts_in_each_and_what_failed_before_is_forgotten(
    bench: Bench,
) -> None:
    breaker, key = breaker_of(bench, limits=Limits(max_fail_percentage=50)), bench.key("2")
    assert breaker.well([key], "g-0") == ()
    count(bench, breaker, key, "g-1", "no room")
    assert breaker.well([key], "g-2") == ()
    assert breaker.well([key], "g-1") == (Fared(key),)
    count(bench, breaker, key, "g-3", "no room")
    breaker.look()
    assert breaker.halted == set()
    for name in ("g-4", "g-5", "g-6"):
        count(bench, breaker, key, name, "no room")
    breaker.look()
    assert "4 of 7 clients failed" in bench.record("2").reason
