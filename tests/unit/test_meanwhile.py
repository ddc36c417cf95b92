"""What people are told while a round goes on."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from reconciler.controller.meanwhile import telling, urgent
from reconciler.errors import StateError
from reconciler.model.policy import Wave
from reconciler.model.spec import Quarantine
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from threading import Event

    from tests.unit.workbench import Opened


def test_a_halt_and_who_is_left_alone_are_known_before_the_round_ends(opened: Opened) -> None:
    bench = opened(("a", "b"))
    bench.policy(waves=(Wave(count=1), Wave(share=1.0)))
    bench.check("works", phase="switched", where="client")
    bench.spec = replace(bench.spec, quarantine=Quarantine(after_failures=1))
    bench.release("2")
    for machine in bench.machines.values():
        machine.fails["works"] = {"2"}
    plan = bench.plan()
    with bench.work() as work:
        assert urgent(work, plan.rollouts) == ()
    bench.apply(plan=plan)
    with bench.work() as work:
        found = urgent(work, plan.rollouts)
    assert [(one.kind, one.about) for one in found] == [("rollout_halted", "rules 2"), ("client_quarantined", "")]


def test_people_are_told_again_and_again_while_a_round_goes_on_though_the_state_cannot_be_read_once() -> None:
    told: list[object] = []
    fails = [StateError("locked")]

    @contextmanager
    def opened() -> Iterator[Any]:
        if fails:
            raise fails.pop()
        yield SimpleNamespace(state=SimpleNamespace(await_news=lambda ended, seconds: ended.wait(seconds)))

    def tell(work: Any, ended: Event) -> None:
        told.append((work, ended.is_set()))

    with telling(tell, opened, beat=0.001):
        until(lambda: len(told) >= 2)
    count = len(told)
    assert not fails
    assert len(told) == count
