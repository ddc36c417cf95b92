"""The report of an apply as Markdown, for a comment or a ticket: trouble by its reason first, then the recap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.present.markdown import fitting, grid_of, safe
from reconciler.present.outlook_text import step_lines
from reconciler.present.rollout_text import report_lines
from reconciler.present.text import failures_of, held_line, report_end
from reconciler.present.trouble import TOLD_HEAD, told_rows
from reconciler.present.words import number_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def report_markdown(document: Mapping[str, Any]) -> str:
    """Render the report of an apply, in at most markdown.MAX_BYTES."""
    parts = [f"### {safe(report_end(document))}"]
    for title, told in failures_of(document):
        parts += [f"**{title}**", grid_of(TOLD_HEAD, told_rows(told))]
    if document["held"]:
        parts += ["**Held when their turn came**", _list(map(held_line, document["held"]))]
    if document["recap"]:
        outcomes = next(iter(document["recap"].values()))
        rows = [(group, *map(number_text, counts.values())) for group, counts in document["recap"].items()]
        parts.append(grid_of(("group", *(name.replace("_", " ") for name in outcomes)), rows))
    parts += [_list(lines) for lines in (step_lines(document), report_lines(document)) if lines]
    return fitting(
        parts, f"_More than fits into a comment is left out here; `updoser history {document['run_id']}` has it._"
    )


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"{'  ' if line.startswith(' ') else ''}- {safe(line.strip())}" for line in lines)
