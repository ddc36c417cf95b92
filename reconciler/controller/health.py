"""What a controller that runs tells of itself: whether it is alive and ready, and its metrics.

The loop writes here, and who asks reads what is there: no question makes a status, opens a state or waits for the loop.
A controller is alive as long as something happens: an event, or a look at whether somebody wants something.
"""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING, Literal, NamedTuple

from reconciler import __version__
from reconciler.execute.outcome import is_complete
from reconciler.model.controller import ControllerReport, ControllerStatus
from reconciler.model.notice import DELIVERIES
from reconciler.model.report import RECAP
from reconciler.present.document import controller_entry, status_document
from reconciler.present.fields import time_text
from reconciler.present.prometheus import Sample, controller_samples, exposition, fleet_samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reconciler.model.controller import ControllerSpec, Pause
    from reconciler.model.notice import Delivery
    from reconciler.model.report import Report, Status

PATIENCE = timedelta(minutes=5)
"""However often a controller looks: one large file, or one slow client, takes as long without a word."""
INTERVALS = 3
"""How many intervals may pass without a sign of life."""
BUCKETS = (1, 5, 30, 120, 600, 1800, 7200, 28800)
"""Bounds of how long phases take, in seconds."""
_TIMED = ("looking", "changing")


class Answer(NamedTuple):
    """What is said to who asks: whether all is well, and a text."""

    good: bool
    text: str


class Health:
    """What is known of the controller of this process. Safe to use from several threads."""

    def __init__(
        self, clock: Callable[[], datetime] = lambda: datetime.now(UTC), watch: Callable[[], float] = time.monotonic
    ) -> None:
        """Know that it starts; `watch` counts seconds, as clocks jump."""
        self._clock = clock
        self._watch = watch
        self._lock = Lock()
        self._beat = self._began = watch()
        self._patience = PATIENCE
        self._said = ControllerReport(who="", phase="starting", mode="apply", since=clock())
        self._pause: Pause | None = None
        self._waiting = 0
        self._fleet = [Sample("updoser_build_info", 1, {"version": __version__})]
        self._rounds: Counter[str] = Counter(ok=0, failed=0, left_out=0)
        self._clients: Counter[str] = Counter(dict.fromkeys(RECAP, 0))
        self._messages: Counter[tuple[str, Delivery]] = Counter()
        self._ended: dict[str, datetime] = {}
        self._took: dict[str, list[float]] = {phase: [0.0] * (len(BUCKETS) + 2) for phase in _TIMED}

    def beat(self) -> None:
        """Take note of a sign of life."""
        self._beat = self._watch()

    def say(self, report: ControllerReport, spec: ControllerSpec) -> None:
        """Take note of what the controller says of itself, and of how often it looks."""
        with self._lock:
            self._end_phase()
            self._said = report
            self._patience = max(PATIENCE, INTERVALS * spec.interval * (1 + spec.jitter))
        self.beat()

    def _end_phase(self) -> None:
        began, self._began = self._began, self._watch()
        took = self._took.get(self._said.phase)
        if took is not None:
            seconds = self._began - began
            for number, bound in enumerate(BUCKETS):
                took[number] += seconds <= bound
            took[-2] += 1
            took[-1] += seconds

    def end_round(self, result: Literal["ok", "failed", "left_out"], report: Report | None = None) -> None:
        """Count a round, and what became of the clients in it."""
        with self._lock:
            self._rounds[result] += 1
            if report is not None:
                for outcome in RECAP:
                    self._clients[outcome] += report.total(outcome)
                done = "done" if is_complete(report) else "failed"
                self._ended["interrupted" if report.interrupted else done] = report.ended
        self.beat()

    def count_message(self, notifier: str, result: Delivery) -> None:
        """Count a try to tell somebody something."""
        with self._lock:
            for each in DELIVERIES:
                self._messages[notifier, each] += each == result

    def keep_status(self, status: Status) -> None:
        """Keep the figures of a status until there is the next one."""
        samples = list(fleet_samples(status_document(status)))
        with self._lock:
            self._fleet = samples
            self._pause = status.controller.pause if status.controller else None
            self._waiting = status.controller.waiting if status.controller else 0
        self.beat()

    def alive(self) -> Answer:
        """Say whether the loop gave a sign of life lately."""
        silent = self._watch() - self._beat
        if silent <= self._patience.total_seconds():
            return Answer(good=True, text=self._said.phase)
        return Answer(good=False, text=f"{self._said.phase}, and no sign of life for {int(silent)} s")

    def ready(self) -> Answer:
        """Say whether it does what it is there for: it leads, or waits to lead in place of another one."""
        phase = self._said.phase
        return Answer(good=phase not in {"starting", "stopped"}, text=phase)

    def metrics(self) -> str:
        """Give all metrics."""
        with self._lock:
            status = ControllerStatus(report=self._said, alive=True, pause=self._pause, waiting=self._waiting)
            said = controller_entry(status)
            now = time_text(self._clock())
            return exposition([*self._fleet, *controller_samples(said, now), *self._counters()])

    def _counters(self) -> Iterator[Sample]:
        for result, count in self._rounds.items():
            yield Sample("updoser_reconcile_total", count, {"result": result})
        for phase, took in self._took.items():
            name, labels = "updoser_run_duration_seconds", {"phase": phase}
            *counts, seconds = took
            for bound, number in zip((*map(str, BUCKETS), "+Inf"), counts, strict=True):
                yield Sample(name, number, {**labels, "le": bound}, "_bucket")
            yield Sample(name, seconds, labels, "_sum")
            yield Sample(name, counts[-1], labels, "_count")
        for outcome, count in self._clients.items():
            yield Sample("updoser_run_clients_total", count, {"outcome": outcome})
        for (notifier, result), count in self._messages.items():
            yield Sample("updoser_notifications_total", count, {"notifier": notifier, "result": result})
        for status, ended in self._ended.items():
            yield Sample("updoser_last_run_timestamp_seconds", int(ended.timestamp()), {"status": status})
