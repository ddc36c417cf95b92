"""A client that says nothing for long lends its place to another one, within bounds."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import replace
from io import BytesIO
from threading import Condition, Event, Thread, get_ident
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.client import reach as reaching
from reconciler.client.pulse import REACHED, HeardSession, Wait
from reconciler.client.reach import Reach
from reconciler.errors import LimitError, TransportError
from reconciler.model.batch import Answer, Batch, Change, Ended, Look, Order, Target
from reconciler.model.client import Client, Facts, Profile
from reconciler.model.deploy import DeployReport, DeployRequest, Outcome, Step
from reconciler.model.release import ReleaseFile, content_digest
from reconciler.worker.lending import FAR, FEW, FIRST, FLOOR, SHARE, Lending
from reconciler.worker.pool import Pool
from tests.fakes import NOW
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reconciler.client.pulse import Pulse

CHANGED = Wait("changed", "rules 2")
LOOKED = Wait("looked at")
LONG = 1000.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Clients:
    """Clients under way, without threads: each waits until a test lets it go on."""

    def __init__(self, forks: int, most: int) -> None:
        self.clock = Clock()
        self.lending = Lending(forks, most, clock=self.clock)

    @contextmanager
    def wait(self, wait: Wait) -> Iterator[Pulse]:
        pulse = self.lending.begin()
        pulse.begin(wait)
        well = False
        try:
            yield pulse
            well = True
        finally:
            pulse.end(well=well)
            self.lending.end(pulse)

    def pass_by(self, wait: Wait, seconds: float, times: int = FEW) -> None:
        """Have some clients come through a wait, each silent for so long."""
        for _time in range(times):
            with self.wait(wait):
                self.clock.now += seconds

    def silent(self, *waits: Wait) -> list[Pulse]:
        """Have some more clients wait, for very long."""
        pulses = []
        for wait in waits:
            pulse = self.lending.begin()
            pulse.begin(wait)
            pulses.append(pulse)
        self.clock.now += LONG
        return pulses

    @property
    def lent(self) -> int:
        self.clock.now += 0.05  # it looks no more often
        self.lending.look()
        return self.lending.lent


# --- who is silent ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("usual", "limit"), [(0.0, FLOOR), (1.0, FAR), (40.0, FAR * 40)])
@pytest.mark.parametrize("wait", [REACHED, LOOKED, CHANGED])
def test_a_client_that_says_nothing_for_far_longer_than_others_did_lends_its_place(
    wait: Wait, usual: float, limit: float
) -> None:
    clients = Clients(2, 8)
    clients.pass_by(wait, usual)
    with clients.wait(wait):
        clients.clock.now += limit - 0.06
        assert clients.lent == 0
        clients.clock.now += 0.07
        assert clients.lent == 1
    assert clients.lent == 0


def test_clients_that_are_all_slow_alike_lend_nothing() -> None:
    clients = Clients(2, 8)
    clients.pass_by(LOOKED, 0.1, times=100)
    clients.pass_by(LOOKED, 30.0, times=40)  # the machine got busy, or the line thin
    with clients.wait(LOOKED), clients.wait(LOOKED):
        clients.clock.now += 60
        assert clients.lent == 0


def test_a_wait_that_ended_badly_says_nothing_of_what_is_usual() -> None:
    clients = Clients(2, 8)
    clients.pass_by(REACHED, 0.01)
    for _time in range(100):
        with suppress(TransportError), clients.wait(REACHED):
            clients.clock.now += 10
            raise TransportError("no answer")
    with clients.wait(REACHED):
        clients.clock.now += 1
        assert clients.lent == 1


def test_while_nobody_came_through_who_is_reached_is_silent_after_a_while_and_a_change_never_is() -> None:
    clients = Clients(2, 8)
    with clients.wait(REACHED), clients.wait(CHANGED):
        clients.clock.now += FIRST - 0.1
        assert clients.lent == 0
        clients.clock.now += 0.2
        assert clients.lent == 1
        clients.clock.now += LONG
        assert clients.lent == 1


def test_a_change_is_compared_with_those_of_the_same_releases() -> None:
    clients = Clients(2, 8)
    clients.pass_by(CHANGED, 0.01, times=100)
    with clients.wait(Wait("changed", "engine 7, which restarts a service")):
        clients.clock.now += LONG
        assert clients.lent == 0


def test_content_that_is_taken_is_a_sign_and_the_time_in_which_it_is_brought_is_no_silence() -> None:
    clients = Clients(1, 8)
    lent: list[int] = []

    class Slow(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            lent.append(after(1.0))
            return b"x"

    class Line:
        """A stream that isn't in memory."""

        def __init__(self) -> None:
            self._stream = Slow()

        def read(self, size: int) -> bytes:
            return self._stream.read(size)

    def after(seconds: float) -> int:
        clients.clock.now += seconds
        return clients.lent

    @contextmanager
    def content(_sha256: str) -> Iterator[Any]:
        lent.append(after(1.0))
        yield Line()

    class Taking:
        def deploy(self, _request: object, content: Any) -> str:
            for _piece in range(3):
                with content("some") as stream:
                    stream.read(1)
                    lent.append(after(0.2))
                    stream.read(1)
            lent.append(after(1.0))
            return "done"

    taking: Any = Taking()
    clients.pass_by(Wait("changed", ("switch", None)), 0.1)
    pulse = clients.lending.begin()
    HeardSession(taking, pulse).deploy(request(), content)
    assert lent == [0] * (3 * 4) + [1]


# --- how much is lent -------------------------------------------------------------------------------------------------


def test_no_more_is_lent_than_may_be_under_way_in_all() -> None:
    clients = Clients(2, 8)
    clients.pass_by(REACHED, 0)
    lent = []
    for _client in range(9):
        clients.silent(REACHED)
        lent.append(clients.lent)
    assert lent == [1, 2, 3, 4, 5, 6, 6, 6, 6]


def test_changes_lend_as_much_again_as_there_are_forks_and_a_share_of_those_like_them_that_came_through() -> None:
    clients = Clients(4, 64)
    clients.pass_by(CHANGED, 0)
    clients.silent(*[CHANGED] * 20)
    assert clients.lent == 4
    others = Wait("changed", "others")
    clients.pass_by(others, 0)
    clients.silent(*[others] * 20)
    assert clients.lent == 4
    clients.pass_by(Wait("changed", "quick ones"), 0, times=10 * SHARE)
    assert clients.lent == 8
    clients.pass_by(CHANGED, 0, times=10 * SHARE - FEW)
    assert clients.lent == 10 + 4
    clients.silent(*[REACHED] * 20)
    assert clients.lent == 10 + 4 + 20


def test_where_the_machine_has_no_room_nothing_is_lent_any_more() -> None:
    clients = Clients(2, 8)
    first, *_rest = clients.silent(REACHED, REACHED, REACHED)
    assert clients.lent == 3
    first.crowded()
    assert clients.lending.lent == 0
    clients.silent(REACHED)
    assert clients.lent == 0


def test_with_no_more_than_forks_nothing_is_lent() -> None:
    clients = Clients(3, 3)
    clients.silent(REACHED, REACHED, REACHED)
    assert clients.lent == 0


# --- places for changes -----------------------------------------------------------------------------------------------


def test_who_comes_to_a_change_when_so_many_are_changed_waits_for_a_place() -> None:
    lending = Lending(1, 16)
    asked = Event()

    def over() -> bool:
        asked.set()
        return False

    assert [lending.begin_change(over), lending.begin_change(over)] == [False, False]
    assert not lending.begin_change(over, at_once=True)
    lending.end_change()
    assert not asked.is_set()
    waiting = Thread(target=lending.begin_change, args=[over], daemon=True)
    waiting.start()
    assert asked.wait(PATIENCE)
    assert lending.begin_change(lambda: True)  # all is over, and who had to wait is told
    lending.end_change()
    assert waiting.is_alive()
    lending.end_change()
    waiting.join(PATIENCE)
    assert not waiting.is_alive()


# --- a pool -----------------------------------------------------------------------------------------------------------


class Fleet:
    """A transport: some clients say nothing until they are let go, while they are reached or asked, and others answer.

    It knows who is under way, and who was silent for long by the clock that only the test sets.
    """

    def __init__(self, clock: Clock, **silent: str) -> None:
        self.clock = clock
        self.silent = silent
        self.changed = Condition()
        self.let_go: set[tuple[str, str]] = set()
        self.under_way: dict[str, float] = {}
        self.held: dict[str, str] = {}
        self.begun: list[str] = []
        self.audible = self.most = self.changing = 0

    @property
    def blocked(self) -> set[str]:
        """Give those who say nothing, and weren't let go."""
        with self.changed:
            return set(self.held)

    @contextmanager
    def connect(self, client: Client) -> Iterator[Any]:
        name = client.name
        with self.changed:
            self.begun.append(name)
            self.under_way[name] = self.clock.now
            heard = sum(self.clock.now - since <= FLOOR for since in self.under_way.values())
            self.audible, self.most = max(self.audible, heard), max(self.most, len(self.under_way))
        try:
            self.wait(name, "reached")
            yield _Session(self, name)
        finally:
            with self.changed:
                del self.under_way[name]

    def wait(self, name: str, where: str) -> None:
        if where not in self.silent.get(name, "").split():
            return
        with self.changed:
            while (name, where) not in self.let_go:
                self.held[name] = where
                self.changed.wait()
        if self.silent[name].endswith("dead"):
            raise TransportError("no answer")

    def free(self, *names: str, where: str = "") -> None:
        with self.changed:
            self.let_go.update((name, at) for name in names for at in ("reached", "asked") if where in {"", at})
            self.held = {name: at for name, at in self.held.items() if (name, at) not in self.let_go}
            self.changed.notify_all()


class _Session:
    def __init__(self, fleet: Fleet, name: str) -> None:
        self._fleet = fleet
        self._name = name

    def facts(self, _root: str, **_options: object) -> Facts:
        self._fleet.wait(self._name, "asked")
        return Facts(Profile("linux-x86_64", ()), 1)

    def deploy(self, request: DeployRequest, _content: object) -> DeployReport:
        fleet = self._fleet
        with fleet.changed:
            fleet.changing += 1
        fleet.wait(self._name, "asked")
        with fleet.changed:
            fleet.changing -= 1
        outcomes = (Outcome(step.component, "changed", step.to_version, step.to_digest) for step in request.steps)
        return DeployReport(tuple(outcomes), 0)


def a_step() -> Step:
    files = (ReleaseFile("data", 1, "0" * 64),)
    return Step(
        component="rules",
        from_version="",
        from_digest="",
        to_version="2",
        to_digest=content_digest(files),
        files=files,
    )


def request() -> DeployRequest:
    return DeployRequest(lineage="mine", epoch=1, install_root="/r", keep=2, steps=(a_step(),))


CHANGE = Change(lineage="mine", epoch=1, keep=2, steps=(a_step(),))


class Watched(Lending):
    """Knows who waits for a place in which to be changed."""

    waiting: set[int]

    def begin_change(self, over: Callable[[], bool], *, at_once: bool = False) -> bool:
        me = get_ident()

        def waits() -> bool:
            self.waiting.add(me)
            return over()

        waited = super().begin_change(waits, at_once=at_once)
        self.waiting.discard(me)
        return waited


class Run:
    """A pool that is given clients as it has room, as by who uses it."""

    def __init__(self, fleet: Fleet, lending: Watched, task: Any = None) -> None:
        self.fleet = fleet
        self.stop = Event()
        self.lending = lending
        lending.waiting = set()
        reach: Any = Reach(lambda _group: fleet, self.stop)
        content: Any = None
        self.pool = Pool(reach, content, forks=lending.forks, stop=self.stop, clock=lambda: NOW, lending=lending)
        self.task = task or Look()
        self.given = 0
        self.answers: list[Answer] = []
        self.ended: list[str] = []

    def __enter__(self) -> None:
        """Work until the block is left."""

    def __exit__(self, *error: object) -> None:
        self.fleet.free(*self.fleet.silent)
        with self.pool:
            pass

    def work(self, left: list[str]) -> None:
        """Give all that there is room for until all under way are held up."""

        def rests() -> bool:
            while left and self.pool.room("") > 0:
                self.give(left.pop(0))
            rest = self.given - self.take() == self.held_up
            return rest and not (left and self.pool.room("") > 0)

        until(rests)

    def take(self) -> int:
        """Take what was reported, and give how many were answered for."""
        for report in self.pool.receive(0.002):
            if isinstance(report, Answer):
                self.answers.append(report)
            elif isinstance(report, Ended):
                self.ended.append(report.batch)
        return len(self.answers)

    @property
    def held_up(self) -> int:
        return len(self.fleet.blocked) + len(self.lending.waiting)

    def give(self, name: str) -> None:
        self.given += 1
        batch = Batch(id=name, run_id="r", group="g", task=self.task, targets=(Target(client=Client(name, "g")),))
        self.pool.give("", Order(batch))

    def names(self) -> list[str]:
        return [answer.client for answer in self.answers]


def known(fleet: Fleet, lending: Watched, task: Any = None) -> Run:
    """Begin a run in which it is known by now that clients answer at once."""
    run = Run(fleet, lending, task)
    run.work([f"known{at}" for at in range(FEW)])
    return run


@settings(max_examples=40)
@given(
    forks=st.integers(1, 4),
    lent=st.integers(0, 8),
    kinds=st.lists(st.sampled_from(["", "", "reached", "asked"]), min_size=1, max_size=30),
    change=st.booleans(),
)
def test_silent_clients_hold_up_nobody_else_within_the_bounds_and_everybody_is_answered_for_once(
    forks: int, lent: int, kinds: list[str], change: bool
) -> None:
    clock = Clock()
    names = [f"c{at}" for at in range(len(kinds))]
    silent = {name: kind for name, kind in zip(names, kinds, strict=True) if kind}
    fleet = Fleet(clock, **silent)
    lending = Watched(forks, forks + lent, clock=clock)
    run = known(fleet, lending, CHANGE if change else None)
    left = list(names)

    def bound() -> int:
        """Say how many places are lent for those who are held up now."""
        changed = sum(change and silent[name] == "asked" for name in fleet.blocked)
        return min(len(fleet.blocked) - changed + min(changed, forks), lent)

    with run:
        while len(run.answers) < FEW + len(names):
            run.work(left)
            begun = len(fleet.begun)
            for _look in range(2):  # what is silent is lent at once, and those who come then are silent next
                clock.now += 1.0
                run.work(left)
            if len(fleet.begun) > begun:
                continue
            assert not left or run.held_up >= forks + bound()
            fleet.free(*sorted(fleet.blocked)[:1])
    assert sorted(run.names()) == sorted([*names, *(f"known{at}" for at in range(FEW))])
    assert sorted(run.ended) == sorted(run.names())
    assert fleet.most <= forks + lent
    assert fleet.audible <= forks


def test_those_who_answer_are_through_before_any_that_is_silent_is() -> None:
    clock = Clock()
    silent = {f"dead{at}": "reached" for at in range(6)} | {f"slow{at}": "asked" for at in range(2)}
    quick = [f"quick{at}" for at in range(30)]
    fleet = Fleet(clock, **silent)
    run = known(fleet, Watched(2, 12, clock=clock), CHANGE)
    left = [*silent, *quick]
    with run:
        while left:
            clock.now += 1.0
            run.work(left)
        assert set(run.names()) >= set(quick)
        assert fleet.blocked == set(silent)
        fleet.free(*silent)
        run.work(left)
    assert {answer.error for answer in run.answers} == {None}


def test_a_pool_in_which_all_are_silent_alike_ends_and_begins_no_change_beyond_its_forks() -> None:
    clock = Clock()
    names = [f"c{at}" for at in range(12)]
    fleet = Fleet(clock, **dict.fromkeys(names, "asked"))
    run = Run(fleet, Watched(2, 32, clock=clock), CHANGE)
    left = list(names)
    with run:
        while len(run.answers) < len(names):
            run.work(left)
            assert len(fleet.blocked) <= 2
            clock.now += 60.0
            run.work(left)
            fleet.free(*fleet.blocked)
    assert sorted(run.names()) == sorted(names)
    assert fleet.most == 2


def test_clients_that_hang_with_another_release_than_others_came_through_with_lend_nothing() -> None:
    clock = Clock()
    fleet = Fleet(clock, old="asked", new="asked")
    run = known(fleet, Watched(1, 32, clock=clock), CHANGE)
    run.task = replace(CHANGE, steps=(replace(a_step(), to_version="3"),))
    with run:
        run.work(["new"])
        clock.now += LONG
        run.work([])
        assert run.pool.room("") == 0
        fleet.free("new")
        run.task = CHANGE
        run.work(["old"])
        clock.now += 1.0
        run.work([])
        assert run.pool.room("") == 1


def test_clients_that_are_reached_all_at_once_are_changed_few_at_a_time() -> None:
    clock = Clock()
    names = [f"c{at}" for at in range(9)]
    fleet = Fleet(clock, **dict.fromkeys(names, "reached asked"))
    run = known(fleet, Watched(1, 16, clock=clock), CHANGE)
    left = list(names)
    with run:
        while left:
            clock.now += 1.0
            run.work(left)
        assert fleet.blocked == set(names)
        fleet.free(*names, where="reached")  # the network is there again
        while len(run.answers) < FEW + len(names):
            run.work(left)
            assert len(fleet.blocked) == fleet.changing <= 2
            fleet.free(*sorted(fleet.blocked)[:1], where="asked")
    assert sorted(run.names())[: len(names)] == names


def test_who_waits_for_a_place_isnt_begun_when_the_run_is_stopped() -> None:
    clock = Clock()
    names = [f"c{at}" for at in range(5)]
    fleet = Fleet(clock, **dict.fromkeys(names, "reached"))
    lending = Watched(1, 16, clock=clock)
    run = known(fleet, lending, CHANGE)
    left = list(names)
    for _place in range(2):
        lending.begin_change(lambda: False)
    with run:
        while left:
            clock.now += 1.0
            run.work(left)
        fleet.free(*names)
        until(lambda: len(lending.waiting) == len(names))
        run.stop.set()
        until(lambda: run.take() == FEW + len(names))
        found = {answer.client: answer.not_begun for answer in run.answers if answer.client in names}
    assert found == dict.fromkeys(names, "stopped")
    assert fleet.changing == 0


def test_what_is_lent_is_given_back_and_threads_that_arent_needed_end() -> None:
    clock = Clock()
    names = [f"c{at}" for at in range(8)]
    fleet = Fleet(clock, **dict.fromkeys(names, "reached"))
    run = known(fleet, Watched(2, 16, clock=clock))
    left = list(names)
    with run:
        while left:
            clock.now += 1.0
            run.work(left)
        clock.now += 1.0
        run.work(left)
        assert len(fleet.blocked) == run.pool.lent == 8
        fleet.free(*names)
        run.work(left)
        assert run.pool.lent == 0
        assert run.pool.room("") == 2
        until(lambda: len(run.pool._threads) <= 2)
        run.work([f"more{at}" for at in range(4)])
    assert len(run.answers) == FEW + 8 + 4


def test_what_is_given_beyond_the_room_is_begun_when_places_are_lent() -> None:
    clock = Clock()
    fleet = Fleet(clock, c0="asked", c1="asked")
    run = known(fleet, Watched(2, 16, clock=clock))
    with run:
        for name in ("c0", "c1", "c2", "c3"):
            run.give(name)
        until(lambda: len(fleet.blocked) == 2)
        clock.now += 1.0
        run.work([])
        assert set(run.names()) >= {"c2", "c3"}
        fleet.free("c0", "c1")
        run.work([])


def test_clients_that_are_dead_wait_for_their_second_try_without_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaching, "PAUSE", 0)
    clock = Clock()
    names = [f"c{at}" for at in range(10)]
    fleet = Fleet(clock, **dict.fromkeys(names, "reached dead"))
    fleet.free(*names)
    run = Run(fleet, Watched(1, 16, clock=clock))
    with run:
        run.work([*names, "quick"])
    assert sorted(run.names()) == [*names, "quick"]
    assert all(fleet.begun.count(name) == 2 for name in names)
    assert fleet.begun.index("quick") == len(names)
    assert fleet.most == 1


def test_a_machine_without_room_for_what_is_lent_goes_on_with_its_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaching, "PAUSE", 0)
    clock = Clock()
    names = [f"c{at}" for at in range(8)]
    fleet = Fleet(clock, **dict.fromkeys(names, "reached"))
    lending = Watched(2, 16, clock=clock)
    run = known(fleet, lending)
    connect, full = fleet.connect, [True]

    @contextmanager
    def crowded(client: Client) -> Iterator[Any]:
        if client.name == "c5" and full:
            full.clear()
            raise LimitError("this machine has no room for more: too many open files")
        with connect(client) as session:
            yield session

    fleet.connect = crowded  # type: ignore[method-assign]
    left = list(names)
    with run:
        while lending.most != 2:
            clock.now += 1.0
            run.work(left)
        clock.now += LONG
        run.work(left)
        assert run.pool.room("") == 0
        while len(run.answers) < FEW + len(names):
            fleet.free(*fleet.blocked)
            run.work(left)
    assert {answer.error for answer in run.answers} == {None}


def test_a_machine_that_gives_no_more_threads_lends_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    names = [f"c{at}" for at in range(8)]
    fleet = Fleet(clock, **dict.fromkeys(names, "reached"))
    lending = Watched(2, 16, clock=clock)
    run = known(fleet, lending)
    start = Thread.start
    monkeypatch.setattr(
        "reconciler.worker.pool.Thread.start",
        lambda thread: start(thread) if len(run.pool._threads) <= 4 else _no_more(),
    )
    left = list(names)
    with run:
        while lending.most > 2:
            clock.now += 1.0
            until(lambda: _given(run, left))
        while len(run.answers) < FEW + len(names):
            fleet.free(*fleet.blocked)
            run.work(left)
    assert {answer.error for answer in run.answers} == {None}


def _no_more() -> None:
    raise RuntimeError("can't start new thread")


def _given(run: Run, left: list[str]) -> bool:
    """Give what there is room for; who finds no thread waits for one."""
    while left and run.pool.room("") > 0:
        run.give(left.pop(0))
    run.pool.receive(0)
    return True
