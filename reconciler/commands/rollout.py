"""The commands of people who steer rollouts: list, approve, pause, resume, abort.

What is done here is written down for the next apply, and into the history with the name of who did it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.assembly import at_work
from reconciler.desk import user_name
from reconciler.errors import UsageError
from reconciler.hints import suggestion
from reconciler.model.report import JournalEntry
from reconciler.model.rollout import AT_WORK, STOPPED, UNDER_WAY, UNSETTLED
from reconciler.observe.observed import Sight, observe
from reconciler.planner.succession import Succession
from reconciler.planning import PlanOptions, plan_of, wanted_of
from reconciler.present.document import rollouts_document
from reconciler.present.views import ROLLOUTS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from reconciler.desk import Desk
    from reconciler.model.rollout import RolloutRecord, RolloutStatus
    from reconciler.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Which:
    """Which rollout is meant: that of a component, of one version or group where there are several. `who` acts."""

    component: str
    version: str = ""
    group: str = ""
    who: str = ""
    reason: str = ""


def show(desk: Desk, *, every: bool) -> int:
    """List the rollouts that are under way or halted, or all that are remembered."""
    with at_work(desk, reads=True) as work:
        plan = plan_of(work, PlanOptions(Sight(refresh=False)), observe(work, Sight(refresh=False, settings=False)))
        steps = [step for step in plan.rollouts if step.before]
        over = [
            record
            for record in work.state.rollouts().values()
            if every and record.key not in {step.record.key for step in steps}
        ]
    desk.terminal.show(rollouts_document(steps, over), desk.form, ROLLOUTS)
    return 0


def approve(desk: Desk, which: Which) -> int:
    """Let the next wave of a rollout open; where nothing waits for that, nothing is written."""
    with at_work(desk) as work:
        record, succession = _find(work, which, UNDER_WAY, "approve")
        who = which.who or user_name()
        approved, says = succession.approved(record, who)
        if approved != record:
            text = f"wave {approved.approved[-1].wave} of {len(record.cuts)} approved by {who}"
            _write(work, [(approved, text)], "approve")
            says = f"{says}; the next apply goes on"
        else:
            says = f"{says}: nothing was done"
    desk.terminal.note(f"{record.name}: {says}")
    return 0


def pause(desk: Desk, which: Which) -> int:
    """Keep a rollout where it is."""
    with at_work(desk) as work:
        record, _succession = _find(work, which, AT_WORK, "pause")
        paused = replace(record, status="paused", reason=_reason(which))
        _write(work, [(paused, f"paused {paused.reason}")], "pause")
        running = _said_of_run(work)
    desk.terminal.note(f"{record.name} is paused in {record.place}{running}")
    return 0


def resume(desk: Desk, which: Which) -> int:
    """Let a rollout go on that was paused, halted or aborted, or (no component) all that are halted.

    The gate of its wave starts anew.
    """
    with at_work(desk) as work:
        if which.component:
            record, succession = _find(work, which, STOPPED, "resume")
            chosen = [record]
        else:
            chosen, succession = _all_halted(work)
        resumed = [succession.resumed(record) for record in chosen]
        with work.state.together():
            for record in chosen:
                if record.status != "paused":
                    work.state.forget_failures(record.key)
            told = [(entry.record, f"resumed {_reason(which)}: it {entry.says}") for entry in resumed]
            _write(work, told, "resume")
    for entry in resumed:
        desk.terminal.note(f"{entry.record.name} {entry.says}")
    return 0


def abort(desk: Desk, which: Which, *, undo: bool) -> int:
    """End a rollout: its version goes to nobody any more; with `undo`, what has it goes back."""
    with at_work(desk) as work:
        record, _succession = _find(work, which, UNSETTLED, "abort")
        aborted = replace(record, status="aborted", reason=_reason(which), undo="all" if undo else "")
        _write(work, [(aborted, f"aborted {aborted.reason}")], "abort")
        running = _said_of_run(work)
    back = "; the next apply takes it back" if undo and not running else "; it takes it back then" if undo else ""
    desk.terminal.note(f"{record.name} goes to nobody any more{running}{back}")
    return 0


def _said_of_run(work: Workspace) -> str:
    """Say what becomes of a run that is under way, if there is one."""
    busy = work.state.busy()
    return f"; {busy} runs, and begins no further client with it: those under way are finished" if busy else ""


def _reason(which: Which) -> str:
    return f"by {which.who or user_name()}{f': {which.reason}' if which.reason else ''}"


def _find(
    work: Workspace, which: Which, statuses: Collection[RolloutStatus], verb: str
) -> tuple[RolloutRecord, Succession]:
    """Give the one rollout that is meant, and all that is known of them; see `planner.succession`.

    Raises:
        UsageError: there is none in one of these statuses, or one in each of several groups.
    """
    work.managed(which.component)
    groups = {*work.spec.groups, *(record.group for record in work.state.rollouts().values())}
    if which.group and which.group not in groups:
        raise UsageError(f"there is no group {which.group}", hint=suggestion(which.group, filter(None, groups)))
    succession, records = _known(work)
    return choose(succession, records, which, statuses, verb), succession


def _all_halted(work: Workspace) -> tuple[list[RolloutRecord], Succession]:
    """Give the halted rollouts that nothing took the place of, and all that is known of them.

    Raises:
        UsageError: there are none.
    """
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


def _write(work: Workspace, told: Sequence[tuple[RolloutRecord, str]], command: str) -> None:
    """Remember rollouts, and what was done about each in the history."""
    state, now, run_id = work.state, work.means.clock(), work.means.run_id
    entries = [
        JournalEntry(
            group=record.group,
            component=record.component,
            to_version=record.version,
            outcome=record.status,
            message=says,
            at=now,
        )
        for record, says in told
    ]
    names = " ".join(dict.fromkeys(record.component for record, _says in told))
    with state.together():
        for record, _says in told:
            state.record_rollout(record)
        state.begin_run(run_id, "", f"rollout {command} {names}", now, work.means.origin)
        state.journal(run_id, entries)
        state.end_run(run_id, "done", {}, work.means.clock())
