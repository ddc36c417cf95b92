"""Adds clients up by group, for many groups at once, and gives the cohorts of a plan their ids.

What is decided for a part of a cohort is decided for all groups that it has clients in. To add it to a change is one
addition, however many groups that are: their counts are the digits of one great number.

Ids follow from an order that doesn't depend on how clients are put together: by group, then by hold, by what is
unknown, by profile and by the first client of the group.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from itertools import groupby
from sys import byteorder
from typing import TYPE_CHECKING

from reconciler.model.roster import Ids, Roster

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from reconciler.model.plan import Cohort
    from reconciler.model.roster import Section

    _Place = tuple[str, str, str, str, str, int]
    """Group, hold, what is unknown, fingerprint, first client, number of the section."""

_BITS = 64
_SPARSE = 8
"""Of how many groups one must have clients for their counts to be added as one number."""


class Sums:
    """The groups that are counted, each with its digit."""

    def __init__(self, groups: Iterable[str]) -> None:
        """Take all groups."""
        self.groups = sorted(groups)
        self.number = {group: at for at, group in enumerate(self.groups)}
        self._last: tuple[Section | None, int] = None, 0

    def digits(self, section: Section) -> int:
        """Give the counts of a section as one number."""
        if self._last[0] is not section:
            counts, number = array("Q", bytes(_BITS // 8 * len(self.groups))), self.number
            for group, count in zip(section.groups, section.counts, strict=True):
                counts[number[group]] = count
            self._last = section, int.from_bytes(counts.tobytes(), byteorder)
        return self._last[1]


class Sum:
    """How many clients each group has of what is added."""

    __slots__ = ("_few", "_many", "_sums")

    def __init__(self, sums: Sums) -> None:
        """Begin with nobody."""
        self._sums = sums
        self._many = 0
        self._few: dict[str, int] = {}

    def add(self, section: Section) -> None:
        """Add clients."""
        if len(section.groups) * _SPARSE > len(self._sums.groups) and len(section.groups) > 1:
            self._many += self._sums.digits(section)
            return
        few = self._few
        for group, count in zip(section.groups, section.counts, strict=True):
            few[group] = few.get(group, 0) + count

    def by_group(self) -> dict[str, int]:
        """Give how many there are of each group that has some, in the order of the groups."""
        found = dict(self._few)
        if self._many:
            groups = self._sums.groups
            counts = memoryview(self._many.to_bytes(_BITS // 8 * len(groups), byteorder)).cast("Q")
            for group, count in zip(groups, counts, strict=True):
                if count:
                    found[group] = found.get(group, 0) + count
        return {group: found[group] for group in sorted(found)}


class Entry(Sum):
    """The sections to which something applies, and how many clients of each group they have."""

    __slots__ = ("_numbers", "sections")

    def __init__(self, sums: Sums) -> None:
        """Begin with none."""
        super().__init__(sums)
        self.sections: list[int] = []
        self._numbers: frozenset[int] | None = None

    def take(self, number: int, section: Section) -> None:
        """Add the section of a number."""
        self.sections.append(number)
        self.add(section)

    def ids(self, roster: Roster, *groups: str) -> Ids:
        """Give the ids of its cohorts of some groups, once all are added."""
        if self._numbers is None:
            self._numbers = frozenset(self.sections)
        return Ids(roster, groups, self._numbers)


class Book:
    """The sections of a plan, each with the number of the cohort that it is of."""

    def __init__(self) -> None:
        """Begin with none."""
        self._sections: list[Section] = []
        self._cohorts: list[int] = []

    def add(self, at: int, section: Section) -> int:
        """Write down a section of a cohort, and give its number."""
        self._sections.append(section)
        self._cohorts.append(at)
        return len(self._sections) - 1

    def places(self, entry: Entry, cohorts: Sequence[Cohort]) -> Iterator[tuple[_Place, Cohort]]:
        """Give where the sections of an entry have clients first, in the order of ids, and the cohort of each."""
        for number in entry.sections:
            cohort, group = cohorts[self._cohorts[number]], self._sections[number].groups[0]
            members = next(members for its, members in cohort.parts() if its == group)
            yield (group, *_rank(cohort), next(iter(members)), number), cohort

    def roster(self, cohorts: Sequence[Cohort]) -> Roster:
        """Give all clients their ids."""
        of_cohort: dict[int, list[int]] = defaultdict(list)
        for number, at in enumerate(self._cohorts):
            of_cohort[at].append(number)
        order: dict[str, array[int]] = defaultdict(lambda: array("I"))
        ranked = sorted(of_cohort, key=lambda at: _rank(cohorts[at]))
        for _alike, found in groupby(ranked, key=lambda at: _rank(cohorts[at])):
            ties = list(found)
            if len(ties) == 1:
                for number in of_cohort[ties[0]]:
                    for group in self._sections[number].groups:
                        order[group].append(number)
                continue
            for group, those in _by_first(ties, cohorts).items():
                order[group].extend(
                    number for at in those for number in of_cohort[at] if self._sections[number].count(group)
                )
        return Roster(self._sections, {group: numbers for group, numbers in order.items() if numbers})


def in_order(cohorts: Iterable[Cohort]) -> list[Cohort]:
    """Sort cohorts by their first group, and as the module says."""
    ordered: list[Cohort] = []
    for _order, alike in groupby(sorted(cohorts, key=_order_of), key=_order_of):
        ties = list(alike)
        ordered += sorted(ties, key=lambda cohort: next(iter(cohort.members), "")) if len(ties) > 1 else ties
    return ordered


def _order_of(cohort: Cohort) -> tuple[str, str, str, str]:
    return cohort.group, *_rank(cohort)


def _rank(cohort: Cohort) -> tuple[str, str, str]:
    fingerprint = cohort.profile.fingerprint if cohort.profile else ""
    return cohort.hold, cohort.unknown or cohort.unreachable, fingerprint


def _by_first(ties: Sequence[int], cohorts: Sequence[Cohort]) -> dict[str, list[int]]:
    """Give by group those of some cohorts that have clients of it, in the order of the first ones."""
    found: dict[str, list[int]] = defaultdict(list)
    firsts: dict[tuple[str, int], str] = {}
    for at in ties:
        for group, members in cohorts[at].parts():
            found[group].append(at)
            firsts[group, at] = next(iter(members), "")
    return {group: sorted(those, key=lambda at: firsts[group, at]) for group, those in found.items()}
