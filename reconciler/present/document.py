"""The JSON forms of plan, status and report: what machines get and what text is rendered from.

The form of a plan is also the plan file. It holds identities and digests only (no commands, addresses, paths, URLs or
rendered settings) and is byte-identical for equal input but for `plan_id` and `created`. `schema/plan.schema.json`
describes it; `reading.read_plan` accepts what `plan_document` gives, and nothing that it doesn't know. Both go by the
forms: of what stands here, of kinds of changes (`kinds`) and of rollouts (`rollout_form`).

Times are ISO 8601 in UTC, sizes bytes. They are to the second, but for those that a rollout is remembered by: these are
compared exactly, and to the microsecond. In a deploy change `bytes` counts for each client, in the summary for all.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

from reconciler.model.attribution import Attribution
from reconciler.model.change import KINDS, FleetChange
from reconciler.model.controller import ControllerReport, Pause, RunProgress
from reconciler.model.delta import incremental_name
from reconciler.model.leaving import FleetMove, Leaving
from reconciler.model.plan import FINDINGS, Basis, Finding, Plan, RolloutStep
from reconciler.model.relay import RelayStatus, RelayUse
from reconciler.model.report import (
    RECAP,
    DoctorLevel,
    Failure,
    Held,
    JournalEntry,
    Quarantined,
    Report,
    SourceStatus,
    Troubled,
)
from reconciler.model.roster import clients_of
from reconciler.model.site import SiteStanding
from reconciler.model.spec_change import SpecChange
from reconciler.model.way_back import WayBack
from reconciler.present.fields import FORMAT_VERSION, time, time_text, typed
from reconciler.present.forms import As, Form, Way
from reconciler.present.kinds import TABLE
from reconciler.present.outlook_form import RUN, STEP
from reconciler.present.protection_form import protection_entry
from reconciler.present.provenance_form import PROVENANCE, mark_signed
from reconciler.present.rollout_form import ROLLOUT, STANDING, standing_entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from reconciler.model.controller import ControllerStatus
    from reconciler.model.notice import Known
    from reconciler.model.protection import Protection
    from reconciler.model.report import Asked, ComponentStatus, Diagnosis, Run, Status
    from reconciler.model.repository import MirrorStatus, RepositoryStatus, StagedRoot
    from reconciler.model.rollout import RolloutRecord

OVER = frozenset(["done", "superseded"])
"""What a rollout is that a status doesn't show any more."""
_BASIS = Form(Basis)
_FINDING = Form(
    Finding,
    first=("group", "component", "version", "reason"),
    component=As(null=True),
    version=As(null=True),
    at=As(later=True),
)
_TOP = ("plan_id", "created", *_BASIS.keys, "partial", "clients")
"""What stands in a plan's document before its changes."""
PLAN = Form(
    Plan,
    apart=tuple(kind.place for kind in KINDS),
    basis=As(of=_BASIS, inline=True),
    rollouts=As(of=ROLLOUT),
    drift=As(of=_FINDING),
    held=As(of=_FINDING),
    deferred=As(of=_FINDING),
    unknown=As(of=_FINDING),
    unreachable=As(of=_FINDING),
    pending=As(of=_FINDING, if_any=True),
    claims=As(of=_FINDING, if_any=True),
    notes=As(later=True),
    excused=As(later=True),
    unmet=As(later=True),
    unread=As(later=True),
    spec_changes=As(of=Form(SpecChange), if_any=True),
    against_base=As(
        of=Form(Attribution, component=As(null=True), version=As(null=True), group=As(null=True)), if_any=True
    ),
    ways_back=As(of=Form(WayBack), if_any=True),
    provenance=As(of=PROVENANCE, if_any=True),
    leaving=As(of=Form(Leaving, component=As(null=True)), if_any=True),
    leaving_clients=As(if_any=True),
    fleet_moves=As(of=Form(FleetMove, before=As(null=True)), if_any=True),
    run=As(of=RUN, if_any=True),
    relays=As(of=Form(RelayUse), if_any=True),
    sites=As(of=Form(SiteStanding), if_any=True),
    limit=As(if_any=True),
    spec_commit=As(if_any=True),
    signer=As(if_any=True),
)
"""A plan but for its changes."""


def plan_document(plan: Plan, *, names: bool = True, whole: bool = True) -> dict[str, Any]:
    """Give the document of a plan; without `names` nobody stands in it, as if no change and no finding had members.

    One that isn't `whole` is to be shown to people: its members are those of the plan, made when they are asked for,
    where a whole one has lists and maps, as JSON has.
    """
    shown = plan if names and whole else _nameless(plan)
    entry = PLAN.write(shown)
    changes = [kind.write(change) for kind in TABLE for change in shown.of(kind.change)]
    if names and not whole:
        entry["members"] = plan.members
        _fill(changes, [change for kind in TABLE for change in plan.of(kind.change)])
        for place in (*FINDINGS, "claims"):
            _fill(entry.get(place, []), getattr(plan, place))
    mark_signed(changes, entry.get("provenance", ()))
    return {
        "format_version": FORMAT_VERSION,
        **{key: entry.pop(key) for key in _TOP},
        "summary": _summary(plan),
        "changes": changes,
        **entry,
    }


def _nameless(plan: Plan) -> Plan:
    places = (*(kind.place for kind in KINDS if issubclass(kind, FleetChange)), *FINDINGS, "claims")
    bare: dict[str, Any] = {
        place: tuple(replace(entry, members=()) for entry in getattr(plan, place)) for place in places
    }
    bare["relays"] = tuple(replace(use, cohorts=()) for use in plan.relays)
    return replace(plan, members={}, **bare)


def _fill(entries: Iterable[dict[str, Any]], made: Iterable[object]) -> None:
    for entry, one in zip(entries, made, strict=True):
        if "members" in entry:
            entry["members"] = one.members  # type: ignore[attr-defined]


def _summary(plan: Plan) -> dict[str, Any]:
    """Count changes, clients and bytes by action, those on the server first; a client counts once for each action."""
    counts = {}
    for kind in sorted(KINDS, key=lambda kind: issubclass(kind, FleetChange)):
        changes = plan.of(kind)
        counts[kind.action] = {
            "changes": len(changes),
            "clients": _clients(plan, (change for change in changes if isinstance(change, FleetChange))),
            "bytes": sum(change.traffic for change in changes),
        }
    saved = {
        "download": sum(merge.bytes for merge in plan.merges) - _merging(plan),
        "deploy": sum((deploy.bytes_full - deploy.bytes) * deploy.clients for deploy in plan.deploys),
    }
    found = {kind: _clients(plan, getattr(plan, kind)) for kind in FINDINGS}
    return {**counts, "saved": saved, **{kind: count for kind, count in found.items() if count or kind != "pending"}}


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


def _clients(plan: Plan, entries: Iterable[FleetChange | Finding]) -> int:
    """Count the clients of some entries, each once."""
    return clients_of(plan.members, entries)


def rollouts_document(steps: Iterable[RolloutStep], over: Iterable[RolloutRecord] = ()) -> dict[str, Any]:
    """Give the document of rollouts: where those of a plan are, and those that only the state remembers."""
    ended = (
        RolloutStep(record, new=False, says=": ".join(filter(None, (record.status, record.reason)))) for record in over
    )
    return {"format_version": FORMAT_VERSION, "rollouts": [standing_entry(step) for step in (*steps, *ended)]}


def _read_times(found: Any, key: str) -> dict[str, datetime]:
    return {str(name): time(at, key) for name, at in typed(found, key, dict).items()}


def _write_times(times: Mapping[str, datetime]) -> dict[str, str]:
    return {name: time_text(at) for name, at in sorted(times.items())}


_SOURCE = Form(
    SourceStatus,
    error=As(null=True),
    signed=As(later=True),
    expires=As(if_any=True, way=Way(_read_times, _write_times)),
)
_QUARANTINED = Form(Quarantined)
_RELAY = Form(RelayStatus, error=As(null=True))
_SITE = Form(SiteStanding)
_FAILURE = Form(Failure)
_TROUBLED = Form(Troubled, examples=As(of=_FAILURE))


def status_document(status: Status) -> dict[str, Any]:
    """Give the document of a status."""
    at = {group: site.site for site in status.sites for group in site.groups}
    return {
        "format_version": FORMAT_VERSION,
        "created": time_text(status.created),
        "as_of": status.as_of and time_text(status.as_of),
        "clients": status.clients,
        "current": status.current,
        "unknown": status.unknown,
        "components": [_component_entry(component) for component in status.components],
        "groups": [
            {
                "group": group,
                **({"site": at[group]} if group in at else {}),
                "components": [_component_entry(component) for component in components],
            }
            for group, components in status.groups.items()
        ],
        "traffic": asdict(status.traffic),
        "rollouts": [standing_entry(step) for step in status.rollouts if step.record.status not in OVER],
        "sources": [_SOURCE.write(source) for source in status.sources],
        "withdrawn": [asdict(entry) for entry in status.withdrawn],
        "drifted": [
            {"component": component or None, "clients": clients} for component, clients in status.drifted.items()
        ],
        "quarantined": [_QUARANTINED.write(entry) for entry in status.quarantined],
        "troubles": [_TROUBLED.write(entry) for entry in status.troubles],
        **({"relays": [_RELAY.write(relay) for relay in status.relays]} if status.relays else {}),
        **({"sites": [_SITE.write(site) for site in status.sites]} if status.sites else {}),
        **({"repository": {"expires": _write_times(status.repository)}} if status.repository else {}),
        **({"conditions": [_condition_entry(known) for known in status.conditions]} if status.conditions else {}),
        **({"controller": controller_entry(status.controller)} if status.controller else {}),
    }


def _condition_entry(known: Known) -> dict[str, Any]:
    condition = known.condition
    return {
        "kind": condition.kind,
        "about": condition.about,
        "severity": condition.severity,
        "summary": condition.summary,
        "since": time_text(known.since),
    }


_CONTROLLER = Form(ControllerReport)
_PAUSE = Form(Pause)


def controller_entry(status: ControllerStatus) -> dict[str, Any]:
    """Give what a status says of a controller."""
    pause = status.pause and _PAUSE.write(status.pause)
    return {
        **_CONTROLLER.write(status.report),
        "alive": status.alive,
        "pause": pause,
        "requests_waiting": status.waiting,
    }


_PROGRESS = Form(RunProgress)


def progress_entry(progress: RunProgress) -> dict[str, Any]:
    """Give how far a run is that is under way."""
    return _PROGRESS.write(progress)


def _component_entry(status: ComponentStatus) -> dict[str, Any]:
    released = status.released_at and time_text(status.released_at)
    later = {
        "name": status.name,
        "kind": status.kind,
        "wanted": status.wanted,
        "target_reason": status.target_reason,
        "lags": {str(lag): clients for lag, clients in status.lags.items()},
        "released_at": released,
        "deferred": status.deferred,
        "kept_back": status.kept_back,
    }
    return {
        "id": status.id,
        "latest_held": status.latest_held or None,
        "latest_offered": status.latest_offered or None,
        "updated": status.updated,
        "outdated": status.outdated,
        "ahead": status.ahead,
        "unknown": status.unknown,
        "pending": status.pending,
        "rate": round(status.rate, 4),
        "versions": dict(status.versions),
        "age": status.age,
        **{key: value for key, value in later.items() if value},
        **({"protection": protection_entry(status.protection)} if status.protection else {}),
    }


def _recap(recap: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    return {group: {name: counts.get(name, 0) for name in RECAP} for group, counts in recap.items()}


_REPORT = Form(
    Report,
    first=("run_id", "plan_id", "started", "ended", "interrupted", "downloaded"),
    recap=As(way=Way(partial(typed, kind=dict), _recap)),
    failed=As(of=_FAILURE),
    unreachable=As(of=_FAILURE),
    held=As(of=Form(Held)),
    rollouts=As(of=STANDING),
    steps=As(of=STEP),
    fetched=As(if_any=True),
)


def report_document(report: Report) -> dict[str, Any]:
    """Give the document of an apply's report."""
    return {"format_version": FORMAT_VERSION, **_REPORT.write(report)}


_JOURNAL = Form(
    JournalEntry,
    first=("time",),
    at=As("time"),
    client=As(null=True),
    group=As(null=True),
    component=As(null=True),
    from_version=As("from", null=True),
    to_version=As("to", null=True),
    message=As(null=True),
    reason=As(null=True, later=True),
)


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
        **({"origin": dict(run.origin)} if run.origin else {}),
    }
    if entries is None:
        return document
    steps = [
        {"step": step.step, "started": time_text(step.started), "seconds": round(step.seconds, 3)} for step in run.steps
    ]
    return {
        **document,
        **({"steps": steps} if steps else {}),
        "entries": [_JOURNAL.write(entry) for entry in entries],
    }


def outcomes_document(
    asked: Asked, found: Iterable[tuple[str, JournalEntry]], protections: Iterable[Protection] = ()
) -> dict[str, Any]:
    """Give the document of outcomes that were asked for, the newest first, each with its run.

    `protections` are those of the releases of a component that was asked for.
    """
    followed = [protection_entry(one) for one in protections]
    return {
        "format_version": FORMAT_VERSION,
        "run_id": asked.run_id or None,
        "client": asked.client or None,
        "component": asked.component or None,
        "version": asked.version or None,
        "since": asked.since and time_text(asked.since),
        "entries": [{"run_id": run_id, **_JOURNAL.write(entry)} for run_id, entry in found],
        **({"protection": followed} if followed else {}),
    }


def entry_document(entry: JournalEntry) -> dict[str, Any]:
    """Give the document of one outcome."""
    return dict(_JOURNAL.write(entry))


def published_document(status: RepositoryStatus | None, mirrors: Iterable[MirrorStatus]) -> dict[str, Any]:
    """Give the document of the signed repository (empty where there is none), and of those in other layouts."""
    from reconciler.model.repository import Published, RepositoryStatus

    signed = status or RepositoryStatus("", "manual", (), Published())
    return {**repository_document(signed), "mirrors": [_mirror_document(mirror) for mirror in mirrors]}


def _mirror_document(mirror: MirrorStatus) -> dict[str, Any]:
    return {
        "name": mirror.name,
        "layout": mirror.layout,
        "path": mirror.path,
        "publish": mirror.policy,
        "renew": mirror.renew or None,
        "problem": mirror.problem or None,
        "releases": [
            {
                "component": release.component,
                "version": release.version,
                "platform": release.platform,
                "bytes": release.size,
                "attached": len(release.attached),
            }
            for release in mirror.releases
        ],
    }


def repository_document(status: RepositoryStatus) -> dict[str, Any]:
    """Give the document of the signed repository for other sites."""
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


def checks_document(checks: Iterable[Diagnosis], sources: Sequence[Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """Give the document of the doctor's findings; a client of null stands for this machine.

    `sources` has what was found of each where the look was at sources.
    """
    entries = [{**asdict(check), "client": check.client or None} for check in checks]
    counts = {level: sum(entry["level"] == level for entry in entries) for level in get_args(DoctorLevel)}
    looked = {} if sources is None else {"sources": list(sources)}
    return {"format_version": FORMAT_VERSION, "summary": counts, "checks": entries, **looked}
