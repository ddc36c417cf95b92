"""A forecast as a document, as text and as Markdown: a table of waves for each release, and when how many have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.model.forecast import Forecast, Point, Reach, ReleaseForecast, WaveForecast
from reconciler.present.fields import FORMAT_VERSION
from reconciler.present.forms import As, Form
from reconciler.present.look import PLAIN
from reconciler.present.markdown import safe
from reconciler.present.words import count_text, name_list, number_text, page, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from reconciler.present.look import Look

    Entry = Mapping[str, Any]

_FORECAST = Form(
    Forecast,
    releases=As(
        of=Form(
            ReleaseForecast,
            group=As(null=True),
            waves=As(of=Form(WaveForecast)),
            reaches=As(of=Form(Reach)),
            curve=As(of=Form(Point)),
        )
    ),
)
_HEAD = ("wave", "clients", "opens", "ends", "share")


def forecast_document(forecast: Forecast, base: Sequence[str] | None = None) -> dict[str, Any]:
    """Give the document of a forecast; `base` are the sentences that compare it with another one."""
    document = {"format_version": FORMAT_VERSION, **_FORECAST.write(forecast)}
    return document if base is None else {**document, "base": list(base)}


def forecast_text(document: Entry, *, look: Look = PLAIN) -> str:
    """Render a forecast."""
    lines = [_head(document)]
    for names, entry in _alike(document["releases"]):
        lines += ["", f"{names}: {count_text(entry['clients'], 'client')}{' each' if ', ' in names else ''}"]
        if entry["waves"]:
            rows = [[f"  {cell}" if not at else cell for at, cell in enumerate(row)] for row in (_HEAD, *_rows(entry))]
            lines += table(rows, right=frozenset({1, 4}), width=look.width)
        lines.append(f"  {_reaches(entry)}")
        if entry["never"]:
            lines.append(f"  never all: {entry['never']}")
    if "base" in document:
        lines += ["", "Against the base", *(f"  {sentence}" for sentence in document["base"] or _SAME)]
    return page(lines, look.width)


_SAME = ("nothing comes earlier or later",)


def forecast_markdown(document: Entry) -> str:
    """Render a forecast for a comment."""
    parts = [f"### {safe(_head(document))}"]
    if "base" in document:
        parts.append("\n".join(f"- {safe(sentence)}" for sentence in document["base"] or _SAME))
    for names, entry in _alike(document["releases"]):
        parts.append(f"**{safe(names)}**: {count_text(entry['clients'], 'client')}; {safe(_reaches(entry))}")
        if entry["never"]:
            parts.append(f"never all: {safe(entry['never'])}")
        if entry["waves"]:
            lines: Iterable[Sequence[str]] = (_HEAD, ["---"] * len(_HEAD), *_rows(entry))
            parts.append("\n".join("| " + " | ".join(map(safe, line)) + " |" for line in lines))
    return "\n\n".join(parts) + "\n"


def _head(document: Entry) -> str:
    every, within = document["every"], document["within"]
    often = f"an apply every {_minutes(every)}" if every else "an apply whenever something is due"
    exact = f", to within {_minutes(within)}" if within else ""
    if not document["releases"]:
        return "Forecast: nothing is on its way."
    releases = count_text(len(document["releases"]), "release")
    cut = f"; cut off: {document['cut']}" if document["cut"] else ""
    return f"Forecast: {releases} until {document['until']}, with {often}{exact}, if nothing fails{cut}"


def _minutes(seconds: int) -> str:
    return (
        f"{seconds // 3600} h" if seconds % 3600 == 0 else f"{seconds // 60} min" if seconds >= 60 else f"{seconds} s"
    )


def _alike(releases: Sequence[Entry]) -> list[tuple[str, Entry]]:
    """Give each release that something else is said of, with the names of all of which the same is said."""
    found: dict[str, list[Entry]] = {}
    for entry in releases:
        found.setdefault(repr([entry[key] for key in ("clients", "waves", "reaches", "never")]), []).append(entry)
    return [(name_list([_name(entry) for entry in entries]), entries[0]) for entries in found.values()]


def _name(entry: Entry) -> str:
    return f"{entry['component']} {entry['version']}" + (f" ({entry['group']})" if entry["group"] else "")


def _rows(entry: Entry) -> Iterator[tuple[str, ...]]:
    for wave in entry["waves"]:
        never = "never" if entry["never"] and not wave["ends"] else "-"
        past = any(later["opens"] for later in entry["waves"][wave["wave"] :]) and not wave["opens"]
        opens, ends = (wave[key] or ("before" if past else never) for key in ("opens", "ends"))
        yield str(wave["wave"]), number_text(wave["clients"]), opens, ends, f"{wave['percent']} %"


def _reaches(entry: Entry) -> str:
    shares = {
        reach["at"]: reach["percent"] for reach in entry["reaches"]
    }  # of those reached at once, the last says all
    return ", ".join(f"{percent} % {f'at {at}' if at else 'never'}" for at, percent in shares.items())
