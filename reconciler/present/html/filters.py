"""Forms that ask for a part of a list, and the links between its pages: all of it stands in the address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from reconciler.present.html.links import with_query

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.present.html.shapes import Tone


class Option(NamedTuple):
    """A value that a field may have, and the word for it."""

    value: str
    text: str
    chosen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of a form. `checks` are several of some words, `select` one of them, `text` is free, `day` a date.

    `values` are those that a free one has where it may have several; `either`: one of them must fit, and one more may
    be said.
    """

    name: str
    label: str
    value: str = ""
    values: Sequence[str] | None = None
    either: bool = False
    kind: Literal["text", "select", "checks", "day"] = "text"
    hint: str = ""
    options: Sequence[Option] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """A form that asks for a part of a list. `keeps` goes on with it unseen; `clear` is the address of all of it.

    `says` is what is asked for, as a sentence; `wrong` is what can't be of it.
    """

    action: str
    fields: Sequence[Field]
    more: Sequence[Field] = ()
    keeps: Sequence[tuple[str, str]] = ()
    clear: str = ""
    says: str = ""
    wrong: str = ""

    @property
    def opened(self) -> bool:
        """Say whether something is asked for in a field that is folded away else."""
        return any(map(is_used, self.more))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pager:
    """The addresses of the pages beside one; empty where there is none. `what` are its entries."""

    what: str
    first: str = ""
    before: str = ""
    after: str = ""
    words: tuple[str, str, str] = ("Newest", "Newer", "Older")


def is_used(field: Field) -> bool:
    """Say whether something is asked for in a field."""
    chosen = any(option.chosen and option.value for option in field.options)
    return bool(field.value or field.values or chosen)


def choice(name: str, label: str, chosen: Sequence[str], words: Mapping[str, str], any_text: str) -> Field:
    """Give a field that is one of some words; several that stand in an address stay together."""
    options = [Option("", any_text, not chosen)]
    options += [Option(value, text, [value] == list(chosen)) for value, text in words.items()]
    if len(chosen) > 1:
        options.append(Option(",".join(chosen), " or ".join(words.get(one, one) for one in chosen), True))
    return Field(name=name, label=label, kind="select", options=options)


def pager(
    what: str,
    path: str,
    fields: Sequence[tuple[str, str]],
    *,
    older: str = "",
    newer: str = "",
    begun: bool = False,
    anchor: str = "",
) -> Pager:
    """Give the links of a page: behind the entry `older`, before the entry `newer`; `begun`: it isn't the first."""
    return Pager(
        what=what,
        first=with_query(path, fields) + anchor if begun else "",
        before=with_query(path, [*fields, ("newer", newer)]) + anchor if newer else "",
        after=with_query(path, [*fields, ("older", older)]) + anchor if older else "",
    )


def either(words: Sequence[str]) -> str:
    """Join words of which one holds: `a, b or c`."""
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


TONES: Mapping[str, Tone] = {
    "updated": "good",
    "pending": "pending",
    "outdated": "late",
    "missing": "late",
    "damaged": "bad",
    "ahead": "ahead",
    "deferred": "idle",
    "unknown": "idle",
    "unreachable": "late",
    "failed": "bad",
    "held": "idle",
    "quarantined": "bad",
}
"""The tone of each word for what a client or a component is in."""
