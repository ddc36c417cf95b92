"""Who may still begin when its turn has come: what was planned, against what holds by now."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from reconciler.model.change import Deploy, Settings
from reconciler.model.events import Trouble
from reconciler.model.report import JournalEntry
from reconciler.model.settings import is_setting
from reconciler.present.words import count_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from reconciler.execute.deploy import Task
    from reconciler.execute.rollouts import Breaker
    from reconciler.execute.tally import Tally
    from reconciler.model.batch import Halt
    from reconciler.model.client import Client
    from reconciler.model.deploy import Step
    from reconciler.model.events import Emit
    from reconciler.model.plan import Plan
    from reconciler.model.rollout import Key

_REMEMBERED = 1000
"""Cohorts whose bounds are kept because the next clients are likely to be of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Between which times all changes of a cohort may be made, and of which rollouts they may be."""

    begins: datetime | None
    ends: datetime | None
    rollouts: frozenset[Key]


class Turns(Protocol):
    """What is asked at the turn of each client; `planning.Turns` has what was planned, and what holds by now."""

    def look(self) -> None:
        """See what changed meanwhile. Called from the thread that uses the state, for each client, and between them.

        Raises:
            StateError: the state can't be read.
        """

    def turned_away(self, client: Client, change: Deploy | Settings) -> str:
        """Say why a client must not begin with a change any more; empty where it may."""

    def lets_all(self, bounds: Bounds) -> bool:
        """Say that no client whatever is turned away now from changes within these bounds."""

    def stopped(self) -> Collection[Key]:
        """Give the rollouts that people stopped, as of the last look."""


class Gate:
    """Lets clients begin, one by one. Changes that people hold back are counted and told at the end."""

    def __init__(
        self, plan: Plan, breaker: Breaker, turns: Turns | None, *, tally: Tally, note: Callable[[JournalEntry], None]
    ) -> None:
        """Take what is asked; `note` writes down who is held."""
        self._breaker = breaker
        self._turns = turns
        self._tally = tally
        self._note = note
        self._wanted = {(deploy.component, deploy.to) for deploy in plan.deploys}
        self._bounds: dict[int, tuple[Bounds, Task]] = {}
        self._counted = -1, -1
        self._known: frozenset[Key] | None = None
        self._held: Counter[tuple[str, str]] = Counter()

    def look(self) -> frozenset[Halt]:
        """See what changed meanwhile; gives rollouts that go no further since the last call.

        Of those that didn't go on when the first client's turn came nobody is given anything.
        """
        if self._turns is not None:
            self._turns.look()
        stopped = self._turns.stopped() if self._turns is not None else ()
        counted = len(self._breaker.halted), len(stopped)
        if counted == self._counted:
            return frozenset()
        self._counted = counted
        now = frozenset(key for key in (*self._breaker.halted, *stopped) if key[:2] in self._wanted)
        known, self._known = self._known, now | (self._known or frozenset())
        return frozenset() if known is None else now - known

    def turn(self, task: Task, now: datetime) -> Task:
        """Give what of a task may still be done."""
        bounds = self._bounds_of(task)
        free = self._turns is None or self._turns.lets_all(bounds)
        if free and self._breaker.halted.isdisjoint(bounds.rollouts):
            return task
        set_up = task.settings is None or self._may_set(task, now)
        steps = tuple(step for step in task.steps if self._may(task, step, now))
        early = tuple(step for step in task.early if self._may(task, step, now))
        if len(steps) == len(task.steps) and len(early) == len(task.early) and set_up:
            return task
        return replace(task, steps=steps, early=early, settings=task.settings if set_up else None)

    def left(self, task: Task, components: Collection[str], now: datetime) -> None:
        """Take note of components that a worker left because their rollouts were halted: what people hold is told."""
        for step in (*task.steps, *task.early):
            if step.component in components and not is_setting(step.component):
                self._may(task, step, now)

    def until(self, task: Task) -> datetime | None:
        """Give when what is left of a task may not be begun any more."""
        if self._turns is None:  # nobody says so here either
            return None
        left = {step.component for step in (*task.steps, *task.early)}
        ends = [
            change.not_after
            for change in task.changes
            if change.not_after is not None
            and (change.component in left if isinstance(change, Deploy) else task.settings is not None)
        ]
        return min(ends, default=None)

    def _bounds_of(self, task: Task) -> Bounds:
        """Give what could keep any client of a task's cohort from beginning."""
        known = self._bounds.get(id(task.changes))
        if known is None:
            deploys = [change for change in task.changes if isinstance(change, Deploy)]
            ends = [change.not_after for change in task.changes if change.not_after is not None]
            begins = [change.not_before for change in deploys if change.not_before is not None]
            bounds = Bounds(
                begins=max(begins, default=None),
                ends=min(ends, default=None),
                rollouts=frozenset((one.component, one.to, group) for one in deploys for group in ("", one.group)),
            )
            if len(self._bounds) >= _REMEMBERED:
                self._bounds.clear()
            known = self._bounds[id(task.changes)] = (bounds, task)  # the task holds the changes
        return known[0]

    def _may(self, task: Task, step: Step, now: datetime) -> bool:
        key = self._breaker.key_of(step.component, step.to_version, task.client.group)
        if key is not None and key in self._breaker.halted:
            return False
        if self._turns is None:
            return True
        mine = (change for change in task.changes if isinstance(change, Deploy) and change.component == step.component)
        return self._ask(task.client, step, next(mine, None), now)

    def _may_set(self, task: Task, now: datetime) -> bool:
        change = next((one for one in task.changes if isinstance(one, Settings)), None)
        return self._ask(task.client, None, change, now)

    def _ask(self, client: Client, step: Step | None, change: Deploy | Settings | None, now: datetime) -> bool:
        if self._turns is None or change is None:
            return True
        why = self._turns.turned_away(client, change)
        if why:
            self._hold(client, step, why, now)
        return not why

    def _hold(self, client: Client, step: Step | None, why: str, now: datetime) -> None:
        """Count a client that was turned away, and write it down."""
        component, before, to = (step.component, step.from_version, step.to_version) if step else ("", "", "")
        self._tally.held(client.name, client.group, component, to, why)
        self._held[f"{component} {to}" if step else "settings", why] += 1
        self._note(
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

    def tell(self, emit: Emit) -> None:
        """Say how many clients were held, and why."""
        for (what, why), clients in sorted(self._held.items()):
            emit(Trouble(f"{what}: {count_text(clients, 'client')} held: {why}"))
        self._held.clear()
