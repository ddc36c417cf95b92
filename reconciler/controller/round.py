"""One round of a controller: look, decide as every plan is decided, and carry out what its mode allows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.execute.engine import run_plan
from reconciler.model.events import SourceRead, Trouble
from reconciler.observe.observed import Sight
from reconciler.planning import Following, PlanOptions, Turns, cut_moments, look_and_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime
    from pathlib import Path

    from reconciler.model.controller import ControllerMode
    from reconciler.model.events import Event
    from reconciler.model.plan import Plan
    from reconciler.model.report import Report
    from reconciler.model.spec import Hold
    from reconciler.planner.inputs import Observed
    from reconciler.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Round:
    """What came of a round: the plan that was made, what was carried out of it, and when the next step is due.

    `observed` is what the plan was made from. `waits` says what is due and isn't done, because the mode or a person
    doesn't let it; empty where nothing is.
    """

    plan: Plan
    observed: Observed
    report: Report | None
    due: datetime | None
    waits: str = ""


def go_round(
    work: Workspace,
    file: Path,
    read_holds: Callable[[], Iterable[Hold]],
    *,
    forks: int,
    changing: Callable[[Round], None],
) -> Round:
    """Look at what is to be looked at again, and carry out what is due.

    `changing` is called before that begins, with what is known by then.

    Raises:
        UpdoserError: what `observe` and `run_plan` raise; what concerns one client or component is in the report.
    """
    spec = work.spec.controller
    with work.state.lock("run"):
        cut_moments(work)
        options = PlanOptions(Sight(after=spec.look, forks=forks, keep=True))
        made, observed = look_and_plan(work, options)
        pause = work.state.paused()
        mode: ControllerMode = "observe" if pause else spec.mode
        chosen = allowed(made, mode)
        waits = "" if chosen == made or not made.due else _why(mode, f"{pause.who}: {pause.reason}" if pause else "")
        found = Round(made, observed, None, made.next_step_at, waits=waits)
        if not chosen.due or work.means.stop.is_set():
            return found
        changing(found)
        work.state.record_plan(chosen.plan_id, "", chosen.basis.serial, chosen.created)
        turns = Turns(work, file, read_holds, heeds_pause=True)
        steps = Following(chosen, work, options)

        def following() -> Plan | None:
            return None if work.state.paused() else steps()

        report = run_plan(chosen, work, forks=forks, following=following, turns=turns)
        return Round(made, observed, report, report.next_step_at or made.next_step_at, waits=waits)


def allowed(plan: Plan, mode: ControllerMode) -> Plan:
    """Give the part of a plan that a mode lets a controller carry out.

    In `approve` these are the releases that are on their way already: an apply let them go out.
    """
    if mode == "apply":
        return plan
    under_way = {step.record.key[:2] for step in plan.rollouts if step.before} if mode == "approve" else set()
    return plan.only(under_way) if mode == "approve" else plan.nothing


def _why(mode: ControllerMode, paused: str) -> str:
    if paused:
        return f"changes are due, and wait: paused by {paused}"
    if mode == "observe":
        return "changes are due, and `controller.mode: observe` carries out none"
    return "changes are due that nobody let go out yet: `updoser apply` does, and the controller goes on with them"


class Sources:
    """What sources said when they were asked last: one that fails again as it did before is no news."""

    def __init__(self) -> None:
        """Know of no source."""
        self._failed: dict[str, str] = {}

    def heard(self, event: Event) -> Event:
        """Give an event as it is worth to be told."""
        if not isinstance(event, SourceRead):
            return event
        said = event.message if event.level != "info" else ""
        before, self._failed[event.source] = self._failed.get(event.source, ""), said
        return replace(event, level="info") if said and said == before else event


class Told:
    """Tells each problem once, when it comes, and that it is over when it goes."""

    def __init__(self) -> None:
        """Know of no problem."""
        self._known: frozenset[str] = frozenset()

    def tell(self, work: Workspace, problems: Iterable[str]) -> None:
        """Tell what is new in the problems of a round, and what is over."""
        now = frozenset(problems)
        for problem in sorted(now - self._known):
            work.means.emit(Trouble(problem))
        for problem in sorted(self._known - now):
            work.means.emit(Trouble(f"over: {problem}", level="info"))
        self._known = now
