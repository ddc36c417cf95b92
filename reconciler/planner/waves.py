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
from bisect import bisect_right
from dataclasses import dataclass
from heapq import nsmallest
from math import ceil
from typing import TYPE_CHECKING

from reconciler.model.rollout import Cut, position, positions
from reconciler.model.share import exact

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reconciler.model.plan import Cohort
    from reconciler.model.policy import Wave

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
    """The cohorts of a fleet with the positions of their members; what is asked twice is counted once."""

    def __init__(self, cohorts: Sequence[Cohort]) -> None:
        """Take all cohorts; nothing is worked out before it is asked for."""
        self.cohorts = cohorts
        self._positions: dict[int, list[int]] = {}
        self._between: dict[tuple[FirstWaves, FirstWaves, tuple[int, ...]], list[tuple[int, int]]] = {}
        self._counts: dict[tuple[FirstWaves, int], int] = {}
        self._cuts: dict[tuple[str, tuple[int, ...]], tuple[tuple[Cut, ...], tuple[int, ...]]] = {}
        self._sorted: dict[tuple[tuple[int, ...], frozenset[str]], list[int]] = {}

    def positions(self, at: int) -> list[int]:
        """Give the positions of a cohort's members, in their order."""
        known = self._positions.get(at)
        if known is None:
            known = self._positions[at] = positions(self.cohorts[at].members)
        return known

    def count(self, at: int, part: FirstWaves) -> int:
        """Count the members of a cohort that are in some first waves."""
        cohort = self.cohorts[at]
        if part.upto >= ALL or not part.selects.isdisjoint(cohort.selected):
            return len(cohort.members)
        key = part, at
        known = self._counts.get(key)
        if known is None:
            limit = part.upto
            known = len([place for place in self.positions(at) if place <= limit]) if limit >= 0 else 0
            if part.names:
                known += sum(position(name) > limit for name in part.names.intersection(cohort.members))
            self._counts[key] = known
        return known

    def between(self, lower: FirstWaves, upper: FirstWaves, among: tuple[int, ...]) -> list[tuple[int, int]]:
        """Give the cohorts that have members in some first waves and not in fewer of them, and how many."""
        key = lower, upper, among
        known = self._between.get(key)
        if known is None:
            sizes = ((at, self.count(at, upper) - self.count(at, lower)) for at in among)
            known = self._between[key] = [(at, size) for at, size in sizes if size]
        return known

    def split(self, at: int, parts: Sequence[FirstWaves]) -> dict[tuple[bool, ...], tuple[str, ...]]:
        """Give a cohort's members by whether they are in each of some reaches."""
        cohort = self.cohorts[at]
        fixed = [part.upto >= ALL or not part.selects.isdisjoint(cohort.selected) for part in parts]
        if all(fixed):
            return {tuple(fixed): cohort.members}
        limits = sorted({part.upto for part, sure in zip(parts, fixed, strict=True) if not sure})
        answers = [
            tuple(sure or segment <= limits.index(part.upto) for part, sure in zip(parts, fixed, strict=True))
            if segment < len(limits)
            else tuple(fixed)
            for segment in range(len(limits) + 1)
        ]
        members, places = cohort.members, self.positions(at)
        found: dict[tuple[bool, ...], list[str]] = {}
        if len(limits) == 1:
            limit = limits[0]
            low = [name for name, place in zip(members, places, strict=True) if place <= limit]
            found[answers[0]] = low
            rest = list(members) if not low else [n for n, p in zip(members, places, strict=True) if p > limit]
            found.setdefault(answers[1], []).extend(rest)
        else:
            segments: list[list[str]] = [[] for _ in answers]
            for name, place in zip(members, places, strict=True):
                segments[bisect_right(limits, place - 1)].append(name)
            for answer, names in zip(answers, segments, strict=True):
                found.setdefault(answer, []).extend(names)
        self._move_named(found, parts, cohort.members)
        return {answer: tuple(names) for answer, names in found.items() if names}

    def _move_named(
        self, found: dict[tuple[bool, ...], list[str]], parts: Sequence[FirstWaves], members: tuple[str, ...]
    ) -> None:
        """Take clients that waves name to the part where they belong."""
        special = frozenset(name for part in parts for name in part.names)
        for name in sorted(special.intersection(members)) if special else ():
            now = next(answer for answer, names in found.items() if name in names)
            right = tuple(is_in or name in part.names for is_in, part in zip(now, parts, strict=True))
            if right != now:
                found[now].remove(name)
                found.setdefault(right, []).append(name)

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
        places = self._sorted.get(key)
        if places is None:
            free = [at for at in among if before.selects.isdisjoint(self.cohorts[at].selected)]
            places = self._sorted[key] = sorted(place for at in free for place in self.positions(at))
        named = sorted(position(name) for name in before.names)
        start = bisect_right(places, before.upto)
        end = start
        while True:  # clients that a wave named don't count again
            passed = sum(before.upto < place <= places[end - 1] for place in named) if end > start else 0
            wanted = min(start + count + passed, len(places))
            if wanted == end:
                break
            end = wanted
        if end == start:
            return Cut(upto=before.upto), 0
        return Cut(upto=places[end - 1]), end - start - passed

    def _apart(self, count: int, among: Sequence[int], before: FirstWaves) -> tuple[str, ...]:
        """Choose clients of different groups, those first that answer and aren't held."""
        best: dict[str, tuple[bool, int, str]] = {}
        others: list[tuple[bool, int, str]] = []
        for at in among:
            cohort = self.cohorts[at]
            silent = cohort.profile is None or bool(cohort.hold)
            free = zip(self.positions(at), cohort.members, strict=True)
            nearest = nsmallest(
                count, free if before == FirstWaves() else (e for e in free if not _is_in(e, cohort, before))
            )
            for place, name in nearest:
                entry = silent, place, name
                known = best.get(cohort.group)
                if known is None or entry < known:
                    best[cohort.group] = entry
                    others += [] if known is None else [known]
                else:
                    others.append(entry)
        chosen = sorted(best.values())[:count]
        rest = sorted(entry for entry in others if entry not in chosen)
        chosen += rest[: count - len(chosen)]
        return tuple(sorted(name for _silent, _place, name in chosen))

    def _canary(self, most: int, prefer: str, among: Sequence[int]) -> tuple[str, ...]:
        """Choose a client of each group, up to so many and never all that answer; those first that a pattern takes."""
        best: dict[str, tuple[bool, int, str]] = {}
        preferred: dict[str, tuple[bool, int, str]] = {}
        total = answering = 0
        for at in among:
            cohort = self.cohorts[at]
            silent = cohort.profile is None or bool(cohort.hold)
            total += len(cohort.members)
            answering += 0 if silent else len(cohort.members)
            entry = silent, *min(zip(self.positions(at), cohort.members, strict=True))
            for chosen in (best, preferred) if prefer in cohort.selected else (best,):
                chosen[cohort.group] = min(entry, chosen.get(cohort.group, entry))
        # A label on a machine that is off mustn't stop updates: nobody said that the canary must be this one.
        some = preferred if any(not silent for silent, *_rest in preferred.values()) else best
        count = min(most, max((answering or total) - 1, 1))
        return tuple(sorted(name for _silent, _place, name in sorted(some.values())[:count]))


def _is_in(entry: tuple[int, str], cohort: Cohort, part: FirstWaves) -> bool:
    place, name = entry
    return not part.selects.isdisjoint(cohort.selected) or place <= part.upto or name in part.names
