"""Many names of clients in little room: a million take no more than their letters, and 4 bytes each for their places.

A fleet is counted by its cohorts, and cut into waves by the places of clients (`model.rollout.position`). Who they are
matters where they are shown, written into a plan file, or changed. So names stay packed until somebody asks for them,
and some of them are a list of numbers. They stand in runs, one for each group, and each run can be had by itself.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from itertools import islice, pairwise
from typing import TYPE_CHECKING, TypeVar, overload

from reconciler.model.rollout import positions, positions_within

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PartT = TypeVar("PartT")

_BETWEEN = "\n"
"""Stands between packed names; no name of a client has it."""


class Texts(Sequence[str]):
    """A sequence of texts that are made when they are asked for; it equals a tuple of the same ones."""

    __slots__ = ()

    @overload
    def __getitem__(self, at: int) -> str: ...

    @overload
    def __getitem__(self, at: slice) -> tuple[str, ...]: ...

    def __getitem__(self, at: int | slice) -> str | tuple[str, ...]:
        return tuple(self)[at]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (tuple, Texts)):
            return len(self) == len(other) and tuple(self) == tuple(other)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))


class Names(Texts):
    """Names of clients, packed."""

    __slots__ = ("_ends", "_marks", "_packed", "_places")

    def __init__(self, runs: Iterable[Sequence[str]]) -> None:
        """Pack the names of some groups, none of which is empty; names of clients have no line breaks."""
        self._ends, self._marks = array("I", [0]), array("Q", [0])
        """Where each run begins, and the last one ends: by the number of its first name, and of its first character."""
        texts: list[str] = []
        for names in runs:
            texts.append(_BETWEEN.join(names))
            self._ends.append(self._ends[-1] + len(names))
            self._marks.append(self._marks[-1] + len(texts[-1]) + 1)
        self._packed = _BETWEEN.join(texts)
        self._places: array[int] | None = None

    def __len__(self) -> int:
        return self._ends[-1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed.split(_BETWEEN) if self._ends[-1] else ())

    @property
    def first(self) -> str:
        """The first name, without looking at others."""
        return self._packed.partition(_BETWEEN)[0]

    def run(self, number: int) -> list[str]:
        """Give the names of one group."""
        return self._packed[self._marks[number] : self._marks[number + 1] - 1].split(_BETWEEN)

    @property
    def ends(self) -> array[int]:
        """The number of each run's first name, and how many names there are in all."""
        return self._ends

    @property
    def places(self) -> array[int]:
        """The clients' places in the order of every rollout, in the order of their names here; worked out once."""
        if self._places is None:
            self._places = array("I", positions_within(self._packed, _BETWEEN) if self._ends[-1] else ())
        return self._places


class Picked(Texts):
    """Some of the names of a sequence, in its runs."""

    __slots__ = ("_all", "_ends", "_numbers", "_runs")

    def __init__(self, names: Sequence[str], numbers: array[int]) -> None:
        """Take the numbers of those that are picked, in rising order."""
        self._all = names
        self._numbers = numbers
        ends = ends_of(names)
        at = [bisect_left(numbers, end) for end in ends] if len(ends) > 2 else [0, len(numbers)]
        self._runs = array("I", [run for run, (start, end) in enumerate(pairwise(at)) if end > start])
        self._ends = array("I", [0, *(end for start, end in pairwise(at) if end > start)])

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[str]:
        return map(list(self._all).__getitem__, self._numbers)

    @property
    def numbers(self) -> array[int]:
        """The numbers of those that are picked, in rising order."""
        return self._numbers

    @property
    def runs(self) -> array[int]:
        """The numbers of the runs of all names in which some are picked."""
        return self._runs

    def run(self, number: int) -> list[str]:
        """Give the names of one group of those in which some are picked."""
        whole = self._runs[number]
        names, start = run_of(self._all, whole), ends_of(self._all)[whole]
        return [names[at - start] for at in self._numbers[self._ends[number] : self._ends[number + 1]]]

    @property
    def ends(self) -> array[int]:
        """The number of each run's first name, and how many names there are in all."""
        return self._ends

    @property
    def places(self) -> array[int]:
        """The clients' places in the order of every rollout."""
        return array("I", map(places_of(self._all).__getitem__, self._numbers))


class Run(Texts):
    """The names of one group."""

    __slots__ = ("_all", "_number")

    def __init__(self, names: Names | Picked, number: int) -> None:
        """Take the run of some names."""
        self._all = names
        self._number = number

    def __len__(self) -> int:
        ends = self._all.ends
        return ends[self._number + 1] - ends[self._number]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all.run(self._number))

    @property
    def places(self) -> Sequence[int]:
        """The clients' places in the order of every rollout."""
        ends = self._all.ends
        return self._all.places[ends[self._number] : ends[self._number + 1]]


def places_of(names: Sequence[str]) -> Sequence[int]:
    """Give the places of clients in the order of every rollout, in the order of their names."""
    return names.places if isinstance(names, (Names, Picked, Run)) else positions(names)


def ends_of(names: Sequence[str]) -> Sequence[int]:
    """Give the number of each run's first name, and how many names there are in all."""
    return names.ends if isinstance(names, (Names, Picked)) else (0, len(names))


def run_of(names: Sequence[str], number: int) -> Sequence[str]:
    """Give one run of names."""
    return names.run(number) if isinstance(names, (Names, Picked)) else names


def in_parts(names: Iterable[PartT], most: int) -> Iterator[list[PartT]]:
    """Give names, or what has them, in parts of so many, in their order; each is looked at once."""
    listed = iter(names)
    while part := list(islice(listed, most)):
        yield part
