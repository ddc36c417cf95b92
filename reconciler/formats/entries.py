"""Parts of JSON documents that other machines wrote: each value is taken with its type and its limits, or refused.

A reader names what it takes; what it doesn't name is passed over, as a later minor version may add keys. What isn't as
it should be is a ValueError that says where.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Collection, Iterator

WordT = TypeVar("WordT", bound=str)
MAX_NUMBER = 2**63 - 1
LINE = 1_000
"""Characters of a text that is shown in one line."""
SCRIPT = 64 * 2**10
"""Characters of a text for a shell."""
LISTED = 100_000
"""Entries of a list, where nothing else is said."""
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
_MISSING: Any = object()


class Entry:
    """A JSON object of a document, and where it stands in it. What may be missing has a default."""

    __slots__ = ("_data", "where")

    def __init__(self, data: Any, where: str) -> None:
        """Take what is to be an object."""
        if type(data) is not dict:
            raise ValueError(f"{where} isn't an object")
        self._data: dict[str, Any] = data
        self.where = where

    def text(self, key: str, default: str = _MISSING, *, most: int = LINE, fits: re.Pattern[str] | None = None) -> str:
        """Give a text of one line, which `fits` as a whole; what is empty fits only where that is the default."""
        found = self._get(key, default)
        if type(found) is not str or len(found) > most or not found.isprintable():
            raise self._wrong(key, f"a text of one line, at most {most} characters")
        if fits is not None and found != default and not fits.fullmatch(found):
            raise self._wrong(key, "what may stand there")
        return found

    def lines(self, key: str, default: str = _MISSING, *, most: int = SCRIPT) -> str:
        """Give a text of any lines, such as one for a shell."""
        found = self._get(key, default)
        if type(found) is not str or len(found) > most or "\0" in found:
            raise self._wrong(key, f"a text, at most {most} characters")
        return found

    def number(self, key: str, default: int = _MISSING, *, least: int = 0, most: int = MAX_NUMBER) -> int:
        """Give a whole number within bounds."""
        found = self._get(key, default)
        if type(found) is not int or not least <= found <= most:
            raise self._wrong(key, f"a whole number from {least} to {most}")
        return found

    def seconds(self, key: str, default: float = _MISSING, *, most: float = 1e9) -> float:
        """Give a number of seconds, with a fraction or none."""
        found = self._get(key, default)
        if type(found) not in {int, float} or not (math.isfinite(found) and 0 <= found <= most):
            raise self._wrong(key, f"a number of seconds, at most {most:g}")
        return float(found)

    def flag(self, key: str, default: bool = _MISSING) -> bool:
        """Give true or false."""
        found = self._get(key, default)
        if type(found) is not bool:
            raise self._wrong(key, "true or false")
        return found

    def word(self, key: str, known: Collection[WordT], default: str = _MISSING) -> WordT:
        """Give one of the words that are known."""
        found = self._get(key, default)
        if type(found) is not str or found not in known:
            raise self._wrong(key, f"one of {', '.join(filter(None, known))}")
        return cast("WordT", found)

    def time(self, key: str) -> datetime | None:
        """Give a time, to the microsecond; None where there is none."""
        found = self.text(key, "", most=40)
        try:
            return datetime.strptime(found, _TIME).replace(tzinfo=UTC) if found else None
        except ValueError:
            raise self._wrong(key, "a time such as 2026-11-19T06:00:00.000000Z") from None

    def entry(self, key: str) -> Entry | None:
        """Give an object; None where there is none."""
        found = self._data.get(key)
        return None if found is None else Entry(found, f"{self.where}.{key}")

    def entries(self, key: str, *, most: int = LISTED) -> list[Entry]:
        """Give a list of objects."""
        return [Entry(value, f"{self.where}.{key}[{place}]") for place, value in enumerate(self._list(key, most))]

    def texts(self, key: str, *, most: int = LISTED, longest: int = LINE) -> tuple[str, ...]:
        """Give a list of texts of one line."""
        found = self._list(key, most)
        for value in found:
            if type(value) is not str or len(value) > longest or not value.isprintable():
                raise self._wrong(key, f"a list of texts of one line, at most {longest} characters each")
        return tuple(found)

    def items(self, key: str, *, most: int = LISTED, longest: int = LINE) -> Iterator[tuple[str, Entry]]:
        """Give the names and the objects of a map."""
        for name, value in self._map(key, most, longest).items():
            yield name, Entry(value, f"{self.where}.{key}.{name}")

    def named(
        self, key: str, fits: Callable[[str, Any], bool], *, most: int = LISTED, longest: int = LINE
    ) -> dict[str, Any]:
        """Give a map of values of which each must fit, given its name."""
        found = self._map(key, most, longest)
        for name, value in found.items():
            if not fits(name, value):
                raise ValueError(f"{self.where}.{key} has at {name!r:.80} what may not stand there")
        return found

    def _get(self, key: str, default: Any) -> Any:
        found = self._data.get(key, default)
        if found is _MISSING:
            raise ValueError(f"{self.where} has no {key}")
        return found

    def _list(self, key: str, most: int) -> list[Any]:
        found = self._data.get(key, [])
        if type(found) is not list or len(found) > most:
            raise self._wrong(key, f"a list of at most {most}")
        return found

    def _map(self, key: str, most: int, longest: int) -> dict[str, Any]:
        found = self._data.get(key, {})
        if type(found) is not dict or len(found) > most:
            raise self._wrong(key, f"an object of at most {most} keys")
        for name in found:
            if len(name) > longest or not name.isprintable():
                raise self._wrong(key, f"an object with names of at most {longest} characters")
        return found

    def _wrong(self, key: str, wanted: str) -> ValueError:
        return ValueError(f"{self.where}.{key} isn't {wanted}: {self._data.get(key)!r:.80}")


def time_text(moment: datetime) -> str:
    """Write a time to the microsecond, in UTC."""
    return moment.astimezone(UTC).strftime(_TIME)


def filled(**values: Any) -> dict[str, Any]:
    """Give what isn't empty: readers take what is missing as empty."""
    return {key: value for key, value in values.items() if value}
