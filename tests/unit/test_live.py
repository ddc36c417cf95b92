"""The event stream: who listens is told what is new, costs one look a second, and is let go in the end."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.console import events
from reconciler.console.frame import Person
from reconciler.console.live import WAITING, Live, Look, look_at
from reconciler.errors import StateError
from reconciler.model.controller import ControllerReport, RunProgress
from reconciler.model.request import Request
from reconciler.storage.state import State
from tests.console import NOW, SOMEBODY, ask, console_app
from tests.console import run as run_apart
from tests.door import Browser as DoorBrowser
from tests.door import Door
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

QUICK = 0.01


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(f"sqlite:///{tmp_path}/state.db", clock=lambda: NOW) as state:
        yield state


class Reader:
    """Somebody who listens, in this process."""

    def __init__(self, app: Any, *, last: str = "", scope: dict[str, Any] | None = None) -> None:
        headers = [(b"last-event-id", last.encode())] if last else []
        self._app = app
        self._scope = {
            "type": "http",
            "method": "GET",
            "path": "/events",
            "raw_path": b"/events",
            "root_path": "",
            "query_string": b"",
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "scheme": "http",
            "http_version": "1.1",
            "asgi": {"version": "3.0"},
            "state": {},
            **(scope or {}),
        }
        self.status = 0
        self.text = ""
        self.closed = False
        self._asked = False
        self.reads = asyncio.Event()
        self.reads.set()
        self._left = asyncio.Event()
        self._news = asyncio.Event()
        self.task: asyncio.Task[None] = asyncio.create_task(app(self._scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self.reads.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.text += message.get("body", b"").decode()
            self.closed = not message.get("more_body", False)
        self._news.set()

    async def until(self, good: Callable[[str], bool]) -> str:
        """Wait until what came is as it should be."""
        async with asyncio.timeout(PATIENCE):
            while not good(self.text):
                self._news.clear()
                await self._news.wait()
        return self.text

    async def leave(self) -> None:
        self._left.set()
        async with asyncio.timeout(PATIENCE):
            await self.task

    def events(self, name: str) -> list[Any]:
        """Give the data of the events of a name."""
        blocks = [block.splitlines() for block in self.text.split("\n\n") if block]
        return [json.loads(lines[-1].removeprefix("data: ")) for lines in blocks if lines[0] == f"event: {name}"]

    @property
    def last(self) -> str:
        return [line.removeprefix("id: ") for line in self.text.splitlines() if line.startswith("id: ")][-1]


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        async with asyncio.timeout(PATIENCE):
            await test()

    run_apart(within())


def quick_app(state: State, person: Person = SOMEBODY, **settings: Any) -> Any:
    """Give an application that looks without a pause."""
    app = console_app(state, person)
    app.state.live = Live(lambda: look_at(state), lambda: NOW, every=QUICK, **settings)
    return app


async def listening(app: Any, **how: Any) -> Reader:
    reader = Reader(app, **how)
    await reader.until(lambda text: "event: progress" in text)
    return reader


def test_who_listens_is_told_what_changed_and_how_far_a_run_is(state: State) -> None:
    async def test() -> None:
        reader = await listening(quick_app(state))
        assert reader.status == 200
        assert reader.text.startswith(f"retry: {events.RETRY}\n\nevent: hello\nid: ")
        assert reader.events("progress") == [None]
        state.keep_snapshots("status", {"": {"clients": 1}})
        await reader.until(lambda text: text.count("event: changed") == 1)
        assert reader.events("changed") == [{"parts": ["status"]}]
        progress = RunProgress(run_id="r", command="apply", started=NOW, clients=7, finished=3)
        state.report_progress(progress)
        await reader.until(lambda text: '"finished": 3' in text and text.count("event: changed") == 2)
        assert reader.events("changed")[-1] == {"parts": ["run"]}
        state.report_controller(ControllerReport(who="a", phase="looking", mode="apply", since=NOW))
        await reader.until(lambda text: '"controller"' in text)
        made = state.ask(Request(at=NOW, who="ann", kind="look"))
        await reader.until(lambda text: text.count('"requests"') == 1)
        state.settle(made, "done", "looked")
        await reader.until(lambda text: text.count('"requests"') == 2)
        await reader.leave()

    run(test)


def test_who_comes_back_is_told_at_once_whether_something_changed_meanwhile(state: State) -> None:
    async def test() -> None:
        app = quick_app(state)
        state.keep_snapshots("status", {"": {"clients": 1}})
        first = await listening(app)
        await first.leave()
        same = await listening(app, last=first.last)
        other = await listening(app, scope={"query_string": b"last=0123456789abcdef"})
        await other.until(lambda text: "event: changed" in text)
        assert "status" in other.events("changed")[0]["parts"]
        assert same.events("changed") == []
        assert same.last == first.last
        await same.leave()
        await other.leave()

    run(test)


def test_however_many_listen_there_is_one_look_and_none_while_nobody_does(state: State) -> None:
    looks = 0

    def look() -> Look:
        nonlocal looks
        looks += 1
        return Look({"number": str(looks)}, {}, "null")

    async def test() -> None:
        app = console_app(state)
        app.state.live = live = Live(look, lambda: NOW, every=QUICK)
        readers = [await listening(app) for _each in range(8)]
        for reader in readers:
            await reader.until(lambda text: text.count("event: changed") >= 2)
        assert readers[0].last == readers[7].last or looks >= 3
        told = sum(reader.text.count("event: changed") for reader in readers)
        assert told > looks  # each look is told to several
        for reader in readers:
            await reader.leave()
        await asyncio.sleep(0)
        before = looks
        await asyncio.sleep(10 * QUICK)
        assert looks <= before + 1  # one was on its way
        assert not live.ended

    run(test)


def test_of_too_many_the_last_are_told_to_come_back_later(state: State) -> None:
    async def test() -> None:
        app = quick_app(state, at_once=2)
        readers = [await listening(app) for _each in range(2)]
        third = Reader(app)
        await third.task
        assert third.status == 503
        await readers[0].leave()
        fourth = await listening(app)
        assert fourth.status == 200

    run(test)


def test_who_does_not_read_is_let_go_and_the_others_stay(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PATIENCE", QUICK)
    numbers = iter(range(10**6))

    async def test() -> None:
        app = console_app(state)
        app.state.live = Live(lambda: Look({"number": str(next(numbers))}, {}, "null"), lambda: NOW, every=0)
        slow, good = await listening(app), await listening(app)
        slow.reads.clear()
        await slow.task
        assert not slow.closed
        before = good.text.count("event: changed")
        await good.until(lambda text: text.count("event: changed") > before + WAITING)
        await good.leave()

    run(test)


def test_all_streams_end_at_once_when_the_process_does_and_nobody_is_taken_in(state: State) -> None:
    async def test() -> None:
        app = quick_app(state)
        readers = [await listening(app) for _each in range(3)]
        await asyncio.to_thread(app.state.live.end)
        for reader in readers:
            await reader.task
            assert reader.closed
        late = Reader(app)
        await late.task
        assert late.status == 503

    run(test)


def test_the_stream_of_somebody_who_signed_out_ends_with_the_next_heartbeat(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT", QUICK)
    there = True

    async def test() -> None:
        nonlocal there
        reader = await listening(quick_app(state), scope={"updoser.still": lambda: there})
        await reader.until(lambda text: text.count("event: beat") > 1)
        there = False
        await reader.task
        assert reader.closed

    run(test)


def test_a_session_that_was_ended_elsewhere_ends_its_stream(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT", QUICK)
    door = Door(state, lambda: NOW)
    browser = DoorBrowser(door)
    browser.by_link()
    [(name, secret)] = browser.cookies.items()

    async def test() -> None:
        headers = [(b"host", b"127.0.0.1:8484"), (b"cookie", f"{name}={secret}".encode())]
        reader = await listening(door.app, scope={"headers": headers, "server": ("127.0.0.1", 8484)})
        await reader.until(lambda text: "event: beat" in text)
        state.end_session(door.access._kept(secret))
        await reader.task
        assert reader.closed

    run(test)


def test_a_state_that_can_not_be_read_for_a_while_ends_no_stream(state: State) -> None:
    looks: list[int] = []

    def look() -> Look:
        looks.append(1)
        if 2 < len(looks) < 6:
            raise StateError("the disk is away")
        return Look({"number": str(len(looks) > 5)}, {}, "null")

    async def test() -> None:
        app = console_app(state)
        app.state.live = Live(look, lambda: NOW, every=QUICK)
        reader = await listening(app)
        await reader.until(lambda text: "event: changed" in text)
        await reader.leave()

    run(test)


def test_who_may_not_look_may_not_listen(state: State) -> None:
    app = console_app(state, Person(who="otto", roles=frozenset(["operator"])))
    assert ask(app, "/events").status == 403
    assert ask(console_app(state), "/events", method="HEAD").headers["content-type"].startswith("text/event-stream")


def test_what_was_only_made_anew_is_told_as_no_change_of_a_part(tmp_path: Path) -> None:
    now = NOW
    with State.open(f"sqlite:///{tmp_path}/state.db", clock=lambda: now) as state:
        state.keep_snapshots("status", {"": {}})
        before = look_at(state)
        now += timedelta(minutes=5)
        state.keep_snapshots("status", {"": {}})
        after = look_at(state)
    assert (before.marks, before.id == after.id) == (after.marks, False)
