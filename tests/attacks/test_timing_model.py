"""The policy's timing against a model of it that goes minute by minute: clock changes, odd intervals, odd dates."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest

from reconciler.model.policy import AutoUpdate, Blackout, Schedule, Window
from reconciler.model.rollout import position
from reconciler.planner.timing import due_test, judge
from tests.attacks.timing_model import (
    DAY,
    MINUTE,
    ZONES,
    changes,
    clock_of,
    days_of,
    interval_of,
    is_due,
    may_change,
)
from tests.draw import rounds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from random import Random
NAMES = [f"pc-{number}" for number in range(8)]
MOMENTS = 60


def moment_of(draw: Random, middle: datetime) -> datetime:
    return middle + draw.choice((draw.randrange(-300, 300), draw.randrange(-2880, 2880))) * MINUTE + second_of(draw)


def second_of(draw: Random) -> timedelta:
    return timedelta(seconds=draw.choice((0, draw.randrange(60))))


def windows_of(draw: Random, middle: datetime) -> Iterator[Window]:
    for zone in draw.sample(ZONES, draw.randrange(3)):
        start, end = (clock_of(draw, zone, draw.choice(changes(zone))) for _ in range(2))
        if start != end:
            yield Window(start, end, days_of(draw), zone)


def blackouts_of(draw: Random, middle: datetime) -> Iterator[Blackout]:
    if draw.random() < 0.4:
        first = (middle + draw.randrange(-2, 3) * DAY).date()
        last = draw.choice((first + draw.randrange(3) * DAY, date.max, date.max - DAY))
        spares = frozenset({"expedite"} if draw.random() < 0.5 else ())
        yield Blackout(
            draw.choice((first, date.min)) if last < date(3000, 1, 1) else first, last, "x", draw.choice(ZONES), spares
        )


def test_windows_and_blackouts_open_and_close_by_the_clock_on_the_wall(draw: Random) -> None:
    for _ in range(rounds(25)):
        middle = draw.choice(changes(draw.choice(ZONES)))
        policy = AutoUpdate(windows=tuple(windows_of(draw, middle)), blackouts=tuple(blackouts_of(draw, middle)))
        for now in [moment_of(draw, middle) for _ in range(MOMENTS)]:
            for expedited in (False, True):
                verdict = judge(policy, now, expedited=expedited)
                assert (verdict.word == "due") == may_change(policy, now, middle, expedited=expedited), (policy, now)
                assert verdict.word == "due" or verdict.reason


def test_what_a_plan_says_is_due_until_some_time_may_begin_in_every_minute_up_to_it(draw: Random) -> None:
    for _ in range(rounds(8)):
        middle = draw.choice(changes(draw.choice(ZONES)))
        policy = AutoUpdate(windows=tuple(windows_of(draw, middle)), blackouts=tuple(blackouts_of(draw, middle)))
        for now in [moment_of(draw, middle) for _ in range(20)]:
            verdict = judge(policy, now)
            end = min(verdict.not_after or now, now + DAY) if verdict.word == "due" else now
            while now < end:
                assert may_change(policy, now, middle), (policy, now)
                now += 5 * MINUTE  # noqa: PLW2901


@pytest.mark.parametrize("kind", ["daily", "interval"])
def test_each_client_is_due_at_its_own_moments_and_never_before(draw: Random, kind: str) -> None:
    for _ in range(rounds(25)):
        zone = draw.choice(ZONES)
        middle = draw.choice(changes(zone))
        if kind == "daily":
            spread = draw.choice((1, 60, 240, draw.randrange(1, 1441))) * MINUTE
            schedule = Schedule(None, days_of(draw), clock_of(draw, zone, middle), spread, zone)
        else:
            interval = interval_of(draw)
            spread = draw.choice((interval, draw.randrange(1, interval // MINUTE + 1) * MINUTE))
            schedule = Schedule(interval, spread=spread)
        policy = AutoUpdate(trigger="schedule", schedule=schedule)
        for now in [moment_of(draw, middle) for _ in range(MOMENTS)]:
            known = now - draw.choice((30 * DAY, draw.randrange(600) * MINUTE, -400 * DAY))
            verdict = judge(policy, now)
            test = due_test(schedule, now, known)
            for name in NAMES:
                said = verdict.word == "due" and test(position(name))
                assert said == is_due(schedule, name, now, min(known, now), middle), (schedule, name, now, known)
