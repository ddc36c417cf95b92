"""The command line: arguments become one call of a module of `commands`, whose result is the exit code.

This file is the process: its streams, Ctrl-C, errors as exit codes. What may be said stands beside it:

* `root`: `updoser` itself, and the exit codes;
* `options`, `values`: what several commands take, said once, and values with a form of their own;
* `places`: files that are read and written, and that none is both;
* `plans`, `fleet`, `controller`, `console`, `questions`, `rollouts`, `releases`, `repository`, `spec`, `state`,
  `editors`, `worker`: the commands, by what they are about.

A command is one function in one of these, with its arguments above it and the import of what does the work inside it:
nothing heavy is imported before a command runs, so that `updoser --help` answers at once. A new file of commands is
imported below.
"""

from __future__ import annotations

import io
import logging
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from reconciler.cli import (  # noqa: F401 # each adds its commands
    console,
    controller,
    editors,
    fleet,
    plans,
    questions,
    releases,
    repository,
    rollouts,
    spec,
    state,
    worker,
)
from reconciler.cli.root import cli
from reconciler.errors import REPORT_IT, InterruptedRunError, UpdoserError, UsageError
from reconciler.present.streams import take_streams
from reconciler.present.terminal import Log, Terminal, debugging

if TYPE_CHECKING:
    from collections.abc import Sequence


def main() -> NoReturn:
    """Run the command line of this process, and end it with the exit code."""
    terminal = Terminal(streams=take_streams())
    logging.getLogger().addHandler(Log(terminal))
    if debugging():  # what nobody expected is logged with where it came from
        logging.getLogger("updoser").setLevel(logging.DEBUG)
    sys.exit(terminal.settle(run(sys.argv[1:], terminal)))


def run(arguments: Sequence[str], terminal: Terminal) -> int:
    """Run one command and give its exit code; whatever goes wrong is told on stderr, never as a traceback."""
    try:
        code = cli.main(args=list(arguments), prog_name="updoser", obj=terminal, standalone_mode=False)
    except UpdoserError as error:
        terminal.note(f"Error: {error}", "error")
        return error.exit_code
    except (click.Abort, SystemExit) as end:
        return _end_of_click(end, terminal)
    except click.ClickException as error:
        said = io.StringIO()
        error.show(said)
        terminal.note(said.getvalue().rstrip("\n") + _hint_of(error), "error")
        return UsageError.exit_code
    except KeyboardInterrupt:
        terminal.note("Interrupted.", "error")
        return InterruptedRunError.exit_code
    except Exception as error:
        if debugging():
            raise
        return _fault(terminal, error)
    return int(code or 0)


def _hint_of(error: click.ClickException) -> str:
    """Say where an option belongs that is one of updoser itself, and was given to a command."""
    name = error.option_name if isinstance(error, click.NoSuchOption) else ""
    own = {spelling for param in cli.params if isinstance(param, click.Option) for spelling in param.opts}
    return f"\n  it stands before the command: updoser {name} COMMAND" if name in own else ""


def _end_of_click(end: click.Abort | SystemExit, terminal: Terminal) -> int:
    """Tell apart what click makes one: Ctrl-C and any EOFError; the end of a process and any broken pipe.

    The process's own streams never break, so that such an error is always of something else.
    """
    error = end.__context__
    if isinstance(error, (EOFError, BrokenPipeError)):
        if debugging():
            raise error
        return _fault(terminal, error)
    if isinstance(end, SystemExit):
        raise end
    terminal.note("Interrupted.", "error")
    return InterruptedRunError.exit_code


def _fault(terminal: Terminal, error: Exception) -> int:
    """Tell an error that nobody expected."""
    terminal.note(f"Error: this is a fault of updoser: {type(error).__name__}: {error}\n  {REPORT_IT}", "error")
    return 1
