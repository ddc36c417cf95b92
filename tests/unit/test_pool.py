"""A client that can't be reached is tried again when no other waits, and holds nobody up meanwhile."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock
from typing import Any

import pytest

from reconciler.client import reach as module
from reconciler.client.reach import CONNECT_TRIES, Reach
from reconciler.errors import AuthenticationError, TransportError
from reconciler.model.batch import Answer, Batch, Look, Order, Target
from reconciler.model.client import Client, Facts, Profile
from reconciler.worker.pool import Pool
from tests.fakes import NOW
from tests.waiting import PATIENCE, until


class Line:
    """A transport that notes whom it was asked for; those of `away` raise that so many times."""

    def __init__(self, **away: tuple[TransportError, int]) -> None:
        self.away = away
        self.tried: Counter[str] = Counter()
        self._lock = Lock()

    @contextmanager
    def connect(self, client: Any) -> Iterator[Any]:
        with self._lock:
            self.tried[client.name] += 1
        error, times = self.away.get(client.name, (None, 0))
        if error is not None and self.tried[client.name] <= times:
            raise error
        yield self

    def facts(self, _root: str, **_options: object) -> Facts:
        return Facts(Profile("linux-x86_64", ()), 1)


def pool_of(line: Any, forks: int = 1, stop: Event | None = None) -> Pool:
    reach: Any = Reach(lambda _group: line, stop or Event())
    content: Any = None
    return Pool(reach, content, forks=forks, stop=stop or Event(), clock=lambda: NOW)


def give(pool: Pool, name: str) -> None:
    batch = Batch(id=name, run_id="r", group="g", task=Look(), targets=(Target(client=Client(name, "g")),))
    pool.give("", Order(batch))


def answers(pool: Pool, count: int) -> dict[str, Answer]:
    """Wait for so many answers."""
    found: dict[str, Answer] = {}

    def all_there() -> bool:
        found.update((one.client, one) for one in pool.receive(0.1) if isinstance(one, Answer))
        return len(found) >= count

    until(all_there)
    return found


def test_a_client_that_cant_be_reached_leaves_its_place_to_others_until_it_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PAUSE", 10 * PATIENCE)
    line = Line(away=(TransportError("no answer"), 9))
    with pool_of(line) as pool:
        give(pool, "away")
        for name in ("one", "two", "three"):
            until(lambda: pool.room("") == 1)
            give(pool, name)
            assert answers(pool, 1)[name].error is None
        assert line.tried["away"] == 1
        pool.stop()
        assert answers(pool, 1)["away"].not_begun == "stopped"


@pytest.mark.parametrize("times", [CONNECT_TRIES - 1, CONNECT_TRIES])
def test_a_client_is_tried_again_once_and_then_answered_for(times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0)
    line = Line(away=(TransportError("no answer"), times))
    with pool_of(line, forks=3) as pool:
        give(pool, "away")
        found = answers(pool, 1)["away"]
        assert line.tried["away"] == CONNECT_TRIES
        assert (found.error is None) is (times < CONNECT_TRIES)
        assert (found.facts is not None) is (times < CONNECT_TRIES)
        assert pool.room("") == 3


def test_who_isnt_let_in_is_answered_for_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 10 * PATIENCE)
    line = Line(away=(AuthenticationError("not let in"), 9))
    with pool_of(line) as pool:
        give(pool, "away")
        assert isinstance(answers(pool, 1)["away"].error, AuthenticationError)
        assert line.tried["away"] == 1


def test_where_nobody_can_be_reached_no_more_wait_than_may_be_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.01)
    names = [f"pc{at}" for at in range(20)]
    line = Line(**dict.fromkeys(names, (TransportError("no answer"), 9)))
    given = list(names)
    found: dict[str, Answer] = {}
    with pool_of(line, forks=2) as pool:
        while len(found) < len(names):
            while given and pool.room("") > 0:
                give(pool, given.pop())
            assert len(names) - len(given) - len(found) <= 2 * 2 + 2
            found.update((one.client, one) for one in pool.receive(0.1) if isinstance(one, Answer))
    assert set(line.tried.values()) == {CONNECT_TRIES}
    assert all(isinstance(one.error, TransportError) for one in found.values())


def test_leaving_the_pool_answers_for_all_who_wait_to_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 10 * PATIENCE)
    names = [f"pc{at}" for at in range(3)]
    line = Line(**dict.fromkeys(names, (TransportError("no answer"), 9)))
    with pool_of(line, forks=3) as pool:
        for name in names:
            give(pool, name)
        until(lambda: line.tried.total() == 3)
    assert {name: one.not_begun for name, one in answers(pool, 3).items()} == dict.fromkeys(names, "stopped")
