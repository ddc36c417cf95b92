"""The commands of people who steer rollouts: list, approve, pause, resume, abort; and rolling a version back.

What is done here is written down for the next apply, and into the history with the name of who did it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.assembly import at_work, user_name
from reconciler.errors import OutcomeError, UsageError
from reconciler.model.report import JournalEntry
from reconciler.model.rollout import UNDER_WAY, Approval
from reconciler.observe.observed import Sight, observe
from reconciler.planning import PlanOptions, new_plan, plan_of
from reconciler.present.document import plan_document, rollouts_document
from reconciler.present.render import render, render_plan
from reconciler.present.rollout_text import rollouts_text
from reconciler.present.terminal import is_interactive
from reconciler.spec.edit import block_version, pin_version, take_back, write

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.assembly import Desk
    from reconciler.model.rollout import RolloutRecord
    from reconciler.spec.edit import Edit
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
    with at_work(desk) as work:
        plan = plan_of(work, PlanOptions(Sight(refresh=False)), observe(work, Sight(refresh=False, settings=False)))
        steps = [step for step in plan.rollouts if step.before]
        over = [
            record
            for record in work.state.rollouts().values()
            if every and record.key not in {step.record.key for step in steps}
        ]
    desk.terminal.result(render(rollouts_document(steps, over), desk.form, rollouts_text))
    return 0


def approve(desk: Desk, which: Which) -> int:
    """Let the next wave of a rollout open."""
    with at_work(desk) as work:
        record = _find(work, which, UNDER_WAY)
        wave = record.wave + 1
        if wave > len(record.cuts):
            raise UsageError(f"{_name(record)} is in its last wave", hint="there is nothing to approve")
        who = which.who or user_name()
        if all(entry.wave != wave for entry in record.approved):
            approval = Approval(wave, who, work.means.clock())
            record = replace(record, approved=(*record.approved, approval))
        _write(work, record, f"wave {wave} of {len(record.cuts)} approved by {who}", "approve")
    desk.terminal.note(f"{_name(record)}: wave {wave} of {len(record.cuts)} may open; the next apply goes on")
    return 0


def pause(desk: Desk, which: Which) -> int:
    """Keep a rollout where it is."""
    with at_work(desk) as work:
        record = _find(work, which, {"running"})
        paused = replace(record, status="paused", reason=_reason(which))
        _write(work, paused, f"paused {paused.reason}", "pause")
    desk.terminal.note(f"{_name(record)} is paused in wave {record.wave} of {len(record.cuts)}")
    return 0


def resume(desk: Desk, which: Which) -> int:
    """Let a rollout go on that was paused, halted or aborted; the gate of its wave starts anew."""
    with at_work(desk) as work:
        record = _find(work, which, {"paused", "halted", "aborted"})
        now = work.means.clock()
        fresh = replace(record, status="running", reason="", undo="")
        with work.state.together():
            if record.status != "paused":
                fresh = replace(fresh, opened=now, passed=None, cleared=False)
                work.state.forget_failures(record.key)
            _write(work, fresh, f"resumed {_reason(which)}", "resume")
    desk.terminal.note(f"{_name(record)} goes on in wave {record.wave} of {len(record.cuts)}")
    return 0


def abort(desk: Desk, which: Which, *, undo: bool) -> int:
    """End a rollout: its version goes to nobody any more; with `undo`, what has it goes back."""
    with at_work(desk) as work:
        record = _find(work, which, {"running", "paused", "halted"})
        aborted = replace(record, status="aborted", reason=_reason(which), undo="all" if undo else "")
        _write(work, aborted, f"aborted {aborted.reason}", "abort")
    back = "; the next apply takes it back" if undo else ""
    desk.terminal.note(f"{_name(record)} goes to nobody any more{back}")
    return 0


def _reason(which: Which) -> str:
    return f"by {which.who or user_name()}{f': {which.reason}' if which.reason else ''}"


def _name(record: RolloutRecord) -> str:
    return f"{record.component} {record.version}" + (f" ({record.group})" if record.group else "")


def _find(work: Workspace, which: Which, statuses: Iterable[str]) -> RolloutRecord:
    """Give the one rollout that is meant: where no version is named, the last one that isn't blocked.

    Raises:
        UsageError: there is none, or one in each of several groups.
    """
    if which.component not in work.spec.components:
        known = ", ".join(work.spec.components) or "none"
        raise UsageError(f"no managed component is called {which.component}", hint=f"managed are: {known}")
    all_of_it = [record for record in work.state.rollouts().values() if record.component == which.component]
    found = [
        record
        for record in all_of_it
        if record.status in set(statuses)
        and which.version in {"", record.version}
        and which.group in {"", record.group}
    ]
    blocked = work.spec.components[which.component].blocked
    found = [record for record in found if record.version not in blocked] or found
    newest = max((record.started for record in found), default=None)
    found = [record for record in found if record.started == newest or record.version == which.version]
    if len(found) == 1:
        return found[0]
    if found:
        names = "; ".join(_name(record) for record in found)
        raise UsageError(f"{which.component} has several: {names}", hint="say which with --version or --group")
    last = max(all_of_it, key=lambda record: record.started, default=None)
    state = f"its last one, {_name(last)}, is {last.status}" if last else "it never had one"
    raise UsageError(f"{which.component} has no such rollout: {state}", hint="updoser rollout list --all")


def _write(work: Workspace, record: RolloutRecord, says: str, command: str) -> None:
    """Remember a rollout, and what was done about it in the history."""
    state, now, run_id = work.state, work.means.clock(), work.means.run_id
    entry = JournalEntry("", record.group, record.component, "", record.version, record.status, says, 0, now)
    with state.together():
        state.record_rollout(record)
        state.begin_run(run_id, "", f"rollout {command} {record.component}", now)
        state.journal(run_id, [entry])
        state.end_run(run_id, "done", {}, work.means.clock())


@dataclass(frozen=True, slots=True)
class RollbackOptions:
    """How to roll back: `to` a version (empty: the one before), why, and which clients the plan that follows is for."""

    component: str
    to: str = ""
    reason: str = ""
    limit: str = ""
    approved: bool = False


def rollback(desk: Desk, options: RollbackOptions) -> int:
    """Propose the edit of the file that rolls a component back; once it is approved, write it and plan it.

    Where it can't be planned, the file stays as it was.
    """
    with at_work(desk) as work:
        edit = _edit(work, options)
    desk.terminal.result(edit.diff() or f"{desk.file} says so already.\n")
    if edit.before != edit.after:
        if not options.approved:
            if not is_interactive():
                raise UsageError("there is no terminal to ask on", hint="read the change, then --auto-approve")
            question = "\nWrite this?\n  Only 'yes' will be accepted to approve.\n\n  Enter a value: "
            if desk.terminal.ask(question) != "yes":
                raise OutcomeError("rollback cancelled; nothing was written")
        write(edit)
    try:
        with at_work(desk) as work:
            planning = PlanOptions(Sight(limit=options.limit), targets=(options.component,))
            made = new_plan(work, planning)
    except BaseException:
        take_back(edit)
        desk.terminal.note(f"{desk.file} is as it was: this can't be planned")
        raise
    show_it = desk.terminal.result
    show_it(render_plan(plan_document(made), desk.form, names=False))
    desk.terminal.note(f"Carry it out: updoser apply -f {desk.file} --target {options.component}")
    return 0


def _edit(work: Workspace, options: RollbackOptions) -> Edit:
    spec = work.spec.components.get(options.component)
    if spec is None:
        known = ", ".join(work.spec.components) or "none"
        raise UsageError(f"no managed component is called {options.component}", hint=f"managed are: {known}")
    path = work.spec.path
    if options.to:
        if not spec.component.scheme.accepts(options.to):
            example = spec.component.scheme.example
            raise UsageError(f"{options.to!r} is no version of {options.component}", hint=f"such as {example}")
        return pin_version(path, options.component, options.to)
    bad = _in_force(work, options.component)
    reason = options.reason or f"rolled back by {user_name()}"
    return block_version(path, options.component, bad, reason)


def _in_force(work: Workspace, component: str) -> str:
    """Give the version that is to be left: that of the last rollout, or the highest that a client runs."""
    rollouts = [record for record in work.state.rollouts().values() if record.component == component]
    blocked = work.spec.components[component].blocked
    rollouts = [record for record in rollouts if record.version not in blocked and record.status != "superseded"]
    last = max(rollouts, key=lambda record: record.started, default=None)
    if last is not None:
        return last.version
    scheme = work.spec.components[component].component.scheme
    profiles = work.state.profiles().values()
    found = {entry.version for profile in profiles for entry in profile.installed if entry.component == component}
    known = sorted((one for one in found if scheme.accepts(one) and one not in blocked), key=scheme.parse)
    if not known:
        raise UsageError(f"no client is known to run {component}", hint="`updoser plan` looks; --to names a version")
    return known[-1]
