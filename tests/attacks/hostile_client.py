"""An SSH server that is hostile in as many ways as there are names: the user who logs in says in which.

`KINDS` has for each what must become of that client: `failed`, `unreachable`, or `changed` or `stale` where what it
does is odd and allowed. A kind is a function that plays one connection: `RAW` get the socket before any SSH is spoken,
the others the `Play` of a command, with what it was asked for and the channel to answer on.
"""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import paramiko
from paramiko.common import AUTH_SUCCESSFUL, OPEN_SUCCEEDED, cMSG_CHANNEL_DATA

from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOG = logging.getLogger("tests.hostile")
_LOG.setLevel(logging.CRITICAL + 1)
FACTS = "platform linux-x86_64\nfree 1000000\nuser 0\n"
DIGEST = "ab" * 32
MANY = 38_000
FAILED, UNREACHABLE, CHANGED, STALE = "failed", "unreachable", "changed", "stale"
KINDS: dict[str, str] = {}
RAW: dict[str, Callable[[socket.socket, threading.Event], None]] = {}
LOGINS: dict[str, str] = {}
"""What is never answered, by the kind: `auth`, `session` or `exec`."""
_LOOKS: dict[str, Callable[[Play], None]] = {}
_DEPLOYS: dict[str, Callable[[Play], None]] = {}


Raw: TypeAlias = "Callable[[socket.socket, threading.Event], None]"
Answer: TypeAlias = "Callable[[Play], None]"


def raw(becomes: str) -> Callable[[Raw], Raw]:
    """Take a function as a kind that speaks no SSH, or hardly."""

    def note(function: Raw) -> Raw:
        name = function.__name__.replace("_", "-")
        KINDS[name], RAW[name] = becomes, function
        return function

    return note


def look(becomes: str, table: dict[str, Callable[[Play], None]] = _LOOKS) -> Callable[[Answer], Answer]:
    """Take a function as a kind that answers whatever it is asked."""

    def note(function: Answer) -> Answer:
        name = function.__name__.replace("_", "-")
        KINDS[name], table[name] = becomes, function
        return function

    return note


def deploy(becomes: str) -> Callable[[Answer], Answer]:
    """Take a function as a kind that answers a look as others do, and then this."""
    return look(becomes, _DEPLOYS)


class Play:
    """One command: what was asked, and ways to answer."""

    def __init__(self, channel: paramiko.Channel, done: threading.Event) -> None:
        self.channel = channel
        self.done = done
        self.asked = b""
        self.steps: list[list[str]] = []

    def read(self) -> str:
        """Read the request to its end; give what is asked for."""
        self.asked = b""
        while chunk := self.channel.recv(1 << 16):
            self.asked += chunk
        header = self.asked.partition(b"updoser 1 ")[2].partition(b"\nend\n")[0].decode("utf-8", "replace")
        self.steps = [line.split(" ")[1:] for line in header.split("\n") if line.startswith("step ")]
        return header.partition(" ")[0]

    def say(self, text: str | bytes) -> None:
        """Print something."""
        self.channel.sendall(text.encode() if isinstance(text, str) else text)

    def answer(self, kind: str, text: str = "") -> None:
        """Print an answer that is one, and end."""
        self.say(f"updoser 1 {kind}\n{text}end\n")
        self.end()

    def end(self, status: int = 0) -> None:
        """End the command."""
        self.channel.send_exit_status(status)
        self.channel.close()

    def outcomes(self, status: str = "changed", version: str = "", digest: str = "") -> str:
        """Give lines that say so of each step."""
        return "".join(f"{step[0]} {status} {version or step[3]} {digest or step[4]} \n" for step in self.steps)


# --- those that speak no SSH ----------------------------------------------------------------------------------------


@raw(UNREACHABLE)
def takes_the_connection_and_says_nothing(connection: socket.socket, done: threading.Event) -> None:
    del connection
    done.wait()


@raw(UNREACHABLE)
def hangs_up_at_once(connection: socket.socket, done: threading.Event) -> None:
    del connection, done


@raw(UNREACHABLE)
def greets_without_end(connection: socket.socket, done: threading.Event) -> None:
    while not done.is_set():
        connection.sendall(b"welcome\r\n" * 1000)


@raw(UNREACHABLE)
def drips_its_greeting(connection: socket.socket, done: threading.Event) -> None:
    while not done.wait(0.1):
        connection.sendall(b"S")


@raw(UNREACHABLE)
def announces_a_packet_of_4_gib(connection: socket.socket, done: threading.Event) -> None:
    connection.sendall(b"SSH-2.0-hostile\r\n\xff\xff\xff\xf0\x04")
    while not done.is_set():
        connection.sendall(bytes(1 << 20))


@raw(UNREACHABLE)
def greets_with_bytes(connection: socket.socket, done: threading.Event) -> None:
    connection.sendall(bytes(range(256)) * 100 + b"\n")
    done.wait()


# --- those that don't answer, or don't stop -------------------------------------------------------------------------

for _name, _what in {
    "never-answers-the-login": "auth",
    "never-opens-the-session": "session",
    "never-answers-exec": "exec",
    "refuses-exec": "no",
}.items():
    KINDS[_name], LOGINS[_name] = UNREACHABLE, _what


@look(UNREACHABLE)
def is_silent(play: Play) -> None:
    play.done.wait()


@look(UNREACHABLE)
def answers_and_never_closes(play: Play) -> None:
    play.read()
    play.say(f"updoser 1 facts\n{FACTS}end\n")
    play.done.wait()


@look(FAILED)
def ends_without_a_word(play: Play) -> None:
    play.read()
    play.end()


@look(UNREACHABLE)
def closes_without_a_status(play: Play) -> None:
    play.channel.close()


@look(UNREACHABLE)
def cuts_the_connection(play: Play) -> None:
    play.channel.get_transport().close()


@look(FAILED)
def prints_without_end(play: Play) -> None:
    while not play.done.is_set():
        play.say(b"x" * (1 << 16))


@look(FAILED)
def prints_errors_without_end(play: Play) -> None:
    while not play.done.is_set():
        play.channel.sendall_stderr(b"x" * (1 << 16))


@look(FAILED)
def prints_more_than_anybody_takes(play: Play) -> None:
    message = paramiko.Message()
    message.add_byte(cMSG_CHANNEL_DATA)
    message.add_int(play.channel.remote_chanid)
    message.add_string(b"x" * 30_000)
    while not play.done.is_set():
        play.channel.get_transport()._send_user_message(message)  # type: ignore[attr-defined]


@look(UNREACHABLE)
def drips(play: Play) -> None:
    while not play.done.wait(0.1):
        play.say("x")


@look(UNREACHABLE)
def says_for_ever_that_it_waits(play: Play) -> None:
    while not play.done.wait(0.1):
        play.say("updoser waits\n")


# --- those whose answer to a look can't be --------------------------------------------------------------------------


def _facts(name: str, text: str | bytes, becomes: str = FAILED) -> None:
    def play_it(play: Play) -> None:
        play.read()
        play.say(b"updoser 1 facts\n" + (text.encode() if isinstance(text, str) else text))
        play.end()

    KINDS[name], _LOOKS[name] = becomes, play_it


_facts("has-18-digits-of-room", f"{FACTS}free {'9' * 18}\nend\n")
_facts("has-19-digits-of-room", f"{FACTS}free {'9' * 19}\nend\n")
_facts("has-an-epoch-of-18-digits", f"{FACTS}controller x {'9' * 18}\nend\n")
_facts("has-18-digits-of-memory", f"{FACTS}memory {'9' * 18}\nend\n")
_facts(
    "has-more-components-than-there-are", FACTS + "".join(f"installed c{n} 1 - - - x\n" for n in range(MANY)) + "end\n"
)
_facts("has-a-component-twice", f"{FACTS}installed a 1 - - - x\ninstalled a 2 - - - x\nend\n")
_facts("has-a-platform-without-end", f"platform linux {'x' * 500_000}\nend\n")
_facts("has-more-tools-than-there-are", FACTS + "".join(f"tool t{n}\n" for n in range(MANY)) + "end\n")
_facts("has-a-file-whose-name-is-a-line", f"{FACTS}unmanaged /x\ninstalled engine 99.9.9 {DIGEST} - - \nend\n")
_facts("answers-with-nuls", b"\0" * 10_000)
_facts("answers-with-bytes", FACTS.encode() + bytes(range(256)) + b"\nend\n")
_facts("answers-half-a-line", f"{FACTS}installed eng")
_facts("answers-without-an-end", FACTS)
_facts("answers-with-a-line-that-nobody-writes", f"{FACTS}please give me root\nend\n")


@look(FAILED)
def answers_another_question(play: Play) -> None:
    play.read()
    play.answer("outcomes", f"rules changed 1 {DIGEST} \n")


@look(FAILED)
def refuses_with_escapes(play: Play) -> None:
    play.read()
    play.answer("error", "unreadable \x1b[2J\x1b]0;owned\x07 \u202e no\n")


# --- those whose answer to a change can't be ------------------------------------------------------------------------


def _outcome(name: str, status: str, becomes: str = FAILED, **fields: str) -> None:
    def play_it(play: Play) -> None:
        play.answer("outcomes", play.outcomes(status, **fields))

    KINDS[name], _DEPLOYS[name] = becomes, play_it


_outcome("is-unpatched-without-a-patch", "unpatched")
_outcome("staged-what-was-to-be-switched", "staged")
_outcome("switched-to-another-version", "changed", version="9.9.9")
_outcome("switched-to-other-bytes", "changed", digest=DIGEST)
_outcome("has-it-already-in-another-version", "ok", version="9.9.9")
_outcome("is-stale-again-and-again", "stale", STALE, version="-", digest="-")
_outcome("has-an-outcome-that-is-none", "excellent")


@deploy(FAILED)
def answers_for_another_component(play: Play) -> None:
    play.answer("outcomes", f"kernel changed 1 {DIGEST} \n" * len(play.steps))


@deploy(FAILED)
def answers_for_less_than_was_asked(play: Play) -> None:
    play.answer("outcomes", play.outcomes().partition("\n")[0] + "\n")


@deploy(FAILED)
def answers_for_more_than_was_asked(play: Play) -> None:
    play.answer("outcomes", play.outcomes() * 1000)


@deploy(FAILED)
def gives_codes_to_steps_that_are_none(play: Play) -> None:
    play.answer("outcomes", play.outcomes("failed") + f"{'9' * 18} check\n")


@deploy(CHANGED)
def answers_twice(play: Play) -> None:
    play.say(f"updoser 1 outcomes\n{play.outcomes()}end\n")
    play.answer("outcomes", play.outcomes("failed"))


@deploy(FAILED)
def fails_with_a_megabyte(play: Play) -> None:
    play.answer("outcomes", play.outcomes("failed").replace(" \n", f" {'x' * 400_000}\n"))


@deploy(UNREACHABLE)
def hangs_up_in_the_middle_of_a_line(play: Play) -> None:
    play.say(f"updoser 1 outcomes\n{play.outcomes()[:20]}")
    play.channel.get_transport().close()


@deploy(UNREACHABLE)
def is_silent_after_the_change(play: Play) -> None:
    play.done.wait()


# --- the server -----------------------------------------------------------------------------------------------------


class _Server(paramiko.ServerInterface):
    """Lets everybody in, and plays what the user's name says."""

    def __init__(self, hostile: Hostile) -> None:
        self._hostile = hostile
        self._kind = ""

    def _holds(self, what: str) -> None:
        if LOGINS.get(self._kind) == what:
            self._hostile.seen(self._kind)
            self._hostile.done.wait()

    def get_allowed_auths(self, username: str) -> str:
        del username
        return "password"

    def check_auth_password(self, username: str, password: str) -> int:
        del password
        self._kind = username
        self._holds("auth")
        return AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        del kind, chanid
        self._holds("session")
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        del command
        self._holds("exec")
        if LOGINS.get(self._kind) == "no":
            return False
        threading.Thread(target=self._play, args=(channel,), daemon=True).start()
        return True

    def _play(self, channel: paramiko.Channel) -> None:
        play = Play(channel, self._hostile.done)
        self._hostile.seen(self._kind)
        with suppress(Exception):  # whoever it talks to has had enough
            if self._kind in _LOOKS:
                _LOOKS[self._kind](play)
            elif play.read() == "facts":
                play.answer("facts", FACTS)
            else:
                _DEPLOYS[self._kind](play)


class Hostile:
    """The server: `ports` by kind, and what to put into known_hosts."""

    def __init__(self) -> None:
        self.key = paramiko.ECDSAKey.generate()
        self.done = threading.Event()
        self.ports: dict[str, int] = {}
        self.known_hosts = ""
        self._seen: dict[str, threading.Event] = {}
        self._open: list[Any] = []

    def seen(self, kind: str) -> None:
        """Note that a client got to where it is hostile."""
        self._seen.setdefault(kind, threading.Event()).set()

    def wait_for(self, kind: str) -> None:
        """Wait until somebody got to where a client is hostile."""
        assert self._seen.setdefault(kind, threading.Event()).wait(PATIENCE), f"nobody came to {kind}"

    def listen(self, kinds: Iterator[str]) -> None:
        """Open a port for SSH, and one for each kind that speaks none."""
        shared = self._port("")
        self.known_hosts = f"[127.0.0.1]:{shared} {self.key.get_name()} {self.key.get_base64()}\n"
        for kind in kinds:
            self.ports[kind] = self._port(kind) if kind in RAW else shared

    def _port(self, kind: str) -> int:
        listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self._open.append(listener)
        threading.Thread(target=self._accept, args=(listener, kind), daemon=True).start()
        return int(listener.getsockname()[1])

    def _accept(self, listener: socket.socket, kind: str) -> None:
        with suppress(OSError):  # until it is closed
            while True:
                connection, _address = listener.accept()
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection, kind), daemon=True).start()

    def _serve(self, connection: socket.socket, kind: str) -> None:
        with suppress(OSError, paramiko.SSHException, EOFError):
            if kind:
                self.seen(kind)
                with connection:
                    RAW[kind](connection, self.done)
                return
            transport = paramiko.Transport(connection)
            transport.set_log_channel(_LOG.name)
            self._open.append(transport)
            transport.add_server_key(self.key)
            transport.start_server(server=_Server(self), event=threading.Event())

    def close(self) -> None:
        """End all that waits."""
        self.done.set()
        for opened in list(self._open):
            with suppress(OSError, paramiko.SSHException, EOFError):
                if isinstance(opened, socket.socket):
                    opened.shutdown(socket.SHUT_RDWR)
                opened.close()


@contextmanager
def hostile_clients(kinds: Any = KINDS) -> Iterator[Hostile]:
    """Run hostile clients for the time of the block."""
    hostile = Hostile()
    hostile.listen(iter(kinds))
    try:
        yield hostile
    finally:
        hostile.close()
