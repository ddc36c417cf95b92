"""Clients that are folders on this machine: for the demo, for tests, and for a server that is its own client."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING, Any

from reconciler.contracts import Become, Completed, Traits
from reconciler.errors import TransportError
from reconciler.programs import StartError, started

from ._printed import GRACE, Printed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from reconciler.contracts import Context, Session
    from reconciler.model.client import Client

    Reply = Callable[[bytes], Iterable[bytes] | None]

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

_CHUNK = 64 * 1024
_LOOK = 1.0
"""Seconds between two looks at whether the run is to end."""
_FAREWELL = 2.0
"""Seconds for a process that was stopped to be gone; one of another user can't be stopped, and isn't waited for."""
_ENVIRONMENT = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR")


_TOO_LONG = "the client's script took too long and was stopped"


class LocalPipe:
    """Runs a command in a process group of its own, and reads while it writes."""

    def __init__(self, stop: Event | None = None) -> None:
        """Take what is set when the run is to end."""
        self._stop = stop or Event()

    def run(self, command: str, stdin: Iterable[bytes], *, timeout: float, patience: float = 0.0) -> Completed:
        """Run `command` with /bin/sh; see `contracts.Pipe`."""
        return self._run(command, stdin, None, timeout + patience)

    def talk(
        self, command: str, stdin: Iterable[bytes], reply: Reply, *, timeout: float, patience: float = 0.0
    ) -> Completed:
        """Run it, and answer what it says; see `contracts.TalkingPipe`."""
        return self._run(command, stdin, reply, timeout + patience)

    def _run(self, command: str, stdin: Iterable[bytes], reply: Reply | None, seconds: float) -> Completed:
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        shell = ["/bin/sh", "-c", command]
        try:
            with started(shell, "/", environment, stdin=subprocess.PIPE, grace=_FAREWELL) as process:
                return _talk(process, iter(stdin), reply, _Patience(seconds, self._stop))
        except StartError as error:
            raise TransportError(f"no shell can be started here: {error}") from error


class _Patience:
    """How long a process is waited for: so many seconds, or until it is silent once the run is to end."""

    def __init__(self, seconds: float, stop: Event) -> None:
        self._deadline = time.monotonic() + seconds
        self._stop = stop
        self._moved = time.monotonic()
        self._stopped = 0.0

    @property
    def left(self) -> float:
        return max(self._deadline - time.monotonic(), 0.0)

    def look(self, *, moved: bool) -> None:
        now = time.monotonic()
        if moved:
            self._moved = now
        if self._stop.is_set():
            self._stopped = self._stopped or now
            if now - max(self._moved, self._stopped) > GRACE:
                raise TransportError(
                    "the client's script was silent when the run was interrupted, and was stopped", reason="silent"
                )
        if now > self._deadline:
            raise TransportError(_TOO_LONG, reason="silent")


def _talk(
    process: subprocess.Popen[bytes], stdin: Iterator[bytes], reply: Reply | None, patience: _Patience
) -> Completed:
    """Feed a process and collect what it says, until both of its outputs end."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    printed, waiting, feeding = Printed(), memoryview(b""), True
    with selectors.DefaultSelector() as selector:
        for pipe in (process.stdin, process.stdout, process.stderr):
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, selectors.EVENT_WRITE if pipe is process.stdin else selectors.EVENT_READ)
        while len(selector.get_map()):
            ready = selector.select(min(patience.left, _LOOK))
            patience.look(moved=bool(ready))
            for key, _events in ready:
                if key.fileobj is process.stdin:
                    waiting = _write(process, waiting, stdin)
                    feeding = bool(waiting)
                    if not feeding:
                        selector.unregister(process.stdin)
                    continue
                chunk = os.read(key.fd, _CHUNK)
                printed.take(chunk, error=key.fileobj is process.stderr)
                if not chunk:
                    selector.unregister(key.fileobj)
            if not feeding and reply is not None and (answer := reply(printed.stdout)) is not None:
                stdin, reply, feeding = iter(answer), None, True
                selector.register(process.stdin, selectors.EVENT_WRITE)
            elif not feeding and reply is None:
                process.stdin.close()
    try:
        status = process.wait(max(1.0, patience.left))
    except subprocess.TimeoutExpired:
        raise TransportError(_TOO_LONG, reason="silent") from None
    return Completed(status, printed.stdout, printed.stderr)


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
        self._shell = options["shell"]
        self._become = Become(become["method"], become["command"]) if become is not None else None
        self._context = context

    @contextmanager
    def connect(self, client: Client) -> Iterator[Session]:
        """Give a session; every client is this machine."""
        del client
        yield self._context.shell(LocalPipe(self._context.stop), shell=self._shell, become=self._become)


def _traits(options: Mapping[str, Any]) -> Traits:
    return Traits(programs=True, local=True, become="become" in options)


TRAITS = _traits
PLUGIN = Local
