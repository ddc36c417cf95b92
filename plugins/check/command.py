"""A check by a command: it is good when it exits with the status that is expected.

* On a client, the client's sh runs it, with what it is about in its environment.
* On the server it runs in the folder of the spec, with nothing to read: a text by sh, a list as a program with its
  arguments and without a shell. It is stopped with all that it started when its time is over.
* What runs here gets the environment of updoser without the variables that hold secrets of the spec, but for those that
  `pass_env` names.
* Both get UPDOSER_COMPONENT, UPDOSER_VERSION and UPDOSER_STAGED (the folder of the files, before a switch), and the
  client's vars as UPDOSER_VAR_NAME; on the server UPDOSER_CLIENT and UPDOSER_ADDRESS, too. Nothing of that is ever part
  of the command itself.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

from reconciler.contracts import CheckResult, Traits
from reconciler.errors import SecretError
from reconciler.formats.option_schemas import PASS_ENV, command_option
from reconciler.programs import MAX_TAIL, Ending, last_lines, watch_program

if TYPE_CHECKING:
    from collections.abc import Mapping
    from threading import Event

    from reconciler.contracts import Context, Subject
    from reconciler.programs import Ended

MAX_OUTPUT = MAX_TAIL
MAX_SHOWN = 500
"""Characters of the last line that a command said."""

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "description": "A command that says with its exit status whether a version is good.",
    "properties": {
        "run": command_option(
            'suricata -T -S "$UPDOSER_STAGED/suricata.rules"', ("bin/prom-check", "rate(drops[10m]) < 1")
        ),
        "expect_exit": {
            "type": "integer",
            "minimum": 0,
            "maximum": 255,
            "default": 0,
            "description": "The exit status that means good.",
            "examples": [0, 1],
        },
        "pass_env": PASS_ENV,
    },
    "required": ["run"],
    "additionalProperties": False,
}


class CommandCheck:
    """The `Check` protocol of reconciler/contracts.py."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        self._run: str | list[str] = options["run"]
        self._expected: int = options["expect_exit"]
        self._pass: list[str] = options.get("pass_env", [])
        self._context = context

    def on_client(self) -> tuple[str, int]:
        """Give the command as a text for sh, and the exit status that means good."""
        return self._run if isinstance(self._run, str) else shlex.join(self._run), self._expected

    def on_server(self, subject: Subject, *, timeout: float, stop: Event) -> CheckResult:
        """Run the command here; what hinders it is a finding, too."""
        command = ["sh", "-c", self._run] if isinstance(self._run, str) else self._run
        try:
            env = {**self._context.environment(self._pass), **_environment(subject)}
        except SecretError as error:
            return CheckResult(good=False, message=error.message)
        if stop.is_set():
            return CheckResult(good=False, message="it was stopped before it began")
        ended = watch_program(command, self._context.base, env, timeout=timeout, stop=stop, tail=MAX_OUTPUT)
        said = last_lines(ended.output, longest=MAX_SHOWN)
        problem = self._problem(ended, command[0], timeout)
        return CheckResult(good=not problem, message=": ".join(filter(None, (problem, said))))

    def _problem(self, ended: Ended, program: str, timeout: float) -> str:
        """Say what is wrong with how a command ended; empty when that is what was expected."""
        match ended.ending:
            case Ending.NOT_STARTED:
                return f"{program} can't be started: {ended.why.lower()}"
            case Ending.STOPPED:
                return "it was stopped before it was done"
            case Ending.LATE:
                return f"it wasn't done after {timeout:g} s and was stopped"
        if ended.status == self._expected:
            return ""
        if ended.status < 0:
            return f"it was ended by signal {-ended.status}"
        return f"it exited with {ended.status}" + (f" instead of {self._expected}" if self._expected else "")


def _environment(subject: Subject) -> dict[str, str]:
    found = {f"UPDOSER_VAR_{re.sub('[^A-Z0-9_]', '_', name.upper())}": value for name, value in subject.vars.items()}
    return {
        **found,
        "UPDOSER_COMPONENT": subject.component,
        "UPDOSER_VERSION": subject.version,
        "UPDOSER_STAGED": subject.folder,
        "UPDOSER_CLIENT": subject.client,
        "UPDOSER_ADDRESS": subject.address,
    }


TRAITS = Traits(programs=True)
PLUGIN = CommandCheck
