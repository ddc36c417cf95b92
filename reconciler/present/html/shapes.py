"""What pages are made of, whatever they show: signs, bars, tables, alerts and the waves of rollouts.

A tone says the same as the word or figure beside it: nothing is told by a colour alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from reconciler.present.folding import ALIKE
from reconciler.present.rollout_text import STOPPED, WHOLE_FLEET, halted, standing_rows, where_text
from reconciler.present.words import count_text, number_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reconciler.present.rollout_text import Entry
    from reconciler.present.trouble import Told

Tone = Literal["good", "late", "bad", "ahead", "idle", "pending", "rest"]
NAMES_SHOWN = 1_000
"""How many names stand in a page for one change, where clients are named."""
WAYS_SHOWN = 4
"""How many rollouts are shown with their waves; a page with more has a table."""
_THINNEST = 1.5
_GAP = 0.6


class Sign(NamedTuple):
    """A word with an icon."""

    tone: Tone
    icon: str
    text: str


MARKS: dict[str, Sign] = {
    "+": Sign("good", "plus", "new"),
    "~": Sign("ahead", "update", "update"),
    "<": Sign("late", "back", "goes back"),
    "-": Sign("idle", "minus", "goes"),
    "*": Sign("ahead", "ask", "asked"),
    ">": Sign("ahead", "play", "moves on"),
    "=": Sign("idle", "wait", "waits"),
    "!": Sign("bad", "alert", "stopped"),
    "?": Sign("late", "ask", "not known"),
}
"""What the marks of rows mean; see `kinds`."""


class Fact(NamedTuple):
    """A figure, what it counts, and where the list of that is."""

    value: str
    label: str
    tone: Tone = "idle"
    link: str = ""


class Button(NamedTuple):
    """What somebody may do about something: a page that asks first. `main`: it is what is waited for."""

    text: str
    link: str
    main: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What needs somebody: what it is, why, and what to do. `examples` are some of many that are alike.

    `link` is where more of it is shown.
    """

    tone: Tone
    icon: str
    title: str
    why: str = ""
    todo: str = ""
    examples: Sequence[str] = ()
    buttons: Sequence[Button] = ()
    link: str = ""


class Segment(NamedTuple):
    """A part of a bar, in percent of its width."""

    tone: Tone
    start: float
    width: float


def bar(parts: Iterable[tuple[Tone, int]]) -> list[Segment]:
    """Give the segments of a bar with gaps between them; what is more than nothing can be seen."""
    shown = [(tone, number) for tone, number in parts if number > 0]
    whole = sum(number for _tone, number in shown)
    widths = [max(number * 100 / whole, _THINNEST) for _tone, number in shown]
    room = 100 - _GAP * max(len(shown) - 1, 0)
    scale = room / sum(widths) if widths else 0
    found, start = [], 0.0
    for (tone, _number), width in zip(shown, widths, strict=True):
        found.append(Segment(tone, round(start, 2), round(width * scale, 2)))
        start += width * scale + _GAP
    return found


def rate_text(part: int, whole: int) -> str:
    """Write a share; what isn't all is never written as all, nor what is more than nothing as nothing."""
    if not whole or part == whole:
        return "100 %"
    percent = min(max(round(part * 1000 / whole) / 10, 0.1), 99.9) if part else 0
    return f"{percent:g} %"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A row of a table; `sign` is its mark.

    `names` are the releases that it stands for, `clients` those it is about, by what sets them apart.
    """

    cells: Sequence[str]
    sign: Sign | None = None
    names: Sequence[str] = ()
    clients: Sequence[tuple[str, Sequence[str]]] = ()
    bar: Sequence[Segment] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A table with a title; the columns of `right` are numbers. `says` stands between the title and the rows."""

    title: str
    head: Sequence[str]
    lines: Sequence[Line]
    right: frozenset[int] = frozenset()
    says: str = ""

    @property
    def columns(self) -> list[int]:
        """The columns that have something in them, and the first."""
        return [at for at in range(len(self.head)) if not at or any(line.cells[at] for line in self.lines)]


def some(names: Sequence[str], most: int = NAMES_SHOWN) -> list[str]:
    """Give the first of some names, and how many more there are."""
    more = len(names) - most
    return [*names[:most], *([f"and {number_text(more)} more"] if more > 0 else [])]


# --- rollouts ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """A wave of a rollout: `state` is `passed`, `open` or `ahead`."""

    title: str
    clients: str
    says: str
    state: Literal["passed", "open", "ahead"]
    sign: Sign


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A rollout's way through the fleet, or that of several which are alike: `names` are their releases then.

    Where it has a page of its own, `link` is that, `at` is when it began, and `bar` shows how far its open wave is.
    """

    component: str
    version: str
    where: str
    since: str
    sign: Sign
    waves: Sequence[Wave]
    names: Sequence[str] = ()
    link: str = ""
    at: str = ""
    bar: Sequence[Segment] = ()


STATUS_SIGNS: dict[str, Sign] = {
    "running": Sign("ahead", "play", "running"),
    "paused": Sign("late", "pause", "paused"),
    "stalled": Sign("late", "alert", "stalled"),
    "halted": Sign("bad", "alert", "halted"),
    "aborted": Sign("bad", "cross", "aborted"),
    "superseded": Sign("idle", "minus", "superseded"),
    "done": Sign("good", "check", "done"),
}


def status_sign(entry: Entry) -> Sign:
    """Give the sign of where a rollout is."""
    if entry.get("stuck"):
        return Sign("bad", "alert", "stuck")
    if entry.get("awaits_approval"):
        return Sign("late", "ask", "waits for approval")
    return STATUS_SIGNS[entry["status"]]


def halts(rollouts: Iterable[Entry]) -> list[Alert]:
    """Give an alert for each rollout that nobody should overlook."""
    return [
        Alert(tone="bad", icon="alert", title=stop.title, why=stop.why, todo=stop.todo) for stop in halted(rollouts)
    ]


def troubles(told: Iterable[Told]) -> list[Alert]:
    """Give an alert for each reason of troubles, with how many have it, and some of them."""
    found = []
    for each in told:
        of = f" of {each.groups}" if each.groups else ""
        examples = [f"{who}: {said}" if said else who for who, said in each.examples]
        more = [f"and {number_text(each.more)} more"] if each.more > 0 else []
        title = f"{each.label}: {each.how_many}{of}"
        found.append(Alert(tone="late", icon="warn", title=title, todo=each.todo, examples=[*examples, *more]))
    return found


def way_of(entry: Entry) -> Way:
    """Give the way of a rollout; why it stands still stands elsewhere, and isn't repeated."""
    sign, sizes = status_sign(entry), entry.get("sizes") or []
    waves = []
    for number in range(1, entry["waves"] + 1):
        state: Literal["passed", "open", "ahead"] = (
            "passed"
            if number < entry["wave"] or entry["status"] == "done"
            else "open"
            if number == entry["wave"]
            else "ahead"
        )
        waves.append(
            Wave(
                title=f"{number}{_who(entry, number)}",
                clients=count_text(sizes[number - 1], "client") if sizes else "",
                says=_says(entry, state),
                state=state,
                sign={"passed": Sign("good", "check", "passed"), "open": sign}.get(
                    state, Sign("idle", "dots", "not yet")
                ),
            )
        )
    return Way(
        component=entry["component"],
        version=entry["version"],
        where=entry["group"] or WHOLE_FLEET,
        since=f"since {entry['started']}" if not entry.get("new") else "new",
        sign=sign,
        waves=waves,
    )


def ways_of(rollouts: Sequence[Entry]) -> tuple[list[Way], Sheet | None]:
    """Give the ways of some rollouts; where they are too many, those that stand still, and a table of all."""
    found: dict[tuple[str, ...], list[Entry]] = {}
    for entry in rollouts:
        key = (str(entry[part]) for part in ("status", "stuck", "wave", "waves", "says", "group", "counts"))
        found.setdefault(tuple(key), []).append(entry)
    each = [[one] for same in found.values() if len(same) < ALIKE for one in same]
    alike = [same for same in found.values() if len(same) >= ALIKE]
    rows = [*alike, *each]
    if len(rows) <= WAYS_SHOWN:
        return [shared_way(same) for same in rows], None
    stopped = [same for same in rows if same[0]["status"] in STOPPED or same[0]["stuck"]]
    lines = [Line(cells=row[1:], sign=MARKS[row[0]]) for row in standing_rows(rollouts)]
    head = ("component", "version", "group", "since", "where it is")
    return [shared_way(same) for same in stopped[:WAYS_SHOWN]], Sheet(title="All rollouts", head=head, lines=lines)


def shared_way(entries: Sequence[Entry]) -> Way:
    """Give the way of rollouts that are alike, with what holds for all of them."""
    entry = entries[0]
    if len(entries) == 1:
        return way_of(entry)
    same = len({str(one.get("sizes")) for one in entries}) == 1
    way = way_of(entry if same else {**entry, "sizes": []})
    names = [f"{one['component']} {one['version']}" for one in entries]
    return replace(way, component=count_text(len(entries), "rollout"), version="", names=some(names))


def _says(entry: Entry, state: str) -> str:
    if state == "passed":
        return "passed"
    if state == "ahead":
        return "not yet"
    if entry["status"] in STOPPED:
        return str(entry["status"])
    text, place = where_text(entry), f"wave {entry['wave']} of {entry['waves']}"
    return text.removeprefix(f"{place} ").removeprefix("is ").removesuffix(f" in {place}")


def _who(entry: Entry, number: int) -> str:
    """Say whom a wave is for, as far as the document tells."""
    cuts, sizes = entry.get("cuts"), entry.get("sizes")
    selects = entry.get("selects") or [cut["select"] for cut in cuts or ()]
    if selects and selects[number - 1]:
        return f" \u00b7 {selects[number - 1]}"
    if number == entry["waves"]:
        return " \u00b7 the rest" if number > 1 else " \u00b7 all"
    return f" \u00b7 up to {rate_text(sum(sizes[:number]), sum(sizes))}" if sizes else ""
