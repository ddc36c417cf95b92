"""What happens in a run as it is told: progress on stderr, as a bar or as lines, and JSON lines in a file."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from reconciler.present.fields import time_text
from reconciler.present.terminal import LogStyle, event_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from reconciler.model.events import Event
    from reconciler.present.bars import Bar
    from reconciler.present.terminal import Terminal

_SPARSE = 30.0
"""Seconds between two lines of progress where there is no bar."""


class EventLog:
    """Stamps events with time and run, and hands them on: to progress on stderr, and to a file of JSON lines."""

    def __init__(self, run_id: str, clock: Callable[[], datetime], terminal: Terminal, *, quiet: bool = False) -> None:
        """Show nothing but trouble when `quiet` is set."""
        self._run_id = run_id
        self._clock = clock
        self._terminal = terminal
        self._quiet = quiet
        terminal.run_id = run_id
        self._append: Callable[[str], None] | None = None
        self._bar: Bar | None = None
        self._progress_at = clock()

    def __call__(self, event: Event, /) -> None:
        """Tell an event; see `model.events.Emit`."""
        now = self._clock()
        if self._append is not None:
            self._append(self._terminal.mask(json.dumps(self._entry(event, now))) + "\n")
        if self._bar is not None:
            self._bar.take(event, event_line(event, now))
        elif self._is_wanted(event) and self._is_due(event, now):
            self._terminal.event(event, now, self._entry(event, now))

    def _entry(self, event: Event, now: datetime) -> dict[str, object]:
        head = {"time": time_text(now), "run_id": self._run_id, "type": event.type, "level": event.level}
        return {**head, "message": event.message, **event.particulars}

    def _is_wanted(self, event: Event) -> bool:
        """Say whether an event is shown; people read of the trouble of clients in the result, by its reason."""
        if event.of_client and event.level != "info" and not self._terminal.log.form:
            return bool(self._terminal.log.verbose)
        return event.level != "info" or bool(self._terminal.log.verbose) or not (self._quiet or event.frequent)

    def _is_due(self, event: Event, now: datetime) -> bool:
        """Say whether an event is worth a line: one of progress is now and then."""
        if not event.progress:
            return True
        if (now - self._progress_at).total_seconds() < _SPARSE:
            return False
        self._progress_at = now
        return True

    @contextmanager
    def to(self, append: Callable[[str], None] | None) -> Iterator[None]:
        """Give events as lines of JSON to what appends them (None: to nobody), and show progress, for the block."""
        if sys.stderr.isatty() and not self._quiet and self._terminal.log == LogStyle():
            from reconciler.present.bars import Bar

            self._bar = Bar(self._terminal.note, self._terminal.mask)
        self._append = append
        try:
            yield
        finally:
            if self._bar is not None:
                self._bar.close()
                self._bar = None
            self._append = None
