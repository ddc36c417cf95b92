"""Formats the spec and other files of YAML: all of them or, where one can't be read, none."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import Problem, SpecError, UpdoserError
from reconciler.specfile.edit import write
from reconciler.specfile.fmt import formatted, formatted_text
from reconciler.specfile.reader import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.present.terminal import Terminal
    from reconciler.specfile.edit import Edit

UNFORMATTED = 1
STDIN = Path("-")


def fmt(terminal: Terminal, files: Sequence[Path], *, check: bool, diff: bool) -> int:
    """Format files, and name those that change; `-` is standard input, whose layout goes to standard output.

    With `check` or `diff` nothing is written. `check` gives 1 where something would be.
    """
    if STDIN in files:
        return _stream(terminal, check=check, diff=diff)
    edits = [edit for edit in _proposed(files) if edit.before != edit.after]
    if not (check or diff):
        for edit in edits:
            write(edit)
    terminal.result("".join(edit.diff() if diff else f"{edit.path}\n" for edit in edits))
    return UNFORMATTED if check and edits else 0


def _proposed(files: Sequence[Path]) -> list[Edit]:
    """Give what is to become of files; what is wrong with any is told at once.

    Raises:
        SpecError, UpdoserError: one can't be formatted.
    """
    edits: list[Edit] = []
    problems: list[Problem] = []
    for file in dict.fromkeys(files):
        try:
            edits.append(formatted(file))
        except SpecError as error:
            problems += error.problems
        except UpdoserError as error:
            if len(files) == 1:
                raise
            problems.append(Problem(error.message, hint=error.hint))
    if problems:
        raise SpecError(problems)
    return edits


def _stream(terminal: Terminal, *, check: bool, diff: bool) -> int:
    edit = formatted_text(Path("<stdin>"), sys.stdin.buffer.read(MAX_BYTES + 1))
    if diff or not check:
        terminal.result(edit.diff() if diff else edit.after)
    return UNFORMATTED if check and edit.before != edit.after else 0
