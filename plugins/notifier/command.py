"""Messages to a program of this machine: it reads the JSON of the message, and has taken it when it exits with 0.

* A text is run by sh, a list as a program with its arguments and without a shell, in the folder of the spec. Nothing of
  the message is ever part of the command. It is stopped with all that it started when its time is over.
* It gets the environment of updoser without the variables that hold secrets of the spec, but for those that `pass_env`
  names.
"""

from __future__ import annotations

import json
import tempfile
from typing import TYPE_CHECKING, Any

from reconciler.contracts import Traits
from reconciler.errors import NotifierError, own_limit
from reconciler.formats.option_schemas import PASS_ENV, command_option
from reconciler.programs import Ending, last_lines, watch_program

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.contracts import Context
    from reconciler.model.notice import Message
    from reconciler.programs import Ended

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "description": "A program that reads a message as JSON and passes it on.",
    "properties": {
        "run": command_option("jq -r .text | wall", ("bin/tell", "--channel", "ops")),
        "pass_env": PASS_ENV,
    },
    "required": ["run"],
    "additionalProperties": False,
}


class Command:
    """The `Notifier` protocol of reconciler/contracts.py."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        self._run: str | list[str] = options["run"]
        self._pass: list[str] = options.get("pass_env", [])
        self._context = context

    def send(self, message: Message, *, timeout: float) -> None:
        """Run the command with the message as what it reads."""
        command = ["sh", "-c", self._run] if isinstance(self._run, str) else self._run
        environment = self._context.environment(self._pass)
        try:
            with tempfile.TemporaryFile() as given:
                given.write(json.dumps(message.document).encode() + b"\n")
                given.seek(0)
                ended = watch_program(
                    command,
                    self._context.base,
                    environment,
                    timeout=timeout,
                    stop=self._context.stop,
                    stdin=given.fileno(),
                )
        except OSError as error:
            raise own_limit(error) or NotifierError(f"there is no room for the message: {error.strerror}") from error
        problem = _problem(ended, command[0], timeout)
        if problem:
            raise NotifierError(": ".join(filter(None, (problem, last_lines(ended.output)))))


def _problem(ended: Ended, program: str, timeout: float) -> str:
    """Say what is wrong with how the command ended; empty when it took the message."""
    match ended.ending:
        case Ending.NOT_STARTED:
            return f"{program} can't be started: {ended.why.lower()}"
        case Ending.STOPPED:
            return "it was stopped before it was done"
        case Ending.LATE:
            return f"it wasn't done after {timeout:g} s and was stopped"
    if ended.status:
        return f"it was ended by signal {-ended.status}" if ended.status < 0 else f"it exited with {ended.status}"
    return ""


TRAITS = Traits(programs=True)
PLUGIN = Command
