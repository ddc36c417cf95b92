"""What people do with rollouts: they approve, pause, resume and abort them.

Whoever asks, at a terminal or in the console, is judged by the same rules. What is done is written down for the next
apply, and into the history with the name of who did it. An apply that moves a rollout on at the same moment loses
nothing by that: the rollout is looked at once more, and what was asked is done with it as it is by then, or refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from reconciler.assembly import new_id
from reconciler.desk import user_name
from reconciler.errors import UpdoserError, UsageError
from reconciler.hints import suggestion
from reconciler.model.report import JournalEntry
from reconciler.model.rollout import FIT
from reconciler.observe.observed import Sight, observe
from reconciler.planner.succession import Succession
from reconciler.planning import PlanOptions, wanted_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from reconciler.model.rollout import RolloutRecord, RolloutStatus, Verb
    from reconciler.workspace import Workspace

_ATTEMPTS = 20
"""How often a rollout is looked at again that was moved on between the look and the writing."""


@dataclass(frozen=True, slots=True)
class Which:
    """Which rollout is meant: that of a component, of one version or group where there are several. `who` acts."""

    component: str
    version: str = ""
    group: str = ""
    who: str = ""
    reason: str = ""

    @property
    def by(self) -> str:
        """Who does it, and why, as it stands in the rollout."""
        return f"by {self.who or user_name()}{f': {self.reason}' if self.reason else ''}"


@dataclass(frozen=True, slots=True)
class Steered:
    """What became of a rollout: it was `before`, and is `record`, the same where nothing was to be done.

    `says` is for who asked, and goes on after the name of the rollout; `told` stands in the history.
    """

    before: RolloutRecord
    record: RolloutRecord
    says: str
    told: str = ""


def _anything(_record: RolloutRecord) -> None:
    """Let any rollout be touched."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How somebody asks who isn't the user of this process, and what else becomes true when it is done.

    `origin` is theirs, for the history; `check` is that of `prospect`. `settle` is given what was done, and writes in
    the same transaction.
    """

    origin: Mapping[str, str]
    check: Callable[[RolloutRecord], None]
    settle: Callable[[Sequence[Steered]], None]


def prospect(
    work: Workspace, verb: Verb, which: Which, *, undo: bool = False, check: Callable[[RolloutRecord], None] = _anything
) -> list[Steered]:
    """Say what would become of the rollout that is meant, or (to resume, and no component) of all that are halted.

    `check` is given each rollout as it is now, and raises where it must not be touched.

    Raises:
        UsageError: there is no such rollout, or none with which that can be done.
        StateError: the state can't be read.
    """
    chosen, succession = _found(work, verb, which)
    for record in chosen:
        check(record)
    return [_done(verb, record, succession, which, undo=undo) for record in chosen]


def steer(
    work: Workspace, verb: Verb, which: Which, *, undo: bool = False, asked: Asked | None = None
) -> list[Steered]:
    """Do what `prospect` says, write it down, and give it.

    Raises:
        UpdoserError: what `prospect` raises; or the state can't be written, or the rollouts change all the time.
    """
    for _attempt in range(_ATTEMPTS):
        looked = work.means.clock()
        done = prospect(work, verb, which, undo=undo, check=asked.check if asked else _anything)
        if work.state.whole(partial(_write_if_same, work, verb, done, asked, looked=looked)):
            return done
    raise UpdoserError(f"the rollouts of {which.component or 'the fleet'} change all the time", hint="try again")


def _write_if_same(
    work: Workspace, verb: Verb, done: Sequence[Steered], asked: Asked | None, *, looked: datetime
) -> bool:
    """Write down what was done, unless one of the rollouts changed since somebody looked at it."""
    known = work.state.rollouts()
    if not all(_is_same(known.get(entry.before.key), entry.before, looked) for entry in done):
        return False
    _write(work, verb, [entry for entry in done if entry.told], asked)
    if asked is not None:
        asked.settle(done)
    return True


def said_of_run(work: Workspace) -> str:
    """Say what becomes of a run that is under way, if there is one."""
    busy = work.state.busy()
    return f"; {busy} runs, and begins no further client with it: those under way are finished" if busy else ""


def _is_same(known: RolloutRecord | None, record: RolloutRecord, now: datetime) -> bool:
    """Say whether a rollout is as it was; moments ahead of the clock count as `now` in both."""
    return known is not None and known.cut(now).fingerprint == record.cut(now).fingerprint


def _done(verb: Verb, record: RolloutRecord, succession: Succession, which: Which, *, undo: bool) -> Steered:
    """Say what becomes of a rollout with which that can be done."""
    if verb == "approve":
        who = which.who or user_name()
        approved, says = succession.approved(record, who)
        if approved == record:
            return Steered(record, record, says)
        told = f"wave {approved.approved[-1].wave} of {len(record.cuts)} approved by {who}"
        return Steered(record, approved, says, told)
    if verb == "pause":
        paused = replace(record, status="paused", reason=which.by)
        return Steered(record, paused, f"is paused in {record.place}", f"paused {paused.reason}")
    if verb == "resume":
        resumed = succession.resumed(record)
        return Steered(record, resumed.record, resumed.says, f"resumed {which.by}: it {resumed.says}")
    aborted = replace(record, status="aborted", reason=which.by, undo="all" if undo else "")
    return Steered(record, aborted, "goes to nobody any more", f"aborted {aborted.reason}")


def _write(work: Workspace, verb: Verb, done: Sequence[Steered], asked: Asked | None) -> None:
    """Remember rollouts, and what was done about each in the history; nothing where nothing was."""
    if not done:
        return
    state, now = work.state, work.means.clock()
    run_id, origin = (work.means.run_id, work.means.origin) if asked is None else (new_id(now), asked.origin)
    entries = [
        JournalEntry(
            group=entry.record.group,
            component=entry.record.component,
            to_version=entry.record.version,
            outcome=entry.record.status,
            message=entry.told,
            at=now,
        )
        for entry in done
    ]
    names = " ".join(dict.fromkeys(entry.record.component for entry in done))
    for entry in done:
        if verb == "resume" and entry.before.status != "paused":
            state.forget_failures(entry.before.key)
        state.record_rollout(entry.record)
    state.record_command(run_id, f"rollout {verb} {names}", origin, entries)


# --- which is meant ---------------------------------------------------------------------------------------------------


def _found(work: Workspace, verb: Verb, which: Which) -> tuple[list[RolloutRecord], Succession]:
    """Give the rollouts that are meant, and all that is known of them; see `planner.succession`."""
    if not which.component:
        return _all_halted(work)
    work.managed(which.component)
    groups = {*work.spec.groups, *(record.group for record in work.state.rollouts().values())}
    if which.group and which.group not in groups:
        raise UsageError(f"there is no group {which.group}", hint=suggestion(which.group, filter(None, groups)))
    succession, records = _known(work)
    return [choose(succession, records, which, FIT[verb], verb)], succession


def _all_halted(work: Workspace) -> tuple[list[RolloutRecord], Succession]:
    """Give the halted rollouts that nothing took the place of, and all that is known of them."""
    succession, records = _known(work)
    halted = [entry for entry in records if entry.status == "halted" and entry.component in work.spec.components]
    found = [record for record in halted if not succession.overtaken(record)]
    if not found:
        why = f": {halted[-1].name} is, and {succession.overtaken(halted[-1])}" if halted else ""
        raise UsageError(f"no rollout is halted that could go on{why}", hint="updoser rollout list --all")
    return found, succession


def _known(work: Workspace) -> tuple[Succession, list[RolloutRecord]]:
    sight = Sight(refresh=False, settings=False)
    observed = observe(work, sight)
    succession = Succession(wanted_of(work, PlanOptions(sight)), observed, work.means.clock())
    return succession, list(observed.rollouts.values())


def choose(
    succession: Succession,
    records: Iterable[RolloutRecord],
    which: Which,
    statuses: Collection[RolloutStatus],
    verb: str,
) -> RolloutRecord:
    """Give the one rollout that is meant: one that was overtaken only where its version is named.

    Raises:
        UsageError: there is none in one of these statuses, or one in each of several groups.
    """
    named = [
        record
        for record in records
        if record.component == which.component
        and which.version in {"", record.version}
        and which.group in {"", record.group}
    ]
    fit = [record for record in named if record.status in statuses]
    found = fit if which.version else [record for record in fit if not succession.overtaken(record)]
    if len(found) == 1:
        return found[0]
    if found:
        names = "; ".join(record.name for record in found)
        raise UsageError(f"{which.component} has several: {names}", hint="say which with --version or --group")
    last = max(named, key=lambda record: record.started, default=None)
    state = f"its last rollout, {last.name}, is {last.status}" if last else "it never had a rollout"
    if last and which.version:
        state = f"{last.name} is {last.status}"
    hint = "updoser rollout list --all"
    if fit:
        other = max(fit, key=lambda record: record.started)
        why = succession.overtaken(other)
        hint = f"{other.name} is {other.status} too, and {why}: --version {other.version} names it all the same"
    raise UsageError(f"{which.component} has nothing to {verb}: {state}", hint=hint)
