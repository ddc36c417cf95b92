"""Pages of clients as people and spreadsheets read them: a line for each client, in CSV one for each component."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from reconciler.present.csv_text import csv_text
from reconciler.present.look import PLAIN
from reconciler.present.markdown import safe
from reconciler.present.words import count_text, number_text, page, span_text, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from reconciler.present.look import Look

_HEAD = ("client", "group", "state", "seen", "components", "why")
_CSV_HEAD = (
    "client", "group", "labels", "platform", "state", "component", "version", "wanted", "component_state", "seen",
    "failing_since", "failures", "quarantined_until", "why", "loaded",
)  # fmt: skip
_NAMED = 3
"""Components that are named in a line."""


def clients_text(document: Mapping[str, Any], *, look: Look = PLAIN) -> str:
    """Render a page of clients."""
    lines = [_title(document)]
    rows = [_row(client, document["created"]) for client in document["clients"]]
    if rows:
        lines += ["", *table([(f"  {row[0]}", *row[1:]) for row in [_HEAD, *rows]], width=look.width)]
    if document["next"]:
        lines += ["", f"There are more: add --after {document['next']}"]
    return page(lines, look.width)


def clients_markdown(document: Mapping[str, Any]) -> str:
    """Render a page of clients for a comment or a ticket."""
    parts = [f"### {safe(_title(document))}"]
    if document["clients"]:
        rows = [_HEAD, ["---"] * len(_HEAD), *(_row(client, document["created"]) for client in document["clients"])]
        parts.append("\n".join(f"| {' | '.join(map(safe, row))} |" for row in rows))
    if document["next"]:
        parts.append(f"There are more: add `--after` {safe(document['next'])}")
    return "\n\n".join(parts) + "\n"


def clients_rows(document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Give a page of clients as rows, the head first: one for each component of each client."""
    rows = (_cells(client, component) for client in document["clients"] for component in client["components"] or [{}])
    return [_CSV_HEAD, *rows]


def csv_chunks(documents: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Give pages of clients as one CSV, page by page: a fleet may be longer than the memory."""
    yield csv_text([_CSV_HEAD])
    for document in documents:
        rows = clients_rows(document)[1:]
        if rows:
            yield csv_text(rows)


def _cells(client: Mapping[str, Any], component: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        client["name"],
        client["group"],
        " ".join(client["labels"]),
        client["platform"] or "",
        client["state"],
        component.get("id", ""),
        component.get("version") or "",
        component.get("wanted") or "",
        component.get("state", ""),
        client["seen"] or "",
        client["failing_since"] or "",
        str(client["failures"]),
        client["until"] or "",
        client["why"] or "",
        component.get("loaded") or component.get("unsaid", ""),
    )


def _title(document: Mapping[str, Any]) -> str:
    asked = [f"{key} {document[key]}" for key in ("limit", "where") if document[key]]
    shown = count_text(len(document["clients"]), "client")
    start = "No client matches" if not document["clients"] else f"{shown}, as last seen"
    return f"{start} ({', '.join(asked)})" if asked else start


def _row(client: Mapping[str, Any], now: str) -> tuple[str, ...]:
    why = client["why"] or ""
    if client["failing_since"]:
        why = f"{why} (since {client['failing_since']})"
    if client["until"]:
        why = f"until {client['until']}: {why}" if why else f"until {client['until']}"
    return client["name"], client["group"], client["state"], _ago(client["seen"], now), _components(client), why


def _ago(seen: str | None, now: str) -> str:
    if seen is None:
        return "never"
    span = datetime.fromisoformat(now) - datetime.fromisoformat(seen)
    return f"{span_text(span.total_seconds())} ago"


def _components(client: Mapping[str, Any]) -> str:
    """Name the components that aren't as wanted, or the few that were asked for; count the rest."""
    components: Sequence[Mapping[str, Any]] = client["components"]
    if components and all(one["state"] == "unknown" and not one["version"] for one in components):
        return "nothing known"
    odd = [one for one in components if one["state"] != "updated"]
    named = components if len(components) <= _NAMED else odd[:_NAMED]
    said = [_component(one) for one in named]
    rest = len(odd) - len(named)
    if rest > 0:
        said.append(f"{number_text(rest)} more")
    fine = len(components) - len(odd)
    if fine and len(components) > _NAMED:
        said.append(f"{number_text(fine)} updated")
    return ", ".join(said) or "-"


def _component(one: Mapping[str, Any]) -> str:
    has, wanted = one["version"] or "nothing", one["wanted"] or "nothing known"
    loaded, why = one.get("loaded"), one.get("unsaid")
    more = {
        "updated": "",
        "pending": f" (installed, {loaded} is loaded)"
        if loaded
        else f" (installed; what is loaded isn't known: {why})",
        "outdated": f" (wanted {wanted})",
        "missing": f" (wanted {wanted})",
        "damaged": f" (damaged, wanted {wanted})",
        "ahead": f" (ahead of {wanted})",
        "deferred": " (a newer one is deferred)",
        "unknown": " (unknown)",
    }[one["state"]]
    return f"{one['id']} {has}{more}"
