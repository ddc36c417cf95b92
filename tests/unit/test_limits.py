"""What one client does to the others, and what a limit of this machine does to a run: nothing that isn't said."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest

from reconciler.client.room import Bounded, Room
from reconciler.errors import HungUpError, LimitError, own_limit
from reconciler.execute.outcome import verdict_error
from reconciler.model.policy import Limits, Wave
from tests.unit.workbench import Bench, Opened

WAVES = (Wave(share=1.0, limits=Limits(max_failed=0, max_unreachable_percentage=0.0)),)
FULL = OSError(errno.EMFILE, "Too many open files")


class Fault:
    """Stands before a transport: working on some clients raises an error."""

    def __init__(self, transport: Any, error: Any, names: Any, work: str = "deploy") -> None:
        self.transport, self.error, self.names, self.work = transport, error, names, work
        self.on = True

    @contextmanager
    def connect(self, client: Any) -> Iterator[Any]:
        with self.transport.connect(client) as session:
            faulty = self.on and client.name in self.names
            yield Broken(session, self.error, self.work) if faulty else session


class Broken:
    def __init__(self, session: Any, error: Any, work: Any) -> None:
        self._session, self._error, self._work = session, error, work

    def __getattr__(self, name: str) -> Any:
        if name == self._work:
            raise self._error
        return getattr(self._session, name)


@pytest.fixture
def bench(opened: Opened) -> Any:
    made = opened({"g": 4})
    made.policy(waves=WAVES)
    made.release("2")
    return made


def test_what_nobody_expected_of_one_client_costs_no_other_counts_in_no_gate_and_is_loud(bench: Bench) -> None:
    bench.transport = Fault(bench.transport, KeyError("mode"), {"g-1"})
    report = bench.apply()
    assert bench.running("2") == {"g-0", "g-2", "g-3"}
    assert [(failure.client, failure.message) for failure in report.failed] == [
        ("g-1", "fault of updoser: KeyError: 'mode'")
    ]
    assert bench.record("2").status != "halted"
    assert verdict_error(report, max_unreachable=1.0).exit_code == 3
    bench.transport.on = False
    bench.apply()
    assert len(bench.running("2")) == 4


def test_what_nobody_expected_while_looking_at_one_client_costs_no_other_and_is_loud(bench: Bench) -> None:
    bench.transport = Fault(bench.transport, ValueError("filedescriptor out of range in select()"), {"g-1"}, "facts")
    report = bench.apply()
    assert bench.running("2") == {"g-0", "g-2", "g-3"}
    assert verdict_error(report, max_unreachable=1.0).exit_code == 3
    assert any("fault of updoser: ValueError: filedescriptor" in text for text in bench.events("client_observed"))


def test_a_limit_of_this_machine_ends_the_run_and_is_booked_on_no_client(bench: Bench) -> None:
    bench.transport = Fault(bench.transport, FULL, {"g-1", "g-2", "g-3"})
    report = bench.apply()
    assert bench.running("2") == {"g-0"}
    assert (report.total("changed"), report.total("failed"), report.total("unreachable")) == (1, 0, 0)
    assert report.total("not_attempted") == 3
    assert [failure.message for failure in report.failed] == ["this machine has no room for more: too many open files"]
    assert verdict_error(report, max_unreachable=1.0).exit_code == 1
    assert bench.failures("2") == {}
    assert "--forks" in bench.events("warning")[0]
    bench.transport.on = False
    assert bench.apply().total("changed") == 3


def test_a_limit_of_this_machine_that_passes_costs_nothing_but_time(bench: Bench) -> None:
    bench.transport = Fault(bench.transport, FULL, {"g-1"})
    bench.happens[1] = lambda: setattr(bench.transport, "on", False)
    assert bench.apply().total("changed") == 4


def test_a_limit_of_this_machine_while_it_looks_leaves_what_is_known_as_it_was(bench: Bench) -> None:
    bench.transport = Fault(bench.transport, FULL, {"g-1"}, "facts")
    with pytest.raises(LimitError, match="this machine has no room for more: too many open files"):
        bench.plan()
    bench.transport.on = False
    assert not bench.plan(refresh=False).unknown


def test_a_check_that_this_machine_has_no_room_for_says_nothing_about_a_release(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.check("true", timeout=60.0)
    monkeypatch.setattr("subprocess.Popen", no_process)
    report = bench.apply()
    assert report.total("not_attempted") == 4
    assert [failure.message for failure in report.failed] == [
        "this machine has no room for more: resource temporarily unavailable"
    ]
    assert bench.record("2").status != "halted"
    monkeypatch.undo()
    assert bench.apply().total("changed") == 4


def no_process(*_args: Any, **_options: Any) -> None:
    raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")


def test_clients_whose_server_hung_up_before_it_greeted_count_in_no_gate(bench: Bench) -> None:
    bench.transport = Fault(bench.transport, HungUpError("g-1 hung up before it greeted"), {"g-1"})
    report = bench.apply()
    assert report.total("unreachable") == 1
    bench.pass_(60)
    bench.transport.work = "facts"
    bench.apply()
    assert bench.record("2").status != "halted"
    assert bench.running("2") == {"g-0", "g-2", "g-3"}


def test_eagain_is_a_limit_where_a_program_is_started_only() -> None:
    error = BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
    assert own_limit(error) is None
    assert own_limit(error, starting=True) is not None
    for other in (ConnectionRefusedError(errno.ECONNREFUSED, "x"), RuntimeError("x"), KeyError("x"), OSError("x")):
        assert own_limit(other, starting=True) is None


def test_there_is_room_for_one_client_at_a_time_at_least_and_kept_connections_never_take_all_of_it() -> None:
    room = Room()
    for left in (0, 1, 11, 40, 400, 40_000):
        room.left = left
        assert room.kept(128) <= min(128, left // 4)
        assert room.forks(room.kept(128)) >= 1
        assert room.forks(room.kept(128)) * 12 + room.kept(128) <= max(left, 15)


def test_more_forks_than_there_is_room_for_are_cut_and_said_once() -> None:
    class Counting:
        def open(self, hands: Any, forks: int) -> Any:
            given.append(forks)
            return nullcontext(hands)

    given: list[Any] = []
    told: list[Any] = []
    bounded = Bounded(Counting(), 3, told.append)
    for forks in (2, 3, 4, 400):
        bounded.open(None, forks)  # type: ignore[arg-type]
    assert (given, told) == ([2, 3, 3, 3], [4])
