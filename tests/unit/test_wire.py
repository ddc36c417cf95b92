"""A connection ends by itself when a host is silent for too long, takes nothing, or sends without end."""

import linecache
import sys
import zlib
from contextlib import suppress
from socket import socketpair
from threading import Event, Thread
from threading import enumerate as enumerate_threads
from typing import Any

import paramiko
import pytest

from reconciler.controller.service import Asked
from reconciler.errors import ProtocolError, TransportError
from reconciler.plugins.transport import _ssh_wire as module
from reconciler.plugins.transport import local
from reconciler.plugins.transport._printed import MAX_ERRORS, MAX_OUTPUT, MAX_PRINTED, Printed
from reconciler.plugins.transport._ssh_wire import MAX_PACKET, MAX_RECEIVED, Connection, Wire
from tests.waiting import PATIENCE, until

CHUNK = 64 * 1024


class Line:
    """A socket that gives what is asked for and takes all, unless it is stuck."""

    stuck = closed = False

    def send(self, data: Any) -> Any:
        if self.stuck:
            raise TimeoutError
        return len(data)

    def recv(self, size: Any) -> Any:
        return bytes(size)

    def settimeout(self, seconds: Any) -> None:
        pass

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def stop() -> Any:
    return Event()


@pytest.fixture
def wire(stop: Any) -> Any:
    return Wire(Line(), stop)


def ends(wire: Any, do: Any) -> Any:
    """Do something until the connection ends; give why it did."""
    for _ in range(100_000):
        try:
            do()
        except EOFError:
            return wire.trouble.message
    raise AssertionError("it goes on")


def test_a_host_that_is_silent_for_longer_than_was_said_is_left(wire: Any) -> None:
    wire.expect(0)
    assert "silent for 0 s" in ends(wire, lambda: wire.recv(1))


def test_a_host_is_waited_for_as_long_as_it_moves_or_nothing_is_expected_of_it(wire: Any, stop: Any) -> None:
    wire.expect(60, after_stop=60)
    stop.set()
    wire.recv(1)
    wire.expect(0)
    wire.rest()
    for _ in range(100):
        wire.recv(1)
        wire.send(b"x")
    assert wire.trouble is None


def test_once_the_run_is_to_end_a_host_is_left_that_nothing_is_lost_with(wire: Any, stop: Any) -> None:
    wire.expect(3600)
    wire.recv(1)
    stop.set()
    assert "interrupted" in ends(wire, lambda: wire.send(b"x"))


def test_a_host_that_takes_nothing_is_left(wire: Any, stop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STUCK", 0)
    wire._socket.stuck = True

    def send() -> None:
        with suppress(TimeoutError):
            wire.send(b"x")

    assert "took nothing" in ends(wire, send)
    monkeypatch.setattr(module, "STUCK", 3600)
    monkeypatch.setattr(module, "GRACE", 0)
    stop.set()
    assert "took nothing" in ends(wire, send)


def test_a_host_may_send_so_much_for_a_command_and_more_only_for_what_it_is_sent(wire: Any) -> None:
    for _ in range(3):
        wire.expect(60)
        for _ in range(MAX_RECEIVED // CHUNK):
            wire.recv(CHUNK)
    for _ in range(4 * 100):
        wire.send(bytes(CHUNK))
    for _ in range(100):
        wire.recv(CHUNK)
    wire.carry()
    for _ in range(2 * MAX_RECEIVED // CHUNK):
        wire.recv(CHUNK)
    wire.expect(60)
    assert "without end" in ends(wire, lambda: wire.recv(CHUNK))


def test_no_packet_is_believed_that_no_host_sends(stop: Any) -> None:
    connection = Connection(Line(), stop)
    assert len(connection.packetizer.read_all(MAX_PACKET)) == MAX_PACKET
    with pytest.raises(paramiko.SSHException, match="4294967280"):
        connection.packetizer.read_all(0xFFFFFFF0)


def test_a_packed_packet_unpacks_to_no_more_than_a_packet() -> None:
    _pack, unpack = Connection._compression_info["zlib"]
    assert unpack()(zlib.compress(b"x" * 1000)) == b"x" * 1000
    with pytest.raises(paramiko.SSHException, match="no end"):
        unpack()(zlib.compress(bytes(100 * MAX_PACKET)))


def test_the_beginning_of_what_a_client_prints_is_kept_and_too_much_is_its_failure() -> None:
    printed = Printed()
    for _ in range(MAX_PRINTED // CHUNK // 2):
        printed.take(b"o" * CHUNK)
        printed.take(b"e" * CHUNK, error=True)
    assert (printed.stdout, printed.stderr) == (b"o" * MAX_OUTPUT, b"e" * MAX_ERRORS)
    with pytest.raises(ProtocolError, match="without end"):
        printed.take(b"x")


def test_a_local_script_that_prints_without_end_is_stopped() -> None:
    with pytest.raises(ProtocolError, match="without end"):
        local.LocalPipe().run("exec yes", [], timeout=3600)


def test_a_local_script_that_is_silent_when_the_run_is_interrupted_is_stopped(
    stop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "GRACE", 0.1)
    stop.set()
    with pytest.raises(TransportError, match="interrupted"):
        local.LocalPipe(stop).run("exec sleep 3600", [], timeout=3600)


def test_a_local_script_that_closes_its_outputs_and_runs_on_is_stopped_in_its_time() -> None:
    with pytest.raises(TransportError, match="too long"):
        local.LocalPipe().run("exec >&- 2>&-; sleep 3600", [], timeout=0.5)


def test_who_waits_for_a_host_asks_whether_to_stop_and_a_connection_at_rest_asks_nobody() -> None:
    asked: list[str] = []
    wire = Wire(Line(), Asked(lambda: asked.append("once")))
    wire.expect(60)
    wire.recv(1)
    assert asked == ["once"]
    wire.rest()
    wire.recv(1)
    assert asked == ["once"]


def test_what_came_is_received_at_once_however_small_the_pieces_are_that_are_asked_for(stop: Any) -> None:
    ours, theirs = socketpair()
    with ours, theirs:
        wire = Wire(ours, stop)
        theirs.sendall(bytes(range(100)))
        found = wire.recv(16)
        with pytest.raises(BlockingIOError):
            ours.recv(1)
        while len(found) < 100:
            found += wire.recv(16)
    assert found == bytes(range(100))


def test_who_waits_for_a_host_is_woken_when_the_connection_is_closed(
    stop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK", 10 * PATIENCE)
    ours, theirs = socketpair()
    with ours, theirs:
        wire = Wire(ours, stop)

        def wait() -> None:
            with suppress(OSError):  # what it gets where it was about to wait
                wire.recv(1)

        waiting = Thread(target=wait, daemon=True)
        waiting.start()
        until(lambda: "poll" in _at(waiting))
        wire.close()
        waiting.join(PATIENCE)
    assert not waiting.is_alive()


def _at(thread: Thread) -> str:
    frame = sys._current_frames().get(thread.ident or 0)
    return "" if frame is None else linecache.getline(frame.f_code.co_filename, frame.f_lineno)


def test_a_handshake_that_takes_too_long_is_noticed_without_a_thread_for_that(stop: Any) -> None:
    before = set(enumerate_threads())
    packets = Connection(Line(), stop).packetizer
    packets.start_handshake(60)
    assert set(enumerate_threads()) <= before
    assert not packets.handshake_timed_out()
    packets.start_handshake(-1)
    assert packets.handshake_timed_out()
    packets.complete_handshake()
    assert not packets.handshake_timed_out()
