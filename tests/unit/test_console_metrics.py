"""The metrics of the console: those of the controller, as the state has them."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from reconciler.console.frame import Console
from reconciler.console.metrics import metrics_of
from reconciler.model.controller import ControllerReport
from reconciler.model.request import Request
from reconciler.present.prometheus import status_prometheus
from reconciler.storage.state import State
from tests import shown
from tests.console import NOW, ask, console_app
from tests.unit.test_prometheus import values

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(f"sqlite:///{tmp_path}/state.db", clock=lambda: NOW) as state:
        yield state


def fill(state: State) -> None:
    state.keep_snapshots("status", {"": {key: entry for key, entry in shown.status().items() if key != "groups"}})
    state.report_controller(ControllerReport(who="ann", phase="sleeping", mode="apply", since=NOW, next_at=NOW))


def test_the_console_tells_of_the_fleet_what_the_controller_does(state: State) -> None:
    fill(state)
    of_status = values(status_prometheus(shown.status()))
    found = values(metrics_of(Console(state, lambda: NOW)))
    assert of_status.items() <= found.items()
    assert found["updoser_leader"] == 0
    assert found['updoser_controller_phase{phase="stopped"}'] == 1
    state.ask(Request(at=NOW, who="ann", kind="look"))
    assert values(metrics_of(Console(state, lambda: NOW)))["updoser_requests_waiting"] == 1


def test_before_the_controller_looked_there_are_few_and_the_answer_is_the_text_format(state: State) -> None:
    answer = ask(console_app(state), "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert [series.partition("{")[0] for series in values(answer.text)] == ["updoser_build_info"]


@pytest.mark.needs("promtool")
def test_promtool_finds_nothing_wrong_with_what_the_console_gives(state: State) -> None:
    promtool = shutil.which("promtool")
    assert promtool
    fill(state)
    text = metrics_of(Console(state, lambda: NOW))
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
