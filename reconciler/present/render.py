"""A document in the format that the user asked for: text and Markdown are rendered from the same document as JSON."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from reconciler.errors import printable
from reconciler.present import markdown, plan_text, text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FORMATS = ("text", "json", "markdown")
_CONTROL = re.compile(r"[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]")
"""What isn't shown, moves the cursor, turns the direction of writing, or can't be written as UTF-8."""


def json_text(document: Any) -> str:
    """Write a document as JSON, the same bytes for the same document; characters that hide or move are escaped."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def spellings(shown: str) -> set[str]:
    """Give all the ways in which some text may be spelled in a result or an event: as it is, and escaped."""
    as_json = (json_text(shown).rstrip("\n"), json.dumps(shown))
    return {shown, printable(shown), markdown.safe(shown), *(quoted[1:-1] for quoted in as_json)}


def render_plan(document: Mapping[str, Any], form: str, *, names: bool = False) -> str:
    """Render a plan; `names` lists the clients of each change."""
    if form == "json":
        return json_text(document)
    if form == "markdown":
        return markdown.plan_markdown(document, names=names)
    return plan_text.plan_text(document, names=names)


def render_status(document: Mapping[str, Any], form: str) -> str:
    """Render a status."""
    if form == "json":
        return json_text(document)
    if form == "markdown":
        return markdown.status_markdown(document)
    return text.status_text(document)


def render(document: Any, form: str, as_text: Callable[[Any], str]) -> str:
    """Render a document that has no Markdown of its own: its text stands in a block there."""
    if form == "json":
        return json_text(document)
    return markdown.block(as_text(document)) if form == "markdown" else as_text(document)
