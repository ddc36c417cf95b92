"""What differs between two lists of lines, in bounded time: one of them may be what a client made up.

`difflib` may need the cube of the number of lines. Where that could be more than MAX_WORK steps, lines that stand once
on each side, in the same order, are what both are aligned by (as in the patience diff), and `difflib` compares what
lies between them, as long as the steps last; what is left over is shown as replaced.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Opcode = tuple[str, int, int, int, int]
    Block = tuple[int, int, int]

MAX_WORK = 5_000_000


def changes(before: Sequence[str], after: Sequence[str], context: int) -> list[Sequence[Opcode]]:
    """Give the changes with as many equal lines around them, as `SequenceMatcher.get_grouped_opcodes` does."""
    return list(_Compared(_blocks(before, after), len(before), len(after)).get_grouped_opcodes(context))


class _Compared(SequenceMatcher[str]):
    """What was compared already, in the form that `difflib` groups."""

    def __init__(self, blocks: Iterable[Block], before: int, after: int) -> None:
        super().__init__()
        self._blocks = [*blocks, (before, after, 0)]

    def get_opcodes(self) -> list[Opcode]:  # type: ignore[override]
        codes: list[Opcode] = []
        i = j = 0
        for start, other, size in self._blocks:
            if i < start or j < other:
                kind = "replace" if i < start and j < other else "delete" if i < start else "insert"
                codes.append((kind, i, start, j, other))
            if size:
                last = codes[-1] if codes else ("", 0, 0, 0, 0)
                joins = last[0] == "equal" and (last[2], last[4]) == (start, other)
                begin = last if joins else ("equal", start, start, other, other)
                codes[len(codes) - joins :] = [("equal", begin[1], start + size, begin[3], other + size)]
            i, j = start + size, other + size
        return codes


def _blocks(before: Sequence[str], after: Sequence[str]) -> list[Block]:
    """Give what is equal: where it begins on each side, and how many lines it has."""
    if _work(before, after) <= MAX_WORK:
        return _matched(before, after)
    head = _common(before, after)
    tail = _common(reversed(before[head:]), reversed(after[head:]))
    ends = len(before) - tail, len(after) - tail
    found, left = [(0, 0, head)], MAX_WORK
    i = j = head
    for anchor in [*_anchors(before[head : ends[0]], after[head : ends[1]]), None]:
        to_i, to_j = (anchor[0] + head, anchor[1] + head) if anchor else ends
        old, new = before[i:to_i], after[j:to_j]
        left -= _work(old, new)
        if left > 0:
            found += [(i + start, j + other, size) for start, other, size in _matched(old, new)]
        if anchor:
            found.append((to_i, to_j, 1))
            i, j = to_i + 1, to_j + 1
    return [*found, (*ends, tail)]


def _matched(before: Sequence[str], after: Sequence[str]) -> list[Block]:
    blocks = SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
    return [(block.a, block.b, block.size) for block in blocks]


def _work(before: Sequence[str], after: Sequence[str]) -> int:
    """Give the most steps that `difflib` may need."""
    there = Counter(after)
    pairs = sum(count * there[line] for line, count in Counter(before).items())
    return len(before) + len(after) + pairs * (2 * min(len(before), len(after)) + 1)


def _common(before: Iterable[str], after: Iterable[str]) -> int:
    size = 0
    for old, new in zip(before, after, strict=False):
        if old != new:
            break
        size += 1
    return size


def _anchors(before: Sequence[str], after: Sequence[str]) -> list[tuple[int, int]]:
    """Give the longest row of lines that stand once on each side, in the order of both."""
    once_before, once_after = Counter(before), Counter(after)
    place = {line: at for at, line in enumerate(after) if once_after[line] == 1}
    pairs = [(at, place[line]) for at, line in enumerate(before) if once_before[line] == 1 and line in place]
    ends: list[int] = []  # of rows of each length: the place in `after` of the last line, the lowest there is
    last: list[int] = []
    previous: list[int] = []
    for number, (_at, other) in enumerate(pairs):
        length = bisect_left(ends, other)
        previous.append(last[length - 1] if length else -1)
        ends[length : length + 1] = [other]
        last[length : length + 1] = [number]
    row: list[tuple[int, int]] = []
    number = last[-1] if last else -1
    while number >= 0:
        row.append(pairs[number])
        number = previous[number]
    return row[::-1]
