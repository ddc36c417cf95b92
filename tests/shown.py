"""Documents with something of everything, for tests of what shows them; others have a say in each of their texts."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from reconciler.model.attribution import Attribution
from reconciler.model.change import Deploy, Download, Settings
from reconciler.model.forecast import Forecast, Point, Reach, ReleaseForecast, WaveForecast
from reconciler.model.outlook import Arrival, Later, Outlook, WaveOpen, WaveStep
from reconciler.model.plan import Basis, Finding, Plan, RolloutStep, WaveCounts
from reconciler.model.provenance import Provenance
from reconciler.model.release import SignedBy
from reconciler.model.report import (
    ComponentStatus,
    Failure,
    Held,
    Quarantined,
    Report,
    SourceStatus,
    Status,
    Traffic,
    Troubled,
    WithdrawnStatus,
)
from reconciler.model.rollout import Cut, RolloutRecord
from reconciler.model.spec_change import SpecChange
from reconciler.model.way_back import WayBack
from reconciler.present.document import plan_document, report_document, status_document
from reconciler.present.forecast_text import forecast_document
from tests.fakes import NOW

if TYPE_CHECKING:
    from reconciler.model.rollout import RolloutStatus

HOUR = timedelta(hours=1)
BASIS = Basis("0123456789abcdef", 1, 0, "5" * 64, "c" * 64)


def rollout(
    component: str = "rules", status: RolloutStatus = "running", says: str = "", *, new: bool = False, wave: int = 2
) -> RolloutStep:
    """Give a rollout in three waves."""
    record = RolloutRecord(
        component=component,
        version="2",
        group="",
        status=status,
        cuts=(Cut("label=canary"), Cut(upto=5), Cut(upto=2**32 - 1)),
        sizes=(3, 97, 900),
        structure="s",
        started=NOW,
        opened=NOW,
        wave=wave,
        reason=says,
    )
    where = f"{status} in wave {wave} of 3: {says}" if says else f"wave {wave} of 3 is open: 43 of 97 done"
    return RolloutStep(record, new=new, says=where, counts=WaveCounts(97, 40, 2, 54, 1, 9))


def deploy(component: str, cohort: str = "c1", before: str = "1", **more: Any) -> Deploy:
    """Give a change of the clients of a cohort."""
    fields = {"reason": "outdated", "clients": 2, "members": (cohort,), "bytes": 1536, "bytes_full": 2048, **more}
    return Deploy(component, "office", before, "a" * 64 if before else "", "2", "b" * 64, "any", **fields)


def plan(said: str = "it is away", name: str = "pc-1", notes: str = "Fewer false alarms", **more: Any) -> Any:
    """Give a plan with all parts that a page may have.

    `said` is what others say, `name` what a client is called, and `notes` what a source says of a release.
    """
    fields: dict[str, Any] = {
        "downloads": (Download("rules", "", "2", "b" * 64, "any", "drop", 2048, "missing"),),
        "deploys": (
            *(deploy(f"pattern-{number}") for number in range(5)),
            deploy("rules", reason="pinned", downgrade=True),
            deploy("engine", "c2", "", reason="missing", clients=1),
        ),
        "settings": (Settings("office", "missing", 1, ("c2",)),),
        "rollouts": (rollout(new=True), rollout("engine", "halted", said), rollout("driver", "paused", said)),
        "drift": (Finding("office", 1, ("c2",), said, "rules", "1"),),
        "held": (Finding("office", 2, ("c1",), said, "tool", "4"),),
        "unknown": (Finding("office", 1, ("c3",), said),),
        "gone": (name, "old-pc"),
        "problems": (f"source vendor: {said}", *(f"{name}-{number}: disk {number} is full" for number in range(9))),
        "notes": (said,),
        "spec_changes": (
            SpecChange("a", "changed", f"a: 1 -> {said}", safety=True),
            SpecChange("b", "added", "b is new: 2"),
        ),
        "against_base": (Attribution("change", "deploy", "rules", "2", "office", 2),),
        "provenance": (
            Provenance(
                *("rules", "2", "any", "b" * 64),
                released=NOW - HOUR,
                notes=notes,
                signed_by=SignedBy("vendor", "targets", 2, 3),
            ),
            Provenance("engine", "2", "any", "b" * 64),
        ),
        "ways_back": (WayBack("rules", "2", 4, 1, 1),),
        "run": Outlook(
            steps=(
                WaveStep(1, 2, 5120, estimated=True, rollouts=(WaveOpen("rules", "2", "", 2, 3),)),
                WaveStep(2, 1, 2048),
            ),
            clients=3,
            bytes=7168,
            later=(Later("rules", "2", "", 900, said, at=NOW + HOUR),),
            arrivals=(Arrival("rules", "2", "", half=NOW + HOUR, never=said),),
        ),
        "members": {"c1": (name, "pc-2"), "c2": ("pc-3",), "c3": ("pc-4",)},
        "clients": {"office": 48_212, "plant": 3},
        **more,
    }
    return plan_document(Plan("20261124T120000-abc", NOW, BASIS, **fields))


def status(said: str = "it is away", name: str = "pc-1") -> Any:
    """Give a status with all parts that a page may have."""
    components = (
        ComponentStatus("rules", "2", "3", 40, 60, 1, 7, {"2": 40, "1": 50, said: 10}, 90_000, 3, said),
        ComponentStatus("engine", "9", "9", 105, 0, 0, 3, {"9": 105}, 7_200),
    )
    return status_document(
        Status(
            NOW,
            NOW - HOUR,
            48_212,
            components,
            {"office": components, name: components[1:]},
            sources=(
                SourceStatus("vendor", NOW, said, stale=True),
                SourceStatus("hq", NOW, expires={"root": NOW + 300 * 24 * HOUR}),
            ),
            drifted={"rules": 3},
            traffic=Traffic(1 << 30, 5, 1 << 33, 1 << 31),
            withdrawn=(WithdrawnStatus("rules", "1", said, "vendor", 50),),
            rollouts=(rollout(), rollout("engine", "halted", said)),
            troubles=(Troubled("host_key", 40, (name,), (Failure(name, "office", "", said),)),),
            quarantined=(Quarantined(name, "office", NOW + HOUR, 3, said),),
        )
    )


def report(said: str = "it is away", name: str = "pc-1") -> Any:
    """Give a report with all parts that a page may have."""
    failed = [Failure(f"{name}-{number}", "office", "rules", f"no room: {number} MiB") for number in range(40)]
    return report_document(
        Report(
            run_id="20261124T120000-run",
            plan_id="20261124T120000-abc",
            started=NOW,
            ended=NOW + HOUR,
            recap={"office": {"changed": 97, "failed": 41, "unreachable": 1}, name: {"ok": 3}},
            failed=(*failed, Failure("pc-9", "office", "rules", said, fault="machine")),
            unreachable=(Failure(name, "office", "", said),),
            held=(Held("office", "rules", "2", said, 3),),
            bytes_received=2048,
            bytes_sent=1 << 20,
            bytes_saved=1 << 22,
            generated=2,
            rollouts=(rollout(), rollout("engine", "halted", said)),
            next_step_at=NOW + HOUR,
            steps=(WaveStep(1, 3, 100, rollouts=(WaveOpen("rules", "2", "", 1, 3),)), WaveStep(2, 94, 200)),
        )
    )


def forecast(said: str = "it is away", name: str = "plant", *, slower: int = 2) -> Any:
    """Give a forecast of three releases beside one in which all is slower."""
    return forecast_document(
        _forecast(said, name, 1), [f"this change brings {name} to 50 % later"], _forecast(said, name, slower)
    )


def _forecast(said: str, name: str, pace: int) -> Forecast:
    def release(component: str, never: str = "", group: str = "") -> ReleaseForecast:
        opens = [NOW + HOUR * hours * pace for hours in (0, 4, 28)]
        waves = (
            WaveForecast(1, 2, 20, opens[0], opens[0]),
            WaveForecast(2, 3, 50, opens[1], opens[1]),
            WaveForecast(3, 5, 100, *(() if never else (opens[2], opens[2]))),
        )
        curve = (Point(opens[0], 2), Point(opens[1], 5), *(() if never else (Point(opens[2], 10),)))
        last = None if never else opens[2]
        reaches = (Reach(50, opens[1]), Reach(95, last), Reach(100, last))
        return ReleaseForecast(component, "2", group, 10, waves=waves, reaches=reaches, curve=curve, never=never)

    releases = (release("rules"), release("driver"), release("engine", said, name))
    return Forecast(NOW, NOW + HOUR * 28 * pace, releases=releases)
