"""What a controller keeps of a round for those who show it, and how far a run is while it is carried out."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jsonschema
import pytest

from reconciler.controller.snapshot import SAMPLED, keep_snapshots
from reconciler.errors import UpdoserError
from reconciler.execute.so_far import after, looked_on
from reconciler.formats.where import conditions_of
from reconciler.model.controller import RunProgress
from reconciler.model.events import Trouble
from reconciler.model.plan import Plan
from reconciler.model.policy import Wave
from reconciler.model.report import Status
from reconciler.model.work_events import ClientFinished, DeployStarted, DownloadProgress, DownloadStarted, RunStarted
from reconciler.observe.observed import Sight
from reconciler.planner.inputs import Observed
from reconciler.planning import PlanOptions, look_and_plan, status_from
from reconciler.present.html import links
from reconciler.storage.state import State
from tests.fakes import NOW
from tests.postgres import BOTH
from tests.unit.workbench import Bench, Opened

BENCHES_ON = BOTH

ROOT = Path(__file__).parents[2]


def looked(bench: Bench, *, refresh: bool = False) -> tuple[Status, Plan, Observed]:
    with bench.work() as work:
        plan, observed = look_and_plan(work, PlanOptions(Sight(refresh=refresh)))
        return status_from(work, observed, plan), plan, observed


def keep(bench: Bench, mask: Any = lambda text: text, *, refresh: bool = False) -> None:
    found = looked(bench, refresh=refresh)
    with bench.work() as work:
        keep_snapshots(work, *found, mask)


@pytest.fixture
def bench(opened: Opened) -> Bench:
    bench = opened({"a": 3, "b": 2})
    bench.policy(waves=(Wave(count=1), Wave(share=1)))
    bench.release("2")
    bench.apply()
    return bench


def test_what_is_kept_is_the_status_in_parts_and_the_plan_without_names(bench: Bench) -> None:
    bench.release("3")
    keep(bench, refresh=True)
    status, group = bench.state.snapshot("status"), bench.state.snapshot("group", "a")
    assert status is not None
    assert group is not None
    assert bench.state.snapshot_names("group") == ["a", "b"]
    schema = json.loads((ROOT / "schema/status.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate({**status.document, "groups": [group.document]}, schema)
    assert "groups" not in status.document
    kept = bench.state.snapshot("plan")
    assert kept is not None
    assert kept.document["changes"]
    assert not any(f'"{name}"' in kept.data for name in bench.machines)


def test_a_group_that_is_gone_is_shown_no_more(bench: Bench) -> None:
    keep(bench)
    status, plan, observed = looked(bench)
    with bench.work() as work:
        keep_snapshots(work, replace(status, groups={"a": status.groups["a"]}), plan, observed)
    assert bench.state.snapshot_names("group") == ["a"]


def test_no_secret_is_in_what_is_kept(bench: Bench) -> None:
    keep(bench, lambda text: text.replace("rules", "***"))
    for kind, name in (("status", ""), ("group", "a"), ("plan", ""), ("component", "rules")):
        found = bench.state.snapshot(kind, name)  # type: ignore[arg-type]
        assert found is not None
        assert '"rules"' not in found.data


def test_a_fleet_is_sampled_four_times_an_hour_and_older_samples_thin_out(bench: Bench) -> None:
    began = bench.now
    for _round in range(8):
        keep(bench)
        bench.later(SAMPLED / 2)
    found = bench.state.samples("", began)
    assert [(one.at - began) / SAMPLED for one in found] == [0, 1, 2, 3]
    assert (found[-1].updated, found[-1].outdated, found[-1].unknown) == (5, 0, 0)
    assert [one.updated for one in bench.state.samples("rules", began)] == [5] * 4
    bench.later(timedelta(days=8))
    keep(bench)
    assert len(bench.state.samples("", began)) in {2, 3}, "one or two hours, and now"
    bench.later(timedelta(days=60))
    keep(bench)
    assert len(bench.state.samples("", began)) in {3, 4}, "one or two days, the one of a week later, and now"
    bench.later(timedelta(days=731))
    keep(bench)
    assert len(bench.state.samples("", began)) == 1


def test_a_component_is_kept_with_its_releases_and_how_far_each_is(bench: Bench) -> None:
    bench.release("3")
    bench.step()
    keep(bench)
    found = bench.state.snapshot("component", "rules")
    assert found is not None
    document = found.document
    three, two, *_rest = document["releases"]
    assert (three["version"], three["state"], two["version"]) == ("3", "running", "2")
    assert three["says"].startswith("wave ")
    assert three["clients"] + two["clients"] == 5
    assert {entry["group"] for entry in document["groups"]} == {"a", "b"}
    assert document["moves"][0]["version"] == "3"
    status = bench.state.snapshot("status")
    assert status is not None
    (entry,) = status.document["components"]
    assert {version: count for version, count in entry["versions"].items() if count} == {
        release["version"]: release["clients"] for release in document["releases"] if release["clients"]
    }


def test_lists_of_clients_are_as_long_as_the_figures_that_lead_to_them(bench: Bench) -> None:
    bench.release("3")
    bench.step()
    keep(bench)
    status = bench.state.snapshot("status")
    assert status is not None
    (entry,) = status.document["components"]
    assert 0 < entry["updated"] < 5
    for state in ("updated", "outdated", "ahead", "unknown"):
        asked = dict(parse_qsl(urlsplit(links.clients_with("rules", state)).query))
        found = bench.state.count_clients(conditions_of(asked.items()))
        assert (found.number, found.more) == (entry[state], False)
    for state, within, number in (
        ("updated", 1, entry["updated"] + entry["lags"].get("1", 0)),
        ("outdated", 1, entry["outdated"] - entry["lags"].get("1", 0)),
    ):
        asked = dict(parse_qsl(urlsplit(links.clients_within("rules", state, within)).query))
        assert bench.state.count_clients(conditions_of(asked.items())).number == number
    assert bench.state.count_clients(conditions_of([("current", "yes")])).number == status.document["current"]
    for version in entry["versions"]:
        asked = dict(parse_qsl(urlsplit(links.clients_running("rules", version, "a")).query))
        group = bench.state.snapshot("group", "a")
        assert group is not None
        (part,) = group.document["components"]
        assert bench.state.count_clients(conditions_of(asked.items())).number == part["versions"].get(version, 0)


# --- progress ---------------------------------------------------------------------------------------------------------


class Watch:
    """What a state would be told, and a watch that is set."""

    def __init__(self) -> None:
        self.said: list[RunProgress | None] = []
        self.time = 0.0

    def report_progress(self, progress: RunProgress | None) -> None:
        self.said.append(progress)


def test_who_looks_on_sees_a_run_move_each_second_and_then_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch()
    monkeypatch.setattr(State, "report_progress", lambda _state, progress: watch.report_progress(progress))
    with bench.work() as work, looked_on(work, "apply", lambda: watch.time) as seen:
        seen.means.emit(RunStarted("run 1 begins", plan_id="p"))
        seen.means.emit(DeployStarted("changing 9 clients, wave 1 of 2", clients=9, bytes=900))
        for number in range(9):
            watch.time += 0.3
            outcome: Any = {3: "failed", 4: "unreachable"}.get(number, "changed")
            seen.means.emit(ClientFinished("done", client=f"pc-{number}", outcome=outcome, bytes=100))
    told = [one for one in watch.said if one is not None]
    assert [(one.step, one.clients, one.finished) for one in told] == [
        ("run 1 begins", 0, 0),
        ("changing 9 clients, wave 1 of 2", 9, 0),
        ("changing 9 clients, wave 1 of 2", 9, 4),
        ("changing 9 clients, wave 1 of 2", 9, 8),
    ]
    assert (told[-1].failed, told[-1].unreachable, told[-1].sent) == (1, 1, 800)
    assert watch.said[-1] is None


def test_of_downloads_that_begin_at_once_who_looks_on_sees_the_first_and_then_how_far_all_are(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch()
    monkeypatch.setattr(State, "report_progress", lambda _state, progress: watch.report_progress(progress))
    with bench.work() as work, looked_on(work, "apply", lambda: watch.time) as seen:
        for number in range(3):
            seen.means.emit(
                DownloadStarted(f"part-{number} 1 from drop", component=f"part-{number}", version="1", bytes=3)
            )
        watch.time += 1
        seen.means.emit(DownloadProgress("downloaded 1 B of 9 B", bytes=1, total=9, rate=1, seconds_left=8))
        seen.means.emit(DownloadStarted("late 1 from drop", component="late", version="1", bytes=3))
        seen.means.emit(DeployStarted("changing 9 clients", clients=9))
    assert [one.step for one in watch.said if one is not None] == [
        "part-0 1 from drop",
        "downloaded 1 B of 9 B",
        "late 1 from drop",
        "changing 9 clients",
    ]


def test_each_step_of_a_run_counts_its_own_clients_and_the_run_its_bytes() -> None:
    told = RunProgress(run_id="r", command="apply", started=NOW)
    for event in (
        DeployStarted("wave 1", clients=2),
        ClientFinished("done", client="a", outcome="failed", bytes=5),
        Trouble("oh"),
        DeployStarted("wave 2", clients=7),
        ClientFinished("done", client="b", outcome="changed", bytes=6),
    ):
        told = after(told, event)
    assert (told.step, told.clients, told.finished, told.failed, told.sent) == ("wave 2", 7, 1, 0, 11)
    told = after(told, DownloadProgress("downloaded 1 B of 2 B", bytes=1, total=2, rate=1, seconds_left=1))
    assert (told.step, told.clients) == ("downloaded 1 B of 2 B", 0)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[RunProgress | None]:
    said: list[RunProgress | None] = []
    report = State.report_progress

    def tell(state: State, progress: RunProgress | None) -> None:
        said.append(progress)
        report(state, progress)

    monkeypatch.setattr(State, "report_progress", tell)
    return said


def test_an_apply_of_a_person_is_seen_too_and_leaves_nothing_behind(
    bench: Bench, watched: list[RunProgress | None]
) -> None:
    bench.release("3")
    bench.apply()
    told = [one for one in watched if one is not None]
    assert any(one.clients for one in told)
    assert {one.command for one in told} == {"apply"}
    assert bench.state.progress() is None


def test_a_run_whose_progress_cannot_be_written_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_state: State, _progress: RunProgress | None) -> None:
        raise UpdoserError("no room")

    monkeypatch.setattr(State, "report_progress", full)
    bench.release("3")
    bench.apply()
    assert len(bench.running("3")) == 5
