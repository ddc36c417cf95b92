"""When releases may go out to clients: the auto-update policy in force for one group and component."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta
from datetime import time as clock_time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date, tzinfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EVERY_DAY = frozenset(range(7))
TRIGGERS = ("download", "schedule", "manual")
MIDNIGHT = clock_time()


@dataclass(frozen=True, slots=True)
class Schedule:
    """Times at which clients get what is new, each client at a moment of its own within `spread` of them.

    With `interval` they come that far apart, counted from midnight in UTC; without, at `at` of the `days` (0 is Monday)
    in `zone`.
    """

    interval: timedelta | None = None
    days: frozenset[int] = EVERY_DAY
    at: clock_time = MIDNIGHT
    spread: timedelta = timedelta(hours=1)
    zone: tzinfo = UTC


@dataclass(frozen=True, slots=True)
class Window:
    """A time of the day, on some days, in which clients may change. One that ends before it begins ends on the next."""

    start: clock_time
    end: clock_time
    days: frozenset[int] = EVERY_DAY
    zone: tzinfo = UTC


@dataclass(frozen=True, slots=True)
class Blackout:
    """Days, the last one included, on which no client changes."""

    first: date
    last: date
    reason: str
    zone: tzinfo = UTC


@dataclass(frozen=True, slots=True)
class AutoUpdate:
    """The policy. With `enabled` off, releases are downloaded and duplicated, and no client gets them."""

    enabled: bool = True
    trigger: str = "download"
    schedule: Schedule | None = None
    windows: tuple[Window, ...] = ()
    blackouts: tuple[Blackout, ...] = ()
