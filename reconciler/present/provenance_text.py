"""Where the releases of a plan come from and what is new in them, in a plan's text and in Markdown.

    virus-pattern 16.679.00  signed by targets of vendor (2 of 3 keys)  released 3 h ago  notes: Fewer false alarms
    12 releases              not signed                                 released 2026-01-01 to 2026-01-03

Releases of which the same is said share a row, from ALIKE on. Notes are a vendor's words: of them a row has the first
line, Markdown the first few, and the document all that a plan keeps.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from reconciler.present.fields import time
from reconciler.present.folding import ALIKE
from reconciler.present.provenance_form import NOT_SIGNED, SIGNED_BY, brings
from reconciler.present.words import count_text, grid, number_text, span_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Entry = Mapping[str, Any]

TITLE = "Releases"
_SHOWN = 12
_LONGEST = 100
_LINES = 3
"""How many lines of its notes Markdown has of a release."""
_OPENED = 12
"""How many a text has where all is asked for."""
_FRESH = timedelta(hours=48)
_DIGEST = 12
_BELOW = " " * 8


def release_lines(document: Entry, *, every: bool = False, width: int | None = None) -> list[str]:
    """Give the lines of a plan's text; `every` has a row for each release, with its digest and more of its notes."""
    rows, more = _rows(document, every=every)
    if not rows:
        return []
    cells = [(f"  {what}", signer, out, "" if every else _note(notes)) for what, signer, out, notes, _same in rows]
    shown = []
    for lines, (_what, _signer, _out, notes, same) in zip(grid(cells, width=width), rows, strict=True):
        shown += lines
        if every:
            shown += [f"{_BELOW}sha256 {entry['digest'][:_DIGEST]}" for entry in same]
            shown += [f"{_BELOW}{line}" for line in _lines(notes, _OPENED)]
    return ["", TITLE, *shown, *([f"  {more}"] if more else [])]


def release_items(document: Entry, *, every: bool = False) -> tuple[str, list[tuple[str, list[str]]]]:
    """Give a title and the entries of a list in Markdown, not escaped: each a sentence and the first lines of notes."""
    rows, more = _rows(document, every=every)
    items = []
    for what, signer, out, notes, same in rows:
        digest = f"sha256 {same[0]['digest'][:_DIGEST]}" if len(same) == 1 else ""
        items.append((", ".join(filter(None, (what, signer, out, digest))), _lines(notes, _LINES)))
    return _title(document), [*items, *([(more, [])] if more else [])]


def release_text(entry: Entry, created: str) -> str:
    """Say of one release who vouches for it, since when it is out and what is new in it, in one line."""
    return ", ".join(filter(None, (signed_text(entry["signed_by"]), _out([entry], created), _note(entry["notes"]))))


def signed_text(signed: Entry | None) -> str:
    """Say who signed a release, or that nobody did."""
    return NOT_SIGNED if signed is None else SIGNED_BY.read(signed).text


def unsigned(document: Entry) -> int:
    """Count the releases of a plan that nobody vouches for, or will when they are fetched, as far as it says so."""
    going = {
        (change["component"], change["to"], change["platform"], change["to_digest"])
        for change in document["changes"]
        if brings(change)
    }
    vouched = {
        tuple(entry[key] for key in ("component", "version", "platform", "digest"))
        for entry in document.get("provenance", ())
        if entry["signed_by"] is not None
    }
    fetched = [change for change in document["changes"] if change["action"] == "fetch"]
    return len(going - vouched) + sum(change.get("signed") is False for change in fetched)


_Row = tuple[str, str, str, str, "Sequence[Entry]"]
"""What it is, who signed it, since when it is out, its notes, and the releases that it stands for."""


def _rows(document: Entry, *, every: bool) -> tuple[list[_Row], str]:
    """Give the rows, and a line that counts those that aren't among them."""
    created = document["created"]
    alike: dict[tuple[str, str], list[Entry]] = {}
    for entry in document.get("provenance", ()):
        alike.setdefault((signed_text(entry["signed_by"]), entry["notes"]), []).append(entry)
    rows: list[_Row] = []
    for (signer, notes), same in alike.items():
        parts = [[entry] for entry in same] if every or len(same) < ALIKE else [same]
        for part in parts:
            what = _name(part[0]) if len(part) == 1 else count_text(len(part), "release")
            rows.append((what, signer, _out(part, created), notes, part))
    kept = len(rows) if every else _SHOWN
    left = sum(len(row[-1]) for row in rows[kept:])
    return rows[:kept], f"and {count_text(left, 'more release')}: --diff" if left else ""


def _name(entry: Entry) -> str:
    platform = "" if entry["platform"] == "any" else f" ({entry['platform']})"
    return f"{entry['component']} {entry['version']}{platform}"


def _title(document: Entry) -> str:
    found = document.get("provenance", ())
    counts = [count_text(len(found), "release")]
    bare = sum(entry["signed_by"] is None for entry in found)
    told = sum(bool(entry["notes"]) for entry in found)
    counts += [f"{number_text(bare)} {NOT_SIGNED}"] if bare else []
    counts += [f"{number_text(told)} with notes"] if told else []
    return ", ".join(counts)


def _out(entries: Sequence[Entry], created: str) -> str:
    """Say since when releases are out; of fresh ones how long that is, else the day."""
    times = [entry["released"] for entry in entries]
    if not all(times):
        return ""
    first, last, now = (time(moment, "released") for moment in (min(times), max(times), created))
    if last > now:
        return f"released {last:%Y-%m-%d}, which lies ahead"
    if first == last and now - first < _FRESH:
        return f"released {span_text((now - first).total_seconds())} ago"
    days = dict.fromkeys((f"{first:%Y-%m-%d}", f"{last:%Y-%m-%d}"))
    return f"released {' to '.join(days)}"


def _note(notes: str) -> str:
    """Give the first line of notes, cut where it is long or more lines follow."""
    lines = _lines(notes, 1)
    return f"notes: {' '.join(lines)}" if lines else ""


def _lines(notes: str, most: int) -> list[str]:
    """Give the first lines of notes that aren't empty; an ellipsis says that there is more."""
    lines = [" ".join(line.split()) for line in notes.split("\n") if line.strip()]
    shown = [line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…" for line in lines[:most]]
    if len(lines) > most and not shown[-1].endswith("…"):
        shown[-1] += " …"
    return shown
