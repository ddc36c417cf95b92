"""When clients may change: at their own moment, in windows, not in blackouts; through clock changes and late runs."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.policy import AutoUpdate, Blackout, Schedule, Window
from reconciler.model.rollout import position
from reconciler.planner.timing import due_test, judge

BERLIN = ZoneInfo("Europe/Berlin")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
NAMES = [f"pc-{n}" for n in range(200)]


def scheduled(schedule: Any, **more: Any) -> Any:
    return AutoUpdate(trigger="schedule", schedule=schedule, **more)


def due(policy: Any, now: Any, names: Any = NAMES, known_at: Any = LONG_AGO) -> Any:
    """Give the clients that are due at a time."""
    verdict = judge(policy, now)
    if verdict.word != "due":
        return set()
    test = due_test(policy.schedule, now, known_at)
    return {name for name in names if test(position(name))}


START = datetime(2026, 1, 1, tzinfo=UTC)
moments = st.integers(0, 2 * 365 * 24 * 3600).map(lambda seconds: START + timedelta(seconds=seconds))
daily = st.builds(
    Schedule,
    st.none(),
    st.frozensets(st.integers(0, 6), min_size=1),
    st.times().map(lambda clock: clock.replace(microsecond=0)),
    st.integers(1, 24 * 60).map(lambda minutes: timedelta(minutes=minutes)),
    st.sampled_from([UTC, BERLIN, ZoneInfo("Australia/Lord_Howe"), ZoneInfo("America/St_Johns")]),
)
intervals = st.builds(
    lambda interval, share: Schedule(
        timedelta(minutes=interval), spread=timedelta(minutes=max(1, int(interval * share)))
    ),
    st.sampled_from([1, 15, 30, 60, 240, 420]),
    st.integers(1, 9),
)


@given(st.one_of(daily, intervals), moments)
@settings(max_examples=200, deadline=None)
def test_asked_twice_the_answer_is_the_same_and_who_is_due_stays_due_until_the_hours_are_over(
    schedule: Any, now: datetime
) -> None:
    policy = scheduled(schedule)
    first = due(policy, now)
    assert first == due(policy, now)
    verdict = judge(policy, now)
    later = now + timedelta(minutes=7)
    if schedule.interval is None and verdict.word == "due" and verdict.not_after and later < verdict.not_after:
        assert first <= due(policy, later)


@given(daily, moments)
@settings(max_examples=40, deadline=None)
def test_over_a_week_every_client_has_its_hours_however_late_the_runs_come(schedule: Any, start: datetime) -> None:
    policy = scheduled(schedule)
    pause = min(schedule.spread, timedelta(hours=1)) / 2
    now, seen = start, set()  # type: ignore[var-annotated]
    while now < start + timedelta(days=9) and len(seen) < 20:
        verdict = judge(policy, now)
        # A run in the last minute of the hours has all clients that are on.
        if verdict.word == "due":
            seen |= due(policy, verdict.not_after - timedelta(seconds=1), NAMES[:20])
        now += pause
    assert seen == set(NAMES[:20])


def test_no_stampede_clients_are_spread_over_the_hours_and_otherwise_the_next_day() -> None:
    policy = scheduled(Schedule(at=time(1), spread=timedelta(hours=4)))
    at = datetime(2026, 11, 24, 1, tzinfo=UTC)
    counts = [len(due(policy, at + timedelta(minutes=minutes))) for minutes in (0, 60, 120, 180, 239)]
    assert counts == sorted(counts)
    assert counts[0] < 10
    assert 70 < counts[2] < 130
    assert counts[4] == 200
    today, tomorrow = (due(policy, at + timedelta(days=days, hours=1)) for days in (0, 1))
    assert today != tomorrow
    assert due(policy, at + timedelta(hours=4)) == set()


def test_a_release_that_comes_in_the_middle_of_the_hours_sets_off_only_those_whose_moment_is_still_to_come() -> None:
    policy = scheduled(Schedule(at=time(1), spread=timedelta(hours=4)))
    noon = datetime(2026, 11, 24, 3, tzinfo=UTC)
    before = due(policy, noon)
    assert len(before) > 50
    assert due(policy, noon, known_at=noon) <= before
    assert len(due(policy, noon, known_at=noon)) < 5
    end = datetime(2026, 11, 24, 4, 59, tzinfo=UTC)
    assert due(policy, end, known_at=noon) >= set(NAMES) - before


@pytest.mark.parametrize("day", [date(2026, 3, 29), date(2026, 10, 25), date(2026, 2, 28), date(2026, 12, 31)])
def test_on_days_of_clock_changes_and_at_the_ends_of_months_each_client_is_due_once(day: date) -> None:
    policy = scheduled(Schedule(at=time(2, 30), spread=timedelta(hours=1), zone=BERLIN))
    begin = datetime.combine(day, time(), BERLIN).astimezone(UTC)
    spans = []
    for minute in range(24 * 60):
        now = begin + timedelta(minutes=minute)
        if judge(policy, now).word == "due":
            spans.append(now)
    assert len(spans) == 60
    assert spans[-1] - spans[0] == timedelta(minutes=59)
    assert due(policy, spans[-1]) == set(NAMES)


def test_in_an_interval_whoever_missed_its_moment_is_due_until_the_next() -> None:
    policy = scheduled(Schedule(timedelta(hours=4), spread=timedelta(hours=4)))
    for minutes in range(0, 24 * 60, 37):
        assert due(policy, datetime(2026, 11, 24, tzinfo=UTC) + timedelta(minutes=minutes)) == set(NAMES)
    fresh = datetime(2026, 11, 24, 8, 30, tzinfo=UTC)
    assert len(due(policy, fresh + timedelta(hours=1), known_at=fresh)) in range(30, 70)
    assert due(policy, fresh + timedelta(hours=8), known_at=fresh) == set(NAMES)


WINDOWS = (Window(time(22), time(4), frozenset({0}), BERLIN), Window(time(12), time(13), frozenset({2}), BERLIN))


@pytest.mark.parametrize(
    ("now", "word"),
    [
        ("2026-11-23T20:59:00", "deferred"),  # Monday, in Berlin 21:59
        ("2026-11-23T21:00:00", "due"),
        ("2026-11-24T02:59:00", "due"),
        ("2026-11-24T03:00:00", "deferred"),
        ("2026-11-25T11:30:00", "due"),
        ("2026-11-25T12:00:00", "deferred"),
    ],
)
def test_a_window_opens_and_closes_in_its_own_zone(now: str, word: str) -> None:
    verdict = judge(AutoUpdate(windows=WINDOWS), datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert verdict.word == word


@pytest.mark.parametrize(
    ("window", "now", "word"),
    [
        (Window(time(2, 30), time(6), zone=BERLIN), "00:59", "deferred"),  # UTC; 02:00 is left out at 01:00
        (Window(time(2, 30), time(6), zone=BERLIN), "01:00", "due"),
        (Window(time(0), time(2, 30), zone=BERLIN), "00:59", "due"),
        (Window(time(0), time(2, 30), zone=BERLIN), "01:00", "deferred"),
        (Window(time(2, 10), time(2, 50), zone=BERLIN), "01:10", "deferred"),
    ],
)
def test_a_window_goes_by_the_clock_on_the_wall_when_an_hour_is_left_out(window: Any, now: str, word: str) -> None:
    moment = datetime.fromisoformat(f"2026-03-29T{now}:00+00:00")
    verdict = judge(AutoUpdate(windows=(window,)), moment)
    assert verdict.word == word


def test_what_is_due_says_until_when_it_may_begin() -> None:
    now = datetime(2026, 11, 23, 22, tzinfo=UTC)
    assert judge(AutoUpdate(windows=WINDOWS), now).not_after == datetime(2026, 11, 24, 3, tzinfo=UTC)
    blackout = Blackout(date(2026, 11, 24), date(2026, 11, 25), "freeze", BERLIN)
    assert judge(AutoUpdate(windows=WINDOWS, blackouts=(blackout,)), now).not_after == datetime(
        2026, 11, 23, 23, tzinfo=UTC
    )
    assert judge(AutoUpdate(), now).not_after is None


@given(moments, st.booleans(), st.booleans())
@settings(max_examples=100, deadline=None)
def test_a_verdict_that_is_not_due_has_a_reason(now: datetime, forced: bool, limited: bool) -> None:
    for policy in (
        AutoUpdate(enabled=False),
        AutoUpdate(trigger="manual"),
        AutoUpdate(windows=WINDOWS),
        scheduled(Schedule(at=time(1), days=frozenset({3}))),
    ):
        verdict = judge(policy, now, forced=forced, limited=limited)
        assert verdict.word == "due" or verdict.reason
