"""What the console shows of the last plan: the plan as the commands show it, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.present.fields import time_text
from reconciler.present.html.plan_view import view_of_plan
from reconciler.present.html.shapes import Alert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.model.controller import ControllerStatus, RunProgress
    from reconciler.present.html.plan_view import PlanView

_COMMIT = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class LastPlanView:
    """A plan, and why it isn't carried out, or that it is; `spec` says what it was made from."""

    plan: PlanView
    becomes: Sequence[Alert]
    spec: Sequence[tuple[str, str]]
    may_resume: bool


def view_of_last_plan(document: Any, controller: ControllerStatus | None, progress: RunProgress | None) -> LastPlanView:
    """Give what a page shows of the last plan."""
    due = bool(document["changes"] or any(entry["new"] for entry in document["rollouts"]))
    report = controller.report if controller else None
    spec = [
        ("spec", f"{document['spec_digest'][:_COMMIT]}"),
        ("commit", (report.commit[:_COMMIT] if report else "")),
        ("signed by", report.signer if report else ""),
        ("plan", document["plan_id"]),
    ]
    return LastPlanView(
        plan=view_of_plan(document),
        becomes=[_becomes(document["created"], controller, progress, due=due)],
        spec=[(word, said) for word, said in spec if said],
        may_resume=controller is not None and controller.pause is not None,
    )


def _becomes(created: str, controller: ControllerStatus | None, progress: RunProgress | None, *, due: bool) -> Alert:
    """Say what becomes of a plan that was `created` at a time, and why."""
    if controller is None or not controller.alive:
        return Alert(
            tone="late",
            icon="warn",
            title="No controller runs: nobody carries this out",
            why=f"It was made at {created}, and may be out of date.",
            todo="Start one with `updoser run`, or carry it out with `updoser apply`.",
        )
    pause = controller.pause
    if pause is not None:
        ends = f"until {time_text(pause.until)}" if pause.until else "until somebody lets it go on"
        title = f"The controller is paused by {pause.who}: it changes nothing"
        return Alert(tone="late", icon="pause", title=title, why=f"{pause.reason}; {ends}")
    if progress is not None:
        return Alert(tone="ahead", icon="play", title="It is carried out now", why=progress.step)
    if not due:
        next_at = controller.report.next_at
        looks = f"The controller looks again at {time_text(next_at)}." if next_at else ""
        return Alert(tone="good", icon="check", title="There is nothing to do now", why=looks)
    if controller.report.mode == "observe":
        return Alert(
            tone="late",
            icon="ask",
            title="The controller only observes: it carries nothing out",
            todo="`updoser apply` does; or set `controller.mode` in the file.",
        )
    if controller.report.mode == "approve":
        return Alert(
            tone="late",
            icon="ask",
            title="Releases that nobody let go out yet wait for a person",
            todo="`updoser apply` lets them go out, and the controller goes on with them.",
        )
    if controller.report.trouble:
        return Alert(tone="bad", icon="alert", title="The last round failed", why=controller.report.trouble)
    return Alert(tone="ahead", icon="play", title="What is due is carried out in each round", why="")
