"""A document in the format that the user asked for: text and Markdown are rendered from the same document as JSON.

A format is an entry of FORMATS, which renders any view; a view says how a document looks to people.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.errors import UsageError, printable
from reconciler.present.look import PLAIN, painted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.present.look import Look

Render = Callable[..., str]
"""Gives a document as text; keywords say how."""


@dataclass(frozen=True, slots=True)
class View:
    """How a document is shown. Without a Markdown of its own, its text stands in a block there.

    `rows` gives head and rows of a document that is a table: only such a one can be CSV. What else is None isn't there
    for the document: the format of that name is refused.
    One that `fits` is given the look of where it is read, as `look`.
    """

    text: Render
    markdown: Render | None = None
    rows: Callable[[Any], list[tuple[str, ...]]] | None = None
    gitlab: Render | None = None
    junit: Render | None = None
    html: Render | None = None
    prometheus: Render | None = None
    fits: bool = False


_CONTROL = re.compile(r"[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]")
"""What isn't shown, moves the cursor, turns the direction of writing, or can't be written as UTF-8."""


def json_text(document: Any) -> str:
    """Write a document as JSON, the same bytes for the same document; characters that hide or move are escaped."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def spellings(shown: str) -> set[str]:
    """Give all the ways in which some text may be spelled in a result or an event: as it is, and escaped."""
    from reconciler.present.html import spelling
    from reconciler.present.junit import xml_safe
    from reconciler.present.markdown import safe

    as_json = (json_text(shown).rstrip("\n"), json.dumps(shown))
    as_xml = (xml_safe(shown), xml_safe(printable(shown)))
    return {
        shown,
        printable(shown),
        safe(shown),
        *as_xml,
        *(quoted[1:-1] for quoted in as_json),
        *spelling.spellings(shown),
    }


@dataclass(frozen=True, slots=True)
class Format:
    """A format of results: `render` gives a document by its view.

    With `talks` a result is part of what is said on a terminal, and more is said around it. With `single` it is one
    document, behind which nothing may stand. With `tables` it is for documents that are tables. `part` is what a view
    must have for it; empty: it shows all. The commands that show documents with such a view name the format.
    `whole` ones have in them what others show behind a plan.
    """

    render: Callable[[View, Any, Mapping[str, Any]], str]
    talks: bool = False
    single: bool = False
    tables: bool = False
    part: str = ""
    whole: bool = False

    def shows(self, view: View) -> bool:
        """Say whether a document of that view can be shown so."""
        return not self.part or getattr(view, self.part) is not None


def _text(view: View, document: Any, how: Mapping[str, Any]) -> str:
    return view.text(document, **how)


def _json(_view: View, document: Any, _how: Mapping[str, Any]) -> str:
    return json_text(document)


def _markdown(view: View, document: Any, how: Mapping[str, Any]) -> str:
    from reconciler.present.markdown import block

    return view.markdown(document, **how) if view.markdown else block(view.text(document, **how))


def _csv(view: View, document: Any, _how: Mapping[str, Any]) -> str:
    from reconciler.present.csv_text import csv_text

    if view.rows is None:
        raise UsageError("--format csv: this is no table", hint="`updoser clients` and `updoser history` are")
    return csv_text(view.rows(document))


def _special(name: str, part: str, *, whole: bool = False) -> Format:
    """Give a format for the documents whose views have this part."""

    def shown(view: View, document: Any, how: Mapping[str, Any]) -> str:
        own: Render | None = getattr(view, part)
        if own is None:
            raise UsageError(f"--format {name}: this document can't be shown so", hint="choose text, json or markdown")
        return own(document, **how)

    return Format(shown, single=True, part=part, whole=whole)


FORMATS: Mapping[str, Format] = {
    "text": Format(_text, talks=True),
    "json": Format(_json, single=True),
    "markdown": Format(_markdown),
    "csv": Format(_csv, single=True, tables=True, part="rows"),
    "gitlab-terraform": _special("gitlab-terraform", "gitlab"),
    "junit": _special("junit", "junit"),
    "html": _special("html", "html", whole=True),
    "prometheus": _special("prometheus", "prometheus"),
}


def render(document: Any, form: str, view: View, *, look: Look = PLAIN, **how: Any) -> str:
    """Render a document; what is said of `how` goes to the view. Only what talks to people has a `look`."""
    if not (FORMATS[form].talks and view.fits):
        return FORMATS[form].render(view, document, how)
    text = FORMATS[form].render(view, document, {**how, "look": look})
    return painted(text) if look.colour else text
