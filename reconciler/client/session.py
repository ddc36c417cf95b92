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
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from reconciler.contracts import Become, Completed, Pipe
    from reconciler.model.client import DeployRequest, Facts

FACTS_TIMEOUT = 120.0
DEPLOY_TIMEOUT = 3600.0
"""Seconds for one exec as a whole; the pipe has shorter ones for silence."""


@cache
def client_script(operation: str = "") -> bytes:
    """Give the script that runs on clients, or the part of it that one operation needs."""
    folder = files("reconciler.client").joinpath("script")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sh"))
    return b"\n".join(folder.joinpath(name).read_bytes() for name in names if _is_needed(name, operation))


def _is_needed(name: str, operation: str) -> bool:
    """Say whether an operation needs a part: looking needs none of those that change something (40 to 80)."""
    return operation != "facts" or not "40" <= name[:2] <= "80"


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
        self._shell = shell
        self._become = become
        self._facts_timeout = facts_timeout
        self._deploy_timeout = deploy_timeout

    def facts(self, install_root: str, *, verify: bool = False) -> Facts:
        """Look at the client in one round trip; see `contracts.Session`."""
        request = [facts_request(install_root, verify=verify)]
        return read_facts(self._run("facts", request, self._facts_timeout))

    def deploy(
        self, request: DeployRequest, content: Callable[[str], AbstractContextManager[BinaryIO]]
    ) -> DeployReport:
        """Carry out a request in one exec; see `contracts.Session`."""
        done = self._run("deploy", deploy_request(request, content), self._deploy_timeout)
        outcomes = read_outcomes(done, request.steps)
        sent = sum(file.size for step in request.steps for file in step.payload)
        return DeployReport(outcomes, sent)

    def _run(self, operation: str, request: Iterable[bytes], timeout: float) -> Completed:
        script = b"" if self._fixed else client_script("" if operation == "deploy" else operation)
        stdin = (piece for part in ((script,), request) for piece in part)
        return self._pipe.run(_command(self._shell, self._become, len(script)), stdin, timeout=timeout)


def _command(shell: str, become: Become | None, length: int) -> str:
    """Give what the login shell runs: a command that reads a script of that length and runs it, or the fixed copy."""
    if become is not None and become.command:
        return f"exec sudo -n -- {shlex.quote(become.command)}"
    # What is read is run only when it is whole: its last line says so.
    read = f"updoser=$(dd bs={length} count=1 iflag=fullblock 2>/dev/null)"
    run = '[ "${updoser##*#}" = " end" ] && eval "$updoser"'
    return f"exec {'sudo -n -- ' if become else ''}{shell} -c {shlex.quote(f'{read} && {run}')}"


def shell_session(pipe: Pipe, *, shell: str = "sh", become: Become | None = None) -> ShellSession:
    """Give the session over a pipe; the ShellFactory of contexts."""
    return ShellSession(pipe, shell=shell, become=become)
