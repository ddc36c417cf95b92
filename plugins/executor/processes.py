"""Work spread over processes of this machine, with threads in each: what SSH costs is done on every core.

* A client is always of the same process, so that a connection which a look left open is there for the change.
* A process that is killed, or hangs, costs what it had under way: that is given again, and another one is started.
* None outlives the controller: each sees its end of the pipe closed, however that came, finishes the clients that it
  has begun with, and goes. The terminal's Ctrl-C reaches the controller only, which says what is to end.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import threading
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from reconciler.contracts import Traits
from reconciler.errors import PluginError
from reconciler.formats.duration import parse_duration
from reconciler.formats.option_schemas import DURATION
from reconciler.programs import StartError, last_lines, started

from ._spoken.crew import SpokenCrew

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from reconciler.contracts import Context, Crew, Hands

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "description": "Works on clients with several processes of this machine, and threads in each.",
    "properties": {
        "count": {
            "type": "integer",
            "description": "How many processes. Left out: one for each core.",
            "minimum": 1,
            "maximum": 256,
            "examples": [4],
        },
        "silence": {
            **DURATION,
            "description": "How long a process may give no sign of life before it is ended, and its clients are given "
            "to another one.",
            "default": "60s",
            "examples": ["60s"],
        },
    },
    "additionalProperties": False,
}
SIZE = 16
"""Clients of a batch: enough that what they share is written once for some, and few enough to spread them evenly."""
_READ = 256 * 2**10
_TAIL = 16 * 2**10
_PATIENCE = 5.0
"""Seconds for what is over in a moment, as a rule."""


class Processes:
    """The `Executor` protocol of reconciler/contracts.py."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        self._count: int = options.get("count") or len(os.sched_getaffinity(0))
        self._silence = parse_duration(options["silence"]).total_seconds()
        self._log = context.log

    @contextmanager
    def open(self, hands: Hands, forks: int) -> Iterator[Crew]:
        """Have the processes at work for the time of the block; see `contracts.Executor`."""
        if not hands.speak:
            raise PluginError("no worker can be started here")
        count = min(self._count, forks)
        workers = {
            f"worker process {at}": lambda: ProcessWire(hands.speak, lambda line: self._log.debug("worker: %s", line))
            for at in range(1, count + 1)
        }
        setup = {**hands.setup, "silence": self._silence}
        share = -(-forks // count)
        with SpokenCrew(workers, hands, setup, forks=share, size=min(SIZE, share)) as crew:
            yield crew


class ProcessWire:
    """A process of this machine; see `_spoken.line.Wire`.

    Each thread that waits at a pipe has a descriptor of its own, or one whose number nobody takes away meanwhile.
    """

    def __init__(self, command: Sequence[str], tell: Callable[[str], None]) -> None:
        """Start it; `tell` gets each line that it writes on its standard error.

        Raises:
            PluginError: it can't be started.
            LimitError: this machine has no room for it.
        """
        self._stack = ExitStack()
        self._writing, self._ending = threading.Lock(), threading.Lock()
        try:
            self._process = self._stack.enter_context(started(command, "/", os.environ, stdin=subprocess.PIPE))
        except StartError as error:
            raise PluginError(f"{command[0]} can't be started: {error}") from error
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._out, errors = os.dup(self._process.stdout.fileno()), os.dup(self._process.stderr.fileno())
        self._said = bytearray()
        self._listener = threading.Thread(target=self._listen, args=(errors, tell), name="worker's errors", daemon=True)
        self._listener.start()

    def read(self) -> bytes:
        """Give some bytes as soon as there are any; none at the end."""
        if self._out < 0:
            return b""
        data = os.read(self._out, _READ)
        if not data:
            os.close(self._out)
            self._out = -1
        return data

    def write(self, data: bytes) -> None:
        """Send bytes."""
        waiting = memoryview(data)
        with self._writing:
            if self._process.stdin is None or self._process.stdin.closed:
                raise BrokenPipeError(errno.EPIPE, "it was let go")
            while waiting:
                waiting = waiting[os.write(self._process.stdin.fileno(), waiting) :]

    def finish(self) -> None:
        """Close its standard input."""
        if self._writing.acquire(timeout=_PATIENCE):
            try:
                if self._process.stdin is not None:
                    self._process.stdin.close()
            finally:
                self._writing.release()

    def end(self, patience: float) -> str:
        """Wait for it to be gone, and end it after that; give what it said at last."""
        with self._ending:
            status = self._process.returncode
            if status is None:
                with suppress(subprocess.TimeoutExpired):
                    status = self._process.wait(patience)
            if status is None:
                with suppress(OSError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(_PATIENCE)
            with self._writing:  # nobody can be held up there any more
                self._stack.close()
        self._listener.join(1.0)
        said = last_lines(bytes(self._said), count=2)
        if status is not None and status < 0:
            return f"it was ended by signal {-status}"
        return said or (f"its exit status is {status}" if status else "")

    def _listen(self, errors: int, tell: Callable[[str], None]) -> None:
        with os.fdopen(errors, "rb") as stream:
            for line in stream:
                self._said += line
                del self._said[:-_TAIL]
                tell(line.decode("utf-8", "replace").rstrip())


TRAITS = Traits(programs=True)
PLUGIN = Processes
