"""What a page shows of what is wanted: sections of the spec, their values, and the line that each came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from reconciler.present.html import links
from reconciler.present.words import count_text, number_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SHOWN = {"": "all that is in force", "written": "only what somebody wrote"}
_WHOLE = 1_500
"""Up to so many values all sections are shown at once."""
_SEARCHED = 400
"""So many sections are searched for a word."""
_FOUND = 500
_SPECIAL = ("components", "groups", "sources", "notify")


class Value(NamedTuple):
    """A value: the keys before its own, its own, what it is, whether that has lines, and where it came from."""

    above: str
    key: str
    text: str
    long: bool
    origin: str
    written: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section with its values; `left_out` says what isn't shown of it."""

    anchor: str
    name: str
    own: str
    values: Sequence[Value]
    left_out: str


class Entry(NamedTuple):
    """A section in the index."""

    name: str
    link: str
    written: str
    current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredView:
    """What is wanted. `index` has groups of sections: a title, and the sections below it."""

    headline: str
    facts: Sequence[tuple[str, str]]
    asked: Mapping[str, str]
    index: Sequence[tuple[str, Sequence[Entry]]]
    sections: Sequence[Section]
    says: str
    nothing: str
    shown: Sequence[tuple[str, str]] = tuple(SHOWN.items())


def sections_to_show(index: Mapping[str, Any], asked: Mapping[str, str]) -> list[str]:
    """Give the names of the sections that a page needs."""
    names = [one["section"] for one in index["sections"]]
    if asked["at"]:
        return [asked["at"]]
    if asked["q"]:
        return names[:_SEARCHED]
    return names if sum(one["values"] for one in index["sections"]) <= _WHOLE else []


def view_of_desired(
    index: Mapping[str, Any], documents: Sequence[Mapping[str, Any]], asked: Mapping[str, str]
) -> DesiredView:
    """Give what a page shows of what is wanted."""
    word = asked["q"].casefold()
    sections, found = [], 0
    for document in documents:
        values = list(_values(document, word, only_written=asked["show"] == "written"))[: _FOUND - found]
        found += len(values)
        if values:
            sections.append(_section(document, values))
    facts = [("file", index["file"]), ("commit", index["commit"][:12]), ("signed by", index["signer"])]
    return DesiredView(
        headline="What is wanted" if not asked["at"] else asked["at"],
        facts=[(label, said) for label, said in facts if said],
        asked=asked,
        index=_index(index, asked),
        sections=sections,
        says=_says(index, asked, found),
        nothing="Nothing in it has that word." if word else "Choose a section: there are too many to show all at once.",
    )


def _says(index: Mapping[str, Any], asked: Mapping[str, str], found: int) -> str:
    if asked["q"]:
        most = " (no more are shown)" if found >= _FOUND else ""
        return f"{count_text(found, 'value')} with \u201c{asked['q']}\u201d{most}"
    if asked["at"]:
        return ""
    written = sum(one["written"] for one in index["sections"])
    total = sum(one["values"] for one in index["sections"])
    return f"{count_text(total, 'value')} in force, {number_text(written)} of them written in a file"


def _index(index: Mapping[str, Any], asked: Mapping[str, str]) -> list[tuple[str, list[Entry]]]:
    """Give the sections by what they are: those of components, of groups, of sources, and the others."""
    groups: dict[str, list[Entry]] = {"the file": []}
    for one in index["sections"]:
        holder, dot, name = one["section"].partition(".")
        special = bool(dot) and holder in _SPECIAL
        link = links.with_query("/desired", {"at": one["section"], "show": asked["show"]}.items())
        shown = name if special else one["section"]
        entry = Entry(shown, link, number_text(one["written"]), one["section"] == asked["at"])
        groups.setdefault(holder if special else "the file", []).append(entry)
    return [(title, entries) for title, entries in groups.items() if entries]


def _section(document: Mapping[str, Any], values: Sequence[Value]) -> Section:
    name, left_out = document["section"], document["left_out"]
    holder, dot, own = name.partition(".")
    return Section(
        anchor=name,
        name=name,
        own=links.component(own) if holder == "components" and dot and own != "*" else "",
        values=values,
        left_out=f"{count_text(left_out, 'value')} of further clients aren't shown" if left_out else "",
    )


def _values(document: Mapping[str, Any], word: str, *, only_written: bool) -> Iterator[Value]:
    for path, value, origin in document["values"]:
        written = bool(origin) and not origin.startswith("default")
        text = _text(value)
        if only_written and not written:
            continue
        if word and word not in f"{document['section']}.{path} {text}".casefold():
            continue
        above, _dot, key = (path or document["section"]).rpartition(".")
        yield Value(
            above=f"{above}." if above else "",
            key=key,
            text=text,
            long="\n" in text,
            origin=origin or "default",
            written=written,
        )


def _text(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if value in ({}, [], ""):
        return "none" if not isinstance(value, str) else "empty"
    return str(value).rstrip("\n")
