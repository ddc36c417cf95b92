"""Conditions that select clients by what is known of them: `component=virus-pattern version<16.679 state=outdated`.

Conditions are separated by blanks, and all of them must hold. Each is a field, an operator and a value; a value with
blanks, commas or operators stands in double quotes. With `=` and `!=` a value may list several, separated by commas:
`group=branch,office` is either, `state!=updated,ahead` neither. Names may be globs.

    component state version    of one component: all of these must hold of the same one
    name group label platform  of the client
    seen                       how long ago it was looked at last: `seen<2d`, `seen>36h` (or never), `seen=never`
    error                      a part of what it said last, in any case: `error~timed out`

What a value means beyond its spelling (is there such a component?) is for who asks.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.formats.duration import parse_duration
from reconciler.hints import suggestion

if TYPE_CHECKING:
    from collections.abc import Callable

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
}
"""The operators of each field."""
OF_COMPONENT = frozenset(["component", "version", "state"])
"""Fields that must hold of the same component."""
NEVER = "never"
STATES = (
    "updated",
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
    if not all(values):
        raise ValueError(f"a value is missing for `{field}{sign}`")
    if field == "state":
        for word in values:
            if word not in STATES:
                raise ValueError(f"there is no state `{word}`; {suggestion(word, STATES, 'states are')}")
    if field == "seen" and (sign == "=") is not (bare == NEVER):
        raise ValueError("`seen` takes < or > and a time span, such as seen<2d, or =never")
    if field == "seen" and bare != NEVER:
        parse_duration(bare)
    return values


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
        self._compare = _COMPARE[sign]
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


_COMPARE: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
