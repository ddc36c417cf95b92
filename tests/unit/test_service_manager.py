"""What a manager of services is told: what it asked for, where it said, by whoever does the work."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.controller import service
from reconciler.controller.service import Asked, ServiceManager
from tests.waiting import PATIENCE


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.settimeout(PATIENCE)
        yield made


def manager_at(listening: socket.socket, **others: str) -> ServiceManager:
    return ServiceManager.of({"NOTIFY_SOCKET": listening.getsockname(), **others})


def test_a_manager_at_a_path_is_told(listening: socket.socket) -> None:
    manager_at(listening).ready()
    assert listening.recv(999) == b"READY=1"


def test_a_manager_at_a_name_without_a_path_is_told() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind("")  # the kernel chooses a name that is free
        made.settimeout(PATIENCE)
        ServiceManager.of({"NOTIFY_SOCKET": f"@{made.getsockname()[1:].decode()}"}).stopping()
        assert made.recv(999) == b"STOPPING=1"


def test_a_reload_says_since_when(listening: socket.socket) -> None:
    manager_at(listening).reloading()
    first, second = listening.recv(999).decode().splitlines()
    assert first == "RELOADING=1"
    name, _, number = second.partition("=")
    assert (name, number.isdecimal()) == ("MONOTONIC_USEC", True)


@given(st.text())
def test_nothing_in_a_status_is_taken_for_another_word(text: str) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs, pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "sendto", lambda _self, data, _address: ours.send(data))
        ServiceManager("/there").status(text)
        told = theirs.recv(99_999)
    assert told.startswith(b"STATUS=")
    assert told.count(b"\n") == 0


def test_a_beat_is_told_as_often_as_the_manager_wants_and_no_oftener(listening: socket.socket) -> None:
    manager = manager_at(listening, WATCHDOG_USEC="3600000000", WATCHDOG_PID=str(os.getpid()))
    for _ in range(3):
        manager.beat()
    manager.ready()
    assert [listening.recv(999), listening.recv(999)] == [b"WATCHDOG=1", b"READY=1"]


@pytest.mark.parametrize(
    "others", [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "much"}, {"WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"}]
)
def test_who_is_not_watched_tells_no_beats(listening: socket.socket, others: dict[str, str]) -> None:
    manager = manager_at(listening, **others)
    manager.beat()
    manager.ready()
    assert listening.recv(999) == b"READY=1"


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:9", "/there/is/nobody", f"/{'x' * 200}", "@"])
def test_where_no_manager_can_be_told_nothing_happens(address: str) -> None:
    manager = ServiceManager.of({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1"})
    for tell in (manager.ready, manager.reloading, manager.stopping, manager.beat):
        tell()
    manager.status("well")


def test_programs_that_it_runs_are_not_the_service() -> None:
    environ = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "2", "PATH": "/bin"}
    ServiceManager.of(environ)
    assert environ == {"PATH": "/bin"}


def test_who_asks_or_waits_shows_that_he_is_there() -> None:
    seen: list[str] = []
    stop = Asked(lambda: seen.append("beat"))
    assert not stop.is_set()
    assert len(seen) == 1
    assert not stop.wait(0)
    assert len(seen) > 1


def test_who_waits_for_long_shows_it_again_and_again_and_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_SLICE", 0.01)
    seen: list[str] = []

    def tell() -> None:
        seen.append("beat")
        if len(seen) == 3:
            stop.set()

    stop = Asked(tell)
    waiting = Thread(target=stop.wait, daemon=True)
    waiting.start()
    waiting.join(PATIENCE)
    assert (waiting.is_alive(), len(seen)) == (False, 3)
