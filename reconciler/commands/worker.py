"""Carry batches out for a controller that started this, and speaks over the standard streams."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from threading import Event
from typing import TYPE_CHECKING, Any

from reconciler.errors import DocumentError
from reconciler.worker.crewing import CACHE, Means, Worker, contents_of
from reconciler.worker.lending import LENDS, lends_of
from reconciler.worker.setup import read_setup
from reconciler.worker.speaking import Speaker

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.contracts import ContentPlace
    from reconciler.worker.asking import Asking
    from reconciler.worker_file import WorkerFile


def speak(config: Path | None) -> int:
    """Work for the controller at the other end of the standard streams; `config` is the file of this worker.

    Without one it is a worker on the controller's own machine, which says how clients are reached.

    Raises:
        SpecError: the file is no good.
    """
    file = None
    if config is not None:
        from reconciler.worker_file import read_worker_file

        file = read_worker_file(config)
    incoming, outgoing = os.dup(0), os.dup(1)
    os.dup2(2, 1)  # what anybody prints is none of ours
    # The controller's terminal is the controller's: it says itself what is to end, and its end ends this.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    stop, over = Event(), Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())

    def prepare(setup: Mapping[str, Any], asking: Asking) -> Worker:
        means = Means(
            forks=_forks(setup, file),
            lends=_lends(setup, file),
            stop=stop,
            over=over,
            clock=_now,
            debug=_debugging(),
        )
        return _near(setup, means, asking) if file is None else _far(file, means, asking)

    return Speaker(incoming, outgoing, prepare).run(stop, over)


def _forks(setup: Mapping[str, Any], file: WorkerFile | None) -> int:
    forks = setup.get("forks")
    if type(forks) is not int or forks < 1:
        raise DocumentError("the setup that came doesn't say on how many clients to work at a time")
    return forks if file is None else min(forks, file.forks)


def _lends(setup: Mapping[str, Any], file: WorkerFile | None) -> int:
    """Read for how many clients each fork is, with silent ones; the file of a worker that takes one at a time holds."""
    lends = setup.get("lends")
    if type(lends) is not int or lends < 1:
        return 1
    return min(lends, LENDS if file is None else lends_of(file.forks))


def _near(document: Mapping[str, Any], means: Means, asking: Asking) -> Worker:
    """Make a worker on the machine of its controller."""
    from pathlib import Path

    setup = read_setup(document.get("worker"))
    folder = document.get("content")
    near = Path(folder) if isinstance(folder, str) else None
    cache = setup.work / "executor" / "content"
    return Worker(setup, means, contents_of(cache, CACHE, [asking], means.over, near))


def _far(file: WorkerFile, means: Means, asking: Asking) -> Worker:
    """Make a worker that has a file of its own."""
    from reconciler.worker.setup import place_of

    places: list[ContentPlace] = [place_of(config, file.setup, means.stop, means.clock) for config in file.content]
    return Worker(file.setup, means, contents_of(file.cache, file.limit, [*places, asking], means.over))


def _now() -> datetime:
    return datetime.now(UTC)


def _debugging() -> bool:
    return os.environ.get("UPDOSER_DEBUG", "") not in {"", "0"}
