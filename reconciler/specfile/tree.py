"""YAML values that know where they stand: maps and lists of plain Python values with a place for every entry.

* `Map` and `Seq` are a dict and a list, so a JSON Schema validator, `==` and iteration treat them as such.
* Scalars are plain `str`, `int`, `float`, `bool`, `None`; their place is kept by the map or list that holds them.
* A plain scalar that YAML reads as something other than what is written (`9.10`, `12:00`, `0644`, `on`, a date) is an
  `Odd`: it is neither text nor number until `options.settle` knows what is meant at its place.
* A place without a text (`DEFAULT`) belongs to a value that nobody wrote: a default of the schema.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from reconciler.errors import Problem, UpdoserError
from reconciler.formats.duration import parse_duration
from reconciler.formats.select import parse as parse_pattern
from reconciler.paths import path_from

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import timedelta
    from pathlib import Path

    from reconciler.model.network import Family

MAX_EXCERPT = 200
_SPAN = re.compile(r"([0-9]+[smhdw])+")

Key = str | int
WordT = TypeVar("WordT", bound=str)


@dataclass(frozen=True, slots=True)
class Text:
    """A file as it was read: its name for messages, its folder, its lines, its rank in the order of messages.

    `whose` says by which way values came from there into another file's tree; empty where they were written there.
    """

    name: str
    folder: Path
    lines: Sequence[str]
    rank: int = 0
    whose: str = ""


class Place(NamedTuple):
    """Where a key or value stands, counted from 1. `raw` is a plain scalar as written; `template` what was rendered."""

    text: Text | None
    line: int = 0
    column: int = 0
    raw: str = ""
    template: str = ""

    def problem(self, message: str, hint: str = "", *, excerpt: bool = True) -> Problem:
        """Make a problem at this place; without `excerpt` the line isn't shown (it may hold a secret)."""
        if self.text is None:
            return Problem(message, hint=hint)
        shown = ""
        if excerpt and 0 < self.line <= len(self.text.lines):
            shown = self.text.lines[self.line - 1]
        if len(shown) > MAX_EXCERPT:
            shown = shown[:MAX_EXCERPT] + " …" if self.column <= MAX_EXCERPT else ""
        if self.text.whose:
            hint = f"{hint}; it is in force by {self.text.whose}" if hint else f"it is in force by {self.text.whose}"
        return Problem(
            message=message, file=self.text.name, line=self.line, column=self.column, excerpt=shown, hint=hint
        )

    def __str__(self) -> str:
        if self.text is None:
            return "default"
        whose = f" ({self.text.whose})" if self.text.whose else ""
        return f"{self.text.name}:{self.line}{whose}"

    @property
    def order(self) -> tuple[int, int, int]:
        """What sorts places in file order."""
        return (self.text.rank if self.text else -1, self.line, self.column)


DEFAULT = Place(None)


def path_at(place: Place, text: str, base: Path, problems: list[Problem]) -> Path:
    """Give the path that a text means; a `~` without a home is a problem."""
    try:
        return path_from(base, text)
    except UpdoserError as error:
        problems.append(place.problem(error.message, error.hint))
        return base / text


@dataclass(frozen=True, slots=True)
class Odd:
    """A plain scalar that YAML 1.1 turns into something else: what was written, and what became of it."""

    raw: str
    value: int | float | bool | None
    becomes: str

    def __repr__(self) -> str:
        """Give what was written: it is shown where a list or map around it is."""
        return self.raw or "…"


BROKEN = Odd("", None, "")
"""Stands where a value can't be used and the reason is already reported."""


class Map(dict[str, Any]):
    """A YAML map; `keys_at` and `values_at` hold the places, `place` where the map itself begins."""

    __slots__ = ("keys_at", "place", "values_at")

    def __init__(self, place: Place = DEFAULT) -> None:
        super().__init__()
        self.place = place
        self.keys_at: dict[str, Place] = {}
        self.values_at: dict[str, Place] = {}

    def put(self, key: str, value: Any, key_at: Place, value_at: Place) -> None:
        """Set a key with its places."""
        self[key] = value
        self.keys_at[key] = key_at
        self.values_at[key] = value_at

    def take(self, key: str, other: Map) -> None:
        """Set a key to what another map has there, places included."""
        self.put(key, other[key], other.keys_at.get(key, DEFAULT), other.values_at.get(key, DEFAULT))

    def drop(self, key: str) -> None:
        """Remove a key and its places."""
        del self[key]
        self.keys_at.pop(key, None)
        self.values_at.pop(key, None)

    def copy(self) -> Map:
        """Copy the map and its places, not what it holds."""
        other = Map(self.place)
        other.update(self)
        other.keys_at = dict(self.keys_at)
        other.values_at = dict(self.values_at)
        return other


class Seq(list[Any]):
    """A YAML list; `items_at` holds the places of its items."""

    __slots__ = ("items_at", "place")

    def __init__(self, place: Place = DEFAULT) -> None:
        super().__init__()
        self.place = place
        self.items_at: list[Place] = []

    def put(self, value: Any, value_at: Place) -> None:
        """Append an item with its place."""
        self.append(value)
        self.items_at.append(value_at)


def value_place(node: Any, key: Key) -> Place:
    """Give the place of a value in a map or list; the container's own when it isn't known."""
    if isinstance(node, Map) and isinstance(key, str):
        return node.values_at.get(key, node.place)
    if isinstance(node, Seq) and isinstance(key, int) and key < len(node.items_at):
        return node.items_at[key]
    return DEFAULT


def locate(root: Any, path: Sequence[Key], start: Place = DEFAULT) -> Place:
    """Give the place of the value at `path`; as near as is known."""
    place, node = start, root
    for key in path:
        found = value_place(node, key)
        if found.text is None:
            break
        place, node = found, node[key]
    return place


def scalars(node: Any, path: tuple[Key, ...] = ()) -> Iterator[tuple[Any, Key, Any, tuple[Key, ...]]]:
    """Walk all scalars below a map or list: (container, key, value, path)."""
    pairs: list[tuple[Key, Any]] = list(node.items()) if isinstance(node, dict) else list(enumerate(node))
    for key, value in pairs:
        if isinstance(value, (dict, list)):
            yield from scalars(value, (*path, key))
        else:
            yield node, key, value, (*path, key)


def replace(container: Any, key: Key, value: Any, place: Place) -> None:
    """Put another value at a key, with its place."""
    container[key] = value
    if isinstance(container, Map):
        container.values_at[str(key)] = place
    elif isinstance(container, Seq):
        container.items_at[int(key)] = place


def plain(node: Any) -> Any:
    """Give the same data in plain dicts and lists."""
    if isinstance(node, dict):
        return {key: plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [plain(value) for value in node]
    return node.raw if isinstance(node, Odd) else node


def written(node: Map) -> Map:
    """Give the part of a map that somebody wrote: without the defaults of the schema."""
    result = Map(node.place)
    for key in node:
        if node.values_at.get(key, DEFAULT).text is not None:
            result.take(key, node)
    return result


def child_map(node: Any, key: str) -> Map:
    """Give the map at a key; an empty one when there is something else or nothing."""
    value = node.get(key) if isinstance(node, Map) else None
    return value if isinstance(value, Map) else Map(value_place(node, key))


def child_seq(node: Any, key: str) -> Seq:
    """Give the list at a key; an empty one when there is something else or nothing."""
    value = node.get(key) if isinstance(node, Map) else None
    return value if isinstance(value, Seq) else Seq(value_place(node, key))


def texts(node: Any, key: str) -> tuple[str, ...]:
    """Give the texts of the list at a key; what else stands there was told to be malformed."""
    return tuple(value for value in child_seq(node, key) if isinstance(value, str))


def families(node: Any) -> tuple[Family, ...]:
    """Give the address families of the list at `families`; what else stands there was told to be malformed."""
    return cast("tuple[Family, ...]", texts(node, "families"))


def duration(value: Any) -> timedelta | None:
    """Read a duration; None where there is none, or what there is was told to be malformed."""
    try:
        return parse_duration(value) if isinstance(value, str) else None
    except ValueError:
        return None


# --- values that no schema can judge: what is wrong is added to `problems` ------------------------------------------


def span_of(node: Map, key: str, problems: list[Problem]) -> timedelta | None:
    """Read a duration that must be some time; None where there is none."""
    value = node.get(key)
    found = duration(value)
    if found is not None and not found:
        problems.append(value_place(node, key).problem(f"`{value}` is no time at all"))
    elif found is None and isinstance(value, str) and _SPAN.fullmatch(value):
        problems.append(value_place(node, key).problem(f"`{value}` is longer than ten years"))
    return found or None


def percent_of(value: Any) -> float | None:
    """Read a number, or a text such as "10%"; None for what was told to be malformed."""
    try:
        number = float(value.removesuffix("%")) if isinstance(value, str) else value
    except ValueError:
        return None
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
        return None
    return float(number)


def seconds_of(node: Map, key: str, default: float, problems: list[Problem]) -> float:
    """Read a duration that must be some time, in seconds."""
    found = span_of(node, key, problems)
    return found.total_seconds() if found is not None else default


def day_of(node: Map, key: str, problems: list[Problem]) -> date | None:
    """Read a day; None where there is none, or it isn't one of the calendar."""
    text = node.get(key)
    try:
        return date.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        problems.append(value_place(node, key).problem(f"`{text}` is no day of the calendar"))
        return None


def pattern_of(node: Map, key: str, problems: list[Problem]) -> str:
    """Read a pattern over clients; empty where there is none."""
    text = node.get(key)
    if not isinstance(text, str) or not text:
        return ""
    try:
        parse_pattern(text)
    except ValueError as error:
        problems.append(value_place(node, key).problem(str(error)))
    return text


def text_of(node: Map, key: str, default: str = "") -> str:
    """Read a text; the default where there is none, or what there is was told to be malformed."""
    value = node.get(key)
    return value if isinstance(value, str) else default


def word_of(node: Map, key: str, words: tuple[WordT, ...], default: WordT | None = None) -> WordT:
    """Read one of some words; the default, or the first, where there is none or it was told to be malformed."""
    value = node.get(key)
    return next((word for word in words if word == value), default or words[0])


def whole_of(node: Map, key: str) -> int | None:
    """Read a whole number; None where there is none, or what there is was told to be malformed."""
    value = node.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def maps_of(node: Any) -> list[Map]:
    """Give the maps of a list; what else stands there was told to be malformed."""
    return [entry for entry in node if isinstance(entry, Map)] if isinstance(node, Seq) else []
