"""Patterns that take nobody: a name that was mistyped must not be passed over in silence.

* Each term of `--limit` that no client answers to is an error, also one that takes clients away: whoever writes it
  means clients that are there.
* In the spec, a hold or a wave may be for clients that come later: such a term is a note. A term with `!` stands guard
  there, and is no note.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import UsageError
from reconciler.formats.select import FIELDS, MARKS, parse
from reconciler.hints import did_you_mean
from reconciler.storage.fleet import labels_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from reconciler.formats.select import Pattern
    from reconciler.storage.fleet import ClientRow

Named = tuple[str, tuple[str, ...], tuple[str, ...]]
"""What a pattern asks of a client: its name, its groups, its labels."""


def check_limit(pattern: Pattern, rows: Iterable[ClientRow]) -> None:
    """Refuse a limit that takes no client, or of which a term doesn't.

    Raises:
        UsageError: the message names such terms, and what is near them.
    """
    fleet = list(_named(rows))
    idle = _idle({"": pattern}, fleet)
    if idle:
        terms = [term for _where, term in idle]
        take = "takes" if len(terms) == 1 else "take"
        near = next(filter(None, (_near(term, fleet) for term in terms)), "")
        raise UsageError(
            f"--limit: {', '.join(f'`{term}`' for term in terms)} {take} no client",
            hint=near or "`updoser plan --diff` names clients",
        )
    if not any(pattern.matches(*client) for client in fleet):
        raise UsageError(
            f"--limit {pattern.text}: no client matches all of it", hint="each part takes clients, and none is left"
        )


def notes_of(patterns: Mapping[str, str], rows: Iterable[ClientRow]) -> list[str]:
    """Give a sentence for each term of the spec's patterns that takes no client; they stand by where they are from."""
    if not patterns:
        return []
    fleet = list(_named(rows))
    parsed = {where: parse(text) for where, text in patterns.items()}
    found = [(where, term) for where, term in _idle(parsed, fleet) if not term.startswith("!")]
    notes = []
    for where, term in found:
        near = _near(term, fleet)
        notes.append(f"{where}: `{term}` takes no client{f'; {near}' if near else ''}")
    return notes


def _named(rows: Iterable[ClientRow]) -> Iterator[Named]:
    known: dict[str, tuple[str, ...]] = {}
    for row in rows:
        if row.labels not in known:
            known[row.labels] = labels_of(row.labels)
        yield row.name, (row.group,), known[row.labels]


def _idle(patterns: Mapping[str, Pattern], fleet: Iterable[Named]) -> list[tuple[str, str]]:
    """Give the terms that match nobody, and which pattern each is of."""
    waiting = [(where, term, match) for where, pattern in patterns.items() for term, match in pattern.terms]
    for client in fleet:
        if not waiting:
            break
        waiting = [entry for entry in waiting if not entry[2](*client)]
    return [(where, term) for where, term, _match in waiting]


def _near(term: str, fleet: Iterable[Named]) -> str:
    """Give what was probably meant by a term: a name, a group or a label."""
    word = term.lstrip(MARKS)
    prefix, _, rest = word.partition("=")
    word = rest if rest and prefix in FIELDS else word
    known = {text: None for name, groups, labels in fleet for text in (name, *groups, *labels)}
    return did_you_mean(word, known)
