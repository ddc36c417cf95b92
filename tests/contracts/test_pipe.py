"""What every pipe to a client promises of a command that is answered, and what a session makes of that."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest

from reconciler.client.session import ShellSession
from reconciler.contracts import TalkingPipe
from reconciler.model.client import Client
from reconciler.model.deploy import DeployRequest
from reconciler.plugins.transport import local, openssh, ssh
from reconciler.plugins.transport._input import Input
from reconciler.plugins.transport._printed import Printed
from tests.contracts.transport_suite import LINEAGE, Content, step
from tests.fakes import fake_context, make_plugin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from reconciler.contracts import Completed

LARGE = bytes(range(256)) * 3_000
SSHD = pytest.mark.needs("ssh", "sshd", "ssh-keygen")


@contextmanager
def piped(module: Any, options: dict[str, object], folder: Path, secrets: dict[str, str]) -> Iterator[TalkingPipe]:
    """Connect, and give the pipe itself in place of a session over it."""

    def itself(pipe: TalkingPipe, **_options: object) -> TalkingPipe:
        return pipe

    context = fake_context(folder, shell=cast("Any", itself), secrets=secrets)
    with make_plugin(module, options, context).connect(Client("c1", "group", "127.0.2.1")) as pipe:
        yield pipe


@pytest.fixture(params=["local", *(pytest.param(kind, marks=SSHD) for kind in ("ssh", "openssh"))])
def pipe(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TalkingPipe]:
    if request.param == "local":
        with piped(local, {}, tmp_path, {}) as found:
            yield found
        return
    fleet = request.getfixturevalue("ssh_fleet")
    module = {"ssh": ssh, "openssh": openssh}[request.param]
    with piped(module, fleet.options_of(request.param), tmp_path, {"key": fleet.key.read_text()}) as found:
        yield found


def answering(said: bytes, *answer: bytes) -> Callable[[bytes], Iterable[bytes] | None]:
    """Give a reply that is given once a command has said something."""
    return lambda printed: answer if said in printed else None


def test_a_command_is_answered_once_it_has_said_something(pipe: TalkingPipe) -> None:
    assert isinstance(pipe, TalkingPipe)
    command = 'IFS= read -r first; echo "got $first"; cat; echo; echo end >&2; exit 7'
    done = pipe.talk(command, [b"one", b"\n"], answering(b"got one\n", b"", LARGE, b"", b"!"), timeout=60)
    assert (done.status, done.stderr) == (7, b"end\n")
    assert done.stdout == b"got one\n" + LARGE + b"!\n"


def test_the_input_of_a_command_that_is_answered_with_nothing_ends(pipe: TalkingPipe) -> None:
    done = pipe.talk("echo asks; cat; echo over", [], answering(b"asks"), timeout=60)
    assert (done.status, done.stdout) == (0, b"asks\nover\n")


def test_a_command_that_ends_and_asked_for_nothing_is_no_error(pipe: TalkingPipe) -> None:
    done = pipe.talk("cat <&- ; exit 3", [LARGE], answering(b"never"), timeout=60)
    assert done.status == 3


def test_a_command_after_one_that_was_answered_goes_over_the_same_connection(pipe: TalkingPipe) -> None:
    for _each in range(3):
        asked = pipe.talk("echo asks; cat", [], answering(b"asks", b"x"), timeout=60)
        run = pipe.run("cat", [b"y"], timeout=60)
        assert (asked.stdout, run.stdout) == (b"asks\nx", b"y")


def test_what_a_command_says_in_pieces_is_shown_to_the_reply_as_a_whole(pipe: TalkingPipe) -> None:
    shown: list[bytes] = []

    def reply(printed: bytes) -> Iterable[bytes] | None:
        shown.append(printed)
        return [b"enough\n"] if printed.endswith(b"a\nb\n") else None

    done = pipe.talk('echo a; sleep 0.1; echo b; IFS= read -r more; echo "$more"', [], reply, timeout=60)
    assert done.stdout == b"a\nb\nenough\n"
    assert shown[-1] == b"a\nb\n"
    assert all(shown[-1].startswith(printed) for printed in shown)


def test_a_command_that_says_nothing_to_be_answered_may_wait_for_the_end_of_its_input_and_gets_that() -> None:
    patient = Input([b"first"], answering(b"never"), idle=600)
    assert (patient.next(Printed()), patient.next(Printed()), patient.waits) == (b"first", None, True)
    hasty = Input([b"first"], answering(b"never"), idle=-1)
    assert (hasty.next(Printed()), hasty.next(Printed()), hasty.waits) == (b"first", None, False)


class Counting:
    """A pipe that counts its commands."""

    def __init__(self, pipe: TalkingPipe) -> None:
        self._pipe = pipe
        self.commands: list[str] = []

    def run(self, command: str, stdin: Iterable[bytes], **times: float) -> Completed:
        self.commands.append(command)
        return self._pipe.run(command, stdin, **times)

    def talk(
        self,
        command: str,
        stdin: Iterable[bytes],
        reply: Callable[[bytes], Iterable[bytes] | None],
        **times: float,
    ) -> Completed:
        self.commands.append(command)
        return self._pipe.talk(command, stdin, reply, **times)


def test_a_client_that_never_had_anything_is_looked_at_by_one_command_and_changed_by_one(
    pipe: TalkingPipe, tmp_path: Path
) -> None:
    root, content = tmp_path / "root", Content()
    way = step(None, content.release("rules", "1", a_txt=LARGE))
    request = DeployRequest(lineage=LINEAGE, epoch=1, install_root=str(root), keep=2, steps=(way,))
    first, again = Counting(pipe), Counting(pipe)
    session = ShellSession(first)
    assert session.facts(str(root)).profile.installed == ()
    assert session.deploy(request, content.open).outcomes[0].status == "changed"
    assert len(first.commands) == 2
    assert ShellSession(again).deploy(request, content.open).outcomes[0].status == "ok"
    assert len(again.commands) == 1
    assert (root / "rules/current/a.txt").read_bytes() == LARGE
