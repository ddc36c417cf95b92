"""Trouble of a machine is not trouble of a release: who stands in, what stalls, and what goes on by itself."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import BusyError
from reconciler.execute.deploy import Task
from reconciler.execute.tally import Tally
from reconciler.model.client import Client
from reconciler.model.deploy import FAULTS, MACHINE, RELEASE, Outcome, Step
from reconciler.model.plan import Basis, Plan
from reconciler.model.policy import DEFAULT_LIMITS, Limits, Wave
from reconciler.model.report import Report
from reconciler.present.document import report_document
from reconciler.present.text import report_text
from tests.fakes import NOW, FakeClient
from tests.unit.deploying import result_with
from tests.unit.workbench import COMPONENT, Bench, Opened

HOUR = timedelta(hours=1)
ALL = Wave(share=1.0)
STRICT = Limits(max_failed=0, min_attempted=1)
CANARY = (Wave(count=2, limits=STRICT), ALL)
HURTS = {
    "its disk is full": lambda machine: machine.full.add(COMPONENT),
    "it refuses all": lambda machine: setattr(machine, "sick", True),
    "its connection breaks": lambda machine: setattr(machine, "unreachable", True),
}


def heal(machine: FakeClient) -> None:
    machine.full.clear()
    machine.sick = machine.unreachable = False


def canaries(bench: Bench) -> list[str]:
    """Give who is in the first wave of the next plan."""
    plan = bench.plan()
    return sorted(name for deploy in plan.deploys for cohort in deploy.members for name in plan.members[cohort])


def troubled(
    opened: Any,
    groups: Any,
    hurt: Any,
    *,
    waves: Any = CANARY,
    hit: Any = 1,
    **rollout: Any,
) -> tuple[Bench, list[str], Report]:
    """Apply a release while the first canaries of a fleet are in trouble; give the bench, all canaries, the report."""
    bench = opened(groups)
    bench.policy(waves=waves, **rollout)
    bench.release("2")
    first = canaries(bench)
    plan = bench.plan()
    bench.later(HOUR)
    for name in first[:hit]:
        HURTS[hurt](bench.machines[name])  # type: ignore[no-untyped-call]
    return bench, first, bench.apply(plan=plan)


@pytest.mark.parametrize("hurt", HURTS)
def test_another_client_of_the_group_stands_in_for_a_canary_that_is_in_trouble(opened: Opened, hurt: str) -> None:
    bench, (bad, good), _report = troubled(opened, {"g": 4, "h": 4}, hurt, limits=DEFAULT_LIMITS)
    (other,) = bench.record("2").cuts[0].instead
    assert other[0] == bad[0], "it is of the same group"
    assert other not in {bad, good}
    assert bench.record("2").status in {"done", "running"}
    assert bench.running("2") == set(bench.machines) - {bad}
    heal(bench.machines[bad])
    bench.apply()
    assert bench.running("2") == set(bench.machines)


@pytest.mark.parametrize("hurt", HURTS)
def test_where_nobody_can_stand_in_it_stalls_goes_back_nowhere_and_goes_on_by_itself(opened: Opened, hurt: Any) -> None:
    groups = {"g": 1, "h": 3}
    bench = opened(groups)
    bench.policy(waves=(replace(CANARY[0], count=None, select="g"), ALL), on_failure="rollback", rollback_scope="all")
    bench.release("2")
    plan = bench.plan()
    bench.later(HOUR)
    HURTS[hurt](bench.machines["g-0"])  # type: ignore[no-untyped-call]
    bench.apply(plan=plan)
    record = bench.record("2")
    assert (record.status, record.undo, record.cuts[0].instead) == ("stalled", "", ())
    assert bench.running("2") == set()
    (step,) = bench.plan().rollouts
    assert step.says.endswith("it goes on by itself when they are fine")
    heal(bench.machines["g-0"])
    bench.apply()
    assert (bench.running("2"), bench.record("2").status) == (set(bench.machines), "done")


def test_a_stalled_rollout_keeps_nothing_newer_waiting(opened: Opened) -> None:
    bench = opened({"g": 1, "h": 3})
    bench.policy(waves=(replace(CANARY[0], count=None, select="g"), ALL))
    bench.release("2")
    HURTS["its disk is full"](bench.machines["g-0"])  # type: ignore[no-untyped-call]
    bench.apply()
    assert bench.record("2").status == "stalled"
    heal(bench.machines["g-0"])
    bench.release("3")
    bench.apply()
    assert bench.running("3") == set(bench.machines)
    assert bench.record("2").status == "superseded"


def test_where_nobody_may_be_in_trouble_nobody_stands_in(opened: Opened) -> None:
    limits = Limits(max_unreachable_percentage=0.0)
    bench, _first, _report = troubled(opened, {"g": 6}, "its disk is full", limits=limits)
    assert (bench.record("2").status, bench.record("2").cuts[0].instead) == ("stalled", ())


def test_a_failed_check_still_halts_with_the_first_canary_beside_one_in_trouble(opened: Opened) -> None:
    bench = opened({"g": 6})
    bench.policy(waves=CANARY)
    bench.release("2")
    bad, worse = canaries(bench)
    bench.machines[bad].full.add(COMPONENT)
    bench.machines[worse].broken.add(COMPONENT)
    bench.apply()
    record = bench.record("2")
    assert (record.status, bench.running("2")) == ("halted", set())
    assert record.reason.startswith("1 of 1 clients failed, and at most 0 may")


def test_what_is_wrong_with_every_machine_is_tried_on_a_few_only(opened: Opened) -> None:
    bench = opened({"g": 40})
    bench.policy(waves=(Wave(count=1, limits=STRICT), ALL))
    bench.release("2")
    for machine in bench.machines.values():
        machine.full.add(COMPONENT)
    bench.apply()
    assert len(bench.asked) == 4
    assert bench.record("2").status == "stalled"


def test_a_client_that_is_busy_is_stale_and_counts_nowhere(opened: Opened) -> None:
    bench = opened({"g": 4})
    bench.policy(waves=CANARY)
    bench.release("2")
    busy, other = canaries(bench)
    with bench.machines[busy].lock:
        report = bench.apply()
    assert bench.counts(report)["stale"] == 1
    assert (bench.record("2").status, bench.running("2")) == ("running", {other})
    assert bench.failures("2") == {}
    bench.apply()
    assert bench.running("2") == set(bench.machines)


def test_a_proof_that_meets_trouble_of_a_machine_halts_nothing(opened: Opened) -> None:
    bench = opened({"g": 4})
    bench.policy(waves=(replace(CANARY[0], soak=HOUR), ALL), recheck=True)
    bench.check("true", phase="switched", where="client")
    bench.release("2")
    bench.apply()
    bench.later(HOUR)
    plan = bench.plan()
    assert plan.proofs
    for name in bench.running("2"):
        bench.machines[name].sick = True
    bench.apply(plan=plan)
    assert bench.record("2").status != "halted"


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_whatever_is_wrong_with_machines_no_release_halts_and_when_they_are_fine_all_have_it(
    opened: Opened, data: Any
) -> None:
    groups = data.draw(st.dictionaries(st.sampled_from("ghi"), st.integers(1, 4), min_size=1))
    bench = opened(groups)
    count = data.draw(st.integers(1, 3))
    bench.policy(waves=(Wave(count=count, limits=STRICT), ALL), on_failure="rollback", rollback_scope="all")
    bench.release("2")
    hurt = data.draw(st.dictionaries(st.sampled_from(sorted(bench.machines)), st.sampled_from(sorted(HURTS))))
    plan = bench.plan()
    bench.later(HOUR)
    for name, how in hurt.items():
        HURTS[how](bench.machines[name])  # type: ignore[no-untyped-call]
    bench.apply(plan=plan)
    bench.apply()
    assert bench.record("2").status in {"running", "stalled", "done"}
    cut = bench.record("2").cuts[0]
    assert len(cut.instead) <= max(count, 3)
    for machine in bench.machines.values():
        heal(machine)
    bench.apply()
    bench.apply()
    assert bench.running("2") == set(bench.machines)


def test_a_report_says_apart_what_is_the_machines() -> None:
    steps = tuple(
        Step(component=name, from_version="1", from_digest="a", to_version="2", to_digest="b", files=())
        for name in ("engine", "rules")
    )
    outcomes = (
        Outcome("engine", "failed", "1", "a", "check detects failed"),
        Outcome("rules", "failed", "1", "a", "not enough disk", fault=MACHINE),
    )
    plan = Plan("p", NOW, Basis("l", 1, 0, "s", "c"))
    tally = Tally(["g"])
    tally.add(result_with(Task(Client("pc-3", "g"), steps, None), *outcomes))
    document = report_document(tally.report("r", plan, NOW, NOW, interrupted=False))
    assert [entry["fault"] for entry in document["failed"]] == [RELEASE, MACHINE]
    text = report_text(document)
    assert "Failed\n  ! client failed: 1 client of g\n      pc-3 engine: check detects failed\n" in text
    apart = text.partition("Failed because of the machine, which says nothing about a release\n")[2]
    assert apart.startswith("  ! client failed: 1 client of g\n      pc-3 rules: not enough disk\n")


def test_only_checks_hooks_and_wrong_bytes_are_of_the_release() -> None:
    assert {code for code, fault in FAULTS.items() if fault == RELEASE} == {"check", "hook", "bytes"}
    assert BusyError("x").exit_code == 3
