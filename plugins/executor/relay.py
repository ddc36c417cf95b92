"""Work done by a worker on another machine, which is started over SSH: for clients that only that machine reaches.

* The way there is that to a client over SSH, with all its rules: strict host keys, jump hosts, proxies, keys.
* The worker has its own keys, known_hosts and transports in a file of that machine: nothing of the kind goes there.
* Content goes over the line once for each digest, and is kept there for the next run.
* Where the line breaks, the clients that were begun are finished there, and what isn't known of is done again.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from reconciler.formats.duration import parse_duration
from reconciler.formats.known_hosts import host_name
from reconciler.formats.option_schemas import DURATION

from ..transport._ssh_options import OPTIONS as SSH
from ._spoken.crew import SpokenCrew

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from reconciler.contracts import Context, Crew, Hands, Traits

_WAY = (
    *("user", "port", "keys", "passphrase", "password", "agent", "known_hosts", "accept_new", "connect_timeout"),
    *("keep_alive", "compression", "jump"),
)
OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "description": "A worker on a machine that reaches the clients, started there over SSH.",
    "additionalProperties": False,
    "required": ["host"],
    "properties": {
        "host": {
            "type": "string",
            "minLength": 1,
            "description": "The machine: a host name or a literal address.",
            "examples": ["relay1.lyon.example"],
        },
        "command": {
            "type": "string",
            "minLength": 1,
            "description": "What starts the worker there, with the login shell.",
            "default": "updoser worker --stdio --config /etc/updoser/worker.yaml",
            "examples": ["/opt/updoser/bin/updoser worker --stdio --config /etc/updoser/worker.yaml"],
        },
        "silence": {
            **DURATION,
            "description": "How long the worker may give no sign of life before its clients are given to another one.",
            "default": "60s",
            "examples": ["2m"],
        },
        **{name: SSH["properties"][name] for name in _WAY},
    },
}
SIZE = 50
"""Clients of a batch: what they share goes over the line once for so many."""
_READ = 256 * 2**10
_TAIL = 16 * 2**10
_LOOK = 0.05
_PATIENCE = 2.0
"""Seconds for what is over in a moment, as a rule."""


class Relay:
    """The `Executor` protocol of reconciler/contracts.py."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        self._options = options
        self._context = context

    @contextmanager
    def open(self, hands: Hands, forks: int) -> Iterator[Crew]:
        """Have the worker at work for the time of the block; see `contracts.Executor`."""
        name = host_name(self._options["host"], self._options["port"])
        setup = {"silence": parse_duration(self._options["silence"]).total_seconds()}
        workers = {f"the worker at {name}": self._connected}
        with SpokenCrew(workers, hands, setup, forks=forks, size=SIZE) as crew:
            yield crew

    def _connected(self) -> SshWire:
        from reconciler.model.client import Client

        from ..transport._ssh_client import Ssh  # paramiko takes a tenth of a second to import

        ssh = Ssh(self._options, self._context)
        host = self._options["host"]
        with ExitStack() as stack:
            connection = stack.enter_context(ssh.carrying(Client(host, "", host)))
            channel = connection.open_session(timeout=parse_duration(self._options["connect_timeout"]).total_seconds())
            channel.exec_command(self._options["command"])
            return SshWire(channel, stack.pop_all(), lambda line: self._context.log.debug("worker: %s", line))


class SshWire:
    """A channel of an SSH connection; see `_spoken.line.Wire`."""

    def __init__(self, channel: Any, stack: ExitStack, tell: Callable[[str], None]) -> None:
        """Take a channel on which the worker was started, and what closes all that leads there."""
        self._channel = channel
        self._stack = stack
        self._ending = threading.Lock()
        self._said = bytearray()
        self._listener = threading.Thread(target=self._listen, args=(tell,), name="worker's errors", daemon=True)
        self._listener.start()

    def read(self) -> bytes:
        """Give some bytes as soon as there are any; none at the end."""
        return bytes(self._channel.recv(_READ))

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self._channel.sendall(data)

    def finish(self) -> None:
        """Say that no more is sent."""
        self._channel.shutdown_write()

    def end(self, patience: float) -> str:
        """Wait for the worker to be gone, and close the line after that; give what it said at last."""
        deadline = time.monotonic() + patience
        while not self._channel.exit_status_ready() and time.monotonic() < deadline:
            time.sleep(_LOOK)
        status = self._channel.recv_exit_status() if self._channel.exit_status_ready() else 0
        with self._ending, suppress(Exception):  # what is closed may be broken
            self._stack.close()
            self._channel.get_transport().join(_PATIENCE)
        self._listener.join(1.0)
        lines = bytes(self._said).decode("utf-8", "replace").splitlines()
        said = "; ".join(line.strip() for line in lines[-2:] if line.strip())
        return said or (f"its exit status is {status}" if status else "")

    def _listen(self, tell: Callable[[str], None]) -> None:
        with suppress(Exception):  # the line broke, which is noticed by who reads
            while data := self._channel.recv_stderr(_READ):
                self._said += data
                del self._said[:-_TAIL]
                for line in data.decode("utf-8", "replace").splitlines():
                    tell(line)


def _traits(options: Mapping[str, Any]) -> Traits:
    from ..transport import ssh

    return ssh.TRAITS(options)


TRAITS = _traits
PLUGIN = Relay
