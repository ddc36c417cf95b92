"""What became of a client's task, by the answer of who worked on it: outcomes, words for them, what it has now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from reconciler.model.batch import StepDone
from reconciler.model.client import Installed, made_ready, switched
from reconciler.model.deploy import MISSED, WELL
from reconciler.model.settings import is_setting

if TYPE_CHECKING:
    from collections.abc import Collection

    from reconciler.errors import UpdoserError
    from reconciler.execute.deploy import Task
    from reconciler.model.batch import Answer
    from reconciler.model.client import Profile
    from reconciler.model.deploy import Outcome, OutcomeStatus, Step
    from reconciler.model.plan import Basis
    from reconciler.model.report import ClientOutcome

_TOLD: frozenset[OutcomeStatus] = frozenset(["failed", "stale"])


@dataclass(frozen=True)
class Result:
    """What became of a task: the steps that were answered, and the error that ended the rest."""

    task: Task
    done: tuple[StepDone, ...] = ()
    bytes_sent: int = 0
    error: UpdoserError | None = None

    @cached_property
    def steps(self) -> dict[str, Step]:
        """All steps of the task, by component."""
        return self.task.all_steps

    @cached_property
    def outcomes(self) -> tuple[Outcome, ...]:
        """The outcomes of the steps that were answered."""
        return tuple(done.outcome for done in self.done)

    @cached_property
    def all_as_wanted(self) -> bool:
        """Whether the client has just what it was to get: all who had the same before have the same now."""
        steps = self.task.steps
        return (
            self.error is None
            and len(self.done) == len(steps)
            and not self.task.prepared.steps
            and all(map(_is_as_wanted, self.outcomes, steps))
        )

    @property
    def fallbacks(self) -> frozenset[str]:
        """The components of which the client got the full because an incremental failed there."""
        return frozenset(done.outcome.component for done in self.done if done.fell_back)


def result_of(task: Task, answer: Answer) -> Result:
    """Give what became of a task; components that were halted aren't of it any more.

    Secrets of its settings are taken out of what the client says, and files that can't be rendered failed.
    """
    if answer.halted:
        task = without(task, answer.halted)
    prepared, done = task.prepared, answer.steps
    if prepared.hidden:
        masked = prepared.masked(entry.outcome for entry in done)
        done = tuple(replace(entry, outcome=outcome) for entry, outcome in zip(done, masked, strict=True))
    return Result(task, (*done, *unrendered(task)), answer.bytes_sent, answer.error)


def without(task: Task, components: Collection[str]) -> Task:
    """Leave components out of a task."""
    prepared = replace(
        task.prepared, steps=tuple(step for step in task.prepared.steps if step.component not in components)
    )
    steps, early = (
        tuple(step for step in part if step.component not in components) for part in (task.steps, task.early)
    )
    return replace(task, steps=steps, early=early, prepared=prepared)


def unrendered(task: Task) -> tuple[StepDone, ...]:
    """Give what became of settings that can't be rendered."""
    return tuple(StepDone(outcome=outcome, from_version=step.from_version) for step, outcome in task.prepared.bad)


def profile_after(result: Result, basis: Basis, keep: int = 2) -> Profile | None:
    """Give what a client has after a task, from its answers; None when nothing was known of it before.

    `keep` is how many versions stay on a client.
    """
    before = result.task.profile
    if before is None:
        return None
    installed = dict(before.by_component)
    steps = result.steps
    for outcome in result.outcomes:
        if is_setting(outcome.component):
            continue
        step = steps[outcome.component]
        known = installed.get(step.component)
        if outcome.status == "staged" and known is not None:
            installed[step.component] = made_ready(known, step.to_version, step.to_digest)
        elif outcome.status in WELL:
            layout = step.layout.fingerprint
            has = switched(known, step.component, step.to_version, step.to_digest, layout=layout, keep=keep)
            if outcome.loaded or outcome.unsaid:
                has = replace(has, loaded=outcome.loaded, unsaid=outcome.unsaid)
            installed[step.component] = has
        elif outcome.status in MISSED and outcome.version:
            installed[step.component] = Installed(step.component, outcome.version, outcome.digest)
        elif outcome.status == "failed" and known is not None and outcome.version == known.version:
            installed[step.component] = replace(known, digest=outcome.digest or known.digest)
    changed = tuple(sorted(installed.values()))
    return replace(before, installed=changed, lineage=basis.lineage, epoch=basis.epoch)


def _is_as_wanted(outcome: Outcome, step: Step) -> bool:
    return outcome.status in WELL and outcome.component == step.component and not (outcome.loaded or outcome.unsaid)


def words(result: Result, outcome: ClientOutcome) -> str:
    """Say in a line what became of a client."""
    if result.all_as_wanted:
        return outcome.replace("_", " ")
    told = [entry for entry in result.outcomes if entry.status in _TOLD and entry.message]
    failures = [f"{entry.component}: {entry.message}" for entry in told]
    if result.error is not None:
        failures.append(result.error.brief)
    return f"{outcome.replace('_', ' ')}{': ' if failures else ''}{'; '.join(failures)}"
