"""Changes the clients of a plan, and writes down what became of each.

* Clients are read cohort by cohort, as there is room for them; those of a site at its own pace.
* What may not be done any more when a client's turn has come is left (`gate`), and its settings are rendered then. The
  worker looks again when it is connected: a rollout that was halted meanwhile goes no further anywhere.
* A canary has a batch of its own: what becomes of it is known before others are begun.
* A check that runs here comes when the client has switched, beside the flow; who is found bad is taken back to what it
  had, and has one outcome in the end.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, cast

from reconciler.client.reach import expecting
from reconciler.dispatch.jobs import Job, Made, Stream
from reconciler.errors import ClientError
from reconciler.execute.alike import Alike
from reconciler.execute.checks import Checks, check_releases_here
from reconciler.execute.collector import Collector
from reconciler.execute.deploy import Stepper, Task
from reconciler.execute.gate import Gate, Turns
from reconciler.execute.mend import mend_releases, sound_incrementals
from reconciler.execute.relays import Relays
from reconciler.execute.results import Result, result_of, unrendered
from reconciler.execute.settings import prepare
from reconciler.execute.taking_back import Return, to_check, troubles_of, way_back
from reconciler.execute.work_list import WorkList, is_due
from reconciler.guards import Caught
from reconciler.model.batch import Answer, Change, Target
from reconciler.model.deploy import MACHINE, WELL
from reconciler.model.work_events import DeployStarted
from reconciler.present.words import count_text
from reconciler.templates.book import Book

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.dispatch.flow import Flow
    from reconciler.execute.collector import Answered
    from reconciler.execute.download import Offers
    from reconciler.execute.rollouts import Breaker
    from reconciler.execute.settings import Prepared
    from reconciler.execute.tally import Tally
    from reconciler.model.client import Client
    from reconciler.model.deploy import OutcomeStatus, Step
    from reconciler.model.plan import Plan
    from reconciler.model.release import Release
    from reconciler.model.rollout import Key
    from reconciler.storage.outcomes import Fared
    from reconciler.storage.store import Inspection
    from reconciler.workspace import Workspace

_BAD: frozenset[OutcomeStatus] = frozenset(["failed", "unpatched"])
_NOTHING_ASKED = Answer(batch="", attempt=0, client="")
_REMEMBERED = 1000
"""Changes that are kept because the next clients are likely to get the same."""


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
    due = [deploy for deploy in plan.deploys if is_due(deploy, now)]
    bad = mend_releases(due, held, offers, work, tally)
    sound = {digest: release for digest, release in held.items() if digest not in bad}
    bad |= check_releases_here(plan, sound, work, breaker, tally)
    checks = Checks(work)
    incrementals = sound_incrementals(due, inspection.incrementals, work)
    stepper = Stepper(work.spec, held, incrementals, checks.of_clients)
    todo = WorkList(plan, work, stepper, tally, {digest for digest in held if digest not in bad})
    if not todo.clients:
        return
    keys = (breaker.key_of(deploy.component, deploy.to, deploy.group) for deploy in due)
    work.crews.go_on({key for key in keys if key is not None and key not in breaker.halted})
    what = f"changing {count_text(todo.clients, 'client')}{_waves(plan)}"
    work.means.emit(DeployStarted(what, clients=todo.clients, bytes=todo.bytes))
    relays = Relays(plan, work, todo.cohorts, _content(inspection) if work.spec.relays else ())
    streams = [Stream(jobs, relays.ready(relay)) for relay, jobs in todo.streams(relays.of_cohorts)]
    changing = _Changing(plan, work, breaker, tally, turns, releases=held, checks=checks, relays=relays)
    with relays:
        changing.carry_out(streams, forks)


class _Shared(NamedTuple):
    """What clients of a cohort share: whether they have batches of their own, and a time at which it is too late.

    It has a task of one of them, and so its steps and offer: no others can take their identity meanwhile.
    """

    change: Change
    alone: bool
    ends: bool
    task: Task


class _Changing:
    """Work on the clients of a plan, from a job to what is written down."""

    def __init__(
        self,
        plan: Plan,
        work: Workspace,
        breaker: Breaker,
        tally: Tally,
        turns: Turns | None,
        *,
        releases: Mapping[str, Release],
        checks: Checks,
        relays: Relays,
    ) -> None:
        self._plan = plan
        self._work = work
        self._breaker = breaker
        self._tally = tally
        self._releases = releases
        self._checks = checks
        self._relays = relays
        self._collector = Collector(plan, work, tally.step)
        self._gate = Gate(plan, breaker, turns, tally=tally, note=self._collector.note)
        self._render = _renderer(plan, work)
        self._schemes = {name: wanted.component.scheme.name for name, wanted in work.spec.components.items()}
        self._shared: dict[tuple[int, int, int], _Shared] = {}
        self._rollouts = Alike(self._rollouts_of)
        self._back = self._change()
        self._begun: dict[str, Task] = {}
        self._flow: Flow[Task | Return]

    def carry_out(self, found: list[Stream[Task]], forks: int) -> None:
        """Change clients, a few or all before the gates are looked at again."""
        self._flow = self._work.flow(self._make, forks=forks, settle=self._settle)
        streams = cast("list[Stream[Task | Return]]", found)
        at_once = self._breaker.batch
        try:
            if not at_once:
                self._change_some(streams)
            for stream in streams if at_once else ():
                jobs = iter(stream.jobs)
                while not self._work.means.stop.is_set() and (some := list(islice(jobs, at_once))):
                    self._change_some([Stream(some, stream.ready)])
        finally:
            self._collector.settle(now=True)
            self._gate.tell(self._work.means.emit)

    def _change_some(self, streams: list[Stream[Task | Return]]) -> None:
        for job, answer in self._flow.answers(*streams):
            self._take(job, answer)
        self._settle(now=True)
        self._breaker.look()

    def _settle(self, now: bool) -> None:
        """Tell what was halted meanwhile and what became of relays, and write down what is due."""
        self._relays.tell()
        halted = self._gate.look()
        if halted:
            self._flow.halt(halted)
        self._collector.settle(now)

    # --- from a job to a batch ----------------------------------------------------------------------------------------

    def _make(self, job: Job[Task | Return]) -> Made | None:
        """Give what may still be done with a client; None where that is nothing."""
        if isinstance(job.about, Return):
            return Made(task=self._back, target=Target(client=job.client, steps=tuple(job.about.steps.values())))
        self._settle(now=False)
        task = self._gate.turn(self._begun.pop(job.client.name, job.about), self._work.means.clock())
        if not (task.steps or task.early or task.settings is not None):
            return None
        ready = task
        if task.settings is not None:
            with Caught() as caught, expecting():
                ready = replace(task, prepared=self._render(job.client, task.settings))
            if caught.error is not None:
                self._finish(Result(task, error=caught.error))
                return None
        if not (ready.steps or ready.early or ready.prepared.steps):
            self._finish(Result(ready, unrendered(ready)))
            return None
        ready = self._relays.offered(ready)
        self._begun[job.client.name] = ready
        target = Target(client=job.client, steps=ready.prepared.steps)
        shared = self._shared_of(ready)
        return Made(
            task=shared.change,
            target=target,
            private=ready.prepared.content,
            until=self._gate.until(ready) if shared.ends else None,
            alone=shared.alone,
        )

    def _shared_of(self, task: Task) -> _Shared:
        """Give what clients of a cohort share: they have the very same steps."""
        key = id(task.steps), id(task.early), id(task.offer)
        known = self._shared.get(key)
        if known is None:
            if len(self._shared) >= _REMEMBERED:
                self._shared.clear()
            alone = self._breaker.is_canary(task.client.group, (*task.steps, *task.early))
            ends = any(change.not_after is not None for change in task.changes)
            known = self._shared[key] = _Shared(self._change(task), alone, ends, task)
        return known

    def _change(self, task: Task | None = None) -> Change:
        """Give a change with the steps of a task; it leaves connections open where a check may send the client back."""
        basis = self._plan.basis
        steps = task.steps if task is not None else ()
        offer = task.offer if task is not None else None
        stays = task is not None and any(
            self._checks.wanted(task.client.group, step.component, where="server", phase="switched") for step in steps
        )
        return Change(
            lineage=basis.lineage,
            epoch=basis.epoch,
            keep=self._work.spec.client_keep,
            steps=steps,
            early=task.early if task is not None else (),
            schemes=self._schemes if task is not None else {},
            stay=stays,
            relay=offer if offer is not None and (offer.urls or offer.then == "wait") else None,
        )

    def _rollouts_of(self, steps: tuple[Step, ...], group: str) -> tuple[Key, ...]:
        """Give the rollouts that steps for clients of a group belong to."""
        keys = (self._breaker.key_of(step.component, step.to_version, group) for step in steps)
        return tuple(key for key in keys if key is not None)

    # --- from an answer to the journal --------------------------------------------------------------------------------

    def _take(self, job: Job[Task | Return], answer: Answer) -> None:
        answered = None
        if answer.batch and self._work.crews.outlives(self._work.spec.site_of(job.client.group)):
            answered = answer.batch, answer.attempt, answer.client
        if isinstance(job.about, Return):
            self._finish(job.about.over(answer), answered)
            return
        task = self._begun.pop(job.client.name, job.about)
        self._relays.learn(task, answer)
        if answer.halted:
            self._gate.left(task, answer.halted, self._work.means.clock())
        result = result_of(task, answer)
        steps = to_check(result, self._checks) if self._shared_of(task).change.stay else []
        if steps:
            self._flow.aside(troubles_of(result, steps, self._checks), partial(self._checked, result, answered))
        else:
            self._finish(result, answered)

    def _checked(self, result: Result, answered: Answered | None, troubles: object) -> None:
        """Go on with a client that was checked here."""
        if not troubles:
            self._finish(result, answered)
            return
        back = way_back(result, cast("dict[str, str]", troubles), self._releases)
        if back.steps:
            self._flow.first(Job(result.task.client, back, finishes=True))
        else:
            self._finish(back.over(_NOTHING_ASKED), answered)

    def _finish(self, result: Result, answered: Answered | None = None) -> None:
        """Count what became of a client, and have it written down."""
        outcome = self._tally.add(result)
        if outcome == "not_attempted":
            return
        if result.all_as_wanted:
            keys = self._rollouts(result.task.steps, result.task.client.group)
            fared = self._breaker.well(keys, result.task.client.name)
        else:
            fared = _fared(result, self._breaker)
        self._collector.add(result, outcome, answered, fared)
        if self._breaker.must_trip:  # a halt is written down after its reason
            self._collector.settle(now=True)
            self._breaker.trip()


def _content(inspection: Inspection) -> set[str]:
    """Give the digests of all that the store holds and a client may be sent."""
    files = {file.sha256 for release in inspection.releases for file in release.files}
    return files | {patch.sha256 for entry in inspection.incrementals for patch in entry.patches}


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
    """Give what renders the settings of a client; templates and secrets are read now.

    Raises:
        SpecError, SecretError: a template, or a secret that it reads, is no good.
    """
    book = Book(work.spec, work.state.settings_key(), work.means.secret)
    for group in dict.fromkeys(change.group for change in plan.settings):
        book.sheets(group)
    return partial(prepare, book)


def _fared(result: Result, breaker: Breaker) -> tuple[Fared, ...]:
    """Tell the rollouts how a client fared with each component; one that can't be reached didn't fail.

    Gives what is to be remembered of that.
    """
    found = []
    client, steps = result.task.client, result.steps
    answered = {outcome.component for outcome in result.outcomes}
    for outcome in result.outcomes:
        step = steps[outcome.component]
        key = breaker.key_of(step.component, step.to_version, client.group)
        if outcome.status in _BAD:
            found.append(breaker.take(key, client.name, outcome.message or outcome.status, outcome.fault))
        elif outcome.status in WELL:
            found.append(breaker.take(key, client.name, ""))
    if isinstance(result.error, ClientError):  # of the machine: it refused all of it
        for step in steps.values():
            if step.component not in answered:
                key = breaker.key_of(step.component, step.to_version, client.group)
                found.append(breaker.take(key, client.name, result.error.brief, MACHINE))
    return tuple(fared for fared in found if fared is not None)
