"""Reads plan documents: hostile until checked, refused where they contradict themselves."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from reconciler.errors import DocumentError
from reconciler.model.plan import (
    PUBLISH_KINDS,
    SETTINGS_REASONS,
    Basis,
    Deploy,
    Download,
    Finding,
    Generate,
    Merge,
    Plan,
    Prune,
    Publish,
    Settings,
)
from reconciler.present import fields
from reconciler.present.document import FINDINGS
from reconciler.present.rollout_reading import check_rollouts, read_proof, read_rollout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FORMAT_MAJOR = 1


def read_plan(document: Any) -> Plan:
    """Read a plan document.

    Raises:
        DocumentError: the document is malformed, contradicts itself, or has a format of another major version.
    """
    try:
        _check_format(document)
        changes = [(fields.text(entry, "action"), entry) for entry in fields.entries(document, "changes")]
        unknown = {action for action, _ in changes} - set(_READERS)
        if unknown:
            raise DocumentError(f"the plan has changes that this version can't carry out: {', '.join(sorted(unknown))}")
        plan = Plan(
            plan_id=fields.text(document, "plan_id"),
            created=fields.time(document, "created"),
            basis=Basis(
                lineage=fields.text(document, "lineage"),
                epoch=fields.number(document, "epoch"),
                serial=fields.number(document, "serial"),
                spec_digest=fields.text(document, "spec_digest"),
                catalog_digest=fields.text(document, "catalog_digest"),
            ),
            **{
                key: tuple(read(entry) for action, entry in changes if action == wanted)
                for wanted, (key, read) in _READERS.items()
            },
            **{kind: tuple(map(_read_finding, fields.entries(document, kind))) for kind in FINDINGS},  # type: ignore[arg-type]
            rollouts=tuple(map(read_rollout, fields.entries(document, "rollouts"))),
            claims=tuple(map(_read_finding, fields.entries({"claims": [], **document}, "claims"))),
            gone=fields.texts(document, "gone"),
            problems=fields.texts(document, "problems"),
            notes=_texts_if_any(document, "notes"),
            excused=_texts_if_any(document, "excused"),
            unmet=_texts_if_any(document, "unmet"),
            unread=_texts_if_any(document, "unread"),
            members={str(cohort): fields.texts(document["members"], cohort) for cohort in document["members"]},
            clients=fields.numbers(document, "clients"),
            partial=fields.flag(document, "partial"),
            platforms=fields.texts(document, "platforms"),
        )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DocumentError(f"the plan is malformed: {error}", hint="make a new one with `updoser plan`") from error
    _check_members(plan)
    check_rollouts(plan)
    return plan


def _texts_if_any(document: dict[str, Any], key: str) -> tuple[str, ...]:
    """Read a list that plans of an earlier minor version don't have."""
    return fields.texts(document, key) if key in document else ()


def _check_format(document: Any) -> None:
    if not isinstance(document, dict):
        raise DocumentError("the plan is no JSON object", hint="make a new one with `updoser plan`")
    version = fields.text(document, "format_version")
    if version.partition(".")[0] != str(FORMAT_MAJOR):
        raise DocumentError(
            f"the plan has the format {version}; this version of updoser reads {FORMAT_MAJOR}.x",
            hint="apply it with the version of updoser that made it, or make a new one",
        )


def _check_members(plan: Plan) -> None:
    """Refuse a plan that refers to cohorts it doesn't have, counts wrongly, or names clients or changes twice."""
    findings = [finding for kind in (*FINDINGS, "claims") for finding in getattr(plan, kind)]
    for entry in (*plan.deploys, *plan.settings, *plan.proofs, *findings):
        if any(cohort not in plan.members for cohort in entry.members):
            raise DocumentError("the plan refers to clients that it doesn't list")
        if entry.clients != sum(len(plan.members[cohort]) for cohort in entry.members):
            raise DocumentError("the plan counts other clients than it lists")
        if len(set(entry.members)) != len(entry.members):
            raise DocumentError("the plan refers to the same clients twice in one entry")
    changed = Counter((deploy.component, cohort) for deploy in plan.deploys for cohort in deploy.members)
    if changed and max(changed.values()) > 1:
        raise DocumentError(f"the plan changes {changed.most_common(1)[0][0][0]} twice on the same clients")
    set_up = Counter(cohort for change in plan.settings for cohort in change.members)
    if set_up and max(set_up.values()) > 1:
        raise DocumentError("the plan changes settings twice on the same clients")
    names = Counter(name for members in plan.members.values() for name in members)
    if names and max(names.values()) > 1:
        raise DocumentError(f"the plan lists the client {names.most_common(1)[0][0]} twice")


def _read_download(entry: Mapping[str, Any]) -> Download:
    return Download(
        component=fields.text(entry, "component"),
        previous=fields.optional(entry, "from"),
        to=fields.text(entry, "to"),
        to_digest=fields.text(entry, "to_digest"),
        platform=fields.text(entry, "platform"),
        source=fields.text(entry, "source"),
        bytes=fields.number(entry, "bytes"),
        reason=fields.text(entry, "reason"),
        kind=fields.text(entry, "kind"),
        route=fields.text(entry, "route"),
    )


def _read_merge(entry: Mapping[str, Any]) -> Merge:
    return Merge(
        component=fields.text(entry, "component"),
        previous=fields.text(entry, "from"),
        from_digest=fields.text(entry, "from_digest"),
        to=fields.text(entry, "to"),
        to_digest=fields.text(entry, "to_digest"),
        platform=fields.text(entry, "platform"),
        path=fields.texts(entry, "path"),
        source=fields.text(entry, "source"),
        bytes=fields.number(entry, "bytes"),
        reason=fields.text(entry, "reason"),
    )


def _read_generate(entry: Mapping[str, Any]) -> Generate:
    return Generate(
        component=fields.text(entry, "component"),
        previous=fields.optional(entry, "from"),
        from_digest=fields.text(entry, "from_digest"),
        to=fields.text(entry, "to"),
        to_digest=fields.text(entry, "to_digest"),
        platform=fields.text(entry, "platform"),
        codec=fields.text(entry, "codec"),
        level=fields.number(entry, "level"),
        bytes=fields.number(entry, "bytes"),
        reason=fields.text(entry, "reason"),
    )


def _read_prune(entry: Mapping[str, Any]) -> Prune:
    return Prune(
        component=fields.text(entry, "component"),
        previous=fields.optional(entry, "from"),
        to=fields.text(entry, "to"),
        to_digest=fields.text(entry, "to_digest"),
        platform=fields.text(entry, "platform"),
        kind=fields.text(entry, "kind"),
        bytes=fields.number(entry, "bytes"),
        reason=fields.text(entry, "reason"),
    )


def _read_publish(entry: Mapping[str, Any]) -> Publish:
    return Publish(
        component=fields.text(entry, "component"),
        previous=fields.optional(entry, "from"),
        to=fields.text(entry, "to"),
        to_digest=fields.text(entry, "to_digest"),
        platform=fields.text(entry, "platform"),
        kind=fields.one_of(entry, "kind", PUBLISH_KINDS),
        bytes=fields.number(entry, "bytes"),
        reason=fields.text(entry, "reason"),
    )


def _read_deploy(entry: Mapping[str, Any]) -> Deploy:
    held, early, sent = fields.flag(entry, "held"), fields.flag(entry, "early"), fields.number(entry, "bytes")
    if held and (early or sent or entry["path"]):
        raise ValueError("a release that clients hold isn't sent to them")
    return Deploy(
        component=fields.text(entry, "component"),
        group=fields.text(entry, "group"),
        from_version=fields.optional(entry, "from"),
        from_digest=fields.optional(entry, "from_digest"),
        to=fields.text(entry, "to"),
        to_digest=fields.text(entry, "to_digest"),
        platform=fields.text(entry, "platform"),
        reason=fields.text(entry, "reason"),
        clients=fields.number(entry, "clients"),
        members=fields.texts(entry, "members"),
        bytes=sent,
        bytes_full=fields.number(entry, "bytes_full"),
        path=fields.texts(entry, "path"),
        fallback=fields.text(entry, "fallback"),
        route=fields.text(entry, "route"),
        wave=fields.number(entry, "wave"),
        not_before=fields.optional_time(entry, "not_before"),
        not_after=fields.optional_time(entry, "not_after"),
        downgrade=fields.flag(entry, "downgrade"),
        estimated=fields.flag(entry, "estimated"),
        why_full=fields.text(entry, "why_full"),
        held=held,
        early=early,
    )


def _read_settings(entry: Mapping[str, Any]) -> Settings:
    return Settings(
        group=fields.text(entry, "group"),
        reason=fields.one_of(entry, "reason", SETTINGS_REASONS),
        clients=fields.number(entry, "clients"),
        members=fields.texts(entry, "members"),
        not_after=fields.optional_time(entry, "not_after"),
    )


_READERS: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], Any]]] = {
    "download": ("downloads", _read_download),
    "merge": ("merges", _read_merge),
    "generate": ("generates", _read_generate),
    "proof": ("proofs", read_proof),
    "deploy": ("deploys", _read_deploy),
    "settings": ("settings", _read_settings),
    "prune": ("prunes", _read_prune),
    "publish": ("publishes", _read_publish),
}
"""By action, where changes belong in a plan and what reads them."""


def _read_finding(entry: Mapping[str, Any]) -> Finding:
    return Finding(
        group=fields.text(entry, "group"),
        clients=fields.number(entry, "clients"),
        members=fields.texts(entry, "members"),
        reason=fields.text(entry, "reason"),
        component=fields.optional(entry, "component"),
        version=fields.optional(entry, "version"),
    )
