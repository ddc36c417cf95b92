"""A plan file and a world that went on, or back, since it was made: what was approved is done once, or refused."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from reconciler import assembly, cli
from reconciler.present.terminal import Terminal
from tests.fleet import ONE_WAVE, Fleet
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WAITS: dict[str, Any] = {"name": "waits", "for": "rules", "phase": "staged", "where": "client", "timeout": "2m"}
WAITS["run"] = 'touch "$UPDOSER_ROOT/../begun"; until test -e "$UPDOSER_ROOT/../go"; do sleep 0.1; done'


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the folder of a fleet that has release 1, and of which release 2 is planned."""
    fleet = Fleet(tmp_path_factory.mktemp("prepared"))
    fleet.write(auto_update=ONE_WAVE)
    fleet.release("rules", "1", rules_txt=b"1")
    assert fleet.apply().code == 0
    fleet.release("rules", "2", rules_txt=b"2")
    (fleet.folder / "key").write_text("k" * 32)
    assert fleet.run("plan", "--out", "a.plan", "--sign", "key").code == 0
    return fleet.folder


@pytest.fixture
def fleet(prepared: Path, tmp_path: Path) -> Fleet:
    shutil.copytree(prepared, tmp_path, symlinks=True, dirs_exist_ok=True)
    fleet = Fleet(tmp_path)
    fleet.write(auto_update=ONE_WAVE)
    return fleet


def versions(fleet: Fleet) -> list[str]:
    """Give the version of each client."""
    return [fleet.current(name, "rules")["rules.txt"].decode() for name in ("c1", "c2", "c3")]


def copy_state(fleet: Fleet, to: str) -> None:
    with (
        closing(sqlite3.connect(fleet.folder / "state.db")) as state,
        closing(sqlite3.connect(fleet.folder / to)) as copy,
    ):
        state.backup(copy)


def restore_state(fleet: Fleet, source: str) -> None:
    for path in fleet.folder.glob("state.db*"):
        path.unlink()
    shutil.copy(fleet.folder / source, fleet.folder / "state.db")


def test_after_a_restore_of_the_state_a_plan_that_was_applied_takes_nobody_back(fleet: Fleet) -> None:
    copy_state(fleet, "backup.db")
    assert fleet.run("apply", "a.plan").code == 0
    fleet.release("rules", "3", rules_txt=b"3")
    assert fleet.apply().code == 0
    assert fleet.run("plan", "--out", "later.plan").code == 0
    restore_state(fleet, "backup.db")
    later = fleet.run("apply", "later.plan")
    assert (later.code, "this state knows no such plan" in later.err) == (5, True)
    again = fleet.run("apply", "a.plan", "--format", "json")
    assert (again.code, again.json["recap"]["all"]["skipped"]) == (0, 3)
    assert versions(fleet) == ["3", "3", "3"]
    assert fleet.run("plan", "--detailed-exitcode").code in {0, 2}
    assert fleet.apply().code == 0
    assert versions(fleet) == ["3", "3", "3"]


def test_a_signed_plan_of_another_state_is_refused_before_a_client_is_touched(fleet: Fleet) -> None:
    for path in fleet.folder.glob("state.db*"):
        path.unlink()
    before = fleet.listing()
    for more in ((), ("--adopt",)):
        refused = fleet.run("apply", "a.plan", "--sign", "key", *more)
        assert (refused.code, "the state's lineage changed" in refused.err) == (5, True)
    assert fleet.listing() == before


def stopped_midway(fleet: Fleet, meanwhile: Callable[[Any], None]) -> Any:
    """Begin to apply the plan of a fleet whose checks wait, do something meanwhile, and let it go on."""
    fleet.spec["groups"]["all"]["checks"] = [WAITS]
    fleet.write()
    assert fleet.run("plan", "--out", "a.plan").code == 0
    clients = fleet.folder / "clients"
    process = fleet.start("apply", "a.plan", "--forks", "1")
    try:
        until((clients / "begun").exists, process)
        meanwhile(process)
    finally:
        (clients / "go").touch()
        process.communicate(timeout=PATIENCE)
    return process


def test_a_plan_that_was_killed_half_way_goes_on_with_the_next_apply_unless_the_spec_changed(fleet: Fleet) -> None:
    stopped_midway(fleet, lambda process: process.kill())
    fleet.write(client_keep=3)
    refused = fleet.run("apply", "a.plan")
    assert (refused.code, "the spec changed" in refused.err) == (5, True)
    fleet.write(client_keep=2)
    done = fleet.run("apply", "a.plan")
    assert done.code == 0, done.err
    assert versions(fleet) == ["2", "2", "2"]
    again = fleet.run("apply", "a.plan")
    assert (again.code, "nothing left to do" in again.err) == (0, True)


def test_what_was_approved_is_done_though_the_spec_changes_meanwhile_and_the_next_plan_goes_by_that(
    fleet: Fleet,
) -> None:
    process = stopped_midway(fleet, lambda _process: fleet.write(components={"rules": {"version": "1"}}))
    assert process.returncode == 0
    assert versions(fleet) == ["2", "2", "2"]
    (change,) = (
        entry for entry in fleet.run("plan", "--format", "json").json["changes"] if entry["action"] == "deploy"
    )
    assert (change["from"], change["to"], change["downgrade"]) == ("2", "1", True)


def test_a_clock_that_goes_back_between_plan_and_apply_makes_no_soak_shorter_or_longer(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.write(auto_update={"rollout": {"waves": [{"count": 1, "soak": "1h"}, {"share": "100%"}]}})
    assert fleet.run("plan", "--out", "a.plan").code == 0
    yesterday = datetime.now(UTC) - timedelta(days=1)
    for minutes, have in ((0, 1), (30, 1), (61, 3)):
        now = yesterday + timedelta(minutes=minutes)
        monkeypatch.setattr(assembly, "utc_now", lambda now=now: now)
        file = str(fleet.folder / "a.plan")
        code = cli.run(["apply", file, "-f", str(fleet.folder / "updoser.yaml")], Terminal())
        assert code == 0, capsys.readouterr().err
        assert versions(fleet).count("2") == have, minutes
