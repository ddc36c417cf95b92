"""The commands of people who steer rollouts: list, approve, pause, resume, abort."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.assembly import at_work
from reconciler.observe.observed import Sight, observe
from reconciler.planning import PlanOptions, plan_of
from reconciler.present.document import rollouts_document
from reconciler.present.views import ROLLOUTS
from reconciler.steering import said_of_run, steer

if TYPE_CHECKING:
    from reconciler.desk import Desk
    from reconciler.steering import Which


def show(desk: Desk, *, every: bool) -> int:
    """List the rollouts that are under way or halted, or all that are remembered."""
    with at_work(desk, reads=True) as work:
        plan = plan_of(work, PlanOptions(Sight(refresh=False)), observe(work, Sight(refresh=False, settings=False)))
        steps = [step for step in plan.rollouts if step.before]
        over = [
            record
            for record in work.state.rollouts().values()
            if every and record.key not in {step.record.key for step in steps}
        ]
    desk.terminal.show(rollouts_document(steps, over), desk.form, ROLLOUTS)
    return 0


def approve(desk: Desk, which: Which) -> int:
    """Let the next wave of a rollout open; where nothing waits for that, nothing is written."""
    with at_work(desk) as work:
        (done,) = steer(work, "approve", which)
    rest = "; the next apply goes on" if done.told else ": nothing was done"
    desk.terminal.note(f"{done.before.name}: {done.says}{rest}")
    return 0


def pause(desk: Desk, which: Which) -> int:
    """Keep a rollout where it is."""
    with at_work(desk) as work:
        (done,) = steer(work, "pause", which)
        running = said_of_run(work)
    desk.terminal.note(f"{done.record.name} {done.says}{running}")
    return 0


def resume(desk: Desk, which: Which) -> int:
    """Let a rollout go on that was paused, halted or aborted, or (no component) all that are halted.

    The gate of its wave starts anew.
    """
    with at_work(desk) as work:
        resumed = steer(work, "resume", which)
    for done in resumed:
        desk.terminal.note(f"{done.record.name} {done.says}")
    return 0


def abort(desk: Desk, which: Which, *, undo: bool) -> int:
    """End a rollout: its version goes to nobody any more; with `undo`, what has it goes back."""
    with at_work(desk) as work:
        (done,) = steer(work, "abort", which, undo=undo)
        running = said_of_run(work)
    back = "; the next apply takes it back" if undo and not running else "; it takes it back then" if undo else ""
    desk.terminal.note(f"{done.record.name} {done.says}{running}{back}")
    return 0
