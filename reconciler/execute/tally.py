"""Adds a run's results up to its report: each client once, under the worst thing that happened to it.

A run may take several steps of a rollout, one after the other; what was attempted in one isn't tried again in the next.
What is remembered of a client is one mark, which all share that fared alike: a fleet has few of them.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from reconciler.errors import TransportError
from reconciler.execute.alike import Alike
from reconciler.model.deploy import MACHINE, SENT
from reconciler.model.outlook import WaveStep
from reconciler.model.report import RECAP, Failure, Held, Report, RunStep

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from datetime import datetime

    from reconciler.execute.results import Result
    from reconciler.model.change import Change
    from reconciler.model.deploy import Step
    from reconciler.model.plan import Plan
    from reconciler.model.report import ClientOutcome, RunPart
    from reconciler.reasons import Reason

_NOTHING: frozenset[tuple[str, str]] = frozenset()
_WORST: tuple[ClientOutcome, ...] = ("failed", "unreachable", "stale", "skipped", "changed", "ok")


class _Mark(NamedTuple):
    """What became of a client: its group, the worst outcome, and the components and versions that it was to get."""

    group: str
    outcome: ClientOutcome
    tried: frozenset[tuple[str, str]]


class _Wanted(NamedTuple):
    """What a client is to get: components with their versions, and what each of them weighs in full."""

    tried: frozenset[tuple[str, str]]
    sizes: Mapping[str, int]


def _wanted(*parts: tuple[Step, ...]) -> _Wanted:
    steps = [step for part in parts for step in part]
    sizes = {step.component: sum(file.size for file in step.files) for step in steps}
    return _Wanted(frozenset((step.component, step.to_version) for step in steps), sizes)


class Tally:
    """Counts results as they come."""

    def __init__(self, groups: Iterable[str]) -> None:
        """Start from zero in these groups."""
        self._recap: dict[str, dict[ClientOutcome, int]] = {group: dict.fromkeys(RECAP, 0) for group in groups}
        self._marks: dict[str, _Mark] = {}
        self._shared: dict[_Mark, _Mark] = {}
        self._clients: Counter[tuple[str, ClientOutcome]] = Counter()
        self._tried = 0
        self._changes: set[Change] = set()
        self._given_up: set[str] = set()
        self.step = 0
        """The number of the step of the run that was begun last; 0: none was."""
        self._failed: list[Failure] = []
        self._unreachable: list[Failure] = []
        self.failed_components: set[str] = set()
        self.failed_here: set[str] = set()
        """What failed of the store or the repository, by component; `repository` stands for the latter."""
        self._downloaded = 0
        self._received = 0
        self._sent = 0
        self._saved = 0
        self._not_received = 0
        self.steps: list[RunStep] = []
        """What the run did one after the other, with times."""
        self._made = Counter[str]()
        self._held: Counter[tuple[str, str, str, str]] = Counter()
        self._with_clients: list[WaveStep] = []
        self._changed_now = 0
        self._wanted = Alike(_wanted)

    def end_step(self, plan: Plan, sent_before: int) -> None:
        """Remember what a step did in which clients were to change; `sent_before` is what was `sent` before it."""
        if plan.for_clients:
            self._with_clients.append(
                WaveStep(
                    step=len(self._with_clients) + 1,
                    clients=self._changed_now,
                    bytes=self._sent - sent_before,
                    rollouts=plan.waves_open,
                )
            )
        self._changed_now = 0

    @property
    def sent(self) -> int:
        """The bytes that were sent to clients so far."""
        return self._sent

    @contextmanager
    def timed(self, step: RunPart, clock: Callable[[], datetime], changes: Collection[object]) -> Iterator[None]:
        """Note when the block began and how long it took, if it has changes to carry out."""
        started = clock()
        try:
            yield
        finally:
            if changes:
                self.steps.append(RunStep(step, started, max((clock() - started).total_seconds(), 0.0)))

    def count(self, group: str, outcome: ClientOutcome, clients: int) -> None:
        """Count clients of a group, with which nothing was done, under one outcome of RECAP."""
        self._recap.setdefault(group, dict.fromkeys(RECAP, 0))[outcome] += clients

    def is_new(self, change: Change) -> bool:
        """Say whether a change of the store wasn't attempted in this run; it is from then on."""
        known = change in self._changes
        self._changes.add(change)
        return not known

    def give_up(self, digest: str) -> None:
        """Remember that a release can't go to anybody in this run: the store lacks it, or a check here says no."""
        self._given_up.add(digest)

    def gave_up(self, digest: str) -> bool:
        """Say whether a release can't go to anybody in this run."""
        return digest in self._given_up

    @property
    def progress(self) -> int:
        """How much was tried in this run so far; it only grows."""
        return self._tried + len(self._changes)

    def was_tried(self, client: str, component: str, version: str) -> bool:
        """Say whether a client was to get a version in this run already."""
        mark = self._marks.get(client)
        return mark is not None and (component, version) in mark.tried

    def counted(self, client: str) -> bool:
        """Say whether something was done with a client, or tried."""
        return client in self._marks

    @property
    def by_group(self) -> Counter[str]:
        """How many clients something was done with, by group."""
        counts: Counter[str] = Counter()
        for (group, _outcome), clients in self._clients.items():
            counts[group] += clients
        return counts

    def _set(
        self, client: str, group: str, outcome: ClientOutcome, tried: frozenset[tuple[str, str]] = _NOTHING
    ) -> None:
        """Count a client under an outcome, unless something worse happened to it before, and what it was to get."""
        known = self._marks.get(client)
        if known is None:
            mark = _Mark(group, outcome, tried)
            self._tried += len(tried)
        else:
            mark = _Mark(known.group, min(known.outcome, outcome, key=_WORST.index), known.tried | tried)
            self._tried += len(mark.tried) - len(known.tried)
            self._clients[known.group, known.outcome] -= 1
        self._clients[mark.group, mark.outcome] += 1
        self._marks[client] = self._shared.setdefault(mark, mark)

    def downloaded(self, received: int) -> None:
        """Count a download."""
        self._downloaded += 1
        self._received += received

    def fetched(self, received: int) -> None:
        """Count a release that a source fetched for the next plan."""
        self._made["fetched"] += 1
        self._received += received

    def merged(self, saved: int) -> None:
        """Count a merge, and by how many bytes its incrementals are smaller than the full."""
        self._made["merged"] += 1
        self._not_received += max(saved, 0)

    def generated(self) -> None:
        """Count an incremental that was made."""
        self._made["generated"] += 1

    def pruned(self) -> None:
        """Count something that the store let go of."""
        self._made["pruned"] += 1

    def published(self) -> None:
        """Count a change of the repository for other sites."""
        self._made["published"] += 1

    def fell_back(self) -> None:
        """Count a full that was needed because an incremental failed, in the store or on a client."""
        self._made["fallbacks"] += 1

    def server_failed(self, component: str, message: str) -> None:
        """Count a change of the store, or of the repository for other sites, that failed."""
        self.failed_here.add(component)
        self._failed.append(Failure("", "", component, message, reason="server"))

    def held(self, client: str, group: str, component: str, version: str, reason: str) -> None:
        """Count a client that was turned away from a change (of settings: no component) when its turn had come."""
        self._held[group, component, version, reason] += 1
        self._set(client, group, "skipped", frozenset([(component, version)]))

    def unreachable(self, client: str, group: str, message: str, reason: Reason) -> None:
        """Count a client that didn't answer when it was looked at."""
        if self.counted(client):
            return
        self._set(client, group, "unreachable")
        self._unreachable.append(_lost(client, group, message, reason))

    def failed(self, client: str, group: str, message: str, reason: Reason) -> None:
        """Count a client that answered, and wrongly."""
        if self.counted(client):
            return
        self._set(client, group, "failed")
        self._failed.append(_lost(client, group, message, reason))

    def add(self, result: Result) -> ClientOutcome:
        """Count what became of one client; give the outcome that it is counted under."""
        client = result.task.client
        self._sent += result.bytes_sent
        steps = result.steps
        if not steps and result.error is None:
            return "not_attempted"
        tried, sizes = self._wanted_of(result)
        fulls, sent, fell_back, fallbacks = 0, False, 0, result.fallbacks
        for outcome in result.outcomes:
            if outcome.status == "failed":
                self.failed_components.add(outcome.component)
                self._failed.append(
                    Failure(
                        client=client.name,
                        group=client.group,
                        component=outcome.component,
                        message=outcome.message,
                        fault=outcome.fault,
                        reason=outcome.reason,
                    )
                )
            elif outcome.status in SENT:
                sent = True
                fulls += sizes[outcome.component]
                fell_back += outcome.component in fallbacks
        self._made["fallbacks"] += fell_back
        self._changed_now += sent
        self._saved += max(0, fulls - result.bytes_sent)
        statuses: set[str] = {
            "changed" if outcome.status == "staged" else outcome.status for outcome in result.outcomes
        }
        if result.error is not None:
            lost = isinstance(result.error, TransportError)
            if not lost:
                self.failed_components |= set(steps)
            (self._unreachable if lost else self._failed).append(
                _lost(client.name, client.group, result.error.brief, result.error.reason)
            )
            statuses.add("unreachable" if lost else "failed")
        worst = next((outcome for outcome in _WORST if outcome in statuses), _WORST[0])
        self._set(client.name, client.group, worst, tried)
        return worst

    def _wanted_of(self, result: Result) -> _Wanted:
        """Give what a client was to get; settings are each client's own."""
        task = result.task
        if task.prepared.steps or task.prepared.bad:
            return _wanted(tuple(result.steps.values()))
        return self._wanted(task.steps, task.early)

    def report(self, run_id: str, plan: Plan, started: datetime, ended: datetime, *, interrupted: bool) -> Report:
        """Give the report of the run; `plan` is the first of its steps."""
        recap = {group: dict(counts) for group, counts in self._recap.items()}
        for (group, outcome), clients in self._clients.items():
            recap.setdefault(group, dict.fromkeys(RECAP, 0))[outcome] += clients
        return Report(
            run_id=run_id,
            plan_id=plan.plan_id,
            started=started,
            ended=ended,
            recap={group: counts for group, counts in recap.items() if any(counts.values())},
            downloaded=self._downloaded,
            failed=tuple(self._failed),
            unreachable=tuple(self._unreachable),
            bytes_received=self._received,
            bytes_sent=self._sent,
            bytes_saved=self._saved,
            bytes_not_received=self._not_received,
            fetched=self._made["fetched"],
            merged=self._made["merged"],
            generated=self._made["generated"],
            pruned=self._made["pruned"],
            published=self._made["published"],
            fallbacks=self._made["fallbacks"],
            interrupted=interrupted,
            steps=tuple(self._with_clients),
            held=tuple(Held(*what, clients) for what, clients in sorted(self._held.items())),
        )


def _lost(client: str, group: str, message: str, reason: Reason) -> Failure:
    """Give what became of a client as a whole, which says nothing about a release."""
    return Failure(client=client, group=group, component="", message=message, fault=MACHINE, reason=reason)
