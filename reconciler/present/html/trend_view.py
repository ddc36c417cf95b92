"""How far a fleet or component was over the last days, as a chart that a table says in figures, too.

A point is the worst that was seen in its part of the time: a spike of an hour is there however long the time is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, Protocol

from reconciler.present.words import number_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

DAYS = 30
_POINTS = 120
_STEPS: tuple[float, ...] = (1, 2, 3, 4, 5, 6, 8, 10)


class Sampled(Protocol):
    """How many clients were how far at a time."""

    @property
    def at(self) -> datetime:
        """When."""

    @property
    def updated(self) -> int:
        """How many had what they should have."""

    @property
    def outdated(self) -> int:
        """How many lacked something."""

    @property
    def unknown(self) -> int:
        """Of how many nothing was known."""


class Tick(NamedTuple):
    """A mark of an axis: where it is, in percent, and what stands there."""

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """Lines through points in percent of width and height; `rows` are a day each: day, updated, outdated, unknown."""

    outdated: str
    area: str
    unknown: str
    levels: Sequence[Tick]
    days: Sequence[Tick]
    rows: Sequence[tuple[str, str, str, str]]
    says: str


def trend_of(samples: Iterable[Sampled], now: datetime, days: int = DAYS) -> Trend | None:
    """Give the trend of the last days; None where there are fewer than two samples of them."""
    since = now - timedelta(days=days)
    found = sorted((one for one in samples if since <= one.at <= now), key=lambda one: one.at)
    if len(found) < 2:
        return None
    span = (now - since).total_seconds()
    worst: dict[int, tuple[float, int, int]] = {}
    for one in found:
        place = (one.at - since).total_seconds() / span * 100
        part = int(place * _POINTS / 100)
        _at, outdated, unknown = worst.get(part, (place, 0, 0))
        worst[part] = place, max(one.outdated, outdated), max(one.unknown, unknown)
    points = list(worst.values())
    top = _top(max(max(outdated, unknown) for _at, outdated, unknown in points))
    first, last = points[0][0], points[-1][0]

    def _line_of(values: Iterable[tuple[float, int]]) -> str:
        return " ".join(f"{at:.2f},{100 - value / top * 100:.2f}" for at, value in values)

    line = _line_of((at, outdated) for at, outdated, _unknown in points)
    return Trend(
        outdated=line,
        area=f"{first:.2f},100 {line} {last:.2f},100",
        unknown=_line_of((at, unknown) for at, _outdated, unknown in points),
        levels=[Tick(100 - share * 100, number_text(round(top * share))) for share in (0.0, 0.5, 1.0)],
        days=[Tick(share * 100, f"{since + timedelta(days=days * share):%d %b}") for share in (0.0, 0.5, 1.0)],
        rows=_rows(found),
        says=_says(found),
    )


def _top(most: int) -> int:
    """Give a round number that is no less, and no less than 2, so that there is a middle."""
    size = 10 ** (len(str(max(most, 1))) - 1)
    return max(int(next(step for step in _STEPS if step * size >= most) * size), 2)


def _rows(found: Sequence[Sampled]) -> list[tuple[str, str, str, str]]:
    """Give the last sample of each day, the newest first."""
    by_day = {f"{one.at:%Y-%m-%d}": one for one in found}
    return [
        (day, number_text(one.updated), number_text(one.outdated), number_text(one.unknown))
        for day, one in reversed(by_day.items())
    ]


def _says(found: Sequence[Sampled]) -> str:
    first, last = found[0].outdated, found[-1].outdated
    highest = max(found, key=lambda one: one.outdated)
    return (
        f"From {number_text(first)} to {number_text(last)} outdated clients; "
        f"the most were {number_text(highest.outdated)} on {highest.at:%Y-%m-%d}."
    )
