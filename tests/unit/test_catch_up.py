"""Clients that come late to a release: they were off, are new, or nobody looked at them yet."""

from datetime import timedelta
from typing import Any

import pytest

from reconciler.execute.rollouts import Breaker
from reconciler.model.change import Deploy
from reconciler.model.policy import AutoUpdate, CatchUp, Limits, Rollout, Wave
from reconciler.model.rollout import RolloutRecord
from tests.simulation import COMPONENT, Machine, World

HOUR = timedelta(hours=1)
WAVES = (
    Wave(count=1, apart=True, soak=HOUR, limits=Limits(min_attempted=1, max_failed=0)),
    Wave(share=0.1),
    Wave(share=1.0),
)
ANY = Limits(max_fail_percentage=100.0, max_unreachable_percentage=100.0)


def fleet(clients: Any, *, waves: Any = WAVES, groups: Any = 1, **rollout: Any) -> World:
    made = World(clients, {f"g{n}": AutoUpdate(rollout=Rollout(waves=waves, **rollout)) for n in range(groups)})
    made.release("2", "good")
    return made


def names(world: World, first: int, last: int | None = None) -> set[str]:
    return {machine.name for machine in world.machines[first:last]}


def running(world: World, version: str = "2") -> set[str]:
    return {machine.name for machine in world.machines if machine.version == version}


def record(world: World, version: str = "2") -> RolloutRecord:
    return world.memory.records[COMPONENT, version, ""]


def apply(world: World, hours: int = 0, *, off: set[str] | None = None, limit: str = "") -> None:
    world.off = world.off if off is None else off
    world.limit = limit
    world.clock(hours * HOUR)
    world.apply()


def says(world: World, version: str = "2") -> str:
    return next(step.says for step in world.plan().rollouts if step.record.version == version)


def done_without(off: int, clients: int = 100, **rollout: CatchUp | str | tuple[Wave, ...]) -> World:
    """Give a fleet whose rollout is done while some were off."""
    world = fleet(clients, **rollout)
    apply(world, off=names(world, clients - off))
    apply(world, 1)
    assert record(world).status == "done"
    return world


# --- nobody looked --------------------------------------------------------------------------------------------------


def test_a_rollout_that_began_with_a_limit_on_a_new_state_goes_to_the_others_by_its_waves() -> None:
    world = fleet(11)
    world.lose_state()
    apply(world, limit="pc-00000")
    apply(world, 1, limit="pc-00000")
    assert running(world) == {"pc-00000"}
    assert says(world) == (
        "wave 2 of 3 is open: at 1 of its clients nobody looked yet; a plan for the whole fleet goes on"
    )
    world.kinds["2"] = "switched"
    apply(world, 1)
    assert (record(world).status, running(world)) == ("halted", {"pc-00000"})
    assert len([machine for machine in world.machines if "2" in machine.tried]) == 2


def test_who_is_off_at_the_first_look_keeps_no_wave_open() -> None:
    world = fleet(11)
    world.lose_state()
    apply(world, limit="pc-00000")
    apply(world, 1, off={"pc-00010"})
    assert running(world) == names(world, 0, 10)
    assert record(world).status == "done"


# --- nobody could be tried ------------------------------------------------------------------------------------------


def test_a_rollout_whose_others_are_all_off_waits_for_them_and_goes_on_by_its_gates() -> None:
    world = fleet(6)
    apply(world, off=names(world, 1))
    apply(world, 1)
    assert (record(world).status, says(world)) == (
        "running",
        "wave 3 of 3 waits for its clients: none of 5 could be tried so far",
    )
    world.kinds["2"] = "switched"
    apply(world, 1, off=set())
    assert (record(world).status, running(world)) == ("halted", {"pc-00000"})
    assert len([machine for machine in world.machines if "2" in machine.tried]) == 2


def test_nothing_newer_waits_for_clients_that_are_off() -> None:
    world = fleet(6)
    apply(world, off=names(world, 1))
    apply(world, 1)
    world.release("3", "good")
    apply(world, 1)
    assert running(world, "3") == {"pc-00000"}
    for _each in range(3):
        apply(world, 1, off=set())
    assert running(world, "3") == names(world, 0)
    assert record(world).status == "superseded"


def test_where_all_of_a_wave_are_off_others_of_their_group_stand_in() -> None:
    world = fleet(40, groups=2)
    apply(world)
    later = sorted(world.members("2", 2) - world.members("2", 1))
    world.kinds["2"] = "staged"
    apply(world, 1, off=set(later))
    tried = {machine.name for machine in world.machines if "2" in machine.tried} - world.members("2", 1)
    assert (record(world).status, record(world).wave, len(tried)) == ("halted", 2, 1)
    assert len(record(world).cuts[1].instead) == len(later)
    assert not tried & set(later)


@pytest.mark.parametrize("limits", [Limits(), ANY])
def test_a_wave_of_which_one_client_answers_is_passed_without_the_others(limits: Limits) -> None:
    world = fleet(6, limits=limits)
    apply(world, off=names(world, 2))
    apply(world, 1)
    assert (record(world).status, running(world)) == ("done", names(world, 0, 2))


# --- the rollout is done --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("off", "limit", "at_once"),
    [(5, CatchUp(), True), (6, CatchUp(), False), (1, CatchUp(0, 0.0), False), (30, CatchUp(30, 0.0), True)],
)
def test_more_late_clients_than_may_go_at_once_go_by_waves(off: int, limit: CatchUp, at_once: bool) -> None:
    world = done_without(off, catch_up=limit)
    apply(world, 1, off=set())
    assert len(running(world)) == (100 if at_once else 100 - off + 1)
    for _each in range(3):
        apply(world, 1)
    assert running(world) == names(world, 0)
    assert record(world).status == "done"


def test_of_a_small_fleet_three_may_come_late_at_once() -> None:
    for late in (3, 4):
        world = done_without(late, 8)
        apply(world, 1, off=set())
        assert len(running(world)) == (8 if late == 3 else 5)


@pytest.mark.parametrize("kind", ["switched", "staged"])
def test_a_release_that_late_clients_can_not_bear_stops_at_the_first_of_them(kind: str) -> None:
    world = done_without(40)
    world.kinds["2"] = kind
    apply(world, 1, off=set())
    late = [machine.name for machine in world.machines[60:] if "2" in machine.tried]
    assert (len(late), record(world).status) == (1, "halted")
    assert running(world) == names(world, 0, 60), "who had it keeps it"


def test_who_had_the_version_counts_in_no_gate_of_those_who_come_late() -> None:
    waves = (Wave(share=0.5, limits=Limits(min_attempted=1, max_fail_percentage=20.0)), Wave(share=1.0))
    world = done_without(10, waves=waves)
    normal, bad = world._send, []

    def send(machine: Machine, deploy: Deploy, breaker: Breaker) -> None:
        bad.append(machine.name)
        world.kinds["2"] = "staged" if len(bad) <= 2 else "good"
        normal(machine, deploy, breaker)

    world._send = send  # type: ignore[assignment, method-assign]
    apply(world, 1, off=set())
    assert record(world).status == "halted", "2 of 5 are more than a fifth; with all that had it they are few"


@pytest.mark.parametrize("scope", ["wave", "all"])
def test_nothing_goes_back_that_was_there_before_the_late_ones(scope: str) -> None:
    world = done_without(40, on_failure="rollback", rollback_scope=scope)
    apply(world, 1, off=set())
    fine = running(world)
    world.kinds["2"] = "switched"
    for _each in range(2):
        apply(world, 1)
    assert (record(world).status, record(world).wave) == ("halted", 2)
    assert running(world) == fine > names(world, 0, 60)


def test_what_clients_go_down_to_is_there_at_once_while_late_ones_go_by_waves() -> None:
    world = fleet(100)
    apply(world)
    apply(world, 1)
    world.release("3", "good")
    for at, machine in enumerate(world.machines[20:]):
        machine.version = "3" if at < 40 else "1"
    world.wanted = "2"
    apply(world, 1)
    assert running(world) >= names(world, 0, 60)
    assert len(running(world)) == 61


def test_a_release_waits_for_late_clients_of_the_one_before_like_for_any_others() -> None:
    world = done_without(40)
    apply(world, 1, off=set())
    world.release("3", "good")
    apply(world)
    assert running(world, "3") == set()
    for _each in range(4):
        apply(world, 1)
    assert running(world, "3") == names(world, 0)


def test_a_halted_release_stays_in_sight_while_late_clients_get_the_one_before() -> None:
    world = done_without(40)
    world.release("3", "staged")
    apply(world)
    assert record(world, "3").status == "halted"
    apply(world, 1, off=set())
    shown = {step.record.version: step.record.status for step in world.plan().rollouts}
    assert shown == {"2": "running", "3": "halted"}
    for _each in range(3):
        apply(world, 1)
    assert running(world) == names(world, 0)
