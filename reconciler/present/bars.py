"""The bar of progress on a terminal: how many clients are done, the bytes and their rate, and how many are in trouble.

What doesn't fit into the width goes, the rate first, then the time that is left, then the bar itself, which takes what
is left over. Where there is no terminal there is no bar: lines stand in its place (`terminal`).
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from reconciler.errors import printable
from reconciler.model.events import ClientObserved, LookStarted
from reconciler.model.work_events import ClientFinished, DeployStarted, DownloadProgress
from reconciler.present.words import size_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress, ProgressColumn, TaskID

    from reconciler.model.events import Event

PARTS = ("description", "count", "trouble", "bar", "bytes", "left", "rate")
"""From the left to the right."""
_SPARE = ("rate", "left", "bar", "bytes")
"""What goes where there is no room for it, the first first."""
_ROOM = {"trouble": 14, "bar": 6, "bytes": 19, "left": 5, "rate": 12}
"""How wide a part may become; a bar is at least that wide."""
_MOST_BAR = 40
_MEMORY = 10.0
"""Seconds over which a rate is measured."""


def parts_of(width: int, description: str, total: int, *, clients: bool) -> tuple[list[str], int]:
    """Give the parts of a bar that fit into a width, and how wide the bar among them is."""
    room = {**_ROOM, "description": len(description), "count": 2 * len(str(total)) + 1}
    shown = [part for part in PARTS if clients or part not in {"count", "trouble"}]
    for part in _SPARE:
        if sum(room[each] + 1 for each in shown) - 1 > width:
            shown.remove(part)
    spare = width + 1 - sum(room[part] + 1 for part in shown)
    return shown, min(room["bar"] + max(spare, 0), _MOST_BAR)


class Bar:
    """A bar that follows events; `say` writes a line above it, or where it would be."""

    def __init__(self, say: Callable[[str], None], mask: Callable[[str], str]) -> None:
        """Take what writes lines, and what takes secrets out of those that stand above a bar."""
        self._say = say
        self._mask = mask
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._trouble = 0
        self._sent = self._total = 0
        self._marks: list[tuple[float, int]] = []

    def take(self, event: Event, line: str) -> None:
        """Follow an event; one that moves no bar is written as its line."""
        if isinstance(event, LookStarted | DeployStarted):
            self.close()
            if event.clients:
                size = event.bytes if isinstance(event, DeployStarted) else 0
                self._start(event.message, event.clients, size, clients=True)
        elif isinstance(event, ClientObserved | ClientFinished):
            self._step(event)
        elif isinstance(event, DownloadProgress):
            if self._progress is None:
                self._start("downloading", event.total, event.total, clients=False)
            self._update(event.bytes, event.bytes, event.rate)
        elif self._progress is not None:
            self._progress.console.print(self._mask(line), markup=False, highlight=False)
        else:
            self._say(line)

    def close(self) -> None:
        """Take the bar away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _start(self, message: str, total: int, size: int, *, clients: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._trouble, self._sent, self._total = 0, 0, size
        self._marks = [(time.monotonic(), 0)]
        console, description = Console(file=sys.stderr), printable(message)
        shown, width = parts_of(console.width, description, total, clients=clients)
        columns: dict[str, ProgressColumn] = {
            "description": TextColumn("{task.description}", markup=False),
            "count": MofNCompleteColumn(),
            "trouble": TextColumn("{task.fields[trouble]}"),
            "bar": BarColumn(width),
            "bytes": TextColumn("{task.fields[bytes]}"),
            "left": TimeRemainingColumn(compact=True),
            "rate": TextColumn("{task.fields[rate]}"),
        }
        self._progress = Progress(*(columns[part] for part in shown), console=console, transient=True)
        self._task = self._progress.add_task(description, total=total, trouble="", bytes="", rate="")
        self._progress.start()

    def _step(self, event: ClientObserved | ClientFinished) -> None:
        if self._progress is None or self._task is None:
            return
        self._trouble += event.level != "info"
        self._sent += event.bytes if isinstance(event, ClientFinished) else 0
        self._update(int(self._progress.tasks[0].completed) + 1, self._sent, self._rate())

    def _rate(self) -> int:
        """Give how many bytes were sent in a second, of late."""
        now = time.monotonic()
        self._marks = [mark for mark in self._marks if now - mark[0] <= _MEMORY] or self._marks[-1:]
        since, before = self._marks[0]
        self._marks.append((now, self._sent))
        return round((self._sent - before) / max(now - since, 0.001))

    def _update(self, completed: int, size: int, rate: int) -> None:
        if self._progress is None or self._task is None:
            return
        moved = self._total or size
        self._progress.update(
            self._task,
            completed=completed,
            trouble=f"{self._trouble} in trouble" if self._trouble else "",
            bytes=f"{size_text(size)}/{size_text(self._total)}" if self._total else size_text(size) if moved else "",
            rate=f"{size_text(rate)}/s" if moved else "",
        )
        if self._progress.finished:
            self.close()
