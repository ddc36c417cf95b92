"""Clients that know an earlier epoch of their controller are told of the later one, first of all, whatever they run."""

from dataclasses import replace

from reconciler.execute.outcome import verdict_error
from reconciler.model.spec import Hold
from reconciler.present.document import plan_document
from reconciler.present.reading import read_plan
from tests.unit.workbench import Bench, Opened


def adopted(bench: Bench) -> int:
    """Have the state be a later epoch of who it was, as one that took its clients over."""
    before = bench.state.identity()
    bench.state.adopt(before.lineage, before.epoch + 1)
    return before.epoch + 1


def epochs(bench: Bench) -> dict[str, int]:
    return {name: machine.epoch for name, machine in bench.machines.items()}


def test_each_client_is_told_once_though_nothing_else_is_due_and_those_that_are_held_are_too(opened: Opened) -> None:
    bench = opened({"g": 3})
    bench.spec = replace(bench.spec, holds=(Hold("g-1", "INC-7"),))
    epoch = adopted(bench)
    plan = bench.plan()
    assert sum(claim.clients for claim in plan.claims) == 3
    assert read_plan(plan_document(plan)).claims == plan.claims
    versions = bench.versions
    assert verdict_error(bench.apply(), max_unreachable=0.0) is None
    assert set(epochs(bench).values()) == {epoch}
    assert bench.versions == versions
    assert bench.plan().empty


def test_who_can_not_be_told_is_counted_and_told_when_it_is_back(opened: Opened) -> None:
    bench = opened({"g": 3})
    epoch = adopted(bench)
    plan = bench.plan()
    bench.machines["g-2"].unreachable = True
    report = bench.apply(plan=plan)
    assert [failure.client for failure in report.unreachable] == ["g-2"]
    assert "it isn't taken over" in report.unreachable[0].message
    assert epochs(bench) == {"g-0": epoch, "g-1": epoch, "g-2": epoch - 1}
    bench.machines["g-2"].unreachable = False
    bench.apply()
    assert epochs(bench)["g-2"] == epoch
