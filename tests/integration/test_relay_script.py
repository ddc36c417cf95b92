"""A relay in a folder, filled and served by the real script on real shells."""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import shutil
import signal
import socket
import stat
import subprocess
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest

from reconciler.client.relaying import hold_request, serve_request
from reconciler.client.session import ShellSession, client_script
from reconciler.errors import BusyError, ClientError, TransportError
from reconciler.model.relay import HoldOrder, ServeOrder
from reconciler.plugins.transport.local import LocalPipe
from tests.machine import MORE_SHELLS
from tests.ports import free_port
from tests.servers import nginx
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.model.relay import Held

LARGE = os.urandom(3 * 1024 * 1024 + 17)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Relay:
    """A relay in a folder, and what may be brought to it."""

    def __init__(self, folder: Path, shell: str = "dash") -> None:
        self.shell = shell
        self.store = folder / "store"
        self.session = ShellSession(LocalPipe(), shell=shell)
        self.content: dict[str, bytes] = {}

    @contextmanager
    def open(self, sha256: str) -> Iterator[BinaryIO]:
        yield io.BytesIO(self.content[sha256])

    def take(self, *contents: bytes) -> dict[str, int]:
        self.content |= {digest(content): content for content in contents}
        return {digest(content): len(content) for content in contents}

    def hold(self, **order: Any) -> Held:
        return self.session.hold(HoldOrder(store=str(self.store), **order), self.open)

    def fill(self, *contents: bytes) -> Held:
        return self.hold(take=self.take(*contents))

    @property
    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.store.iterdir() if path.is_file()}

    def request(self, **order: Any) -> bytes:
        return b"".join(hold_request(HoldOrder(store=str(self.store), **order), self.open, lambda _size: None))

    def raw(self, data: bytes) -> bytes:
        command = [*self.shell.split(), "-c", client_script("relay").decode()]
        return subprocess.run(command, input=data, capture_output=True, timeout=PATIENCE, check=False).stdout


@pytest.fixture(params=MORE_SHELLS)
def relay(request: pytest.FixtureRequest, tmp_path: Path) -> Relay:
    return Relay(tmp_path, request.param)


@pytest.fixture
def dash(tmp_path: Path) -> Relay:
    return Relay(tmp_path)


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        return bytes(answer.read())


def answers(port: int) -> bool:
    with suppress(urllib.error.HTTPError), suppress(OSError, http.client.HTTPException):
        get(f"http://127.0.0.1:{port}/")
        return True
    return False


# --- filling --------------------------------------------------------------------------------------------------------


@pytest.mark.each_shell
def test_parts_come_by_their_digests_and_others_may_read_them(relay: Relay) -> None:
    held = relay.fill(LARGE, b"small", b"")
    assert held.parts == {digest(content): len(content) for content in (LARGE, b"small", b"")}
    assert relay.files == {digest(content): content for content in (LARGE, b"small", b"")}
    assert {stat.S_IMODE(path.stat().st_mode) for path in relay.store.iterdir() if path.is_file()} == {0o644}
    assert held.free > 0
    assert list((relay.store / ".updoser").iterdir()) == []


def test_a_look_writes_nothing_and_tells_what_is_there(relay: Relay) -> None:
    assert relay.hold().parts == {}
    assert not relay.store.exists()
    relay.fill(b"one")
    before = sorted((str(path), path.lstat().st_mtime_ns) for path in relay.store.rglob("*"))
    assert relay.hold().parts == {digest(b"one"): 3}
    assert sorted((str(path), path.lstat().st_mtime_ns) for path in relay.store.rglob("*")) == before


@pytest.mark.each_shell
def test_what_broke_off_is_told_and_gone_on_with(relay: Relay) -> None:
    request = relay.request(take=relay.take(LARGE))
    assert b"cut" in relay.raw(request[: -len(LARGE) // 2])
    (begun,) = relay.hold().begun.items()
    assert begun[0] == digest(LARGE)
    assert 0 < begun[1] < len(LARGE)
    order = HoldOrder(store=str(relay.store), take={digest(LARGE): len(LARGE)}, begun=dict([begun]))
    sent: list[int] = []
    held = relay.session.hold(order, relay.open, sent.append)
    assert held.parts == {digest(LARGE): len(LARGE)}
    assert sum(sent) == len(LARGE) - begun[1] == order.bytes


def test_what_arrives_with_other_bytes_is_not_kept(relay: Relay) -> None:
    wanted = relay.take(b"good")
    relay.content[digest(b"good")] = b"evil"
    held = relay.hold(take=wanted)
    assert held.parts == {}
    assert held.bad == {digest(b"good")}
    assert relay.files == {}


def test_what_was_begun_with_other_bytes_is_sent_again(dash: Relay) -> None:
    dash.fill(b"first")
    (dash.store / f"{digest(LARGE)}.part").write_bytes(b"x" * 1000)
    held = dash.hold(take=dash.take(LARGE), begun={digest(LARGE): 1000})
    assert held.bad == {digest(LARGE)}
    assert dash.fill(LARGE).parts.keys() == {digest(LARGE), digest(b"first")}


@pytest.mark.each_shell
def test_a_stale_part_is_found_and_removed(relay: Relay) -> None:
    relay.fill(b"one", b"two")
    (relay.store / digest(b"one")).write_bytes(b"0ne")
    held = relay.hold(held=frozenset(map(digest, (b"one", b"two"))))
    assert held.bad == {digest(b"one")}
    assert held.parts == {digest(b"two"): 3}


@pytest.mark.each_shell
def test_what_nobody_needs_goes_and_what_others_put_there_stays(relay: Relay) -> None:
    relay.fill(b"one", b"two")
    (relay.store / "index.html").write_text("mine")
    (relay.store / f"{digest(b'two')}.part").write_bytes(b"t")
    held = relay.hold(drop=frozenset([digest(b"two")]), take=relay.take(b"three"))
    assert held.parts == {digest(b"one"): 3, digest(b"three"): 5}
    assert held.begun == {}
    assert (relay.store / "index.html").read_text() == "mine"


def test_a_link_with_the_name_of_a_part_is_none(dash: Relay, tmp_path: Path) -> None:
    dash.fill(b"one")
    (tmp_path / "elsewhere").write_bytes(b"two")
    (dash.store / digest(b"two")).symlink_to(tmp_path / "elsewhere")
    assert dash.hold().parts == {digest(b"one"): 3}
    assert dash.hold(held=frozenset([digest(b"two")])).bad == {digest(b"two")}
    assert (tmp_path / "elsewhere").read_bytes() == b"two"


def test_a_folder_that_others_may_write_is_refused(dash: Relay) -> None:
    dash.store.mkdir()
    dash.store.chmod(0o777)
    with pytest.raises(ClientError, match="can be written by its group or by everyone"):
        dash.fill(b"one")


def test_more_than_the_disk_holds_is_refused_before_anything_is_sent(dash: Relay) -> None:
    wanted = dict.fromkeys(dash.take(LARGE), 10**15 - 1)
    with pytest.raises(ClientError, match="not enough disk") as caught:
        dash.hold(take=wanted)
    assert caught.value.reason == "disk"
    assert dash.files == {}


@pytest.mark.skipif(not os.access("/dev/full", os.W_OK), reason="needs /dev/full")
def test_a_disk_that_is_full_is_told_and_nothing_half_stays(dash: Relay, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "dd").write_text(
        '#!/bin/sh\ncase $* in *bs=65536*) exec /usr/bin/dd "$@" >/dev/full ;; esac\nexec /usr/bin/dd "$@"\n'
    )
    (tools / "dd").chmod(0o755)
    script = f"PATH={tools}:$PATH; export PATH\n{client_script('relay').decode()}"
    request = dash.request(take=dash.take(LARGE))
    done = subprocess.run(["dash", "-c", script], input=request, capture_output=True, timeout=PATIENCE, check=False)
    assert b"disk" in done.stdout
    assert dash.hold().begun == {}


def test_two_who_fill_it_at_once_are_told_apart(dash: Relay) -> None:
    reader, writer = os.pipe()
    request = dash.request(take=dash.take(LARGE))
    command = ["dash", "-c", client_script("relay").decode()]
    with subprocess.Popen(command, stdin=reader, stdout=subprocess.PIPE) as first:
        os.write(writer, request[: -len(LARGE) - 3])
        until((dash.store / ".updoser/lock").is_symlink, first)
        with pytest.raises(BusyError):
            dash.fill(b"one")
        os.close(reader)
        os.close(writer)
        first.communicate()
    assert dash.fill(b"one").parts == {digest(b"one"): 3}


@pytest.mark.parametrize(
    "line", ["drop ../x", "take 1 2 x", f"take 9 2 {'0' * 64}", "probe http://a;id", "held x", "other"]
)
def test_what_is_no_order_is_refused_before_anything_is_touched(dash: Relay, line: str) -> None:
    header = f"store {dash.store}\n{line}\nend\n".encode()
    assert b"protocol" in dash.raw(b"updoser 1 hold %d\n" % len(header) + header)
    assert not dash.store.exists()


# --- serving --------------------------------------------------------------------------------------------------------


def test_it_says_whether_a_web_server_gives_its_parts(dash: Relay, tmp_path: Path) -> None:
    dash.fill(b"one")
    with nginx(tmp_path / "nginx", dash.store) as url:
        assert dash.hold(probe=url).serving == "yes"
    with nginx(tmp_path / "other", tmp_path) as url:
        assert dash.hold(probe=url).serving.startswith("no ")


@pytest.mark.each_shell
def test_its_folder_is_served_while_the_run_lasts_and_not_longer(relay: Relay) -> None:
    relay.fill(b"one", LARGE)
    port, over = free_port(), threading.Event()

    def beats() -> Iterator[None]:
        while not over.wait(0.1):
            yield

    order = ServeOrder(str(relay.store), "127.0.0.1", port)
    thread = threading.Thread(target=relay.session.serve, args=(order, beats()))
    thread.start()
    try:
        until(lambda: relay.hold().server)
        assert get(f"http://127.0.0.1:{port}/{digest(b'one')}") == b"one"
        assert get(f"http://127.0.0.1:{port}/{digest(LARGE)}") == LARGE
        assert relay.hold(probe=f"http://127.0.0.1:{port}").serving == "yes"
    finally:
        over.set()
        thread.join()
    assert not answers(port)
    assert not relay.hold().server
    assert list((relay.store / ".updoser").iterdir()) == []


def served(relay: Relay, port: int) -> tuple[subprocess.Popen[bytes], int]:
    """Start serving by a process of its own; give that, and where its beats are written to."""
    reader, writer = os.pipe()
    command = [*relay.shell.split(), "-c", client_script("relay").decode()]
    process = subprocess.Popen(command, stdin=reader, stdout=subprocess.DEVNULL)
    os.close(reader)
    order = ServeOrder(str(relay.store), "127.0.0.1", port)
    os.write(writer, b"".join(serve_request(order, [None])))
    return process, writer


@pytest.mark.each_shell
@pytest.mark.parametrize("end", ["hang up", "kill"])
def test_nothing_is_served_once_the_controller_or_the_script_is_gone(relay: Relay, end: str) -> None:
    relay.fill(b"one")
    port = free_port()
    process, writer = served(relay, port)
    try:
        until(lambda: answers(port), process)
        if end == "kill":
            process.send_signal(signal.SIGKILL)
            process.wait(PATIENCE)  # who isn't waited for is still there
        os.close(writer)
        until(lambda: not answers(port))
    finally:
        process.wait(PATIENCE)
    until(lambda: not relay.hold().server)


def test_a_port_that_is_taken_is_told(dash: Relay, tmp_path: Path) -> None:
    dash.fill(b"one")
    with nginx(tmp_path / "nginx", dash.store) as url:
        order = ServeOrder(str(dash.store), "127.0.0.1", int(url.rpartition(":")[2]))
        with pytest.raises(ClientError, match="nobody can listen on"):
            dash.session.serve(order, iter([None]))


@pytest.fixture
def slow_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Have a web server begin only when there is a file; gives what there is once it is waited for, and that file."""
    waits, go, tools = tmp_path / "waits", tmp_path / "go", tmp_path / "tools"
    tools.mkdir()
    late = f'case "$*" in *"-m http.server"*) until test -e {go}; do sleep 0.05; done ;; esac'
    noted = f"[ $1 != 0.1 ] || : >{waits}"
    for name, line in (("python3", late), ("sleep", noted)):
        (tools / name).write_text(f'#!/bin/sh\n{line}\nexec {shutil.which(name)} "$@"\n')
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    return waits, go


@pytest.mark.each_shell
def test_a_web_server_that_takes_its_time_is_waited_for(relay: Relay, slow_python: tuple[Path, Path]) -> None:
    relay.fill(b"one")
    waits, go = slow_python
    port = free_port()
    process, writer = served(relay, port)
    try:
        until(waits.exists, process)
        assert not relay.hold().server
        go.touch()
        until(lambda: relay.hold().server, process)
        assert get(f"http://127.0.0.1:{port}/{digest(b'one')}") == b"one"
    finally:
        go.touch()
        os.close(writer)
        process.wait(PATIENCE)


def test_a_port_that_is_taken_is_told_however_late_that_shows(
    dash: Relay, tmp_path: Path, slow_python: tuple[Path, Path]
) -> None:
    dash.fill(b"one")
    waits, go = slow_python

    def beats() -> Iterator[None]:
        yield
        until(waits.exists)
        go.touch()

    with nginx(tmp_path / "nginx", dash.store) as url:
        order = ServeOrder(str(dash.store), "127.0.0.1", int(url.rpartition(":")[2]))
        with pytest.raises(ClientError, match="nobody can listen on"):
            dash.session.serve(order, beats())


def test_what_lies_beside_the_folder_is_not_served(dash: Relay, tmp_path: Path) -> None:
    dash.fill(b"one")
    (tmp_path / "secret").write_text("secret")
    port = free_port()
    process, writer = served(dash, port)
    try:
        until(lambda: answers(port), process)
        with pytest.raises(urllib.error.HTTPError):
            get(f"http://127.0.0.1:{port}/../secret")
    finally:
        os.close(writer)
        process.wait(PATIENCE)


def test_a_machine_says_whether_anything_there_can_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    relay = Relay(tmp_path)
    assert relay.hold(tools=True).unserved is False
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("python3", "busybox"):
        (tools / name).write_text("#!/bin/sh\nexit 1\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    assert relay.hold(tools=True).unserved is True
    assert not relay.store.exists()


# --- tried from a client --------------------------------------------------------------------------------------------


@pytest.mark.each_shell
@pytest.mark.parametrize("there", [True, False])
def test_who_tries_a_part_of_a_relay_says_whether_it_was_that_and_keeps_nothing(
    relay: Relay, tmp_path: Path, there: bool
) -> None:
    client = tmp_path / "client"
    if there:
        (client / ".updoser").mkdir(parents=True, mode=0o700)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / digest(LARGE)).write_bytes(LARGE)
    (tmp_path / "parts" / digest(b"one")).write_bytes(b"other")
    with nginx(tmp_path / "nginx", tmp_path / "parts") as url:

        def tried(content: bytes) -> str:
            order = HoldOrder(store=str(client), probe=url, size=len(content), sha256=digest(content))
            return relay.session.hold(order, relay.open).serving

        assert tried(LARGE) == "yes"
        assert tried(b"one") == f"no {url}/{digest(b'one')}: other bytes than announced"
        assert tried(b"none").startswith(f"no {url}/{digest(b'none')}: ")
    assert tried(LARGE).startswith(f"no {url}/{digest(LARGE)}: ")
    assert client.exists() == there
    assert not there or list((client / ".updoser").iterdir()) == []


@pytest.mark.parametrize(
    "line", ["probe http://r 1", "probe http://r x {digest}", "probe http://r 1 abc", "probe r 1 {digest}"]
)
def test_a_try_that_nobody_sends_is_refused(relay: Relay, line: str) -> None:
    header = f"store {relay.store}\n{line.format(digest=digest(b''))}\nend\n".encode()
    said = relay.raw(b"updoser 1 hold %d\n%s" % (len(header), header))
    assert b"updoser 1 error\nprotocol malformed: probe" in said


@pytest.mark.each_shell
@pytest.mark.parametrize("there", [True, False])
def test_a_store_that_was_only_served_is_as_it_was(relay: Relay, tmp_path: Path, there: bool) -> None:
    relay.store = tmp_path / "some where" / "deep"
    if there:
        relay.store.mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    relay.session.serve(ServeOrder(str(relay.store), "127.0.0.1", free_port()), iter([None, None]))
    assert sorted(tmp_path.rglob("*")) == before

    def beats() -> Iterator[None]:
        while True:  # however long it takes until it notices
            yield
            threading.Event().wait(0.1)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        order = ServeOrder(str(relay.store), "127.0.0.1", taken.getsockname()[1])
        with pytest.raises(ClientError, match="nobody can listen on"):
            relay.session.serve(order, beats())
    assert sorted(tmp_path.rglob("*")) == before


def test_who_only_looks_or_tries_is_waited_for_no_longer_than_a_client_that_is_looked_at(tmp_path: Path) -> None:
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\nexec sleep 600\n")
    silent.chmod(0o755)
    session = ShellSession(LocalPipe(), shell=str(silent), facts_timeout=0.5)
    for order in (HoldOrder(store="/r"), HoldOrder(store="/r", probe="http://r", size=1, sha256=digest(b"one"))):
        with pytest.raises(TransportError, match="took too long"):
            session.hold(order, Relay(tmp_path).open)
