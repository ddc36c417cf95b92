"""One order carried out in a worker's process: from its message to the last report.

* A controller that stops, or isn't heard of any more, has nothing begun. What a worker doesn't begin for a reason of
  its own (it ends, or the batch's budget is over) it doesn't answer for: it says why it gives that back, and the
  controller gives it to another one.
* Reports are confirmed by the broker before the order is acknowledged. So a worker that dies has lost nothing: the
  broker gives its order to another one.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from reconciler.errors import DocumentError, LimitError
from reconciler.model.batch import Answer, Change, Ended, Look, Order

from ...executor._celery.orders import address_of, opened

if TYPE_CHECKING:
    from collections.abc import Callable
    from logging import Logger

    from reconciler.contracts import Crew, Labour
    from reconciler.model.batch import Batch, Report, Task

    from .control import Control
    from .post import Post

FEW = 20
"""How many reports go together, at most."""
_SOON = 1.0
"""Seconds that a report waits for others."""
_TICK = 0.2


class Carrier:
    """Carries out orders, one at a time."""

    def __init__(
        self, labour: Labour, control: Control, post: Post, seal_key: str, draining: Callable[[], bool], log: Logger
    ) -> None:
        """Take what does the work, what is heard, and what reports; `draining` says whether this worker ends."""
        self._labour = labour
        self._control = control
        self._post = post
        self._seal_key = seal_key
        self._draining = draining
        self._log = log

    def carry(self, message: Any) -> None:
        """Carry out an order; of one that can't be read its controller is told why, if it says whose it is."""
        site = self._labour.site
        try:
            address = address_of(message, site)
        except DocumentError as error:
            self._log.error("an order is dropped: %s", error.message)
            return
        reply = address.reply
        try:
            envelope = opened(message, site, self._seal_key)
            batch = self._labour.read(envelope.document)
        except DocumentError as error:
            self._log.error("the batch %s goes back: %s", address.batch, error.message)
            why = f"a worker at the site {site} can't read it: {error.message}"
            self._post.send(reply, [Ended(address.batch, address.attempt, why)])
            return
        if self._control.dropped((reply, batch.id, batch.attempt)):
            self._log.info("the batch %s was given up while it waited", batch.id)
            return
        self._control.batch = batch.id, batch.attempt
        try:
            # a change may come to another process than the look before it, so no connection waits for it
            order = Order(replace(batch, task=_alone(batch.task)), envelope.private)
            with self._labour.threads(self._labour.forks) as crew:
                crew.halt(envelope.halted)
                with self._control.telling(partial(self._tell, crew, reply)):
                    self._work(crew, order, reply, time.monotonic() + envelope.budget)
        except Exception as error:  # noqa: BLE001 - whatever it is, the controller is to know at once
            self._log.exception("the batch %s broke its worker", batch.id)
            why = f"a worker at the site {site} broke: {type(error).__name__}"
            self._post.send(reply, [Ended(batch.id, batch.attempt, why)])
        finally:
            self._control.batch = None

    def _work(self, crew: Crew, order: Order, reply: str, deadline: float) -> None:
        batch, back = order.batch, ""
        waiting: list[Report] = []
        sent = time.monotonic()
        crew.give(crew.lane(batch.targets[0].client.name if batch.targets else ""), order)
        while True:
            if not back and (back := self._why_back(batch, reply, deadline)):
                self._log.info("what isn't begun of the batch %s goes back: %s", batch.id, back)
                crew.stop()
            try:
                reports = crew.receive(_TICK)
            except LimitError as error:
                reports = [Ended(batch.id, batch.attempt, error.message)]
            over = any(isinstance(report, Ended) for report in reports)
            waiting += _given_back(reports, back)
            if waiting and (over or len(waiting) >= FEW or time.monotonic() - sent >= _SOON):
                self._post.send(reply, waiting)
                waiting, sent = [], time.monotonic()
            if over:
                return

    def _tell(self, crew: Crew, reply: str) -> None:
        """Pass on to those at work what their controller said."""
        crew.halt(self._control.halts(reply))
        if self._control.stopped(reply):
            crew.stop()

    def _why_back(self, batch: Batch, reply: str, deadline: float) -> str:
        if self._draining():
            return f"a worker at the site {self._labour.site} ends"
        if self._control.dropped((reply, batch.id, batch.attempt)):
            return "it was given up"
        if time.monotonic() >= deadline:
            return f"a worker at the site {self._labour.site} wasn't through with it in time"
        if self._control.silent(reply):
            return f"a worker at the site {self._labour.site} didn't hear of the controller any more"
        return ""


def _alone(task: Task) -> Task:
    """Give the task without what has a connection wait for a batch that follows."""
    if isinstance(task, Look):
        return replace(task, keep=False)
    return replace(task, stay=False) if isinstance(task, Change) else task


def _given_back(reports: Any, why: str) -> list[Report]:
    """Leave out who wasn't begun for a reason of the worker's, and say so at the end."""
    if not why:
        return list(reports)
    kept: list[Report] = []
    for report in reports:
        if isinstance(report, Ended):
            kept.append(replace(report, lost=report.lost or why))
        elif not (isinstance(report, Answer) and report.not_begun == "stopped"):
            kept.append(report)
    return kept
