"""Clients that come back: noticed in a look, and brought up to date in the same round, where the policy says so."""

from dataclasses import replace
from datetime import time, timedelta
from typing import Any

import pytest

from reconciler.controller.round import Round, go_round
from reconciler.model.policy import AutoUpdate, Limits, Rollout, Schedule, Wave, Window
from tests.unit.workbench import COMPONENT, Bench, Opened

HOUR = timedelta(hours=1)
NIGHT = Schedule(at=time(2), spread=timedelta(minutes=10))
"""Hours that lie far from the noon at which tests begin."""


@pytest.fixture
def bench(opened: Opened) -> Bench:
    made = opened(["a", "b"])
    made.now += 24 * HOUR
    return made


def policy(bench: Bench, **more: Any) -> None:
    waves = (Wave(share=1.0, limits=Limits(min_attempted=1)),)
    made = AutoUpdate(trigger="seen", rollout=Rollout(waves=waves), **more)
    bench.spec = replace(bench.spec, policies=dict.fromkeys(bench.spec.policies, made))


def go(bench: Bench) -> Round:
    with bench.work() as work:
        return go_round(work, bench.spec.path, lambda: bench.spec.holds, forks=1, changing=lambda _round: None)


def comes_back(bench: Bench, name: str, *, away: timedelta) -> None:
    """Have a client be off, as a round sees, and on again some time later."""
    bench.machines[name].unreachable = True
    bench.now += bench.spec.controller.look
    go(bench)
    bench.now += away
    bench.machines[name].unreachable = False


def test_a_client_that_answers_again_gets_what_is_due_in_the_same_round(bench: Bench) -> None:
    policy(bench, schedule=NIGHT)
    bench.release("2")
    assert go(bench).report is not None
    assert bench.running("2") == set()
    comes_back(bench, "b", away=3 * HOUR)
    go(bench)
    assert bench.running("2") == {"b"}


def test_a_client_that_is_new_gets_what_is_due_in_the_same_round(bench: Bench) -> None:
    policy(bench)
    bench.release("2")
    go(bench)
    bench.now += HOUR
    groups = bench.spec.groups
    (name, group), *_rest = groups.items()
    newcomer = replace(group.clients[0], name="new", install_root="/r/new")
    bench.spec = replace(bench.spec, groups={**groups, name: replace(group, clients=(*group.clients, newcomer))})
    bench.machines["new"] = type(bench.machines["a"])()
    go(bench)
    assert bench.versions["new"] == "2"
    assert bench.running("1") == {"a", "b"}


def test_a_client_that_came_back_outside_of_a_window_gets_it_when_the_window_opens(bench: Bench) -> None:
    policy(bench, windows=(Window(time(20), time(22)),))
    bench.release("2")
    go(bench)
    comes_back(bench, "b", away=HOUR)
    go(bench)
    assert bench.running("2") == set()
    bench.now = bench.now.replace(hour=20, minute=5)
    go(bench)
    assert bench.running("2") == {"b"}


def test_a_release_that_comes_later_waits_until_a_client_comes_back_again(bench: Bench) -> None:
    policy(bench)
    comes_back(bench, "b", away=HOUR)
    go(bench)
    bench.now += HOUR
    bench.release("2")
    go(bench)
    bench.now += HOUR
    go(bench)
    assert bench.running("2") == set()
    comes_back(bench, "b", away=HOUR)
    go(bench)
    assert bench.running("2") == {"b"}
    assert COMPONENT in bench.machines["b"].components


def test_another_trigger_lets_nobody_jump_the_queue(bench: Bench) -> None:
    policy(bench, schedule=NIGHT)
    made = {key: replace(one, trigger="schedule") for key, one in bench.spec.policies.items()}
    bench.spec = replace(bench.spec, policies=made)
    bench.release("2")
    go(bench)
    comes_back(bench, "b", away=HOUR)
    go(bench)
    assert bench.running("2") == set()
