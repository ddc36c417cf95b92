"""Tells people in the midst of a round what can't wait for its end: that may be hours away.

A thread with a workspace of its own looks at what the state knows by itself: halts of the rollouts that the round goes
on with, and who came into quarantine. Of all else nothing is known before the end, and it stays as it was. The thread
sends what waits to be sent, too.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from threading import Event, Thread
from typing import TYPE_CHECKING

from reconciler.errors import InterruptedRunError, LeaseLostError, UpdoserError
from reconciler.planner.conditions import urgent_conditions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from reconciler.model.notice import Condition
    from reconciler.model.plan import RolloutStep
    from reconciler.workspace import Workspace

    Telling = Callable[[Workspace, Event], None]

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


@contextmanager
def telling(
    tell: Telling, opened: Callable[[], AbstractContextManager[Workspace]], beat: float | None = None
) -> Iterator[None]:
    """Have `tell` called every now and then within the block, with a workspace and the event of its end."""
    ended = Event()
    thread = Thread(target=_tell, args=(tell, opened, ended, beat or BEAT), name="telling", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _tell(tell: Telling, opened: Callable[[], AbstractContextManager[Workspace]], ended: Event, beat: float) -> None:
    """Tell until the end. What fails here is tried again, and fails at the end of the round, too, where it is said."""
    while not ended.wait(beat):
        try:
            with opened() as work:
                while not ended.is_set():
                    tell(work, ended)
                    ended.wait(beat)
        except (LeaseLostError, InterruptedRunError):
            return
        except UpdoserError:
            continue
