"""States for pages of the console: what a controller would have kept of fleets that are empty, fine, in trouble, busy
or very large, and of one in which others wrote all that they could.

`MADE` has them by name; each fills a state that is open. Figures hang together: those of a component are the sums of
its groups, and the versions that clients run are as many as the clients of which something is known.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from reconciler.controller.snapshot import keep_documents
from reconciler.model.change import Deploy
from reconciler.model.controller import ControllerReport, Pause, RunProgress
from reconciler.model.delta import Incremental, Patch
from reconciler.model.offer import Offer, Withdrawal
from reconciler.model.plan import Basis, Plan, RolloutStep, WaveCounts
from reconciler.model.release import Component, Release, ReleaseFile, SignedBy
from reconciler.model.report import (
    ComponentStatus,
    Failure,
    Quarantined,
    Report,
    SourceStatus,
    Status,
    Traffic,
    Troubled,
    WithdrawnStatus,
)
from reconciler.model.rollout import Approval, Cut, Move, RolloutRecord, RolloutStatus
from reconciler.model.spec import ComponentSpec
from reconciler.model.version import SCHEMES
from reconciler.present.component_form import ComponentFacts, component_document
from reconciler.present.document import report_document
from reconciler.storage.samples import Sample
from tests.console import NOW

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.storage.state import State

HOUR = timedelta(hours=1)
DAY = 24 * HOUR
HOSTILE = "\"><script>alert('x')</script><img src=http://x.example onerror=y> {{ 7*7 }} \u202eevil &amp; \x1b[2J"
LONG = "a-client-with-a-name-that-has-no-end." * 4
GROUPS = {"office": 0.5, "branch": 0.3, "plant": 0.2}
_MOVES: tuple[tuple[int, RolloutStatus], ...] = ((1, "running"), (2, "running"))
PATCH = Patch("data", 412_000, "0" * 64, "zstd", "data", 21_500_000)
_NOBODY = WaveCounts()
HELD = ExitStack()
"""What is held as long as this process lives."""
_CATALOG = Path(__file__).parents[1] / "plugins/catalog/officescan.yaml"


@dataclass(frozen=True)
class Late:
    """How far a component is that isn't current: shares of the clients that answer, by the version that they run."""

    held: str
    versions: dict[str, float]
    offered: str = ""
    ahead: tuple[str, ...] = ()


LATE = {
    "spyware-pattern": Late(
        "16.183.00", {"16.181.00": 0.44, "16.183.00": 0.36, "16.179.00": 0.1, "16.177.00": 0.06, "missing": 0.04}
    ),
    "behavior-monitoring-driver": Late(
        "4.660.1000", {"4.660.1000": 0.63, "4.660.998": 0.25, "4.660.990": 0.12}, offered="4.660.1002"
    ),
    "virus-pattern": Late(
        "15.787.00",
        {"15.787.00": 0.93, "15.785.00": 0.05, "15.783.00": 0.0193, "15.789.00": 0.0007},
        ahead=("15.789.00",),
    ),
}


def component(entry: Any, clients: int, unknown: int, late: Late | None) -> ComponentStatus:
    """Give how far a component of the catalog is, with so many clients of which nothing is known among them."""
    known, held = clients - unknown, "14.157.00" if entry["kind"] == "pattern" else "2.460.1001"
    versions = {held: known}
    if late is not None:
        held = late.held
        rest = {version: round(known * share) for version, share in list(late.versions.items())[1:]}
        first = next(iter(late.versions))
        versions = {version: count for version, count in ((first, known - sum(rest.values())), *rest.items()) if count}
    ahead = sum(count for version, count in versions.items() if late and version in late.ahead)
    updated = versions.get(held, 0)
    outdated = known - updated - ahead
    nearest = [version for version in versions if late and version not in {"missing", held, *late.ahead}][:3]
    return ComponentStatus(
        entry["id"],
        held,
        (late and late.offered) or held,
        updated,
        outdated,
        ahead,
        unknown,
        versions,
        age=90_000,
        released_at=NOW - timedelta(seconds=90_000),
        name=entry["name"],
        kind=entry["kind"],
        wanted=held,
        target_reason="latest",
        lags={number: versions[version] for number, version in enumerate(nearest, 1)} if late else {},
        kept_back="4.660.1002 waits: min_age: not before 2026-11-30T12:00:00Z" if late and late.offered else "",
    )


def added(parts: list[ComponentStatus]) -> ComponentStatus:
    """Add the parts of a component that groups have up to the whole of it."""
    whole = parts[0]
    for part in parts[1:]:
        counts = {
            name: getattr(whole, name) + getattr(part, name) for name in ("updated", "outdated", "ahead", "unknown")
        }
        versions = dict(whole.versions)
        lags = dict(whole.lags)
        for version, count in part.versions.items():
            versions[version] = versions.get(version, 0) + count
        for lag, count in part.lags.items():
            lags[lag] = lags.get(lag, 0) + count
        whole = replace(whole, **counts, versions=versions, lags=lags)
    return whole


def rollout(
    component: str,
    version: str,
    status: RolloutStatus,
    wave: int,
    says: str,
    counts: WaveCounts = _NOBODY,
    *,
    sizes: tuple[int, ...] = (41, 4_821, 43_350),
    reason: str = "",
    group: str = "",
    awaits: bool = False,
    since: timedelta = 7 * HOUR,
) -> RolloutStep:
    """Give a rollout in three waves."""
    record = RolloutRecord(
        component=component,
        version=version,
        group=group,
        status=status,
        cuts=(Cut("label=canary"), Cut(upto=400_000_000), Cut(upto=2**32 - 1)),
        sizes=sizes,
        structure="s",
        started=NOW - since,
        opened=NOW - since / 2,
        wave=wave,
        reason=reason,
        approved=(Approval(2, "ann", NOW - since / 2),) if wave > 1 else (),
    )
    return RolloutStep(record, new=False, says=says, counts=counts, before="b", awaits_approval=awaits)


def status(clients: int, *, unknown: int = 0, late: dict[str, Late] | None = None, **more: Any) -> Status:
    """Give how far a fleet of the 20 components of OfficeScan is."""
    catalog = yaml.safe_load(_CATALOG.read_text(encoding="utf-8"))["components"]
    shares = {group: round(clients * share) for group, share in GROUPS.items()}
    shares["office"] += clients - sum(shares.values())
    silent = {group: round(unknown * share) for group, share in GROUPS.items()}
    silent["office"] += unknown - sum(silent.values())
    groups = {
        group: tuple(component(entry, shares[group], silent[group], (late or {}).get(entry["id"])) for entry in catalog)
        for group in GROUPS
    }
    fleet = [added(list(parts)) for parts in zip(*groups.values(), strict=True)]
    worst = max((entry.outdated + entry.ahead for entry in fleet), default=0)
    return Status(
        NOW - timedelta(minutes=2),
        NOW - timedelta(minutes=10),
        clients,
        tuple(sorted(fleet, key=lambda entry: (entry.rate, entry.id))),
        {group: tuple(sorted(entries, key=lambda entry: (entry.rate, entry.id))) for group, entries in groups.items()},
        **{
            "sources": (SourceStatus("vendor", NOW - 21 * HOUR / 60),),
            "traffic": Traffic(1 << 34, 1 << 30, 1 << 36, 1 << 41),
            "current": clients - unknown - worst,
            "unknown": unknown,
            **more,
        },
    )


def known_of(entry: ComponentStatus, found: Status) -> ComponentFacts:
    """Give what is known of a component of a fleet: releases of all versions, with who signed them and incrementals."""
    scheme = SCHEMES["pattern" if entry.kind == "pattern" else "dotted"]
    spec = ComponentSpec(Component(entry.id, entry.name, entry.kind, scheme=scheme), blocked={"1.1": "INC-4711"})  # type: ignore[arg-type]
    versions = [version for version in entry.versions if scheme.accepts(version)]
    signed = SignedBy("vendor", "targets", 2, 3, 2)
    releases = [
        Release(
            entry.id,
            version,
            "any",
            (ReleaseFile("data", 21_500_000 + 1000 * at, f"{at:064}"),),
            released=NOW - (at + 1) * DAY,
            notes="Fewer false alarms." if not at else "",
            signed=signed,
        )
        for at, version in enumerate(dict.fromkeys([entry.latest_held, *versions, entry.latest_offered]))
    ]
    newest = releases[0]
    records = [step.record for step in found.rollouts if step.record.component == entry.id]
    moves: list[tuple[Any, Move]] = [
        (record.key, Move(status=status, wave=wave, at=NOW - (9 - wave) * HOUR, reason=record.reason))
        for record in records
        for wave, status in (*_MOVES, (2, record.status))
    ]
    return ComponentFacts(
        spec=spec,
        status=entry,
        groups={group: one for group, of in found.groups.items() for one in of if one.id == entry.id},
        held=releases[:2],
        offers=[Offer("vendor", release) for release in releases],
        incrementals=[
            Incremental(
                component=entry.id,
                platform="any",
                from_version=one.version,
                from_digest=one.digest,
                to_version=newest.version,
                to_digest=newest.digest,
                codec="zstd",
                patches=(PATCH,),
            )
            for one in releases[1:3]
        ],
        withdrawn=[
            (one.source, Withdrawal(one.component, one.version, one.reason))
            for one in found.withdrawn
            if one.component == entry.id
        ],
        rollouts=records,
        moves=moves,
        first_seen={newest.version: NOW - DAY},
    )


def keep(state: State, found: Status, *, plan: Plan | None = None, days: int = 30) -> None:
    """Keep what a controller would keep after a round, with samples of the days before."""
    made = plan or Plan("20261129T115800-abc", found.created, Basis("0123456789abcdef", 1, 0, "5" * 64, "c" * 64))
    keep_documents(state, found, made)
    documents = {entry.id: component_document(known_of(entry, found)) for entry in found.components}
    state.keep_snapshots("component", documents)
    state.report_controller(
        ControllerReport(
            who="updoser@ops (process 812)",
            phase="sleeping",
            mode="apply",
            since=found.created,
            looked=found.created,
            next_at=NOW + timedelta(minutes=3),
            commit="9efa667b" * 5,
            signer="ann@example",
        )
    )
    state.take_lease()
    outdated = found.clients - found.current - found.unknown
    for hour in range(0, days * 24, 6):
        part = max(outdated * (0.2 + hour % 7 * 0.05), 1) if hour < (days - 2) * 24 else outdated
        at = NOW - days * DAY + hour * HOUR
        late = round(part)
        sample = Sample(at=at, updated=found.clients - late, outdated=late, ahead=0, unknown=found.unknown)
        state.keep_samples({"": sample, "virus-pattern": sample})


def ran(state: State, number: int, minutes: int, recap: dict[str, int] | None, status: Any, **more: Any) -> None:
    """Remember a run of so many minutes ago; without a recap it hasn't ended."""
    run_id, began = f"20261129T1{number:05}-run", NOW - timedelta(minutes=minutes)
    state.begin_run(run_id, "p", "apply", began, {"user": "updoser", "host": "ops", **more})
    if recap is None:
        return
    ended = began + timedelta(minutes=2)
    report = Report(run_id, "p", began, ended, recap={"office": recap}, bytes_sent=1 << 31)  # type: ignore[dict-item]
    state.end_run(run_id, status, report_document(report), ended)


def empty(state: State) -> None:
    """Keep a fleet of nobody."""
    nothing = Status(NOW, None, 0, (), {}, traffic=Traffic())
    keep(state, nothing, days=0)


def fine(state: State) -> None:
    """Keep a small fleet that is current."""
    ran(state, 1, 90, {"changed": 8}, "done")
    ran(state, 2, 30, {"ok": 8}, "done")
    keep(state, status(8))


def _troubled(
    said: str = "check is-whole failed after the switch: exit 1, expected 0", name: str = "till-0231"
) -> Status:
    return status(
        48_212,
        unknown=665,
        late=LATE,
        rollouts=(
            rollout(
                "spyware-pattern",
                "16.183.00",
                "halted",
                1,
                "halted in wave 1 of 3",
                WaveCounts(41, 38, 3),
                reason=f"3 of 41 clients failed, and at most 0 may ({name}: {said})",
            ),
            rollout(
                "behavior-monitoring-driver",
                "4.660.1000",
                "running",
                2,
                "wave 3 of 3 waits for approval: updoser rollout approve behavior-monitoring-driver",
                awaits=True,
                since=2 * DAY,
            ),
            rollout("url-filtering-engine", "9.850.1010", "paused", 2, f"paused in wave 2 of 3: {said}", reason=said),
            rollout(
                "virus-pattern",
                "15.787.00",
                "running",
                2,
                "wave 2 of 3 is open: 3184 of 4821 done",
                WaveCounts(4_821, 3_180, 4, 1_520, 117),
                since=4 * HOUR,
            ),
        ),
        sources=(
            SourceStatus("vendor", NOW - 21 * HOUR / 60),
            SourceStatus("mirror-hq", NOW - 42 * HOUR, f"timestamp.json: signature expired ({said})", stale=True),
            SourceStatus("community", NOW - 3 * HOUR, "429 Too Many Requests", cooldown_until=NOW + 5 * HOUR),
        ),
        quarantined=(
            Quarantined(name, "office", NOW + HOUR, 3, said),
            Quarantined(LONG, "office", NOW + 2 * HOUR, 5, "not enough disk: 12.0 MiB free, 21.5 MiB needed"),
        ),
        withdrawn=(WithdrawnStatus("virus-pattern", "15.783.00", said, "vendor", 908),),
        troubles=(Troubled("silent", 665, ("office", "plant"), (Failure(name, "office", "", said, reason="silent"),)),),
    )


def trouble(state: State) -> None:
    """Keep a fleet in which several things need somebody."""
    ran(state, 1, 180, {"changed": 41, "failed": 3}, "failed")
    ran(state, 2, 120, {"ok": 4}, "done", actor="ann")
    ran(state, 3, 81, {"changed": 1_200}, "done")
    keep(state, _troubled())


def busy(state: State) -> None:
    """Keep the same while a run is under way: this process holds the lock as long as it lives."""
    trouble(state)
    HELD.enter_context(state.lock("run"))
    ran(state, 4, 21, None, "running")
    state.report_progress(
        RunProgress(
            run_id="20261129T100004-run",
            command="apply",
            started=NOW - timedelta(minutes=21),
            at=NOW - timedelta(seconds=1),
            step="changing 4 821 clients, wave 2 of 3",
            clients=4_821,
            finished=3_301,
            failed=4,
            unreachable=117,
            sent=7_086_696_038,
        )
    )
    state.pause_controller(Pause(who="ann", reason="change freeze until Monday", since=NOW, until=NOW + 20 * HOUR))


def huge(state: State) -> None:
    """Keep the figures of a million clients in 200 groups."""
    found = status(1_000_000, unknown=12_345, late=LATE)
    many = {f"group-{number:03}": found.groups["plant"] for number in range(200)}
    deploys = tuple(
        Deploy("virus-pattern", f"group-{n:03}", "1", "a" * 64, "2", "b" * 64, "any", "outdated", 5_000, ("c1",), 9, 9)
        for n in range(200)
    )
    plan = Plan("p", NOW, Basis("l", 1, 0, "5" * 64, "c" * 64), deploys=deploys, members={"c1": ("pc-1",)})
    keep(state, replace(found, groups=many, rollouts=_troubled().rollouts), plan=plan)
    for number in range(20):
        ran(state, number, 5 * number, {"changed": 50_000}, "done")


def hostile(state: State) -> None:
    """Keep a fleet in which others wrote all that they could."""
    found = _troubled(HOSTILE, HOSTILE[:200])
    first, *rest = found.components
    odd = replace(first, name=f"{HOSTILE} {LONG}", kept_back=HOSTILE, versions={**first.versions, "missing": 1})
    ran(state, 1, 5, {"changed": 1}, "done", actor=HOSTILE)
    keep(state, replace(found, components=(odd, *rest), groups={**found.groups, HOSTILE: found.groups["plant"]}))
    state.pause_controller(Pause(who=HOSTILE, reason=HOSTILE, since=NOW))


MADE: dict[str, Callable[[State], None]] = {
    "empty": empty,
    "fine": fine,
    "trouble": trouble,
    "busy": busy,
    "huge": huge,
    "hostile": hostile,
}
