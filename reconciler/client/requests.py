"""What the client script is sent: a header of lines, the payload of all steps, and a closing word.

The grammar stands at the head of the script. Everything in a header is checked here too, before it is sent: what a
client would refuse should never leave the server.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, BinaryIO

from reconciler.errors import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from reconciler.model.client import DeployRequest, InstallTarget, Step
    from reconciler.model.release import ReleaseFile

PROTOCOL = 1
CLOSING = b"go\n"
CHUNK = 256 * 1024


def facts_request(install_root: str, *, verify: bool) -> bytes:
    """Give the request that looks at a client."""
    lines = [f"root {install_root}"]
    if verify:
        lines.append("verify")
    return _framed("facts", lines)


def deploy_request(
    request: DeployRequest, content: Callable[[str], AbstractContextManager[BinaryIO]]
) -> Iterator[bytes]:
    """Give the request that changes a client, in pieces as they are sent.

    Raises:
        StoreError: content can't be read.
        ClientError: content is shorter than its release says; the client then refuses the rest.
    """
    lines = [
        f"root {request.install_root}",
        f"keep {request.keep}",
        f"controller {request.lineage} {request.epoch}",
    ]
    for step in request.steps:
        lines += _step_lines(step)
    yield _framed("deploy", lines)
    for step in request.steps:
        for part in step.payload:
            with content(part.sha256) as stream:
                yield from _exactly(stream, part.size, part.name)
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


def _framed(operation: str, lines: Iterable[str]) -> bytes:
    header = "\n".join([*lines, "end", ""]).encode()
    return f"updoser {PROTOCOL} {operation} {len(header)}\n".encode() + header


def _step_lines(step: Step) -> Iterator[str]:
    yield (
        f"step {step.component} {step.from_version or '-'} {step.from_digest or '-'} "
        f"{step.to_version} {step.to_digest} {step.layout.fingerprint}"
    )
    for file in step.files:
        yield from _file_lines(step, file)
    names = [file.name for file in step.files]
    for target in step.layout.targets:
        yield from _target_lines(target, names, step.layout.selinux)
    for pattern in step.layout.replaces:
        yield f"old {pattern}"
    if step.layout.unmanaged == "report":
        for folder in dict.fromkeys(target.to for target in step.layout.targets):
            yield f"watch {folder}"


def _file_lines(step: Step, file: ReleaseFile) -> Iterator[str]:
    """Give the line of a file, and ahead of it what it is made of."""
    how, base, patched = "sent", step.kept.get(file.name, ""), step.patched.get(file.name)
    if base:
        how, base = "kept", base if base != file.name else ""
    elif patched is not None:
        how, base = "patched", patched.base
    if base:
        yield f"base {base}"
    if how == "patched" and patched is not None:
        for hop in patched.hops:
            yield f"patch {hop.codec} {hop.size} {hop.result}"
    yield f"file {how} {file.size} {file.sha256} {file.name}"


def _target_lines(target: InstallTarget, names: Iterable[str], selinux: str) -> Iterator[str]:
    yield (
        f"into {target.method} {target.owner or '-'} {target.group or '-'} {target.mode or '-'} {selinux} {target.to}"
    )
    for name in names:
        if fnmatchcase(name, target.files):
            yield f"name {name}"


def _exactly(stream: BinaryIO, size: int, name: str) -> Iterator[bytes]:
    while size:
        chunk = stream.read(min(CHUNK, size))
        if not chunk:
            raise ClientError(f"the store's content of {name!r} is cut short", hint="updoser plan --verify")
        size -= len(chunk)
        yield chunk
