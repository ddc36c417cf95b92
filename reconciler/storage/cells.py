"""What a cell of the state may hold: SQLite keeps anything in any column, and a disk may flip bits.

* Columns have types that check what was read (`tables`): a text, a number, a time that a calendar has.
* What is made from cells is checked by the types that its fields say (`checked`).
* Whatever goes wrong while cells are made into something (`sound`) is damage of the state, never a fault.
* Texts that no database keeps alike are made such that all do (`clean`), whoever writes them: on their way into each
  statement, in one place (`database`).
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy

from reconciler.errors import StateError
from reconciler.model.notice import CHANGES, CONDITIONS, SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

T = TypeVar("T")
DAMAGED = "it is damaged: put a backup in its place, or move it away and use --adopt"
LATEST = 253_402_214_400.0
"""Seconds: the last day of the calendar."""
MAX_NUMBER = 2**63 - 1
_ODD = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, AssertionError)


@contextmanager
def sound(place: object) -> Iterator[None]:
    """Turn whatever goes wrong while cells are read into StateError."""
    try:
        yield
    except _ODD as error:
        what = f"{type(error).__name__}: {error}"
        raise StateError(
            f"the state {place} holds what updoser didn't write there ({what[:200]})", hint=DAMAGED
        ) from error


def odd(value: object) -> StateError:
    """Give the error that a cell means which can't be."""
    return StateError(f"the state holds {repr(value)[:60]} where that can't be", hint=DAMAGED)


# --- texts on their way in --------------------------------------------------------------------------------------------

_UNFIT = re.compile("[\0\ud800-\udfff]")
_ESCAPED = re.compile(r"\\\\|\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|\\u(?:0000|d[89a-f][0-9a-f]{2})")
"""What JSON has in place of such characters; an escaped backslash and a whole pair are passed over."""
INSTEAD = "\ufffd"
"""What stands in place of a character that can't be written: the replacement character."""


def clean(text: str) -> str:
    """Give a text without NUL and halves of surrogate pairs, also where it is a document of JSON that escapes them.

    PostgreSQL refuses the first and nothing can write the others, and both come from clients and names of files.
    """
    if "\0" in text or not text.isascii():
        text = _UNFIT.sub(INSTEAD, text)
    if "\\u" in text and text[0] in '[{"':
        text = _ESCAPED.sub(_instead, text)
    return text


def _instead(found: re.Match[str]) -> str:
    escaped = found.group()
    return "\\ufffd" if len(escaped) == 6 else escaped


def cleaned(given: Any) -> Any:
    """Give the parameters of a statement (a row), or of many (a list of rows), with clean texts.

    Nearly always nothing is amiss, and there may be a million: that is found out first.
    """
    rows = given if isinstance(given, list) else [given]
    named = bool(rows) and isinstance(rows[0], dict)  # then all are
    if not _is_amiss(list(chain.from_iterable(map(dict.values, rows) if named else rows))):
        return given
    made = [
        {name: _cell(value) for name, value in row.items()} if isinstance(row, dict) else tuple(map(_cell, row))
        for row in rows
    ]
    return made if isinstance(given, list) else made[0]


def _is_amiss(values: list[Any]) -> bool:
    """Look at all texts as one; an array is looked into, cell by cell."""
    kinds = set(map(type, values))
    if list in kinds:
        return True
    text = "\n".join(values if kinds == {str} else [value for value in values if type(value) is str])
    return not text.isascii() or "\0" in text or "\\u" in text


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    return [_cell(each) for each in value] if isinstance(value, list) else value


# --- columns ----------------------------------------------------------------------------------------------------------


class _Checked:
    """What all types of columns share."""

    def result_processor(self, dialect: Any, coltype: Any) -> Callable[[Any], Any]:
        """Give what makes a value of a cell."""
        made = super().result_processor(dialect, coltype)  # type: ignore[misc]
        fits = self.fits

        def process(value: Any) -> Any:
            if value is None:
                return None
            if not fits(value):
                raise odd(value)
            return made(value) if made else value

        return process

    @staticmethod
    def fits(value: Any) -> bool:
        """Say whether a cell may hold a value."""
        return isinstance(value, str)


class String(_Checked, sqlalchemy.String):
    """A short text."""

    cache_ok = True


class Text(_Checked, sqlalchemy.Text):
    """A text."""

    cache_ok = True


class Float(_Checked, sqlalchemy.Float):  # type: ignore[type-arg]
    """A time, in seconds."""

    cache_ok = True

    @staticmethod
    def fits(value: Any) -> bool:
        """Say whether a calendar has it."""
        return isinstance(value, (int, float)) and 0 <= value <= LATEST


class _Whole(_Checked):
    """What columns of counts share."""

    @staticmethod
    def fits(value: Any) -> bool:
        """Say whether it is a whole number."""
        return isinstance(value, int)


class Integer(_Whole, sqlalchemy.Integer):
    """A count."""

    cache_ok = True


class BigInteger(_Whole, sqlalchemy.BigInteger):
    """A count of bytes."""

    cache_ok = True


class Boolean(_Checked, sqlalchemy.Boolean):
    """Yes or no."""

    cache_ok = True

    @staticmethod
    def fits(value: Any) -> bool:
        """Say whether it is one of both."""
        return value in (0, 1)


# --- what is made from cells ------------------------------------------------------------------------------------------


def checked(made: T) -> T:
    """Give an object of a dataclass, once each of its fields is of the type that it says.

    Raises:
        ValueError: one isn't.
    """
    kind: Any = type(made)
    for name, fits in _fields(kind):
        value = getattr(made, name)
        if not fits(value):
            raise ValueError(f"{name} is {repr(value)[:60]}")
    return made


@lru_cache
def _fields(kind: Hashable) -> tuple[tuple[str, Callable[[Any], bool]], ...]:
    """Give the fields of a dataclass, each with what its values must be."""
    return tuple((field.name, _FITS.get(str(field.type), _is_nested)) for field in fields(kind))  # type: ignore[arg-type]


def _is_text(value: object) -> bool:
    if not isinstance(value, str):
        return False
    value.encode()  # a lone surrogate can't be written anywhere
    return True


def _is_number(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_NUMBER


def _all(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, tuple) and all(map(fits, value))


def _or_none(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


def _is_nested(value: object) -> bool:
    entries = value if isinstance(value, tuple) else (value,)
    return all(is_dataclass(checked(entry)) for entry in entries)


_WORDS = (
    *("RolloutStatus", "Undo", "PlanStatus", "JournalOutcome", "RunPart", "ReasonIfAny"),
    *("ControllerPhase", "ControllerMode", "RequestKind", "RequestStatus", "SignInWay"),
)
_FITS: dict[str, Callable[[Any], bool]] = {
    "str": _is_text,
    **dict.fromkeys(_WORDS, _is_text),  # one that isn't known is told where it decides something
    "int": lambda value: type(value) is int and abs(value) <= MAX_NUMBER,
    "tuple[tuple[str, int], ...]": lambda value: all(_is_text(name) and _is_number(count) for name, count in value),
    "Change": lambda value: value in CHANGES,
    "ConditionKind": lambda value: value in CONDITIONS,
    "Severity": lambda value: value in SEVERITIES,
    "Severity | None": lambda value: value is None or value in SEVERITIES,
    "float": lambda value: isinstance(value, float) and 0 <= value <= LATEST,
    "bool": lambda value: isinstance(value, bool),
    "str | None": _or_none(_is_text),
    "int | None": _or_none(_is_number),
    "datetime": lambda value: isinstance(value, datetime),
    "datetime | None": _or_none(lambda value: isinstance(value, datetime)),
    **dict.fromkeys(("tuple[str, ...]", "tuple[Family, ...]", "tuple[Role, ...]"), _all(_is_text)),
    "tuple[int, ...]": _all(_is_number),
    "tuple[tuple[str, str], ...]": _all(
        lambda pair: isinstance(pair, tuple) and len(pair) == 2 and all(map(_is_text, pair))
    ),
    "Mapping[str, str]": lambda value: isinstance(value, dict) and all(map(_is_text, [*value, *value.values()])),
}
