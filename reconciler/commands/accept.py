"""Which plan files may drive the fleet: those that this state wrote or a key vouches for, and that aren't stale."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.errors import StalePlanError
from reconciler.present.reading import read_plan
from reconciler.storage.planfile import read_key, read_plan_file

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.plan import Plan
    from reconciler.storage.planfile import PlanFile
    from reconciler.storage.state import PlanRecord
    from reconciler.workspace import Workspace

_AGAIN = "make a new plan; `updoser show --diff OLD NEW` then says what differs"


def accept_plan(path: Path, work: Workspace, key_file: Path | None) -> tuple[Plan, bool] | None:
    """Read the plan that is to be carried out, and whether that was begun; None when it was done already.

    Raises:
        DocumentError: the file is no plan.
        StalePlanError: nobody vouches for it, or what it was made from has changed.
        UpdoserError: the key can't be read.
    """
    file = read_plan_file(path)
    plan = read_plan(file.document)
    record = work.state.plan_record(plan.plan_id)
    _check_origin(path, file, record, key_file)
    if record is not None and record.status == "done":
        return None
    if record is not None and record.status == "superseded":
        raise StalePlanError(f"{path} is stale: a later plan was started", hint=_AGAIN)
    _check_basis(path, plan, work, own=record is not None)
    begun = record is not None and record.status == "running"
    if not begun:
        _check_rollouts(path, plan, work)
    if record is None:
        work.state.record_plan(plan.plan_id, file.sha256, plan.basis.serial, plan.created)
    return plan, begun


def _check_origin(path: Path, file: PlanFile, record: PlanRecord | None, key_file: Path | None) -> None:
    if key_file is not None:
        if not file.is_signed_by(read_key(key_file)):
            raise StalePlanError(f"{path} is refused: its signature isn't of this key, or it was changed since")
    elif record is None:
        raise StalePlanError(
            f"{path} is refused: this state knows no such plan",
            hint="make it with `updoser plan --out` and the same state, or sign it with --sign",
        )
    elif record.sha256 != file.sha256:
        raise StalePlanError(f"{path} is refused: it isn't what `updoser plan --out` wrote", hint=_AGAIN)


def _check_rollouts(path: Path, plan: Plan, work: Workspace) -> None:
    """Refuse a plan whose rollouts went on, or were halted, since it was made."""
    known = work.state.rollouts()
    for step in plan.rollouts:
        record = known.get(step.record.key)
        if (record.fingerprint if record else "") != step.before:
            name = f"{step.record.component} {step.record.version}"
            raise StalePlanError(f"{path} is stale: the rollout of {name} changed since it was made", hint=_AGAIN)


def _check_basis(path: Path, plan: Plan, work: Workspace, *, own: bool) -> None:
    """Refuse a plan that was made from something else; `own` plans were made with this state."""
    identity, basis = work.state.identity(), plan.basis
    if own and work.state.is_new() and basis.lineage != identity.lineage:  # made with --adopt, which is done now
        identity = replace(identity, lineage=basis.lineage, epoch=basis.epoch, frozen=True)
        work.roll.adopted = identity
    for what, planned, now in (
        ("the state's lineage", basis.lineage, identity.lineage),
        ("the state's epoch", basis.epoch, identity.epoch),
        ("the spec", basis.spec_digest, work.spec.digest),
        ("a catalog", basis.catalog_digest, work.spec.catalog.digest),
    ):
        if planned != now:
            raise StalePlanError(f"{path} is stale: {what} changed since it was made", hint=_AGAIN)
