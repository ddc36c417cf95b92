"""Writes down how far a run is while it is carried out, for those who look on from another process.

It goes by the events that a terminal's bar goes by, and costs a row at most each second. Nothing depends on it: where
it can't be written, the run goes on.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.errors import UpdoserError
from reconciler.model.controller import RunProgress
from reconciler.model.work_events import (
    ClientFinished,
    DeployStarted,
    DownloadProgress,
    DownloadStarted,
    FetchStarted,
    GenerateStarted,
    RunStarted,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reconciler.model.events import Event
    from reconciler.workspace import Workspace

EVERY = 1.0
"""Seconds between two rows."""
_STEPS = (RunStarted, DownloadStarted, DownloadProgress, FetchStarted, GenerateStarted, DeployStarted)
"""What says what is done from then on."""


@contextmanager
def looked_on(work: Workspace, command: str, watch: Callable[[], float] = time.monotonic) -> Iterator[Workspace]:
    """Give a workspace of which all that happens in the block moves what is written down; nothing is there after it."""
    emit, clock, state = work.means.emit, work.means.clock, work.state
    now = clock()
    told = RunProgress(run_id=work.means.run_id, command=command, started=now, at=now)
    written, downloading = -EVERY, False

    def take(event: Event, /) -> None:
        nonlocal told, written, downloading
        before, told = told, after(told, event)
        moved = told.step != before.step
        another = moved and downloading and isinstance(event, DownloadStarted)  # all of them begin at once
        if moved:
            downloading = isinstance(event, DownloadStarted)
        if told != before and (watch() - written >= EVERY or (moved and not another)):
            written = watch()
            with suppress(UpdoserError):
                state.report_progress(replace(told, at=clock()))
        emit(event)

    try:
        yield replace(work, means=replace(work.means, emit=take))
    finally:
        with suppress(UpdoserError):
            state.report_progress(None)


def after(told: RunProgress, event: Event) -> RunProgress:
    """Give how far a run is after something happened; clients are those of the step, bytes those of the run."""
    if isinstance(event, ClientFinished):
        return replace(
            told,
            finished=told.finished + 1,
            failed=told.failed + (event.outcome == "failed"),
            unreachable=told.unreachable + (event.outcome == "unreachable"),
            sent=told.sent + event.bytes,
        )
    if not isinstance(event, _STEPS):
        return told
    clients = event.clients if isinstance(event, DeployStarted) else 0
    return replace(told, step=event.message, clients=clients, finished=0, failed=0, unreachable=0)
