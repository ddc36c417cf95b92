"""A month in the life of a fleet: bad releases stay where they show, good ones reach everyone in time."""

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reconciler.errors import UsageError
from reconciler.model.plan import Cohort
from reconciler.model.policy import AutoUpdate, Limits, Rollout, Schedule, Wave
from reconciler.model.rollout import UNDER_WAY
from reconciler.planner.waves import Lineup, first_waves
from reconciler.steering import Which, choose
from tests.draw import rounds
from tests.simulation import COMPONENT, START, World

HOUR = timedelta(hours=1)
CANARY = Wave(select="label=canary", soak=4 * HOUR, limits=Limits(min_attempted=1, max_failed=0))
WAVES = (CANARY, Wave(share=0.1, soak=2 * HOUR), Wave(share=1.0, at_once=2000))
MONTH = [
    *("good", "staged", "good", "soak", "good", "good", "switched", "good", "soak", "staged", "good", "switched"),
    *("good", "good", "soak", "good", "good", "switched", "good", "good"),
]


def policy(**fields: Any) -> Any:
    waves = fields.pop("waves", WAVES)
    return AutoUpdate(rollout=Rollout(waves=waves, recheck=True, **fields))


@pytest.mark.explore
@pytest.mark.parametrize("on_failure", ["halt", "rollback"])
def test_a_month(on_failure: str) -> None:
    clients = rounds(1_000)
    world = World(
        clients, {"g": policy(on_failure=on_failure), "h": policy(on_failure=on_failure)}, canaries=30, off=0.03
    )
    allowed = 6 * HOUR + 6 * HOUR  # the soaks, and an apply that comes up to two hours late for each of the steps
    versions = {START + at * timedelta(hours=36): (str(at + 2), kind) for at, kind in enumerate(MONTH)}
    due: dict[str, datetime] = {}
    while world.now < START + timedelta(days=30):
        if world.now in versions:
            version, kind = versions[world.now]
            world.release(version, kind)
            if kind == "good":
                due[version] = world.now + allowed
        world.apply()
        for version, at in list(due.items()):
            if world.now >= at:
                late = [m.name for m in world.on() if int(m.version) < int(version) and m.off_since is None]
                assert not late, (version, len(late))
                del due[version]
        world.now += 2 * HOUR
    for version, kind in versions.values():
        tried = {machine.name for machine in world.machines if version in machine.tried}
        if kind == "good":
            assert len(tried) > clients * 0.96
            assert world.memory.records[COMPONENT, version, ""].status == "done"
        else:  # all three kinds show in the first wave
            assert tried
            assert tried <= world.members(version, 1)
            assert world.memory.records[COMPONENT, version, ""].status == "halted"
            left = [machine for machine in world.machines if machine.version == version]
            assert not left or on_failure == "halt"
    got = Counter(count for machine in world.machines for count in machine.got.values())
    assert set(got) == {1}, got


@given(
    clients=st.integers(2, 40),
    groups=st.integers(1, 5),
    canaries=st.integers(0, 40),
    scope=st.sampled_from(["fleet", "group"]),
    kind=st.sampled_from(["good", "switched", "staged"]),
    off=st.sampled_from([0.0, 0.3]),
)
@settings(max_examples=100, deadline=None)
def test_without_a_word_no_release_ever_meets_all_clients_at_once(
    clients: Any, groups: Any, canaries: Any, scope: Any, kind: Any, off: Any
) -> None:
    groups = min(groups, clients)
    policies = {f"g{n}": AutoUpdate(rollout=Rollout(scope=scope)) for n in range(groups)}
    world = World(clients, policies, canaries=canaries, off=off)
    world.release("2", kind)
    answering = world.on()
    world.apply()
    tried = [machine for machine in world.machines if "2" in machine.tried]
    lanes = ([m.group for m in answering] if scope == "group" else [""] * len(answering)) if answering else []
    sizes = Counter(lanes)
    assert len({machine.group for machine in tried}) == len(tried), "two of one group"
    for lane, size in sizes.items():
        sent = [machine for machine in tried if lane in {"", machine.group}]
        assert len(sent) <= 3
        assert len(sent) < size or size == 1
        marked = [m for m in answering if lane in {"", m.group} and "canary" in m.labels]
        assert not marked or all("canary" in machine.labels for machine in sent)
        assert sent
    if kind == "good":
        world.now += HOUR / 2
        world.apply()
        assert {machine.version for machine in world.on()} == {"2"}


def test_what_shows_only_in_a_later_wave_stays_there() -> None:
    world = World(2_000, {"g": policy(waves=(Wave(share=0.01), Wave(share=0.2), Wave(share=1.0)))}, off=0.0)
    world.release("2", "good")
    # as if only machines that are in no canary couldn't bear it
    first = None
    normal = world._send

    def send(machine: Any, deploy: Any, breaker: Any) -> None:
        nonlocal first
        first = first or world.members("2", 1)  # type: ignore[redundant-expr]
        world.kinds["2"] = "good" if machine.name in first else "switched"
        normal(machine, deploy, breaker)

    world._send = send  # type: ignore[method-assign]
    world.apply()
    assert world.memory.records[COMPONENT, "2", ""].status == "halted"
    tried = {machine.name for machine in world.machines if "2" in machine.tried}
    assert tried <= world.members("2", 2)
    assert len(tried) > len(world.members("2", 1))
    assert len(tried) < 40, "it went on long after the limit was passed"


def test_a_blocked_release_is_left_at_once_and_the_next_goes_its_way() -> None:
    world = World(500, {"g": policy(on_failure="halt")}, canaries=5)
    world.release("2", "soak")
    for _ in range(6):
        world.apply()
        world.now += HOUR
    assert {machine.version for machine in world.machines} == {"1", "2"}
    world.blocked["2"] = "INC-1"
    world.apply()
    assert {machine.version for machine in world.machines} == {"1"}
    world.release("3", "good")
    for _ in range(9):
        world.apply()
        world.now += HOUR
    assert {machine.version for machine in world.machines} == {"3"}


def within(lineup: Any, at: Any, part: Any) -> Any:
    inside = lineup.split(at, (part,)).get((True,))
    return () if inside is None else inside.names


shares = st.lists(st.integers(1, 99), max_size=4, unique=True).map(sorted)


@given(
    count=st.integers(1, 300),
    labelled=st.integers(0, 20),
    canary=st.booleans(),
    apart=st.integers(0, 5),
    cut_at=shares,
    groups=st.integers(1, 4),
)
@settings(max_examples=150, deadline=None)
def test_waves_partition_the_fleet(
    count: Any, labelled: Any, canary: Any, apart: Any, cut_at: Any, groups: Any
) -> None:
    waves = [Wave(select="label=canary")] if canary else []
    waves += [Wave(count=apart, apart=True)] if apart else []
    waves += [*(Wave(share=share / 100) for share in cut_at), Wave(share=1.0)]
    names = [f"host-{n}" for n in range(count)]
    cohorts = [
        Cohort(f"g{g}", tuple(sorted(part)), selected=frozenset(["label=canary"] if mark else []))
        for g in range(groups)
        for mark in (True, False)
        if (part := [name for n, name in enumerate(names) if n % groups == g and (n < labelled) is mark])
    ]
    among = tuple(range(len(cohorts)))
    lineup = Lineup(cohorts)
    cuts, sizes = lineup.cut(waves, among)
    members = []
    for wave in range(1, len(waves) + 1):
        upper = {name for at in among for name in within(lineup, at, first_waves(cuts, wave))}
        lower = {name for at in among for name in within(lineup, at, first_waves(cuts, wave - 1))}
        assert lower <= upper
        members.append(upper - lower)
        counted = sum(
            lineup.count(at, first_waves(cuts, wave)) - lineup.count(at, first_waves(cuts, wave - 1)) for at in among
        )
        assert counted == len(upper - lower) == sizes[wave - 1]
    assert sum(map(len, members)) == count
    assert set().union(*members) == set(names)
    for wave, share in zip(reversed(waves[:-1]), reversed(range(len(waves) - 1)), strict=True):  # type: ignore[assignment]
        if wave.share:  # type: ignore[attr-defined]
            so_far = sum(map(len, members[: share + 1]))
            before = sum(map(len, members[:share]))
            assert so_far == max(before, -(-round(wave.share * 100) * count // 100))  # type: ignore[attr-defined]
    assert Lineup(cohorts[::-1]).cut(waves, among) == (cuts, sizes)


@given(gaps=st.lists(st.sampled_from([0, 0, 7, 25, 61, 190, 700]), min_size=12, max_size=30), seed=st.integers(0, 9))
@settings(max_examples=4, deadline=None)
def test_nothing_is_done_twice_or_skipped_however_applies_come(gaps: Any, seed: int) -> None:
    """Applies come late, twice, and over the end of summer time; then as often as it takes."""
    night = Schedule(at=time(1, 30), spread=3 * HOUR, zone=ZoneInfo("Europe/Berlin"))
    waves = (Wave(count=3, apart=True, soak=HOUR, limits=Limits(min_attempted=1)), Wave(share=0.4), Wave(share=1.0))
    world = World(
        40,
        {"g": AutoUpdate(trigger="schedule", schedule=night, rollout=Rollout(waves=waves, limits=Limits()))},
        off=0.05,
    )
    world.now = datetime(2026, 10, 24, 10 + seed, tzinfo=UTC)
    for version in ("2", "3"):
        world.release(version, "good")
        for gap in gaps:
            world.apply()
            again = world.apply()
            assert again == 0
            world.now += timedelta(minutes=gap)
        for _ in range(24 * 14):
            world.apply()
            world.now += HOUR
        assert {machine.version for machine in world.machines} == {version}
    assert all(count == 1 for machine in world.machines for count in machine.got.values())
    assert all(set(machine.got) == {"2", "3"} for machine in world.machines)


@given(st.lists(st.sampled_from(["join", "leave", "apply"]), max_size=30))
@settings(max_examples=40, deadline=None)
def test_those_who_join_fall_into_place(steps: Any) -> None:
    waves = (
        Wave(share=0.1, soak=5 * HOUR, limits=Limits(min_attempted=0)),
        Wave(share=0.5, soak=5 * HOUR),
        Wave(share=1.0),
    )
    world = World(60, {"g": AutoUpdate(rollout=Rollout(waves=waves))})
    world.release("2", "good")
    world.apply()
    first = world.members("2", 1)
    for at, step in enumerate(steps):
        if step == "join":
            twin = World(1, {"g": policy()}).machines[0]
            twin.name = f"new-{at}"
            world.machines.append(twin)
            world.by_name[twin.name] = twin
        elif step == "leave" and len(world.machines) > 30:
            world.machines.pop()
        else:
            world.now += HOUR
            world.apply()
        record = world.memory.records[COMPONENT, "2", ""]
        inside = world.members("2", record.wave)
        assert first & {machine.name for machine in world.machines} <= inside
        assert all(machine.name in inside for machine in world.machines if machine.version == "2")


def steer(world: Any, verb: Any, which: Any) -> None:
    """Do what a command does to the rollout that it finds, if it finds one."""
    statuses = {
        "pause": {"running"}, "resume": {"paused", "halted", "aborted"}, "approve": UNDER_WAY,
        "abort": {"running", "paused", "halted"}, "undo": {"running", "paused", "halted"},
    }[verb]  # fmt: skip
    succession = world.succession()
    records = [record.cut(world.now) for record in world.memory.records.values()]
    with suppress(UsageError):
        record = choose(succession, records, Which(COMPONENT, which), statuses, verb)  # type: ignore[arg-type]
        changed = {  # type: ignore[no-untyped-call]
            "pause": lambda: replace(record, status="paused", reason="by eva"),
            "resume": lambda: succession.resumed(record).record,
            "approve": lambda: succession.approved(record, "eva")[0],
            "abort": lambda: replace(record, status="aborted", reason="by eva"),
            "undo": lambda: replace(record, status="aborted", reason="by eva", undo="all"),
        }[verb]()
        if verb == "resume" and record.status != "paused":
            world.memory.forget_failures(record.key)
        world.memory.record_rollout(changed)


class Watched(World):
    """Looks at each client that gets a release, whether the wave before its own has soaked."""

    def _send(self, machine: Any, deploy: Any, breaker: Any) -> None:
        key = COMPONENT, deploy.to, ""
        if deploy.wave and not deploy.downgrade and self.kinds[deploy.to] == "good":
            waves = range(1, len(self.memory.records[key].cuts) + 1)
            own = next(wave for wave in waves if machine.name in self.members(deploy.to, wave))
            before = self.members(deploy.to, own - 1) - self.members(deploy.to, max(own - 2, 0))
            assert own == 1 or before
            for name in before:
                one = self.by_name[name]
                assert one.version == deploy.to, (
                    f"{machine.name} gets {deploy.to}, and {name} of the wave before lacks it"
                )
                assert self.gone - one.changed >= SOAK, f"{machine.name} gets {deploy.to} too early after {name}"
        super()._send(machine, deploy, breaker)


SOAK = HOUR
minutes = st.sampled_from([1, 20, 30, 61, 61, 61, -1, -30, -61, 60 * 24 * 365 * 10, -60 * 24 * 365 * 10])
steps_ = st.one_of(
    st.tuples(st.just("apply"), st.none() | st.integers(1, 5)),
    st.tuples(st.just("clock"), minutes),
    st.tuples(st.just("release"), st.sampled_from(["good", "good", "staged"])),
    st.tuples(st.sampled_from(["pause", "resume", "resume", "approve", "abort", "undo"]), st.integers(0, 3)),
)


APPLY, LATER, UNDO, RESUME = ("apply", None), ("clock", 61), ("undo", 0), ("resume", 0)
TAKEN_BACK = [APPLY, LATER, APPLY, UNDO, APPLY, RESUME, APPLY]
OVERTAKEN = [
    ("release", "staged"),
    APPLY,
    ("release", "good"),
    APPLY,
    RESUME,
    ("resume", 2),
    APPLY,
    ("abort", 2),
    APPLY,
]


@given(
    st.lists(steps_, min_size=10, max_size=40),
    st.sampled_from(["queue", "finish", "supersede"]),
    st.sampled_from(["halt", "rollback"]),
)
@example(TAKEN_BACK, "queue", "halt")
@example(OVERTAKEN, "queue", "halt")
@settings(max_examples=50, deadline=None)
def test_no_wave_opens_before_the_one_before_has_soaked_whatever_commands_kills_and_clocks_do(
    steps: Any, newer: Any, on_failure: Any
) -> None:
    waves = (
        Wave(count=2, soak=SOAK, limits=Limits(min_attempted=1, max_failed=0)),
        Wave(count=5, soak=SOAK),
        Wave(share=1.0, approve=True),
    )
    world = Watched(9, {"g": AutoUpdate(rollout=Rollout(waves=waves, newer=newer, on_failure=on_failure))})
    world.release("2", "good")
    for what, how in steps:
        latest = max(map(int, world.releases))
        if what == "apply":
            world.apply(kill=how)
        elif what == "clock":
            world.clock(timedelta(minutes=how))
        elif what == "release":
            world.release(str(latest + 1), how)
        else:
            steer(world, what, str(latest + 1 - how) if how else "")


class Picky(World):
    """Its releases are good on the machines of `old`, and bad on all others; `burnt` got one in this apply."""

    old: frozenset[str] = frozenset()
    burnt: frozenset[str] = frozenset()

    def _send(self, machine: Any, deploy: Any, breaker: Any) -> None:
        good = machine.name in self.old
        self.kinds[deploy.to] = "good" if good else "switched"
        self.burnt |= frozenset() if good else {machine.name}
        super()._send(machine, deploy, breaker)


NAMES = [f"pc-{n:05}" for n in range(12)]
some = st.sets(st.sampled_from(NAMES), max_size=11)
FEW = 3
COMES_BACK = [("off", set(NAMES[1:])), ("apply", ""), ("clock", 61), ("apply", ""), ("off", set()), ("apply", "")]
HALF_IS_OFF = [("off", set(NAMES[7:])), ("apply", ""), ("clock", 61), ("apply", ""), ("off", set()), ("apply", "")]
NEW_STATE = [("off", set()), ("lose", None), ("apply", NAMES[0]), ("clock", 61), ("apply", NAMES[0]), ("apply", "")]  # type: ignore[var-annotated]


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("off"), some),
            st.tuples(st.just("apply"), st.sampled_from(["", "", NAMES[0], ",".join(NAMES[:4])])),
            st.tuples(st.just("clock"), st.sampled_from([1, 61, 60 * 24])),
            st.tuples(st.just("lose"), st.none()),
        ),
        min_size=6,
        max_size=24,
    ),
    old=some,
)
@example(COMES_BACK, {NAMES[0]})
@example(NEW_STATE, {NAMES[0]})
@example(HALF_IS_OFF, set(NAMES[:7]))
@settings(max_examples=60, deadline=None)
def test_a_release_that_late_clients_can_not_bear_never_meets_many_of_them_at_once(steps: Any, old: Any) -> None:
    canary = Wave(count=1, apart=True, soak=HOUR, limits=Limits(min_attempted=1, max_failed=0))
    waves = (canary, Wave(share=0.1), Wave(share=1.0))
    world = Picky(12, {"g": AutoUpdate(rollout=Rollout(waves=waves))})
    world.old = frozenset(old)
    world.release("2", "good")
    for what, how in steps:
        if what == "off":
            world.off = how
        elif what == "clock":
            world.clock(timedelta(minutes=how))
        elif what == "lose":
            world.lose_state()
        else:
            world.burnt, world.limit = frozenset(), how
            world.apply()
            assert len(world.burnt) <= FEW
    world.off, world.limit, world.old = set(), "", frozenset(NAMES)
    for _ in range(3):  # a wave that nobody could be tried in, one that soaks, and the rest
        for record in world.memory.records.values():
            if record.status == "halted":
                world.memory.forget_failures(record.key)
                world.memory.record_rollout(world.succession().resumed(record).record)
        for _each in range(3):
            world.clock(HOUR)
            world.apply()
    assert {machine.version for machine in world.machines} == {"2"}
    assert world.memory.records[COMPONENT, "2", ""].status == "done"
