"""The JSON forms of plan, status and report: what machines get and what text is rendered from.

The form of a plan is also the plan file. It holds identities and digests only (no commands, addresses, paths, URLs or
rendered settings) and is byte-identical for equal input but for `plan_id` and `created`. `schema/plan.schema.json`
describes it; `read_plan` accepts what `plan_document` gives, and nothing that it doesn't know.

Times are ISO 8601 in UTC, sizes bytes. In a deploy change `bytes` counts for each client, in the summary for all.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from reconciler.errors import DocumentError
from reconciler.model.plan import Basis, Deploy, Download, Finding, Plan
from reconciler.model.report import RECAP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.model.report import Check, ComponentStatus, JournalEntry, Report, Run, Status
    from reconciler.model.spec import Spec

FORMAT_VERSION = "1.0"
FORMAT_MAJOR = 1
_MAX_NUMBER = 2**63 - 1
_FINDINGS = ("drift", "held", "deferred", "unknown", "unreachable")
_SERVER_ACTIONS = ("download", "merge", "generate", "prune")
_ACTIONS = (*_SERVER_ACTIONS, "deploy", "settings")


def time_text(moment: datetime) -> str:
    """Write a time as all documents do: UTC, to the second, `2026-11-20T12:00:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def plan_document(plan: Plan) -> dict[str, Any]:
    """Give the document of a plan."""
    return {
        "format_version": FORMAT_VERSION,
        "plan_id": plan.plan_id,
        "created": time_text(plan.created),
        **asdict(plan.basis),
        "partial": plan.partial,
        "clients": dict(plan.clients),
        "summary": _summary(plan),
        "changes": [*map(_download_entry, plan.downloads), *map(_deploy_entry, plan.deploys)],
        **{kind: [_finding_entry(finding) for finding in getattr(plan, kind)] for kind in _FINDINGS},
        "gone": list(plan.gone),
        "problems": list(plan.problems),
        "platforms": list(plan.platforms),
        "members": {cohort: list(names) for cohort, names in plan.members.items()},
    }


def _summary(plan: Plan) -> dict[str, Any]:
    """Count changes, clients and bytes by action; a client counts once for each action."""
    counts = {action: {"changes": 0, "clients": 0, "bytes": 0} for action in _ACTIONS}
    for download in plan.downloads:
        counts["download"]["changes"] += 1
        counts["download"]["bytes"] += download.bytes
    for deploy in plan.deploys:
        counts["deploy"]["changes"] += 1
        counts["deploy"]["bytes"] += deploy.bytes * deploy.clients
    touched = {cohort for deploy in plan.deploys for cohort in deploy.members}
    counts["deploy"]["clients"] = sum(len(plan.members[cohort]) for cohort in touched)
    return {**counts, **{kind: _clients(plan, getattr(plan, kind)) for kind in _FINDINGS}}


def _clients(plan: Plan, findings: Iterable[Finding]) -> int:
    cohorts = {cohort for finding in findings for cohort in finding.members}
    return sum(len(plan.members[cohort]) for cohort in cohorts)


def _download_entry(change: Download) -> dict[str, Any]:
    entry = asdict(change)
    return {"action": "download", "component": entry.pop("component"), "from": entry.pop("previous") or None, **entry}


def _deploy_entry(change: Deploy) -> dict[str, Any]:
    entry = {field.name: getattr(change, field.name) for field in fields(change)}
    return {
        "action": "deploy",
        "component": entry.pop("component"),
        "group": entry.pop("group"),
        "from": entry.pop("from_version") or None,
        "from_digest": entry.pop("from_digest") or None,
        **entry,
        "members": list(change.members),
        "path": list(change.path),
        "not_before": change.not_before and time_text(change.not_before),
        "not_after": change.not_after and time_text(change.not_after),
    }


def _finding_entry(finding: Finding) -> dict[str, Any]:
    return {
        "group": finding.group,
        "component": finding.component or None,
        "version": finding.version or None,
        "reason": finding.reason,
        "clients": finding.clients,
        "members": list(finding.members),
    }


def status_document(status: Status) -> dict[str, Any]:
    """Give the document of a status."""
    return {
        "format_version": FORMAT_VERSION,
        "created": time_text(status.created),
        "as_of": status.as_of and time_text(status.as_of),
        "clients": status.clients,
        "components": [_component_entry(component) for component in status.components],
        "groups": [
            {"group": group, "components": [_component_entry(component) for component in components]}
            for group, components in status.groups.items()
        ],
        "rollouts": [],
        "sources": [
            {
                "name": source.name,
                "last_success": source.last_success and time_text(source.last_success),
                "error": source.error or None,
                "stale": source.stale,
                "cooldown_until": source.cooldown_until and time_text(source.cooldown_until),
            }
            for source in status.sources
        ],
    }


def _component_entry(status: ComponentStatus) -> dict[str, Any]:
    return {
        "id": status.id,
        "latest_held": status.latest_held or None,
        "latest_offered": status.latest_offered or None,
        "updated": status.updated,
        "outdated": status.outdated,
        "ahead": status.ahead,
        "unknown": status.unknown,
        "rate": round(status.rate, 4),
        "versions": dict(status.versions),
        "age": status.age,
    }


def report_document(report: Report) -> dict[str, Any]:
    """Give the document of an apply's report."""
    return {
        "format_version": FORMAT_VERSION,
        "run_id": report.run_id,
        "plan_id": report.plan_id,
        "started": time_text(report.started),
        "ended": time_text(report.ended),
        "interrupted": report.interrupted,
        "downloaded": report.downloaded,
        "recap": {group: {name: counts.get(name, 0) for name in RECAP} for group, counts in report.recap.items()},
        "failed": [asdict(failure) for failure in report.failed],
        "unreachable": [asdict(failure) for failure in report.unreachable],
        "bytes_received": report.bytes_received,
        "bytes_sent": report.bytes_sent,
        "bytes_saved": report.bytes_saved,
        "next_step_at": report.next_step_at and time_text(report.next_step_at),
    }


def run_document(run: Run, entries: Iterable[JournalEntry] | None = None) -> dict[str, Any]:
    """Give the document of a run in the history; `entries` adds what it did."""
    document = {
        "format_version": FORMAT_VERSION,
        "run_id": run.run_id,
        "plan_id": run.plan_id or None,
        "command": run.command,
        "started": time_text(run.started),
        "ended": run.ended and time_text(run.ended),
        "seconds": (run.ended - run.started).total_seconds() if run.ended else None,
        "status": run.status,
        "recap": {name: sum(counts.get(name, 0) for counts in run.recap.values()) for name in RECAP},
    }
    return document if entries is None else {**document, "entries": [_journal_entry(entry) for entry in entries]}


def _journal_entry(entry: JournalEntry) -> dict[str, Any]:
    return {
        "time": time_text(entry.at),
        "client": entry.client or None,
        "group": entry.group or None,
        "component": entry.component or None,
        "from": entry.from_version or None,
        "to": entry.to_version or None,
        "outcome": entry.outcome,
        "message": entry.message or None,
        "bytes": entry.bytes,
    }


def checks_document(checks: Iterable[Check]) -> dict[str, Any]:
    """Give the document of the doctor's findings."""
    return {"format_version": FORMAT_VERSION, "checks": [asdict(check) for check in checks]}


def valid_document(spec: Spec) -> dict[str, Any]:
    """Give the document of a spec that is valid: what it declares, in numbers."""
    return {
        "format_version": FORMAT_VERSION,
        "file": str(spec.path),
        "digest": spec.digest,
        "components": len(spec.components),
        "sources": len(spec.sources),
        "groups": len(spec.groups),
        "clients": sum(len(group.clients) for group in spec.groups.values()),
        "inventories": sum(1 for group in spec.groups.values() if group.inventory),
    }


def plugins_document(found: Iterable[tuple[str, str, str]]) -> dict[str, Any]:
    """Give the document of plugins, from their kinds, names and origins."""
    entries = [{"kind": kind, "name": name, "origin": origin} for kind, name, origin in found]
    return {"format_version": FORMAT_VERSION, "plugins": entries}


def read_plan(document: Any) -> Plan:
    """Read a plan document.

    Raises:
        DocumentError: the document is malformed, contradicts itself, or has a format of another major version.
    """
    try:
        _check_format(document)
        changes = [(_text(entry, "action"), entry) for entry in _entries(document, "changes")]
        unknown = {action for action, _ in changes} - {"download", "deploy"}
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
            downloads=tuple(_read_download(entry) for action, entry in changes if action == "download"),
            deploys=tuple(_read_deploy(entry) for action, entry in changes if action == "deploy"),
            **{kind: tuple(map(_read_finding, _entries(document, kind))) for kind in _FINDINGS},
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
    findings = [finding for kind in _FINDINGS for finding in getattr(plan, kind)]
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
    )


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
