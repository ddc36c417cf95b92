"""Documents as Markdown, for comments on pull requests: the verdict in a heading, tables below, long lists folded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from reconciler.errors import printable
from reconciler.model.plan import FINDINGS
from reconciler.present.kinds import BY_ACTION, FIRST_OF_CLIENTS, TABLE
from reconciler.present.outlook_text import run_lines
from reconciler.present.plan_text import savings, verdict
from reconciler.present.rollout_text import halted, rollout_rows, standing_rows, waves_of
from reconciler.present.spec_changes import TITLE, spec_change_items
from reconciler.present.text import kept_back, kept_back_line, quarantine_rest, quarantine_rows
from reconciler.present.words import count_text, name_list, number_text, span_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_ESCAPES = str.maketrans(
    {char: f"\\{char}" for char in "\\`*[]|~"}
    | {"<": "&lt;", ">": "&gt;", "@": "@\u200b"}  # a mention needs a word at once
)
_STOP = ":no_entry:"


def plan_markdown(document: Mapping[str, Any], *, names: bool = False) -> str:
    """Render a plan; `names` adds a folded list of the clients of each change."""
    parts = [f"### {safe(verdict(document))}", *_halted(document["rollouts"])]
    parts += map(safe, run_lines(document))
    if document["partial"]:
        parts.append("_This plan is partial: a limit or target left something out._")
    if document["problems"]:
        parts.append("\n".join(f"- :warning: {safe(problem)}" for problem in document["problems"]))
    if document["notes"]:
        parts.append("\n".join(f"- {safe(note)}" for note in document["notes"]))
    parts += _spec_changes(document, names=names)
    parts += savings(document)
    waves = waves_of(document)
    for kind in TABLE:
        if kind is FIRST_OF_CLIENTS and document["rollouts"]:
            head = ("rollout", "version", "group", "waves", "where it is")
            parts.append(_table(head, map(_flagged, rollout_rows(document["rollouts"]))))
        changes = kind.of(document)
        if changes:
            parts.append(_table(kind.head, kind.table(changes, waves)))
    findings = [(kind, finding) for kind in FINDINGS for finding in document[kind]]
    if findings:
        parts.append(_table(("not changed", "group", "component", "clients", "reason"), map(_finding_row, findings)))
    if document["gone"]:
        parts.append(
            f"Gone from the inventory: {safe(name_list(document['gone'], every=names))}; "
            "what they have stays there, unmanaged"
        )
    if names and document["members"]:
        parts.append(_members(document))
    return "\n\n".join(parts) + "\n"


def status_markdown(document: Mapping[str, Any]) -> str:
    """Render a status: a table of the fleet's components, and ones of rollouts and quarantine if there are any."""
    head = ("component", "held", "offered", "updated", "outdated", "ahead", "unknown", "rate", "age")
    rows = (
        (
            entry["id"],
            entry["latest_held"] or "-",
            entry["latest_offered"] or "-",
            *(number_text(entry[key]) for key in ("updated", "outdated", "ahead", "unknown")),
            f"{entry['rate'] * 100:.1f} %",
            span_text(entry["age"]),
        )
        for entry in document["components"]
    )
    parts = [f"### Status: {count_text(document['clients'], 'client')}", *_halted(document["rollouts"])]
    parts.append(_table(head, rows))
    parts += ["\n".join(f"- {safe(kept_back_line(entry).strip())}" for entry in kept_back(document))]
    if document["rollouts"]:
        titles = ("rollout", "version", "group", "since", "where it is")
        parts.append(_table(titles, (_flagged(row) for row in standing_rows(document["rollouts"]))))
    if document["quarantined"]:
        titles = ("quarantined", "group", "until", "failures", "message")
        rest = quarantine_rest(document["quarantined"])
        parts += [_table(titles, quarantine_rows(document["quarantined"])), *([rest] if rest else [])]
    return "\n\n".join(filter(None, parts)) + "\n"


def _halted(rollouts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Give a list of what is halted that nobody should overlook."""
    lines = [f"- {_STOP} {safe(says)}; {safe(todo)}" for says, todo in halted(rollouts)]
    return ["\n".join(lines)] if lines else []


def _flagged(row: Sequence[str]) -> Sequence[str]:
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


def _finding_row(entry: tuple[str, Mapping[str, Any]]) -> tuple[str, ...]:
    kind, finding = entry
    component = " ".join(filter(None, (finding["component"], finding["version"]))) or "all"
    return kind, finding["group"], component, number_text(finding["clients"]), finding["reason"]


def _members(document: Mapping[str, Any]) -> str:
    lines = ["<details><summary>Clients</summary>", ""]
    for change in document["changes"]:
        listed = sorted(name for cohort in change.get("members", ()) for name in document["members"][cohort])
        if listed:
            name = BY_ACTION[change["action"]].name(change)
            lines.append(f"- {safe(name + ': ' + ', '.join(listed))}")
    return "\n".join([*lines, "", "</details>"])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
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
