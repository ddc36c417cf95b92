"""Reads the rollouts of plan documents and what refers to them: hostile until checked, like all of a plan.

What a rollout says goes into the state and drives later plans, so it must be whole: its waves are as many as its
cut-points and sizes, and the open one is among them. Proofs and the waves of deploy changes belong to a rollout of the
plan.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from reconciler.errors import DocumentError
from reconciler.model.plan import PROOF_KINDS, Proof, RolloutStep, WaveCounts
from reconciler.model.policy import ROLLBACK_SCOPES
from reconciler.model.rollout import STATUSES, Approval, Cut, RolloutRecord
from reconciler.present import fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.plan import Plan

_LAST_POSITION = 2**32 - 1
_UNDO = ("", *(scope for scope in ROLLBACK_SCOPES if scope != "client"))
"""What may go back after a halt; of clients that failed nothing does, they have what they had."""


def read_rollout(entry: Mapping[str, Any]) -> RolloutStep:
    """Read where a rollout is.

    Raises:
        KeyError, TypeError, ValueError: it is malformed, or contradicts itself.
    """
    record = _read_record(entry)
    if fields.number(entry, "waves") != len(record.cuts) or len(record.sizes) != len(record.cuts):
        raise ValueError("a rollout has other waves than it counts")
    counted = fields.typed(entry, "counts", dict)
    later = {"hindered": 0, "unknown": 0}
    counts = WaveCounts(**{name: fields.number({**later, **counted}, name) for name in WaveCounts.__slots__})
    if counts.planned != counts.passed + counts.failed + counts.pending + counts.unreachable + counts.hindered:
        raise ValueError("the counts of a rollout don't add up")
    return RolloutStep(
        record=record,
        new=fields.flag(entry, "new"),
        says=fields.text(entry, "says"),
        counts=counts,
        next_at=fields.optional_time(entry, "next_at"),
        at_once=fields.number(entry, "at_once"),
        max_failed=fields.optional_number(entry, "max_failed"),
        max_fail_percentage=fields.optional_percentage(entry, "max_fail_percentage"),
        undo=fields.one_of(entry, "step_undo", _UNDO),
        before=fields.optional(entry, "before"),
        stuck=fields.flag({"stuck": False, **entry}, "stuck"),
    )


def _read_record(entry: Mapping[str, Any]) -> RolloutRecord:
    cuts = tuple(map(_read_cut, fields.entries(entry, "cuts")))
    return RolloutRecord(
        component=fields.text(entry, "component"),
        version=fields.text(entry, "version"),
        group=fields.optional(entry, "group"),
        status=fields.one_of(entry, "status", STATUSES),
        cuts=cuts,
        sizes=tuple(fields.number({"size": size}, "size") for size in fields.typed(entry, "sizes", list)),
        structure=fields.text(entry, "structure"),
        started=fields.exact_time(entry, "started"),
        opened=fields.exact_time(entry, "opened"),
        wave=fields.number(entry, "wave", most=len(cuts)),
        passed=fields.optional_exact_time(entry, "passed"),
        cleared=fields.flag(entry, "cleared"),
        first=fields.flag(entry, "first"),
        reason=fields.optional(entry, "reason"),
        undo=fields.one_of(entry, "undo", _UNDO),
        approved=tuple(map(_read_approval, fields.entries(entry, "approved"))),
        catches_up=fields.flag({"catches_up": False, **entry}, "catches_up"),
        had=tuple(sorted(fields.numbers({"had": {}, **entry}, "had").items())),
    )


def _read_cut(entry: Mapping[str, Any]) -> Cut:
    upto = fields.number(entry, "upto", least=-1, most=_LAST_POSITION)
    instead = fields.texts({"instead": [], **entry}, "instead")
    return Cut(fields.optional(entry, "select"), upto, fields.texts(entry, "names"), instead)


def _read_approval(entry: Mapping[str, Any]) -> Approval:
    return Approval(fields.number(entry, "wave"), fields.text(entry, "who"), fields.exact_time(entry, "at"))


def read_proof(entry: Mapping[str, Any]) -> Proof:
    """Read what is asked before a wave opens.

    Raises:
        KeyError, TypeError, ValueError: it is malformed.
    """
    kind = fields.one_of(entry, "kind", PROOF_KINDS)
    return Proof(
        component=fields.text(entry, "component"),
        version=fields.text(entry, "version"),
        group=fields.optional(entry, "group"),
        wave=fields.number(entry, "wave"),
        kind=kind,
        number=fields.number(entry, "number", most=fields.MAX_NUMBER if kind == "gate" else 0),
        clients=fields.number(entry, "clients"),
        members=fields.texts(entry, "members"),
    )


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
