"""The JSON forms of plan, status and report: what machines get and what text is rendered from.

The form of a plan is also the plan file. It holds identities and digests only (no commands, addresses, paths, URLs or
rendered settings) and is byte-identical for equal input but for `plan_id` and `created`. `schema/plan.schema.json`
describes it; `reading.read_plan` accepts what `plan_document` gives, and nothing that it doesn't know.

Times are ISO 8601 in UTC, sizes bytes. They are to the second, but for those that a rollout is remembered by: these are
compared exactly, and to the microsecond. In a deploy change `bytes` counts for each client, in the summary for all.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from reconciler.model.delta import incremental_name
from reconciler.model.plan import (
    Deploy,
    Download,
    Finding,
    Generate,
    Merge,
    Plan,
    Proof,
    Prune,
    Publish,
    RolloutStep,
    Settings,
)
from reconciler.model.report import RECAP

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.model.report import ComponentStatus, Diagnosis, JournalEntry, Report, Run, Status
    from reconciler.model.repository import RepositoryStatus, StagedRoot
    from reconciler.model.rollout import RolloutRecord
    from reconciler.model.spec import Spec

FORMAT_VERSION = "1.0"
OVER = frozenset(["done", "superseded"])
"""What a rollout is that a status doesn't show any more."""
FINDINGS = ("drift", "held", "deferred", "unknown", "unreachable")
_ACTIONS = ("download", "merge", "generate", "prune", "publish", "proof", "deploy", "settings")


def time_text(moment: datetime) -> str:
    """Write a time as all documents do: UTC, to the second, `2026-11-20T12:00:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def exact_time_text(moment: datetime) -> str:
    """Write a time that is compared exactly: UTC, to the microsecond, `2026-11-20T12:00:00.000000Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


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
        "changes": [
            *map(_download_entry, plan.downloads),
            *map(_server_entry, plan.merges),
            *map(_server_entry, plan.generates),
            *map(_proof_entry, plan.proofs),
            *map(_deploy_entry, plan.deploys),
            *map(_settings_entry, plan.settings),
            *map(_server_entry, plan.prunes),
            *map(_server_entry, plan.publishes),
        ],
        "rollouts": [_rollout_entry(step) for step in plan.rollouts],
        **{kind: [_finding_entry(finding) for finding in getattr(plan, kind)] for kind in FINDINGS},
        **({"claims": [_finding_entry(finding) for finding in plan.claims]} if plan.claims else {}),
        "gone": list(plan.gone),
        "problems": list(plan.problems),
        "notes": list(plan.notes),
        "excused": list(plan.excused),
        "unmet": list(plan.unmet),
        "unread": list(plan.unread),
        "platforms": list(plan.platforms),
        "members": {cohort: list(names) for cohort, names in plan.members.items()},
    }


def _summary(plan: Plan) -> dict[str, Any]:
    """Count changes, clients and bytes by action; a client counts once for each action."""
    counts = {action: {"changes": 0, "clients": 0, "bytes": 0} for action in _ACTIONS}
    for download in plan.downloads:
        counts["download"]["changes"] += 1
        counts["download"]["bytes"] += download.bytes
    for action, changes in (
        ("merge", plan.merges),
        ("generate", plan.generates),
        ("prune", plan.prunes),
        ("publish", plan.publishes),
    ):
        counts[action]["changes"] = len(changes)
        counts[action]["bytes"] = sum(change.bytes for change in changes)
    for deploy in plan.deploys:
        counts["deploy"]["changes"] += 1
        counts["deploy"]["bytes"] += deploy.bytes * deploy.clients
    saved = {
        "download": sum(merge.bytes for merge in plan.merges) - _merging(plan),
        "deploy": sum((deploy.bytes_full - deploy.bytes) * deploy.clients for deploy in plan.deploys),
    }
    counts["proof"]["changes"], counts["settings"]["changes"] = len(plan.proofs), len(plan.settings)
    for action, entries in (("proof", plan.proofs), ("deploy", plan.deploys), ("settings", plan.settings)):
        counts[action]["clients"] = _clients(plan, entries)
    return {**counts, "saved": saved, **{kind: _clients(plan, getattr(plan, kind)) for kind in FINDINGS}}


def _merging(plan: Plan) -> int:
    """Add up what is downloaded for merges."""
    paths = {(merge.component, merge.platform, name) for merge in plan.merges for name in merge.path}
    return sum(
        download.bytes
        for download in plan.downloads
        if (
            download.component,
            download.platform,
            incremental_name(download.previous, download.to, download.kind),
        )
        in paths
    )


def _clients(plan: Plan, entries: Iterable[Deploy | Settings | Proof | Finding]) -> int:
    """Count the clients of some entries, each once."""
    cohorts = {cohort for entry in entries for cohort in entry.members}
    return sum(len(plan.members[cohort]) for cohort in cohorts)


def _download_entry(change: Download) -> dict[str, Any]:
    entry = asdict(change)
    return {"action": "download", "component": entry.pop("component"), "from": entry.pop("previous") or None, **entry}


_SERVER_CHANGES = {Merge: "merge", Generate: "generate", Prune: "prune", Publish: "publish"}


def _server_entry(change: Merge | Generate | Prune | Publish) -> dict[str, Any]:
    entry = {field.name: getattr(change, field.name) for field in fields(change)}
    head = {"action": _SERVER_CHANGES[type(change)], "component": entry.pop("component")}
    entry = {**head, "from": entry.pop("previous") or None, **entry}
    if isinstance(change, Merge):
        entry["path"] = list(change.path)
    return entry


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


def _settings_entry(change: Settings) -> dict[str, Any]:
    return {
        "action": "settings",
        "group": change.group,
        "reason": change.reason,
        "clients": change.clients,
        "members": list(change.members),
        "not_after": change.not_after and time_text(change.not_after),
    }


def _proof_entry(change: Proof) -> dict[str, Any]:
    return {
        "action": "proof",
        "component": change.component,
        "version": change.version,
        "group": change.group or None,
        "wave": change.wave,
        "kind": change.kind,
        "number": change.number,
        "clients": change.clients,
        "members": list(change.members),
    }


def _rollout_entry(step: RolloutStep) -> dict[str, Any]:
    """Give the whole of a rollout, from which `reading.read_plan` makes the same step again."""
    record = step.record
    return {
        **_standing_entry(step),
        "reason": record.reason or None,
        "started": exact_time_text(record.started),
        "opened": exact_time_text(record.opened),
        "passed": record.passed and exact_time_text(record.passed),
        "cleared": record.cleared,
        "first": record.first,
        "catches_up": record.catches_up,
        "had": dict(record.had),
        "undo": record.undo or None,
        "at_once": step.at_once,
        "max_failed": step.max_failed,
        "max_fail_percentage": None if step.max_fail_percentage is None else float(step.max_fail_percentage),
        "step_undo": step.undo or None,
        "before": step.before or None,
        "new": step.new,
        "structure": record.structure,
        "cuts": [
            {"select": cut.select or None, "upto": cut.upto, "names": list(cut.names), "instead": list(cut.instead)}
            for cut in record.cuts
        ],
        "sizes": list(record.sizes),
        "approved": [
            {"wave": entry.wave, "who": entry.who, "at": exact_time_text(entry.at)} for entry in record.approved
        ],
    }


def _standing_entry(step: RolloutStep) -> dict[str, Any]:
    """Give where a rollout is, as statuses and reports have it."""
    record = step.record
    return {
        "component": record.component,
        "version": record.version,
        "group": record.group or None,
        "status": record.status,
        "wave": record.wave,
        "waves": len(record.cuts),
        "says": step.says,
        "stuck": step.stuck,
        "counts": asdict(step.counts),
        "next_at": step.next_at and time_text(step.next_at),
        "started": time_text(record.started),
    }


def rollouts_document(steps: Iterable[RolloutStep], over: Iterable[RolloutRecord] = ()) -> dict[str, Any]:
    """Give the document of rollouts: where those of a plan are, and those that only the state remembers."""
    ended = (
        RolloutStep(record, new=False, says=": ".join(filter(None, (record.status, record.reason)))) for record in over
    )
    return {"format_version": FORMAT_VERSION, "rollouts": [_standing_entry(step) for step in (*steps, *ended)]}


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
        "traffic": asdict(status.traffic),
        "rollouts": [_standing_entry(step) for step in status.rollouts if step.record.status not in OVER],
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
        "withdrawn": [asdict(entry) for entry in status.withdrawn],
        "quarantined": [{**asdict(entry), "until": time_text(entry.until)} for entry in status.quarantined],
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
        "held": [asdict(entry) for entry in report.held],
        "bytes_received": report.bytes_received,
        "bytes_sent": report.bytes_sent,
        "bytes_saved": report.bytes_saved,
        "bytes_not_received": report.bytes_not_received,
        "merged": report.merged,
        "generated": report.generated,
        "pruned": report.pruned,
        "published": report.published,
        "fallbacks": report.fallbacks,
        "rollouts": [_standing_entry(step) for step in report.rollouts],
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
        "traffic": asdict(run.traffic),
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


def repository_document(status: RepositoryStatus) -> dict[str, Any]:
    """Give the document of the repository for other sites."""
    published = status.published
    return {
        "format_version": FORMAT_VERSION,
        "path": status.path,
        "publish": status.policy,
        "ready": published.ready,
        "roles": [
            {"role": role.role, "version": role.version, "expires": role.expires and time_text(role.expires)}
            for role in status.roles
        ],
        "renew": published.renew or None,
        "rotate": status.rotate or None,
        "staged": status.staged and staged_document(status.staged),
        "releases": [
            {
                "component": release.component,
                "version": release.version,
                "platform": release.platform,
                "bytes": release.size,
                "incrementals": sum(entry.to_digest == release.digest for entry in published.incrementals),
            }
            for release in published.releases
        ],
        "withdrawn": [asdict(entry) for entry in published.withdrawn],
    }


def staged_document(staged: StagedRoot) -> dict[str, Any]:
    """Give the document of a root that waits for signatures."""
    return {**asdict(staged), "signed": list(staged.signed), "missing": list(staged.missing)}


def checks_document(checks: Iterable[Diagnosis]) -> dict[str, Any]:
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
