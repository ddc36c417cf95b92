"""When a controller looks again: a decision about times, which reads no clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from reconciler.model.change import Fetch
    from reconciler.model.controller import ControllerSpec

FIRST_RETRY = timedelta(minutes=1)
LAST_RETRY = timedelta(minutes=30)
SHORTEST = timedelta(seconds=10)
"""However soon something is due: what was due and could not be done must not keep a controller busy."""


def next_look(spec: ControllerSpec, now: datetime, due: datetime | None, chance: float) -> datetime:
    """Give when to look after a round that went well: after an interval, or earlier where something is `due`.

    `chance` is a number from 0 to 1 that is drawn for each round.
    """
    usual = now + spec.interval * (1 + spec.jitter * (2 * chance - 1))
    if due is None or due <= now:
        return max(usual, now + SHORTEST)
    return max(min(usual, due), now + SHORTEST)


def next_retry(spec: ControllerSpec, now: datetime, failures: int, chance: float) -> datetime:
    """Give when to look after so many rounds in a row that failed: ever later, but never not at all."""
    return now + max(retry_pause(failures) * (1 + spec.jitter * (2 * chance - 1)), SHORTEST)


def retry_pause(failures: int) -> timedelta:
    """Give the time to wait after so many failures in a row: twice as long each time, up to the last."""
    return min(FIRST_RETRY * (1 << min(failures - 1, 16)), LAST_RETRY)


@dataclass
class Fetched:
    """What rounds had fetched: after something new the next one follows soon, as it can deploy that.

    What was fetched in the round before, too, isn't offered by its source now; it isn't asked for at once again.
    """

    before: frozenset[Fetch] = frozenset()

    def due(self, now: datetime, fetched: Collection[Fetch]) -> datetime | None:
        """Give when to look after a round that had these fetched; None: not before the usual time."""
        new, self.before = set(fetched) - self.before, frozenset(fetched)
        return now + SHORTEST if new else None


@dataclass
class Retry:
    """When something that fails by itself is tried again: ever later, and at once after it went well."""

    failures: int = 0
    at: datetime | None = None
    """When it is to be tried again; None: there is nothing to wait for."""

    def failed(self, now: datetime) -> None:
        """Take note that it failed once more."""
        self.failures += 1
        self.at = now + retry_pause(self.failures)

    def went_well(self) -> None:
        """Take note that it works."""
        self.failures, self.at = 0, None

    def waits(self, now: datetime) -> bool:
        """Say whether it is too early; a time that lies too far ahead is of a clock that was wrong."""
        return self.at is not None and now < self.at <= now + LAST_RETRY
