"""Whether a client may change now, and if not, until when: from the policy, the time and the client's name alone.

The first rule that fits; with `expedited`, rules 3 to 5 don't:

1. `enabled: false`: held.
2. On a day of a blackout: deferred until it is over, but for what the blackout spares.
3. Outside of all windows, where there are some: deferred until the next one opens.
4. `trigger: manual`: held, unless the update is forced or the plan is for some clients only. `trigger: seen` without a
   schedule: the same, but who came back, or is new, is due for what was known by then.
5. `trigger: schedule`, and `seen` with one, unless forced: with `seen` who came back is due as in 4, at whatever hour.
   Of the others a client is due from its own moment of the current occurrence on, until the
   occurrence is over, and only with what was known before that moment. So a release that comes later doesn't set all of
   those off at once whose moment is past, and a client that was offline catches up in the same hours.
6. Otherwise it is due.

A client's moment is drawn from its name and the day of the occurrence: the same in every run, another one each day.
Occurrences of an interval are so far apart, counted from the epoch (1970-01-01 in UTC): an interval that doesn't divide
a day doesn't begin anew at midnight, where moments of two occurrences would meet.

Clock changes: a schedule's time that one leaves out is moved by as much as the clock. Windows and blackouts go by what
the clock on the wall shows: one that begins or ends at a time that is left out does so at the change, and a window that
lies wholly in the hour that is left out doesn't open on that day. What comes twice counts once, the first time.

Example: every day at 01:00 with a spread of 4h in Europe/Berlin. Client pc-1 draws 02:17 today. A plan at 03:00 has it,
one at 02:00 or 05:30 defers it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from reconciler.model.policy import EVERY_DAY
from reconciler.model.rollout import with_word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import date, time, tzinfo

    from reconciler.model.policy import AutoUpdate, Blackout, Schedule, Window

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EVER = datetime.max.replace(tzinfo=UTC)
_AHEAD = 15
"""Days in which any window opens: once a week, and a clock change may leave it out once."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a policy says at a time. `word` is `due`, `held` or `deferred`; the others have a `reason`.

    `not_after` is the end of the time in which what is due may begin. With `schedule` each client is asked by itself
    (`due_test`); `reason` then is for those that aren't due. `off`: nothing goes out at all. `early`: what is deferred
    is sent before its time, and not switched to. `opens` is when what is deferred for all clients may be due. With
    `seen` each client is asked whether it came back since it is known what it lacks; the others are `otherwise`.
    """

    word: Literal["due", "held", "deferred"]
    reason: str = ""
    not_after: datetime | None = None
    schedule: Schedule | None = None
    off: bool = False
    early: bool = False
    opens: datetime | None = None
    seen: bool = False
    otherwise: Literal["held", "deferred"] = "deferred"


def judge(
    policy: AutoUpdate, now: datetime, *, forced: bool = False, limited: bool = False, expedited: bool = False
) -> Verdict:
    """Apply the rules to what all clients of a policy have in common; see the module's docstring.

    `forced` passes over triggers, `limited` says that the plan is for some clients only, `expedited` that somebody is
    in a hurry.
    """
    if not policy.enabled:
        return Verdict("held", "auto_update is off", off=True)
    return replace(_judge(policy, now, forced, limited, expedited), early=policy.early)


def _judge(policy: AutoUpdate, now: datetime, forced: bool, limited: bool, expedited: bool) -> Verdict:
    blackouts = [entry for entry in policy.blackouts if not (expedited and "expedite" in entry.spares)]
    blackout = next((entry for entry in blackouts if _begin(entry) <= now < _over(entry)), None)
    if blackout is not None:
        over = _over(blackout)
        reason = f"blackout until {blackout.last.isoformat()}: {blackout.reason}"
        return Verdict("deferred", reason, opens=over if over < _EVER else None)
    ends = [_begin(entry) for entry in blackouts if _begin(entry) > now]
    if expedited:
        return Verdict("due", not_after=min(ends, default=None))
    if policy.windows:
        spans = (span for window in policy.windows for span in _openings(window, now))
        closes = max((end for start, end in spans if start <= now < end), default=None)
        if closes is None:
            opens, window = _next_opening(policy.windows, now)
            shown = f"{opens.astimezone(window.zone):%Y-%m-%d %H:%M} {window.zone}"
            return Verdict("deferred", f"window: opens {shown}", opens=opens)
        ends.append(closes)
    if policy.trigger == "manual" and not (forced or limited):
        return Verdict("held", "trigger is manual: --force-update, or --limit for some clients")
    seen = policy.trigger == "seen"
    if policy.trigger in {"schedule", "seen"} and policy.schedule is not None and not forced:
        scheduled = _scheduled(policy.schedule, now, ends)
        return replace(scheduled, word="due", not_after=_first(scheduled, ends), seen=True) if seen else scheduled
    if seen and not (forced or limited):
        why = "trigger is seen: when it comes back; --force-update, or --limit for some clients"
        return Verdict("due", why, min(ends, default=None), seen=True, otherwise="held")
    return Verdict("due", not_after=min(ends, default=None))


def _first(scheduled: Verdict, ends: list[datetime]) -> datetime | None:
    """Give the end of the time in which who came back may begin: in the hours of a schedule it is that of all."""
    return scheduled.not_after if scheduled.word == "due" else min(ends, default=None)


def _scheduled(schedule: Schedule, now: datetime, ends: list[datetime]) -> Verdict:
    start = _occurrence(schedule, now)
    if schedule.interval is not None:
        reason = f"schedule: every {_span(schedule.interval)}, each client at its own minute"
        return Verdict("due", reason, min(ends, default=None), schedule)
    over = start + schedule.spread if start is not None else None
    if over is None or now >= over:
        opens = _next_occurrence(schedule, now)
        reason = f"schedule: {_shown(opens, schedule)}, each client within {_span(schedule.spread)}"
        return Verdict("deferred", reason, opens=opens)
    assert start is not None
    reason = f"schedule: since {_shown(start, schedule)}, each client within {_span(schedule.spread)}"
    return Verdict("due", reason, min([*ends, over]), schedule)


def back_test(back: Mapping[str, datetime], known_at: datetime) -> Callable[[str], bool]:
    """Give what says of a client, by its name, whether it came back since a release was known."""
    return lambda name: (at := back.get(name)) is not None and at >= known_at


def due_test(schedule: Schedule, now: datetime, known_at: datetime) -> Callable[[int], bool]:
    """Give what says of a client, by its place (`model.rollout.position`), whether it is due for a release.

    The release was known since `known_at`. A client's minute is another on each day: it follows from its name and the
    day, of which its place knows enough.
    """
    start = _occurrence(schedule, now)
    assert start is not None
    minutes = max(int(schedule.spread.total_seconds() // 60), 1)
    passed = (now - start).total_seconds() / 60
    known = (min(known_at, now) - start).total_seconds() / 60
    day = _word(start.date().isoformat())
    if schedule.interval is None:
        return lambda place: known <= with_word(place, day) % minutes <= passed
    length = schedule.interval.total_seconds() / 60
    before = _word(f"{start - schedule.interval:%Y-%m-%dT%H:%M}")
    this = _word(f"{start:%Y-%m-%dT%H:%M}")

    def in_interval(place: int) -> bool:
        moment: float = with_word(place, this) % minutes
        if moment > passed:  # its moment of the interval before is the last one
            moment = with_word(place, before) % minutes - length
        return known <= moment

    return in_interval


def _word(day: str) -> bytes:
    return f" {day}".encode()


def next_turn(schedule: Schedule, now: datetime, places: Iterable[int]) -> datetime | None:
    """Give the first moment after now at which one of some clients is due, by their places; None where there are none.

    A release that is known by now is no older than that moment, so it has been known for long enough.
    """
    minutes = max(int(schedule.spread.total_seconds() // 60), 1)
    start = _occurrence(schedule, now)
    form = "%Y-%m-%dT%H:%M" if schedule.interval else "%Y-%m-%d"
    passed = (now - start).total_seconds() / 60 if start is not None else 0.0
    listed = list(places)
    if start is not None and passed < minutes:
        day = _word(start.strftime(form))
        left = (moment for place in listed if (moment := with_word(place, day) % minutes) > passed)
        first = min(left, default=None)
        if first is not None:
            return start + timedelta(minutes=first)
    following = start + schedule.interval if start and schedule.interval else _next_occurrence(schedule, now)
    day = _word(following.strftime(form))
    first = min((with_word(place, day) % minutes for place in listed), default=None)
    return None if first is None else following + timedelta(minutes=first)


def _occurrence(schedule: Schedule, now: datetime) -> datetime | None:
    """Give the start of the last occurrence up to now; None where there was none in the last days."""
    if schedule.interval is not None:
        return _EPOCH + (now - _EPOCH) // schedule.interval * schedule.interval
    return next((start for start in _starts(schedule, now, range(1, -9, -1)) if start <= now), None)


def _next_occurrence(schedule: Schedule, now: datetime) -> datetime:
    return next(start for start in _starts(schedule, now, range(-1, 9)) if start > now)


def _starts(schedule: Schedule, now: datetime, days: range) -> Iterator[datetime]:
    """Give the starts of occurrences on these days, counted from today, in their order."""
    today = now.astimezone(schedule.zone).date()
    for offset in days:
        day = today + offset * _DAY
        if day.weekday() in schedule.days:
            yield datetime.combine(day, schedule.at, schedule.zone).astimezone(UTC)


def _openings(window: Window, now: datetime, ahead: int = 1) -> Iterator[tuple[datetime, datetime]]:
    """Give begin and end of a window's openings from yesterday on."""
    today = now.astimezone(window.zone).date()
    for offset in range(-1, ahead + 1):
        day = today + offset * _DAY
        if day.weekday() in (window.days or EVERY_DAY):
            last = day if window.end > window.start else day + _DAY
            start, end = _shows(day, window.start, window.zone), _shows(last, window.end, window.zone)
            if start < end:
                yield start, end


def _next_opening(windows: tuple[Window, ...], now: datetime) -> tuple[datetime, Window]:
    found = [(start, window) for window in windows for start, _end in _openings(window, now, _AHEAD) if start > now]
    return min(found, key=lambda entry: entry[0])


def _begin(blackout: Blackout) -> datetime:
    return _shows(blackout.first, datetime.min.time(), blackout.zone)


def _over(blackout: Blackout) -> datetime:
    if blackout.last == _EVER.date():
        return _EVER
    return _shows(blackout.last + _DAY, datetime.min.time(), blackout.zone)


def _shows(day: date, clock: time, zone: tzinfo) -> datetime:
    """Give when the clock on the wall first shows a time or, where a clock change leaves that out, a later one."""
    wanted = datetime.combine(day, clock)
    try:
        late = wanted.replace(tzinfo=zone).astimezone(UTC)
    except OverflowError:  # at an end of the calendar
        return wanted.replace(tzinfo=UTC)
    if late.astimezone(zone).replace(tzinfo=None) == wanted:
        return late
    early = wanted.replace(tzinfo=zone, fold=1).astimezone(UTC)  # by the clock after the change: still before it
    while late - early > _SECOND:
        middle = early + (late - early) // _SECOND // 2 * _SECOND
        if middle.astimezone(zone).replace(tzinfo=None) < wanted:
            early = middle
        else:
            late = middle
    return late


def _shown(moment: datetime, schedule: Schedule) -> str:
    return f"{moment.astimezone(schedule.zone):%Y-%m-%d %H:%M} {schedule.zone}"


def _span(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    return f"{minutes // 60}h" if minutes % 60 == 0 and minutes else f"{minutes}m"
