"""The gate of a rollout's open wave: its clients are counted, and the limits that hold for them applied.

Not counted are clients that are out of the rollout, and for now those that are held or get nothing (`later`). Of late
ones only those count that come to the version, as the others had it before (`had`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from reconciler.formats.counts import number_text
from reconciler.model.plan import NEVER_SEEN, WaveCounts
from reconciler.model.share import exact, exceeds
from reconciler.planner.waves import first_waves
from reconciler.reasons import reason_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from reconciler.model.plan import Cohort
    from reconciler.model.policy import Limits, Rollout, Wave
    from reconciler.model.rollout import Key, RolloutRecord
    from reconciler.planner.waves import Lineup

Part = Literal["passed", "loading", "pending", "out", "idle"]
Counted = Literal["passed", "failed", "pending", "unreachable", "off", "hindered", "unknown"]


class FleetView(Protocol):
    """What a rollout asks of the fleet."""

    lineup: Lineup

    @property
    def now(self) -> datetime:
        """The time of the plan."""

    @property
    def limited(self) -> bool:
        """True when the plan is for some clients only: nothing is proved then."""

    def expedited(self, component: str) -> bool:
        """Say whether somebody is in a hurry with a component."""

    def limits(self, group: str, component: str, wave: Wave) -> Limits:
        """Give what a gate lets pass of a group's clients."""

    def failures(self, key: Key) -> Mapping[str, str]:
        """Give the clients that failed with a version."""

    def troubles(self, key: Key) -> Mapping[str, str]:
        """Give the clients that couldn't be served because of something that is wrong with them."""

    def state(self, cohort: Cohort, key: Key) -> Part:
        """Say what the clients of a cohort are to a rollout: `passed`, `loading`, `pending`, `out` of it, or `idle`.

        Those are loading that have it and count once their engines do; those are idle that lack it and get nothing at
        all for now.
        """


@dataclass(slots=True)
class Tally:
    """The clients of an open wave, counted by the limits that hold for them.

    `had` are those that had the version before, where only late ones count. `later` aren't counted yet: they are held,
    or get nothing for now. `lacking` are by group those that nobody stands in for, though they need it, and `off` those
    that were off when the wave opened. `instead` are by limits those that stand in for others. `loading` are those of
    the pending that have the version, and whose engines don't.
    """

    counts: dict[Limits, WaveCounts] = field(default_factory=dict)
    had: int = 0
    later: int = 0
    loading: int = 0
    lacking: Counter[str] = field(default_factory=Counter)
    off: Counter[str] = field(default_factory=Counter)
    instead: Counter[Limits] = field(default_factory=Counter)

    def total(self) -> WaveCounts:
        """Count the clients under all limits together."""
        counts = self.counts.values()
        return WaveCounts(*(sum(getattr(count, name) for count in counts) for name in WaveCounts.__slots__))


class Gate:
    """Counts the open wave of one rollout, and says what its gate thinks of it."""

    def __init__(
        self, fleet: FleetView, key: Key, policy: Rollout, groups: list[str], *, among: tuple[int, ...]
    ) -> None:
        self._fleet = fleet
        self._key = key
        self._policy = policy
        self._groups = groups
        self._among = among

    def wave(self, record: RolloutRecord) -> Wave:
        """Give the wave that is open."""
        return self._policy.waves[record.wave - 1]

    def limits(self, group: str, record: RolloutRecord) -> Limits:
        """Give what holds for a group's clients in the open wave."""
        return self._fleet.limits(group, self._key[0], self.wave(record))

    # --- counting -----------------------------------------------------------------------------------------------------

    def members(self, record: RolloutRecord) -> int:
        """Count who is in the open wave, counted or not."""
        return sum(size for _at, size in self._between(record))

    def having(self, record: RolloutRecord) -> tuple[tuple[str, int], ...]:
        """Count the clients of the open wave that have the version already, by group."""
        found = Counter[str]()
        for at, _size in self._between(record):
            cohort = self._fleet.lineup.cohorts[at]
            if cohort.profile is not None and not cohort.hold and self._fleet.state(cohort, self._key) == "passed":
                found.update(dict(self._by_group(record, at)))
        return tuple(sorted(found.items()))

    def count(self, record: RolloutRecord) -> Tally:
        """Count the clients of the open wave; nobody where none is open."""
        tally = Tally()
        if not record.wave:
            return tally
        lineup = self._fleet.lineup
        upper, lower = first_waves(record.cuts, record.wave), first_waves(record.cuts, record.wave - 1)
        failed, ill = frozenset(self._fleet.failures(self._key)), frozenset(self._fleet.troubles(self._key))
        instead = frozenset(record.cuts[record.wave - 1].instead)
        special = failed | ill | instead
        concerned = lineup.having(special)
        had = Counter(dict(record.had))
        limits = {group: self.limits(group, record) for group in self._groups}
        parts: dict[Limits, Counter[Counted]] = defaultdict(Counter)
        for at, size in self._between(record):
            cohort = lineup.cohorts[at]
            count = parts[limits[cohort.group]]
            if cohort.hold:
                tally.later += size
                continue
            inside = frozenset[str]()
            if at in concerned:
                some = lineup.split(at, (upper, lower)).get((True, False))
                inside = frozenset(some.names).intersection(special) if some is not None else inside
            tally.instead[limits[cohort.group]] += len(instead & inside)
            tally.lacking.subtract(_groups_of(cohort, instead & inside))
            if cohort.unknown == NEVER_SEEN:
                count["unknown"] += size
            elif cohort.profile is None:
                silent = Counter(dict(self._by_group(record, at)))
                _count_silent(tally, count, cohort, silent, hindered=len(inside & ill), opened=record.opened)
            else:
                state = self._fleet.state(cohort, self._key)
                if state in {"loading", "pending"}:
                    tally.loading += size - len(inside & failed) if state == "loading" else 0
                    _count_pending(tally, count, cohort, (size, inside & failed, inside & ill))
                elif state == "passed":
                    before = _take(had, self._by_group(record, at)) if record.had else 0
                    tally.had += before
                    count["passed"] += size - before
                elif state == "idle":
                    tally.later += size
        ordered = sorted(parts.items(), key=lambda entry: repr(entry[0]))
        tally.counts = {limit: _wave_counts(count) for limit, count in ordered}
        return tally

    def _by_group(self, record: RolloutRecord, at: int) -> Iterable[tuple[str, int]]:
        """Give the groups whose clients of a cohort are in the open wave, and how many."""
        upper, lower = first_waves(record.cuts, record.wave), first_waves(record.cuts, record.wave - 1)
        return self._fleet.lineup.between_by_group(at, lower, upper)

    def _between(self, record: RolloutRecord) -> list[tuple[int, int]]:
        upper, lower = first_waves(record.cuts, record.wave), first_waves(record.cuts, record.wave - 1)
        return self._fleet.lineup.between(lower, upper, self._among)

    # --- what the limits say ------------------------------------------------------------------------------------------

    def breach(self, tally: Tally) -> str:
        """Say which limit is exceeded; one that can't be kept any more is, however the rest of the wave goes."""
        for limits, count in tally.counts.items():
            attempted = count.passed + count.failed
            base = count.planned if count.pending else attempted
            share, says = limits.max_fail_percentage, ""
            if limits.max_failed is not None and count.failed > limits.max_failed:
                says = f"at most {limits.max_failed} may"
            elif share is not None and exceeds(count.failed, base, share):
                says = f"max_fail_percentage is {share:g}"
            if says:
                why = _first(self._fleet.failures(self._key))
                return f"{number_text(count.failed)} of {number_text(attempted)} clients failed, and {says}{why}"
        return ""

    def trouble(self, tally: Tally) -> str:
        """Say where too many clients are in trouble of their own, and nobody stands in for them."""
        for limits, count in tally.counts.items():
            share, instead = limits.max_unreachable_percentage, tally.instead[limits]
            left, planned = count.unreachable + count.hindered - instead, count.planned - instead
            if share is not None and left > 0 and exceeds(left, planned, share):
                what = "became unreachable" if not count.hindered else "can't be reached, or can't take anything now"
                why = _first(self._fleet.troubles(self._key)) if count.hindered else ""
                few = f"{number_text(left)} of {number_text(planned)} clients {what}"
                return f"{few}, and max_unreachable_percentage is {share:g}{why}"
        return ""

    def least(self, record: RolloutRecord) -> int:
        """Give how many clients must have been attempted: what the wave says, or the rollout.

        What the rollout says holds where another wave follows, and somebody is in this one.
        """
        own = self.wave(record).limits.min_attempted
        if own is not None or (record.wave > 1 and (record.last or not self.members(record))):
            return own or 0
        return min((self.limits(group, record).min_attempted or 0 for group in self._groups), default=0)

    def bounds(self, record: RolloutRecord, tally: Tally, *, proving: bool) -> tuple[int | None, float | None]:
        """Give how many clients may fail, and which share: more are too many, whatever groups' limits hold for them."""
        planned = {limits: count.planned for limits, count in tally.counts.items()}
        planned = planned or {self.limits(group, record): 0 for group in self._groups}
        total: int | None = 0
        for limits, clients in planned.items():
            share = limits.max_fail_percentage
            bounds = [limits.max_failed]
            if share is not None and not proving:
                bounds.append(int(exact(share) * clients / 100))
            most = min((bound for bound in bounds if bound is not None), default=None)
            total = None if most is None or total is None else total + most
        shares = [limits.max_fail_percentage for limits in planned]
        known = [share for share in shares if share is not None]
        return total, max(known) if len(known) == len(shares) else None


def _count_silent(
    tally: Tally, count: Counter[Counted], cohort: Cohort, silent: Counter[str], *, hindered: int, opened: datetime
) -> None:
    """Count clients of which nothing is known: they were off when the wave opened, or are in trouble since."""
    crowded, size = reason_of(cohort.unknown) == "crowded", silent.total()  # by our own pace, as a rule
    if cohort.unreachable or crowded or cohort.since is None or cohort.since <= opened:
        count["off"] += size
        tally.off.update(silent)
    else:
        count["unreachable"] += size - hindered
        count["hindered"] += hindered
        tally.lacking.update(silent)


def _count_pending(
    tally: Tally, count: Counter[Counted], cohort: Cohort, part: tuple[int, frozenset[str], frozenset[str]]
) -> None:
    """Count clients that lack the version: some failed with it, some are in trouble of their own."""
    size, failed, hindered = part
    count["failed"] += len(failed)
    count["hindered"] += len(hindered)
    count["pending"] += size - len(failed) - len(hindered)
    tally.lacking.update(_groups_of(cohort, hindered))


def _take(had: Counter[str], passed: Iterable[tuple[str, int]]) -> int:
    """Count those of the clients of groups that had the version before, and take them off the count of these."""
    found = 0
    for group, count in passed:
        before = min(had[group], count)
        had[group] -= before
        found += before
    return found


def _groups_of(cohort: Cohort, names: frozenset[str]) -> Counter[str]:
    """Count some clients of a cohort by their groups."""
    return Counter({group: len(names.intersection(its)) for group, its in cohort.parts()} if names else {})


def _wave_counts(count: Counter[Counted]) -> WaveCounts:
    return WaveCounts(
        planned=count["passed"] + count["failed"] + count["pending"] + count["unreachable"] + count["hindered"],
        passed=count["passed"],
        failed=count["failed"],
        pending=count["pending"],
        unreachable=count["unreachable"],
        off=count["off"],
        hindered=count["hindered"],
        unknown=count["unknown"],
    )


def _first(said: Mapping[str, str]) -> str:
    """Give what the first of some clients said."""
    return f" ({min(said)}: {said[min(said)]})" if said else ""
