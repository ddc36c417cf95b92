"""Metrics: what Prometheus reads of a status, and what alerts hang on."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler import cli
from reconciler.model.controller import ControllerReport, ControllerStatus, Pause
from reconciler.model.plan import RolloutStep
from reconciler.model.report import ComponentStatus, SourceStatus, Status
from reconciler.model.rollout import Cut, RolloutRecord
from reconciler.present.document import status_document
from reconciler.present.prometheus import METRICS, Sample, exposition, status_prometheus
from reconciler.present.render import render
from reconciler.present.terminal import Terminal
from reconciler.present.views import STATUS
from tests import shown
from tests.fakes import NOW
from tests.fleet import Fleet

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "docs" / "monitoring"
PAGE = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
SERIES = re.compile(r'(\w+)(?:\{((?:\w+="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)')
"""A line as the text format has it."""


def values(text: str) -> dict[str, float]:
    """Give the value of each series, as written."""
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            assert SERIES.fullmatch(line), line
            series, _space, value = line.rpartition(" ")
            assert series not in found, series
            found[series] = float(value)
    return found


def status(**more: Any) -> Mapping[str, Any]:
    return status_document(Status(NOW, NOW, 3, (), {}, **more))


def test_every_figure_of_a_status_is_a_metric_that_equals_it() -> None:
    document = shown.status()
    found = values(render(document, "prometheus", STATUS))
    assert found["updoser_fleet_clients"] == document["clients"]
    for entry in document["components"]:
        name = f'component="{entry["id"]}"'
        for state in ("updated", "outdated", "ahead", "unknown"):
            assert found[f'updoser_clients{{{name},state="{state}"}}'] == entry[state]
        assert found[f"updoser_component_updated_ratio{{{name}}}"] == entry["rate"]
    assert found["updoser_quarantined_clients"] == 1
    assert found['updoser_troubled_clients{reason="host_key"}'] == 40
    assert (found['updoser_source_stale{source="vendor"}'], found['updoser_source_stale{source="hq"}']) == (1, 0)
    assert found['updoser_transferred_bytes_total{direction="received"}'] == 1 << 30
    assert found['updoser_saved_bytes_total{direction="sent"}'] == document["traffic"]["saved"]
    halted = 'component="engine",version="2",group=""'
    states = {key: value for key, value in found.items() if key.startswith(f"updoser_rollout_state{{{halted}")}
    assert [key for key, value in states.items() if value] == [f'updoser_rollout_state{{{halted},state="halted"}}']


def test_groups_are_told_apart_only_where_that_is_asked_for() -> None:
    document = shown.status()
    assert "updoser_group_clients" not in status_prometheus(document)
    found = values(status_prometheus(document, groups=True))
    assert found['updoser_group_clients{group="office",component="rules",state="outdated"}'] == 60


def test_no_metric_has_the_name_of_a_client() -> None:
    assert "secret-pc" not in status_prometheus(shown.status(name="secret-pc"))


def test_when_a_version_came_out_is_told_to_the_second() -> None:
    counted = ComponentStatus("rules", "2", "2", 1, 0, 0, 0, released_at=NOW - timedelta(hours=1))
    found = values(status_prometheus(status_document(Status(NOW, None, 1, (counted,), {}))))
    series = 'updoser_component_released_timestamp_seconds{component="rules"}'
    assert found[series] == NOW.timestamp() - 3600
    assert "updoser_last_look_timestamp_seconds" not in found


def waiting(*, approval: bool) -> RolloutStep:
    record = RolloutRecord(
        component="rules",
        version="2",
        group="",
        status="running",
        cuts=(Cut(upto=1), Cut(upto=3)),
        sizes=(1, 2),
        structure="s",
        started=NOW,
        opened=NOW,
        cleared=True,
        passed=NOW,
    )
    return RolloutStep(record, new=False, says="", awaits_approval=approval)


def test_a_rollout_that_waits_for_somebody_is_told_apart_from_one_that_goes_on() -> None:
    series = 'updoser_rollout_needs_approval{component="rules",version="2",group=""}'
    for approval in (True, False):
        found = values(status_prometheus(status(rollouts=(waiting(approval=approval),))))
        assert found[series] == int(approval)


@pytest.mark.parametrize(("alive", "leads", "phase"), [(True, 1, "changing"), (False, 0, "stopped")])
def test_a_controller_that_died_leads_nothing_and_is_in_no_phase_but_stopped(
    alive: bool, leads: int, phase: str
) -> None:
    said = ControllerReport(who="ann", phase="changing", mode="apply", since=NOW, next_at=NOW, failures=2)
    pause = Pause(who="ann", reason="audit", since=NOW)
    found = values(status_prometheus(status(controller=ControllerStatus(report=said, alive=alive, pause=pause))))
    assert (found["updoser_leader"], found["updoser_paused"], found["updoser_controller_failures"]) == (leads, 1, 2)
    phases = [key for key, value in found.items() if key.startswith("updoser_controller_phase") and value]
    assert phases == [f'updoser_controller_phase{{phase="{phase}"}}']
    assert ("updoser_run_in_progress_since_timestamp_seconds" in found) is alive


def test_the_spec_in_force_drift_and_what_runs_out_are_metrics() -> None:
    ends = {"root": NOW + timedelta(days=9), "timestamp": NOW}
    said = ControllerReport(
        who="ann", phase="sleeping", mode="apply", since=NOW, commit="c" * 40, signer="ann", verified=NOW
    )
    document = status(
        controller=ControllerStatus(report=said, alive=True, waiting=3),
        drifted={"": 1, "rules": 2},
        sources=(SourceStatus("hq", NOW, expires=ends),),
    )
    found = values(status_prometheus(document))
    assert found[f'updoser_spec_commit_info{{commit="{"c" * 40}",signer="ann"}}'] == 1
    assert found["updoser_spec_last_verified_timestamp_seconds"] == NOW.timestamp()
    assert found["updoser_requests_waiting"] == 3
    drift = [found[f'updoser_drifted_clients{{component="{name}"}}'] for name in ("", "rules")]
    assert drift == [1, 2]
    for role, at in ends.items():
        series = f'updoser_signature_expires_timestamp_seconds{{source="hq",role="{role}"}}'
        assert found[series] == at.timestamp()


@given(st.lists(st.tuples(st.text(), st.floats(allow_nan=False, allow_infinity=False)), max_size=8))
def test_whatever_names_are_given_each_line_is_one_series_and_no_series_comes_twice(
    found: list[tuple[str, float]],
) -> None:
    text = exposition(Sample("updoser_clients", value, {"component": name}) for name, value in found)
    assert len(values(text)) <= len(found)
    text.encode()


def test_every_metric_is_documented_and_none_that_there_is_not() -> None:
    rows = dict(re.findall(r"^\| `(updoser_\w+)[^`]*` \| (\w+) \|", PAGE, flags=re.MULTILINE))
    assert rows == {name: metric.kind for name, metric in METRICS.items()}


CONTRACT = [
    "build_info",
    "status_timestamp_seconds",
    "last_look_timestamp_seconds",
    "fleet_clients",
    "clients",
    "group_clients",
    "component_updated_ratio",
    "component_released_timestamp_seconds",
    "component_info",
    "quarantined_clients",
    "troubled_clients",
    "rollout_state",
    "rollout_wave",
    "rollout_waves",
    "rollout_wave_clients",
    "rollout_needs_approval",
    "rollout_stuck",
    "next_step_timestamp_seconds",
    "source_last_success_timestamp_seconds",
    "source_stale",
    "source_error",
    "transferred_bytes_total",
    "saved_bytes_total",
    "leader",
    "controller_phase",
    "controller_failures",
    "last_round_timestamp_seconds",
    "next_look_timestamp_seconds",
    "run_in_progress_since_timestamp_seconds",
    "paused",
    "reconcile_total",
    "run_duration_seconds",
    "run_clients_total",
    "last_run_timestamp_seconds",
    "drifted_clients",
    "signature_expires_timestamp_seconds",
    "repository_signature_expires_timestamp_seconds",
    "requests_waiting",
    "spec_commit_info",
    "spec_last_verified_timestamp_seconds",
    "notifications_total",
]


def test_no_metric_that_alerts_may_hang_on_goes_away() -> None:
    assert {f"updoser_{name}" for name in CONTRACT} <= set(METRICS)


def test_a_status_gives_metrics_and_writes_them_for_a_textfile_collector_beside_what_it_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet, into = Fleet(tmp_path, 2), tmp_path / "updoser.prom"
    command = ["status", "-f", str(fleet.folder / "updoser.yaml")]
    assert cli.run([*command, "--metrics-into", str(into), "--groups"], Terminal()) == 0
    assert "# HELP" not in capsys.readouterr().out
    assert 'updoser_group_clients{group="all",component="rules",state="unknown"} ' in into.read_text()
    assert cli.run([*command, "--format", "prometheus"], Terminal()) == 0
    shown = capsys.readouterr().out
    assert values(shown)["updoser_fleet_clients"] == values(into.read_text())["updoser_fleet_clients"]
    assert "updoser_group_clients" not in shown


@pytest.mark.needs("promtool")
def test_promtool_finds_nothing_wrong_with_the_metrics() -> None:
    promtool = shutil.which("promtool")
    assert promtool
    text = status_prometheus(shown.status(name='"\\\n\x1b'), groups=True)
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.needs("promtool")
def test_each_alert_fires_when_it_should_and_not_before() -> None:
    promtool = shutil.which("promtool")
    assert promtool
    tests = sorted(ALERTS.glob("*.tests.yaml"))
    command = [promtool, "test", "rules", *map(str, tests)]
    done = subprocess.run(command, cwd=ALERTS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rules = (ALERTS / "alerts.rules.yaml").read_text(encoding="utf-8")
    tested = [name for file in tests for name in re.findall(r"- name: (\w+)", file.read_text(encoding="utf-8"))]
    assert sorted(tested) == sorted(re.findall(r"- alert: (\w+)", rules))


def test_alerts_hang_on_metrics_that_there_are_and_say_what_to_do() -> None:
    rules = yaml.safe_load((ALERTS / "alerts.rules.yaml").read_text(encoding="utf-8"))["groups"][0]["rules"]
    for rule in rules:
        assert set(re.findall(r"updoser_\w+", rule["expr"])) <= set(METRICS), rule["alert"]
        assert rule["annotations"].keys() == {"summary", "do"}
