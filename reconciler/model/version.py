"""Versions and the schemes that order them.

A scheme accepts one spelling of each version, so that a version's text is its identity (it names folders on clients)
and equal versions are equal texts. Order is by numeric fields, never by text, file name or a part of the version:

* `pattern`   roll.pattern.build: `16.679.00`. The pattern runs from 100 to 999, then the roll rises: `16.999.00` is
  followed by `17.100.00`. Whatever has that form, with three digits and two, is a version: `16.001.00`, `0.999.00`.
  Its integer form is roll * 100000 + pattern * 100 + build: 1667900.
* `dotted`    one to six numeric fields: `9.850.1008`, `1.1.25010.7`. A version is below its own extension: 1.0 < 1.0.0.
* `integer`   `27811`.
* `calver`    a date, then an optional number or time of that day: `2026.11.19`, `2026.11.19.2`, `2026.11.19T061500`.
  What has no version but its bytes is told apart by the first 8 digits of their SHA-256: `2026.11.19T061500+4f2a9c31`.
  A date is below what it is the beginning of; a number is above all times of its day.

Source of the rules: the project's facts of the field, "Versions".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date
from functools import lru_cache, total_ordering
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

_NUMBER = r"(?:0|[1-9][0-9]{0,17})"
_PATTERN = re.compile(r"(0|[1-9][0-9]{0,5})\.([0-9]{3})\.([0-9]{2})")
_DOTTED = re.compile(rf"{_NUMBER}(?:\.{_NUMBER}){{0,5}}")
_INTEGER = re.compile(_NUMBER)
_REMEMBERED = 50_000
"""Versions that are read once: a fleet has few, and many clients have each."""
_CALVER = re.compile(
    r"([0-9]{4})\.([0-9]{2})\.([0-9]{2})"
    r"(?:\.([1-9][0-9]{0,8})|T((?:[01][0-9]|2[0-3])[0-5][0-9][0-5][0-9]))?(?:\+([0-9a-f]{8}))?"
)


@total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """A version of one scheme: its only spelling and the key that orders it."""

    text: str
    key: tuple[int, ...]

    def __lt__(self, other: Version) -> bool:
        return self.key < other.key

    def __str__(self) -> str:
        return self.text


@lru_cache(_REMEMBERED)
def _pattern(text: str) -> tuple[int, ...] | None:
    match = _PATTERN.fullmatch(text)
    return tuple(int(field) for field in match.groups()) if match else None


@lru_cache(_REMEMBERED)
def _dotted(text: str) -> tuple[int, ...] | None:
    return tuple(int(field) for field in text.split(".")) if _DOTTED.fullmatch(text) else None


@lru_cache(_REMEMBERED)
def _integer(text: str) -> tuple[int, ...] | None:
    return (int(text),) if _INTEGER.fullmatch(text) else None


@lru_cache(_REMEMBERED)
def _calver(text: str) -> tuple[int, ...] | None:
    match = _CALVER.fullmatch(text)
    if not match:
        return None
    year, month, day, number = (int(field or 0) for field in match.groups()[:4])
    try:
        date(year, month, day)
    except ValueError:
        return None
    time = int(match[5]) + 1 if match[5] else 0
    digest = int(match[6], 16) + 1 if match[6] else 0
    return year, month, day, number, time, digest


@dataclass(frozen=True, slots=True)
class VersionScheme:
    """A named way to read versions; `example` is shown in error messages."""

    name: str
    example: str
    read: Callable[[str], tuple[int, ...] | None]

    def parse(self, text: str) -> Version:
        """Read `text` as a version.

        Raises:
            ValueError: the text is not a version of this scheme.
        """
        key = self.read(text)
        if key is None:
            msg = f"{text!r} is not a version of the scheme {self.name} (such as {self.example})"
            raise ValueError(msg)
        return Version(text, key)

    def accepts(self, text: str) -> bool:
        """Say whether `text` is a version of this scheme."""
        return self.read(text) is not None


SCHEMES: dict[str, VersionScheme] = {
    scheme.name: scheme
    for scheme in (
        VersionScheme("pattern", "16.679.00", _pattern),
        VersionScheme("dotted", "9.850.1008", _dotted),
        VersionScheme("integer", "27811", _integer),
        VersionScheme("calver", "2026.11.19", _calver),
    )
}


def dated_version(moment: datetime, sha256: str = "") -> str:
    """Give the version, of the scheme calver, of what has none of its own: when it came out, and what its bytes are."""
    told_apart = f"+{sha256[:8]}" if sha256 else ""
    return f"{moment.astimezone(UTC):%Y.%m.%dT%H%M%S}{told_apart}".zfill(len("2026.11.19T061500") + len(told_apart))


def pattern_to_integer(version: Version) -> int:
    """Give the integer form of a pattern version: 16.679.00 is 1667900."""
    roll, pattern, build = version.key
    return roll * 100_000 + pattern * 100 + build


def pattern_from_integer(number: int) -> Version:
    """Read the integer form of a pattern version: 1667900 is 16.679.00.

    Raises:
        ValueError: no pattern version has this integer form.
    """
    rest, build = divmod(number, 100)
    roll, pattern = divmod(rest, 1000)
    return SCHEMES["pattern"].parse(f"{roll}.{pattern:03}.{build:02}")
