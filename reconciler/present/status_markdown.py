"""A status as Markdown, for a comment or a ticket: the worst first; see `status_rows` for what shares a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.present.markdown import fitting, flagged, grid_of, halted_parts, safe
from reconciler.present.relay_text import STATUS_HEAD, status_rows
from reconciler.present.rollout_text import standing_rows_of
from reconciler.present.site_text import SITES_HEAD, site_rows
from reconciler.present.status_rows import (
    CONDITIONS_HEAD,
    GROUP_HEAD,
    brief_names,
    component_rows,
    component_text,
    condition_rows,
    current_of,
    current_text,
    fine_sources_text,
    group_rows,
    is_fine,
    names_of,
    quarantine_rest,
    quarantine_rows,
    said_lines,
    source_row,
    used_columns,
    withdrawn_rows,
)
from reconciler.present.status_text import controller_lines, status_head
from reconciler.present.trouble import TOLD_HEAD, told_of_status, told_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.present.status_rows import ComponentRow

    Entry = Mapping[str, Any]

_LEFT_OUT = "_More than fits into a comment is left out here; `updoser status` has it._"


def status_markdown(document: Mapping[str, Any]) -> str:
    """Render a status, in at most markdown.MAX_BYTES."""
    rollouts, quarantined = document["rollouts"], document["quarantined"]
    parts = [f"### {safe(status_head(document))}"]
    parts += _list([line.strip() for line in controller_lines(document)])
    parts += halted_parts(rollouts)
    parts += _components(component_rows(document["components"]))
    current = current_of(document["components"])
    parts += [safe(f"{current_text(document['components'])}: {brief_names(names_of(current))}")] if current else []
    parts += _list(said_lines(document))
    if document["troubles"]:
        parts.append(grid_of(TOLD_HEAD, told_rows(told_of_status(document["troubles"]))))
    known = condition_rows(document)
    parts += [grid_of(CONDITIONS_HEAD, known)] if known else []
    parts += _groups(document)
    if rollouts:
        titles = ("rollout", "version", "group", "since", "where it is")
        rows = [(row[0], _named(row[1], names), *row[2:]) for row, names in standing_rows_of(rollouts)]
        parts.append(grid_of(titles, map(flagged, rows)))
    if quarantined:
        heads = ("quarantined", "group", "until", "failures", "message")
        rest = quarantine_rest(quarantined)
        parts += [grid_of(heads, quarantine_rows(quarantined)), *([rest] if rest else [])]
    if document["withdrawn"]:
        of_versions = ("withdrawn", "version", "clients", "who and why")
        parts.append(grid_of(of_versions, withdrawn_rows(document["withdrawn"])))
    parts += [grid_of(SITES_HEAD, rows) for rows in [site_rows(document)] if rows]
    relays = status_rows(document)
    parts += [grid_of(STATUS_HEAD, relays)] if relays else []
    troubled = [source_row(source) for source in document["sources"] if not is_fine(source)]
    parts += [grid_of(("source", "last read", "how it is"), troubled)] if troubled else []
    fine = fine_sources_text(document["sources"])
    return fitting([*parts, *([f"Sources {safe(fine)}"] if fine else [])], _LEFT_OUT)


def _components(rows: Sequence[ComponentRow]) -> list[str]:
    if not rows:
        return []
    used = used_columns(row.cells for row in rows)
    cells = [
        [_named(row.cells["component"], row.names), *(row.cells[key] or "-" for key in used if key != "component")]
        for row in rows
    ]
    return [grid_of(used, cells)]


def _groups(document: Entry) -> list[str]:
    rows, says = group_rows(document)
    others = [
        f"{row.cells[0]}: {component_text(other)}{f' ({brief_names(other.names)})' if other.names else ''}"
        for row in rows
        for other in row.others
    ]
    return [*([grid_of(GROUP_HEAD, [row.cells for row in rows])] if rows else []), *_list([*others, *says])]


def _named(what: str, names: Sequence[str]) -> str:
    return f"{what}: {brief_names(names)}" if names else what


def _list(lines: Iterable[str]) -> list[str]:
    items = [f"- {safe(line)}" for line in lines]
    return ["\n".join(items)] if items else []
