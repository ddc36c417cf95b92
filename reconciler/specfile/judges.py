"""What rules about the safety of a spec are made of: the place where one is asked, and judges of kinds of values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.formats.duration import parse_duration

Path = tuple[str, ...]


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Any = _Absent()
"""What stands where nobody wrote anything."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a rule is asked: the path, what stood and stands there, and the specs as wholes."""

    path: Path
    before: Any
    after: Any
    old: Mapping[str, Any]
    new: Mapping[str, Any]

    @property
    def where(self) -> str:
        """The path of what the key belongs to."""
        return ".".join(self.path[:-1]) or "the spec"


Judge = Callable[[Difference], str]


def number(value: Any) -> float | None:
    """Read a number, a share or a time span, whichever it is; None when it is none of them."""
    if isinstance(value, bool) or value is ABSENT or value is None:
        return None
    if isinstance(value, (int, float)):
        return float(value)
    text = str(value).strip()
    try:
        return float(text.removesuffix("%"))
    except ValueError:
        pass
    try:
        return parse_duration(text).total_seconds()
    except ValueError:
        return None


def shown(value: Any) -> str:
    """Give a value as a sentence has it."""
    return "none" if value is ABSENT or value is None else str(value)


def entries(place: Difference) -> tuple[list[Any], list[Any]]:
    """Give what stood and stands in a list; what is none has no entries."""
    before, after = (side if isinstance(side, list) else [] for side in (place.before, place.after))
    return before, after


def less(says: str, *, unwritten: float | None = None) -> Judge:
    """Judge a value that protects the more the larger it is; `unwritten` is what counts where nothing is written."""
    return _compared(says, 1, unwritten)


def more(says: str, *, unwritten: float | None = None) -> Judge:
    """Judge a value that protects the more the smaller it is."""
    return _compared(says, -1, unwritten)


def _compared(says: str, sign: int, unwritten: float | None) -> Judge:
    def judge(place: Difference) -> str:
        sides = [unwritten if side is ABSENT else number(side) for side in (place.before, place.after)]
        before, after = sides
        if before is None or after is None or (before - after) * sign <= 0:
            return ""
        return f"{place.where}: {says}: {shown(place.before)} -> {shown(place.after)}"

    return judge


def word(good: Any, says: str, *, bad: Any = None, unwritten: Any = None) -> Judge:
    """Judge a word of which one protects; with `bad` only that one instead of it is a loss."""

    def judge(place: Difference) -> str:
        before, after = (unwritten if side is ABSENT else side for side in (place.before, place.after))
        return f"{place.where}: {says}" if before == good and after != good and bad in {None, after} else ""

    return judge


def lifted(says: str) -> Judge:
    """Judge what protects by standing there at all."""

    def judge(place: Difference) -> str:
        return f"{place.where}: {says}" if place.before is not ABSENT and place.after is ABSENT else ""

    return judge


def gone(says: str) -> Judge:
    """Judge entries of a list of maps: whatever was in it and isn't any more."""

    def judge(place: Difference) -> str:
        before, after = entries(place)
        gone = [entry for entry in before if entry not in after]
        less = len(before) - len(after)
        if not gone or less <= 0:
            return ""
        return f"{place.where}: {says} ({len(before)} -> {len(after)})"

    return judge


def written(says: str) -> Judge:
    """Judge what loosens by standing there at all."""

    def judge(place: Difference) -> str:
        return f"{place.where}: {says}" if place.before is ABSENT and place.after is not ABSENT else ""

    return judge


def more_people(does: str) -> Judge:
    """Judge a list of people by those who weren't in it."""

    def judge(place: Difference) -> str:
        before, after = entries(place)
        new = [str(name) for name in after if name not in before]
        return f"{place.where}: more people may {does}: {', '.join(new)}" if new else ""

    return judge


def at_path(spec: Mapping[str, Any], path: Path) -> Any:
    """Give what stands at a path of a spec; None where nothing does."""
    value: Any = spec
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
