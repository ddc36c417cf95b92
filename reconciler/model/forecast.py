"""How far releases will be, and when, if nothing fails."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - the forms of documents ask for the types of fields

PERCENTS = (50, 95, 100)
"""The shares of its clients, in percent, of which a forecast says when a release has them."""


@dataclass(frozen=True, slots=True)
class WaveForecast:
    """A wave of so many clients: when it opens, and when it ends as its gate lets the release pass.

    None: never, or that was before the forecast. `percent` of the clients are in it and the waves before it.
    """

    wave: int
    clients: int
    percent: int
    opens: datetime | None = None
    ends: datetime | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """So many clients have a release, or a later one, from a moment on."""

    at: datetime
    clients: int


@dataclass(frozen=True, slots=True)
class Reach:
    """When so many percent of its clients have a release; None: never, as far as the forecast goes."""

    percent: int
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ReleaseForecast:
    """A release on its way to so many `clients`: all that should have it. `group` is empty for the whole fleet.

    `reaches` has the PERCENTS, `curve` every moment at which the number of clients with it grows. `never` says what
    keeps it from the rest of them; empty where all have it in the end.
    """

    component: str
    version: str
    group: str
    clients: int
    waves: tuple[WaveForecast, ...] = ()
    reaches: tuple[Reach, ...] = ()
    curve: tuple[Point, ...] = ()
    never: str = ""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What becomes of all releases from `created` until `until`, after which nothing more comes by the time alone.

    An apply is assumed whenever something is due, or `every` so many seconds. `within` are the seconds by which moments
    may be late, where a large fleet isn't looked at minute by minute. `cut` says why the forecast ends earlier.
    """

    created: datetime
    until: datetime
    every: int | None = None
    within: int = 0
    cut: str = ""
    releases: tuple[ReleaseForecast, ...] = ()
