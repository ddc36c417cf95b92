"""Rollouts in plan documents, statuses and reports: hostile until checked, like all of a plan.

What a rollout says goes into the state and drives later plans, so it must be whole: its waves are as many as its
cut-points and sizes, and the open one is among them. Proofs and the waves of deploy changes belong to a rollout of the
plan.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from reconciler.errors import DocumentError
from reconciler.model.plan import RolloutStep, WaveCounts
from reconciler.model.rollout import Approval, Cut, RolloutRecord
from reconciler.present import fields
from reconciler.present.forms import As, Form, Way

if TYPE_CHECKING:
    from reconciler.model.plan import Plan

_LAST_POSITION = 2**32 - 1
_STANDING = (
    *("component", "version", "group", "status", "wave", "waves", "says", "reason", "stuck", "awaits_approval"),
    *("counts", "next_at", "started"),
)
_SHOWN = ("sizes", "selects", "opened", "passed", "catches_up", "undo", "max_failed", "max_fail_percentage", "approved")
"""What statuses and reports have of a rollout."""
_ORDER = (
    *(*_STANDING, "opened", "passed", "cleared", "first", "catches_up", "had", "undo", "at_once"),
    *("max_failed", "max_fail_percentage", "step_undo", "before", "new", "structure", "cuts", "sizes", "approved"),
)


def _check_record(record: RolloutRecord) -> None:
    if record.wave > len(record.cuts):
        raise ValueError("wave is out of bounds")
    if len(record.sizes) != len(record.cuts):
        raise ValueError("a rollout has other waves than it counts")


def _check_counts(counts: WaveCounts) -> None:
    if counts.planned != counts.passed + counts.failed + counts.pending + counts.unreachable + counts.hindered:
        raise ValueError("the counts of a rollout don't add up")


def _numbers(value: Any, key: str) -> tuple[tuple[str, int], ...]:
    counts = fields.typed(value, key, dict)
    return tuple(sorted((str(name), fields.number(count, name)) for name, count in counts.items()))


def _percentage(value: Any, key: str) -> float | None:
    return None if value is None else fields.percentage(value, key)


_RECORD = Form(
    RolloutRecord,
    check=_check_record,
    group=As(null=True),
    cuts=As(
        of=Form(
            Cut,
            select=As(null=True),
            upto=As(way=Way(partial(fields.number, least=-1, most=_LAST_POSITION))),
            instead=As(later=True),
        )
    ),
    started=As(exact=True),
    opened=As(exact=True),
    passed=As(exact=True),
    reason=As(null=True),
    undo=As(null=True),
    approved=As(of=Form(Approval, at=As(exact=True))),
    catches_up=As(later=True),
    had=As(later=True, way=Way(_numbers, dict)),
)
_STEP = Form(
    RolloutStep,
    record=As(of=_RECORD, inline=True),
    counts=As(of=Form(WaveCounts, check=_check_counts, hindered=As(later=True), unknown=As(later=True))),
    max_fail_percentage=As(way=Way(_percentage, lambda share: None if share is None else float(share))),
    undo=As("step_undo", null=True),
    before=As(null=True),
    stuck=As(later=True),
    awaits_approval=As(later=True),
)


def read_rollout(entry: Any, key: str = "rollouts") -> RolloutStep:
    """Read where a rollout is.

    Raises:
        KeyError, TypeError, ValueError: it is malformed, or contradicts itself.
    """
    step = _STEP.read(entry, key)
    if fields.number(entry["waves"], "waves") != len(step.record.cuts):
        raise ValueError("a rollout has other waves than it counts")
    return step


def whole_entry(step: RolloutStep) -> dict[str, Any]:
    """Give the whole of a rollout, from which `read_rollout` makes the same step again."""
    entry = {**_STEP.write(step), "waves": len(step.record.cuts)}
    return {key: entry[key] for key in _ORDER}


def standing_entry(step: RolloutStep) -> dict[str, Any]:
    """Give where a rollout is, as statuses and reports have it."""
    record = step.record
    times = {
        key: fields.time_text(moment) for key in ("started", "opened", "passed") if (moment := getattr(record, key))
    }
    entry = {
        **_STEP.write(step),
        "waves": len(record.cuts),
        "selects": [cut.select or None for cut in record.cuts],
        "passed": None,
        **times,
        "approved": [
            {"wave": entry.wave, "who": entry.who, "at": fields.time_text(entry.at)} for entry in record.approved
        ],
    }
    return {key: entry[key] for key in (*_STANDING, *_SHOWN)}


ROLLOUT = Way(read_rollout, whole_entry)
STANDING = Way(read_rollout, standing_entry)


def check_rollouts(plan: Plan) -> None:
    """Refuse a plan that names a rollout twice, or refers to one, or to a wave, that it doesn't have.

    Raises:
        DocumentError: it does.
    """
    records = {step.record.key: step.record for step in plan.rollouts}
    if len(records) != len(plan.rollouts):
        raise DocumentError("the plan has a rollout twice")
    for deploy in plan.deploys:
        keys = ((deploy.component, deploy.to, group) for group in {deploy.group, ""})
        waves = max(len(records[key].cuts) if key in records else 0 for key in keys)
        if deploy.wave > waves:
            raise DocumentError(f"the plan changes {deploy.component} in a wave that no rollout of it has")
    asked = Counter((proof.component, proof.version, proof.group, proof.kind, proof.number) for proof in plan.proofs)
    if asked and max(asked.values()) > 1:
        raise DocumentError(f"the plan asks twice whether {asked.most_common(1)[0][0][0]} may go on")
    for proof in plan.proofs:
        record = records.get((proof.component, proof.version, proof.group))
        if record is None or record.wave != proof.wave:
            raise DocumentError(f"the plan proves {proof.component} for a rollout that it doesn't have")
