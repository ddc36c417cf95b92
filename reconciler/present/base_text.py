"""What a change of the spec does apart from what would happen anyway, in a plan's text and in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.present.folding import ALIKE
from reconciler.present.words import count_text, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TITLE = "Against the base"
BASE_HEAD = ("against the base", "what", "release", "clients", "group")
_SAYS = {"change": "by this change", "no longer": "no longer", "anyway": "would happen anyway"}


def base_lines(document: Mapping[str, Any]) -> list[str]:
    """Give the lines of a plan's text; empty where nothing was compared."""
    rows = base_rows(document)
    return ["", TITLE, *table([(f"  {row[0]}", *row[1:]) for row in rows])] if rows else []


def base_rows(document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Give a row for what comes of the change, for what comes no longer and for what would happen anyway.

    What differs in nothing but its release is one row, from ALIKE on.
    """
    alike: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for entry in document.get("against_base", ()):
        alike.setdefault(_same(entry), []).append(entry)
    return [row for entries in alike.values() for row in _shared(entries)]


def _same(entry: Mapping[str, Any]) -> tuple[str, ...]:
    named = entry["component"] is not None
    return entry["by"], entry["action"], str(named), str(bool(entry["clients"])), entry["group"] or ""


def _shared(entries: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    first = entries[0]
    if len(entries) < ALIKE:
        return [_row(entry, _release(entry), count_text(entry["clients"], "client")) for entry in entries]
    counts = {entry["clients"] for entry in entries}
    clients = f"{'up to ' if len(counts) > 1 else ''}{count_text(max(counts), 'client')}"
    return [_row(first, count_text(len(entries), "release"), clients)]


def _row(entry: Mapping[str, Any], what: str, clients: str) -> tuple[str, ...]:
    where = clients if entry["clients"] else "on the server"
    return _SAYS[entry["by"]], entry["action"], what, where, entry["group"] or ""


def _release(entry: Mapping[str, Any]) -> str:
    return " ".join(filter(None, (entry["component"], entry["version"])))
