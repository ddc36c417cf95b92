"""Changes the clients of a plan, batch by batch, and writes down what became of each."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from reconciler.errors import ClientError
from reconciler.execute.checks import Checks, check_releases_here
from reconciler.execute.deploy import Deployer, Stepper, Task, profile_after
from reconciler.execute.mend import mend_releases, sound_incrementals
from reconciler.execute.relays import Relays
from reconciler.execute.settings import has_after, prepare
from reconciler.guards import Caught, blaming
from reconciler.model.change import Deploy, Settings
from reconciler.model.deploy import MACHINE, SENT, WELL
from reconciler.model.events import ClientFinished, DeployStarted, Trouble
from reconciler.model.report import LOST, JournalEntry
from reconciler.model.settings import is_setting
from reconciler.present.words import count_text
from reconciler.storage.state import Observation
from reconciler.templates.book import Book

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from reconciler.execute.deploy import Result
    from reconciler.execute.download import Offers
    from reconciler.execute.rollouts import Breaker
    from reconciler.execute.settings import Prepared
    from reconciler.execute.tally import Tally
    from reconciler.model.client import Client
    from reconciler.model.deploy import OutcomeStatus, Step
    from reconciler.model.events import Level
    from reconciler.model.plan import Plan
    from reconciler.model.release import Release
    from reconciler.model.report import ClientOutcome
    from reconciler.storage.store import Inspection
    from reconciler.workspace import Workspace


_BAD: frozenset[OutcomeStatus] = frozenset(["failed", "unpatched"])
_TOLD: frozenset[OutcomeStatus] = frozenset(["failed", "stale"])


class Turns(Protocol):
    """What is asked at the turn of each client; `planning.Turns` has what was planned, and what holds by now."""

    def look(self) -> None:
        """See what changed meanwhile. Called from the thread that uses the state, for each client.

        Raises:
            StateError: the state can't be read.
        """

    def turned_away(self, client: Client, change: Deploy | Settings) -> str:
        """Say why a client must not begin with a change any more; empty where it may. Called from any thread."""


def change_clients(
    plan: Plan,
    offers: Offers,
    work: Workspace,
    breaker: Breaker,
    tally: Tally,
    *,
    forks: int,
    turns: Turns | None = None,
) -> None:
    """Change all clients that have a due change, no more at once than the open waves allow.

    `turns` says who may not be changed any more when its turn has come.

    Raises:
        StoreError, StateError: store or state fail as a whole.
    """
    if not (plan.deploys or plan.settings) or work.means.stop.is_set():
        return
    inspection = work.store.inspect()
    held = {release.digest: release for release in inspection.releases}
    now = work.means.clock()
    due = [deploy for deploy in plan.deploys if _is_due(deploy, now)]
    bad = mend_releases(due, held, offers, work, tally)
    sound = {digest: release for digest, release in held.items() if digest not in bad}
    bad |= check_releases_here(plan, sound, work, breaker, tally)
    checks = Checks(work)
    incrementals = sound_incrementals(due, inspection.incrementals, work)
    stepper = Stepper(work.spec, held, incrementals, checks.of_clients)
    tasks = list(_tasks(plan, work, stepper, tally, held, bad))
    if not tasks:
        return
    what = f"changing {count_text(len(tasks), 'client')}{_waves(plan)}"
    work.means.emit(DeployStarted(what, clients=len(tasks), bytes=_planned(tasks)))

    gate = _Gate(breaker, turns)

    def check_here(client: Client, step: Step) -> str:
        if is_setting(step.component):
            return ""
        return checks.of_client(client.group, step.component, step.to_version, client)

    render = _renderer(plan, work)
    relays = Relays(work, tasks, _content(inspection))
    deployer = Deployer(
        work.spec,
        plan.basis,
        work.reach,
        work.store,
        releases=held,
        check_here=check_here,
        turn=gate.turn,
        render=render,
        over=relays.session,
    )
    at_once = breaker.batch or len(tasks)
    try:
        with relays:
            for start in range(0, len(tasks), at_once):
                batch = gate.one_by_one(relays.in_turn(tasks[start : start + at_once]))
                for _task, result in work.plugins.executor.run(deployer, batch, forks=forks, stop=work.means.stop):
                    _finish(result, plan, work, breaker, tally)
                breaker.look()
                if work.means.stop.is_set():
                    break
    finally:
        _write_held(gate.held, work, tally)


def _content(inspection: Inspection) -> set[str]:
    """Give the digests of all that the store holds and a client may be sent."""
    files = {file.sha256 for release in inspection.releases for file in release.files}
    return files | {patch.sha256 for entry in inspection.incrementals for patch in entry.patches}


class _Gate:
    """Lets clients begin, one by one; `held` are the changes that it turned away, by client and component, and why."""

    def __init__(self, breaker: Breaker, turns: Turns | None) -> None:
        self._breaker = breaker
        self._turns = turns
        self.held: dict[tuple[str, str], tuple[Client, Step | None, str]] = {}

    def one_by_one(self, tasks: Iterable[Task]) -> Iterator[Task]:
        """Give tasks as they are asked for, which is when there is room for one more."""
        for task in tasks:
            if self._turns is not None:
                self._turns.look()
            yield task

    def turn(self, task: Task) -> Task:
        """Give what of a task may still be done."""
        set_up = task.settings is None or self._may_set(task)
        steps = tuple(
            step for step in task.steps if self._may(task, step) and (set_up or not is_setting(step.component))
        )
        early = tuple(step for step in task.early if self._may(task, step))
        return replace(task, steps=steps, early=early, settings=task.settings if set_up else None)

    def _may(self, task: Task, step: Step) -> bool:
        key = self._breaker.key_of(step.component, step.to_version, task.client.group)
        if key is not None and key in self._breaker.halted:
            return False
        mine = (change for change in task.changes if isinstance(change, Deploy) and change.component == step.component)
        return self._ask(task.client, step, next(mine, None))

    def _may_set(self, task: Task) -> bool:
        return self._ask(task.client, None, next((one for one in task.changes if isinstance(one, Settings)), None))

    def _ask(self, client: Client, step: Step | None, change: Deploy | Settings | None) -> bool:
        if self._turns is None or change is None:
            return True
        why = self._turns.turned_away(client, change)
        if why:
            self.held[client.name, step.component if step else ""] = client, step, why
        return not why


def _write_held(held: Mapping[tuple[str, str], tuple[Client, Step | None, str]], work: Workspace, tally: Tally) -> None:
    """Count the clients that were turned away, write them down and say why."""
    now = work.means.clock()
    counts: Counter[tuple[str, str]] = Counter()
    entries = []
    for client, step, why in held.values():
        component, before, to = (step.component, step.from_version, step.to_version) if step else ("", "", "")
        tally.held(client.name, client.group, component, to, why)
        counts[f"{component} {to}" if step else "settings", why] += 1
        entries.append(
            JournalEntry(
                client=client.name,
                group=client.group,
                component=component,
                from_version=before,
                to_version=to,
                outcome="held",
                message=why,
                at=now,
            )
        )
    work.state.journal(work.means.run_id, entries)
    for (what, why), clients in sorted(counts.items()):
        work.means.emit(Trouble(f"{what}: {count_text(clients, 'client')} held: {why}"))


def _waves(plan: Plan) -> str:
    """Say which waves are changed, where all rollouts are in the same one."""
    open_now = {
        (step.record.wave, len(step.record.cuts))
        for step in plan.rollouts
        if step.record.status == "running" and step.record.passed is None
    }
    places = [f", wave {wave} of {waves}" for wave, waves in open_now if waves > 1]
    return places[0] if len(open_now) == len(places) == 1 else ""


def _renderer(plan: Plan, work: Workspace) -> Callable[[Client, str], Prepared]:
    """Give what renders the settings of a client; templates and secrets are read now, by one thread.

    Raises:
        SpecError, SecretError: a template, or a secret that it reads, is no good.
    """
    book = Book(work.spec, work.state.settings_key(), work.means.secret)
    for group in dict.fromkeys(change.group for change in plan.settings):
        book.sheets(group)
    return partial(prepare, book)


def _tasks(
    plan: Plan, work: Workspace, stepper: Stepper, tally: Tally, held: dict[str, Release], bad: set[str]
) -> Iterator[Task]:
    """Give a task for each client that has a due change whose release is in the store, or due settings."""
    now = work.means.clock()
    deploys: dict[str, list[Deploy]] = defaultdict(list)
    for deploy in plan.deploys:
        if deploy.to_digest not in held or deploy.to_digest in bad:
            tally.give_up(deploy.to_digest)
        elif _is_due(deploy, now):
            for cohort in deploy.members:
                deploys[cohort].append(deploy)
    settings_of = {cohort: change for change in plan.settings if _is_due(change, now) for cohort in change.members}
    set_up = settings_of.keys()
    if not deploys and not set_up:
        return
    steps = _steps(deploys, stepper, tally)
    every: dict[str, tuple[Deploy | Settings, ...]] = {
        cohort: (*deploys[cohort], *([settings_of[cohort]] if cohort in set_up else [])) for cohort in {*steps, *set_up}
    }
    cohort_of = {name: cohort for cohort in dict.fromkeys((*steps, *set_up)) for name in plan.members[cohort]}
    profiles = work.state.profiles()
    seen = {row.name: (row.fingerprint, row.settings) for row in work.state.rows() if row.name in cohort_of}
    changes: tuple[Deploy | Settings, ...] = (*plan.deploys, *plan.settings)
    for client in work.state.clients(groups={change.group for change in changes}):
        if client.name in cohort_of:
            cohort = cohort_of[client.name]
            fingerprint, has = seen.get(client.name, (None, ""))
            due, early = (
                tuple(step for step in part if not tally.was_tried(client.name, step.component, step.to_version))
                for part in steps.get(cohort, ((), ()))
            )
            settings = has if cohort in set_up else None
            if due or early or settings is not None:
                profile = profiles.get(fingerprint) if fingerprint else None
                yield Task(client, due, profile, early=early, settings=settings, changes=every[cohort])


def _steps(deploys: Mapping[str, list[Deploy]], stepper: Stepper, tally: Tally) -> dict[str, list[tuple[Step, ...]]]:
    """Give the steps by cohort: those for now, and those that are sent early. One that can't be made is told."""
    told: set[str] = set()

    def made(change: Deploy) -> tuple[Step, ...]:
        with Caught() as caught, blaming(f"making the step to {change.component} {change.to}"):
            return stepper.steps((change,))
        if caught.brief not in told:
            tally.server_failed(change.component, caught.brief)
        told.add(caught.brief)
        return ()

    return {
        cohort: [
            tuple(step for change in changes if change.early is early for step in made(change))
            for early in (False, True)
        ]
        for cohort, changes in deploys.items()
    }


def _is_due(change: Deploy | Settings, now: datetime) -> bool:
    begun = isinstance(change, Settings) or change.not_before is None or change.not_before <= now
    return begun and (change.not_after is None or now < change.not_after)


def _finish(result: Result, plan: Plan, work: Workspace, breaker: Breaker, tally: Tally) -> None:
    """Count what became of a client, and write it down."""
    outcome = tally.add(result)
    if outcome == "not_attempted":
        return
    task = result.task
    record(result, plan, work)
    _tell_breaker(result, breaker)
    quarantine = work.spec.quarantine
    if quarantine.after_failures and (outcome == "failed" or outcome in WELL):
        work.state.count_outcome(task.client.name, quarantine, work.means.clock(), failed=outcome == "failed")
    level: Level = "error" if outcome in LOST else "info"
    work.means.emit(
        ClientFinished(
            f"{task.client.name}: {words(result, outcome)}",
            level=level,
            client=task.client.name,
            outcome=outcome,
            bytes=result.bytes_sent,
        )
    )


def _tell_breaker(result: Result, breaker: Breaker) -> None:
    """Tell the rollouts how a client fared with each component; one that can't be reached didn't fail."""
    client, steps = result.task.client, result.task.all_steps
    answered = {outcome.component for outcome in result.outcomes}
    for outcome in result.outcomes:
        step = steps[outcome.component]
        key = breaker.key_of(step.component, step.to_version, client.group)
        if outcome.status in _BAD:
            breaker.take(key, client.name, outcome.message or outcome.status, outcome.fault)
        elif outcome.status in WELL:
            breaker.take(key, client.name, "")
    if isinstance(result.error, ClientError):  # of the machine: it refused all of it
        for step in steps.values():
            if step.component not in answered:
                key = breaker.key_of(step.component, step.to_version, client.group)
                breaker.take(key, client.name, result.error.brief, MACHINE)


def record(result: Result, plan: Plan, work: Workspace) -> None:
    """Write down what became of a client, and what it has now."""
    now, task = work.means.clock(), result.task
    steps = task.all_steps
    entries = [
        JournalEntry(
            client=task.client.name,
            group=task.client.group,
            component=outcome.component,
            from_version=steps[outcome.component].from_version,
            to_version=steps[outcome.component].to_version,
            outcome=outcome.status,
            message=outcome.message,
            bytes=_sent(steps[outcome.component]) if outcome.status in SENT else 0,
            at=now,
            reason=outcome.reason if outcome.status == "failed" else "",
        )
        for outcome in result.outcomes
    ]
    error = result.error.brief if result.error else ""
    if result.error is not None:
        entries.append(
            JournalEntry(
                client=task.client.name,
                group=task.client.group,
                outcome="failed",
                message=error,
                at=now,
                reason=result.error.reason,
            )
        )
    profile = None if error else profile_after(result, plan.basis, work.spec.client_keep)
    seen = []
    if profile is not None or error:
        settings = None if task.settings is None else has_after(task.settings, result.outcomes, steps)
        name = task.client.name
        seen = [Observation(client=name, profile=profile, free=None, error=error, at=now, settings=settings)]

    def write() -> None:
        work.state.journal(work.means.run_id, entries)
        work.state.record_observations(seen)

    work.state.whole(write, lasts=False)  # one transaction: they are half of what a client costs


def _planned(tasks: Iterable[Task]) -> int:
    """Add up what clients are to be sent; those of a cohort share their steps, so each is looked at once."""
    sizes: dict[int, int] = {}
    total = 0
    for task in tasks:
        for step in (*task.steps, *task.early):
            size = sizes.get(id(step))
            if size is None:
                size = sizes[id(step)] = _sent(step)
            total += size
    return total


def _sent(step: Step) -> int:
    return sum(part.size for part in step.payload)


def words(result: Result, outcome: ClientOutcome) -> str:
    """Say in a line what became of a client."""
    told = [entry for entry in result.outcomes if entry.status in _TOLD and entry.message]
    failures = [f"{entry.component}: {entry.message}" for entry in told]
    if result.error is not None:
        failures.append(result.error.brief)
    return f"{outcome.replace('_', ' ')}{': ' if failures else ''}{'; '.join(failures)}"
