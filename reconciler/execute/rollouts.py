"""Moves rollouts on as a plan says, watches their gates while clients change, and halts one that must not go on.

What a plan can't know is how its clients fare. While a wave changes, its rollout halts as soon as more clients failed
than it may have in all, and between two batches when too many of those that were attempted did. How clients fared is
written down with all else that became of them, many at a time, and before the halt that follows from it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.formats.counts import number_text
from reconciler.model.deploy import MACHINE, RELEASE
from reconciler.model.report import JournalEntry
from reconciler.model.rollout import AT_WORK, RolloutRecord, key_among
from reconciler.model.share import exceeds
from reconciler.model.work_events import RolloutMoved
from reconciler.storage.outcomes import Fared

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from reconciler.model.change import Deploy
    from reconciler.model.deploy import Fault, Step
    from reconciler.model.events import Level
    from reconciler.model.plan import Plan, RolloutStep
    from reconciler.model.rollout import Key, RolloutStatus
    from reconciler.workspace import Workspace

_LEVELS: dict[RolloutStatus, Level] = {"halted": "error", "stalled": "error", "aborted": "warning"}


def move_on(plan: Plan, work: Workspace) -> frozenset[Key]:
    """Remember where rollouts are, and what is over.

    Gives those that somebody steered since the plan was made: they stay as they are, and nothing is done for them.

    Raises:
        StateError: the state can't be written.
    """
    if not plan.rollouts:
        return frozenset()

    def move() -> tuple[frozenset[Key], list[RolloutStep]]:
        known = work.state.rollouts()
        now = {key: record.fingerprint for key, record in known.items()}
        steered = {step.record.key for step in plan.rollouts if now.get(step.record.key, "") != step.before}
        moved = [step for step in plan.rollouts if step.new and step.record.key not in steered]
        work.state.record_rollouts([step.record for step in moved])
        for step in moved:
            if step.record.over:
                work.state.forget_failures(step.record.key)
        return frozenset(steered), moved

    steered, moved = work.state.whole(move)
    work.state.journal(work.means.run_id, [_tell(step, step.says, work) for step in moved])
    return steered


def _tell(step: RolloutStep, says: str, work: Workspace) -> JournalEntry:
    """Tell where a rollout is, and give what is to be written into the history of the run."""
    record = step.record
    where = f" ({record.group})" if record.group else ""
    work.means.emit(
        RolloutMoved(
            f"{record.component} {record.version}{where}: {says}",
            level=_LEVELS.get(record.status, "info"),
            component=record.component,
            version=record.version,
            group=record.group,
            status=record.status,
            wave=record.wave,
        )
    )
    return JournalEntry(
        group=record.group,
        component=record.component,
        to_version=record.version,
        outcome=record.status,
        message=says,
        at=work.means.clock(),
    )


class Breaker:
    """Counts how clients fare in the waves of a plan, and halts rollouts. Used from one thread.

    `halted` are the rollouts that were halted here; other threads only look whether one is in it.
    """

    def __init__(self, plan: Plan, work: Workspace, stopped: Collection[Key] = ()) -> None:
        """Take the plan that is carried out; `stopped` are rollouts of it that go no further here."""
        self._work = work
        self._steps = {step.record.key: step for step in plan.rollouts if step.record.status in AT_WORK}
        self._failures = work.state.rollout_failures()
        self._troubles = work.state.rollout_failures(MACHINE)
        self._failed = Counter({key: step.counts.failed for key, step in self._steps.items()})
        self._passed = Counter({key: step.counts.passed for key, step in self._steps.items()})
        self._keys: dict[tuple[str, str, str], Key | None] = {}
        self._breached: dict[Key, str] = {}
        self.halted: set[Key] = set(stopped)

    @property
    def batch(self) -> int:
        """How many clients may change between two looks at the gates; 0: all."""
        sizes = [step.at_once for step in self._steps.values() if step.at_once and step.record.passed is None]
        return min(sizes, default=0)

    def key_of(self, component: str, version: str, group: str) -> Key | None:
        """Give the rollout that a change of clients of a group belongs to."""
        asked = component, version, group
        if asked not in self._keys:
            self._keys[asked] = key_among(self._steps, component, version, group)
        return self._keys[asked]

    def is_canary(self, group: str, steps: Iterable[Step]) -> bool:
        """Say whether one client's fate decides on others: in the first of several waves, and where few go at once."""
        if self.batch:
            return True
        keys = (self.key_of(step.component, step.to_version, group) for step in steps)
        records = [self._steps[key].record for key in keys if key is not None]
        return any(record.wave == 1 and len(record.cuts) > 1 for record in records)

    def is_halted(self, deploy: Deploy) -> bool:
        """Say whether a change must not be made any more."""
        key = self.key_of(deploy.component, deploy.to, deploy.group)
        return key is not None and key in self.halted

    def take(self, key: Key | None, client: str, message: str, fault: Fault = RELEASE) -> Fared | None:
        """Count one client that was changed (an empty message) or failed; what is the machine's is remembered only.

        Gives what is to be written down of it. Once it is, whoever counts calls `trip` where `must_trip` says so.
        """
        if key is None:
            return None
        known = client in self._failures.get(key, {})
        ill = self._troubles.setdefault(key, {}).pop(client, "")
        if known and (not message or fault == MACHINE):
            self._failed[key] -= 1
            self._failures[key].pop(client, None)
        if not message:
            self._passed[key] += 1
            return Fared(key) if known or ill else None
        if fault == MACHINE:
            self._troubles[key][client] = message
            return Fared(key, message, fault)
        self._failures.setdefault(key, {})[client] = message
        self._failed[key] += not known
        most = self._steps[key].max_failed
        if most is not None and self._failed[key] > most:
            self._breach(key, f"and at most {most} may", client, message)
        return Fared(key, message, fault)

    def well(self, keys: Sequence[Key], client: str) -> tuple[Fared, ...]:
        """Count one client that was changed in these rollouts; gives what is to be written down of it."""
        if any(self._failures.values()) or any(self._troubles.values()):
            found = [self.take(key, client, "") for key in keys]
            return tuple(fared for fared in found if fared is not None)
        self._passed.update(keys)
        return ()

    @property
    def must_trip(self) -> bool:
        """Say whether more clients failed than a rollout may have."""
        return bool(self._breached)

    def trip(self) -> None:
        """Halt the rollouts in which too many clients failed."""
        breached, self._breached = self._breached, {}
        for key, reason in breached.items():
            self.halt(key, reason)

    def look(self) -> None:
        """Apply the share that may fail to what was attempted so far: between two batches."""
        for key, step in self._steps.items():
            share, failed = step.max_fail_percentage, self._failed[key]
            attempted = failed + self._passed[key]
            if share is not None and exceeds(failed, attempted, share):
                client, message = next(iter(sorted(self._failures.get(key, {}).items())), ("", ""))
                self._breach(key, f"and max_fail_percentage is {share:g}", client, message)
        self.trip()

    def _breach(self, key: Key, limit: str, client: str, message: str) -> None:
        failed, attempted = (number_text(count) for count in (self._failed[key], self._failed[key] + self._passed[key]))
        if key not in self.halted:
            self._breached.setdefault(key, f"{failed} of {attempted} clients failed, {limit} ({client}: {message})")

    def halt(self, key: Key, reason: str) -> None:
        """Halt a rollout; once is enough."""
        if key in self.halted:
            return
        self.halted.add(key)
        step = self._steps[key]
        reason = " ".join(reason.split())[:_MAX_REASON]
        if not self._write(key, lambda known: replace(known, status="halted", reason=reason, undo=step.undo)):
            return
        halted = replace(step.record, status="halted", reason=reason)
        told = _tell(replace(step, record=halted), halted.stopped, self._work)
        self._work.state.journal(self._work.means.run_id, [told])

    def clear(self, key: Key) -> None:
        """Remember that all that was asked at the end of a soak was good."""
        self._write(key, RolloutRecord.proved)

    def _write(self, key: Key, change: Callable[[RolloutRecord], RolloutRecord]) -> bool:
        """Write down what became of a rollout, unless somebody stopped it meanwhile: that word stands."""
        state = self._work.state

        def write() -> bool:
            known = state.rollouts().get(key, self._steps[key].record)
            if known.status not in AT_WORK:
                return False
            state.record_rollout(change(known))
            return True

        return state.whole(write)

    def step(self, key: Key) -> RolloutStep:
        """Give where a rollout is."""
        return self._steps[key]


_MAX_REASON = 1000
