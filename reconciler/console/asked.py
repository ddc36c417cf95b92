"""What an address asks for: its fields, read one by one, and what is wrong with them in words.

Nothing that isn't understood is passed over: a list of all clients where somebody asked for a few would mislead.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar, cast

from reconciler.hints import suggestion

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from starlette.requests import Request

Word = TypeVar("Word", bound=str)
MAX_VALUES = 100
MAX_LENGTH = 1000
_ID = 2**63


class BadAddressError(ValueError):
    """An address asks for what can't be; the message says what is wrong, and what may stand there."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The fields of an address, each with its values that aren't empty."""

    given: Mapping[str, Sequence[str]]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The fields as an address has them."""
        return [(name, value) for name, values in self.given.items() for value in values]

    def without(self, *names: str) -> list[tuple[str, str]]:
        """Give the fields but for some, as an address has them."""
        return [(name, value) for name, value in self.pairs if name not in names]

    def one(self, name: str) -> str:
        """Give the value of a field that may have one; empty where it has none.

        Raises:
            BadAddressError: it has several.
        """
        values = self.given.get(name, ())
        if len(values) > 1:
            raise BadAddressError(f"`{name}` may stand there once")
        return values[0] if values else ""

    def words(self, name: str, known: Sequence[Word]) -> tuple[Word, ...]:
        """Give the values of a field of which each is one of some words; several may stand in one, between commas.

        Raises:
            BadAddressError: one isn't among them.
        """
        found = [word.strip() for value in self.given.get(name, ()) for word in value.split(",")]
        for word in found:
            if word not in known:
                raise BadAddressError(f"`{name}` can't be `{word}`; {suggestion(word, known, 'it may be')}")
        return tuple(cast("Word", word) for word in dict.fromkeys(found))

    def id(self, name: str) -> str:
        """Give a field that is the number of an entry.

        Raises:
            BadAddressError: it is no number.
        """
        text = self.one(name)
        if text and not (text.isascii() and text.isdigit() and int(text) < _ID):
            raise BadAddressError(f"`{name}` is the number of an entry, not `{text}`")
        return text

    def day(self, name: str) -> datetime | None:
        """Give the begin of a day (UTC); None where none is given.

        Raises:
            BadAddressError: it is no day.
        """
        text = self.one(name)
        if not text:
            return None
        try:
            return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        except ValueError:
            raise BadAddressError(f"`{name}` is a day such as 2026-11-29, not `{text}`") from None


def asked_of(request: Request, known: Collection[str]) -> Asked:
    """Read the fields of an address.

    Raises:
        BadAddressError: one isn't known, there are too many, or one is no text.
    """
    found: dict[str, list[str]] = {}
    pairs = request.query_params.multi_items()
    if len(pairs) > MAX_VALUES:
        raise BadAddressError(f"there are more than {MAX_VALUES} fields")
    for name, value in pairs:
        if name not in known:
            raise BadAddressError(f"there is no field `{name[:40]}`; {suggestion(name, known, 'there are')}")
        if len(value) > MAX_LENGTH:
            raise BadAddressError(f"`{name}` has more than {MAX_LENGTH} characters")
        if not value.isprintable() or "\ufffd" in value:
            raise BadAddressError(f"`{name}` has a character in it that can't be shown")
        if value.strip():
            found.setdefault(name, []).append(value.strip())
    return Asked(found)
