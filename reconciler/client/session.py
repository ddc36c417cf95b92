"""A Session over any pipe to a POSIX shell: one exec for each request.

The script goes ahead of the request over standard input, behind a short command that reads it by length: `sh -s` would
read the payload as commands, and one argument holds no more than 128 KiB. A client that was changed once keeps a copy,
so that from then on a command that compares its digest and runs it is all that is sent; where there is no copy, or
another, the client asks for the script in the same exec (`opening`), or fetches it from its relay. What a look needs
is a quarter of the script, and is kept by itself, too. With `become.command` a fixed copy of the script on the client
is run instead, and only the request is sent.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from functools import cache
from importlib.resources import files
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO

from reconciler.client.facts import read_facts, read_look
from reconciler.client.opening import (
    ASKING,
    FETCHING,
    LONG_PATIENCE,
    MARKS,
    Reply,
    asking,
    direct,
    fetching,
    kept,
    marking,
    packed,
)
from reconciler.client.protocol import NO_SCRIPT, lacks_script, lacks_unpacking, read_content, read_outcomes
from reconciler.client.relaying import hold_request, read_held, serve_request
from reconciler.client.requests import (
    SLOWEST,
    deploy_request,
    facts_request,
    joined,
    patience,
    patience_of,
    payload,
    read_request,
)
from reconciler.contracts import TalkingPipe
from reconciler.model.deploy import DeployReport
from reconciler.model.question import NOTHING_ASKED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from reconciler.contracts import Become, Completed, Pipe, ToolsTried
    from reconciler.model.client import Facts, Same
    from reconciler.model.deploy import DeployRequest
    from reconciler.model.question import Asked
    from reconciler.model.relay import Held, HoldOrder, ServeOrder

FACTS_TIMEOUT = 120.0
DEPLOY_TIMEOUT = 3600.0
"""Seconds for one exec as a whole, without the checks and hooks in it; the pipe has shorter ones for silence. A client
that runs a check says every five seconds that it is there, so that silence still means that something is wrong."""


SERVE_TIMEOUT = 7 * 24 * 3600.0
"""Seconds for which a relay may serve: longer than any run."""
_COMMENT = re.compile(rb"^[ \t]*#(?!!| end$).*\n", re.MULTILINE)
"""A line that is a comment; not the first line, nor the last one, by which a script is known to be whole."""


_FOR_RELAYS = {"00", "10", "30", "34", "35", "50", "52", "85", "90"}
_END = b"run_request\n# end\n"


@cache
def client_script(operation: str = "") -> bytes:
    """Give the script as clients get it, or the part of it that one operation needs: without lines of comments.

    What a look needs are the first bytes of the whole, and its end. The whole knows how many these are: a client keeps
    that by itself, too, so that a look reads, hashes and parses no more.
    """
    script = _COMMENT.sub(b"", commented_script(operation))
    if operation:
        return script
    look = client_script("facts").removesuffix(b"\n" + _END)
    return script.replace(look, b"%sLOOK_BYTES=%d\n" % (look, len(look)), 1)


def commented_script(operation: str = "") -> bytes:
    """Give the same for who reads it: with its rules, its variables and all other comments."""
    folder = files("reconciler.client").joinpath("script")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sh"))
    return b"\n".join(folder.joinpath(name).read_bytes() for name in names if _is_needed(name, operation))


@cache
def script_digest(operation: str = "") -> str:
    """Give the SHA-256 of the script as clients keep it, or of what they keep for looks (`facts`)."""
    return hashlib.sha256(client_script(operation)).hexdigest()


def _is_needed(name: str, operation: str) -> bool:
    """Say whether an operation needs a part.

    Looking (`facts`) needs none of those that change something (40 to 80), nor what runs commands (35) unless it asks
    what is loaded (`loaded`). What a relay does (85) only a `relay` needs, and whoever has the `whole` script.
    """
    number = name[:2]
    if operation == "relay":
        return number in _FOR_RELAYS
    first = {"facts": "35", "loaded": "40"}.get(operation)
    return operation == "whole" or (number != "85" and (first is None or not first <= number <= "80"))


class ShellSession:
    """Speaks the client protocol over a pipe."""

    def __init__(
        self,
        pipe: Pipe,
        *,
        shell: str = "sh",
        become: Become | None = None,
        facts_timeout: float = FACTS_TIMEOUT,
        deploy_timeout: float = DEPLOY_TIMEOUT,
    ) -> None:
        """Take the pipe; `shell` is the command on the client that is a POSIX shell."""
        self._pipe = pipe
        self._fixed = f"exec sudo -n -- {shlex.quote(become.command)}" if become and become.command else ""
        self._shell = shell
        self._become = become
        self._kept: bool | None = None
        self._packs = False
        self._facts_timeout = facts_timeout
        self._deploy_timeout = deploy_timeout

    def facts(
        self, install_root: str, *, verify: bool = False, tools: ToolsTried = "", asked: Asked = NOTHING_ASKED
    ) -> Facts:
        """Look at the client in one exec; see `contracts.Session`."""
        request, more = facts_request(install_root, verify=verify, tools=tools, asked=asked), patience_of(asked)
        if self._fixed:
            return read_facts(self._run(self._fixed, [request], self._facts_timeout, more))
        if tools or asked.questions:
            script = client_script("" if tools else "loaded")
            return read_facts(self._look(install_root, request, script, more))
        return read_facts(self._look(install_root, request, client_script("facts"), more, kept_as="facts"))

    def look_again(self, install_root: str, mark: str) -> Facts | Same:
        """Look at the client unless it is as it was, in one exec; see `contracts.MarkingSession`."""
        if self._fixed or not mark:
            return self.facts(install_root)
        request, ahead = facts_request(install_root, verify=False), marking(install_root, mark)
        look = self._look(install_root, request, client_script("facts"), kept_as="facts", ahead=ahead)
        return read_look(look, mark)

    def deploy(
        self, request: DeployRequest, content: Callable[[str], AbstractContextManager[BinaryIO]]
    ) -> DeployReport:
        """Carry out a request in one exec; see `contracts.Session`."""
        done = self._deploy(request, content)
        outcomes = read_outcomes(done, request.steps)
        self._kept = self._kept or any(outcome.status in {"changed", "staged"} for outcome in outcomes)
        return DeployReport(outcomes, sum(part.size for part in payload(request)))

    def read(self, install_root: str, paths: Sequence[str]) -> dict[str, bytes | None]:
        """Read small files, in as many round trips as their sizes ask for; see `contracts.Session`."""
        found: dict[str, bytes | None] = {}
        asked = tuple(dict.fromkeys(paths))
        while len(found) < len(asked):
            rest = asked[len(found) :]
            found |= read_content(self._read(install_root, read_request(install_root, rest)), rest)
        return found

    def _read(self, install_root: str, request: bytes) -> Completed:
        if self._fixed:
            return self._run(self._fixed, [request], self._facts_timeout)
        return self._look(install_root, request, client_script())

    def _look(
        self,
        install_root: str,
        request: bytes,
        script: bytes,
        more: float = 0.0,
        *,
        kept_as: str = "",
        ahead: bytes = b"",
    ) -> Completed:
        """Send a request that is sent at once, and again behind the script where the client asks for that.

        A line that is run `ahead` of it may answer in its place.
        """
        copy, digest = _copy(install_root, kept_as), script_digest(kept_as)
        prefix, sent = (MARKS, [ahead, request]) if ahead else ("", [request])
        if isinstance(self._pipe, TalkingPipe):
            reply = Reply(script, [request])
            done = self._talk(prefix + asking(copy, digest), sent, reply, self._facts_timeout, more)
            self._kept = not (reply.wanted or lacks_script(done))
            self._packs = reply.unpacks
        else:
            done = self._run(self._command(prefix + kept(copy, digest)), sent, self._facts_timeout, more)
            self._kept = not lacks_script(done)
            if self._kept:
                return done
        return self._unpacked(done, script, [request], self._facts_timeout, more) if not self._kept else done

    def hold(
        self,
        order: HoldOrder,
        content: Callable[[str], AbstractContextManager[BinaryIO]],
        pace: Callable[[int], None] = lambda _size: None,
    ) -> Held:
        """Fill a relay, or look at it, in one exec; see `contracts.RelaySession`."""
        longest = self._deploy_timeout + order.bytes / SLOWEST if order.changes else self._facts_timeout
        return read_held(self._relay(hold_request(order, content, pace), longest))

    def serve(self, order: ServeOrder, beats: Iterable[None]) -> None:
        """Have a folder served until `beats` end; see `contracts.RelaySession`."""
        read_held(self._relay(serve_request(order, beats), SERVE_TIMEOUT))

    def _relay(self, request: Iterable[bytes], timeout: float) -> Completed:
        pipe = self._pipe
        if self._fixed:
            return pipe.run(self._fixed, request, timeout=timeout, patience=timeout)
        script = client_script("relay")
        if isinstance(pipe, TalkingPipe):
            reply = Reply(script, request, LONG_PATIENCE)
            return pipe.talk(self._command(ASKING), [], reply, timeout=timeout, patience=timeout)
        return pipe.run(self._command(direct(script)), chain([script], request), timeout=timeout, patience=timeout)

    def _deploy(self, request: DeployRequest, content: Callable[[str], AbstractContextManager[BinaryIO]]) -> Completed:
        pieces, more = deploy_request(request, content), patience(request)
        if self._fixed:
            return self._run(self._fixed, pieces, self._deploy_timeout, more)
        copy, script, talks = _copy(request.install_root), client_script(), isinstance(self._pipe, TalkingPipe)
        if self._kept is None and not talks and any(step.from_version for step in request.steps):
            self._kept = self._has_copy(copy)
        if self._kept:
            done = self._run(self._command(kept(copy, script_digest())), pieces, self._deploy_timeout, more)
            if not lacks_script(done):
                return done
            self._kept = False
            pieces = deploy_request(request, content)
        urls = request.relay.urls if request.relay and script_digest() in request.relay.parts else ()
        if talks and (urls or self._kept is None):
            reply = Reply(script, pieces, LONG_PATIENCE + 2 * FETCHING * len(urls))
            text = (
                fetching(copy, script_digest(), len(script), urls)
                if urls
                else asking(copy, script_digest(), ready=True)
            )
            done = self._talk(text, [], reply, self._deploy_timeout, more)
            self._packs = reply.unpacks
        else:
            head = packed(script) if self._packs else script
            text = direct(script, pack=self._packs)
            done = self._run(self._command(text), chain([head], pieces), self._deploy_timeout, more)
        return self._unpacked(done, script, deploy_request(request, content), self._deploy_timeout, more)

    def _has_copy(self, copy: str) -> bool:
        """Ask for the copy of the script on a client that was changed before, and wasn't looked at in this session."""
        text = f"case $(sha256sum <{copy}) in {script_digest()}*)exit 0;;*)exit {NO_SCRIPT};esac"
        return self._run(self._command(text), [], self._facts_timeout).status == 0

    def _unpacked(
        self, done: Completed, script: bytes, request: Iterable[bytes], timeout: float, more: float
    ) -> Completed:
        """Send the script as it is where there was none, or a packed one of which nothing came."""
        if not (lacks_script(done) or lacks_unpacking(done)):
            return done
        self._packs = False
        return self._run(self._command(direct(script)), chain([script], request), timeout, more)

    def _run(self, command: str, stdin: Iterable[bytes], timeout: float, more: float = 0.0) -> Completed:
        if not more:
            return self._pipe.run(command, joined(stdin), timeout=timeout)
        return self._pipe.run(command, joined(stdin), timeout=timeout, patience=more)

    def _talk(self, text: str, stdin: Iterable[bytes], reply: Reply, timeout: float, more: float) -> Completed:
        assert isinstance(self._pipe, TalkingPipe)

        def answer(printed: bytes) -> Iterable[bytes] | None:
            said = reply(printed)
            return None if said is None else joined(said)

        return self._pipe.talk(self._command(text), stdin, answer, timeout=timeout, patience=more)

    def _command(self, text: str) -> str:
        return f"exec {'sudo -n -- ' if self._become else ''}{self._shell} -c {shlex.quote(text)}"


def _copy(install_root: str, operation: str = "") -> str:
    """Give where a client keeps the script, or what a look needs of it, quoted for a shell."""
    return shlex.quote(f"{install_root}/.updoser/{'look' if operation else 'script'}")


def shell_session(pipe: Pipe, *, shell: str = "sh", become: Become | None = None) -> ShellSession:
    """Give the session over a pipe; the ShellFactory of contexts."""
    return ShellSession(pipe, shell=shell, become=become)
