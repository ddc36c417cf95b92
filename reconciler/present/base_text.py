"""What a change of the spec does apart from what would happen anyway, in a plan's text and in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.present.words import count_text, table

if TYPE_CHECKING:
    from collections.abc import Mapping

TITLE = "Against the base"
BASE_HEAD = ("against the base", "what", "release", "clients", "group")
_SAYS = {"change": "by this change", "no longer": "no longer", "anyway": "would happen anyway"}


def base_lines(document: Mapping[str, Any]) -> list[str]:
    """Give the lines of a plan's text; empty where nothing was compared."""
    rows = base_rows(document)
    return ["", TITLE, *table([(f"  {row[0]}", *row[1:]) for row in rows])] if rows else []


def base_rows(document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Give a row for what comes of the change, for what comes no longer and for what would happen anyway."""
    return [
        (
            _SAYS[entry["by"]],
            entry["action"],
            " ".join(filter(None, (entry["component"], entry["version"]))),
            count_text(entry["clients"], "client") if entry["clients"] else "on the server",
            entry["group"] or "",
        )
        for entry in document.get("against_base", ())
    ]
