"""Carries plans out, exactly as they stand: rollouts, claims, downloads, all clients, fetches, prune, publish.

* Rollouts are where a plan says from its beginning: what is new about them is remembered before any client changes.
* A run carries a plan out, and then the steps that follow from it as long as there are any: the next wave, once the one
  before it is through. What was tried in the run isn't tried again.
* What is proved once more comes alone: when it is good, the wave opens in the step that follows.
* Each client gets all of its changes at once.
* Incrementals that no client waits for are made when all clients are done.
* What a source fetches for the next plan comes when all clients are done: none of them waits for it.
* A download that fails costs its own deploys only; a client that fails costs no other client, unless its rollout halts.
* Each outcome is in the journal before the next is waited for, and a run that is broken off is in the history with
  what it had done.
* Once the run is stopped, this machine has no room for more, or what spreads the work broke, no new work begins; what
  is under way ends cleanly and is counted.
* Changes that aren't due (`not_before`, `not_after`) are left; the times are compared with the clock, nothing more.
  At each client's turn it is asked once more whether it may begin (`Turns`); who may not is held, and said.
"""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from reconciler.errors import (
    LimitError,
    PluginError,
    UpdoserError,
)
from reconciler.execute.basis import check_content
from reconciler.execute.claims import claim_all
from reconciler.execute.clients import change_clients
from reconciler.execute.download import Offers, download_all
from reconciler.execute.duplicate import generate_all, merge_all, prune_all
from reconciler.execute.fetch import fetch_all
from reconciler.execute.outcome import is_complete
from reconciler.execute.proofs import prove_all
from reconciler.execute.rollouts import Breaker, move_on
from reconciler.execute.so_far import looked_on
from reconciler.execute.tally import Tally
from reconciler.model.change import ClientChange
from reconciler.model.delta import incremental_name
from reconciler.model.events import Trouble
from reconciler.model.report import JournalEntry
from reconciler.model.rollout import OPEN
from reconciler.model.work_events import RunFinished, RunStarted
from reconciler.present.document import report_document
from reconciler.reasons import REASONS, reached, reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from reconciler.execute.gate import Turns
    from reconciler.model.change import Generate
    from reconciler.model.plan import Finding, Plan, RolloutStep
    from reconciler.model.report import Report, RunStatus
    from reconciler.workspace import Workspace


def run_plan(
    plan: Plan,
    work: Workspace,
    *,
    forks: int,
    following: Callable[[], Plan | None] = lambda: None,
    remarks: Sequence[str] = (),
    turns: Turns | None = None,
) -> Report:
    """Carry a plan out, and what `following` gives after it, between two marks in the history.

    A plan that has no changes leaves no mark in the history. `following` is asked for the next step after each, `turns`
    at the turn of each client. `remarks` are written into the history.

    Raises:
        StalePlanError: content that the plan counts on can't be had any more.
        StoreError, StateError: store or state fail as a whole; all else is in the report.
    """
    tally = Tally(work.spec.groups)
    if plan.empty and not plan.moves:
        report = _carry_out_all(plan, following, work, forks, tally, turns)
        if is_complete(report):
            _let_go(plan, work)
        return report
    check_content(plan, work)
    work.roll.take_in()
    state, emit, run_id = work.state, work.means.emit, work.means.run_id
    state.start_plan(plan.plan_id)
    state.raise_serial()
    state.begin_run(run_id, plan.plan_id, "apply", work.means.clock(), work.means.origin)
    _note_accepted(work)
    _note_remarks(remarks, work)
    started = work.means.clock()
    try:
        with looked_on(work, "apply") as seen:
            says = f"run {run_id} carries out plan {plan.plan_id}"
            seen.means.emit(RunStarted(says, plan_id=plan.plan_id))
            report = _carry_out_all(plan, following, seen, forks, tally, turns)
    except BaseException:
        with suppress(UpdoserError):  # the state may be what is broken
            ended = work.means.clock()
            so_far = tally.report(run_id, plan, started, ended, interrupted=work.means.stop.is_set())
            state.end_run(run_id, "failed", report_document(so_far), ended, tally.steps)
        raise
    status: RunStatus = "interrupted" if report.interrupted else "done" if is_complete(report) else "failed"
    state.end_run(run_id, status, report_document(report), report.ended, tally.steps)
    if status == "done":
        if not report.held and not any(step.record.status in OPEN for step in report.rollouts):
            state.finish_plan(plan.plan_id)
        if not plan.partial:
            state.record_applied_spec(work.spec.digest, work.spec.effective)
    emit(RunFinished(f"run {run_id}: {status}", status=status))
    return report


def _let_go(plan: Plan, work: Workspace) -> None:
    """Let go of what left, where nothing else was to be done: else each later plan would say again that it leaves."""
    if plan.partial or work.state.applied_digest() is None:
        return
    if plan.fleet_moves:
        work.roll.take_in()
    if work.state.applied_digest() != work.spec.digest:
        work.state.record_applied_spec(work.spec.digest, work.spec.effective)


def _note_accepted(work: Workspace) -> None:
    """Write into the history which sources were believed although their signatures had expired."""
    now = work.means.clock()
    accepted = [report for report, _last_success in work.state.source_reports() if report.accepted]
    entries = [
        JournalEntry(
            outcome="accepted",
            message=f"source {report.source}: {report.accepted}",
            at=now,
        )
        for report in accepted
    ]
    work.state.journal(work.means.run_id, entries)


def _note_remarks(remarks: Iterable[str], work: Workspace) -> None:
    now = work.means.clock()
    entries = [
        JournalEntry(
            outcome="remark",
            message=remark,
            at=now,
        )
        for remark in remarks
    ]
    work.state.journal(work.means.run_id, entries)


def _carry_out_all(
    plan: Plan,
    following: Callable[[], Plan | None],
    work: Workspace,
    forks: int,
    tally: Tally,
    turns: Turns | None,
) -> Report:
    """Do all steps, and give the report of the run."""
    started = work.means.clock()
    last, step = plan, _untried(plan, tally)
    while step is not None:
        last, before, sent = step, tally.progress, tally.sent
        try:
            carry_out(step, work, tally, forks=forks, turns=turns)
            tally.end_step(step, sent)
        except (LimitError, PluginError) as error:
            tally.server_failed(REASONS[error.reason].label, error.message)
            rest = f": {error.hint}" if error.hint else ""
            work.means.emit(Trouble(f"{error.message}; no new work begins{rest}", level="error"))
            break
        # A step in which nothing could be tried, as when its release can't be had, isn't followed by another like it.
        if work.means.stop.is_set() or not (step.moves or step.proofs or tally.progress > before):
            break
        after = following()
        last = after or last
        step = _untried(after, tally) if after is not None else None
    interrupted = work.means.stop.is_set()
    _count_rest(last, tally)
    report = tally.report(work.means.run_id, plan, started, work.means.clock(), interrupted=interrupted)
    ended = _where_they_are(last, work)
    return replace(report, rollouts=ended, next_step_at=last.next_step_at)


def _untried(plan: Plan, tally: Tally) -> Plan | None:
    """Leave out what was tried in this run; None when nothing is left."""
    rest = plan.untried(tally.is_new)
    names = (
        (name, deploy.component, deploy.to)
        for deploy in rest.deploys
        if not tally.gave_up(deploy.to_digest)
        for cohort in deploy.members
        for name in rest.members[cohort]
    )
    others = any(not isinstance(change, ClientChange) for change in rest.changes)
    anything = rest.moves or others or not tally.step
    return rest if anything or any(not tally.was_tried(*name) for name in names) else None


def _where_they_are(last: Plan, work: Workspace) -> tuple[RolloutStep, ...]:
    """Give where the rollouts of the last step are now: one may have been halted in it."""
    known = work.state.rollouts() if last.rollouts else {}
    found = []
    for step in last.rollouts:
        record = known.get(step.record.key, step.record)
        halted = record.status == "halted" and step.record.status != "halted"
        says, next_at = (record.stopped, None) if halted else (step.says, step.next_at)
        found.append(replace(step, record=record, says=says, next_at=next_at))
    return tuple(found)


def carry_out(plan: Plan, work: Workspace, tally: Tally, *, forks: int, turns: Turns | None = None) -> None:
    """Do all that a plan says and is due.

    Raises:
        StoreError, StateError: store or state fail as a whole; all else is counted.
    """
    tally.step += 1
    work.store.move_in()
    work.roll.take_in()
    breaker = Breaker(plan, work, stopped=move_on(plan, work))
    _count_unknown(plan, work, tally)
    timed = partial(tally.timed, clock=work.means.clock)
    with timed("claim", changes=plan.claims):
        claim_all(plan, work, tally, forks=forks)
    offers = Offers(work.state)
    with timed("download", changes=plan.downloads):
        download_all(plan, offers, work, tally)
    with timed("merge", changes=plan.merges):
        merge_all(plan, offers, work, tally)
    now, later = _generates(plan)
    with timed("generate", changes=now):
        failed = generate_all(now, work, tally)
    with timed("prove", changes=plan.proofs):
        prove_all(plan, work, breaker, tally, forks=forks)
    with timed("clients", changes=plan.for_clients), _pinned(plan, work):
        change_clients(plan, offers, work, breaker, tally, forks=forks, turns=turns)
    with timed("fetch", changes=plan.fetches):
        fetch_all(plan, work, tally)
    with timed("generate", changes=later):
        failed |= generate_all(later, work, tally)
    with timed("prune", changes=plan.prunes):
        prune_all(plan, work, tally, failed)
    if plan.publishes:
        from reconciler.execute.publish import publish_all

        with timed("publish", changes=plan.publishes):
            publish_all(plan, offers, work, tally)


def _pinned(plan: Plan, work: Workspace) -> AbstractContextManager[None]:
    """Have all that clients are to get stay on this machine while they get it, where content is shared."""
    if work.spec.server.content is None or not plan.deploys:
        return nullcontext()
    inspection = work.store.inspect()
    goals = {deploy.to_digest for deploy in plan.deploys}
    names = {(deploy.component, deploy.platform, name) for deploy in plan.deploys for name in deploy.path}
    files = {file.sha256 for release in inspection.releases if release.digest in goals for file in release.files}
    patches = {
        patch.sha256
        for entry in inspection.incrementals
        if (entry.component, entry.platform, entry.name) in names
        for patch in entry.patches
    }
    return work.store.pinned(files | patches)


def _generates(plan: Plan) -> tuple[list[Generate], list[Generate]]:
    """Give the incrementals that clients wait for, and those that are for others, later."""
    wanted = {(deploy.component, deploy.platform, name) for deploy in plan.deploys for name in deploy.path}
    now: list[Generate] = []
    later: list[Generate] = []
    for order in plan.generates:
        name = incremental_name(order.previous, order.to, order.codec)
        (now if (order.component, order.platform, name) in wanted else later).append(order)
    return now, later


def _count_unknown(plan: Plan, work: Workspace, tally: Tally) -> None:
    """Count clients that didn't answer when they were looked at: they too were to be brought up to date."""
    for name, (group, text) in _reasons(plan, plan.unreachable).items():
        tally.unreachable(name, group, text, "no_way")
    group_of = _reasons(plan, plan.unknown)
    if not group_of:
        return
    messages = {row.name: row.error for row in work.state.rows() if row.name in group_of}
    for name, (group, label) in group_of.items():
        count = tally.failed if reached(label) else tally.unreachable
        count(name, group, messages.get(name) or label, reason_of(label))


def _reasons(plan: Plan, findings: Iterable[Finding]) -> dict[str, tuple[str, str]]:
    """Give group and reason by the clients that findings are about."""
    return {
        name: (finding.group, finding.reason)
        for finding in findings
        for cohort in finding.members
        for name in plan.members[cohort]
    }


def _count_rest(plan: Plan, tally: Tally) -> None:
    """Count the clients on which no work was done: not attempted, left alone, or fine as they are."""
    planned = {cohort: change.group for change in plan.for_clients for cohort in change.members}
    waiting = (*plan.held, *plan.deferred)
    left = {cohort: finding.group for finding in waiting for cohort in finding.members if cohort not in planned}
    to_do, skipped = (_clients_by_group(plan, cohorts, tally) for cohorts in (planned, left))
    done = tally.by_group
    for group, clients in plan.clients.items():
        tally.count(group, "not_attempted", to_do[group])
        tally.count(group, "skipped", skipped[group])
        tally.count(group, "ok", clients - to_do[group] - skipped[group] - done[group])


def _clients_by_group(plan: Plan, cohorts: Mapping[str, str], tally: Tally) -> Counter[str]:
    """Count the clients of cohorts with which nothing was done."""
    counts: Counter[str] = Counter()
    for cohort, group in cohorts.items():
        counts[group] += sum(not tally.counted(name) for name in plan.members[cohort])
    return counts
