"""Words that texts are made of: sizes, spans, counts, aligned tables, and no character that could move a cursor."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from reconciler.errors import printable
from reconciler.formats.counts import count_text as count_text  # noqa: PLC0414 - they are among these words
from reconciler.formats.counts import number_text as number_text  # noqa: PLC0414 - the same
from reconciler.formats.size import size_text as size_text  # noqa: PLC0414 - the same
from reconciler.present.look import fitted, hanging

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NAMES_SHOWN = 10
_LISTED = 108
"""How wide lists of names are, where no width is given."""
BELOW = 6
"""By how many blanks stands further in what goes below its row."""


def moved_text(word: str, size: int, saved: int) -> str:
    """Write how much was moved: `20.5 MiB sent (1.2 MiB saved)`."""
    return f"{size_text(size)} {word}{f' ({size_text(saved)} saved)' if saved > 0 else ''}"


def span_text(seconds: float | None) -> str:
    """Write a time span in its largest fitting unit: `47 s`, `3 h`, `12 d`; a dash when it isn't known."""
    if seconds is None:
        return "-"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if abs(seconds) >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def table(rows: Iterable[Sequence[str]], *, right: frozenset[int] = frozenset(), width: int | None = None) -> list[str]:
    """Align rows of cells in columns; see `grid`."""
    return [line for lines in grid(rows, right=right, width=width, empty=True) for line in lines]


def grid(
    rows: Iterable[Sequence[str]],
    *,
    right: frozenset[int] = frozenset(),
    width: int | None = None,
    empty: bool = False,
) -> list[list[str]]:
    """Align rows of cells in columns two blanks apart; give the lines of each.

    The columns in `right` are aligned to the right; one that is empty in all rows is left out, but for
    `empty`. What doesn't fit into
    `width` (None: everything does) goes below its row, from the last column on.

    Control characters in cells (a client's message, say) are shown as `?`: they can't move the cursor or add a line.
    """
    lines = [tuple(printable(cell) for cell in row) for row in rows]
    columns = [
        (at, size)
        for at, cells in enumerate(zip(*lines, strict=True))
        if (size := max(len(cell) for cell in cells)) or empty
    ]
    ends = list(accumulate(size + 2 for _at, size in columns))
    fit = len(columns) if width is None else max(2, sum(end - 2 <= width for end in ends))

    def aligned(line: Sequence[str]) -> list[str]:
        cells = [line[at].rjust(size) if at in right else line[at].ljust(size) for at, size in columns]
        whole = "  ".join(cells).rstrip()
        if width is None or len(whole) <= width:
            return [whole]
        head, rest = "  ".join(cells[:fit]), [line[at] for at, _size in columns[fit:] if line[at]]
        beside = f"{head}  {'  '.join(rest)}"
        if len(beside) <= width:
            return [beside]
        return [*fitted(head.rstrip(), width), *(hanging("; ".join(rest), width, BELOW) if rest else [])]

    return [aligned(line) for line in lines]


def page(lines: Iterable[str], width: int | None = None) -> str:
    """Join lines to a text; what could move the cursor or add a line, wherever it came from, is shown as `?`.

    Lines that are wider than `width` are broken at their blanks.
    """
    return "".join(f"{part}\n" for line in lines for part in fitted(printable(line), width))


def wrapped(names: Iterable[str], width: int | None = None, *, label: str = "") -> list[str]:
    """Write all names of a list, in order, as lines that stand indented below what they belong to.

    `label` stands before the first.
    """
    room = min((width or _LISTED) - 8, _LISTED)
    lines: list[str] = []
    line = label
    for at, name in enumerate(sorted(names)):
        if line and len(line) + len(name) + 3 > room:
            lines.append(line + ("," if at else ""))
            line = ""
        line = f"{line}{', ' if at else ' '}{name}" if line else name
    return [f"        {text}" for text in (*lines, line) if text]


def name_list(names: Sequence[str], most: int = _NAMES_SHOWN, *, every: bool = False) -> str:
    """Write the first names of a list, at most so many, and how many more there are; all when `every` is set."""
    shown = names if every else names[:most]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {number_text(more)} more" if more else "")


def commit_text(commit: str, signer: str = "") -> str:
    """Say which commit the desired state is of, and who signed it."""
    return f"desired state of commit {commit[:12]}{f', signed by {signer}' if signer else ''}"
