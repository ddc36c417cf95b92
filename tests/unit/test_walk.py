"""How far a rollout may go: what the spec's waves, the groups' limits, a hurry and a newer release change about it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from reconciler.model.policy import Gate, Limits, Wave
from reconciler.model.rollout import Approval
from tests.unit.workbench import COMPONENT, Bench, Opened

HOUR = timedelta(hours=1)
ALL = Wave(share=1.0)
APPROVED = (Wave(count=1), replace(ALL, approve=True))
SOAKED = (Wave(count=1, soak=HOUR), ALL)


def says(plan: Any) -> Any:
    return [step.says for step in plan.rollouts]


def write(bench: Bench, version: str, **changes: Any) -> None:
    """Do to a rollout what a command does."""
    bench.state.record_rollout(replace(bench.record(version), **changes))


def fail(bench: Bench, *names: Any) -> None:
    for name in names:
        bench.machines[name].broken.add(COMPONENT)


# --- the spec's waves change ----------------------------------------------------------------------------------------


def test_other_waves_in_the_spec_begin_anew_and_keep_what_was_approved(opened: Opened) -> None:
    bench = opened({"g": 9})
    bench.policy(waves=APPROVED)
    bench.release("2")
    bench.apply()
    write(bench, "2", approved=(Approval(2, "eva", bench.now),))
    bench.policy(waves=(Wave(count=4, soak=HOUR), replace(ALL, approve=True)))
    bench.apply()
    record = bench.record("2")
    assert (record.wave, record.sizes) == (1, (4, 5))
    assert len(bench.running("2")) == 4
    bench.later(HOUR)
    bench.apply()
    assert bench.running("2") == set(bench.machines), "nobody was asked again"


def test_other_waves_in_the_spec_do_not_end_a_pause(opened: Opened) -> None:
    bench = opened({"g": 9})
    bench.policy(waves=SOAKED)
    bench.release("2")
    bench.apply()
    write(bench, "2", status="paused", reason="by eva")
    bench.policy(waves=(Wave(count=4), ALL))
    bench.apply()
    assert (len(bench.running("2")), bench.record("2").status) == (1, "paused")
    write(bench, "2", status="running")
    bench.apply()
    assert bench.running("2") == set(bench.machines)


def test_another_soak_or_limit_in_the_spec_goes_on_where_it_was(opened: Opened) -> None:
    bench = opened({"g": 9})
    bench.policy(waves=SOAKED)
    bench.release("2")
    bench.apply()
    bench.policy(waves=(Wave(count=1, soak=2 * HOUR), ALL))
    bench.later(HOUR)
    plan = bench.plan()
    assert not plan.moves
    assert says(plan) == ["wave 1 of 2 soaks until 2026-11-24T14:00:00Z"]


def test_a_rollout_of_the_fleet_ends_when_each_group_gets_its_own(opened: Opened) -> None:
    bench = opened({"g": 3, "h": 3})
    bench.policy(waves=SOAKED)
    bench.release("2")
    bench.apply()
    bench.policy(scope="group", waves=SOAKED)
    bench.apply()
    assert bench.record("2").status == "superseded"
    assert {group for _name, version, group in bench.state.rollouts() if version == "2"} == {"", "g", "h"}
    bench.later(HOUR)
    bench.apply()
    assert bench.running("2") == set(bench.machines)


# --- gates ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("strict", "lax"), ["gh", "hg"])
def test_a_groups_own_limits_hold_for_its_clients_only(opened: Opened, strict: Any, lax: Any) -> None:
    bench = opened({"g": 4, "h": 4})
    bench.policy(lax, waves=(ALL,), limits=Limits(max_failed=3))
    bench.policy(strict, waves=(ALL,), limits=Limits(max_failed=0))
    bench.release("2")
    fail(bench, *(f"{lax}-{at}" for at in range(3)))
    bench.apply()
    assert bench.running("2") == {*(f"{strict}-{at}" for at in range(4)), f"{lax}-3"}
    assert bench.record("2").status == "done"
    bench.release("3")
    for machine in bench.machines.values():
        machine.broken.clear()
    fail(bench, f"{strict}-0")
    bench.apply()
    assert bench.record("3").status == "halted"
    assert "clients failed, and at most 0 may" in bench.record("3").reason


def test_a_halted_rollout_says_how_many_were_tried_in_its_wave_and_how_many_of_them_failed(opened: Opened) -> None:
    bench = opened({"g": 8})
    bench.policy(waves=(Wave(count=4), ALL), limits=Limits(max_failed=1))
    bench.release("2")
    fail(bench, *sorted(bench.machines)[::2])
    bench.apply()
    (step,) = bench.plan(refresh=False).rollouts
    assert step.record.status == "halted"
    tried, bad = len(bench.asked), len(bench.failures("2"))
    assert (step.counts.planned, step.counts.passed, step.counts.failed) == (tried, tried - bad, bad)


def test_limits_of_groups_are_added_up_while_the_wave_runs(opened: Opened) -> None:
    bench = opened({"g": 4, "h": 4})
    bench.policy("g", waves=(ALL,), limits=Limits(max_failed=1))
    bench.policy("h", waves=(ALL,), limits=Limits(max_failed=2))
    bench.release("2")
    fail(bench, *bench.machines)
    bench.apply()
    assert len(bench.asked) == 4, "more than three can't be right, whichever groups they are in"
    assert bench.record("2").status == "halted"


def test_a_least_number_of_attempts_for_all_waves_holds_in_each(opened: Opened) -> None:
    bench = opened({"g": 4})
    bench.policy(waves=(Wave(count=1), ALL), limits=Limits(min_attempted=2))
    bench.release("2")
    bench.apply()
    assert len(bench.running("2")) == 1
    (told,) = says(bench.plan())
    assert told == "wave 1 of 2 is blocked: 1 clients could be attempted, and min_attempted is 2"


def test_clients_that_were_off_before_the_wave_opened_stop_nothing_and_those_that_vanish_in_it_do(
    opened: Opened,
) -> None:
    bench = opened({"g": 4})
    bench.policy(waves=(ALL,), limits=Limits(max_unreachable_percentage=0.0))
    bench.machines["g-0"].unreachable = True
    bench.plan()
    bench.later(HOUR)
    bench.release("2")
    bench.apply()
    assert bench.record("2").status == "done"
    bench.release("3")
    bench.policy(waves=(replace(ALL, soak=HOUR),), limits=Limits(max_unreachable_percentage=0.0))
    bench.step()
    bench.later(HOUR)
    bench.machines["g-1"].unreachable = True
    (told,) = says(bench.plan())
    why = "1 of 3 clients became unreachable, and max_unreachable_percentage is 0"
    assert told == f"stalled in wave 1 of 1: {why}; it goes on by itself when they are fine"


# --- some clients only ----------------------------------------------------------------------------------------------


def test_a_plan_for_some_clients_proves_nothing(opened: Opened) -> None:
    bench = opened({"g": 4})
    bench.policy(waves=SOAKED, recheck=True, gates=(Gate("command", '{"run": "touch asked"}'),))
    bench.release("2")
    bench.apply()
    bench.later(HOUR)
    some = ",".join(sorted(bench.running("1")))
    plan = bench.plan(limit=some)
    assert plan.proofs == ()
    assert says(plan) == ["wave 1 of 2 has soaked; a plan for the whole fleet goes on"]
    bench.apply(limit=some)
    assert not (bench.folder / "asked").exists()
    assert len(bench.running("2")) == 1
    bench.apply()
    assert (bench.folder / "asked").exists()
    assert bench.running("2") == set(bench.machines)


def test_a_plan_for_some_clients_waits_for_the_waves_of_the_others(opened: Opened) -> None:
    bench = opened({"g": 4})
    bench.policy(waves=SOAKED)
    bench.release("2")
    plan = bench.plan()
    (canary,) = plan.members[plan.deploys[0].members[0]]
    others = ",".join(sorted(set(bench.machines) - {canary}))
    bench.apply(limit=others)
    assert bench.running("2") == set()
    bench.apply(limit=canary)
    assert bench.running("2") == {canary}
    bench.later(HOUR)
    bench.apply(limit=others)
    assert bench.running("2") == set(bench.machines)


# --- in a hurry -----------------------------------------------------------------------------------------------------


def test_in_a_hurry_no_soak_is_waited_for_but_gates_and_approvals_are(opened: Opened) -> None:
    bench = opened({"g": 6})
    gate = Gate("command", '{"run": "touch asked"}')
    bench.policy(
        waves=(Wave(count=1, soak=9 * HOUR), Wave(count=3, soak=9 * HOUR), replace(ALL, approve=True)), gates=(gate,)
    )
    bench.release("2")
    assert [step.awaits_approval for step in bench.plan().rollouts] == [False]
    bench.apply(expedited=(COMPONENT,))
    assert len(bench.running("2")) == 3
    assert (bench.folder / "asked").exists()
    made = bench.plan(expedited=(COMPONENT,))
    assert says(made) == ["wave 3 of 3 waits for approval: updoser rollout approve rules"]
    assert [step.awaits_approval for step in made.rollouts] == [True]


def test_in_a_hurry_a_failed_canary_halts_all_the_same(opened: Opened) -> None:
    bench = opened({"g": 6})
    bench.policy(waves=(Wave(count=1, soak=9 * HOUR, limits=Limits(max_failed=0)), ALL))
    bench.release("2")
    fail(bench, *bench.machines)
    bench.apply(expedited=(COMPONENT,))
    assert (len(bench.asked), bench.record("2").status) == (1, "halted")


# --- after a halt ---------------------------------------------------------------------------------------------------


def halted_in_wave_2(bench: Bench, version: str = "2", **how: Any) -> Any:
    """Bring a release out, so that it halts in its second wave and that one goes back; give its first wave."""
    bench.policy(waves=(Wave(count=2), Wave(count=5), ALL), limits=Limits(max_failed=0), on_failure="rollback", **how)
    bench.release(version)
    bench.step()
    canary = bench.running(version)
    write(bench, version, wave=2, passed=None, cleared=False)
    plan = bench.plan(refresh=False)
    (name, *_rest) = (name for deploy in plan.deploys for cohort in deploy.members for name in plan.members[cohort])
    fail(bench, name)
    bench.step()
    bench.machines[name].broken.clear()
    assert (bench.record(version).status, len(canary)) == ("halted", 2)
    return canary


def test_those_who_keep_a_halted_release_hold_the_rollout_of_another_one_up_no_more(opened: Opened) -> None:
    bench = opened({"g": 9})
    bench.policy(waves=SOAKED)
    bench.release("2")
    bench.step()
    canary = halted_in_wave_2(bench, "3", newer="supersede")
    assert bench.record("2").status == "superseded"
    bench.apply()
    assert bench.running("3") == canary
    assert bench.running("2") == set(bench.machines) - canary
    assert bench.record("2").status == "done"


def test_after_a_wave_went_back_the_next_release_reaches_all_also_those_who_kept_the_halted_one(opened: Opened) -> None:
    bench = opened({"g": 9})
    canary = halted_in_wave_2(bench)
    assert bench.running("2") == canary
    bench.apply()
    assert bench.running("2") == canary, "they passed: only the failed wave goes back"
    bench.release("3")
    report = bench.apply()
    assert bench.running("3") == set(bench.machines)
    assert bench.record("3").status == "done"
    assert bench.counts(report) == {"changed": 9}


@pytest.mark.parametrize(("back", "stays"), ["gh", "hg"])
def test_a_group_goes_back_though_another_one_that_was_stopped_too_does_not(
    opened: Opened, back: Any, stays: Any
) -> None:
    bench = opened({"g": 2, "h": 2})
    bench.policy(scope="group", waves=SOAKED)
    bench.release("2")
    bench.apply()
    for group, undo in ((back, "all"), (stays, "")):
        bench.state.record_rollout(replace(bench.record("2", group), status="aborted", reason="by eva", undo=undo))  # type: ignore[arg-type]
    bench.apply()
    assert {name[0] for name in bench.running("2")} == {stays}


def test_what_goes_up_from_a_halted_release_goes_by_waves_like_any_other(opened: Opened) -> None:
    bench = opened({"g": 9})
    halted_in_wave_2(bench, rollback_scope="all")
    bench.apply()
    assert bench.running("2") == set()
    write(bench, "2", status="running", undo="", wave=3, passed=None)
    bench.apply()
    assert bench.running("2") == set(bench.machines)
    bench.release("3")
    write(bench, "2", status="aborted", undo="all", reason="by eva")
    bench.step()
    assert (len(bench.running("3")), len(bench.running("2"))) == (2, 7)


def test_a_pin_to_a_halted_version_is_told_to_those_who_would_get_it(opened: Opened) -> None:
    bench = opened({"g": 3})
    bench.policy(waves=(ALL,))
    bench.release("3")
    bench.apply()
    bench.release("2")
    bench.component(version="2")
    bench.step()
    write(bench, "2", status="aborted", reason="by eva")
    for name in bench.machines:
        bench.machines[name].components[COMPONENT].current = "3"
    plan = bench.plan()
    assert plan.deploys == ()
    assert [(found.clients, found.version, found.reason) for found in plan.held] == [(3, "2", "aborted: by eva")]


def test_a_pin_takes_clients_off_a_halted_version_even_those_who_were_spared(opened: Opened) -> None:
    bench = opened({"g": 9})
    canary = halted_in_wave_2(bench)
    assert bench.running("2") == canary
    bench.component(version="1")
    bench.apply()
    assert bench.running("1") == set(bench.machines)
