"""One rollout taken as far as it may go at a time, by the rules of `planner.rollout`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from heapq import nsmallest
from typing import TYPE_CHECKING

from reconciler.formats.counts import number_text
from reconciler.model.change import Proof
from reconciler.model.plan import RolloutStep
from reconciler.model.rollout import OPEN, UNDER_WAY, RolloutRecord, position
from reconciler.planner.gate import Gate, Tally
from reconciler.planner.waves import FirstWaves, first_waves, structure

if TYPE_CHECKING:
    from collections import Counter
    from datetime import datetime

    from reconciler.model.change import DeployReason
    from reconciler.model.policy import Rollout
    from reconciler.model.rollout import Key, Undo
    from reconciler.planner.gate import FleetView
    from reconciler.planner.targets import Waits

NOBODY = FirstWaves()
STAND_INS = 3
"""How many clients may stand in for others in a wave that has fewer clients."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a rollout lets pass in this plan.

    `open` are the clients that may get the release, `fresh` those that may if they have nothing of the component;
    `undo` those that are to go back from it but for `spare`. `kind` and `says` are for those that have to wait, `at`
    is when the next wave may open by the time alone.
    """

    open: FirstWaves = NOBODY
    fresh: FirstWaves = NOBODY
    undo: FirstWaves = NOBODY
    spare: FirstWaves = NOBODY
    wave: int = 0
    kind: Waits = "deferred"
    says: str = ""
    at: datetime | None = None

    def admitted(self, reason: DeployReason) -> FirstWaves:
        """Give the clients that may get the release, of those that differ for a reason."""
        return self.fresh if reason == "missing" else self.open


class Walk:
    """Takes one rollout as far as it may go now."""

    def __init__(self, fleet: FleetView, key: Key, policy: Rollout, groups: list[str], among: tuple[int, ...]) -> None:
        self._all = fleet
        self._key = key
        self._policy = policy
        self._among = among
        self._gate = Gate(fleet, key, policy, groups, among=among)
        self._record: RolloutRecord | None = None
        self._says = ""
        self._waits = False
        """True when somebody must act before it goes on."""
        self._next_at: datetime | None = None
        self._tally = Tally()
        self._awaits_approval = False
        self._stuck = False
        """True when somebody must act, or it never goes on."""
        self.asleep = False
        """True when it waits for clients that nobody could try, or look at: nothing newer need wait for those."""
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
            self._tally = self._gate.count(record)
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
        tally = self._tally = self._gate.count(record)
        breach = self._gate.breach(tally)
        if breach:
            self._record = replace(record, status="halted", reason=breach, undo=self._undo(record))
            return self._stay(self._record.stopped)
        total = tally.total()
        attempted, least = total.passed + total.failed + tally.had, self._gate.least(record)
        nobody = total.asleep and not tally.had and not least
        others = self._stand_ins(record, tally.lacking + tally.off if nobody else tally.lacking)
        if others is not record:
            return others
        trouble = "" if total.pending else self._gate.trouble(tally)
        if trouble:
            self._record = replace(record, status="stalled", reason=trouble)
            return self._stay(f"{self._record.stopped}; it goes on by itself when they are fine", waits=True)
        if record.status == "stalled":
            return replace(record, status="running", reason="")
        if total.pending:
            done = total.planned - total.pending
            return self._stay(f"{record.place} is open: {done} of {total.planned} done{_loading(tally.loading)}")
        if total.unknown:
            self.asleep = True
            says = f"{record.place} is open: at {total.unknown} of its clients nobody looked yet"
            return self._stay(f"{says}; a plan for the whole fleet goes on")
        if attempted < least:
            self._stuck = attempted + total.off + total.unreachable + total.hindered + tally.later < least
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
            limits = self._gate.limits(group, record)
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
            if group in ((cohort := lineup.cohorts[at]).groups or (cohort.group,))
            if cohort.profile is not None and not cohort.hold and self._all.state(cohort, self._key) == "pending"
            for rest in (lineup.split(at, (upper,)).get((False,)),)
            if rest is not None and rest.count(group)
            for name in rest.of(group)
            if name not in tried
        ]

    def _too_few(self, record: RolloutRecord, attempted: int, least: int) -> str:
        who, off = self._gate.wave(record).select, self._tally.total().off
        if who and not self._gate.members(record):
            return f"no client matches `{who}`"
        reason = f"{number_text(attempted)} clients could be attempted, and min_attempted is {number_text(least)}"
        return f"{reason}; {number_text(off)} were off when it opened" if off else reason

    def _rest(self, record: RolloutRecord) -> RolloutRecord | None:
        """Soak, then prove; the record itself when that is over."""
        assert record.passed is not None
        if record.cleared:
            return record
        wave = self._gate.wave(record)
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
        opened = replace(opened, had=self._gate.having(opened) if record.catches_up else ())
        if following.approve and all(entry.wave != number for entry in record.approved):
            self._awaits_approval = True
            says = f"{opened.place} waits for approval: updoser rollout approve {record.component}"
            return self._stay(says, waits=True)
        return opened

    def _stay(self, says: str, *, waits: bool = False) -> RolloutRecord | None:
        self._says, self._waits = says, waits
        return None

    # --- results ------------------------------------------------------------------------------------------------------

    def step(self, before: RolloutRecord | None) -> RolloutStep:
        """Give where the rollout stands."""
        record, total = self._record, self._tally.total()
        assert record is not None
        most, share, at_once = None, None, 0
        if record.wave and (record.passed is None or self.proofs):
            most, share = self._gate.bounds(record, self._tally, proving=bool(self.proofs))
            at_once = self._gate.wave(record).at_once
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
            awaits_approval=self._awaits_approval,
        )

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
            at=self._next_at,
        )


def _loading(clients: int) -> str:
    """Say how many clients have a release and haven't loaded it."""
    if not clients:
        return ""
    return f", {clients} {'has' if clients == 1 else 'have'} it and {'hasn' if clients == 1 else 'haven'}'t loaded it"
