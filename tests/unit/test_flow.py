"""Jobs through batches and crews to answers: each once, whatever crews do, and never more than there is room for."""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import contextmanager
from datetime import timedelta
from itertools import count, islice
from random import Random
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.dispatch.crews import CrewMaker, Crews
from reconciler.dispatch.flow import ATTEMPTS, Flow
from reconciler.dispatch.jobs import Job, Made
from reconciler.dispatch.ledger import Ledger
from reconciler.errors import LimitError, PluginError, TransportError, UpdoserError
from reconciler.model.batch import Answer, Change, Ended, Look, Target
from reconciler.model.client import Client
from tests.fakes import NOW

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from reconciler.model.batch import Batch, Halt, NotBegun, Order, Report

LOOK = Look()


class FakeCrew:
    """The `Crew` protocol, with workers that answer when they are asked, in any order, and as honestly as `rng` says.

    `evil` is how often they say something twice or of an attempt that is over, or lose what they were given. `worst`
    has how many clients were under way at a time in each lane, `begun` how often each client was.
    """

    def __init__(
        self, rng: Random | None = None, *, lanes: int = 1, room: int = 4, size: int = 1, evil: float = 0.0
    ) -> None:
        self.rng = rng or Random(1)
        self.lanes, self.most, self.size, self.evil = lanes, room, size, evil
        self.why: dict[str, str] = {}
        self.given: list[Batch] = []
        self.orders: list[Order] = []
        self.halted: set[Halt] = set()
        self.stopped = False
        self.raises: Exception | None = None
        self.answers: Callable[[Batch, str], Answer | None] = self.answer
        self.begun: Counter[str] = Counter()
        self.worst: Counter[str] = Counter()
        self.under_way: defaultdict[str, list[tuple[Batch, str]]] = defaultdict(list)
        self.over: list[tuple[Batch, str]] = []
        self.closed = False

    def lane(self, client: str) -> str:
        return str(sum(client.encode()) % self.lanes) if self.lanes > 1 else ""

    def room(self, lane: str) -> int:
        return self.most - len(self.under_way[lane])

    def refusal(self, lane: str) -> str:
        return self.why.get(lane, "")

    def give(self, lane: str, order: Order) -> None:
        self.given.append(order.batch)
        self.orders.append(order)
        self.under_way[lane] += [(order.batch, target.client.name) for target in order.batch.targets]
        self.worst[lane] = max(self.worst[lane], len(self.under_way[lane]))

    def halt(self, halted: Collection[Halt]) -> None:
        self.halted |= set(halted)

    def stop(self) -> None:
        self.stopped = True

    def answer(self, batch: Batch, client: str) -> Answer | None:
        """Answer for a client; None loses the batch."""
        if self.stopped and not batch.finishes:
            return Answer(batch=batch.id, attempt=batch.attempt, client=client, not_begun="stopped")
        self.begun[client] += 1
        return Answer(batch=batch.id, attempt=batch.attempt, client=client)

    def receive(self, timeout: float) -> Sequence[Report]:
        del timeout
        if self.raises is not None:
            raise self.raises
        lanes = [lane for lane, waiting in self.under_way.items() if waiting]
        if not lanes:
            return ()
        waiting = self.under_way[self.rng.choice(lanes)]
        batch, client = waiting.pop(self.rng.randrange(len(waiting)))
        found = None if self.rng.random() < self.evil / 4 else self.answers(batch, client)
        if found is None:
            rest = [entry for entry in waiting if entry[0] is batch]
            waiting[:] = [entry for entry in waiting if entry[0] is not batch]
            self.over += [(batch, client), *rest]
            return [Ended(batch.id, batch.attempt, "it was killed"), *self._noise()]
        reports: list[Report] = [found, *self._noise()]
        self.over.append((batch, client))
        if not any(entry[0] is batch for entry in waiting):
            reports.append(Ended(batch.id, batch.attempt))
        return reports

    def _noise(self) -> list[Report]:
        """Say what was said already, or comes too late."""
        if self.over and self.rng.random() < self.evil:
            batch, client = self.rng.choice(self.over)
            again = Answer(batch=batch.id, attempt=batch.attempt, client=client)
            return [again, Ended(batch.id, batch.attempt)] if self.rng.random() < self.evil else [again]
        return []


class World:
    """Crews by site, and what becomes of jobs."""

    def __init__(self, **crews: FakeCrew) -> None:
        self.crews = {name.removeprefix("none"): crew for name, crew in crews.items()}
        self.stop = Event()
        self.now = NOW
        self.cannot: dict[str, PluginError] = {}
        self.outlive: set[str] = set()
        self.book = Book()
        self.ledger = Ledger("run", lambda: self.now, self.book, fence=lambda: 7)
        maker = CrewMaker(opens=self._open, site_of=self._site_of, outlives=self.outlive.__contains__)
        self.all = Crews(maker, self.ledger)
        self.made: Counter[str] = Counter()
        self.settled: list[bool] = []

    def _site_of(self, group: str) -> str:
        return group if group in self.crews else ""

    @contextmanager
    def _open(self, site: str, _forks: int) -> Iterator[FakeCrew]:
        if site in self.cannot:
            raise self.cannot[site]
        yield self.crews[site]
        self.crews[site].closed = True

    def make(self, job: Job[Any]) -> Made | None:
        self.made[job.client.name] += 1
        return Made(task=job.about or LOOK, target=Target(client=job.client))

    def flow(self, make: Any = None) -> Flow[Any]:
        self.all.ready(4)
        return Flow(self.all, make or self.make, stop=self.stop, settle=self.settled.append)

    def done(self, *streams: Iterable[Job[Any]]) -> list[tuple[str, Answer]]:
        return [(job.client.name, answer) for job, answer in self.flow().answers(*streams)]


class Book:
    """Where batches are written down."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def record_batches(self, entries: Sequence[Any]) -> None:
        self.lines += [f"give {entry.batch.id}/{entry.batch.attempt}" for entry in entries]

    def leave_batches(self, run_id: str) -> None:
        self.lines.append(f"leave all but {run_id}")

    def end_batches(self, run_id: str, ids: Collection[str]) -> None:
        del run_id
        self.lines += [f"end {id_}" for id_ in ids]


def jobs(clients: int, group: str = "g", about: Any = None) -> Iterator[Job[Any]]:
    return (Job(Client(f"{group}-{at}", group), about) for at in range(clients))


# --- each once --------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=3),
    lanes=st.integers(1, 3),
    size=st.integers(1, 5),
    room=st.integers(1, 12),
    evil=st.sampled_from([0.0, 0.3, 0.9]),
)
def test_each_client_is_answered_for_once_however_often_and_in_what_order_workers_say_so(
    seed: int, sizes: list[int], lanes: int, size: int, room: int, evil: float
) -> None:
    rng = Random(seed)
    names = ["none", "lyon", "oslo"][: len(sizes)]
    crews = {name: FakeCrew(rng, lanes=lanes, room=room, size=size, evil=evil) for name in names}
    world = World(**crews)
    done = world.done(*(jobs(clients, name) for name, clients in zip(names, sizes, strict=True)))
    wanted = [f"{name}-{at}" for name, clients in zip(names, sizes, strict=True) for at in range(clients)]
    assert sorted(name for name, _answer in done) == sorted(wanted)
    for _name, answer in done:
        assert answer.error is None or (answer.error.reason == "worker" and answer.attempt == ATTEMPTS)
    if not evil:
        assert all(made == 1 for made in world.made.values())
        assert all(crew.worst[lane] <= room for crew in crews.values() for lane in crew.worst)
        assert world.ledger.refused == 0
    assert all(len(batch.targets) <= size for crew in crews.values() for batch in crew.given)


def test_what_is_said_twice_or_of_an_attempt_that_is_over_is_refused_and_counted_as_such() -> None:
    crew = FakeCrew(room=1)
    world = World(none=crew)
    said: list[Report] = []

    def twice(batch: Batch, client: str) -> Answer:
        answer = Answer(batch=batch.id, attempt=batch.attempt, client=client)
        said.append(answer)
        return answer

    crew.answers = twice
    real = crew.receive
    crew.receive = lambda timeout: [*real(timeout), *said]  # type: ignore[method-assign]
    assert [name for name, _answer in world.done(jobs(3))] == ["g-0", "g-1", "g-2"]
    assert world.ledger.refused == 6


# --- batches ----------------------------------------------------------------------------------------------------------


def test_a_batch_is_of_one_group_one_task_and_as_many_clients_as_a_crew_wants() -> None:
    crew = FakeCrew(room=100, size=4)
    other = Look(verify=True)
    mixed = [*jobs(6), *jobs(3, "h"), *jobs(2, about=other)]
    World(none=crew).done(mixed)
    assert sorted((batch.group, batch.task is other, len(batch.targets)) for batch in crew.given) == [
        ("g", False, 2), ("g", False, 4), ("g", True, 2), ("h", False, 3),
    ]  # fmt: skip
    assert len({batch.id for batch in crew.given}) == len(crew.given)
    assert {(batch.run_id, batch.attempt, batch.fence) for batch in crew.given} == {("run", 1, 7)}


def test_who_is_to_be_alone_has_a_batch_of_its_own() -> None:
    crew = FakeCrew(room=100, size=4)
    world = World(none=crew)

    def make(job: Job[Any]) -> Made:
        return Made(task=LOOK, target=Target(client=job.client), alone=job.client.name == "g-1")

    assert len(list(world.flow(make).answers(jobs(4)))) == 4
    assert sorted([target.client.name for target in batch.targets] for batch in crew.given) == [
        ["g-0", "g-2", "g-3"], ["g-1"],
    ]  # fmt: skip


def test_jobs_are_taken_only_when_there_is_room_so_that_a_fleet_needs_no_memory() -> None:
    world = World(none=FakeCrew(room=4))
    taken: list[int] = []

    def endless() -> Iterator[Job[Any]]:
        for at in count():
            taken.append(at)
            yield Job(Client(f"g-{at}", "g"), None)

    answers = world.flow().answers(endless())
    assert len(list(islice(answers, 100))) == 100
    assert len(taken) <= 106
    answers.close()  # type: ignore[attr-defined]


def test_a_slow_site_holds_no_other_up() -> None:
    slow, quick = FakeCrew(room=1), FakeCrew(room=2)
    slow.most = 0
    world = World(slow=slow, quick=quick)
    answers = world.flow().answers(jobs(5, "slow"), jobs(5, "quick"))
    assert [job.client.group for job, _answer in islice(answers, 5)] == ["quick"] * 5
    slow.most = 1
    assert [job.client.group for job, _answer in answers] == ["slow"] * 5


def test_what_is_not_done_any_more_when_its_turn_comes_is_left() -> None:
    crew = FakeCrew()
    flow = World(none=crew).flow(lambda job: Made(task=LOOK, target=Target(client=job.client)) if job.about else None)
    mixed = (Job(Client(f"g-{at}", "g"), at % 2) for at in range(6))
    assert sorted(job.client.name for job, _answer in flow.answers(mixed)) == ["g-1", "g-3", "g-5"]
    assert set(crew.begun) == {"g-1", "g-3", "g-5"}


def test_private_content_travels_beside_its_batch() -> None:
    crew = FakeCrew(size=2, room=2)
    flow = World(none=crew).flow(
        lambda job: Made(task=LOOK, target=Target(client=job.client), private={job.client.name: b"secret"})
    )
    list(flow.answers(jobs(2)))
    assert [order.private for order in crew.orders] == [{"g-0": b"secret", "g-1": b"secret"}]


# --- workers that are lost --------------------------------------------------------------------------------------------


def test_clients_of_a_lost_batch_are_given_again_and_no_other() -> None:
    crew = FakeCrew(size=3, room=3)
    world = World(none=crew)
    lost = iter([True])

    def answer(batch: Batch, client: str) -> Answer | None:
        return None if batch.attempt == 1 and next(lost, False) else crew.answer(batch, client)

    crew.answers = answer
    assert sorted(name for name, _answer in world.done(jobs(3))) == ["g-0", "g-1", "g-2"]
    assert [(batch.id, batch.attempt) for batch in crew.given] == [("1", 1), ("1", 2)]
    assert all(begun == 1 for begun in crew.begun.values())


def test_a_batch_that_kills_whoever_takes_it_fails_for_its_reason_and_the_others_go_on() -> None:
    crew = FakeCrew(room=2)
    world = World(none=crew)
    crew.answers = lambda batch, client: None if client == "g-1" else crew.answer(batch, client)
    done = dict(world.done(jobs(4)))
    assert len(done) == 4
    error = done["g-1"].error
    assert isinstance(error, UpdoserError)
    assert error.brief == f"no worker: no worker could do it, {ATTEMPTS} times: it was killed"
    assert [batch.attempt for batch in crew.given if batch.targets[0].client.name == "g-1"] == [1, 2, 3]


def test_a_batch_that_ends_without_a_word_on_some_clients_is_given_again_for_those() -> None:
    crew = FakeCrew(size=2, room=2)
    world = World(none=crew)
    real = crew.receive

    def forgetful(timeout: float) -> Sequence[Report]:
        reports = [report for report in real(timeout) if isinstance(report, Ended) or report.attempt > 1]
        return [*reports]

    crew.receive = forgetful  # type: ignore[method-assign]
    assert {name: answer.attempt for name, answer in world.done(jobs(2))} == {"g-0": 2, "g-1": 2}


@pytest.mark.parametrize("why", ["late", "stopped"])
def test_what_a_worker_did_not_begin_though_it_might_is_given_again(why: Any) -> None:
    crew = FakeCrew()
    world = World(none=crew)

    def answer(batch: Batch, client: str) -> Answer:
        not_begun: NotBegun = why if batch.attempt == 1 else ""
        return Answer(batch=batch.id, attempt=batch.attempt, client=client, not_begun=not_begun)

    crew.answers = answer
    assert [(name, answer.attempt, answer.not_begun) for name, answer in world.done(jobs(1))] == [("g-0", 2, "")]
    assert world.made["g-0"] == 2  # so that it is asked again whether it may


def test_a_worker_that_outlives_us_and_says_nothing_for_too_long_is_lost() -> None:
    crew = FakeCrew()
    world = World(none=FakeCrew(), lyon=crew)
    world.outlive.add("lyon")
    real = crew.receive

    def silent(timeout: float) -> Sequence[Report]:
        if crew.given[-1].attempt == 1:
            world.now += timedelta(hours=1)
            return ()
        return [report for report in real(timeout) if report.attempt == 2]

    crew.receive = silent  # type: ignore[method-assign]
    assert [(name, answer.attempt) for name, answer in world.done(jobs(1, "lyon"))] == [("lyon-0", 2)]
    assert world.book.lines == ["leave all but run", "give 1/1", "give 1/2", "end 1"]
    assert True in world.settled  # what was answered is written before it is acknowledged


def test_batches_of_workers_that_die_with_us_are_not_written_down() -> None:
    world = World(none=FakeCrew())
    assert len(world.done(jobs(3))) == 3
    assert world.book.lines == []


# --- sites ------------------------------------------------------------------------------------------------------------


def test_clients_of_a_site_without_a_worker_cannot_be_reached_and_the_others_go_on() -> None:
    lyon = FakeCrew()
    lyon.why = {"": "site lyon has no worker"}
    done = dict(World(none=FakeCrew(), lyon=lyon).done(jobs(3, "lyon"), jobs(2)))
    errors = {name: answer.error for name, answer in done.items()}
    assert [errors["g-0"], errors["g-1"]] == [None, None]
    assert all(isinstance(errors[f"lyon-{at}"], TransportError) for at in range(3))
    assert {str(errors[f"lyon-{at}"]) for at in range(3)} == {"site lyon has no worker"}
    assert not lyon.given


def test_a_site_whose_crew_cannot_be_had_or_breaks_is_without_a_worker() -> None:
    broken = FakeCrew()
    world = World(none=FakeCrew(), lyon=FakeCrew(), oslo=broken)
    world.cannot["lyon"] = PluginError("the broker doesn't answer")
    broken.raises = PluginError("the broker was lost")
    done = dict(world.done(jobs(2, "lyon"), jobs(2, "oslo"), jobs(1)))
    assert len(done) == 5
    assert str(done["lyon-0"].error) == "site lyon has no worker: the broker doesn't answer"
    assert str(done["oslo-1"].error) == "site oslo has no worker: the broker was lost"
    assert done["g-0"].error is None


@pytest.mark.parametrize("error", [PluginError("it broke"), LimitError("no more descriptors")])
def test_what_breaks_for_clients_of_no_site_ends_the_run(error: Exception) -> None:
    crew, other = FakeCrew(), FakeCrew()
    crew.raises = error
    world = World(none=crew, lyon=other)
    with pytest.raises(type(error), match=str(error)):
        world.done(jobs(2), jobs(9, "lyon"))
    assert other.stopped
    assert other.closed
    assert not any(other.under_way.values())  # what was under way there was waited for


# --- halts and ends ---------------------------------------------------------------------------------------------------


def test_a_halt_is_told_to_all_crews_and_to_those_that_come_later() -> None:
    crews = {"none": FakeCrew(), "lyon": FakeCrew(), "oslo": FakeCrew()}
    world = World(**crews)
    flow = world.flow()
    halt = ("rules", "2", "")
    for number, (_job, _answer) in enumerate(flow.answers(jobs(2), jobs(2, "lyon"))):
        if not number:
            flow.halt([halt])
    list(flow.answers(jobs(1, "oslo")))
    assert all(crew.halted == {halt} for crew in crews.values())


def test_a_run_that_is_stopped_begins_nothing_and_gives_what_was_under_way() -> None:
    crew = FakeCrew(room=3)
    world = World(none=crew)
    done = []
    for job, _answer in world.flow().answers(jobs(50)):
        done.append(job.client.name)
        world.stop.set()
    assert set(done) == set(crew.begun)
    assert len(done) <= 3
    assert crew.stopped


def test_what_finishes_what_was_begun_is_done_although_the_run_was_stopped() -> None:
    crew = FakeCrew(room=1)
    world = World(none=crew)
    flow = world.flow()
    done = []
    for job, answer in flow.answers(jobs(5)):
        done.append((job.client.name, job.about, answer.not_begun))
        if job.about is None:
            world.stop.set()
            flow.first(Job(job.client, Change(lineage="l", epoch=1, keep=2), finishes=True))
    assert [(name, about is None, not_begun) for name, about, not_begun in done] == [
        ("g-0", True, ""), ("g-0", False, ""),
    ]  # fmt: skip


def test_who_is_looked_at_beside_the_flow_takes_up_room_until_that_is_known() -> None:
    world = World(none=FakeCrew(room=3))
    flow = world.flow()
    go, most, waiting = Event(), 0, 0

    def then(_found: object) -> None:
        nonlocal waiting
        waiting -= 1

    for number, (_job, _answer) in enumerate(flow.answers(jobs(12))):
        waiting += 1
        most = max(most, waiting)
        if number == 2:
            go.set()
        flow.aside(lambda: go.wait(60), then)
    assert most <= 3
    assert waiting == 0


def test_what_is_found_out_beside_the_flow_is_told_in_it_before_it_ends() -> None:
    world = World(none=FakeCrew(room=4))
    flow = world.flow()
    go, told = Event(), list[object]()
    for job, _answer in flow.answers(jobs(3)):
        if job.client.name == "g-0":
            flow.aside(lambda: go.wait(60) and "found", told.append)
        if job.client.name == "g-2":
            assert not told
            go.set()
    assert told == ["found"]


def test_what_goes_wrong_beside_the_flow_ends_it() -> None:
    world = World(none=FakeCrew())
    flow = world.flow()

    def fail() -> None:
        raise LookupError("beside")

    def consume() -> None:
        for _job, _answer in flow.answers(jobs(1)):
            flow.aside(fail, lambda _found: None)

    with pytest.raises(LookupError, match="beside"):
        consume()


def test_who_goes_away_waits_for_what_is_under_way_and_no_other_is_begun() -> None:
    crew = FakeCrew(room=4)
    answers = World(none=crew).flow().answers(jobs(50))
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert not any(crew.under_way.values())
    assert crew.closed
    assert len(crew.given) <= 5


def test_what_a_stream_raises_ends_the_run_after_what_was_under_way() -> None:
    crew = FakeCrew(room=4)

    def broken() -> Iterator[Job[Any]]:
        yield from jobs(2)
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        World(none=crew).done(broken())
    assert not any(crew.under_way.values())


def test_no_jobs_are_no_answers() -> None:
    assert World(none=FakeCrew()).done() == []
    assert World(none=FakeCrew()).done(iter(())) == []


def test_a_rollout_that_goes_on_after_a_halt_has_crews_that_know_nothing_of_it() -> None:
    crew = FakeCrew()
    world = World(none=crew)
    flow = world.flow()
    halt, other = ("rules", "2", ""), ("engine", "1", "")
    list(flow.answers(jobs(1)))
    flow.halt([halt, other])
    world.all.go_on([("rules", "3", "")])
    assert not crew.closed
    world.all.go_on([halt])
    assert crew.closed
    crew.halted.clear()
    list(flow.answers(jobs(1)))
    assert not crew.halted


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    at=st.integers(0, 30),
    size=st.integers(1, 4),
    evil=st.sampled_from([0.0, 0.5]),
)
def test_after_a_halt_nobody_is_begun_but_those_that_were_given_and_the_run_ends(
    seed: int, at: int, size: int, evil: float
) -> None:
    rng = Random(seed)
    crews = {"none": FakeCrew(rng, room=5, size=size, evil=evil), "lyon": FakeCrew(rng, room=5, size=size, evil=evil)}
    world = World(**crews)
    halt = ("rules", "2", "")
    halted = False

    def make(job: Job[Any]) -> Made | None:
        return None if halted else world.make(job)

    def given_so_far() -> set[str]:
        return {target.client.name for crew in crews.values() for batch in crew.given for target in batch.targets}

    flow = world.flow(make)
    answered: Counter[str] = Counter()
    before = set[str]()
    for number, (job, _answer) in enumerate(flow.answers(jobs(20), jobs(20, "lyon"))):
        answered[job.client.name] += 1
        if number == at:
            halted, before = True, given_so_far()
            flow.halt([halt])
    assert max(answered.values()) == 1
    if halted:
        assert given_so_far() == before
        assert all(crew.halted == {halt} for crew in crews.values())
