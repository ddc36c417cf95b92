"""What pages show while a run changes clients."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.controller.showing import REST, look_meanwhile, resting, showing
from reconciler.errors import StateError
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.workbench import Opened


def test_in_the_midst_of_a_run_it_is_seen_how_far_it_is_and_nobody_is_asked(opened: Opened) -> None:
    bench = opened({"g": 4})
    bench.release("2")
    bench.plan()
    seen: list[Any] = []
    for name in ("g-0", "g-1", "g-2", "g-3"):
        bench.apply(limit=name)
        before = [dict(machine.calls) for machine in bench.machines.values()]
        with bench.work() as work:
            status, observed = look_meanwhile(work)
        seen.append(status.components[0].updated)
        assert sum(len(cohort.members) for cohort in observed.cohorts) == 4
        assert [dict(machine.calls) for machine in bench.machines.values()] == before
    assert seen == [1, 2, 3, 4]


def test_the_fleet_is_shown_again_and_again_until_the_run_ends_though_the_state_cannot_be_read_once() -> None:
    shown: list[object] = []
    fails = [StateError("locked")]

    @contextmanager
    def opened() -> Iterator[Any]:
        if fails:
            raise fails.pop()
        yield SimpleNamespace(state=SimpleNamespace(await_news=lambda ended, every: ended.wait(every)))

    with showing(lambda work, _ended: shown.append(work), opened, every=0.001):
        until(lambda: len(shown) >= 2)
    assert not fails


@pytest.mark.parametrize("took", [0.5, 60.0])
def test_a_look_that_takes_long_is_followed_by_a_rest_that_is_much_longer(took: float) -> None:
    rests: list[float] = []
    times = iter([10.0, 10.0 + took])
    ended: Any = SimpleNamespace(wait=rests.append)
    work: Any = SimpleNamespace()
    resting(lambda _work, _ended: None, lambda: next(times))(work, ended)
    assert rests == [REST * took]
