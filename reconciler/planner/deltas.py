"""The delta graph: releases are nodes, incrementals are edges that cost their bytes.

1. A node is a content digest; the empty digest is a client, or a store, that has nothing.
2. Stars (each version to the latest) and chains (each version to the next) are the same thing: edges.
3. The cheapest way has the fewest bytes, then the fewest steps, then the first names.
4. Distance counts releases, not numerals: how many known versions lie above the one and up to the other.

Example: edges 171 -> 173 (9 KB), 173 -> 175 (9 KB), 171 -> 175 (12 KB): from 171 the direct way is cheaper, and a
client that lacks the codec of the direct one takes the two steps.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from reconciler.model.version import Version, VersionScheme


@dataclass(frozen=True, slots=True)
class Edge:
    """An incremental on the graph. `estimated`: it isn't made yet, and `bytes` is what it should have."""

    name: str
    start: str
    end: str
    bytes: int
    codecs: frozenset[str]
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class DeltaPath:
    """Edges that follow each other, and what they cost together."""

    edges: tuple[Edge, ...]

    @property
    def bytes(self) -> int:
        """The bytes of all edges."""
        return sum(edge.bytes for edge in self.edges)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the incrementals, in the order of their use."""
        return tuple(edge.name for edge in self.edges)

    @property
    def estimated(self) -> bool:
        """True when an edge isn't made yet."""
        return any(edge.estimated for edge in self.edges)


class Graph:
    """The incrementals of one component and platform."""

    def __init__(self, edges: Iterable[Edge]) -> None:
        self._from: dict[str, list[Edge]] = defaultdict(list)
        for edge in edges:
            self._from[edge.start].append(edge)

    def cheapest(self, starts: Collection[str], goal: str, usable: Callable[[Edge], bool]) -> DeltaPath | None:
        """Give the cheapest way from one of the starts over usable edges; None when there is no way of a step or more.

        Dijkstra's algorithm; bytes are never negative.
        """
        queue: list[tuple[int, int, tuple[str, ...], str, tuple[Edge, ...]]] = [
            (0, 0, (), start, ()) for start in starts if start != goal
        ]
        heapq.heapify(queue)
        done: set[str] = set()
        while queue:
            cost, steps, names, node, edges = heapq.heappop(queue)
            if node == goal:
                return DeltaPath(edges)
            if node in done:
                continue
            done.add(node)
            for edge in self._from.get(node, ()):
                if edge.end not in done and usable(edge):
                    entry = (cost + edge.bytes, steps + 1, (*names, edge.name), edge.end, (*edges, edge))
                    heapq.heappush(queue, entry)
        return None

    def reaching(self, goal: str) -> set[str]:
        """Give all nodes from which there is a way to the goal."""
        before: dict[str, list[str]] = defaultdict(list)
        for edges in self._from.values():
            for edge in edges:
                before[edge.end].append(edge.start)
        found, open_ = set[str](), [goal]
        while open_:
            for start in before[open_.pop()]:
                if start not in found:
                    found.add(start)
                    open_.append(start)
        return found


class Ladder:
    """All versions of a component that anybody knows, in their order."""

    def __init__(self, scheme: VersionScheme, known: Iterable[str]) -> None:
        self._scheme = scheme
        self._rungs: list[Version] = sorted({scheme.parse(text) for text in known if scheme.accepts(text)})

    def distance(self, lower: str, upper: str) -> int | None:
        """Count the releases from one version up to another; None when it isn't upwards, or no version."""
        if not self._scheme.accepts(lower) or not self._scheme.accepts(upper):
            return None
        start, end = self._scheme.parse(lower), self._scheme.parse(upper)
        if not start < end:
            return None
        return max(1, bisect_right(self._rungs, end) - bisect_right(self._rungs, start))
