"""Rolls a component back: proposes the edit of the file, writes it, and plans it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.assembly import at_work
from reconciler.desk import Desk, user_name
from reconciler.errors import OutcomeError, UsageError
from reconciler.model.rollout import UNDER_WAY, UNFIT
from reconciler.observe.observed import Sight, check_limited
from reconciler.planning import PlanOptions, new_plan
from reconciler.present.document import plan_document
from reconciler.present.views import PLAN
from reconciler.present.words import count_text
from reconciler.specfile.edit import Edit, block_version, pin_version, take_back, write

if TYPE_CHECKING:
    from reconciler.workspace import Workspace


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
    sight = Sight(limit=options.limit)
    with at_work(desk) as work:
        edit = _edit(work, options)
        check_limited(work, sight)
    desk.terminal.result(edit if isinstance(edit, str) else edit.diff() or f"{desk.file} says so already.\n")
    written = None if isinstance(edit, str) or edit.before == edit.after else edit
    if written is not None:
        if not (options.approved or desk.terminal.approves("Write this?", "read the change")):
            raise OutcomeError("rollback cancelled; nothing was written")
        write(written)
    try:
        with at_work(desk) as work:
            planning = PlanOptions(sight, targets=(options.component,))
            made = new_plan(work, planning)
    except BaseException:
        if written is not None:
            take_back(written)
            desk.terminal.note(f"{desk.file} is as it was: this can't be planned", "warning")
        raise
    desk.terminal.show(plan_document(made), desk.form, PLAN, names=False)
    desk.terminal.note(f"Carry it out: updoser apply -f {desk.file} --target {options.component}")
    return 0


def _edit(work: Workspace, options: RollbackOptions) -> Edit | str:
    """Give the edit of the file, or say why there is nothing to edit."""
    (spec,) = work.managed(options.component)
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
    for row in work.state.rows(work.spec.groups):
        profile = profiles.get(row.fingerprint or "")
        installed = profile.by_component.get(component) if profile is not None else None
        if installed is not None:
            running[installed.version] += 1
    return running
