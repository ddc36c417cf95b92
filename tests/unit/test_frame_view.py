"""What stands around each page of the console: nobody believes a page of a controller that is gone, late or paused."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from reconciler.model.controller import ControllerReport, ControllerStatus, Pause, RunProgress
from reconciler.present.html.frame_view import Known, around
from tests import shown
from tests.fakes import NOW

MINUTE = timedelta(minutes=1)
VIEWER: Any = ("viewer",)
OPERATOR: Any = ("operator",)
SAID = ControllerReport(
    who="ops", phase="sleeping", mode="apply", since=NOW - MINUTE, next_at=NOW + 4 * MINUTE, looked=NOW - MINUTE
)
WELL = ControllerStatus(report=SAID, alive=True)
RUN = RunProgress(
    run_id="r1",
    command="apply",
    started=NOW - MINUTE,
    at=NOW,
    step="changing 4 821 clients, wave 2 of 3",
    clients=4821,
    finished=3180,
    failed=4,
    unreachable=117,
)


def known(**facts: Any) -> Known:
    return Known(now=NOW, **{"status": shown.status(), "shown_at": NOW - MINUTE, "controller": WELL, **facts})


def titles(found: Known, *roles: Any) -> list[str]:
    return [alert.title for alert in around(found, roles).banners]


def test_nothing_is_said_of_a_controller_that_is_well() -> None:
    assert titles(known()) == []
    assert titles(known(controller=None)) == []


@pytest.mark.parametrize(
    ("controller", "title"),
    [
        (replace(WELL, alive=False), "The controller is gone"),
        (ControllerStatus(report=replace(SAID, phase="stopped"), alive=False), "The controller was stopped"),
        (
            ControllerStatus(report=replace(SAID, next_at=NOW - 30 * MINUTE), alive=True),
            "The controller is late by 30 min",
        ),
        (
            replace(WELL, pause=Pause(who="ann", reason="freeze", since=NOW, until=NOW + MINUTE)),
            "The controller is paused until 2026-11-24T12:01:00Z",
        ),
        (
            ControllerStatus(report=replace(SAID, trouble="the disk is full", failures=3), alive=True),
            "The controller fails: 3 rounds in a row",
        ),
    ],
)
def test_a_controller_that_does_not_keep_the_fleet_current_is_told_on_each_page(controller: Any, title: str) -> None:
    assert titles(known(controller=controller)) == [title]


def test_only_who_may_is_asked_whether_a_controller_should_go_on() -> None:
    paused = known(controller=replace(WELL, pause=Pause(who="ann", reason="freeze", since=NOW)))
    (alert,) = around(paused, VIEWER).banners
    assert (alert.buttons, "ann" in alert.why, "freeze" in alert.why) == ((), True, True)
    (alert,) = around(paused, OPERATOR).banners
    assert [button.link for button in alert.buttons] == ["/do/resume_controller"]


def test_a_spec_that_is_refused_is_told() -> None:
    refused = ControllerStatus(report=replace(SAID, rejected="line 3 is no good"), alive=True)
    (alert,) = around(known(controller=refused), ()).banners
    assert (alert.tone, alert.why) == ("bad", "line 3 is no good")


def test_a_run_is_shown_while_somebody_carries_it_out_and_not_when_its_process_died() -> None:
    run = around(known(progress=RUN, busy=True), ()).run
    assert run is not None
    assert (run.part, run.whole, run.link) == (3180, 4821, "/runs/r1")
    assert run.detail == "3 180 of 4 821 done, 4 failed, 117 not reached"
    assert around(known(progress=RUN, busy=False), ()).run is None
    silent = around(known(progress=replace(RUN, at=NOW - 9 * MINUTE), busy=True), ()).run
    assert silent is not None
    assert "no word since 2026-11-24T11:51:00Z" in silent.detail


def test_the_navigation_counts_what_needs_somebody() -> None:
    found = around(known(waiting=2), ()).badges
    assert {path: badge.number for path, badge in found.items()} == {"/rollouts": "1", "/audit": "2"}
    gone = known(waiting=2, controller=replace(WELL, alive=False))
    assert "2 requests wait for a controller" in titles(gone)
