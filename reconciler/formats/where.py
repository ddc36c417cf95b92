"""Conditions that select clients by what is known of them: `component=virus-pattern version<16.679 state=outdated`.

Conditions are separated by blanks, and all of them must hold. Each is a field, an operator and a value; a value with
blanks, commas or operators stands in double quotes. With `=` and `!=` a value may list several, separated by commas:
`group=branch,office` is either, `state!=updated,ahead` neither. Names may be globs.

    component state version    of one component: all of these (and `behind`) must hold of the same one
    name group label platform  of the client
    seen                       how long ago it was looked at last: `seen<2d`, `seen>36h` (or never), `seen=never`
    error                      a part of what it said last, in any case: `error~timed out`
    behind                     how many releases a component lacks: `behind=1`, `behind>=2`
    known                      whether what it has is known now: `known=yes`, or `=no` where it didn't answer
    current                    whether it is updated in all that it should have: `current=yes`, or `=no`
    reason                     why it can't be reached or failed, by the word that a status counts troubles under

Addresses of pages say the same as pairs, `state=outdated&state=missing&version=<16.679&group=!branch&seen=>7d`: what is
said several times of a field is either (or neither), and the operator stands before the value where it isn't `=`, as
`!` for `!=`. Of errors, a part is meant.

What a value means beyond its spelling (is there such a component?) is for who asks.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.formats.duration import parse_duration
from reconciler.hints import suggestion
from reconciler.reasons import REASONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from reconciler.model.version import VersionScheme

ORDER = ("=", "!=", "<", "<=", ">", ">=")
_EITHER = ("=", "!=")
_PART = ("~", "!~")
FIELDS: dict[str, tuple[str, ...]] = {
    "component": _EITHER,
    "version": ORDER,
    "state": _EITHER,
    "name": _EITHER,
    "group": _EITHER,
    "label": _EITHER,
    "platform": _EITHER,
    "seen": ("<", ">", "="),
    "error": _PART,
    "reason": _EITHER,
    "known": ("=",),
    "behind": ("=", "<", "<=", ">", ">="),
    "current": ("=",),
}
"""The operators of each field."""
OF_COMPONENT = frozenset(["component", "version", "state", "behind"])
"""Fields that must hold of the same component."""
NEVER = "never"
MISSING = "missing"
"""In place of a version: there is none."""
STATES = (
    "updated",
    "pending",
    "outdated",
    "ahead",
    "missing",
    "damaged",
    "deferred",
    "unknown",
    "unreachable",
    "failed",
    "held",
    "quarantined",
)
"""Words for what a component on a client, or the client itself, is in."""
_CONDITION = re.compile(r'([a-z_]*)\s*(!=|<=|>=|!~|==|=|<|>|~)\s*("[^"]*"|[^\s"]*)')
_BLANKS = re.compile(r"\s*")
_WORD = re.compile(r"\S+")
MAX_LENGTH = 4000


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition; `values` has one value, or several of which one must fit (none, with `!=`)."""

    field: str
    sign: str
    values: tuple[str, ...]

    @property
    def text(self) -> str:
        """The condition as it may be written."""
        return f"{self.field}{self.sign}{','.join(self.values)}"


def parse_where(text: str) -> tuple[Condition, ...]:
    """Read conditions.

    Raises:
        ValueError: the message says which character is wrong, and what may stand there.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"more than {MAX_LENGTH} characters")
    found: list[Condition] = []
    at = _skip(text, 0)
    while at < len(text):
        match = _CONDITION.match(text, at)
        if match is None or not match[1]:
            word = _WORD.match(text, at)
            said = f"`{word[0]}` is no condition" if word else "a condition is missing"
            raise ValueError(f"{_place(at)}{said}: a field, an operator and a value, such as state=outdated")
        field, sign, value = match[1], "=" if match[2] == "==" else match[2], match[3]
        if field not in FIELDS:
            raise ValueError(f"{_place(at)}there is no field `{field}`; {suggestion(field, FIELDS, 'fields are')}")
        if sign not in FIELDS[field]:
            allowed = ", ".join(FIELDS[field])
            raise ValueError(f"{_place(match.start(2))}`{field}` takes {allowed}, not {sign}")
        try:
            found.append(Condition(field, sign, _values(field, sign, value)))
        except ValueError as error:
            raise ValueError(f"{_place(match.start(3))}{error}") from None
        rest = match.end()
        if rest < len(text) and not text[rest].isspace():
            raise ValueError(f"{_place(rest)}a blank is missing behind `{match[0]}`")
        at = _skip(text, rest)
    if not found:
        raise ValueError(f"no condition; {suggestion('', FIELDS, 'fields are')}")
    return tuple(found)


def _values(field: str, sign: str, value: str) -> tuple[str, ...]:
    quoted = value.startswith('"')
    bare = value[1:-1] if quoted else value
    values = (bare,) if quoted or sign not in _EITHER else tuple(bare.split(","))
    _check(field, sign, values)
    return values


def _check(field: str, sign: str, values: tuple[str, ...]) -> None:
    """Refuse values that a field can't have."""
    if not all(values):
        raise ValueError(f"a value is missing for `{field}{sign}`")
    for word in values if field in _WORDS else ():
        if word not in _WORDS[field]:
            raise ValueError(f"there is no {field} `{word}`; {suggestion(word, _WORDS[field], f'{field}s are')}")
    for text in values if field == "behind" else ():
        if not _NUMBER.fullmatch(text):
            raise ValueError(f"`behind` takes a number of releases, such as behind>=2, not `{text}`")
    if field == "seen" and (sign == "=") is not (values == (NEVER,)):
        raise ValueError("`seen` takes < or > and a time span, such as seen<2d, or =never")
    if field == "seen" and values != (NEVER,):
        parse_duration(values[0])


_WORDS = {"state": STATES, "reason": tuple(REASONS), "known": ("yes", "no"), "current": ("yes", "no")}
_NUMBER = re.compile(r"[0-9]{1,6}")


def conditions_of(pairs: Iterable[tuple[str, str]]) -> tuple[Condition, ...]:
    """Read the conditions of an address, pair by pair; a value that is empty says nothing.

    Raises:
        ValueError: the message says which pair is wrong, and what may stand there.
    """
    said: dict[tuple[str, str], list[str]] = {}
    found: list[Condition] = []
    length = 0
    for field, text in pairs:
        if field not in FIELDS:
            raise ValueError(f"there is no field `{field}`; {suggestion(field, FIELDS, 'fields are')}")
        length += len(field) + len(text)
        if length > MAX_LENGTH:
            raise ValueError(f"more than {MAX_LENGTH} characters")
        if not text.strip():
            continue
        sign, value = _signed(field, text)
        values = tuple(value.split(",")) if field in _LISTS else (value,)
        try:
            _check(field, sign, values)
        except ValueError as error:
            raise ValueError(f"{field}={text}: {error}") from None
        if sign in _EITHER:
            said.setdefault((field, sign), []).extend(values)
        else:
            found.append(Condition(field, sign, values))
    either = (Condition(field, sign, tuple(dict.fromkeys(values))) for (field, sign), values in said.items())
    return tuple(dict.fromkeys([*either, *found]))


_LISTS = frozenset(["component", "state", "reason", "behind"])
"""Fields of whose values none has a comma in it."""
_ORDERED = frozenset(["version", "seen", "behind"])


def _signed(field: str, text: str) -> tuple[str, str]:
    """Take the operator off a value of an address: one that begins like an operator, or a blank, stands behind `=`."""
    usual, other = _PART if field == "error" else _EITHER
    if text.startswith("="):
        return usual, text[1:]
    bare = text.strip()
    ordered = {"<=": "<=", ">=": ">=", "<": "<", ">": ">"} if field in _ORDERED else {}
    signs = {**ordered, "!": other}
    for mark, sign in signs.items():
        if bare.startswith(mark) and sign in FIELDS[field]:
            return sign, bare[len(mark) :].strip()
    return usual, bare


def address_of(conditions: Iterable[Condition]) -> list[tuple[str, str]]:
    """Give the pairs of an address that says conditions; `conditions_of` reads them back."""
    return [(one.field, _marked(one.sign, value)) for one in conditions for value in one.values]


def _marked(sign: str, value: str) -> str:
    usual = sign in {"=", "~"}
    if usual and (value.startswith(("!", "=", "<", ">")) or value != value.strip()):
        return f"={value}"
    return value if usual else ("!" if sign in {"!=", "!~"} else sign) + value


def _skip(text: str, at: int) -> int:
    match = _BLANKS.match(text, at)
    return match.end() if match else at


def _place(at: int) -> str:
    return f"at character {at + 1}: "


class Bound:
    """What a version is compared with: a version, or the beginning of one (`16.679` of 16.679.00).

    A version that begins like a beginning is equal to it.
    """

    __slots__ = ("_compare", "_exact", "_key")

    def __init__(self, sign: str, text: str, scheme: VersionScheme) -> None:
        """Read the text as the scheme does.

        Raises:
            ValueError: it is neither a version of the scheme nor the beginning of one.
        """
        self._compare = COMPARE[sign]
        self._exact = scheme.accepts(text)
        fields = len(text.split("."))
        whole = text if self._exact else ".".join((text, *scheme.example.split(".")[fields:]))
        if not scheme.accepts(whole):
            scheme.parse(text)
        key = scheme.parse(whole).key
        self._key = key if self._exact else key[:fields]

    def holds(self, version: tuple[int, ...]) -> bool:
        """Say whether it holds of a version, by its key."""
        return self._compare(version if self._exact else version[: len(self._key)], self._key)


COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
