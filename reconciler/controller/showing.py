"""Shows the fleet anew while a round changes clients: that may take hours, and nobody wants to see its beginning.

A thread with a workspace of its own counts what the state remembers, as `updoser status` may at any time: nobody is
asked, and no settings are rendered. It then rests for much longer than that took, as the run comes first. The plan that
is shown stays the one that is carried out.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from reconciler.controller.beside import beside
from reconciler.observe.observed import Sight, observe
from reconciler.planning import PlanOptions, plan_of, status_from

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from threading import Event

    from reconciler.controller.beside import Deed, Opened
    from reconciler.model.report import Status
    from reconciler.planner.inputs import Observed
    from reconciler.workspace import Workspace

EVERY = 300.0
"""Seconds between two looks, at least."""
REST = 20
"""How many times as long as a look takes it is waited for the next one."""


def look_meanwhile(work: Workspace) -> tuple[Status, Observed]:
    """See how far the fleet is in the midst of a run.

    Raises:
        UpdoserError: store or state can't be read.
    """
    sight = Sight(refresh=False, settings=False)
    observed = observe(work, sight)
    return status_from(work, observed, plan_of(work, PlanOptions(sight), observed)), observed


def showing(show: Deed, opened: Opened, every: float | None = None) -> AbstractContextManager[None]:
    """Have `show` called every now and then within a block, with a workspace and the event of its end."""
    return beside(resting(show), opened, every or EVERY, "showing")


def resting(show: Deed, watch: Callable[[], float] = monotonic) -> Deed:
    """Give a deed that rests after it was done."""

    def deed(work: Workspace, ended: Event) -> None:
        began = watch()
        show(work, ended)
        ended.wait(REST * (watch() - began))

    return deed
