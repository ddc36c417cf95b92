"""Tells people in the midst of a round what can't wait for its end: that may be hours away.

A thread with a workspace of its own looks at what the state knows by itself: halts of the rollouts that the round goes
on with, and who came into quarantine. Of all else nothing is known before the end, and it stays as it was. The thread
sends what waits to be sent, too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.controller.beside import beside
from reconciler.planner.conditions import urgent_conditions

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from reconciler.controller.beside import Deed, Opened
    from reconciler.model.notice import Condition
    from reconciler.model.plan import RolloutStep
    from reconciler.workspace import Workspace

BEAT = 20.0
"""Seconds between two looks."""


def urgent(work: Workspace, steps: tuple[RolloutStep, ...]) -> tuple[Condition, ...]:
    """Give the conditions that need no look at the fleet; `steps` are the rollouts of the round as it began.

    Raises:
        StateError: the state can't be read.
    """
    known = work.state.rollouts()
    now = (replace(step, record=known.get(step.record.key, step.record)) for step in steps)
    return urgent_conditions(now, len(work.state.quarantined(work.means.clock(), work.spec.quarantine.span)))


def telling(tell: Deed, opened: Opened, beat: float | None = None) -> AbstractContextManager[None]:
    """Have `tell` called every now and then within a block, with a workspace and the event of its end."""
    return beside(tell, opened, beat or BEAT, "telling")
