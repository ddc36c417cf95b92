"""What a report means: fine, or the error that the command ends with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import (
    ClientsFailedError,
    ClientsUnreachableError,
    InterruptedRunError,
    OutcomeError,
    UpdoserError,
)
from reconciler.model.report import RECAP
from reconciler.model.share import exact
from reconciler.present.words import count_text

if TYPE_CHECKING:
    from reconciler.model.report import ClientOutcome, Report


def verdict_error(report: Report, *, max_unreachable: float) -> UpdoserError | None:
    """Give the error that a run ends with; None when all went well.

    `max_unreachable` is the share (0 to 1) of clients that may be unreachable; it must be exceeded. When several things
    hold, an interruption counts before failed clients, those before unreachable ones, and those before what failed
    here.
    """
    failed, unreachable = report.total("failed"), report.total("unreachable")
    clients = sum(report.total(outcome) for outcome in RECAP)
    halted = [step.record for step in report.rollouts if step.record.status == "halted"]
    stuck = [step.record for step in report.rollouts if step.stuck]
    stalled = ", ".join(step.record.name for step in report.rollouts if step.record.status == "stalled")
    ours = [failure.component for failure in report.failed if not failure.client]
    if report.interrupted:
        return InterruptedRunError("interrupted", hint="apply again: it goes on from here")
    if halted:
        names = ", ".join(f"{record.component} {record.version}" for record in halted)
        return ClientsFailedError(
            f"halted: {names}", hint="the report above says why, and so does `updoser rollout list`"
        )
    if stalled:
        return ClientsFailedError(
            f"stalled: {stalled}",
            hint="it goes on by itself when the clients are fine that `updoser rollout list` names",
        )
    if failed:
        return ClientsFailedError(
            f"{count_text(failed, 'client')} failed",
            hint="`updoser clients --where state=failed` lists them; `--limit @failed` tries only those again",
        )
    if unreachable > exact(max_unreachable) * clients:
        return ClientsUnreachableError(
            f"{count_text(unreachable, 'client')} unreachable",
            hint="`updoser clients --where state=unreachable` lists them; `--limit @failed` tries only those again",
        )
    if stuck:
        names = ", ".join(record.name for record in stuck)
        return ClientsFailedError(
            f"stuck: {names}", hint="the report above says why, and so does `updoser rollout list`"
        )
    if ours:
        return OutcomeError(f"{count_text(len(ours), 'change')} on the server failed: {', '.join(sorted(set(ours)))}")
    return None


def is_complete(report: Report) -> bool:
    """Say whether nothing of the plan is left to do."""
    return not report.interrupted and not report.failed and not any(report.total(outcome) for outcome in _LEFT)


_LEFT: tuple[ClientOutcome, ...] = ("failed", "unreachable", "not_attempted", "stale")
