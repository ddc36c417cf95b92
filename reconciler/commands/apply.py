"""Carries a plan out: the one of a file, or a new one once it is approved; then the steps that follow from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.assembly import at_work, warn_of_state
from reconciler.commands.accept import accept_plan
from reconciler.commands.plan import check_absent, file_changes, record_plan
from reconciler.desk import Desk, read_spec, user_name
from reconciler.errors import InterruptedRunError, NotAsDeclaredError, OutcomeError, UsageError
from reconciler.execute.engine import run_plan
from reconciler.execute.outcome import verdict_error
from reconciler.model.offer import is_about_source
from reconciler.observe.observed import known_reports, recall_lists, refresh_lists
from reconciler.planning import (
    Following,
    PlanOptions,
    Turns,
    as_limited,
    cut_moments,
    note_protection,
    whole_plan,
    with_spec_changes,
)
from reconciler.present.closing import after_apply
from reconciler.present.document import plan_document, report_document
from reconciler.present.look import PLAIN
from reconciler.present.plan_text import amiss
from reconciler.present.render import FORMATS
from reconciler.present.views import PLAN, REPORT
from reconciler.storage.planfile import read_key

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.plan import Plan
    from reconciler.workspace import Workspace


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """How to carry out.

    `file` is a plan file, and `sign` the file of the key that vouches for it; `max_unreachable` the share of clients
    that may not answer. With `names` the clients of each change are shown. With `wait` the run stays until its rollouts
    are done or halted.
    """

    planning: PlanOptions
    file: Path | None = None
    sign: Path | None = None
    names: bool = False
    approved: bool = False
    max_unreachable: float = 0.0
    wait: bool = False


def apply(desk: Desk, options: ApplyOptions) -> int:
    """Carry a plan out: one from a file, or a new one once it is approved."""
    if options.sign is not None:
        if options.file is None:
            raise UsageError("--sign: there is no plan file whose signature could be demanded", hint="name PLAN_FILE")
        read_key(options.sign)  # a bad one fails before anything is opened
    with at_work(desk) as work, work.state.lock("apply"):
        warn_of_state(work)
        cut_moments(work)
        made = _accepted_plan(work, options.file, options) if options.file else _fresh_plan(work, options)
        if made is None:
            desk.terminal.note("This plan was carried out already; there is nothing left to do.")
            return 0
        talks = FORMATS[desk.form].talks
        show = desk.terminal.result if talks else desk.terminal.note
        look = desk.terminal.look if talks else PLAIN
        show(desk.terminal.rendered(plan_document(made, whole=False), "text", PLAN, look=look, names=options.names))
        if options.names:
            show(file_changes(made, work, options.planning.sight, "text"))
        if work.means.stop.is_set():
            raise InterruptedRunError("interrupted; nothing was changed")
        asks = not (made.empty or options.file or options.approved)
        if asks and not desk.terminal.approves("Carry this plan out?", "review with `updoser plan`"):
            raise OutcomeError("apply cancelled; nothing was changed")
        work.roll.confirmed = options.planning.sight.confirmed and not options.file
        following = Following(made, work, as_limited(options.planning, made), wait=options.wait)
        forks = options.planning.sight.forks
        turns = Turns(work, desk.file, lambda: read_spec(desk).spec.holds)
        remarks = _remarks(options.planning)
        report = run_plan(made, work, forks=forks, following=following, remarks=remarks, turns=turns)
        note_protection(work, following.observed, made)
        document = report_document(report)
        if not talks or not made.empty or report.failed or report.unreachable:
            blank = "\n" if talks else ""
            text = desk.terminal.rendered(document, desk.form, REPORT, look=desk.terminal.look)
            desk.terminal.result(f"{blank}{text}")
        desk.terminal.keep(document)
        error = verdict_error(report, max_unreachable=options.max_unreachable)
        if error is not None:
            raise error
        check_absent(work, options.planning.sight)
        _check_declared(made)
        desk.terminal.hint(after_apply(document, spec=desk.options))
    return 0


def _check_declared(made: Plan) -> None:
    """Fail when something isn't as declared and no change can make it so; what can be done is done by then."""
    if made.faults:
        trouble = amiss(plan_document(made, whole=False))
        raise NotAsDeclaredError(f"not as declared: {trouble}", hint="the plan's problems say why")


def _accepted_plan(work: Workspace, file: Path, options: ApplyOptions) -> Plan | None:
    """Give the plan of a file, or the step of its rollouts that is due now; None when it was carried out."""
    accepted = accept_plan(file, work, options.sign)
    if accepted is None:
        return None
    made, begun = accepted
    planning = options.planning
    if begun and made.rollouts:
        return replace(Following(made, work, as_limited(planning, made)).step(), plan_id=made.plan_id, limit=made.limit)
    if planning.sight.refresh:
        refresh_lists(work, planning.sight)
        made = _read_by_now(made, work)
    else:
        recall_lists(work)
        work.roll.named_in_plan = {name for members in made.members.values() for name in members}
    return made


def _read_by_now(made: Plan, work: Workspace) -> Plan:
    """Take from a plan what it says of sources that could not be read when it was made, and can be now."""
    away = {report.source for report in known_reports(work) if report.error}
    back = [name for name in made.unread if name not in away]
    return replace(
        made,
        unread=tuple(name for name in made.unread if name in away),
        problems=tuple(one for one in made.problems if not any(is_about_source(one, name) for name in back)),
    )


def _remarks(options: PlanOptions) -> list[str]:
    return [f"{name} is expedited by {user_name()}: it waits for no soak and no window" for name in options.expedited]


def _fresh_plan(work: Workspace, options: ApplyOptions) -> Plan:
    made = with_spec_changes(whole_plan(work, options.planning), work)
    record_plan(work, made, "")
    return made
