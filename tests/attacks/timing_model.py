"""What a policy's timing means, told minute by minute: tables of what clocks on the wall show, and lists of moments.

It shares no reasoning with planner/timing.py: nothing is computed from a date and a zone but what `astimezone` says of
each minute. It is slow, and simple enough to be read as the rule.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from datetime import UTC, datetime, time, timedelta
from functools import cache, lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from datetime import tzinfo
    from random import Random

    from reconciler.model.policy import AutoUpdate, Schedule, Window

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
AROUND = timedelta(days=11)

ZONES = tuple(
    UTC if name == "UTC" else ZoneInfo(name)
    for name in (
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "America/St_Johns",
        "America/Santiago",  # midnight is left out
        "America/Havana",
        "Africa/Cairo",
        "Africa/Casablanca",
        "Asia/Beirut",
        "Asia/Kolkata",
        "Atlantic/Azores",
        "Australia/Lord_Howe",  # half an hour
        "Antarctica/Troll",  # two hours
        "Pacific/Chatham",
    )
)


@cache
def changes(zone: tzinfo, years: tuple[int, int] = (2026, 2027)) -> list[datetime]:
    """Give the hours in which a zone's clock changes; one day of each year where it never does."""
    first, last = (datetime(year, 1, 1, tzinfo=UTC) for year in (years[0], years[-1] + 1))
    hours = [first + timedelta(hours=hour) for hour in range((last - first) // timedelta(hours=1))]
    found = [
        hour
        for hour in hours
        if hour.astimezone(zone).utcoffset() != (hour + timedelta(hours=1)).astimezone(zone).utcoffset()
    ]
    return found or [datetime(year, 6, 1, 12, tzinfo=UTC) for year in years]


class Clocks:
    """What the clock of a zone showed so far, in every minute around a moment."""

    def __init__(self, zone: tzinfo, middle: datetime) -> None:
        self.begin = middle - AROUND
        self.local: list[datetime] = []
        self.shown: list[datetime] = []
        latest = datetime.min  # noqa: DTZ901  (the clock on the wall knows no zone)
        for minute in range(2 * AROUND // MINUTE):
            if minute % 15 == 0:  # no clock changes in between
                now = self.begin + minute * MINUTE
                local = now.astimezone(zone).replace(tzinfo=None)
            else:
                local += MINUTE
            latest = max(local, latest)
            self.local.append(local)
            self.shown.append(latest)

    def at(self, moment: datetime) -> datetime:
        """Give the latest time that the clock showed up to a moment: what it shows again counts once."""
        return self.shown[(moment - self.begin) // MINUTE]

    def moved(self, wanted: datetime) -> datetime:
        """Give the first moment of a time; one that is left out comes as late as if the clock hadn't changed."""
        minute = bisect_left(self.shown, wanted)
        if self.shown[minute] == wanted:
            return self.begin + minute * MINUTE
        return self.begin + (minute - 1) * MINUTE + (wanted - self.local[minute - 1])


clocks = lru_cache(maxsize=32)(Clocks)


def is_open(window: Window, shown: datetime) -> bool:
    """Say whether a window is open when the clock has shown so much."""
    for back in (0, 1):
        day = (shown - back * DAY).date()
        last = day if window.end > window.start else day + DAY
        begun = datetime.combine(day, window.start) <= shown
        if day.weekday() in window.days and begun and shown < datetime.combine(last, window.end):
            return True
    return False


def may_change(policy: AutoUpdate, moment: datetime, middle: datetime, *, expedited: bool = False) -> bool:
    """Say whether neither windows nor blackouts are in the way."""
    for blackout in policy.blackouts:
        if expedited and "expedite" in blackout.spares:
            continue
        if blackout.first <= clocks(blackout.zone, middle).at(moment).date() <= blackout.last:
            return False
    shown = [(window, clocks(window.zone, middle).at(moment)) for window in policy.windows]
    return expedited or not shown or any(is_open(window, at) for window, at in shown)


def drawn(name: str, start: datetime, schedule: Schedule, form: str) -> datetime:
    """Give a client's own moment of an occurrence."""
    minutes = max(schedule.spread // MINUTE, 1)
    return start + zlib.crc32(f"{name} {start:{form}}".encode()) % minutes * MINUTE


def is_due(schedule: Schedule, name: str, moment: datetime, known: datetime, middle: datetime) -> bool:
    """Say whether a client is due for what is known since a moment, going by all of its moments one by one."""
    if schedule.interval is not None:
        start = moment.replace(second=0)
        while (start - EPOCH) % schedule.interval:
            start -= MINUTE
        starts = [start - schedule.interval, start]
        return known <= max(
            own for own in (drawn(name, start, schedule, "%Y-%m-%dT%H:%M") for start in starts) if own <= moment
        )
    table = clocks(schedule.zone, middle)
    today = moment.astimezone(schedule.zone).date()
    starts = [
        table.moved(datetime.combine(day, schedule.at))
        for day in (today + back * DAY for back in range(-8, 2))
        if day.weekday() in schedule.days
    ]
    start = max(start for start in starts if start <= moment)
    return moment < start + schedule.spread and known <= drawn(name, start, schedule, "%Y-%m-%d") <= moment


# --- what is drawn ----------------------------------------------------------------------------------------------------


def clock_of(draw: Random, zone: tzinfo, middle: datetime) -> time:
    """Draw a time of the day, more often near a clock change than not."""
    if draw.random() < 0.6:
        near = middle.astimezone(zone) + draw.randrange(-100, 160) * MINUTE
        return near.time().replace(second=0, microsecond=0)
    return time(draw.randrange(24), draw.choice((0, 0, 30, draw.randrange(60))))


def days_of(draw: Random) -> frozenset[int]:
    """Draw days of the week."""
    return frozenset(range(7)) if draw.random() < 0.5 else frozenset(draw.sample(range(7), draw.randrange(1, 7)))


def interval_of(draw: Random) -> timedelta:
    """Draw an interval: round ones, and those that divide no day."""
    return draw.choice((1, 7, 15, 30, 50, 60, 240, 300, 420, 660, 1439, draw.randrange(1, 1440))) * MINUTE
