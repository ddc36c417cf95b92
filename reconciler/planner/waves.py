"""Who is in which wave: the order of clients, the cut-points of a rollout, and cohorts taken in parts by them.

* Clients are ordered by a number that follows from their name (`model.rollout.position`): the same in every run, for
  every release, wherever they move.
* A wave takes who its pattern selects, or clients in that order until it and the waves before it have their share or
  count, at least one. A client is in the first wave that takes it, so waves never overlap, and the last takes all.
* The cut-points are worked out once, when a rollout starts. Who joins later falls into place by its name.
* The canary that updoser chooses itself has at most one client of each group, and never all that answer. It is of those
  labelled `canary`, unless none of them answers.

Example: 1,000 clients, ten of them labelled canary; `select: label=canary`, `share: 10%`, `share: 100%` gives waves of
10, 90 and 900.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, replace
from heapq import nsmallest
from math import ceil
from typing import TYPE_CHECKING

from reconciler.model.names import Names, places_of
from reconciler.model.rollout import Cut, position
from reconciler.model.roster import Section
from reconciler.model.share import exact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.model.plan import Cohort
    from reconciler.model.policy import Wave

    _First = tuple[bool, int, list[int]]
    """Whether clients don't answer or are held, the lowest place among them, and the cohorts that have it."""

ALL = 2**32 - 1


@dataclass(frozen=True, slots=True)
class FirstWaves:
    """The clients of some first waves of a rollout, together."""

    selects: frozenset[str] = frozenset()
    upto: int = -1
    names: frozenset[str] = frozenset()


def first_waves(cuts: Sequence[Cut], waves: int) -> FirstWaves:
    """Give the clients of the first so many waves."""
    first = cuts[:waves]
    return FirstWaves(
        frozenset(cut.select for cut in first if cut.select),
        max((cut.upto for cut in first), default=-1),
        frozenset(name for cut in first for name in (*cut.names, *cut.instead)),
    )


def structure(waves: Iterable[Wave]) -> str:
    """Give the fingerprint of what decides who is in a wave: cut-points that were made for another don't fit."""
    text = repr([(wave.select, wave.share, wave.count, wave.apart, wave.prefer) for wave in waves])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Lineup:
    """The cohorts of a fleet with the positions of their members; what is asked twice is counted once.

    Names are looked at only where a wave names clients, or somebody wants to know them.
    """

    def __init__(self, cohorts: Sequence[Cohort]) -> None:
        """Take all cohorts; nothing is worked out before it is asked for."""
        self.cohorts = cohorts
        self._positions: dict[int, Sequence[int]] = {}
        self._ladders: dict[int, array[int]] = {}
        self._between: dict[tuple[FirstWaves, FirstWaves, tuple[int, ...]], list[tuple[int, int]]] = {}
        self._counts: dict[tuple[FirstWaves, int], int] = {}
        self._cuts: dict[tuple[str, tuple[int, ...]], tuple[tuple[Cut, ...], tuple[int, ...]]] = {}
        self._ranks: dict[tuple[tuple[int, ...], frozenset[str]], Ranks] = {}
        self._home: dict[str, tuple[int, ...]] = {}
        self._having: dict[frozenset[str], dict[int, frozenset[str]]] = {}

    def positions(self, at: int) -> Sequence[int]:
        """Give the positions of a cohort's members, in their order."""
        members = self.cohorts[at].members
        if isinstance(members, Names):  # it knows them
            return members.places
        known = self._positions.get(at)
        if known is None:
            known = self._positions[at] = places_of(members)
        return known

    def having(self, names: frozenset[str]) -> Mapping[int, frozenset[str]]:
        """Give the cohorts that have some of these clients, by their numbers, each with those that it has."""
        known = self._having.get(names)
        if known is None:
            self._find(names)
            found: dict[int, set[str]] = {}
            for name in names:
                for at in self._home[name]:
                    found.setdefault(at, set()).add(name)
            known = self._having[names] = {at: frozenset(its) for at, its in found.items()}
        return known

    def _find(self, names: frozenset[str]) -> None:
        """Look for the cohorts of clients, by their places first."""
        unknown = names - self._home.keys()
        if not unknown:
            return
        self._home.update(dict.fromkeys(unknown, ()))
        wanted = frozenset(map(position, unknown))
        for at, cohort in enumerate(self.cohorts):
            if not wanted.isdisjoint(self.positions(at)):
                for name in unknown.intersection(cohort.members):
                    self._home[name] += (at,)

    def count(self, at: int, part: FirstWaves) -> int:
        """Count the members of a cohort that are in some first waves."""
        cohort = self.cohorts[at]
        if part.upto >= ALL or not part.selects.isdisjoint(cohort.selected):
            return len(cohort.members)
        key = part, at
        known = self._counts.get(key)
        if known is None:
            limit = part.upto
            known = bisect_right(self._ladder(at), limit) if limit >= 0 else 0
            if part.names:
                known += sum(position(name) > limit for name in self.having(part.names).get(at, ()))
            self._counts[key] = known
        return known

    def _ladder(self, at: int) -> array[int]:
        """Give the positions of a cohort's members, the lowest first."""
        known = self._ladders.get(at)
        if known is None:
            known = self._ladders[at] = array("I", sorted(self.positions(at)))
        return known

    def between(self, lower: FirstWaves, upper: FirstWaves, among: tuple[int, ...]) -> list[tuple[int, int]]:
        """Give the cohorts that have members in some first waves and not in fewer of them, and how many."""
        key = lower, upper, among
        known = self._between.get(key)
        if known is None:
            sizes = ((at, self.count(at, upper) - self.count(at, lower)) for at in among)
            known = self._between[key] = [(at, size) for at, size in sizes if size]
        return known

    def between_by_group(self, at: int, lower: FirstWaves, upper: FirstWaves) -> Iterable[tuple[str, int]]:
        """Give the groups whose members of a cohort are in some first waves and not in fewer, and how many."""
        cohort = self.cohorts[at]
        if not cohort.groups:
            return [(cohort.group, self.count(at, upper) - self.count(at, lower))]
        inside = self.split(at, (upper, lower)).get((True, False))
        return zip(inside.groups, inside.counts, strict=True) if inside is not None else ()

    def split(self, at: int, parts: Sequence[FirstWaves]) -> dict[tuple[bool, ...], Section]:
        """Give a cohort's members by whether they are in each of some reaches."""
        cohort = self.cohorts[at]
        fixed = [part.upto >= ALL or not part.selects.isdisjoint(cohort.selected) for part in parts]
        if all(fixed):
            return {tuple(fixed): whole(cohort)}
        limits = sorted({part.upto for part, sure in zip(parts, fixed, strict=True) if not sure})
        answers = [
            tuple(sure or segment <= limits.index(part.upto) for part, sure in zip(parts, fixed, strict=True))
            if segment < len(limits)
            else tuple(fixed)
            for segment in range(len(limits) + 1)
        ]
        special = self.having(frozenset(name for part in parts for name in part.names)).get(at, frozenset())
        if limits[-1] < 0 and not special:
            return {answers[-1]: whole(cohort)}
        places = self.positions(at)
        found: dict[tuple[bool, ...], array[int]] = {answer: array("I") for answer in answers}
        if limits[-1] < 0:
            found[answers[-1]] = array("I", range(len(places)))
        elif len(limits) == 1:
            limit = limits[0]
            found[answers[0]] = array("I", [number for number, place in enumerate(places) if place <= limit])
            found[answers[1]].extend([number for number, place in enumerate(places) if place > limit])
        else:
            into = [found[answer] for answer in answers]
            for number, place in enumerate(places):
                into[bisect_right(limits, place - 1)].append(number)
        if special:
            self._move_named(found, parts, special, cohort.members)
        return {answer: whole(cohort).pick(numbers) for answer, numbers in found.items() if numbers}

    def _move_named(
        self,
        found: dict[tuple[bool, ...], array[int]],
        parts: Sequence[FirstWaves],
        special: frozenset[str],
        members: Sequence[str],
    ) -> None:
        """Take clients that waves name to the part where they belong."""
        for number, name in enumerate(members):
            if name in special:
                now = next(answer for answer, numbers in found.items() if _has(numbers, number))
                right = tuple(is_in or name in part.names for is_in, part in zip(now, parts, strict=True))
                if right != now:
                    found[now].remove(number)
                    insort(found.setdefault(right, array("I")), number)

    # --- cut-points ---------------------------------------------------------------------------------------------------

    def cut(self, waves: Sequence[Wave], among: Sequence[int]) -> tuple[tuple[Cut, ...], tuple[int, ...]]:
        """Give the cut-points of waves and how many clients each has, for the cohorts of these numbers."""
        key = structure(waves), tuple(among)
        if key not in self._cuts:
            self._cuts[key] = self._cut(waves, among)
        return self._cuts[key]

    def _cut(self, waves: Sequence[Wave], among: Sequence[int]) -> tuple[tuple[Cut, ...], tuple[int, ...]]:
        total = sum(len(self.cohorts[at].members) for at in among)
        cuts: list[Cut] = []
        sizes: list[int] = []
        for number, wave in enumerate(waves):
            taken, before = sum(sizes), first_waves(cuts, number)
            if wave.select:
                fresh = [at for at in among if wave.select in self.cohorts[at].selected]
                made = Cut(select=wave.select)
                size = sum(len(self.cohorts[at].members) - self.count(at, before) for at in fresh)
            else:
                wanted = wave.count if wave.count is not None else max(ceil(exact(wave.share or 0) * total), 1)
                wanted = min(wanted, total)
                if wave.share is not None and wave.share >= 1:
                    made, size = Cut(upto=ALL), total - taken
                elif wave.prefer:
                    made = Cut(names=self._canary(wanted, wave.prefer, among))
                    size = len(made.names)
                elif wave.apart:
                    made = Cut(names=self._apart(wanted - taken, among, before))
                    size = len(made.names)
                else:
                    made, size = self._upto(wanted - taken, among, before)
            cuts.append(made)
            sizes.append(size)
        return tuple(cuts), tuple(sizes)

    def _upto(self, count: int, among: Sequence[int], before: FirstWaves) -> tuple[Cut, int]:
        """Give the cut that takes so many more clients than those that the waves before have."""
        if count <= 0:
            return Cut(upto=before.upto), 0
        key = tuple(among), before.selects
        ranks = self._ranks.get(key)
        if ranks is None:
            free = [at for at in among if before.selects.isdisjoint(self.cohorts[at].selected)]
            ranks = self._ranks[key] = Ranks([self.positions(at) for at in free])
        named = sorted(position(name) for name in before.names)
        start = ranks.below(before.upto)
        end = start
        while True:  # clients that a wave named don't count again
            passed = sum(before.upto < place <= ranks.place(end - 1) for place in named) if end > start else 0
            wanted = min(start + count + passed, len(ranks))
            if wanted == end:
                break
            end = wanted
        if end == start:
            return Cut(upto=before.upto), 0
        return Cut(upto=ranks.place(end - 1)), end - start - passed

    def _apart(self, count: int, among: Sequence[int], before: FirstWaves) -> tuple[str, ...]:
        """Choose clients of different groups, those first that answer and aren't held."""
        best: dict[str, tuple[bool, int, str]] = {}
        others: list[tuple[bool, int, str]] = []
        for at in among:
            cohort = self.cohorts[at]
            silent = cohort.profile is None or bool(cohort.hold)
            for group, members in self._free(at, before):
                places = places_of(members)
                for number in nsmallest(count, range(len(places)), key=places.__getitem__):
                    entry = silent, places[number], members[number]
                    known = best.get(group)
                    if known is None or entry < known:
                        best[group] = entry
                        others += [] if known is None else [known]
                    else:
                        others.append(entry)
        chosen = sorted(best.values())[:count]
        rest = sorted(entry for entry in others if entry not in chosen)
        chosen += rest[: count - len(chosen)]
        return tuple(sorted(name for _silent, _place, name in chosen))

    def _free(self, at: int, before: FirstWaves) -> Iterable[tuple[str, Sequence[str]]]:
        """Give the members of a cohort by group that aren't in some first waves."""
        if before == FirstWaves():
            return self.cohorts[at].parts()
        rest = self.split(at, (before,)).get((False,))
        return [(group, rest.of(group)) for group in rest.groups] if rest is not None else ()

    def _canary(self, most: int, prefer: str, among: Sequence[int]) -> tuple[str, ...]:
        """Choose a client of each group, up to so many and never all that answer; those first that a pattern takes."""
        best: dict[str, _First] = {}
        preferred: dict[str, _First] = {}
        total = answering = 0
        for at in among:
            cohort = self.cohorts[at]
            silent = cohort.profile is None or bool(cohort.hold)
            total += len(cohort.members)
            answering += 0 if silent else len(cohort.members)
            chosen = (best, preferred) if prefer in cohort.selected else (best,)
            places, start = self.positions(at), 0
            for group, count in cohort.by_group:
                place = places[start] if count == 1 else min(places[start : start + count])
                start += count
                for known in chosen:
                    first = known.get(group)
                    if first is None or (silent, place) < first[:2]:
                        known[group] = silent, place, [at]
                    elif (silent, place) == first[:2]:
                        first[2].append(at)
        # A label on a machine that is off mustn't stop updates: nobody said that the canary must be this one.
        some = preferred if any(not silent for silent, *_rest in preferred.values()) else best
        count = min(most, max((answering or total) - 1, 1))
        entries = sorted(self._named(group, first) for group, first in some.items())
        return tuple(sorted(name for _silent, _place, name in entries[:count]))

    def _named(self, group: str, first: _First) -> tuple[bool, int, str]:
        """Say which client of a group the first one is."""
        silent, place, among = first
        members = (members for at in among for its, members in self.cohorts[at].parts() if its == group)
        return silent, place, min(name for part in members for name in part if position(name) == place)


class Ranks:
    """The places of clients in their order, without sorting all of them: a few are asked for."""

    def __init__(self, several: Sequence[Sequence[int]]) -> None:
        """Take the places, in parts."""
        self._several = several
        self._size = sum(map(len, several))
        self._first = 0
        self._known: list[int] = []

    def __len__(self) -> int:
        return self._size

    def below(self, limit: int) -> int:
        """Count the places up to a limit."""
        return sum(len([place for place in some if place <= limit]) for some in self._several) if limit >= 0 else 0

    def place(self, rank: int) -> int:
        """Give the place that so many are below; from 0."""
        if not self._first <= rank < self._first + len(self._known):
            self._look_around(rank)
        return self._known[rank - self._first]

    def _look_around(self, rank: int) -> None:
        """Sort the places about a rank: they are spread evenly, so it is known where those are."""
        middle, span = (rank + 1) * (ALL + 1) // (self._size + 1), _NEAR * (ALL + 1) // (self._size + 1)
        while True:
            low, high = middle - span, middle + span
            self._first = self.below(low)
            self._known = sorted(place for some in self._several for place in some if low < place <= high)
            if self._first <= rank < self._first + len(self._known):
                return
            span *= 8


_NEAR = 4096
"""How many places at each side of one are looked at first: of a million, four standard deviations are 2,000."""


def whole(cohort: Cohort) -> Section:
    """Give all of a cohort."""
    if cohort.groups:
        return Section(cohort.members, cohort.groups, cohort.counts)
    return Section(cohort.members, (cohort.group,), (len(cohort.members),))


def part_of(cohort: Cohort, section: Section) -> Cohort:
    """Give a cohort of those of its clients that are in a section."""
    several, like = len(section.groups) > 1, cohort.like or cohort.group
    return replace(
        cohort,
        group=section.groups[0],
        members=section.names,
        groups=tuple(section.groups) if several else (),
        counts=tuple(section.counts) if several else (),
        like=like if like != section.groups[0] else "",
    )


def _has(numbers: array[int], number: int) -> bool:
    at = bisect_left(numbers, number)
    return at < len(numbers) and numbers[at] == number
