"""Reaching clients: a connection is tried once more, kept when asked, and closed whatever happens."""

import errno
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier, Event
from typing import Any

import pytest

from reconciler.client import reach as module
from reconciler.client.reach import CONNECT_TRIES, GREETING_PAUSES, Reach
from reconciler.errors import (
    AuthenticationError,
    ClientError,
    FaultError,
    HostKeyError,
    HungUpError,
    LimitError,
    TransportError,
)
from reconciler.model.client import Client

PC = Client("pc", "g")


class Line:
    """A transport that counts; `errors` are raised by the next connections, None lets one through."""

    def __init__(self, *errors: Any) -> None:
        self.errors = list(errors)
        self.tried = self.open = 0

    @contextmanager
    def connect(self, client: Any) -> Iterator[Any]:
        self.tried += 1
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        self.open += 1
        try:
            yield f"session {self.tried} of {client.name}"
        finally:
            self.open -= 1


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0)


def reach_of(line: Any, *, stop: Any = None, **options: Any) -> Any:
    return Reach(lambda _group: line, stop or Event(), **options)


def fails(error: Any) -> Any:
    def do(_session: Any) -> None:
        raise error

    return do


def test_a_connection_is_closed_after_its_work() -> None:
    line = Line()
    assert reach_of(line).work(PC, lambda session: (session, line.open)) == ("session 1 of pc", 1)
    assert line.open == 0


def test_a_connection_that_fails_once_is_tried_again() -> None:
    line = Line(TransportError("refused"))
    assert reach_of(line).work(PC, str) == "session 2 of pc"


def test_a_client_that_stays_away_is_given_up_with_the_last_error() -> None:
    line = Line(*[TransportError(f"try {n}") for n in range(1, 10)])
    with pytest.raises(TransportError, match=f"try {CONNECT_TRIES}"):
        reach_of(line).work(PC, str)
    assert line.tried == CONNECT_TRIES


@pytest.mark.parametrize("error", [AuthenticationError("no"), HostKeyError("changed")])
def test_a_client_that_says_no_is_not_asked_again(error: Any) -> None:
    line = Line(error)
    with pytest.raises(type(error)):
        reach_of(line).work(PC, str)
    assert line.tried == 1


def test_a_run_that_was_stopped_does_not_try_again() -> None:
    stop = Event()
    stop.set()
    line = Line(TransportError("refused"))
    with pytest.raises(TransportError):
        reach_of(line, stop=stop).work(PC, str)
    assert line.tried == 1


def test_a_kept_connection_serves_the_next_work_and_no_other_client() -> None:
    line = Line()
    reach = reach_of(line)
    assert reach.work(PC, str, keep=True) == "session 1 of pc"
    assert line.open == 1
    assert reach.work(Client("other", "g"), str) == "session 2 of other"
    assert reach.work(PC, str) == "session 1 of pc"
    assert line.open == 0
    assert reach.work(PC, str) == "session 3 of pc"


def test_a_kept_connection_that_died_is_replaced_and_the_work_done_again() -> None:
    line = Line()
    reach = reach_of(line)
    reach.work(PC, str, keep=True)
    seen = []

    def do(session: Any) -> Any:
        seen.append(session)
        if len(seen) == 1:
            raise TransportError("broken pipe")
        return "done"

    assert reach.work(PC, do) == "done"
    assert seen == ["session 1 of pc", "session 2 of pc"]
    assert line.open == 0


def test_work_over_a_fresh_connection_is_done_once() -> None:
    line = Line()
    with pytest.raises(TransportError, match="in the middle"):
        reach_of(line).work(PC, fails(TransportError("in the middle")))
    assert (line.tried, line.open) == (1, 0)


def test_a_run_that_was_stopped_does_not_do_the_work_again() -> None:
    stop, line = Event(), Line()
    reach = reach_of(line, stop=stop)
    reach.work(PC, str, keep=True)
    stop.set()
    with pytest.raises(TransportError):
        reach.work(PC, fails(TransportError("broken pipe")))
    assert (line.tried, line.open) == (1, 0)


@pytest.mark.parametrize("kept", [True, False])
def test_what_a_client_answers_is_passed_on_and_its_connection_closed(kept: bool) -> None:
    line = Line()
    reach = reach_of(line)
    if kept:
        reach.work(PC, str, keep=True)
    with pytest.raises(ClientError, match="no room"):
        reach.work(PC, fails(ClientError("no room")), keep=True)
    assert (line.tried, line.open) == (1, 0)


def test_no_more_connections_are_kept_than_allowed_and_close_ends_them_all() -> None:
    line = Line()
    reach = reach_of(line, kept=2)
    for n in range(4):
        reach.work(Client(f"pc-{n}", "g"), str, keep=True)
    assert line.open == 2
    reach.close()
    assert line.open == 0
    assert reach.work(PC, str) == "session 5 of pc"


def test_each_group_is_reached_by_its_own_transport() -> None:
    lines = {"g": Line(), "h": Line()}
    reach = Reach(lines.__getitem__, Event())
    reach.work(PC, str)
    reach.work(Client("pc", "h"), str)
    assert [line.tried for line in lines.values()] == [1, 1]


# --- servers that hang up, machines without room, and what nobody expected --------------------------------------------


def test_a_server_that_hangs_up_before_it_greets_is_tried_more_often_than_others() -> None:
    line = Line(*[HungUpError("gone")] * len(GREETING_PAUSES))
    assert reach_of(line).work(PC, str).endswith("of pc")
    line = Line(*[HungUpError("gone")] * 20)
    with pytest.raises(HungUpError):
        reach_of(line).work(PC, str)
    assert line.tried == 1 + len(GREETING_PAUSES)


def test_a_stopped_run_does_not_wait_for_a_server_that_hung_up() -> None:
    stop, line = Event(), Line(*[HungUpError("gone")] * 20)
    stop.set()
    with pytest.raises(HungUpError):
        reach_of(line, stop=stop).work(PC, str)
    assert line.tried == 1


def test_clients_that_were_hung_up_on_come_again_one_at_a_time() -> None:
    class Narrow(Line):
        inside = most = 0
        seen = ()

        @contextmanager
        def connect(self, client: Any) -> Iterator[Any]:
            if client.name not in self.seen:
                self.seen += (client.name,)  # type: ignore[assignment]
                together.wait(60)
                raise HungUpError("gone")
            self.inside += 1
            self.most = max(self.most, self.inside)
            Event().wait(0.01)
            self.inside -= 1
            yield "session"

    line = Narrow()
    reach, together = reach_of(line), Barrier(8)

    def work(number: Any) -> Any:
        return reach.work(Client(f"pc{number}", "g"), str)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == ["session"] * 8
    assert line.most == 1


NO_ROOM = [
    OSError(errno.EMFILE, "Too many open files"),
    OSError(errno.ENFILE, "Too many open files in system"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    MemoryError(),
    RuntimeError("can't start new thread"),
    LimitError("this machine has no room for more: it is full"),
]


@pytest.mark.parametrize("error", NO_ROOM, ids=repr)
@pytest.mark.parametrize("where", ["connecting", "working"])
def test_a_limit_of_this_machine_is_waited_for_and_then_told_as_what_it_is(error: Any, where: str) -> None:
    errors = [error] * 3
    line = Line(*errors) if where == "connecting" else Line()

    def do(session: Any) -> Any:
        if where == "working" and errors:
            raise errors.pop()
        return session

    assert reach_of(line).work(PC, do).endswith("of pc")
    line = Line(*[error] * 20)
    with pytest.raises(LimitError, match="this machine has no room for more"):
        reach_of(line).work(PC, str)


def test_where_there_is_no_room_the_connections_that_were_kept_are_closed() -> None:
    line = Line()
    reach = reach_of(line)
    reach.work(Client("other", "g"), str, keep=True)
    assert line.open == 1
    errors = [OSError(errno.EMFILE, "Too many open files")]
    left = []

    def do(_session: Any) -> None:
        if errors:
            raise errors.pop()
        left.append(line.open)

    reach.work(PC, do)
    assert left == [1]


@pytest.mark.parametrize("error", [KeyError("mode"), ValueError("filedescriptor out of range"), ZeroDivisionError()])
def test_what_nobody_expected_is_an_error_of_that_client_with_its_kind(error: Any) -> None:
    with pytest.raises(FaultError, match=type(error).__name__) as caught:
        reach_of(Line()).work(PC, fails(error))
    assert caught.value.__cause__ is error
    assert caught.value.brief.startswith("fault of updoser: ")
    with pytest.raises(type(error)):  # type: ignore[type-var]
        reach_of(Line(), debug=True).work(PC, fails(error))
