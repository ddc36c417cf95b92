"""A run that is under way: what somebody says, and what the clock says, holds for each client that wasn't begun yet."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from typing import Any

import pytest

from reconciler import planning
from reconciler.execute.engine import run_plan
from reconciler.execute.outcome import verdict_error
from reconciler.model.policy import AutoUpdate, Blackout, Limits, Rollout, Wave, Window
from reconciler.model.rollout import Approval
from reconciler.model.spec import Hold
from reconciler.planning import Following, Turns
from tests.unit.workbench import COMPONENT, Bench, Opened

MINUTE = timedelta(minutes=1)
ALL = (Wave(share=1.0),)
THREE = (Wave(count=1, apart=True), Wave(count=4), Wave(share=1.0))


@pytest.fixture
def bench(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(planning, "LOOK_AT_TURNS", 0.0)
    made = opened({"g": 8})
    made.policy(waves=ALL)
    made.release("2")
    return made


def after(bench: Bench, clients: Any, happens: Any) -> None:
    """Have something happen while the last of so many clients is changed, after all were looked at."""
    begun = []
    clients += len(bench.machines)

    class Counts:
        def wait(self) -> None:
            begun.append(1)
            if len(begun) == clients:
                happens()

    for machine in bench.machines.values():
        machine.gate = Counts()


def write(bench: Bench, **changes: Any) -> None:
    bench.state.record_rollout(replace(bench.record("2"), **changes))


STEERED = {
    "paused": ({"status": "paused", "reason": "by eva"}, "rollout: paused in wave 1 of 1: by eva"),
    "aborted": ({"status": "aborted", "reason": "by eva: INC-1"}, "rollout: aborted in wave 1 of 1: by eva: INC-1"),
    "halted": ({"status": "halted", "reason": "by another"}, "rollout: halted in wave 1 of 1: by another"),
}


@pytest.mark.parametrize("word", STEERED)
def test_a_run_begins_no_further_client_once_its_rollout_is_stopped_and_says_why(bench: Bench, word: str) -> None:
    changes, why = STEERED[word]
    after(bench, 3, lambda: write(bench, **changes))
    report = bench.apply()
    assert len(bench.running("2")) == 3
    assert bench.record("2").status == word, "what somebody said stands"
    assert [(one.component, one.version, one.reason, one.clients) for one in report.held] == [(COMPONENT, "2", why, 5)]
    held = [entry for entry in bench.journal() if entry.outcome == "held"]
    assert {entry.client for entry in held} == bench.running("1")
    assert {entry.message for entry in held} == {why}
    assert f"rules 2: 5 clients held: {why}" in bench.events("warning")
    assert (report.total("changed"), report.total("skipped")) == (3, 5)
    error = verdict_error(report, max_unreachable=0.0)
    assert (error.exit_code if error else 0) == (3 if word == "halted" else 0)


@pytest.mark.parametrize("word", ["paused", "aborted"])
def test_a_check_that_fails_or_a_proof_that_comes_after_an_abort_or_a_pause_does_not_undo_it(
    bench: Bench, word: str
) -> None:
    bench.policy(waves=ALL, limits=Limits(max_failed=0))
    for machine in bench.machines.values():
        machine.broken.add(COMPONENT)
    after(bench, 1, lambda: write(bench, status=word, reason="by eva"))
    bench.apply()
    assert (bench.record("2").status, bench.record("2").reason) == (word, "by eva")
    assert bench.running("2") == set()


def test_what_was_said_between_plan_and_yes_stands_and_nothing_is_sent(bench: Bench) -> None:
    bench.policy(waves=THREE)
    bench.step()
    plan = bench.plan()
    assert plan.deploys
    write(bench, status="aborted", reason="by eva")
    bench.apply(plan=plan)
    assert bench.record("2").status == "aborted"
    assert len(bench.running("2")) == 1


def test_an_approval_that_comes_between_plan_and_yes_is_kept(bench: Bench) -> None:
    bench.policy(waves=(*THREE[:2], replace(THREE[2], approve=True)))
    bench.step()
    plan = bench.plan()
    write(bench, approved=(Approval(3, "eva", bench.now),))
    bench.apply(plan=plan)
    assert bench.running("2") == set(bench.machines)


def open_until(bench: Bench, end: Any) -> None:
    policy = AutoUpdate(windows=(Window(clock_time(0), end.time(), zone=UTC),), rollout=Rollout(waves=ALL))
    bench.spec = replace(bench.spec, policies={("g", COMPONENT): policy})


def test_a_window_that_closes_lets_no_further_client_begin_and_the_next_plan_says_the_same(bench: Bench) -> None:
    end = bench.now + 2 * MINUTE
    open_until(bench, end)
    after(bench, 3, lambda: setattr(bench, "now", end))
    report = bench.apply()
    assert len(bench.running("2")) == 3
    ((held),) = report.held
    assert (held.reason, held.clients) == (f"its time was over at {end:%Y-%m-%dT%H:%M:%SZ}", 5)
    assert verdict_error(report, max_unreachable=0.0) is None
    plan = bench.plan()
    assert (plan.deploys, sum(finding.clients for finding in plan.deferred)) == ((), 5)


def test_a_blackout_that_begins_lets_no_further_client_begin(bench: Bench) -> None:
    begins = datetime.combine(bench.now.date() + timedelta(days=1), clock_time(), UTC)
    policy = AutoUpdate(blackouts=(Blackout(begins.date(), begins.date(), "fair"),), rollout=Rollout(waves=ALL))
    bench.spec = replace(bench.spec, policies={("g", COMPONENT): policy})
    after(bench, 2, lambda: setattr(bench, "now", begins))
    assert [held.clients for held in bench.apply().held] == [6]
    assert len(bench.running("2")) == 2


def test_a_plan_that_was_not_finished_because_its_time_was_over_is_not_done(bench: Bench) -> None:
    end = bench.now + 2 * MINUTE
    open_until(bench, end)
    after(bench, 3, lambda: setattr(bench, "now", end))
    report = bench.apply()
    assert bench.state.plan_record(report.plan_id).status == "running"


def hold_in(bench: Bench, path: Any, text: str) -> None:
    path.write_text(text)
    holds = (Hold("g", "INC-7", date(2099, 1, 1)),) if "hold" in text else ()
    bench.spec = replace(bench.spec, holds=holds)


def test_a_hold_that_is_written_into_the_file_holds_for_who_was_not_begun(bench: Bench) -> None:
    path = bench.spec.path
    path.write_text("version: 1\n")
    planned = bench.spec
    after(bench, 3, lambda: hold_in(bench, path, "version: 1\nhold: …\n"))
    with bench.work() as work:
        made = planning.new_plan(work, bench.options())
        turns = Turns(work, path, lambda: bench.spec.holds)
        report = run_plan(made, work, forks=1, following=Following(made, work, bench.options()), turns=turns)
    assert planned.holds == ()
    assert len(bench.running("2")) == 3
    assert [(held.reason, held.clients) for held in report.held] == [("hold until 2099-01-01: INC-7", 5)]


def test_a_run_looks_seldom_however_many_clients_it_has(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "LOOK_AT_TURNS", 3600.0)
    looks = []
    normal = type(bench.state).stopped
    monkeypatch.setattr(type(bench.state), "stopped", lambda state: looks.append(1) or normal(state))  # type: ignore[func-returns-value, redundant-expr]
    bench.apply()
    assert (bench.running("2"), len(looks)) == (set(bench.machines), 1)
