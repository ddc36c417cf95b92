"""What an executor promises: every item once, never more than `forks` at a time, and a clean end however it ends."""

from __future__ import annotations

import threading
from itertools import chain, count, islice, repeat
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from reconciler.errors import LimitError
from reconciler.plugins.executor import threads
from tests.fakes import fake_context

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path
    from types import ModuleType

    from _pytest.nodes import Item


PATIENCE = 30
"""Seconds after which a test that waits has failed."""


Run: TypeAlias = "Callable[..., Generator[tuple[Any, Any]]]"


@pytest.fixture(params=[threads], ids=["threads"])
def executor(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return request.param.PLUGIN({}, fake_context(tmp_path))


@pytest.fixture(autouse=True)
def nothing_is_left_running() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


@pytest.fixture
def run(executor: Any, stop: threading.Event) -> Run:
    return lambda work, items, forks=4: executor.run(work, items, forks=forks, stop=stop)


@settings(deadline=None, max_examples=50)
@given(items=st.lists(st.integers(), max_size=60), forks=st.integers(1, 8), stop_after=st.none() | st.integers(0, 60))
def test_every_item_has_its_result_once_and_a_stopped_run_gives_those_that_were_begun(
    items: list[int], forks: int, stop_after: int | None
) -> None:
    executor, stop = threads.PLUGIN({}, None), threading.Event()
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        if len(begun) == stop_after:
            stop.set()
        return -item

    if stop_after == 0:
        stop.set()
    results = list(executor.run(work, items, forks=forks, stop=stop))
    assert sorted(results) == sorted((item, -item) for item in begun)
    if stop_after is None:
        assert sorted(begun) == sorted(items)
    elif stop_after <= len(items):
        assert len(begun) < stop_after + forks if stop_after else not begun


def test_as_many_as_forks_are_under_way_at_a_time_and_no_more(run: Run) -> None:
    together, most, lock, now = threading.Barrier(3), 0, threading.Lock(), 0

    def work(item: Item) -> Item:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        together.wait(PATIENCE)
        with lock:
            now -= 1
        return item

    assert len(list(run(work, range(30), forks=3))) == 30
    assert most == 3


def test_results_come_while_others_are_still_under_way(run: Run) -> None:
    slow = threading.Event()
    results = run(lambda item: item != "slow" or slow.wait(PATIENCE), ["slow", "quick"], forks=2)
    assert next(results) == ("quick", True)
    slow.set()
    assert next(results) == ("slow", True)


def test_items_are_taken_only_when_there_is_room_for_them(run: Run) -> None:
    taken: list[int] = []

    def noted(number: int) -> int:
        taken.append(number)
        return number

    endless = map(noted, count())
    results = run(lambda item: item, endless, forks=4)
    assert len(list(islice(results, 100))) == 100
    assert len(taken) <= 104
    results.close()


def test_a_stopped_run_begins_nothing_and_gives_what_was_under_way(run: Run, stop: threading.Event) -> None:
    started, go = threading.Barrier(3), threading.Event()

    def work(item: Item) -> Item:
        started.wait(PATIENCE)
        assert go.wait(PATIENCE)
        return item

    def release() -> None:
        started.wait(PATIENCE)
        stop.set()
        go.set()

    helper = threading.Thread(target=release)
    helper.start()
    assert sorted(run(work, range(100), forks=2)) == [(0, 0), (1, 1)]
    helper.join()


def test_what_work_raises_ends_the_run_after_what_was_under_way(run: Run) -> None:
    both = threading.Barrier(2)
    begun: list[str] = []

    def work(item: str) -> str:
        begun.append(item)
        if item in {"bad", "good"}:
            both.wait(PATIENCE)
        if item == "bad":
            raise LookupError(item)
        return item

    given: list[tuple[str, str]] = []
    with pytest.raises(LookupError, match="bad"):
        given.extend(run(work, chain(["bad", "good"], repeat("more")), forks=2))
    assert sorted(begun) == sorted(["bad", *(item for item, _result in given)])
    assert ("good", "good") in given


def test_what_the_items_raise_ends_the_run_after_what_was_under_way(run: Run) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise LookupError("no more")

    given: list[tuple[object, object]] = []
    with pytest.raises(LookupError, match="no more"):
        given.extend(run(str, items()))
    assert given == [(1, "1")]


def test_a_caller_that_goes_waits_for_what_is_under_way(run: Run) -> None:
    started = threading.Barrier(2)
    finished: list[int] = []

    def work(item: int) -> int:
        if item:
            started.wait(PATIENCE)
            finished.append(item)
        return item

    results = run(work, [0, 1], forks=2)
    assert next(results) == (0, 0)
    helper = threading.Thread(target=started.wait, args=(PATIENCE,))
    helper.start()
    results.close()
    helper.join()
    assert finished == [1]


def test_an_interrupt_in_the_caller_ends_the_run_cleanly(run: Run) -> None:
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        return item

    def consume() -> None:
        for _item, _result in run(work, count(), forks=2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consume()
    assert len(begun) <= 4


def test_no_items_are_no_results(run: Run) -> None:
    assert list(run(str, [])) == []


def test_a_machine_that_gives_few_threads_does_all_the_work_with_those(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = threading.Thread.start
    started: list[threading.Thread] = []

    def start(thread: threading.Thread) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    assert sorted(run(str, range(50), forks=8)) == [(number, str(number)) for number in range(50)]
    assert len(started) == 2


def test_a_machine_that_gives_no_thread_at_all_is_told_and_nothing_is_done(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    done: list[int] = []
    with pytest.raises(LimitError, match="this machine has no room for more: can't start new thread"):
        list(run(done.append, range(3)))
    assert not done


def test_fewer_than_one_at_a_time_is_refused(run: Run) -> None:
    with pytest.raises(ValueError, match="forks"):
        run(str, [1], forks=0)


@pytest.mark.parametrize("plugin", [threads], ids=lambda plugin: plugin.__name__)
def test_its_options_are_a_schema_that_describes_every_one_of_them(plugin: ModuleType) -> None:
    Draft202012Validator.check_schema(plugin.OPTIONS)
    assert plugin.OPTIONS["additionalProperties"] is False
    assert all(option["description"] for option in (plugin.OPTIONS, *plugin.OPTIONS["properties"].values()))
