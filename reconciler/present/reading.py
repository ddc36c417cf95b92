"""Reads plan documents: hostile until checked, refused where they contradict themselves."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from reconciler.errors import DocumentError
from reconciler.model.change import FleetChange
from reconciler.model.plan import FINDINGS
from reconciler.present import fields
from reconciler.present.document import PLAN
from reconciler.present.kinds import BY_ACTION, TABLE
from reconciler.present.rollout_form import check_rollouts

if TYPE_CHECKING:
    from reconciler.model.plan import Plan

FORMAT_MAJOR = 1


def read_plan(document: Any) -> Plan:
    """Read a plan document.

    Raises:
        DocumentError: the document is malformed, contradicts itself, or has a format of another major version.
    """
    try:
        _check_format(document)
        plan = PLAN.read(document, **_changes(document))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DocumentError(f"the plan is malformed: {error}", hint="make a new one with `updoser plan`") from error
    _check_members(plan)
    check_rollouts(plan)
    return plan


def _changes(document: dict[str, Any]) -> dict[str, Any]:
    """Read the changes, each kind for its place in a plan."""
    entries = [fields.typed(entry, "changes", dict) for entry in fields.typed(document["changes"], "changes", list)]
    found: dict[str, list[Any]] = {action: [] for action in BY_ACTION}
    for entry in entries:
        found.setdefault(fields.text(entry["action"], "action"), []).append(entry)
    unknown = set(found) - set(BY_ACTION)
    if unknown:
        raise DocumentError(f"the plan has changes that this version can't carry out: {', '.join(sorted(unknown))}")
    return {kind.change.place: tuple(map(kind.form.read, found[kind.action])) for kind in TABLE}


def _check_format(document: Any) -> None:
    if not isinstance(document, dict):
        raise DocumentError("the plan is no JSON object", hint="make a new one with `updoser plan`")
    version = fields.text(document["format_version"], "format_version")
    if version.partition(".")[0] != str(FORMAT_MAJOR):
        raise DocumentError(
            f"the plan has the format {version}; this version of updoser reads {FORMAT_MAJOR}.x",
            hint="apply it with the version of updoser that made it, or make a new one",
        )


def _check_members(plan: Plan) -> None:
    """Refuse a plan that refers to cohorts it doesn't have, counts wrongly, or names clients or changes twice."""
    findings = [finding for kind in (*FINDINGS, "claims") for finding in getattr(plan, kind)]
    about_clients = [change for change in plan.changes if isinstance(change, FleetChange)]
    for entry in (*about_clients, *findings):
        if any(cohort not in plan.members for cohort in entry.members):
            raise DocumentError("the plan refers to clients that it doesn't list")
        if entry.clients != sum(len(plan.members[cohort]) for cohort in entry.members):
            raise DocumentError("the plan counts other clients than it lists")
        if len(set(entry.members)) != len(entry.members):
            raise DocumentError("the plan refers to the same clients twice in one entry")
    changed = Counter(
        (change.action, change.subject, cohort) for change in plan.for_clients for cohort in change.members
    )
    if changed and max(changed.values()) > 1:
        raise DocumentError(f"the plan changes {changed.most_common(1)[0][0][1]} twice on the same clients")
    names = Counter(name for members in plan.members.values() for name in members)
    if names and max(names.values()) > 1:
        raise DocumentError(f"the plan lists the client {names.most_common(1)[0][0]} twice")
