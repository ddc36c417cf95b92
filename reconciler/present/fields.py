"""Values of documents: takes those that nobody has checked yet, and writes the ones that JSON has no type for.

Each function that takes one gets what was found and the key that it stands under. What isn't as it should be is a
TypeError or ValueError that names the key; the reader of the document makes an error of its own of these.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Collection

FORMAT_VERSION = "1.0"
"""Of all documents."""
MAX_NUMBER = 2**63 - 1

WordT = TypeVar("WordT", bound=str)


def typed(value: Any, key: str, kind: type) -> Any:
    """Take a value of exactly this type."""
    if type(value) is not kind:
        raise TypeError(f"{key} is {value!r:.40}, not {kind.__name__}")
    return value


def flag(value: Any, key: str) -> bool:
    """Take true or false."""
    return bool(typed(value, key, bool))


def text(value: Any, key: str) -> str:
    """Take a text that can be written as UTF-8."""
    return _sound(str(typed(value, key, str)))


def optional(value: Any, key: str) -> str:
    """Take a text; null is an empty one."""
    return "" if value is None else text(value, key)


def one_of(value: Any, key: str, known: Collection[WordT]) -> WordT:
    """Take a text that must be one of those known; null is an empty one."""
    found = optional(value, key)
    if found not in known:
        raise ValueError(f"{key} is {found!r:.40}, which isn't known")
    return cast("WordT", found)


def texts(values: Any, key: str) -> tuple[str, ...]:
    """Take a list of texts."""
    if not all(isinstance(value, str) for value in typed(values, key, list)):
        raise TypeError(f"{key} holds something that is no text")
    return tuple(map(_sound, values))


def number(value: Any, key: str, *, least: int = 0, most: int = MAX_NUMBER) -> int:
    """Take a whole number within bounds."""
    found = int(typed(value, key, int))
    if not least <= found <= most:
        raise ValueError(f"{key} is out of bounds")
    return found


def percentage(value: Any, key: str) -> float:
    """Take a number from 0 to 100."""
    if type(value) not in {int, float}:
        raise TypeError(f"{key} is {value!r:.40}, not a number")
    if not (math.isfinite(value) and 0 <= value <= 100):
        raise ValueError(f"{key} is out of bounds")
    return float(value)


def time(value: Any, key: str) -> datetime:
    """Take a time, to the second."""
    return _time(text(value, key), _TO_THE_SECOND)


def exact_time(value: Any, key: str) -> datetime:
    """Take a time, to the microsecond."""
    return _time(text(value, key), _EXACT)


def time_text(moment: datetime) -> str:
    """Write a time as all documents do: UTC, to the second, `2026-11-20T12:00:00Z`."""
    return moment.astimezone(UTC).strftime(_TO_THE_SECOND)


def exact_time_text(moment: datetime) -> str:
    """Write a time that is compared exactly: UTC, to the microsecond, `2026-11-20T12:00:00.000000Z`."""
    return moment.astimezone(UTC).strftime(_EXACT)


_TO_THE_SECOND, _EXACT = "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.%fZ"


@lru_cache(1000)
def _time(shown: str, form: str) -> datetime:
    return datetime.strptime(shown, form).replace(tzinfo=UTC)


def _sound(shown: str) -> str:
    shown.encode()
    return shown
