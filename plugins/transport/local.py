"""Clients that are folders on this machine: for the demo, for tests, and for a server that is its own client."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from reconciler.contracts import Become, Completed, Traits
from reconciler.errors import TransportError, own_limit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from reconciler.contracts import Context, Session
    from reconciler.model.client import Client

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "description": "Clients that are folders on this machine. A relative install_root starts from the spec's folder.",
    "properties": {
        "shell": {
            "type": "string",
            "description": "The command that is a POSIX shell.",
            "default": "sh",
            "examples": ["sh", "busybox sh"],
        },
        "become": {
            "type": "object",
            "description": "Become root for the work on clients, without a password.",
            "properties": {
                "method": {
                    "const": "sudo",
                    "description": "How to become root.",
                    "default": "sudo",
                    "examples": ["sudo"],
                },
                "command": {
                    "type": "string",
                    "description": "A fixed copy of the client script that sudoers allows, instead of a shell.",
                    "default": "",
                    "examples": ["/usr/local/libexec/updoser-client"],
                },
            },
            "additionalProperties": False,
            "examples": [{"method": "sudo"}],
        },
    },
    "additionalProperties": False,
}

MAX_OUTPUT = 1024 * 1024
MAX_ERRORS = 64 * 1024
_CHUNK = 64 * 1024
_ENVIRONMENT = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR")


class LocalPipe:
    """Runs a command in a process group of its own, and reads while it writes."""

    def run(self, command: str, stdin: Iterable[bytes], *, timeout: float, patience: float = 0.0) -> Completed:
        """Run `command` with /bin/sh; see `contracts.Pipe`."""
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        try:
            process = subprocess.Popen(
                ["/bin/sh", "-c", command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            if own := own_limit(error, starting=True):
                raise own from error
            raise TransportError(f"no shell can be started here: {error.strerror}") from error
        try:
            with process:
                try:
                    return _talk(process, iter(stdin), time.monotonic() + timeout + patience)
                except BaseException:
                    os.killpg(process.pid, signal.SIGKILL)
                    raise
        except ProcessLookupError:
            raise TransportError("the shell was gone before it could be stopped") from None


def _talk(process: subprocess.Popen[bytes], stdin: Iterator[bytes], deadline: float) -> Completed:
    """Feed a process and collect what it says, until both of its outputs end."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    outputs = {process.stdout: (bytearray(), MAX_OUTPUT), process.stderr: (bytearray(), MAX_ERRORS)}
    waiting: memoryview = memoryview(b"")
    with selectors.DefaultSelector() as selector:
        for pipe in (process.stdin, *outputs):
            os.set_blocking(pipe.fileno(), False)
        selector.register(process.stdin, selectors.EVENT_WRITE)
        for pipe in outputs:
            selector.register(pipe, selectors.EVENT_READ)
        while len(selector.get_map()):
            left = deadline - time.monotonic()
            ready = selector.select(left) if left > 0 else []
            if not ready:
                raise TransportError("the client's script took too long and was stopped")
            for key, _events in ready:
                if key.fileobj is process.stdin:
                    waiting = _write(process, waiting, stdin)
                    if not waiting:
                        selector.unregister(process.stdin)
                        process.stdin.close()
                    continue
                found, limit = outputs[key.fileobj]  # type: ignore[index]
                chunk = os.read(key.fd, _CHUNK)
                found += chunk[: limit - len(found)]
                if not chunk:
                    selector.unregister(key.fileobj)
    stdout, stderr = (bytes(found) for found, _limit in outputs.values())
    return Completed(process.wait(max(1.0, deadline - time.monotonic())), stdout, stderr)


def _write(process: subprocess.Popen[bytes], waiting: memoryview, stdin: Iterator[bytes]) -> memoryview:
    """Write what the process takes now; give what is left, which is empty when all is written or nobody reads."""
    assert process.stdin is not None
    while not waiting:
        chunk = next(stdin, None)
        if chunk is None:
            return memoryview(b"")
        waiting = memoryview(chunk)
    try:
        return waiting[os.write(process.stdin.fileno(), waiting[:_CHUNK]) :] or _next(stdin)
    except BrokenPipeError:
        return memoryview(b"")
    except BlockingIOError:
        return waiting


def _next(stdin: Iterator[bytes]) -> memoryview:
    for chunk in stdin:
        if chunk:
            return memoryview(chunk)
    return memoryview(b"")


class Local:
    """The `Transport` protocol of reconciler/contracts.py."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        become = options.get("become")
        self._shell = options.get("shell", "sh")
        self._become = Become(become.get("method", "sudo"), become.get("command", "")) if become is not None else None
        self._context = context

    @contextmanager
    def connect(self, client: Client) -> Iterator[Session]:
        """Give a session; every client is this machine."""
        del client
        yield self._context.shell(LocalPipe(), shell=self._shell, become=self._become)


TRAITS = Traits(programs=True, local=True)
PLUGIN = Local
