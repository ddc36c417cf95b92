"""Where commands write and ask: results on stdout, everything else on stderr, secrets in neither.

On a terminal the progress of a run is a bar (rich); elsewhere it is plain lines, one for each thing worth a line.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from reconciler.errors import UpdoserError, printable
from reconciler.model.events import Event
from reconciler.present.document import time_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from rich.progress import Progress, TaskID

_QUIET = {"client_observed", "client_finished", "download_started", "rollout_moved"}
_SPARSE = 30.0
"""Seconds between two lines of progress where there is no bar."""
"""Events that come once for each client or rollout, or before one like them: shown only when they tell of trouble."""
_STARTS = {"look_started": "look", "deploy_started": "deploy"}
_STEPS = {"client_observed", "client_finished"}


def is_interactive() -> bool:
    """Say whether a person can be asked."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


class Terminal:
    """Standard output and error of a command; `mask` takes secrets out of all that is written."""

    def __init__(self, mask: Callable[[str], str] = str) -> None:
        """Write to the process's own streams."""
        self.mask = mask

    def result(self, text: str) -> None:
        """Write a result to stdout."""
        _write(sys.stdout, self.mask(text))

    def note(self, text: str) -> None:
        """Write a line for people to stderr."""
        _write(sys.stderr, self.mask(text) + "\n")

    def close(self) -> None:
        """Give up on a stdout that nobody reads any more, without a complaint when the process ends."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def ask(self, question: str) -> str:
        """Ask a person, who sees the question on stderr; no answer is an empty one, Ctrl-C ends the command."""
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            _write(sys.stderr, question)
            return sys.stdin.readline().strip()
        finally:
            signal.signal(signal.SIGINT, before)


def _write(stream: TextIO, text: str) -> None:
    stream.write(text)
    stream.flush()


class EventLog:
    """Stamps events with time and run, and hands them on: to progress on stderr, and to a file of JSON lines."""

    def __init__(self, run_id: str, clock: Callable[[], datetime], terminal: Terminal, *, quiet: bool = False) -> None:
        """Show nothing but trouble when `quiet` is set."""
        self._run_id = run_id
        self._clock = clock
        self._terminal = terminal
        self._quiet = quiet
        self._file: TextIO | None = None
        self._bar: _Bar | None = None
        self._progress_at = clock()

    def __call__(self, kind: str, message: str, *, level: str = "info", **fields: Any) -> None:
        """Tell an event; see `model.events.Emit`."""
        event = Event(self._clock(), self._run_id, kind, level, message, fields)
        if self._file is not None:
            entry = {"time": time_text(event.time), "run_id": event.run_id, "type": kind, "level": level}
            self._file.write(self._terminal.mask(json.dumps({**entry, "message": message, **fields})) + "\n")
            self._file.flush()
        if self._bar is not None:
            self._bar.take(event)
        elif level != "info" or (not self._quiet and kind not in _QUIET and self._is_due(event)):
            self._terminal.note(_line(event))

    def _is_due(self, event: Event) -> bool:
        """Say whether an event is worth a line: one of progress is now and then."""
        if event.type != "download_progress":
            return True
        if (event.time - self._progress_at).total_seconds() < _SPARSE:
            return False
        self._progress_at = event.time
        return True

    @contextmanager
    def to(self, file: Path | None) -> Iterator[None]:
        """Append events to a file (None: to none) and show progress while the block runs.

        Raises:
            UpdoserError: the file can't be written.
        """
        if sys.stderr.isatty() and not self._quiet:
            self._bar = _Bar(self._terminal)
        try:
            if file is not None:
                self._file = file.open("a", encoding="utf-8")
            yield
        except OSError as error:
            if file is None or error.filename != str(file):
                raise
            raise UpdoserError(f"{file} can't be written: {error.strerror}") from error
        finally:
            if self._bar is not None:
                self._bar.close()
                self._bar = None
            if self._file is not None:
                self._file.close()
                self._file = None


def _line(event: Event) -> str:
    mark = {"warning": "warning: ", "error": "error: "}.get(event.level, "")
    return f"{event.time:%H:%M:%S} {mark}{printable(event.message)}"


class _Bar:
    """A progress bar with the trouble above it."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._trouble = 0

    def take(self, event: Event) -> None:
        if event.type in _STARTS:
            self.close()
            if event.fields["clients"]:
                self._start(event.message, int(event.fields["clients"]))
        elif event.type in _STEPS:
            self._step(event)
        elif event.type == "download_progress":
            self._bytes(event)
        elif self._progress is not None:
            self._progress.console.print(self._terminal.mask(_line(event)), markup=False, highlight=False)
        else:
            self._terminal.note(_line(event))

    def _start(self, message: str, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._trouble = 0
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[trouble]}"),
            TimeRemainingColumn(),
            console=Console(file=sys.stderr),
            transient=True,
        )
        self._task = self._progress.add_task(message, total=total, trouble="")
        self._progress.start()

    def _bytes(self, event: Event) -> None:
        if self._progress is None:
            self._start_bytes(int(event.fields["total"]))
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=int(event.fields["bytes"]))
            if self._progress.finished:
                self.close()

    def _start_bytes(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(file=sys.stderr),
            transient=True,
        )
        self._task = self._progress.add_task("downloading", total=total)
        self._progress.start()

    def _step(self, event: Event) -> None:
        if self._progress is None or self._task is None:
            return
        if event.level != "info":
            self._trouble += 1
            self._progress.console.print(self._terminal.mask(_line(event)), markup=False, highlight=False)
        self._progress.update(self._task, advance=1, trouble=f"{self._trouble} in trouble" if self._trouble else "")
        if self._progress.finished:
            self.close()

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def debugging() -> bool:
    """Say whether the user wants to see where in the code an error came from."""
    return os.environ.get("UPDOSER_DEBUG", "") not in {"", "0"}
