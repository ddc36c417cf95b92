"""What may still be begun: rollouts that go no further, a time that is over, a worker that stops."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from reconciler.model.batch import Batch, Halt, NotBegun
    from reconciler.model.deploy import Step


class Halts:
    """Asked before a client is begun, and again when it is connected. Safe to use from several threads."""

    def __init__(self, clock: Callable[[], datetime], stopped: Callable[[], bool]) -> None:
        """Begin with none; `stopped` says whether the worker begins nothing any more."""
        self._clock = clock
        self.stopped = stopped
        self._halted: frozenset[Halt] = frozenset()

    def add(self, halted: Collection[Halt]) -> None:
        """Let these rollouts go no further. Called from one thread."""
        self._halted |= frozenset(halted)

    def refusal(self, batch: Batch) -> NotBegun:
        """Say why no client of a batch may be begun now; empty where one may."""
        if self.stopped() and not batch.finishes:
            return "stopped"
        return self.overdue(batch)

    def overdue(self, batch: Batch) -> NotBegun:
        """Say whether the time of a batch is over."""
        return "late" if batch.until is not None and self._clock() >= batch.until else ""

    def rest(self, steps: tuple[Step, ...], batch: Batch) -> tuple[Step, ...]:
        """Give the steps of a batch's client that are of no halted rollout."""
        halted, group = self._halted, batch.group
        if not halted or batch.finishes:
            return steps
        return tuple(
            step
            for step in steps
            if not any((step.component, step.to_version, scope) in halted for scope in ("", group))
        )
