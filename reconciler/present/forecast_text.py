"""A forecast as a document, as text and as Markdown: a table of waves for each release, and when how many have it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from reconciler.model.forecast import Forecast, Point, Reach, ReleaseForecast, WaveForecast
from reconciler.present.fields import FORMAT_VERSION
from reconciler.present.forms import As, Form
from reconciler.present.look import PLAIN
from reconciler.present.markdown import safe
from reconciler.present.words import count_text, name_list, number_text, page, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

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
WAVE_HEAD = ("wave", "clients", "opens", "ends", "share")


def forecast_document(
    forecast: Forecast, base: Sequence[str] | None = None, before: Forecast | None = None
) -> dict[str, Any]:
    """Give the document of a forecast; `base` are the sentences that compare it with the one `before`."""
    document = {"format_version": FORMAT_VERSION, **_FORECAST.write(forecast)}
    if base is not None:
        document["base"] = list(base)
    if before is not None:
        document["base_releases"] = _FORECAST.write(before)["releases"]
    return document


def forecast_text(document: Entry, *, look: Look = PLAIN) -> str:
    """Render a forecast."""
    lines = [head(document)]
    for names, entry in alike(document["releases"]):
        lines += ["", f"{names}: {count_text(entry['clients'], 'client')}{' each' if ', ' in names else ''}"]
        if entry["waves"]:
            rows = [
                [f"  {cell}" if not at else cell for at, cell in enumerate(row)]
                for row in (WAVE_HEAD, *wave_rows(entry))
            ]
            lines += table(rows, right=frozenset({1, 4}), width=look.width)
        lines.append(f"  {reach_text(entry)}")
        if entry["never"]:
            lines.append(f"  never all: {entry['never']}")
    if "base" in document:
        lines += ["", "Against the base", *(f"  {sentence}" for sentence in document["base"] or SAME)]
    return page(lines, look.width)


SAME = ("nothing comes earlier or later",)


def forecast_markdown(document: Entry) -> str:
    """Render a forecast for a comment."""
    parts = [f"### {safe(head(document))}"]
    if "base" in document:
        parts.append("\n".join(f"- {safe(sentence)}" for sentence in document["base"] or SAME))
    for names, entry in alike(document["releases"]):
        parts.append(f"**{safe(names)}**: {count_text(entry['clients'], 'client')}; {safe(reach_text(entry))}")
        if entry["never"]:
            parts.append(f"never all: {safe(entry['never'])}")
        if entry["waves"]:
            lines: Iterable[Sequence[str]] = (WAVE_HEAD, ["---"] * len(WAVE_HEAD), *wave_rows(entry))
            parts.append("\n".join("| " + " | ".join(map(safe, line)) + " |" for line in lines))
    return "\n\n".join(parts) + "\n"


def head(document: Entry) -> str:
    """Give the first line of a forecast: of how many releases it is, how far it goes, and what it assumes."""
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


def alike(releases: Sequence[Entry], apart: Callable[[Entry], str] = lambda _entry: "") -> list[tuple[str, Entry]]:
    """Give each release that something else is said of, with the names of all of which the same is said.

    What isn't equal in `apart` stays apart. A command that one of them waits for names the COMPONENT then.
    """
    found: dict[tuple[str, str], list[Entry]] = {}
    for entry in releases:
        said = {**{key: entry[key] for key in ("clients", "waves", "reaches")}, "never": _of_any(entry)}
        found.setdefault((repr(said), apart(entry)), []).append(entry)
    return [
        (
            name_list([name_of(entry) for entry in entries]),
            entries[0] if len(entries) == 1 else {**entries[0], "never": _of_any(entries[0])},
        )
        for entries in found.values()
    ]


def _of_any(entry: Entry) -> str:
    """Say what keeps a release from the rest of its clients, as it is said of any other that waits for the same."""
    never: str = entry["never"]
    return re.sub(rf"(updoser rollout \w+ ){re.escape(entry['component'])}(?![\w-])", r"\1COMPONENT", never)


def name_of(entry: Entry) -> str:
    """Name a release, and the group that it is for where that isn't the whole fleet."""
    return f"{entry['component']} {entry['version']}" + (f" ({entry['group']})" if entry["group"] else "")


def wave_rows(entry: Entry) -> Iterator[tuple[str, ...]]:
    """Give rows (wave, clients, opens, ends, share) for the waves of a release."""
    for wave in entry["waves"]:
        never = "never" if entry["never"] and not wave["ends"] else "-"
        past = any(later["opens"] for later in entry["waves"][wave["wave"] :]) and not wave["opens"]
        opens, ends = (wave[key] or ("before" if past else never) for key in ("opens", "ends"))
        yield str(wave["wave"]), number_text(wave["clients"]), opens, ends, f"{wave['percent']} %"


def reach_text(entry: Entry) -> str:
    """Say when how many of its clients have a release."""
    shares = {
        reach["at"]: reach["percent"] for reach in entry["reaches"]
    }  # of those reached at once, the last says all
    return ", ".join(f"{percent} % {f'at {at}' if at else 'never'}" for at, percent in shares.items())
