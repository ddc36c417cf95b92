"""Tasks carried out as a run does it, one client at a time and in this thread."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.execute.results import Result, result_of
from reconciler.model.batch import Batch, Change, Order, StepDone, Target
from reconciler.worker.answering import Answerer, Turn
from reconciler.worker.fetching import Fetching
from reconciler.worker.halts import Halts
from reconciler.worker.lending import Lending
from tests.fakes import NOW

if TYPE_CHECKING:
    from collections.abc import Collection

    from reconciler.client.reach import Reach
    from reconciler.execute.deploy import Task
    from reconciler.execute.settings import Prepared
    from reconciler.model.batch import Halt
    from reconciler.model.deploy import Outcome
    from reconciler.model.plan import Basis


class Deployer:
    """Does what a batch of one client asks, and remembers how incrementals fare."""

    def __init__(self, spec: Any, basis: Basis, reach: Reach, store: Any, *, halted: Collection[Halt] = ()) -> None:
        self._spec = spec
        self._basis = basis
        halts = Halts(lambda: NOW, lambda: False)
        halts.add(halted)
        content = store.open if store is not None else None
        self._answerer = Answerer(reach, content, lambda: NOW, halts, Fetching(), Lending(1))  # type: ignore[arg-type]

    def __call__(self, task: Task, prepared: Prepared | None = None) -> Result:
        task = replace(task, prepared=prepared) if prepared is not None else task
        change = Change(
            lineage=self._basis.lineage,
            epoch=self._basis.epoch,
            keep=self._spec.client_keep,
            steps=task.steps,
            early=task.early,
            schemes={name: wanted.component.scheme.name for name, wanted in self._spec.components.items()},
        )
        target = Target(client=task.client, steps=task.prepared.steps)
        batch = Batch(id="1", run_id="run", group=task.client.group, task=change, targets=(target,))
        answer = self._answerer.answer(Turn(Order(batch, task.prepared.content), target))
        assert answer is not None
        return result_of(task, answer)


def result_with(task: Task, *outcomes: Outcome, bytes_sent: int = 0, error: Any = None) -> Result:
    """Give a result of a task whose steps went as planned."""
    steps = task.all_steps
    done = (StepDone(outcome=outcome, from_version=steps[outcome.component].from_version) for outcome in outcomes)
    return Result(task, tuple(done), bytes_sent, error)
