"""Documents as Markdown, for comments on pull requests: the verdict in a heading, tables below, long lists folded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from reconciler.present.plan_text import publish_rows, savings, server_rows, verdict, way_text
from reconciler.present.words import count_text, name_list, number_text, span_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_ESCAPES = str.maketrans(
    {char: f"\\{char}" for char in "\\`*[]|~"}
    | {"<": "&lt;", ">": "&gt;", "@": "@\u200b"}  # a mention needs a word at once
)
_FINDINGS = ("drift", "held", "deferred", "unknown", "unreachable")


def plan_markdown(document: Mapping[str, Any], *, names: bool = False) -> str:
    """Render a plan; `names` adds a folded list of the clients of each change."""
    parts = [f"### {safe(verdict(document))}"]
    if document["partial"]:
        parts.append("_This plan is partial: a limit or target left something out._")
    if document["problems"]:
        parts.append("\n".join(f"- :warning: {safe(problem)}" for problem in document["problems"]))
    parts += savings(document)
    parts += _server_tables(document["changes"], ("download", "merge", "generate"))
    deploys = [change for change in document["changes"] if change["action"] == "deploy"]
    if deploys:
        head = ("deploy", "group", "from", "to", "clients", "each", "reason")
        parts.append(_table(head, map(_deploy_row, deploys)))
    parts += _server_tables(document["changes"], ("prune",))
    published = publish_rows(document["changes"])
    if published:
        parts.append(_table(("publish", "version", "size", "what", "reason"), (row[1:] for row in published)))
    findings = [(kind, finding) for kind in _FINDINGS for finding in document[kind]]
    if findings:
        parts.append(_table(("not changed", "group", "component", "clients", "reason"), map(_finding_row, findings)))
    if document["gone"]:
        parts.append(f"Gone from the inventory: {safe(name_list(document['gone'], every=names))}")
    if names and document["members"]:
        parts.append(_members(document))
    return "\n\n".join(parts) + "\n"


def status_markdown(document: Mapping[str, Any]) -> str:
    """Render a status as one table of the fleet's components."""
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
    return f"### Status: {count_text(document['clients'], 'client')}\n\n{_table(head, rows)}\n"


def _server_tables(changes: Sequence[Mapping[str, Any]], actions: Iterable[str]) -> Iterable[str]:
    for action in actions:
        rows = server_rows(change for change in changes if change["action"] == action)
        if rows:
            yield _table((action, "from", "to", "size", "what", "reason"), (row[1:] for row in rows))


def _deploy_row(change: Mapping[str, Any]) -> tuple[str, ...]:
    reason = change["reason"] + (" (downgrade)" if change["downgrade"] else "")
    clients, each = number_text(change["clients"]), way_text(change)
    return change["component"], change["group"], change["from"] or "-", change["to"], clients, each, reason


def _finding_row(entry: tuple[str, Mapping[str, Any]]) -> tuple[str, ...]:
    kind, finding = entry
    component = " ".join(filter(None, (finding["component"], finding["version"]))) or "all"
    return kind, finding["group"], component, number_text(finding["clients"]), finding["reason"]


def _members(document: Mapping[str, Any]) -> str:
    lines = ["<details><summary>Clients</summary>", ""]
    for change in document["changes"]:
        if change["action"] == "deploy":
            listed = sorted(name for cohort in change["members"] for name in document["members"][cohort])
            what = f"{change['component']} {change['to']} ({change['group']}): {', '.join(listed)}"
            lines.append(f"- {safe(what)}")
    return "\n".join([*lines, "", "</details>"])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(safe(cell) for cell in line) + " |" for line in lines)


def safe(text: str) -> str:
    """Take the power of markup from text that comes from clients, sources and inventories."""
    shown = "".join(char if char.isprintable() else "?" for char in text)
    return shown.translate(_ESCAPES)


def block(text: str) -> str:
    """Show text as it is, in a fence that it can't close."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text.rstrip()}\n{fence}\n"
