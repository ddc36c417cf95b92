"""The main flow: one function for each command, which looks, decides, shows and acts, in that order.

    spec -> observe -> plan -> show -> confirm -> carry out -> report

Each function gives the exit code that its command ends with; errors own theirs.
"""

from __future__ import annotations

import os.path
import shlex
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.assembly import at_work, list_program, read_spec, user_name
from reconciler.authoring.incrementals import add_with_incrementals
from reconciler.client.session import client_script as script_of_clients
from reconciler.errors import InterruptedRunError, NotAsDeclaredError, OutcomeError, UsageError
from reconciler.execute.accept import accept_plan
from reconciler.execute.engine import run_plan
from reconciler.execute.outcome import verdict_error
from reconciler.hints import did_you_mean
from reconciler.model.delta import NOT_SMALLER
from reconciler.observe.doctor import examine
from reconciler.observe.observed import Sight, known_reports, observe, recall_lists, refresh_lists
from reconciler.observe.settings import view_settings
from reconciler.planner.inputs import Wanted
from reconciler.planner.status import Allowance, make_status, source_statuses
from reconciler.planner.thresholds import breaches
from reconciler.planning import Following, PlanOptions, Turns, cut_moments, new_plan, plan_of
from reconciler.plugin_loader import KINDS, available
from reconciler.present.document import (
    checks_document,
    plan_document,
    plugins_document,
    report_document,
    run_document,
    status_document,
    valid_document,
)
from reconciler.present.plan_text import amiss
from reconciler.present.reading import read_plan
from reconciler.present.render import render, render_plan, render_status
from reconciler.present.settings_text import files_text
from reconciler.present.terminal import is_interactive
from reconciler.present.text import checks_text, history_text, plugins_text, report_text, run_text, valid_text
from reconciler.spec.changes import spec_changes
from reconciler.spec.effective import effective_text, explain
from reconciler.spec.load import load
from reconciler.spec.starter import starter, written_new
from reconciler.storage.planfile import read_key, read_plan_file, write_plan_file

if TYPE_CHECKING:
    from datetime import timedelta

    from reconciler.assembly import Desk
    from reconciler.model.plan import Plan
    from reconciler.planner.thresholds import Condition
    from reconciler.present.terminal import Terminal
    from reconciler.workspace import Workspace

CHANGES_DUE = 2


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """How to carry out.

    `file` is a plan file; `max_unreachable` the share of clients that may not answer. With `wait` the run stays until
    its rollouts are done or halted.
    """

    planning: PlanOptions
    file: Path | None = None
    approved: bool = False
    max_unreachable: float = 0.0
    wait: bool = False


@dataclass(frozen=True, slots=True)
class StatusOptions:
    """What counts as updated in a status, and `fail_on`, the conditions that make it fail."""

    sight: Sight
    within: int = 0
    max_age: timedelta | None = None
    fail_on: tuple[Condition, ...] = ()


def plan(desk: Desk, options: PlanOptions) -> int:
    """Show what an apply would do, and write it down for that apply when asked."""
    with at_work(desk) as work:
        made = new_plan(work, options)
        document = plan_document(made)
        shown = [render_plan(document, desk.form, names=options.names)]
        if options.names and desk.form == "text":
            shown.append(_spec_changes(work))
        if options.names and desk.form != "json":
            shown.append(_file_changes(made, work, options, desk.form))
        if options.out is not None:
            key = read_key(options.sign) if options.sign else None
            write_plan_file(options.out, document, key, record=partial(_record, work, made))
        for text in shown:
            desk.terminal.result(text)
        _check_absent(work, options.sight)
    return (
        CHANGES_DUE if options.detailed and (made.drift or made.stuck or not made.empty or not made.as_declared) else 0
    )


def _record(work: Workspace, made: Plan, sha256: str) -> None:
    work.state.record_plan(made.plan_id, sha256, made.basis.serial, made.created)


def apply(desk: Desk, options: ApplyOptions) -> int:
    """Carry a plan out: one from a file, or a new one once it is approved."""
    with at_work(desk) as work, work.state.lock("apply"):
        cut_moments(work)
        made = _accepted_plan(work, options.file, options.planning) if options.file else _fresh_plan(work, options)
        if made is None:
            desk.terminal.note("This plan was carried out already; there is nothing left to do.")
            return 0
        show = desk.terminal.result if desk.form == "text" else desk.terminal.note
        show(render_plan(plan_document(made), "text", names=options.planning.names))
        if options.planning.names:
            show(_file_changes(made, work, options.planning, "text"))
        if work.means.stop.is_set():
            raise InterruptedRunError("interrupted; nothing was changed")
        if not made.empty and not options.file and not _approve(desk, options):
            raise OutcomeError("apply cancelled; nothing was changed")
        work.roll.confirmed = options.planning.sight.confirmed and not options.file
        following = Following(made, work, options.planning, wait=options.wait)
        forks = options.planning.sight.forks
        turns = Turns(work, desk.file, lambda: read_spec(desk).spec.holds)
        remarks = _remarks(options.planning)
        report = run_plan(made, work, forks=forks, following=following, remarks=remarks, turns=turns)
        if desk.form != "text" or not made.empty or report.failed or report.unreachable:
            blank = "\n" if desk.form == "text" else ""
            desk.terminal.result(blank + render(report_document(report), desk.form, report_text))
        error = verdict_error(report, max_unreachable=options.max_unreachable)
        if error is not None:
            raise error
        _check_absent(work, options.planning.sight)
        _check_declared(made)
    return 0


def _check_declared(made: Plan) -> None:
    """Fail when something isn't as declared and no change can make it so; what can be done is done by then."""
    if made.faults:
        trouble = amiss(plan_document(made))
        raise NotAsDeclaredError(f"not as declared: {trouble}", hint="the plan's problems say why")


def _check_absent(work: Workspace, sight: Sight) -> None:
    """Fail when a source couldn't be read that the spec wants to be there; all else is done by then."""
    strict = {source.name for source in work.spec.sources if source.absent_is_error} if sight.refresh else set()
    absent = [report.source for report in known_reports(work) if report.error and report.source in strict]
    if absent:
        raise OutcomeError(f"can't be read, and `when_absent` says `error`: {', '.join(absent)}")


def _accepted_plan(work: Workspace, file: Path, options: PlanOptions) -> Plan | None:
    """Give the plan of a file, or the step of its rollouts that is due now; None when it was carried out."""
    accepted = accept_plan(file, work, options.sign)
    if accepted is None:
        return None
    made, begun = accepted
    if begun and made.rollouts:
        return replace(Following(made, work, options).step(), plan_id=made.plan_id)
    if options.sight.refresh:
        refresh_lists(work, options.sight)
        made = _read_by_now(made, work)
    else:
        recall_lists(work)
        work.roll.named_in_plan = {name for members in made.members.values() for name in members}
    return made


def _read_by_now(made: Plan, work: Workspace) -> Plan:
    """Take from a plan what it says of sources that could not be read when it was made, and can be now."""
    away = {report.source for report in known_reports(work) if report.error}
    back = tuple(f"source {name}: " for name in made.unread if name not in away)
    return replace(
        made,
        unread=tuple(name for name in made.unread if name in away),
        problems=tuple(problem for problem in made.problems if not (back and problem.startswith(back))),
    )


def _remarks(options: PlanOptions) -> list[str]:
    return [f"{name} is expedited by {user_name()}: it waits for no soak and no window" for name in options.expedited]


def _fresh_plan(work: Workspace, options: ApplyOptions) -> Plan:
    made = new_plan(work, options.planning)
    _record(work, made, "")
    return made


def _approve(desk: Desk, options: ApplyOptions) -> bool:
    """Ask before anything changes, as Terraform does."""
    if options.approved:
        return True
    if not is_interactive():
        raise UsageError("there is no terminal to ask on", hint="review with `updoser plan`, then --auto-approve")
    question = "\nCarry this plan out?\n  Only 'yes' will be accepted to approve.\n\n  Enter a value: "
    return desk.terminal.ask(question) == "yes"


def _spec_changes(work: Workspace) -> str:
    """Say what changed in the spec since the last apply, which a plan's changes may come from."""
    before = work.state.applied_spec()
    changes = spec_changes(before, work.spec.effective) if before is not None else []
    head = ["", "Changed in the spec since the last complete apply"]
    return "\n".join([*head, *(f"  {change}" for change in changes)]) + "\n" if changes else ""


def _file_changes(made: Plan, work: Workspace, options: PlanOptions, form: str) -> str:
    """Show what will change in files of settings."""
    sight = options.sight
    if not made.settings:
        return ""
    views, more = view_settings(made, work, contact=sight.refresh and sight.contact, forks=sight.forks)
    return render((views, more), form, files_text)


def status(desk: Desk, options: StatusOptions) -> int:
    """Show how far the fleet is; a condition that is met makes the command fail."""
    with at_work(desk) as work:
        observed = observe(work, replace(options.sight, settings=False))
        wanted = Wanted(work.spec.components, work.spec.groups)
        now = work.means.clock()
        made = make_status(
            wanted,
            observed,
            Allowance(now, options.within, options.max_age, work.state.first_seen()),
            as_of=work.state.last_observed(),
            sources=source_statuses(work.spec.sources, work.state.source_reports(), now),
            traffic=work.state.traffic(),
        )
        plan = plan_of(work, PlanOptions(options.sight), observed)
        made = replace(
            made,
            rollouts=tuple(step for step in plan.rollouts if step.before),
            quarantined=work.state.quarantined(now, work.spec.quarantine.span),
        )
    desk.terminal.result(render_status(status_document(made), desk.form))
    met = breaches(options.fail_on, made.components)
    if met:
        raise OutcomeError(f"--fail-on: {'; '.join(met)}")
    return 0


def show(terminal: Terminal, file: Path, form: str, *, names: bool) -> int:
    """Show a plan file."""
    terminal.form = form
    document = plan_document(read_plan(read_plan_file(file).document))
    terminal.result(render_plan(document, form, names=names))
    return 0


def history(desk: Desk, run_id: str, last: int) -> int:
    """Show the last runs, or what one run did."""
    with at_work(desk) as work:
        if not run_id:
            desk.terminal.result(render([run_document(run) for run in work.state.runs(last)], desk.form, history_text))
            return 0
        run = work.state.run(run_id)
        if run is None:
            raise UsageError(f"there is no run {run_id}", hint="`updoser history` lists them")
        desk.terminal.result(render(run_document(run, work.state.journal_of(run_id)), desk.form, run_text))
    return 0


def doctor(desk: Desk, names: tuple[str, ...], forks: int) -> int:
    """Examine the named clients, or all; a check that fails makes the command fail."""
    with at_work(desk) as work:
        clients = refresh_lists(work, Sight())
        chosen = [client for client in clients if not names or client.name in names]
        missing = sorted(set(names) - {client.name for client in chosen})
        if missing:
            hint = did_you_mean(missing[0], (client.name for client in clients))
            raise UsageError(
                f"there is no client {', '.join(missing)}", hint=hint or "`updoser plan --diff` names clients"
            )
        checks = list(examine(chosen, work, forks=forks))
    desk.terminal.result(render(checks_document(checks), desk.form, checks_text))
    failed = {check.client for check in checks if check.level == "fail"}
    if failed:
        raise OutcomeError(f"clients in trouble: {len(failed)} of {len(chosen)}")
    return 0


def client_script(terminal: Terminal) -> int:
    """Print the script that runs on clients."""
    terminal.result(script_of_clients().decode())
    return 0


def validate(desk: Desk, effective: str | None) -> int:
    """Check the spec; with `effective`, show what is in force at a path, and where each value comes from."""
    loaded = read_spec(desk)
    for note in loaded.notes:
        desk.terminal.note(note)
    if effective is not None:
        desk.terminal.result(render(explain(loaded, effective), desk.form, effective_text))
    else:
        desk.terminal.result(render(valid_document(loaded.spec), desk.form, valid_text))
    return 0


def init(terminal: Terminal, file: Path, catalog: str | None, inventory: str | None) -> int:
    """Write a starter spec that is valid as it stands."""
    entries = list_program(shlex.split(inventory), Path.cwd()) if inventory else ()
    with written_new(file, starter(file=file, catalog=catalog, inventory=inventory, entries=entries)):
        load(file, check_secrets=False)
    terminal.result(f"{file} is written. Edit it, then see what it would do: updoser plan -f {file}\n")
    return 0


@dataclass(frozen=True, slots=True)
class ReleaseOptions:
    """Where a release goes, what is said of it, and from which versions incrementals to it are made."""

    to: Path
    platform: str
    notes: str
    before: tuple[str, ...]
    codec: str


def release_add(
    terminal: Terminal, component: str, version: str, files: tuple[Path, ...], options: ReleaseOptions
) -> int:
    """Put a release into the folder of a `directory` source, and incrementals to it: all of them or none."""
    folder, incrementals = add_with_incrementals(
        component,
        version,
        files,
        options.to,
        before=options.before,
        codec=options.codec,
        platform=options.platform,
        notes=options.notes,
    )
    terminal.result(f"{folder}\n")
    for before, made in incrementals.items():
        if made is None:
            terminal.note(f"{component} {before}..{version}: {NOT_SMALLER}; nothing is written")
        else:
            terminal.result(f"{made}\n")
    return 0


def plugins(desk: Desk) -> int:
    """List the plugins that there are, and where they come from."""
    folders = read_spec(desk).spec.plugin_folders if os.path.lexists(desk.file) else ()
    found = [(kind, plugin.name, plugin.origin) for kind in KINDS for plugin in available(kind, folders)]
    desk.terminal.result(render(plugins_document(found), desk.form, plugins_text))
    return 0


def unlock(desk: Desk, lock_id: str, *, force: bool) -> int:
    """Take away the lock of a run that is gone, or with `force` of any."""
    with at_work(desk) as work:
        work.state.unlock(lock_id, force=force)
    desk.terminal.note(f"unlocked: {lock_id}")
    return 0
