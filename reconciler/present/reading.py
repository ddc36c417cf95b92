"""Reads plan documents: hostile until checked, refused where they contradict themselves."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from reconciler.errors import DocumentError
from reconciler.model.plan import (
    PUBLISH_KINDS,
    Basis,
    Deploy,
    Download,
    Finding,
    Generate,
    Merge,
    Plan,
    Prune,
    Publish,
)
from reconciler.present.document import FINDINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FORMAT_MAJOR = 1
_MAX_NUMBER = 2**63 - 1


def read_plan(document: Any) -> Plan:
    """Read a plan document.

    Raises:
        DocumentError: the document is malformed, contradicts itself, or has a format of another major version.
    """
    try:
        _check_format(document)
        changes = [(_text(entry, "action"), entry) for entry in _entries(document, "changes")]
        unknown = {action for action, _ in changes} - set(_READERS)
        if unknown:
            raise DocumentError(f"the plan has changes that this version can't carry out: {', '.join(sorted(unknown))}")
        plan = Plan(
            plan_id=_text(document, "plan_id"),
            created=_time(_text(document, "created")),
            basis=Basis(
                lineage=_text(document, "lineage"),
                epoch=_number(document, "epoch"),
                serial=_number(document, "serial"),
                spec_digest=_text(document, "spec_digest"),
                catalog_digest=_text(document, "catalog_digest"),
            ),
            **{
                key: tuple(read(entry) for action, entry in changes if action == wanted)
                for wanted, (key, read) in _READERS.items()
            },
            **{kind: tuple(map(_read_finding, _entries(document, kind))) for kind in FINDINGS},  # type: ignore[arg-type]
            gone=_texts(document, "gone"),
            problems=_texts(document, "problems"),
            members={str(cohort): _texts(document["members"], cohort) for cohort in document["members"]},
            clients=_numbers(document, "clients"),
            partial=_typed(document, "partial", bool),
            platforms=_texts(document, "platforms"),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DocumentError(f"the plan is malformed: {error}", hint="make a new one with `updoser plan`") from error
    _check_members(plan)
    return plan


def _check_format(document: Any) -> None:
    if not isinstance(document, dict):
        raise DocumentError("the plan is no JSON object", hint="make a new one with `updoser plan`")
    version = _text(document, "format_version")
    if version.partition(".")[0] != str(FORMAT_MAJOR):
        raise DocumentError(
            f"the plan has the format {version}; this version of updoser reads {FORMAT_MAJOR}.x",
            hint="apply it with the version of updoser that made it, or make a new one",
        )


def _check_members(plan: Plan) -> None:
    """Refuse a plan that refers to cohorts it doesn't have, counts wrongly, or names clients or changes twice."""
    findings = [finding for kind in FINDINGS for finding in getattr(plan, kind)]
    for entry in (*plan.deploys, *findings):
        if any(cohort not in plan.members for cohort in entry.members):
            raise DocumentError("the plan refers to clients that it doesn't list")
        if entry.clients != sum(len(plan.members[cohort]) for cohort in entry.members):
            raise DocumentError("the plan counts other clients than it lists")
        if len(set(entry.members)) != len(entry.members):
            raise DocumentError("the plan refers to the same clients twice in one entry")
    changed = Counter((deploy.component, cohort) for deploy in plan.deploys for cohort in deploy.members)
    if changed and max(changed.values()) > 1:
        raise DocumentError(f"the plan changes {changed.most_common(1)[0][0][0]} twice on the same clients")
    names = Counter(name for members in plan.members.values() for name in members)
    if names and max(names.values()) > 1:
        raise DocumentError(f"the plan lists the client {names.most_common(1)[0][0]} twice")


def _read_download(entry: Mapping[str, Any]) -> Download:
    return Download(
        component=_text(entry, "component"),
        previous=_optional(entry, "from"),
        to=_text(entry, "to"),
        to_digest=_text(entry, "to_digest"),
        platform=_text(entry, "platform"),
        source=_text(entry, "source"),
        bytes=_number(entry, "bytes"),
        reason=_text(entry, "reason"),
        kind=_text(entry, "kind"),
        route=_text(entry, "route"),
    )


def _read_merge(entry: Mapping[str, Any]) -> Merge:
    return Merge(
        component=_text(entry, "component"),
        previous=_text(entry, "from"),
        from_digest=_text(entry, "from_digest"),
        to=_text(entry, "to"),
        to_digest=_text(entry, "to_digest"),
        platform=_text(entry, "platform"),
        path=_texts(entry, "path"),
        source=_text(entry, "source"),
        bytes=_number(entry, "bytes"),
        reason=_text(entry, "reason"),
    )


def _read_generate(entry: Mapping[str, Any]) -> Generate:
    return Generate(
        component=_text(entry, "component"),
        previous=_optional(entry, "from"),
        from_digest=_text(entry, "from_digest"),
        to=_text(entry, "to"),
        to_digest=_text(entry, "to_digest"),
        platform=_text(entry, "platform"),
        codec=_text(entry, "codec"),
        level=_number(entry, "level"),
        bytes=_number(entry, "bytes"),
        reason=_text(entry, "reason"),
    )


def _read_prune(entry: Mapping[str, Any]) -> Prune:
    return Prune(
        component=_text(entry, "component"),
        previous=_optional(entry, "from"),
        to=_text(entry, "to"),
        to_digest=_text(entry, "to_digest"),
        platform=_text(entry, "platform"),
        kind=_text(entry, "kind"),
        bytes=_number(entry, "bytes"),
        reason=_text(entry, "reason"),
    )


def _read_publish(entry: Mapping[str, Any]) -> Publish:
    kind = _text(entry, "kind")
    if kind not in PUBLISH_KINDS:
        raise ValueError(f"{kind!r:.40} is no way to publish")
    return Publish(
        component=_text(entry, "component"),
        previous=_optional(entry, "from"),
        to=_text(entry, "to"),
        to_digest=_text(entry, "to_digest"),
        platform=_text(entry, "platform"),
        kind=kind,
        bytes=_number(entry, "bytes"),
        reason=_text(entry, "reason"),
    )


def _read_deploy(entry: Mapping[str, Any]) -> Deploy:
    return Deploy(
        component=_text(entry, "component"),
        group=_text(entry, "group"),
        from_version=_optional(entry, "from"),
        from_digest=_optional(entry, "from_digest"),
        to=_text(entry, "to"),
        to_digest=_text(entry, "to_digest"),
        platform=_text(entry, "platform"),
        reason=_text(entry, "reason"),
        clients=_number(entry, "clients"),
        members=_texts(entry, "members"),
        bytes=_number(entry, "bytes"),
        bytes_full=_number(entry, "bytes_full"),
        path=_texts(entry, "path"),
        fallback=_text(entry, "fallback"),
        route=_text(entry, "route"),
        wave=_number(entry, "wave"),
        not_before=_optional_time(entry, "not_before"),
        not_after=_optional_time(entry, "not_after"),
        downgrade=_typed(entry, "downgrade", bool),
        estimated=_typed(entry, "estimated", bool),
        why_full=_text(entry, "why_full"),
    )


_READERS: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], Any]]] = {
    "download": ("downloads", _read_download),
    "merge": ("merges", _read_merge),
    "generate": ("generates", _read_generate),
    "deploy": ("deploys", _read_deploy),
    "prune": ("prunes", _read_prune),
    "publish": ("publishes", _read_publish),
}
"""By action, where changes belong in a plan and what reads them."""


def _read_finding(entry: Mapping[str, Any]) -> Finding:
    return Finding(
        group=_text(entry, "group"),
        clients=_number(entry, "clients"),
        members=_texts(entry, "members"),
        reason=_text(entry, "reason"),
        component=_optional(entry, "component"),
        version=_optional(entry, "version"),
    )


def _typed(entry: Mapping[str, Any], key: str, kind: type) -> Any:
    value = entry[key]
    if type(value) is not kind:
        raise TypeError(f"{key} is {value!r:.40}, not {kind.__name__}")
    return value


def _text(entry: Mapping[str, Any], key: str) -> str:
    return _sound(str(_typed(entry, key, str)))


def _sound(text: str) -> str:
    """Give a text back; one that can't be written as UTF-8 is a ValueError."""
    text.encode()
    return text


def _number(entry: Mapping[str, Any], key: str) -> int:
    value = int(_typed(entry, key, int))
    if not 0 <= value <= _MAX_NUMBER:
        raise ValueError(f"{key} is out of bounds")
    return value


def _numbers(entry: Mapping[str, Any], key: str) -> dict[str, int]:
    values = _typed(entry, key, dict)
    return {str(name): _number(values, name) for name in values}


def _optional(entry: Mapping[str, Any], key: str) -> str:
    return "" if entry[key] is None else _text(entry, key)


def _optional_time(entry: Mapping[str, Any], key: str) -> datetime | None:
    return None if entry[key] is None else _time(_text(entry, key))


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def _entries(document: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    entries = _typed(document, key, list)
    return [_typed({key: entry}, key, dict) for entry in entries]


def _texts(document: Mapping[str, Any], key: str) -> tuple[str, ...]:
    values = _typed(document, key, list)
    if not all(isinstance(value, str) for value in values):
        raise TypeError(f"{key} holds something that is no text")
    return tuple(map(_sound, values))
