"""Documents as Markdown, for comments on pull requests: the verdict in a heading, tables below, long lists folded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from reconciler.errors import printable
from reconciler.model.plan import FINDINGS
from reconciler.present.base_text import BASE_HEAD, base_rows
from reconciler.present.fleet_text import LEAVING_HEAD, MOVES_HEAD, STAYS, TODO, leaving_rows, move_rows
from reconciler.present.folding import clients_of, findings_of, lines_of, rollout_rows_of, rows_of, scene_of
from reconciler.present.kinds import BY_ACTION, FIRST_OF_CLIENTS, TABLE
from reconciler.present.outlook_text import run_lines
from reconciler.present.plan_text import remarks, savings, verdict
from reconciler.present.provenance_text import release_items
from reconciler.present.relay_text import RELAYS_HEAD, relay_rows
from reconciler.present.rollout_text import halted
from reconciler.present.site_text import SITES_HEAD, site_rows
from reconciler.present.spec_changes import TITLE, spec_change_items, takes_away
from reconciler.present.trouble import EXAMPLES, brief_list, todo_of_finding
from reconciler.present.way_back_text import way_back_lines
from reconciler.present.words import count_text, name_list

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.present.folding import Trouble

_ESCAPES = str.maketrans(
    {char: f"\\{char}" for char in "\\`*[]|~"}
    | {"<": "&lt;", ">": "&gt;", "@": "@\u200b"}  # a mention needs a word at once
)
_STOP = ":no_entry:"


MARKER = "<!-- updoser:plan -->"
"""The first line of a plan, by which a bot finds the comment that it is to replace."""
MAX_BYTES = 65_536
"""What a comment of GitHub may have in characters, at most; in bytes it fits wherever these are counted, too."""
_LEFT_OUT = "_More than fits into a comment is left out here; `updoser show` has all of the plan file._"


def plan_markdown(document: Mapping[str, Any], *, names: bool = False) -> str:
    """Render a plan, the most important first, in at most MAX_BYTES.

    `names` opens rows that stand for several changes, and adds a folded list of the clients of each.
    """
    scene = scene_of(document)
    parts = [MARKER, f"### {safe(verdict(document))}", *halted_parts(document["rollouts"])]
    parts += [f"_{safe(remark)}_" for remark in remarks(document)]
    if document["problems"]:
        problems = document["problems"] if names else brief_list(document["problems"])
        parts.append("\n".join(f"- :warning: {safe(problem)}" for problem in problems))
    changed = _spec_changes(document, names=names)
    if takes_away(document):
        parts, changed = [*parts, *changed], []
    parts += map(safe, run_lines(document))
    if document["notes"]:
        parts.append("\n".join(f"- {safe(note)}" for note in document["notes"]))
    parts += changed
    parts += _fleet(document)
    parts += [grid_of(BASE_HEAD, rows) for rows in [base_rows(document)] if rows]
    parts += savings(document)
    parts += map(safe, way_back_lines(document))
    parts += _releases(document, names=names)
    parts += [grid_of(SITES_HEAD, rows) for rows in [site_rows(document)] if rows]
    parts += [grid_of(RELAYS_HEAD, rows) for rows in [relay_rows(document)] if rows]
    for kind in TABLE:
        if kind is FIRST_OF_CLIENTS and document["rollouts"]:
            head = ("rollout", "version", "group", "waves", "where it is")
            rollouts = rollout_rows_of(document, scene, opened=names)
            parts += _rows(head, [flagged(row.cells) for row in rollouts], [row.names for row in rollouts])
        changes = kind.of(document)
        if changes:
            rows = lines_of(kind, changes, scene) if names else rows_of(kind, changes, scene)
            parts += _rows(kind.head, [kind.columns(row) for row in rows], [row.names for row in rows])
    found = [(kind, row) for kind in FINDINGS for row in findings_of(kind, document.get(kind, ()), document, scene)]
    if found:
        head = ("not changed", "group", "component", "clients", "reason")
        parts += _rows(
            head, [_finding_cells(kind, row.cells) for kind, row in found], [row.names for _kind, row in found]
        )
        parts += _fixes(found, document)
    if names and (document["members"] or document["gone"]):
        parts.append(_members(document))
    return fitting(parts)


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]], names: Sequence[Sequence[str]]) -> list[str]:
    """Give a table and, folded below it, the releases that its rows stand for."""
    listed = [name for of_row in names for name in of_row]
    folded = (
        f"<details><summary>{count_text(len(listed), 'release')}</summary>\n\n{safe(', '.join(listed))}\n\n</details>"
    )
    return [grid_of(head, rows), *([folded] if listed else [])]


def _fixes(found: Iterable[tuple[str, Trouble]], document: Mapping[str, Any]) -> list[str]:
    """List what to do about clients of which nothing is known, with some of them."""
    lines = []
    for kind, row in found:
        fix = todo_of_finding(kind, row.findings[0])
        if fix:
            clients = name_list(clients_of(row.findings, document), EXAMPLES)
            lines.append(f"- {safe(row.cells[3])} ({safe(clients)}): {safe(fix)}")
    return ["\n".join(lines)] if lines else []


def _finding_cells(kind: str, cells: Sequence[str]) -> tuple[str, ...]:
    what, clients, groups, reason = cells
    return kind, groups, what, clients, reason


def fitting(parts: Sequence[str], left_out: str = _LEFT_OUT) -> str:
    """Join parts as far as they fit; of a part that doesn't, the whole lines that do, unless it is folded.

    `left_out` says where the rest is.
    """
    room = MAX_BYTES - len(f"\n\n{left_out}\n".encode())
    kept: list[str] = []
    for part in parts:
        room -= len(f"{part}\n\n".encode())
        if room < 0:
            kept += [] if part.startswith("<details") else _beginning(part, room + len(part.encode()))
            return "\n\n".join([*kept, left_out]) + "\n"
        kept.append(part)
    return "\n\n".join(kept) + "\n"


def _beginning(part: str, room: int) -> list[str]:
    lines = part.split("\n")
    while lines and len("\n".join(lines).encode()) > room:
        lines = lines[: max(len(lines) * 9 // 10, 0)] if len(lines) > 1 else []
    return ["\n".join(lines)] if len(lines) > (2 if part.startswith("|") else 0) else []


def halted_parts(rollouts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Give a list of what is halted that nobody should overlook."""
    lines = [f"- {_STOP} {safe(stop.says)}; {safe(stop.todo)}" for stop in halted(rollouts)]
    return ["\n".join(lines)] if lines else []


def flagged(row: Sequence[str]) -> Sequence[str]:
    """Put a sign in place of a rollout's mark, where it stands still and shouldn't."""
    mark, *cells, where = row
    return (*cells, f"{_STOP} {where}" if mark == "!" else where)


def _spec_changes(document: Mapping[str, Any], *, names: bool) -> list[str]:
    """List what changed in the spec, folded where none of it takes away a protection."""
    items = spec_change_items(document, every=names)
    if not items:
        return []
    lines = [f"- {':warning: ' if safety else ''}{safe(says)}" for safety, says in items]
    head = f"<details{' open' if any(safety for safety, _says in items) else ''}><summary>{TITLE}</summary>"
    return ["\n".join([head, "", *lines, "", "</details>"])]


def _fleet(document: Mapping[str, Any]) -> list[str]:
    """Give tables of what isn't managed any more, and of who came and left."""
    rows = [row for now in (True, False) for row in leaving_rows(document, now=now)]
    leaving = [
        (f"{', '.join(components)} stay on" if len(components) > 1 else cells[1], *cells[2:])
        for cells, components in rows
    ]
    moves = [row[1:] for row in move_rows(document)]
    parts = [grid_of(LEAVING_HEAD, leaving), TODO] if leaving else []
    parts += [grid_of(MOVES_HEAD, moves)] if moves else []
    return [*parts, *([STAYS] if document["gone"] else [])]


def _releases(document: Mapping[str, Any], *, names: bool) -> list[str]:
    """List where releases come from, folded; the lines of a vendor's notes stay within their entry."""
    title, items = release_items(document, every=names)
    if not items:
        return []
    lines = [f"- {safe(says)}{''.join(f'<br>{safe(line)}' for line in notes)}" for says, notes in items]
    return ["\n".join([f"<details><summary>{safe(title)}</summary>", "", *lines, "", "</details>"])]


def _members(document: Mapping[str, Any]) -> str:
    lines = ["<details><summary>Clients</summary>", ""]
    for change in document["changes"]:
        listed = sorted(name for cohort in change.get("members", ()) for name in document["members"][cohort])
        if listed:
            name = BY_ACTION[change["action"]].name(change)
            lines.append(f"- {safe(name + ': ' + ', '.join(listed))}")
    if document["gone"]:
        lines.append(f"- {safe('gone: ' + ', '.join(document['gone']))}")
    return "\n".join([*lines, "", "</details>"])


def grid_of(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Give a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(safe(cell) for cell in line) + " |" for line in lines)


def safe(text: str) -> str:
    """Take the power of markup from text that comes from clients, sources and inventories."""
    return printable(text).translate(_ESCAPES)


def block(text: str) -> str:
    """Show text as it is, in a fence that it can't close."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text.rstrip()}\n{fence}\n"
