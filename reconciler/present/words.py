"""Words that texts are made of: sizes, spans, counts, aligned tables, and no character that could move a cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_NAMES_SHOWN = 10


def size_text(size: float) -> str:
    """Write a number of bytes as people read it: `716 B`, `20.5 MiB`."""
    unit = 0
    while size >= 1024 and unit < len(_SIZES) - 1:
        size /= 1024
        unit += 1
    return f"{size:.0f} {_SIZES[unit]}" if unit == 0 else f"{size:.1f} {_SIZES[unit]}"


def span_text(seconds: float | None) -> str:
    """Write a time span in its largest fitting unit: `47 s`, `3 h`, `12 d`; a dash when it isn't known."""
    if seconds is None:
        return "-"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if abs(seconds) >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def count_text(number: int, noun: str) -> str:
    """Write a number with its noun: `1 client`, `48 212 clients`."""
    return f"{number_text(number)} {noun}{'' if number == 1 else 's'}"


def number_text(number: int) -> str:
    """Write a number with thin groups of three digits: `48 212`."""
    return f"{number:,}".replace(",", " ")


def table(rows: Iterable[Sequence[str]], *, right: frozenset[int] = frozenset()) -> list[str]:
    """Align rows of cells in columns two blanks apart; the columns in `right` are aligned to the right.

    Control characters in cells (a client's message, say) are shown as `?`: they can't move the cursor or add a line.
    """
    lines = [tuple(printable(cell) for cell in row) for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def page(lines: Iterable[str]) -> str:
    """Join lines to a text; what could move the cursor or add a line, wherever it came from, is shown as `?`."""
    return "".join(f"{printable(line)}\n" for line in lines)


def wrapped(names: Iterable[str], width: int = 100) -> list[str]:
    """Write all names of a list, in order, as lines that stand indented below what they belong to."""
    lines: list[str] = []
    line = ""
    for name in sorted(names):
        if line and len(line) + len(name) + 2 > width:
            lines.append(line)
            line = ""
        line = f"{line}, {name}" if line else name
    return [f"        {text}" for text in (*lines, line) if text]


def name_list(names: Sequence[str], *, every: bool = False) -> str:
    """Write the first names of a list and how many more there are; all of them when `every` is set."""
    shown = names if every else names[:_NAMES_SHOWN]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {number_text(more)} more" if more else "")
