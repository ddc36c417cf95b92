"""A Session over any pipe to a POSIX shell: one exec for each request, with the script ahead of it.

The script goes over standard input, behind a short command that reads it by length: `sh -s` would read the payload as
commands, and one argument holds no more than 128 KiB. With `become.command` a fixed copy of the script on the client is
run instead, and only the request is sent.
"""

from __future__ import annotations

import shlex
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, BinaryIO

from reconciler.client.protocol import read_facts, read_outcomes
from reconciler.client.requests import deploy_request, facts_request
from reconciler.model.client import DeployReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from reconciler.contracts import Become, Pipe
    from reconciler.model.client import DeployRequest, Facts

FACTS_TIMEOUT = 120.0
DEPLOY_TIMEOUT = 3600.0
"""Seconds for one exec as a whole; the pipe has shorter ones for silence."""


@cache
def client_script() -> bytes:
    """Give the script that runs on clients."""
    return files("reconciler.client").joinpath("client.sh").read_bytes()


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
        self._fixed = bool(become and become.command)
        self._command = _command(shell, become)
        self._facts_timeout = facts_timeout
        self._deploy_timeout = deploy_timeout

    def facts(self, install_root: str, *, verify: bool = False) -> Facts:
        """Look at the client in one round trip; see `contracts.Session`."""
        request = facts_request(install_root, verify=verify)
        return read_facts(self._pipe.run(self._command, self._sent([request]), timeout=self._facts_timeout))

    def deploy(
        self, request: DeployRequest, content: Callable[[str], AbstractContextManager[BinaryIO]]
    ) -> DeployReport:
        """Carry out a request in one exec; see `contracts.Session`."""
        stdin = self._sent(deploy_request(request, content))
        done = self._pipe.run(self._command, stdin, timeout=self._deploy_timeout)
        outcomes = read_outcomes(done, request.steps)
        sent = sum(file.size for step in request.steps for file in step.payload)
        return DeployReport(outcomes, sent)

    def _sent(self, request: Iterable[bytes]) -> Iterator[bytes]:
        if not self._fixed:
            yield client_script()
        yield from request


def _command(shell: str, become: Become | None) -> str:
    if become is not None and become.command:
        return f"exec sudo -n -- {shlex.quote(become.command)}"
    length = len(client_script())
    # What is read is run only when it is whole: its last line says so.
    read = f"updoser=$(dd bs={length} count=1 iflag=fullblock 2>/dev/null)"
    run = '[ "${updoser##*#}" = " end" ] && eval "$updoser"'
    return f"exec {'sudo -n -- ' if become else ''}{shell} -c {shlex.quote(f'{read} && {run}')}"


def shell_session(pipe: Pipe, *, shell: str = "sh", become: Become | None = None) -> ShellSession:
    """Give the session over a pipe; the ShellFactory of contexts."""
    return ShellSession(pipe, shell=shell, become=become)
