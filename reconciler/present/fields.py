"""Takes the fields of a document that nobody has checked yet: a field that isn't what it should be is an error.

Each function raises KeyError, TypeError or ValueError, which the reader of the document turns into an error of its own.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

MAX_NUMBER = 2**63 - 1


def typed(entry: Mapping[str, Any], key: str, kind: type) -> Any:
    """Take a value of exactly this type."""
    value = entry[key]
    if type(value) is not kind:
        raise TypeError(f"{key} is {value!r:.40}, not {kind.__name__}")
    return value


def flag(entry: Mapping[str, Any], key: str) -> bool:
    """Take true or false."""
    return bool(typed(entry, key, bool))


def text(entry: Mapping[str, Any], key: str) -> str:
    """Take a text that can be written as UTF-8."""
    return _sound(str(typed(entry, key, str)))


def optional(entry: Mapping[str, Any], key: str) -> str:
    """Take a text; null is an empty one."""
    return "" if entry[key] is None else text(entry, key)


def one_of(entry: Mapping[str, Any], key: str, known: Collection[str]) -> str:
    """Take a text that must be one of those known; null is an empty one."""
    value = optional(entry, key)
    if value not in known:
        raise ValueError(f"{key} is {value!r:.40}, which isn't known")
    return value


def texts(entry: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Take a list of texts."""
    values = typed(entry, key, list)
    if not all(isinstance(value, str) for value in values):
        raise TypeError(f"{key} holds something that is no text")
    return tuple(map(_sound, values))


def number(entry: Mapping[str, Any], key: str, *, least: int = 0, most: int = MAX_NUMBER) -> int:
    """Take a whole number within bounds."""
    value = int(typed(entry, key, int))
    if not least <= value <= most:
        raise ValueError(f"{key} is out of bounds")
    return value


def optional_number(entry: Mapping[str, Any], key: str) -> int | None:
    """Take a whole number or null."""
    return None if entry[key] is None else number(entry, key)


def numbers(entry: Mapping[str, Any], key: str) -> dict[str, int]:
    """Take a map of whole numbers."""
    values = typed(entry, key, dict)
    return {str(name): number(values, name) for name in values}


def optional_percentage(entry: Mapping[str, Any], key: str) -> float | None:
    """Take a number from 0 to 100, or null."""
    value = entry[key]
    if value is None:
        return None
    if type(value) not in {int, float}:
        raise TypeError(f"{key} is {value!r:.40}, not a number")
    if not (math.isfinite(value) and 0 <= value <= 100):
        raise ValueError(f"{key} is out of bounds")
    return float(value)


def time(entry: Mapping[str, Any], key: str) -> datetime:
    """Take a time, to the second."""
    return _time(text(entry, key), "%Y-%m-%dT%H:%M:%SZ")


def optional_time(entry: Mapping[str, Any], key: str) -> datetime | None:
    """Take a time, to the second, or null."""
    return None if entry[key] is None else time(entry, key)


def exact_time(entry: Mapping[str, Any], key: str) -> datetime:
    """Take a time, to the microsecond."""
    return _time(text(entry, key), "%Y-%m-%dT%H:%M:%S.%fZ")


def optional_exact_time(entry: Mapping[str, Any], key: str) -> datetime | None:
    """Take a time, to the microsecond, or null."""
    return None if entry[key] is None else exact_time(entry, key)


def entries(document: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """Take a list of maps."""
    return [typed({key: entry}, key, dict) for entry in typed(document, key, list)]


def _time(shown: str, form: str) -> datetime:
    return datetime.strptime(shown, form).replace(tzinfo=UTC)


def _sound(shown: str) -> str:
    shown.encode()
    return shown
