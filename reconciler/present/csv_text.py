"""Tables as CSV (RFC 4180, but lines end as everywhere here), for spreadsheets and scripts.

A spreadsheet takes a cell that begins with `=`, `+`, `-`, `@`, a tab or a line break for a formula, and runs it. What
clients and sources say ends up in cells, so such a cell gets an apostrophe before it: it is shown as text then. Source
of the rule: OWASP, "CSV Injection".
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from reconciler.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""How a formula begins, with the wide forms that some programs take for the same."""


def csv_text(rows: Iterable[Sequence[str]]) -> str:
    """Write rows, of which the first is the head; what could move a cursor is shown as `?`."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([_cell(cell) for cell in row] for row in rows)
    return out.getvalue()


def _cell(text: str) -> str:
    guard = "'" if text.lstrip(" ").startswith(_FORMULA) else ""
    return guard + printable(text)
