"""What changed in the spec, as a plan's text and Markdown show it: what takes away a protection first, and marked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.present.words import number_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

TITLE = "Changed in the spec since the last complete apply"
SHOWN = 10
"""How many are shown where nobody asked for all; those that take away a protection always are."""


def takes_away(document: Mapping[str, Any]) -> bool:
    """Say whether any change of the spec takes away a protection."""
    return any(change["safety"] for change in document.get("spec_changes", ()))


def spec_change_lines(document: Mapping[str, Any], *, every: bool = False) -> list[str]:
    """Give the lines of a plan's text; empty when nothing changed."""
    changes = document.get("spec_changes", ())
    shown, more = _shown(changes, every=every)
    lines = [f"  {'!' if change['safety'] else ' '} {_marked(change)}" for change in shown]
    return ["", TITLE, *lines, *([f"    {more}"] if more else [])] if changes else []


def spec_change_items(document: Mapping[str, Any], *, every: bool = False) -> list[tuple[bool, str]]:
    """Give the entries of a list in Markdown, not escaped, and whether each takes away a protection."""
    shown, more = _shown(document.get("spec_changes", ()), every=every)
    return [*((bool(change["safety"]), _marked(change)) for change in shown), *([(False, more)] if more else [])]


def shown_paths(document: Mapping[str, Any]) -> frozenset[str]:
    """Give the paths of what is new and shown whether or not somebody asked for all."""
    shown, _more = _shown(document.get("spec_changes", ()), every=False)
    return frozenset(change["path"] for change in shown if change["kind"] == "added")


def _marked(change: Mapping[str, Any]) -> str:
    return f"less safe: {change['says']}" if change["safety"] else str(change["says"])


def _shown(changes: Sequence[Mapping[str, Any]], *, every: bool) -> tuple[Sequence[Mapping[str, Any]], str]:
    """Give those to show, and the line that counts the others."""
    if every:
        return changes, ""
    kept = max(SHOWN, sum(1 for change in changes if change["safety"]))
    left = _count(changes[kept:])
    return (changes[:kept], f"and {number_text(left)} more: --diff") if left > 1 else (changes, "")


def _count(changes: Iterable[Mapping[str, Any]]) -> int:
    """Count differences; the last entry may stand for many that aren't in the document either."""
    return sum(int(change["count"]) for change in changes)
