"""Carries a plan out, exactly as it stands: download, merge, generate, all clients, prune, publish.

* Each client gets all of its changes at once.

* Incrementals that no client waits for are made when all clients are done.
* A download that fails costs its own deploys only; a client that fails costs no other client.
* Each outcome is in the journal before the next is waited for.
* Once the run is stopped no new work begins; what is under way ends cleanly and is counted.
* Changes that aren't due (`not_before`, `not_after`) are left; the times are compared with the clock, nothing more.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from reconciler.errors import ClientError, OtherControllerError, ProtocolError, StalePlanError
from reconciler.execute.deploy import Deployer, Stepper, Task, profile_after
from reconciler.execute.download import Offers, download_all
from reconciler.execute.duplicate import generate_all, merge_all, prune_all
from reconciler.execute.outcome import is_complete
from reconciler.execute.publish import publish_all
from reconciler.execute.tally import Tally
from reconciler.model.delta import incremental_name
from reconciler.model.report import JournalEntry
from reconciler.present.document import report_document
from reconciler.present.words import count_text
from reconciler.storage.state import Observation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from reconciler.execute.deploy import Result
    from reconciler.model.plan import Deploy, Generate, Plan
    from reconciler.model.report import Report
    from reconciler.workspace import Workspace

_ANSWERED = {error.label for error in (ClientError, ProtocolError, OtherControllerError)}


def run_plan(plan: Plan, work: Workspace, *, forks: int) -> Report:
    """Carry a plan out between two marks in the history; one that has no changes leaves no mark.

    Raises:
        StalePlanError: a release of the plan can't be had any more.
        StoreError, StateError: store or state fail as a whole; all else is in the report.
    """
    if plan.empty:
        return carry_out(plan, work, forks=forks)
    check_releases(plan, work)
    state, emit, run_id = work.state, work.means.emit, work.means.run_id
    state.start_plan(plan.plan_id)
    state.raise_serial()
    state.begin_run(run_id, plan.plan_id, "apply", work.means.clock())
    _note_accepted(work)
    emit("run_started", f"run {run_id} carries out plan {plan.plan_id}", plan_id=plan.plan_id)
    report = carry_out(plan, work, forks=forks)
    status = "interrupted" if report.interrupted else "done" if is_complete(report) else "failed"
    state.end_run(run_id, status, report_document(report), report.ended)
    if status == "done":
        state.finish_plan(plan.plan_id)
        state.record_applied_spec(work.spec.digest, work.spec.effective)
    emit("run_finished", f"run {run_id}: {status}", status=status)
    return report


def _note_accepted(work: Workspace) -> None:
    """Write into the history which sources were believed although their signatures had expired."""
    now = work.means.clock()
    accepted = [report for report, _last_success in work.state.source_reports() if report.accepted]
    entries = [
        JournalEntry("", "", "", "", "", "accepted", f"source {report.source}: {report.accepted}", 0, now)
        for report in accepted
    ]
    work.state.journal(work.means.run_id, entries)


def check_releases(plan: Plan, work: Workspace) -> None:
    """Refuse a plan whose releases are neither held nor offered any more with the bytes that it names.

    Raises:
        StalePlanError: a TO digest can't be had.
    """
    available = {release.digest for release in work.store.inspect().releases}
    offers = Offers(work.state)
    for change in plan.arriving:
        if change.to_digest not in available and offers.release(change) is None:
            raise StalePlanError(
                f"{change.component} {change.to}: source {change.source} doesn't offer the planned bytes now",
                hint="make a new plan",
            )
        available.add(change.to_digest)
    for deploy in plan.deploys:
        if deploy.to_digest not in available:
            raise StalePlanError(
                f"{deploy.component} {deploy.to}: the store doesn't hold the planned bytes any more",
                hint="make a new plan",
            )


def carry_out(plan: Plan, work: Workspace, *, forks: int) -> Report:
    """Do all that a plan says and is due, and give the report.

    Raises:
        StoreError, StateError: store or state fail as a whole; all else is in the report.
    """
    started = work.means.clock()
    tally = Tally(work.spec.groups)
    _count_unknown(plan, work, tally)
    offers = Offers(work.state)
    download_all(plan, offers, work, tally)
    merge_all(plan, offers, work, tally)
    now, later = _generates(plan)
    failed = generate_all(now, work, tally)
    _deploy_all(plan, work, forks, tally)
    failed |= generate_all(later, work, tally)
    prune_all(plan, work, tally, failed)
    publish_all(plan, work, tally)
    interrupted = work.means.stop.is_set()
    return tally.report(work.means.run_id, plan, started, work.means.clock(), interrupted=interrupted)


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
    group_of = {
        name: (finding.group, finding.reason)
        for finding in plan.unknown
        for cohort in finding.members
        for name in plan.members[cohort]
    }
    cut_off = {
        name: (finding.group, finding.reason)
        for finding in plan.unreachable
        for cohort in finding.members
        for name in plan.members[cohort]
    }
    for name, (group, reason) in cut_off.items():
        tally.unreachable(name, group, reason)
    if not group_of:
        return
    messages = {name: error for name, _group, _labels, _print, error, _way in work.state.rows() if name in group_of}
    for name, (group, reason) in group_of.items():
        count = tally.failed if reason in _ANSWERED else tally.unreachable
        count(name, group, messages.get(name) or reason)


def _deploy_all(plan: Plan, work: Workspace, forks: int, tally: Tally) -> None:
    tasks = list(_tasks(plan, work))
    if tasks and not work.means.stop.is_set():
        work.means.emit("deploy_started", f"changing {count_text(len(tasks), 'client')}", clients=len(tasks))
    deployer = Deployer(work.spec, plan.basis, work.reach, work.store)
    attempted: Counter[str] = Counter()
    for task, result in work.plugins.executor.run(deployer, tasks, forks=forks, stop=work.means.stop):
        outcome = tally.add(result)
        attempted[task.client.group] += 1
        _record(result, plan, work)
        level = "error" if outcome in {"failed", "unreachable"} else "info"
        work.means.emit(
            "client_finished",
            f"{task.client.name}: {_words(result, outcome)}",
            level=level,
            client=task.client.name,
            outcome=outcome,
        )
    _count_rest(plan, attempted, tally)


def _count_rest(plan: Plan, attempted: Counter[str], tally: Tally) -> None:
    """Count the clients on which no work was done: not attempted, held, or fine as they are."""
    planned = {cohort: deploy.group for deploy in plan.deploys for cohort in deploy.members}
    held = {cohort: finding.group for finding in plan.held for cohort in finding.members if cohort not in planned}
    silent_ones = (*plan.unknown, *plan.unreachable)
    unknown = {cohort: finding.group for finding in silent_ones for cohort in finding.members}
    to_do, skipped, silent = (_clients_by_group(plan, cohorts) for cohorts in (planned, held, unknown))
    for group, clients in plan.clients.items():
        tally.count(group, "not_attempted", to_do[group] - attempted[group])
        tally.count(group, "skipped", skipped[group])
        tally.count(group, "ok", clients - to_do[group] - skipped[group] - silent[group])


def _clients_by_group(plan: Plan, cohorts: Mapping[str, str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for cohort, group in cohorts.items():
        counts[group] += len(plan.members[cohort])
    return counts


def _tasks(plan: Plan, work: Workspace) -> Iterator[Task]:
    """Give a task for each client that has a due change whose release is in the store."""
    inspection = work.store.inspect()
    held = {release.digest: release for release in inspection.releases}
    now = work.means.clock()
    deploys: dict[str, list[Deploy]] = defaultdict(list)
    for deploy in plan.deploys:
        if deploy.to_digest in held and _is_due(deploy, now):
            for cohort in deploy.members:
                deploys[cohort].append(deploy)
    if not deploys:
        return
    stepper = Stepper(work.spec, held, inspection.incrementals)
    steps = {cohort: stepper.steps(tuple(changes)) for cohort, changes in deploys.items()}
    cohort_of = {name: cohort for cohort in steps for name in plan.members[cohort]}
    profiles = work.state.profiles()
    seen = {name: fingerprint for name, _group, _labels, fingerprint, *_rest in work.state.rows() if name in cohort_of}
    for client in work.state.clients(groups={deploy.group for deploy in plan.deploys}):
        if client.name in cohort_of:
            fingerprint = seen.get(client.name)
            yield Task(client, steps[cohort_of[client.name]], profiles.get(fingerprint) if fingerprint else None)


def _is_due(deploy: Deploy, now: datetime) -> bool:
    begun = deploy.not_before is None or deploy.not_before <= now
    return begun and (deploy.not_after is None or now < deploy.not_after)


def _record(result: Result, plan: Plan, work: Workspace) -> None:
    """Write down what became of a client, and what it has now."""
    now, task = work.means.clock(), result.task
    steps = {step.component: step for step in task.steps}
    entries = [
        JournalEntry(
            client=task.client.name,
            group=task.client.group,
            component=outcome.component,
            from_version=steps[outcome.component].from_version,
            to_version=steps[outcome.component].to_version,
            outcome=outcome.status,
            message=outcome.message,
            bytes=sum(file.size for file in steps[outcome.component].payload) if outcome.status == "changed" else 0,
            at=now,
        )
        for outcome in result.outcomes
    ]
    error = result.error.brief if result.error else ""
    if error:
        entries.append(JournalEntry(task.client.name, task.client.group, "", "", "", "failed", error, 0, now))
    work.state.journal(work.means.run_id, entries)
    profile = None if error else profile_after(result, plan.basis)
    if profile is not None or error:
        work.state.record_observations([Observation(task.client.name, profile, None, error, now)])


def _words(result: Result, outcome: str) -> str:
    failures = [f"{entry.component}: {entry.message}" for entry in result.outcomes if entry.status == "failed"]
    if result.error is not None:
        failures.append(result.error.brief)
    return f"{outcome.replace('_', ' ')}{': ' if failures else ''}{'; '.join(failures)}"
