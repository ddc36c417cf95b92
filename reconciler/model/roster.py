"""Who is meant in a plan: cohorts by their ids, and the clients of each.

A plan names clients by groups: `c1`, `c2` and so on are clients of one group for whom everything is decided alike. What
is decided is decided for several groups at once, so a plan has few `Section`s and may have very many ids. They are
worked out when somebody asks for them: counting needs none.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Protocol

from reconciler.model.names import Names, Picked, Run, Texts, ends_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator


class Section:
    """Clients of some groups for whom everything is decided alike; `names` are by group, in the order of `groups`.

    They are picked from all that `whole` has; it is itself where they are all of these.
    """

    __slots__ = ("counts", "groups", "names", "whole")

    def __init__(self, names: Sequence[str], groups: Sequence[str], counts: Sequence[int]) -> None:
        """Take groups in the order of their names, each with how many clients it has."""
        self.names = names
        self.groups = groups
        self.counts = counts
        self.whole = self

    def pick(self, numbers: array[int]) -> Section:
        """Give those of the clients that have these numbers, in rising order."""
        if len(numbers) == len(self.names):
            return self
        whole = self.whole
        some = Picked(whole.names, array("I", map(self.numbers.__getitem__, numbers)) if whole is not self else numbers)
        groups = tuple(map(whole.groups.__getitem__, some.runs))
        found = Section(some, groups, tuple(end - start for start, end in pairwise(some.ends)))
        found.whole = whole
        return found

    def of_runs(self, runs: Sequence[int]) -> Section:
        """Give the clients of some groups, by the numbers of these here, in rising order."""
        if len(runs) == len(self.groups):
            return self
        ends = ends_of(self.names)
        return self.pick(array("I", [number for run in runs for number in range(ends[run], ends[run + 1])]))

    @property
    def numbers(self) -> Sequence[int]:
        """The numbers of the clients among those of the whole."""
        names = self.names
        return names.numbers if self.whole is not self and isinstance(names, Picked) else range(len(names))

    def of(self, group: str) -> Sequence[str]:
        """Give the clients of one group."""
        if len(self.groups) == 1:
            return self.names
        assert isinstance(self.names, (Names, Picked))
        return Run(self.names, bisect_left(self.groups, group))

    def count(self, group: str) -> int:
        """Count the clients of one group, which may have none."""
        at = bisect_left(self.groups, group)
        return self.counts[at] if at < len(self.groups) and self.groups[at] == group else 0


class Roster(Mapping[str, Sequence[str]]):
    """The clients of each cohort of a plan, by its id."""

    def __init__(self, sections: Sequence[Section], order: Mapping[str, array[int]]) -> None:
        """Take the sections, and the numbers of those that each group has clients in, in the order of their ids."""
        self.sections = sections
        self._order = {group: order[group] for group in sorted(order)}
        self._groups = list(self._order)
        self._starts = list(accumulate((len(numbers) for numbers in self._order.values()), initial=0))

    def __len__(self) -> int:
        return self._starts[-1]

    def __iter__(self) -> Iterator[str]:
        return (f"c{number}" for number in range(1, len(self) + 1))

    def __contains__(self, one: object) -> bool:
        return isinstance(one, str) and self._number(one) >= 0

    def __getitem__(self, one: str) -> Sequence[str]:
        number, group = self.place(one)
        return self.sections[number].of(group)

    def place(self, one: str) -> tuple[int, str]:
        """Give the number of the section that a cohort is of, and its group.

        Raises:
            KeyError: there is no such cohort.
        """
        number = self._number(one)
        if number < 0:
            raise KeyError(one)
        at = bisect_right(self._starts, number) - 1
        group = self._groups[at]
        return self._order[group][number - self._starts[at]], group

    def _number(self, one: str) -> int:
        """Give the number of a cohort, from 0; -1 where it isn't one of these."""
        text = one[1:]
        if one[:1] != "c" or not (text.isascii() and text.isdecimal()) or text[0] == "0" or len(text) > 18:
            return -1
        number = int(text) - 1
        return number if number < len(self) else -1

    def ids_of(self, number: int) -> Iterator[str]:
        """Give the ids of the cohorts of one section."""
        for group in self.sections[number].groups:
            start = self._starts[bisect_left(self._groups, group)] + 1
            yield f"c{start + self._order[group].index(number)}"

    def ids(self, groups: Sequence[str], wanted: Collection[int]) -> Iterator[str]:
        """Give the ids of those of some sections that are of these groups."""
        for group in groups:
            start = self._starts[bisect_left(self._groups, group)] + 1
            for at, number in enumerate(self._order[group], start):
                if number in wanted:
                    yield f"c{at}"


class Ids(Texts):
    """The ids of cohorts of some groups: those of some sections."""

    __slots__ = ("groups", "roster", "wanted")

    def __init__(self, roster: Roster, groups: tuple[str, ...], wanted: frozenset[int]) -> None:
        """Take the numbers of the sections."""
        self.roster = roster
        self.groups = groups
        self.wanted = wanted

    def __len__(self) -> int:
        sections = self.roster.sections
        return sum(sections[number].count(group) > 0 for number in self.wanted for group in self.groups)

    def __iter__(self) -> Iterator[str]:
        return self.roster.ids(self.groups, self.wanted)


class Membered(Protocol):
    """What is about clients, by the ids of their cohorts."""

    @property
    def members(self) -> Sequence[str]:
        """The ids."""


def count_clients(members: Mapping[str, Sequence[str]], entries: Iterable[Sequence[str]]) -> int:
    """Count the clients of some cohorts, each once; `entries` are ids, which may be the same several times."""
    several = list(entries)
    if not isinstance(members, Roster) or not all(isinstance(one, Ids) and one.roster is members for one in several):
        return sum(len(members.get(one, ())) for one in set().union(*several))
    groups_of: dict[int, set[str]] = defaultdict(set)
    numbers_of: dict[int, frozenset[int]] = {}
    for ids in several:
        assert isinstance(ids, Ids)
        groups_of[id(ids.wanted)].update(ids.groups)
        numbers_of[id(ids.wanted)] = ids.wanted
    alike: dict[frozenset[str], set[int]] = defaultdict(set)
    for key, groups in groups_of.items():
        alike[frozenset(groups)] |= numbers_of[key]
    if len(alike) == 1:
        ((inside, numbers),) = alike.items()
        return sum(_count(members.sections[number], inside) for number in numbers)
    by_group: dict[str, set[int]] = defaultdict(set)
    for inside, numbers in alike.items():
        for group in inside:
            by_group[group] |= numbers
    return sum(members.sections[number].count(group) for group, numbers in by_group.items() for number in numbers)


def _count(section: Section, inside: frozenset[str]) -> int:
    if inside.issuperset(section.groups):
        return sum(section.counts)
    return sum(count for group, count in zip(section.groups, section.counts, strict=True) if group in inside)


def clients_of(members: Mapping[str, Sequence[str]], entries: Iterable[Membered]) -> int:
    """Count the clients that some changes or findings of a plan are about, each once."""
    return count_clients(members, (entry.members for entry in entries))


def names_of(members: Mapping[str, Sequence[str]], entries: Iterable[Membered]) -> Iterator[str]:
    """Give the clients that some changes or findings of a plan are about, each once: by group, cohort by cohort.

    Those of a cohort are sorted. No more than the names of one cohort are made at a time.
    """
    ids = dict.fromkeys(one for entry in entries for one in entry.members)
    for one in sorted(ids, key=_turn):
        yield from members[one]


def _turn(one: str) -> tuple[int, str]:
    """Give the place of an id among others: `c2` comes before `c10`."""
    return len(one), one
