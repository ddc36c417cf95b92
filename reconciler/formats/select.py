"""Patterns that select clients, as Ansible users write them: `prod:&web:!db-*`, `pc-1,pc-2`, `*`, `@failed`.

Terms are separated by `,` or `:` and matched, as globs or exactly, against a client's name, group and labels. Terms
without a mark add clients; `&` keeps only those that match too; `!` takes away. The order of the terms doesn't matter:
first what adds, then `&`, then `!`. A pattern of marks alone starts from all clients. `@name` matches the members of a
named set that the caller gives (`@failed`: the clients that failed in the last run). `label=x`, `group=x` and
`name=x` match that one thing only. Brackets and colons of an IPv6 literal are not split: `[2001:db8::1]`.

Source of the rules: Ansible's "Patterns: targeting hosts and groups".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from fnmatch import translate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SPLIT = re.compile(r"[,:](?![^\[]*\])")
FIELDS = ("name", "group", "label")
MARKS = "&!"
FAILED_SET = "failed"
"""The named set of clients that failed in the last run."""

Match = Callable[[str, Collection[str], Collection[str]], bool]
"""Says whether a client of that name, those groups and those labels is meant."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A selection of clients; made by `parse`, asked with `matches`. `terms` are its parts, as they are written."""

    text: str
    added: tuple[Match, ...] = field(repr=False)
    required: tuple[Match, ...] = field(repr=False)
    excluded: tuple[Match, ...] = field(repr=False)
    terms: tuple[tuple[str, Match], ...] = field(repr=False)

    @property
    def by_name(self) -> bool:
        """False when it asks for groups and labels only, so that clients alike in these are selected alike."""
        terms = [term.strip().lstrip(MARKS) for term in _SPLIT.split(self.text)]
        return not all(term == "*" or term.startswith(("label=", "group=")) for term in terms if term)

    def matches(self, name: str, groups: Collection[str], labels: Collection[str]) -> bool:
        """Say whether a client of that name, those groups and those labels is selected."""
        return (
            (not self.added or any(term(name, groups, labels) for term in self.added))
            and all(term(name, groups, labels) for term in self.required)
            and not any(term(name, groups, labels) for term in self.excluded)
        )


def parse(text: str, sets: Mapping[str, Collection[str]] | None = None) -> Pattern:
    """Read a pattern; `sets` gives the names behind each `@set`.

    Raises:
        ValueError: the pattern is empty, has an empty term, or names a set that isn't there.
    """
    terms = [term.strip() for term in _SPLIT.split(text.strip())]
    if not any(terms):
        msg = "the pattern is empty; `*` selects all clients"
        raise ValueError(msg)
    kinds: dict[str, list[Match]] = {"": [], "&": [], "!": []}
    found = []
    for term in filter(None, terms):
        mark, wanted, rest = said_by(term)
        match = _term(wanted, rest, text, sets or {})
        kinds[mark].append(match)
        found.append((term, match))
    return Pattern(
        text=text, added=tuple(kinds[""]), required=tuple(kinds["&"]), excluded=tuple(kinds["!"]), terms=tuple(found)
    )


def said_by(term: str) -> tuple[str, str, str]:
    """Take a term apart: its mark, the one thing that it is about (empty: any), and the glob."""
    mark = term[0] if term[0] in MARKS else ""
    prefix, _, rest = term[len(mark) :].partition("=")
    return (mark, prefix, rest) if rest and prefix in FIELDS else (mark, "", term[len(mark) :])


def _term(wanted: str, term: str, pattern: str, sets: Mapping[str, Collection[str]]) -> Match:
    if not term:
        msg = f"the pattern {pattern!r} has a mark without a name"
        raise ValueError(msg)
    if term.startswith("@") and not wanted:
        if term[1:] not in sets:
            known = ", ".join(f"@{name}" for name in sorted(sets)) or "none"
            msg = f"the pattern {pattern!r} names an unknown set {term!r} (there is: {known})"
            raise ValueError(msg)
        members = frozenset(sets[term[1:]])
        return lambda name, _groups, _labels: name in members
    match = _glob(term)

    def matches(name: str, groups: Collection[str], labels: Collection[str]) -> bool:
        return (
            (wanted in {"", "name"} and match(name))
            or (wanted in {"", "group"} and _any(match, groups))
            or (wanted in {"", "label"} and _any(match, labels))
        )

    return matches


def _any(match: Callable[[str], bool], texts: Iterable[str]) -> bool:
    return any(match(text) for text in texts)


def _glob(text: str) -> Callable[[str], bool]:
    literal = text[1:-1] if text.startswith("[") and text.endswith("]") and ":" in text else text
    if literal is not text or not any(char in text for char in "*?["):
        return literal.__eq__
    compiled = re.compile(translate(text))
    return lambda candidate: compiled.match(candidate) is not None
