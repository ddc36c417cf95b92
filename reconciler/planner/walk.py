"""One rollout taken as far as it may go at a time, by the rules of `planner.rollout`."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from datetime import timedelta
from heapq import nsmallest
from typing import TYPE_CHECKING, Literal, Protocol

from reconciler.errors import HungUpError
from reconciler.model.change import Proof
from reconciler.model.plan import NEVER_SEEN, RolloutStep, WaveCounts
from reconciler.model.rollout import OPEN, UNDER_WAY, RolloutRecord, position
from reconciler.model.share import exact, exceeds
from reconciler.planner.waves import FirstWaves, Lineup, first_waves, structure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from reconciler.model.change import DeployReason
    from reconciler.model.plan import Cohort
    from reconciler.model.policy import Limits, Rollout, Wave
    from reconciler.model.rollout import Key, Undo
    from reconciler.planner.desired import Waits

NOBODY = FirstWaves()
STAND_INS = 3
"""How many clients may stand in for others in a wave that has fewer clients."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a rollout lets pass in this plan.

    `open` are the clients that may get the release, `fresh` those that may if they have nothing of the component;
    `undo` those that are to go back from it but for `spare`. `kind` and `says` are for those that have to wait.
    """

    open: FirstWaves = NOBODY
    fresh: FirstWaves = NOBODY
    undo: FirstWaves = NOBODY
    spare: FirstWaves = NOBODY
    wave: int = 0
    kind: Waits = "deferred"
    says: str = ""

    def admitted(self, reason: DeployReason) -> FirstWaves:
        """Give the clients that may get the release, of those that differ for a reason."""
        return self.fresh if reason == "missing" else self.open


Part = Literal["passed", "pending", "out", "idle"]


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
        """Say what the clients of a cohort are to a rollout: `passed`, `pending`, `out` of it, or `idle`.

        Those are idle that lack it and get nothing at all for now.
        """


class Walk:
    """Takes one rollout as far as it may go now."""

    def __init__(self, fleet: FleetView, key: Key, policy: Rollout, groups: list[str], among: tuple[int, ...]) -> None:
        self._all = fleet
        self._key = key
        self._policy = policy
        self._groups = groups
        self._among = among
        self._record: RolloutRecord | None = None
        self._says = ""
        self._waits = False
        """True when somebody must act before it goes on."""
        self._next_at: datetime | None = None
        self._counts: dict[Limits, WaveCounts] = {}
        self._stuck = False
        """True when somebody must act, or it never goes on."""
        self.asleep = False
        """True when it waits for clients that nobody could try, or look at: nothing newer need wait for those."""
        self._had = 0
        """How many clients of the open wave had the version before, where only late ones count."""
        self._later = 0
        """How many clients of the open wave aren't counted yet: they are held, or get nothing for now."""
        self._lacking: Counter[str] = Counter()
        """How many clients of the open wave nobody stands in for, though they need it, by group."""
        self._off: Counter[str] = Counter()
        """How many clients of the open wave were off when it opened, by group."""
        self._instead: Counter[Limits] = Counter()
        self.proofs: list[Proof] = []

    def start(self, before: RolloutRecord | None, *, first: bool, late: tuple[int, ...] | None = None) -> RolloutRecord:
        """Give a rollout that begins: with no wave open. Approvals and a pause of one that begins anew stay.

        `late` are the cohorts that come to a version whose rollout was done: its waves are made of them, and it keeps
        its place among other rollouts.
        """
        component, version, group = self._key
        cuts, sizes = self._all.lineup.cut(self._policy.waves, self._among if late is None else late)
        now = self._all.now
        again = before is not None and before.status in OPEN
        return RolloutRecord(
            component=component,
            version=version,
            group=group,
            status=before.status if before is not None and before.status in UNDER_WAY else "running",
            cuts=cuts,
            sizes=sizes,
            structure=structure(self._policy.waves),
            started=before.started if before is not None and late is not None else now,
            opened=now,
            wave=0,
            passed=now,
            cleared=True,
            first=first,
            approved=before.approved if before is not None and again else (),
            catches_up=late is not None,
        )

    def walk(self, record: RolloutRecord) -> None:
        """Follow the rules until one of them says to stay."""
        following: RolloutRecord | None = record
        while following is not None:
            self._record = following
            following = self._onward(following)

    def _onward(self, record: RolloutRecord) -> RolloutRecord | None:
        """Give the rollout after the first rule that moves it; None when it stays, and `_says` says why."""
        if record.status == "paused":
            self._count(record)
            return self._stay(record.stopped)
        if record.passed is None:
            return self._through(record)
        if record.wave:
            resting = self._rest(record)
            if resting is not record:
                return resting
        if record.last:
            return None if record.status == "done" else replace(record, status="done", reason="")
        return self._open(record)

    def _through(self, record: RolloutRecord) -> RolloutRecord | None:
        """Apply the gate of the open wave."""
        self._count(record)
        breach = self._breach()
        if breach:
            self._record = replace(record, status="halted", reason=breach, undo=self._undo(record))
            return self._stay(self._record.stopped)
        total = self._total()
        attempted, least = total.passed + total.failed + self._had, self._least(record)
        nobody = total.asleep and not self._had and not least
        others = self._stand_ins(record, self._lacking + self._off if nobody else self._lacking)
        if others is not record:
            return others
        trouble = "" if total.pending else self._trouble()
        if trouble:
            self._record = replace(record, status="stalled", reason=trouble)
            return self._stay(f"{self._record.stopped}; it goes on by itself when they are fine", waits=True)
        if record.status == "stalled":
            return replace(record, status="running", reason="")
        if total.pending:
            done = total.planned - total.pending
            return self._stay(f"{record.place} is open: {done} of {total.planned} done")
        if total.unknown:
            self.asleep = True
            says = f"{record.place} is open: at {total.unknown} of its clients nobody looked yet"
            return self._stay(f"{says}; a plan for the whole fleet goes on")
        if attempted < least:
            self._stuck = attempted + total.off + total.unreachable + total.hindered + self._later < least
            return self._stay(f"{record.place} is blocked: {self._too_few(record, attempted, least)}", waits=True)
        if nobody:
            self.asleep = True
            left = total.planned + total.off
            return self._stay(f"{record.place} waits for its clients: none of {left} could be tried so far")
        return replace(record, passed=self._all.now, cleared=not total.planned)

    def _undo(self, record: RolloutRecord) -> Undo:
        """Give what goes back after a halt: of late ones only who failed, as others had the version before them."""
        return "" if record.catches_up else self._policy.undo

    def _stand_ins(self, record: RolloutRecord, lacking: Counter[str]) -> RolloutRecord:
        """Take other clients of their groups for those that are in trouble of their own; the record itself if none."""
        at = record.wave - 1
        cut, room = record.cuts[at], max(record.sizes[at], STAND_INS) - len(record.cuts[at].instead)
        if record.last or room <= 0:
            return record
        found: list[str] = []
        for group, wanted in sorted(lacking.items()):
            limits = self._all.limits(group, self._key[0], self._wave(record))
            if limits.max_unreachable_percentage == 0:
                continue
            found += nsmallest(wanted, self._free(record, group), key=position)
        if not found:
            return record
        cut = replace(cut, instead=(*cut.instead, *found[:room]))
        return replace(record, cuts=(*record.cuts[:at], cut, *record.cuts[at + 1 :]))

    def _free(self, record: RolloutRecord, group: str) -> list[str]:
        """Give the clients of a group that would get the release in a later wave, and could have it now."""
        lineup, upper = self._all.lineup, first_waves(record.cuts, record.wave)
        tried = {*self._all.failures(self._key), *self._all.troubles(self._key)}
        return [
            name
            for at in self._among
            if (cohort := lineup.cohorts[at]).group == group and cohort.profile is not None and not cohort.hold
            if self._all.state(cohort, self._key) == "pending"
            for name in lineup.split(at, (upper,)).get((False,), ())
            if name not in tried
        ]

    def _least(self, record: RolloutRecord) -> int:
        """Give how many clients must have been attempted: what the wave says, or the rollout.

        What the rollout says holds where another wave follows, and somebody is in this one.
        """
        wave = self._wave(record)
        own = wave.limits.min_attempted
        if own is not None or (record.wave > 1 and (record.last or not self._members(record))):
            return own or 0
        limits = (self._all.limits(group, self._key[0], wave) for group in self._groups)
        return min((limit.min_attempted or 0 for limit in limits), default=0)

    def _too_few(self, record: RolloutRecord, attempted: int, least: int) -> str:
        who, off = self._wave(record).select, self._total().off
        if who and not self._members(record):
            return f"no client matches `{who}`"
        reason = f"{attempted} clients could be attempted, and min_attempted is {least}"
        return f"{reason}; {off} were off when it opened" if off else reason

    def _rest(self, record: RolloutRecord) -> RolloutRecord | None:
        """Soak, then prove; the record itself when that is over."""
        assert record.passed is not None
        if record.cleared:
            return record
        wave = self._wave(record)
        skip = record.first or self._all.expedited(self._key[0])
        until = record.passed + (timedelta() if skip else wave.soak)
        if self._all.now < until:
            self._next_at = until
            return self._stay(f"{record.place} soaks until {until:%Y-%m-%dT%H:%M:%SZ}")
        proofs = self._proofs(record)
        if not proofs:
            return replace(record, cleared=True)
        if self._all.limited:
            return self._stay(f"{record.place} has soaked; a plan for the whole fleet goes on")
        self.proofs = proofs
        return self._stay(f"{record.place} has soaked: it is proved once more")

    def _proofs(self, record: RolloutRecord) -> list[Proof]:
        component, version, group = self._key
        found = []
        if self._policy.recheck:
            found.append(Proof(component=component, version=version, group=group, wave=record.wave, kind="recheck"))
        if not record.last:
            gates = range(len(self._policy.gates))
            found += [
                Proof(component=component, version=version, group=group, wave=record.wave, kind="gate", number=number)
                for number in gates
            ]
        return found

    def _open(self, record: RolloutRecord) -> RolloutRecord | None:
        following = self._policy.waves[record.wave]
        number = record.wave + 1
        opened = replace(record, wave=number, opened=self._all.now, passed=None, cleared=False)
        opened = replace(opened, had=self._having(opened) if record.catches_up else ())
        if following.approve and all(entry.wave != number for entry in record.approved):
            says = f"{opened.place} waits for approval: updoser rollout approve {record.component}"
            return self._stay(says, waits=True)
        return opened

    def _stay(self, says: str, *, waits: bool = False) -> RolloutRecord | None:
        self._says, self._waits = says, waits
        return None

    # --- counting -----------------------------------------------------------------------------------------------------

    def _wave(self, record: RolloutRecord) -> Wave:
        return self._policy.waves[record.wave - 1]

    def _members(self, record: RolloutRecord) -> int:
        upper, lower = first_waves(record.cuts, record.wave), first_waves(record.cuts, record.wave - 1)
        return sum(size for _at, size in self._all.lineup.between(lower, upper, self._among))

    def _having(self, record: RolloutRecord) -> tuple[tuple[str, int], ...]:
        """Count the clients of the open wave that have the version already, by group."""
        lineup, found = self._all.lineup, Counter[str]()
        upper, lower = first_waves(record.cuts, record.wave), first_waves(record.cuts, record.wave - 1)
        for at, size in lineup.between(lower, upper, self._among):
            cohort = lineup.cohorts[at]
            if cohort.profile is not None and not cohort.hold and self._all.state(cohort, self._key) == "passed":
                found[cohort.group] += size
        return tuple(sorted(found.items()))

    def _count(self, record: RolloutRecord) -> None:
        """Count the clients of the open wave for its gate, by the limits that hold for them."""
        everything = self._all
        names, ill = frozenset(everything.failures(self._key)), frozenset(everything.troubles(self._key))
        instead = frozenset(record.cuts[record.wave - 1].instead if record.wave else ())
        self._lacking, self._instead, self._off = Counter(), Counter(), Counter()
        had = Counter(dict(record.had))
        lineup = everything.lineup
        upper, lower = first_waves(record.cuts, record.wave), first_waves(record.cuts, max(record.wave - 1, 0))
        counts: dict[Limits, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        limits = {group: everything.limits(group, self._key[0], self._wave(record)) for group in self._groups}
        self._later = 0
        for at, size in lineup.between(lower, upper, self._among) if record.wave else ():
            cohort = lineup.cohorts[at]
            count = counts[limits[cohort.group]]
            if cohort.hold:
                self._later += size
                continue
            inside: frozenset[str] = frozenset()
            if not (names | ill | instead).isdisjoint(cohort.members):
                inside = frozenset(lineup.split(at, (upper, lower)).get((True, False), ()))
            self._note_stand_ins(cohort.group, limits[cohort.group], len(instead & inside))
            if cohort.unknown == NEVER_SEEN:
                count["unknown"] += size
                continue
            if cohort.profile is None:
                crowded = cohort.unknown == HungUpError.label  # by our own pace, as a rule
                silent = cohort.unreachable or crowded or cohort.since is None or cohort.since <= record.opened
                hindered = 0 if silent else len(inside & ill)
                count["off" if silent else "unreachable"] += size - hindered
                count["hindered"] += hindered
                self._lacking[cohort.group] += 0 if silent else size
                self._off[cohort.group] += size if silent else 0
                continue
            state = everything.state(cohort, self._key)
            if state == "pending":
                failed, hindered = len(inside & names), len(inside & ill)
                count["failed"] += failed
                count["hindered"] += hindered
                self._lacking[cohort.group] += hindered
                size -= failed + hindered  # noqa: PLW2901
            if state == "passed":
                before = min(had[cohort.group], size)
                had[cohort.group] -= before
                size -= before  # noqa: PLW2901
            if state == "idle":
                self._later += size
            elif state != "out":
                count[state] += size
        self._counts = {
            limit: WaveCounts(
                planned=sum(count[name] for name in ("passed", "failed", "pending", "unreachable", "hindered")),
                passed=count["passed"],
                failed=count["failed"],
                pending=count["pending"],
                unreachable=count["unreachable"],
                off=count["off"],
                hindered=count["hindered"],
                unknown=count["unknown"],
            )
            for limit, count in sorted(counts.items(), key=lambda entry: repr(entry[0]))
        }
        self._had = sum(dict(record.had).values()) - had.total()

    def _note_stand_ins(self, group: str, limits: Limits, clients: int) -> None:
        self._instead[limits] += clients
        self._lacking[group] -= clients

    def _total(self) -> WaveCounts:
        counts = self._counts.values()
        return WaveCounts(*(sum(getattr(count, name) for count in counts) for name in WaveCounts.__slots__))

    def _breach(self) -> str:
        """Say which limit is exceeded; one that can't be kept any more is, however the rest of the wave goes."""
        for limits, count in self._counts.items():
            attempted = count.passed + count.failed
            base = count.planned if count.pending else attempted
            if limits.max_failed is not None and count.failed > limits.max_failed:
                return f"{count.failed} of {attempted} clients failed, and at most {limits.max_failed} may{self._why()}"
            share = limits.max_fail_percentage
            if share is not None and exceeds(count.failed, base, share):
                return (
                    f"{count.failed} of {attempted} clients failed, and max_fail_percentage is {share:g}{self._why()}"
                )
        return ""

    def _trouble(self) -> str:
        """Say where too many clients are in trouble of their own, and nobody stands in for them."""
        for limits, count in self._counts.items():
            share, instead = limits.max_unreachable_percentage, self._instead[limits]
            left, planned = count.unreachable + count.hindered - instead, count.planned - instead
            if share is not None and left > 0 and exceeds(left, planned, share):
                what = "became unreachable" if not count.hindered else "can't be reached, or can't take anything now"
                why = self._first(self._all.troubles(self._key)) if count.hindered else ""
                return f"{left} of {planned} clients {what}, and max_unreachable_percentage is {share:g}{why}"
        return ""

    def _why(self) -> str:
        """Give what the first client that failed said."""
        return self._first(self._all.failures(self._key))

    @staticmethod
    def _first(failures: Mapping[str, str]) -> str:
        return f" ({min(failures)}: {failures[min(failures)]})" if failures else ""

    # --- results ------------------------------------------------------------------------------------------------------

    def step(self, before: RolloutRecord | None) -> RolloutStep:
        """Give where the rollout stands."""
        record, total = self._record, self._total()
        assert record is not None
        most, share, at_once = None, None, 0
        if record.wave and (record.passed is None or self.proofs):
            wave = self._wave(record)
            (most, share), at_once = self._bounds(wave), wave.at_once
        return RolloutStep(
            record,
            new=record != before,
            before=before.fingerprint if before is not None else "",
            says=self._says if record.status != "done" else "done",
            counts=total,
            next_at=self._next_at,
            at_once=at_once,
            max_failed=most,
            max_fail_percentage=share,
            undo=self._undo(record),
            stuck=self._stuck,
        )

    def _bounds(self, wave: Wave) -> tuple[int | None, float | None]:
        """Give how many clients may fail, and which share: more are too many, whatever groups' limits hold for them."""
        planned = {limits: count.planned for limits, count in self._counts.items()}
        planned = planned or {self._all.limits(group, self._key[0], wave): 0 for group in self._groups}
        total: int | None = 0
        for limits, clients in planned.items():
            share = limits.max_fail_percentage
            bounds = [limits.max_failed]
            if share is not None and not self.proofs:
                bounds.append(int(exact(share) * clients / 100))
            most = min((bound for bound in bounds if bound is not None), default=None)
            total = None if most is None or total is None else total + most
        shares = [limits.max_fail_percentage for limits in planned]
        known = [share for share in shares if share is not None]
        return total, max(known) if len(known) == len(shares) else None

    def _is_ahead(self, record: RolloutRecord) -> bool:
        """Say whether clients that have nothing may get the release a wave early: only the soak is in the way."""
        return self._next_at is not None and not record.last and not self._policy.waves[record.wave].approve

    def standing(self) -> Standing | None:
        """Give what the rollout lets pass; None when it is done."""
        record = self._record
        assert record is not None
        if record.status == "done":
            return None
        says = f"rollout: {self._says}"
        if record.status == "stalled":  # who is in trouble is tried again: it may be fine by now
            tried = first_waves(record.cuts, record.wave)
            return Standing(open=tried, fresh=tried, wave=record.wave, kind="held", says=says)
        if record.status != "running":
            return Standing(wave=record.wave, kind="held", says=says)
        ahead = record.wave + self._is_ahead(record)
        return Standing(
            open=first_waves(record.cuts, record.wave),
            fresh=first_waves(record.cuts, min(ahead, len(record.cuts))),
            wave=record.wave,
            kind="held" if self._waits else "deferred",
            says=says,
        )
