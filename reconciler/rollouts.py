"""The commands of people who steer rollouts: list, approve, pause, resume, abort; and rolling a version back.

What is done here is written down for the next apply, and into the history with the name of who did it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.assembly import at_work, user_name
from reconciler.errors import OutcomeError, UsageError
from reconciler.hints import suggestion
from reconciler.model.report import JournalEntry
from reconciler.model.rollout import OPEN, UNDER_WAY, UNFIT
from reconciler.observe.observed import Sight, observe
from reconciler.planner.succession import Succession
from reconciler.planning import PlanOptions, new_plan, plan_of, wanted_of
from reconciler.present.document import plan_document, rollouts_document
from reconciler.present.render import render, render_plan
from reconciler.present.rollout_text import rollouts_text
from reconciler.present.terminal import is_interactive
from reconciler.present.words import count_text
from reconciler.spec.edit import block_version, pin_version, take_back, write

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

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
        record, _succession = _find(work, which, {"running", "stalled"}, "pause")
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
            record, succession = _find(work, which, {"paused", "halted", "aborted"}, "resume")
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
        record, _succession = _find(work, which, OPEN | {"halted"}, "abort")
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


def _find(work: Workspace, which: Which, statuses: Collection[str], verb: str) -> tuple[RolloutRecord, Succession]:
    """Give the one rollout that is meant, and all that is known of them; see `planner.succession`.

    Raises:
        UsageError: there is none in one of these statuses, or one in each of several groups.
    """
    if which.component not in work.spec.components:
        known = ", ".join(work.spec.components) or "none"
        raise UsageError(f"no managed component is called {which.component}", hint=f"managed are: {known}")
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
    succession: Succession, records: Iterable[RolloutRecord], which: Which, statuses: Collection[str], verb: str
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
        JournalEntry("", record.group, record.component, "", record.version, record.status, says, 0, now)
        for record, says in told
    ]
    names = " ".join(dict.fromkeys(record.component for record, _says in told))
    with state.together():
        for record, _says in told:
            state.record_rollout(record)
        state.begin_run(run_id, "", f"rollout {command} {names}", now)
        state.journal(run_id, entries)
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
    desk.terminal.result(edit if isinstance(edit, str) else edit.diff() or f"{desk.file} says so already.\n")
    written = None if isinstance(edit, str) or edit.before == edit.after else edit
    if written is not None:
        if not options.approved:
            if not is_interactive():
                raise UsageError("there is no terminal to ask on", hint="read the change, then --auto-approve")
            question = "\nWrite this?\n  Only 'yes' will be accepted to approve.\n\n  Enter a value: "
            if desk.terminal.ask(question) != "yes":
                raise OutcomeError("rollback cancelled; nothing was written")
        write(written)
    try:
        with at_work(desk) as work:
            planning = PlanOptions(Sight(limit=options.limit), targets=(options.component,))
            made = new_plan(work, planning)
    except BaseException:
        if written is not None:
            take_back(written)
            desk.terminal.note(f"{desk.file} is as it was: this can't be planned")
        raise
    show_it = desk.terminal.result
    show_it(render_plan(plan_document(made), desk.form, names=False))
    desk.terminal.note(f"Carry it out: updoser apply -f {desk.file} --target {options.component}")
    return 0


def _edit(work: Workspace, options: RollbackOptions) -> Edit | str:
    """Give the edit of the file, or say why there is nothing to edit."""
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
    bad, why_not = _in_force(work, options.component)
    if why_not:
        return f"Nothing to roll back: {why_not}. Nothing was written; --to names a version to go to.\n"
    reason = options.reason or f"rolled back by {user_name()}"
    return block_version(path, options.component, bad, reason)


def _in_force(work: Workspace, component: str) -> tuple[str, str]:
    """Give the version that is to be left, that of the last rollout or the highest that a client runs; or why none is.

    A version that nobody runs is never left, nor is any while clients are still to leave one that was blocked before.
    """
    spec = work.spec.components[component]
    scheme, running = spec.component.scheme, _running(work, component)
    leaving = [one for one in running if one in spec.blocked]
    if leaving:
        count = count_text(sum(running[one] for one in leaving), "client")
        names = ", ".join(sorted(leaving))
        return "", f"{component} {names} is blocked already, and {count} that ran it last go back with the next apply"
    rollouts = [record for record in work.state.rollouts().values() if record.component == component]
    rollouts = [one for one in rollouts if one.version not in spec.blocked and one.status != "superseded"]
    last = max(rollouts, key=lambda record: record.started, default=None)
    if last is not None and last.version in running:
        return last.version, ""
    if last is not None and last.status in UNDER_WAY | UNFIT:
        return "", f"the rollout of {last.name} is {last.status}, and no client is known to run it"
    known = sorted((one for one in running if scheme.accepts(one)), key=scheme.parse)
    if not known:
        raise UsageError(f"no client is known to run {component}", hint="`updoser plan` looks; --to names a version")
    return known[-1], ""


def _running(work: Workspace, component: str) -> Counter[str]:
    """Count the clients by the version that they ran last; those that it made silent count most of all."""
    profiles, running = work.state.profiles(), Counter[str]()
    for _name, _group, _labels, fingerprint, *_rest in work.state.rows(work.spec.groups):
        installed = profiles[fingerprint].by_component.get(component) if fingerprint in profiles else None
        if installed is not None:
            running[installed.version] += 1
    return running
