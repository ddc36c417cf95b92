"""A run takes step after step: wave after wave while they are due, each client once, and no further than approved."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from reconciler.commands.accept import accept_plan
from reconciler.errors import StalePlanError
from reconciler.execute.outcome import verdict_error
from reconciler.execute.rollouts import Breaker
from reconciler.model.policy import DEFAULT_WAVES, Limits, Wave
from reconciler.model.rollout import Approval
from reconciler.planning import LOOK_AGAIN, Following
from reconciler.present.document import plan_document
from reconciler.storage.planfile import write_plan_file
from tests.postgres import BOTH
from tests.unit.workbench import COMPONENT, Bench, Opened

BENCHES_ON = BOTH

HALF_AN_HOUR = timedelta(minutes=30)
SOAK = 15 * LOOK_AGAIN
GLANCE = LOOK_AGAIN.total_seconds()
ANY = Limits(max_fail_percentage=100.0, max_unreachable_percentage=100.0)
THREE = (Wave(count=1), Wave(count=3), Wave(share=1.0))
SOAKED = (Wave(count=1, soak=SOAK), Wave(share=1.0))


def code(report: Any) -> Any:
    error = verdict_error(report, max_unreachable=0.0)
    return error.exit_code if error else 0


def shown_waves(bench: Bench) -> Any:
    return [message.removeprefix("changing ") for message in bench.events("deploy_started")]


# --- wave after wave ------------------------------------------------------------------------------------------------


def test_one_apply_takes_all_waves_that_are_due_and_asks_each_client_once(opened: Opened) -> None:
    bench = opened({"g": 20, "h": 20})
    bench.policy(waves=(Wave(count=3), Wave(share=0.1), Wave(share=1.0)))
    bench.release("2")
    report = bench.apply()
    assert bench.running("2") == set(bench.machines)
    assert shown_waves(bench) == [
        "3 clients, wave 1 of 3", "1 client, wave 2 of 3", "36 clients, wave 3 of 3",
    ]  # fmt: skip
    assert set(bench.asked.values()) == {1}
    assert bench.counts(report) == {"changed": 40}
    assert (code(report), bench.record("2").status) == (0, "done")
    again = bench.apply()
    assert (again.rollouts, bench.counts(again)) == ((), {"ok": 40})


def test_a_wave_that_soaks_ends_the_run_which_says_when_to_come_back(opened: Opened) -> None:
    bench = opened({"g": 4})
    bench.policy(waves=SOAKED)
    bench.release("2")
    report = bench.apply()
    assert len(bench.running("2")) == 1
    assert report.next_step_at == bench.now + SOAK
    assert bench.counts(report) == {"changed": 1, "skipped": 3}
    bench.later(SOAK - timedelta(seconds=1))
    assert bench.counts(bench.apply()) == {"ok": 1, "skipped": 3}
    bench.later(timedelta(seconds=1))
    assert bench.counts(bench.apply()) == {"changed": 3, "ok": 1}
    assert bench.record("2").status == "done"


def test_without_a_word_the_canary_has_half_an_hour_before_the_others_follow(opened: Opened) -> None:
    bench = opened({"g": 20, "h": 20})
    bench.policy(waves=DEFAULT_WAVES)
    bench.release("2")
    report = bench.apply()
    assert sorted(name[0] for name in bench.running("2")) == ["g", "h"]
    assert report.next_step_at == bench.now + HALF_AN_HOUR
    bench.later(HALF_AN_HOUR)
    assert bench.counts(bench.apply()) == {"changed": 38, "ok": 2}


def test_a_failed_canary_ends_the_run_and_nobody_else_is_asked(opened: Opened) -> None:
    bench = opened({"g": 5, "h": 5})
    bench.policy(waves=DEFAULT_WAVES)
    bench.release("2")
    for machine in bench.machines.values():
        machine.broken.add(COMPONENT)
    report = bench.apply()
    assert len(bench.asked) == 1, "the second of the canary was to come, and the rollout was halted by then"
    assert bench.running("1") == set(bench.machines)
    assert (code(report), [step.record.status for step in report.rollouts]) == (3, ["halted"])
    assert report.rollouts[0].says.startswith("halted in wave 1 of 3: 1 of 1 clients failed, and at most 0 may")
    assert sum(bench.counts(report).values()) == 10
    assert bench.counts(report)["failed"] == 1


def test_a_client_that_failed_is_not_tried_again_in_the_run_and_counts_once(opened: Opened) -> None:
    bench = opened({"g": 8})
    bench.policy(waves=THREE, limits=ANY)
    bench.release("2")
    canary = next(iter(bench.plan().members.values()))[0]
    bench.machines[canary].broken.add(COMPONENT)
    report = bench.apply()
    assert len(shown_waves(bench)) == 3
    assert set(bench.asked.values()) == {1}
    assert bench.running("1") == {canary}
    assert bench.counts(report) == {"changed": 7, "failed": 1}
    assert [failure.client for failure in report.failed] == [canary]
    bench.machines[canary].broken.clear()
    assert bench.counts(bench.apply()) == {"changed": 1, "ok": 7}


def test_a_client_that_is_off_counts_once_however_many_steps_there_are(opened: Opened) -> None:
    bench = opened({"g": 8})
    bench.machines["g-3"].unreachable = True
    bench.policy(waves=THREE, limits=ANY)
    bench.release("2")
    report = bench.apply()
    assert bench.counts(report) == {"changed": 7, "unreachable": 1}
    assert [failure.client for failure in report.unreachable] == ["g-3"]
    assert code(report) == 4


def test_a_release_that_can_not_be_downloaded_ends_the_run_and_goes_out_with_the_next(opened: Opened) -> None:
    bench = opened({"g": 4})
    bench.policy(waves=THREE)
    bench.release("2")
    bench.source.lost.add("data")
    report = bench.apply()
    assert [(failure.client, failure.component) for failure in report.failed] == [("", COMPONENT)]
    assert (bench.asked, code(report)) == ({}, 1)
    assert bench.counts(report) == {"not_attempted": 1, "skipped": 3}
    bench.source.lost.clear()
    assert code(bench.apply()) == 0
    assert bench.running("2") == set(bench.machines)


def test_the_store_and_the_history_see_one_run(opened: Opened) -> None:
    bench = opened({"g": 8})
    bench.policy(waves=THREE)
    bench.release("2")
    serial = bench.state.identity().serial
    bench.later(SOAK)
    report = bench.apply()
    assert bench.state.identity().serial == serial + 1
    assert report.downloaded == 1
    (run, *_earlier) = bench.state.runs(1)
    assert (run.status, run.plan_id) == ("done", report.plan_id)
    outcomes = Counter((bool(entry.client), entry.outcome) for entry in bench.journal())
    assert (outcomes[True, "changed"], outcomes[False, "done"]) == (8, 1)


def test_a_run_that_is_stopped_finishes_no_further_wave(opened: Opened) -> None:
    bench = opened({"g": 8})
    bench.policy(waves=THREE)
    bench.release("2")
    plan = bench.plan()
    (first,) = next(iter(bench.plan().members.values()))[:1]
    machine = bench.machines[first]

    class Stops:
        def wait(self) -> None:
            bench.stop.set()

    machine.gate = Stops()
    report = bench.apply(plan=plan)
    assert bench.running("2") == {first}
    assert report.interrupted
    assert code(report) == 130
    assert bench.record("2").status == "running"


# --- batches --------------------------------------------------------------------------------------------------------


def test_between_two_batches_the_share_of_failures_is_looked_at(opened: Opened) -> None:
    bench = opened({"g": 9})
    bench.policy(waves=(Wave(share=1.0, at_once=3),), limits=Limits(max_fail_percentage=50.0))
    bench.release("2")
    for machine in bench.machines.values():
        machine.broken.add(COMPONENT)
    bench.apply()
    assert len(bench.asked) == 3
    assert bench.record("2").reason.startswith("3 of 3 clients failed, and max_fail_percentage is 50 (")


def test_good_batches_follow_one_another_until_all_are_through(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = opened({"g": 9})
    bench.policy(waves=(Wave(share=1.0, at_once=2),))
    bench.release("2")
    through = []
    look = Breaker.look

    def counting(breaker: Breaker) -> None:
        through.append(len(bench.running("2")))
        look(breaker)

    monkeypatch.setattr(Breaker, "look", counting)
    bench.apply()
    assert through == [2, 4, 6, 8, 9]
    assert bench.running("2") == set(bench.machines)


def test_within_a_batch_a_halt_spares_all_that_were_not_begun(opened: Opened) -> None:
    bench = opened({"g": 9})
    bench.policy(waves=(Wave(share=1.0),), limits=Limits(max_failed=1))
    bench.release("2")
    for machine in bench.machines.values():
        machine.broken.add(COMPONENT)
    report = bench.apply()
    assert len(bench.asked) == 2
    assert bench.counts(report)["failed"] == 2


# --- only what was approved, and waiting ----------------------------------------------------------------------------


def waiting(opened: Opened, **rollout: Any) -> Any:
    bench = opened({"g": 4})
    bench.policy(**{"waves": SOAKED, **rollout})
    bench.release("2")
    return bench


def test_with_wait_a_run_stays_until_the_rollout_is_done(opened: Opened) -> None:
    bench = waiting(opened)
    began = bench.now
    report = bench.apply(wait=True)
    assert bench.running("2") == set(bench.machines)
    assert bench.now == began + SOAK
    assert set(bench.waits) == {GLANCE}, "it looks again and again"
    assert bench.events("wait_started") == [
        f"waiting: rules: wave 1 of 2 soaks until {began + SOAK:%Y-%m-%dT%H:%M:%SZ}"
    ]
    assert (bench.counts(report), code(report)) == ({"changed": 4}, 0)


def test_without_wait_it_does_not_wait(opened: Opened) -> None:
    bench = waiting(opened)
    bench.apply()
    assert bench.waits == []
    assert len(bench.running("2")) == 1


def test_a_run_that_waits_ends_when_it_is_stopped(opened: Opened) -> None:
    bench = waiting(opened)
    bench.happens[5] = bench.stop.set
    report = bench.apply(wait=True)
    assert len(bench.waits) == 5
    assert (code(report), len(bench.running("2"))) == (130, 1)
    assert bench.record("2").status == "running"


@pytest.mark.parametrize(("status", "ends_with"), [("halted", 3), ("aborted", 0)])
def test_a_run_that_waits_ends_when_somebody_stops_the_rollout(opened: Opened, status: str, ends_with: int) -> None:
    bench = waiting(opened)
    bench.happens[5] = lambda: bench.state.record_rollout(replace(bench.record("2"), status=status, reason="by eva"))
    report = bench.apply(wait=True)
    assert len(bench.waits) == 5
    assert (code(report), len(bench.running("2"))) == (ends_with, 1)


def test_a_run_that_waits_for_an_approval_goes_on_once_it_is_there(opened: Opened) -> None:
    bench = waiting(opened, waves=(Wave(count=1), Wave(share=1.0, approve=True)))

    def approve() -> None:
        bench.state.record_rollout(replace(bench.record("2"), approved=(Approval(2, "eva", bench.now),)))

    bench.happens[3] = approve
    bench.apply(wait=True)
    assert bench.waits == [GLANCE] * 3
    assert bench.running("2") == set(bench.machines)


def test_a_run_that_waits_sees_the_clients_as_they_are_then(opened: Opened) -> None:
    bench = waiting(opened)
    plan = bench.plan()
    (canary,) = plan.members[plan.deploys[0].members[0]]
    late, lost = sorted(set(bench.machines) - {canary})[:2]
    bench.machines[late].unreachable = True

    def exchange() -> None:
        bench.machines[late].unreachable, bench.machines[lost].unreachable = False, True

    bench.happens[5] = exchange
    report = bench.apply(wait=True)
    assert bench.running("1") == {lost}
    assert {failure.client for failure in report.unreachable} >= {lost}


def test_what_comes_out_while_a_run_waits_was_not_approved_and_waits_for_the_next(opened: Opened) -> None:
    bench = waiting(opened)
    bench.happens[5] = lambda: bench.release("3")
    bench.apply(wait=True)
    assert bench.running("2") == set(bench.machines)
    assert bench.key("3") not in bench.state.rollouts()
    bench.apply(wait=True)
    assert bench.running("3") == set(bench.machines)


def test_a_release_that_supersedes_the_approved_one_ends_the_run_and_is_not_sent(opened: Opened) -> None:
    bench = waiting(opened, newer="supersede")

    def known_at_once() -> None:
        bench.release("3")
        bench.plan()

    bench.happens[5] = known_at_once
    bench.apply(wait=True)
    assert len(bench.waits) == 5
    assert bench.record("2").status == "superseded"
    assert (len(bench.running("2")), bench.running("3")) == (1, set())
    assert bench.key("3") not in bench.state.rollouts()


# --- plan files -----------------------------------------------------------------------------------------------------


class File:
    """A plan file of a bench."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.path = bench.folder / "plan"
        plan = bench.plan()
        sha256 = write_plan_file(self.path, plan_document(plan))
        bench.state.record_plan(plan.plan_id, sha256, plan.basis.serial, plan.created)
        self.plan = plan

    def accept(self) -> Any:
        with self.bench.work() as work:
            return accept_plan(self.path, work, None)

    def apply(self) -> Any:
        """Do what `apply FILE` does; None when there is nothing left to do."""
        accepted = self.accept()
        if accepted is None:
            return None
        plan, begun = accepted
        if begun:
            with self.bench.work() as work:
                step = Following(plan, work, self.bench.options()).step()
                plan = replace(step, plan_id=plan.plan_id)
        return self.bench.apply(plan=plan)


def refused(file: Any, why: str) -> None:
    with pytest.raises(StalePlanError, match=why) as caught:
        file.accept()
    assert caught.value.exit_code == 5


def test_a_plan_file_whose_rollout_went_on_since_is_refused(opened: Opened) -> None:
    bench = waiting(opened)
    file = File(bench)
    bench.apply()
    bench.state.record_plan(file.plan.plan_id, "", 0, bench.now)
    refused(file, "superseded|stale")


@pytest.mark.parametrize("status", ["halted", "paused", "aborted"])
def test_a_plan_file_whose_rollout_was_stopped_since_is_refused(opened: Opened, status: str) -> None:
    bench = waiting(opened)
    bench.apply()
    bench.later(SOAK)
    file = File(bench)
    assert file.plan.deploys
    bench.state.record_rollout(replace(bench.record("2"), status=status, reason="by eva"))
    refused(file, "the rollout of rules 2 changed")


def test_a_plan_file_that_was_approved_before_an_approval_came_is_refused(opened: Opened) -> None:
    bench = waiting(opened, waves=(Wave(count=1), Wave(share=1.0, approve=True)))
    bench.apply()
    file = File(bench)
    bench.state.record_rollout(replace(bench.record("2"), approved=(Approval(2, "eva", bench.now),)))
    refused(file, "the rollout of rules 2 changed")


def test_a_begun_plan_file_takes_the_step_that_is_due_and_is_done_once(opened: Opened) -> None:
    bench = waiting(opened)
    file = File(bench)
    file.apply()
    assert len(bench.running("2")) == 1
    assert file.accept()[1], "it is begun"
    assert bench.counts(file.apply())["skipped"] == 3
    assert len(bench.running("2")) == 1
    bench.later(SOAK)
    bench.release("3")
    file.apply()
    assert bench.running("2") == set(bench.machines), "3 wasn't in the plan that was approved"
    assert file.accept() is None
    assert bench.running("3") == set()


def test_a_begun_plan_file_is_refused_once_another_plan_was_started(opened: Opened) -> None:
    bench = waiting(opened)
    file = File(bench)
    file.apply()
    bench.later(SOAK)
    bench.apply()
    refused(file, "a later plan was started")
