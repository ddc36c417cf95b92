"""What all commands share before anything is opened: the spec's file, variables, where to answer, and who asks."""

from __future__ import annotations

import getpass
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.specfile.load import Loaded, load
from reconciler.specfile.variables import parse_variables

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.present.terminal import Terminal


@dataclass(frozen=True, slots=True)
class Desk:
    """What all commands share: the spec's file, `-e` variables, and where and in which format to answer.

    `no_exec` runs nothing that the spec names, resolves no secret and reaches no client. `events` is a file that gets
    the run's events as JSON lines.
    """

    terminal: Terminal
    file: Path
    variables: tuple[str, ...] = ()
    form: str = "text"
    events: Path | None = None
    no_exec: bool = False


def user_name() -> str:
    """Give who runs this, for the history: the user that sudo was called by, or the one of the process."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def read_spec(desk: Desk) -> Loaded:
    """Read the spec that a desk names.

    Raises:
        SpecError: it is invalid; all problems are told at once.
        UsageError: a `-e` is malformed.
    """
    return load(desk.file, variables=parse_variables(desk.variables), no_exec=desk.no_exec)
