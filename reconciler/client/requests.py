"""What the client script is sent: a header of lines, the payload of all steps, and a closing word.

The grammar stands at the head of the script. Everything in a header is checked here too, before it is sent: what a
client would refuse should never leave the server.

    root, keep, controller   as ever; `purpose stage` or `purpose check` where nothing is to be switched
    var NAME VALUE           a variable of the client, for commands
    relay WAIT PATIENCE URL… where parts may be fetched from, by their digests
    step …                   then its files, targets, and commands; `private` where only the owner may read:
    check PHASE EXPECT TIMEOUT RETRIES INTERVAL NAME
    hook KIND TIMEOUT ON_FAILURE
    loaded TIMEOUT           what says what is loaded, once it is switched; in a look `ask COMPONENT TIMEOUT`
    sh LINE                  a line of the text of the command before it
"""

from __future__ import annotations

import math
import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, BinaryIO

from reconciler.errors import ClientError
from reconciler.model.question import NOTHING_ASKED
from reconciler.model.relay import RELAY_URL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from reconciler.contracts import ToolsTried
    from reconciler.model.deploy import (
        ClientCheck,
        DeployRequest,
        FromRelay,
        Hook,
        InstallTarget,
        Purpose,
        SelinuxLabels,
        Step,
    )
    from reconciler.model.question import Asked
    from reconciler.model.release import ReleaseFile

PROTOCOL = 1
CLOSING = b"go\n"
CHUNK = 256 * 1024
MAX_PATHS = 50
MAX_COMMAND = 64 * 1024
"""Bytes of a command's text: it becomes one argument, and Linux takes 128 KiB in one."""
MAX_NAME = 200
MAX_VALUE = 32 * 1024
SLOWEST = 64 * 1024
"""Bytes a second that a client expects of a relay, as its script has it."""
_GRACE = 5.0
"""Seconds that a client may need to end a command whose time is up, and to look at what it said."""
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_NO_NAME = re.compile(r"[^A-Z0-9_]")


def facts_request(install_root: str, *, verify: bool, tools: ToolsTried = "", asked: Asked = NOTHING_ASKED) -> bytes:
    """Give the request that looks at a client, tries its tools for `files` or for `commands`, and asks its engines.

    Raises:
        ClientError: a question can't be sent as it is.
    """
    lines = [f"root {install_root}"]
    if verify:
        lines.append("verify")
    if tools:
        lines.append(f"try {tools}")
    if asked.questions:
        lines += _var_lines(asked.vars)
    for component, question in sorted(asked.questions.items()):
        lines.append(f"ask {component} {_seconds(question.timeout, least=1)}")
        lines += _text_lines(question.run, f"`loaded` of {component}")
    return framed("facts", lines)


def read_request(install_root: str, paths: Sequence[str]) -> bytes:
    """Give the request that reads files.

    Raises:
        ClientError: a path isn't absolute, or there are too many.
    """
    if len(paths) > MAX_PATHS:
        raise ClientError(f"no more than {MAX_PATHS} files are read at once")
    for path in paths:
        if not path.startswith("/") or _CONTROL.search(path) or {"", ".", ".."} & set(path[1:].split("/")):
            raise ClientError(f"no path that can be read on a client: {path!r}")
    return framed("read", [f"root {install_root}", *(f"path {path}" for path in paths)])


def variables(values: Mapping[str, str]) -> dict[str, str]:
    """Give the `vars` of a client as commands get them, without the `UPDOSER_VAR_` before each name.

    What a line of a header can't hold is left out: values with control characters, or of more than 32 KiB.
    """
    found: dict[str, str] = {}
    for name, value in sorted(values.items()):
        short = _NO_NAME.sub("_", name.upper())
        if short and len(short) <= 128 and len(value.encode()) <= MAX_VALUE and not _CONTROL.search(value):
            found.setdefault(short, value)
    return found


def payload(request: DeployRequest) -> Iterator[ReleaseFile]:
    """Give what is sent with a request, in the order in which it is sent; what the client fetches isn't."""
    if request.purpose != "check":
        for step in request.steps:
            fetched = request.relay.parts if request.relay and not step.private else ()
            yield from (part for part in step.payload if part.sha256 not in fetched)


def fetched_bytes(request: DeployRequest) -> dict[str, int]:
    """Give the bytes that a client fetches for a request, by component."""
    if request.relay is None or request.purpose == "check":
        return {}
    parts = request.relay.parts
    sizes = {step.component: sum(part.size for part in step.payload if part.sha256 in parts) for step in request.steps}
    return {step.component: sizes[step.component] for step in request.steps if not step.private}


def patience(request: DeployRequest) -> float:
    """Give the seconds that the commands of a request, and what the client fetches, may take, all in all."""
    total = 0.0
    if request.relay is not None:
        slow = request.relay.patience + sum(fetched_bytes(request).values()) / SLOWEST
        total += request.relay.wait + slow * len(request.relay.urls) * 2
    for step in request.steps:
        for check in step.checks:
            total += (check.timeout + _GRACE) * (check.retries + 1) + check.interval * check.retries
        for hook, runs in ((step.hooks.before, 1), (step.hooks.after, 2), (step.hooks.always, 1)):
            total += (hook.timeout + _GRACE) * runs if hook is not None else 0.0
        total += step.question.timeout + _GRACE if step.question is not None else 0.0
    return total


def patience_of(asked: Asked) -> float:
    """Give the seconds that the questions of a look may take, all in all."""
    return sum(question.timeout + _GRACE for question in asked.questions.values())


def deploy_request(
    request: DeployRequest, content: Callable[[str], AbstractContextManager[BinaryIO]]
) -> Iterator[bytes]:
    """Give the request that changes a client, in pieces as they are sent.

    Raises:
        StoreError: content can't be read.
        ClientError: content is shorter than its release says; the client then refuses the rest. Or a command can't
            be sent as it is.
    """
    lines = [
        f"root {request.install_root}",
        f"keep {request.keep}",
        f"controller {request.lineage} {request.epoch}",
    ]
    if request.purpose != "switch":
        lines.append(f"purpose {request.purpose}")
    if any(step.checks or any(_hooks(step)) or step.question for step in request.steps):
        lines += _var_lines(request.vars)
    fetched: frozenset[str] = frozenset()
    if request.relay is not None and request.purpose != "check":
        lines.append(_relay_line(request.relay))
        fetched = request.relay.parts
    for step in request.steps:
        lines += _step_lines(step, request.purpose, fetched)
    yield framed("deploy", lines)
    for part in payload(request):
        with content(part.sha256) as stream:
            yield from exactly(stream, part.size, part.name)
    yield CLOSING


def joined(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Give the same bytes in fewer pieces: each costs a packet of its own, or more."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        if size + len(piece) > CHUNK and waiting:
            yield b"".join(waiting)
            waiting, size = [], 0
        waiting.append(piece)
        size += len(piece)
    if waiting:
        yield b"".join(waiting)


def framed(operation: str, lines: Iterable[str]) -> bytes:
    """Give the head of a request: its first line, and the lines of its header."""
    header = "\n".join([*lines, "end", ""]).encode()
    return f"updoser {PROTOCOL} {operation} {len(header)}\n".encode() + header


def _relay_line(relay: FromRelay) -> str:
    if not relay.urls or not all(map(RELAY_URL.fullmatch, relay.urls)):
        raise ClientError(f"no URLs that a client can fetch from: {', '.join(relay.urls)}")
    return f"relay {_seconds(relay.wait, least=0)} {_seconds(relay.patience, least=1)} {' '.join(relay.urls)}"


def _step_lines(step: Step, purpose: Purpose, fetched: frozenset[str]) -> Iterator[str]:
    yield (
        f"step {step.component} {step.from_version or '-'} {step.from_digest or '-'} "
        f"{step.to_version} {step.to_digest} {step.layout.fingerprint}"
    )
    if step.private:
        yield "private"
    yield from _command_lines(step, purpose)
    if purpose == "check":
        return
    for file in step.files:
        yield from _file_lines(step, file, frozenset() if step.private else fetched)
    if purpose == "switch":
        yield from _layout_lines(step)


def _layout_lines(step: Step) -> Iterator[str]:
    names = [file.name for file in step.files]
    for target in step.layout.targets:
        yield from _target_lines(target, names, step.layout.selinux)
    for pattern in step.layout.replaces:
        yield f"old {pattern}"
    if step.layout.unmanaged == "report":
        for folder in dict.fromkeys(target.to for target in step.layout.targets):
            yield f"watch {folder}"


def _command_lines(step: Step, purpose: Purpose) -> Iterator[str]:
    """Give the checks that a purpose has use for, and the hooks where something is to be switched."""
    for check in step.checks:
        if purpose == "switch" or (check.phase == "staged") == (purpose == "stage"):
            yield from _check_lines(check)
    if purpose != "switch":
        return
    for kind, hook in zip(("before", "after", "always"), _hooks(step), strict=True):
        if hook is not None:
            yield f"hook {kind} {_seconds(hook.timeout, least=1)} {hook.on_failure}"
            yield from _text_lines(hook.run, f"the hook `{kind}`")
    if step.question is not None:
        yield f"loaded {_seconds(step.question.timeout, least=1)}"
        yield from _text_lines(step.question.run, f"`loaded` of {step.component}")


def _var_lines(values: Mapping[str, str]) -> list[str]:
    return [f"var {name} {value}" for name, value in variables(values).items()]


def _hooks(step: Step) -> tuple[Hook | None, Hook | None, Hook | None]:
    return step.hooks.before, step.hooks.after, step.hooks.always


def _check_lines(check: ClientCheck) -> Iterator[str]:
    if not check.name or len(check.name.encode()) > MAX_NAME or _CONTROL.search(check.name):
        raise ClientError(f"no name for a check: {check.name!r}")
    yield (
        f"check {check.phase} {check.expect} {_seconds(check.timeout, least=1)} {check.retries} "
        f"{_seconds(check.interval, least=0)} {check.name}"
    )
    yield from _text_lines(check.run, f"the check {check.name!r}")


def _text_lines(text: str, what: str) -> Iterator[str]:
    lines = text.split("\n")
    if not text.strip() or len(text.encode()) > MAX_COMMAND:
        raise ClientError(f"{what} has no command, or one of more than {MAX_COMMAND // 1024} KiB")
    if any(map(_CONTROL.search, lines)):
        raise ClientError(f"the command of {what} holds a control character")
    for line in lines:
        yield f"sh {line}"


def _seconds(value: float, *, least: int) -> int:
    """Give whole seconds: a client's `sleep` may know no others."""
    return min(max(math.ceil(value), least), 10**8)


def _file_lines(step: Step, file: ReleaseFile, fetched: frozenset[str]) -> Iterator[str]:
    """Give the line of a file, and ahead of it what it is made of."""
    how, base, patched = "sent", step.kept.get(file.name, ""), step.patched.get(file.name)
    if step.held:
        how, base = "held", ""
    elif base:
        how, base = "kept", base if base != file.name else ""
    elif patched is not None:
        how, base = "patched", patched.base
    elif file.sha256 in fetched:
        how = "fetched"
    if base:
        yield f"base {base}"
    if how == "patched" and patched is not None:
        for hop in patched.hops:
            yield f"patch {hop.codec} {hop.size} {hop.result}" + (f" {hop.sha256}" if hop.sha256 in fetched else "")
    yield f"file {how} {file.size} {file.sha256} {file.name}"


def _target_lines(target: InstallTarget, names: Iterable[str], selinux: SelinuxLabels) -> Iterator[str]:
    yield (
        f"into {target.method} {target.owner or '-'} {target.group or '-'} {target.mode or '-'} {selinux} {target.to}"
    )
    for name in names:
        if fnmatchcase(name, target.files):
            yield f"name {name}"


def exactly(stream: BinaryIO, size: int, name: str) -> Iterator[bytes]:
    """Give so many bytes of a stream in pieces.

    Raises:
        ClientError: there are fewer.
    """
    while size:
        chunk = stream.read(min(CHUNK, size))
        if not chunk:
            raise ClientError(f"the store's content of {name!r} is cut short", hint="updoser plan --verify")
        size -= len(chunk)
        yield chunk
