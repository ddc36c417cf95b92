"""What fingerprints are made of: lists of fields that stand written down, never all that a class has at the moment.

Fingerprints are remembered, by the state, by clients and in plan files, and compared with new ones. A field that is
added to a class must not make every remembered one another: that would mark a whole fleet as changed. So each
fingerprint names the fields of its first form, which are always in it; a field that came later is in it only where it
isn't at its default. A default that changes, or another meaning of a field, wants another form: say in it which.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


def parts(record: Any, first: tuple[str, ...]) -> dict[str, Any]:
    """Give what a fingerprint is made of: the fields of its first form, and later ones that say something."""
    found = {name: getattr(record, name) for name in first}
    for name, default in _later(type(record), first):  # type: ignore[arg-type]
        value = getattr(record, name)
        if value != default:
            found[name] = value
    return found


def spelled(name: str, values: dict[str, Any]) -> str:
    """Write parts down as a call: as `repr` did when the first records of rollouts were made."""
    return f"{name}({', '.join(f'{field}={value!r}' for field, value in values.items())})"


class Spelled(str):
    """A text that stands for itself among parts."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Give the text without quotes."""
        return str(self)


def in_turn(texts: Iterable[str]) -> Spelled:
    """Write several down as a tuple."""
    return Spelled(repr(tuple(map(Spelled, texts))))


@lru_cache(maxsize=100)
def _later(kind: type, first: tuple[str, ...]) -> tuple[tuple[str, Any], ...]:
    """Give the fields that aren't of the first form, with their defaults."""
    made = ((field, field.default_factory) for field in fields(kind) if field.name not in first)
    return tuple((field.name, field.default if maker is MISSING else maker()) for field, maker in made)
