"""What a page shows of a forecast: for each release a time line with the share of clients that have it.

On the line stand the moments at which waves open, and those at which half, nearly all and all have the release. What is
never reached is hatched. With a base there are two lines. Moments are percent of the time that the forecast covers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from reconciler.present.forecast_text import SAME, WAVE_HEAD, alike, head, name_of, reach_text, wave_rows
from reconciler.present.html.pages import page
from reconciler.present.html.shapes import Line, Sheet, Sign
from reconciler.present.words import count_text, number_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reconciler.present.rollout_text import Entry

_CHARTS_OPEN = 6
_CHARTS = 60
_LISTED = 1_000
_POINTS = 200
_LEVELS = 3
_APART = 15.0
"""How far labels of one level stand apart, in percent of the width."""
_TICKS = 4
_SPANS = tuple(timedelta(hours=hours) for hours in (1, 2, 3, 6, 12, 24, 48, 96, 168, 336, 720))


class Label(NamedTuple):
    """A text at a place, in percent of the width; `level` is the line that it stands on, `anchor` where it begins."""

    at: float
    text: str
    level: int = 0
    anchor: str = "middle"


class Mark(NamedTuple):
    """A point of the line: when a share of the clients has a release; `height` is in percent, from the top."""

    at: float
    height: float
    text: str
    anchor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """The time line of a release. `line` and `base` are points in a space of 1000 by 100; `never` begins a hatching."""

    says: str
    line: str
    area: str
    base: str
    opens: Sequence[Label]
    marks: Sequence[Mark]
    ticks: Sequence[Label]
    never: tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A release, or several of which the same is said."""

    names: str
    clients: str
    never: str
    sign: Sign
    chart: Chart
    waves: Sheet | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastView:
    """All that a page shows of a forecast."""

    headline: str
    says: str
    created: str
    base: Sequence[str]
    compared: bool
    shown: Sequence[Release]
    folded: Sequence[Release]
    every: Sheet | None


def forecast_html(document: Entry) -> str:
    """Render a forecast as a page."""
    return page("forecast_report.html", view_of_forecast(document))


def view_of_forecast(document: Entry) -> ForecastView:
    """Give what a page shows of a forecast."""
    bases = {_key(entry): entry for entry in document.get("base_releases", ())}
    axis = _axis_of(document)
    releases = [
        _release(names, entry, bases.get(_key(entry)), axis)
        for names, entry in alike(document["releases"], apart=lambda entry: _line_of(bases.get(_key(entry))))[:_CHARTS]
    ]
    return ForecastView(
        headline=_headline(document["releases"]),
        says=head(document).removeprefix("Forecast: "),
        created=document["created"],
        base=list(document["base"] or SAME) if "base" in document else [],
        compared=bool(bases),
        shown=releases[:_CHARTS_OPEN],
        folded=releases[_CHARTS_OPEN:],
        every=_every(document["releases"]),
    )


def _key(entry: Entry) -> tuple[str, str, str]:
    return entry["component"], entry["version"], entry["group"] or ""


def _line_of(base: Entry | None) -> str:
    return repr(base and (base["clients"], base["curve"]))


def _headline(releases: Sequence[Entry]) -> str:
    if not releases:
        return "Nothing is on its way."
    never = sum(bool(entry["never"]) for entry in releases)
    if len(releases) == 1:
        return f"1 release is on its way{'; it never reaches all of its clients' if never else ''}."
    some = "1 never reaches all of its clients" if never == 1 else f"{number_text(never)} never reach all of theirs"
    return f"{count_text(len(releases), 'release')} are on their way{f'; {some}' if never else ''}."


def _every(releases: Sequence[Entry]) -> Sheet | None:
    if len(releases) < 2:
        return None
    lines = []
    for entry in releases[:_LISTED]:
        reached = [reach["at"] or "never" for reach in entry["reaches"]]
        lines.append(Line(cells=(name_of(entry), number_text(entry["clients"]), *reached, entry["never"])))
    shares = [f"{reach['percent']} %" for reach in releases[0]["reaches"]]
    more = len(releases) - _LISTED
    return Sheet(
        title="All releases",
        head=("release", "clients", *shares, "what never comes"),
        lines=lines,
        right=frozenset({1}),
        says=f"the first {number_text(_LISTED)}" if more > 0 else "when how many clients have each",
    )


def _release(names: str, entry: Entry, base: Entry | None, axis: _Axis) -> Release:
    rows = [Line(cells=row) for row in wave_rows(entry)]
    several = ", " in names or " and " in names
    return Release(
        names=names,
        clients=count_text(entry["clients"], "client") + (" each" if several else ""),
        never=entry["never"],
        sign=Sign("late", "ask", "never all"),
        chart=_chart(entry, base, axis),
        waves=Sheet(title="Waves", head=WAVE_HEAD, lines=rows, right=frozenset({1, 4})) if rows else None,
    )


# --- the time line ----------------------------------------------------------------------------------------------------


class _Axis(NamedTuple):
    begin: datetime
    end: datetime

    def at(self, moment: str) -> float:
        """Give the place of a moment, in percent."""
        share = (_moment(moment) - self.begin) / (self.end - self.begin)
        return round(min(max(share, 0.0), 1.0) * 100, 2)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _axis_of(document: Entry) -> _Axis:
    begin = _moment(document["created"])
    entries = [*document["releases"], *document.get("base_releases", ())]
    moments = [_moment(point["at"]) for entry in entries for point in entry["curve"]]
    moments += [_moment(wave["opens"]) for entry in entries for wave in entry["waves"] if wave["opens"]]
    last = max([*moments, begin])
    return _Axis(begin, last + max((last - begin) * 0.06, timedelta(hours=1)))


def _chart(entry: Entry, base: Entry | None, axis: _Axis) -> Chart:
    points = _points(entry, axis)
    line = _joined(points)
    return Chart(
        says=f"Share of clients with the release over time: {reach_text(entry)}",
        line=line,
        area=f"{line},1000,100,0,100",
        base=_joined(_points(base, axis)) if base else "",
        opens=_opens(entry, axis),
        marks=_marks(entry, axis),
        ticks=_ticks(axis),
        never=(points[-2][0] / 10, points[-1][1]) if entry["never"] and points[-1][1] else None,
    )


def _points(entry: Entry, axis: _Axis) -> list[tuple[float, float]]:
    """Give the corners of the line: it goes up at the moments at which more clients have the release."""
    clients = max(entry["clients"], 1)
    curve = entry["curve"][:: -(-len(entry["curve"]) // _POINTS) or 1]
    if entry["curve"] and curve[-1] is not entry["curve"][-1]:
        curve = [*curve, entry["curve"][-1]]
    found, level = [(0.0, 100.0)], 100.0
    for point in curve:
        at = axis.at(point["at"]) * 10
        found.append((at, level))
        level = round(100 - min(point["clients"] / clients, 1) * 100, 2)
        found.append((at, level))
    return [*found, (1000.0, level)]


def _joined(points: Iterable[tuple[float, float]]) -> str:
    return ",".join(f"{across:g},{down:g}" for across, down in points)


def _opens(entry: Entry, axis: _Axis) -> list[Label]:
    """Give a label for each moment at which waves open; those too near to each other are on several lines."""
    moments: dict[float, list[int]] = {}
    for wave in entry["waves"]:
        if wave["opens"]:
            moments.setdefault(axis.at(wave["opens"]), []).append(wave["wave"])
    ends = [-_APART] * _LEVELS
    found = []
    for at, waves in sorted(moments.items()):
        level = next((level for level, end in enumerate(ends) if at - end >= _APART), None)
        text = f"wave {waves[0]}" if len(waves) == 1 else f"waves {waves[0]}\u2013{waves[-1]}"
        if level is None:
            found.append(Label(at, ""))
            continue
        ends[level] = at
        found.append(Label(at, text, level, _anchor(at)))
    return found


def _marks(entry: Entry, axis: _Axis) -> list[Mark]:
    moments: dict[float, list[int]] = {}
    for reach in entry["reaches"]:
        if reach["at"]:
            moments.setdefault(axis.at(reach["at"]), []).append(reach["percent"])
    return [
        Mark(
            at,
            100.0 - shares[-1],
            f"{shares[0]} %" if len(shares) == 1 else f"{shares[0]}\u2013{shares[-1]} %",
            "end" if at > 75 else "start",
        )
        for at, shares in sorted(moments.items())
    ]


def _anchor(at: float) -> str:
    return "start" if at < 8 else "end" if at > 92 else "middle"


def _ticks(axis: _Axis) -> list[Label]:
    """Give round moments of the axis, in UTC."""
    length = axis.end - axis.begin
    span = next((span for span in _SPANS if length / span <= _TICKS), _SPANS[-1])
    zero = datetime(2024, 1, 1, tzinfo=UTC)
    moment = zero + span * -(-(axis.begin - zero) // span)
    found = [Label(0, "now", anchor="start")]
    while moment < axis.end and len(found) <= 2 * _TICKS:
        at = round((moment - axis.begin) / length * 100, 2)
        day = f"{moment.day} {moment:%b}"
        if 10 < at < 97:
            found.append(Label(at, day if span >= timedelta(days=1) else f"{day} {moment:%H:%M}", anchor=_anchor(at)))
        moment += span
    return found
