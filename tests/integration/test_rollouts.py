"""Releases go out in waves, through the command line, on clients that are folders: a bad one stops and goes back."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from tests.fleet import Fleet
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tests.fleet import Done

FleetOf: TypeAlias = "Callable[..., Fleet]"

GOOD = {"name": "good", "for": "rules", "phase": "staged", "where": "client"}
GOOD["run"] = '! grep -q BAD "$UPDOSER_STAGED/rules.txt"'
LOADED = {"name": "loaded", "for": "rules", "phase": "switched", "where": "client"}
LOADED["run"] = 'test "$(cat "$UPDOSER_ROOT/../$UPDOSER_VAR_ME.ugly" 2>/dev/null)" != "$UPDOSER_VERSION"'
AFTER = 'echo "after $UPDOSER_COMPONENT $UPDOSER_VERSION" >>"$UPDOSER_ROOT/../$UPDOSER_VAR_ME.log"'
CANARY = {"select": "label=canary", "max_failed": 0}
ALL = {"share": "100%"}


def five_clients(folder: Path) -> Fleet:
    """Give five clients, the first one a canary."""
    fleet = Fleet(folder, 5, client_keep=3)
    for at, client in enumerate(fleet.spec["groups"]["all"]["clients"], 1):
        client["vars"] = {"me": f"c{at}"}
        client["labels"] = ["canary"] if at == 1 else []
    fleet.write()
    return fleet


@pytest.fixture(scope="module")
def first_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of a fleet whose clients all have release 1 of the rules; tests get copies of it."""
    fleet = five_clients(tmp_path_factory.mktemp("first"))
    fleet.release("rules", "1", rules_txt=b"one")
    assert fleet.apply().code == 0
    return fleet.folder


@pytest.fixture
def fleet_of(first_release: Path, tmp_path: Path) -> FleetOf:
    """Give the fleet of the test: five clients with release 1 of the rules, and the rollout that is asked for."""

    def made(
        *waves: Mapping[str, object], checks: Sequence[Mapping[str, object]] = (GOOD, LOADED), **rollout: object
    ) -> Fleet:
        shutil.copytree(first_release, tmp_path, symlinks=True, dirs_exist_ok=True)
        fleet = five_clients(tmp_path)
        hooks = {"after": {"run": AFTER, "timeout": "10s"}}
        fleet.write(
            components={"*": {"hooks": hooks}, "rules": {"version": "latest"}},
            defaults={"checks": list(checks)},
            auto_update={"rollout": {"waves": list(waves), **rollout}},
        )
        return fleet

    return made


def versions(fleet: Fleet) -> str:
    """Give what is in force on each client, as one word."""
    return " ".join((fleet.root(f"c{n}") / "rules/current").readlink().name for n in range(1, 6))


def an_hour_passes(fleet: Fleet) -> None:
    """Have all that rollouts remember be an hour longer ago."""
    with closing(sqlite3.connect(fleet.folder / "state.db")) as state, state:
        state.execute("UPDATE rollouts SET started = started - 3600, opened = opened - 3600, passed = passed - 3600")


def again(fleet: Fleet, code: int = 0) -> Done:
    """Apply once more: nothing is changed."""
    before = fleet.listing()
    done = fleet.apply()
    assert done.code == code, done.err
    assert fleet.listing() == before
    return done


def rollout(fleet: Fleet) -> dict[str, Any]:
    entry: dict[str, Any]
    (entry,) = fleet.run("rollout", "list", "--format", "json").json["rollouts"]
    return entry


def test_each_wave_waits_for_the_soak_and_the_approval_of_the_one_before(fleet_of: FleetOf) -> None:
    fleet = fleet_of({**CANARY, "soak": "1h"}, {"share": "60%", "approve": "manual"}, ALL)
    fleet.release("rules", "2", rules_txt=b"two")
    done = fleet.apply()
    assert (done.code, versions(fleet)) == (0, "2 1 1 1 1")
    assert "wave 1 of 3 soaks until" in done.out
    assert "Next step at " in done.out
    again(fleet)
    an_hour_passes(fleet)
    assert "waits for approval: updoser rollout approve rules" in again(fleet).out
    assert fleet.run("rollout", "approve", "rules", "--as", "alice").code == 0
    plan = fleet.run("plan", "--format", "json").json
    assert [change["wave"] for change in plan["changes"]] == [2]
    done = fleet.apply()
    assert (done.code, versions(fleet)) == (0, "2 2 2 2 2"), "no soak lies between the second and the third"
    again(fleet)
    run = next(r for r in fleet.run("history", "--format", "json").json if r["command"] == "rollout approve rules")
    (entry,) = fleet.run("history", run["run_id"], "--format", "json").json["entries"]
    assert entry["message"] == "wave 2 of 3 approved by alice"


def test_what_fails_before_the_switch_stops_at_the_canary_and_touches_nothing(
    fleet_of: FleetOf, tmp_path: Path
) -> None:
    fleet = fleet_of(CANARY, ALL)
    fleet.release("rules", "2", rules_txt=b"BAD")
    before = {path: stamp for path, stamp in fleet.listing().items() if "/.updoser" not in path}
    done = fleet.apply()
    assert (done.code, versions(fleet)) == (3, "1 1 1 1 1")
    assert {path: stamp for path, stamp in fleet.listing().items() if "/.updoser" not in path} == before
    assert "check good failed before the switch" in done.out
    done = again(fleet, code=3)
    assert "Halted: rules 2 in wave 1 of 2: 1 of 1 clients failed" in done.out
    assert "Halted: rules 2" in fleet.run("status").out
    assert rollout(fleet)["status"] == "halted"
    assert not (tmp_path / "clients/c1.log").exists()


def test_what_fails_after_the_switch_goes_back_at_once_and_the_hook_runs_again(
    fleet_of: FleetOf, tmp_path: Path
) -> None:
    fleet = fleet_of(CANARY, ALL)
    (tmp_path / "clients/c1.ugly").write_text("2")
    fleet.release("rules", "2", rules_txt=b"two")
    done = fleet.apply()
    assert (done.code, versions(fleet)) == (3, "1 1 1 1 1")
    assert "check loaded failed after the switch: exit 1, expected 0; it is back at 1" in done.out
    assert (tmp_path / "clients/c1.log").read_text() == "after rules 2\nafter rules 1\n"
    again(fleet, code=3)
    (tmp_path / "clients/c1.ugly").unlink()
    assert fleet.run("rollout", "resume", "rules").code == 0
    assert (fleet.apply().code, versions(fleet)) == (0, "2 2 2 2 2")
    again(fleet)


@pytest.mark.parametrize(("scope", "left"), [("client", "2 2 2 2 2"), ("wave", "2 2 1 1 1"), ("all", "1 1 1 1 1")])
def test_what_shows_at_the_end_of_a_soak_takes_back_what_the_spec_says(
    fleet_of: FleetOf, tmp_path: Path, scope: str, left: str
) -> None:
    second = {"select": "c2", "min_attempted": 0}
    last = {**ALL, "soak": "1h", "max_fail_percentage": 10}
    fleet = fleet_of(CANARY, second, last, recheck="end_of_soak", on_failure="rollback", rollback_scope=scope)
    fleet.release("rules", "2", rules_txt=b"two")
    assert (fleet.apply().code, versions(fleet)) == (0, "2 2 2 2 2")
    (tmp_path / "clients/c4.ugly").write_text("2")
    an_hour_passes(fleet)
    done = fleet.apply()
    assert (done.code, versions(fleet)) == (3, left)
    assert "1 of 5 clients failed at the end of the soak (c4: check loaded failed in force" in done.out
    assert fleet.run("history", "--format", "json").json[0]["traffic"]["sent"] == 0, "clients kept what they go back to"
    again(fleet, code=3)


def test_a_gate_that_says_no_halts_and_the_next_release_goes_its_way(fleet_of: FleetOf, tmp_path: Path) -> None:
    gate = {"type": "command", "where": "server", "run": "echo drops are high; test ! -e closed", "timeout": "10s"}
    fleet = fleet_of(CANARY, ALL, gate=[gate])
    (tmp_path / "closed").touch()
    fleet.release("rules", "2", rules_txt=b"two")
    done = fleet.apply()
    assert (done.code, versions(fleet)) == (3, "2 1 1 1 1")
    assert "gate 1 of wave 1 failed: it exited with 1: drops are high" in done.out
    again(fleet, code=3)
    (tmp_path / "closed").unlink()
    fleet.release("rules", "3", rules_txt=b"three")
    assert (fleet.apply().code, versions(fleet)) == (0, "3 3 3 3 3")
    again(fleet)


def test_a_plan_file_approves_the_whole_rollout(fleet_of: FleetOf) -> None:
    fleet = fleet_of(CANARY, {**ALL, "approve": "manual"})
    fleet.release("rules", "2", rules_txt=b"two")
    assert fleet.run("plan", "--out", "plan.json").code == 0
    assert (fleet.run("apply", "plan.json").code, versions(fleet)) == (0, "2 1 1 1 1")
    fleet.release("rules", "3", rules_txt=b"three")
    assert (fleet.run("apply", "plan.json").code, versions(fleet)) == (0, "2 1 1 1 1")
    assert fleet.run("rollout", "approve", "rules").code == 0
    assert (fleet.run("apply", "plan.json").code, versions(fleet)) == (0, "2 2 2 2 2")
    done = fleet.run("apply", "plan.json")
    assert (done.code, versions(fleet)) == (0, "2 2 2 2 2")
    assert "nothing left to do" in done.err


@pytest.mark.parametrize("limit", ["c1", "c1,c3"])
def test_a_plan_file_for_some_clients_changes_nobody_else_in_any_of_its_steps(fleet_of: FleetOf, limit: str) -> None:
    fleet = fleet_of(CANARY, ALL)
    fleet.release("rules", "2", rules_txt=b"two")
    assert fleet.run("plan", "--limit", limit, "--out", "plan.json").code == 0
    assert "limit" not in fleet.run("plan", "--format", "json").json
    for _again in range(2):
        assert fleet.run("apply", "plan.json").code == 0
        assert versions(fleet) == ("2 1 1 1 1" if limit == "c1" else "2 1 2 1 1")
    assert fleet.apply().code == 0
    assert versions(fleet) == "2 2 2 2 2"


def test_a_plan_file_is_refused_once_its_rollout_was_halted(fleet_of: FleetOf) -> None:
    fleet = fleet_of({**CANARY, "soak": "1h"}, ALL)
    fleet.release("rules", "2", rules_txt=b"two")
    fleet.apply()
    assert fleet.run("plan", "--out", "plan.json").code == 0
    fleet.run("rollout", "abort", "rules", "--reason", "INC-1")
    done = fleet.run("apply", "plan.json")
    assert done.code == 5
    assert "the rollout of rules 2 changed since it was made" in done.err
    assert "aborted in wave 1 of 2: by " in fleet.run("plan").out


def test_waiting_takes_all_steps_and_an_abort_can_take_them_back(fleet_of: FleetOf) -> None:
    fleet = fleet_of({**CANARY, "soak": "2s"}, {**ALL, "soak": "1h"})
    fleet.release("rules", "2", rules_txt=b"two")
    with (fleet.folder / "said").open("w") as said:
        process = fleet.start_telling(said, "apply", "--auto-approve", "--wait")
    # It is through with all of them, and won't look again for a while: else it would take them back by itself.
    until(lambda: "waiting: rules: wave 2 of 2 soaks" in (fleet.folder / "said").read_text(), process)
    assert versions(fleet) == "2 2 2 2 2"
    assert fleet.run("rollout", "abort", "rules", "--undo", "--reason", "INC-2").code == 0
    process.terminate()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    done = fleet.apply()
    assert versions(fleet) == "1 1 1 1 1"
    assert "from what it kept, nothing sent" in done.out
    again(fleet)


def test_in_a_hurry_no_soak_is_waited_for_and_the_history_says_who(fleet_of: FleetOf) -> None:
    fleet = fleet_of({**CANARY, "soak": "1h"}, ALL)
    fleet.release("rules", "2", rules_txt=b"two")
    done = fleet.apply("--expedite", "rules")
    assert (done.code, versions(fleet)) == (0, "2 2 2 2 2"), done.err
    run = fleet.run("history", "--format", "json").json[0]
    entries = fleet.run("history", run["run_id"], "--format", "json").json["entries"]
    assert any("rules is expedited by " in (entry["message"] or "") for entry in entries)
    fleet.release("rules", "3", rules_txt=b"BAD")
    assert (fleet.apply("--expedite", "rules").code, versions(fleet)) == (3, "2 2 2 2 2"), "checks are never skipped"


def test_early_it_is_sent_and_verified_and_switched_to_in_its_window(fleet_of: FleetOf) -> None:
    fleet = fleet_of(ALL)
    now = datetime.now(UTC)
    hours = {"from": f"{now + timedelta(hours=2):%H:%M}", "to": f"{now + timedelta(hours=3):%H:%M}"}
    policy = {"stage": "early", "windows": [hours], "rollout": {"waves": [ALL]}}
    fleet.write(auto_update=policy)
    fleet.release("rules", "2", rules_txt=b"BAD")
    assert (fleet.apply().code, versions(fleet)) == (3, "1 1 1 1 1"), "what is broken shows before its time"
    fleet.release("rules", "3", rules_txt=b"three")
    assert (fleet.apply().code, versions(fleet)) == (0, "1 1 1 1 1")
    assert (fleet.root("c3") / "rules/3/rules.txt").read_bytes() == b"three"
    again(fleet)
    del policy["windows"]
    fleet.write(auto_update=policy)
    report = fleet.apply("--format", "json")
    assert (report.code, versions(fleet), report.json["bytes_sent"]) == (0, "3 3 3 3 3", 0)
    again(fleet)


def test_a_hook_that_two_components_have_runs_once_for_each_client(fleet_of: FleetOf, tmp_path: Path) -> None:
    fleet = fleet_of(ALL)
    fleet.release("rules", "2", rules_txt=b"two")
    fleet.release("engine", "1.0.0", engine_bin=b"e")
    assert fleet.apply().code == 0
    assert len((tmp_path / "clients/c3.log").read_text().splitlines()) == 1
    again(fleet)
    assert len((tmp_path / "clients/c3.log").read_text().splitlines()) == 1


def test_rolling_back_edits_the_file_and_sends_nothing(fleet_of: FleetOf, tmp_path: Path) -> None:
    fleet = fleet_of(ALL)
    text = (tmp_path / "updoser.yaml").read_text().replace("  rules:", "  rules:   # keep this word")
    (tmp_path / "updoser.yaml").write_text(text)
    fleet.release("rules", "2", rules_txt=b"two")
    fleet.apply()
    done = fleet.run("rollback", "rules", "--reason", "INC-3", "--auto-approve")
    assert done.code == 0
    assert '+      - {version: "2", reason: "INC-3"}' in done.out
    assert "5 clients  from what it kept, nothing sent" in done.out
    assert "# keep this word" in (tmp_path / "updoser.yaml").read_text()
    report = fleet.apply("--format", "json")
    assert (report.code, versions(fleet), report.json["bytes_sent"]) == (0, "1 1 1 1 1", 0)
    again(fleet)
    (fleet.root("c2") / "rules/2").exists()
    assert fleet.run("rollback", "rules", "--to", "9x", "--auto-approve").code == 64


def test_a_rollback_that_cannot_be_planned_leaves_the_file_as_it_was(fleet_of: FleetOf, tmp_path: Path) -> None:
    fleet = fleet_of(ALL)
    fleet.release("rules", "2", rules_txt=b"two")
    fleet.apply()
    fleet.spec["groups"]["all"]["inventory"] = {"type": "csv", "path": "gone.csv"}
    fleet.write()
    before = (tmp_path / "updoser.yaml").read_bytes()
    done = fleet.run("rollback", "rules", "--auto-approve")
    assert (done.code, "updoser.yaml is as it was" in done.err) == (1, True), done.err
    assert (tmp_path / "updoser.yaml").read_bytes() == before


def test_what_a_client_kept_is_hashed_again_and_sent_whole_where_it_is_damaged(fleet_of: FleetOf) -> None:
    fleet = fleet_of(ALL)
    fleet.release("rules", "2", rules_txt=b"two")
    fleet.apply()
    kept = fleet.root("c2") / "rules/1/rules.txt"
    kept.chmod(0o644)
    kept.write_bytes(b"eno")
    fleet.run("rollback", "rules", "--auto-approve")
    report = fleet.apply("--format", "json")
    assert (report.code, versions(fleet), report.json["bytes_sent"]) == (0, "1 1 1 1 1", 3)
    assert fleet.current("c2", "rules") == {"rules.txt": b"one"}
    again(fleet)


def test_a_client_that_fails_again_and_again_is_left_alone(fleet_of: FleetOf, tmp_path: Path) -> None:
    fleet = fleet_of({**ALL, "max_fail_percentage": 50}, max_fail_percentage=50)
    fleet.write(quarantine={"after_failures": 2, "for": "1h"})
    (tmp_path / "clients/c5.ugly").write_text("2")
    fleet.release("rules", "2", rules_txt=b"two")
    assert (fleet.apply().code, versions(fleet)) == (3, "2 2 2 2 1")
    assert fleet.apply().code == 3
    done = again(fleet)
    assert "quarantine until" in done.out
    status = fleet.run("status", "--format", "json").json
    assert [(entry["client"], entry["failures"]) for entry in status["quarantined"]] == [("c5", 2)]


def test_a_check_on_the_server_stops_a_release_before_any_client_gets_it(fleet_of: FleetOf) -> None:
    check = {"name": "here", "for": "rules", "phase": "staged", "where": "server"}
    check["run"] = 'grep -q two "$UPDOSER_STAGED/rules.txt"'
    fleet = fleet_of(CANARY, ALL, checks=[check])
    fleet.release("rules", "2", rules_txt=b"2")
    done = fleet.apply()
    assert (done.code, versions(fleet)) == (3, "1 1 1 1 1")
    assert "check here failed here" in done.out
    again(fleet, code=3)
    fleet.release("rules", "3", rules_txt=b"two")
    assert (fleet.apply().code, versions(fleet)) == (0, "3 3 3 3 3")
    again(fleet)


def test_a_check_on_the_server_after_the_switch_takes_a_client_back(fleet_of: FleetOf) -> None:
    check = {"name": "seen", "for": "rules", "phase": "switched", "where": "server"}
    check["run"] = 'test "$UPDOSER_CLIENT" != c1'
    fleet = fleet_of(CANARY, ALL, checks=[check])
    fleet.release("rules", "2", rules_txt=b"two")
    done = fleet.apply()
    assert (done.code, versions(fleet)) == (3, "1 1 1 1 1")
    assert "check seen failed after the switch: it exited with 1; it is back at 1" in done.out
    again(fleet, code=3)


def test_all_that_is_halted_goes_on_with_one_command_and_nothing_that_was_overtaken(
    fleet_of: FleetOf, tmp_path: Path
) -> None:
    flag = tmp_path / "fine"
    check = {"name": "fine", "phase": "staged", "where": "client", "run": f"test -e {flag}"}
    fleet = fleet_of(CANARY, ALL, checks=(check,))
    for version in ("2", "3"):
        fleet.release("rules", version, rules_txt=version.encode())
        assert fleet.apply().code == 3
    fleet.release("engine", "1.0", engine_txt=b"one")
    assert fleet.apply().code == 3
    flag.touch()
    done = fleet.run("rollout", "resume", "--all")
    assert (done.code, done.err.count("goes on in wave 1 of 2")) == (0, 2), done.err
    assert "rules 2" not in done.err
    assert fleet.apply().code == 0
    assert versions(fleet) == "3 3 3 3 3"
    assert fleet.run("rollout", "resume", "--all").code == 64
    for words in ((), ("rules", "--all"), ("--all", "--version", "3")):
        assert fleet.run("rollout", "resume", *words).code == 64


def test_wrong_words_are_told(fleet_of: FleetOf) -> None:
    fleet = fleet_of(ALL)
    for arguments, says in (
        (("rollout", "approve", "nothing"), "no managed component is called nothing"),
        (("rollout", "resume", "rules"), "rules has nothing to resume: its last rollout, rules 1, is done"),
        (("rollout", "approve", "engine"), "it never had a rollout"),
        (("plan", "--expedite", "nothing"), "--expedite nothing"),
        (("plan", "--target", "rule"), "--target rule: no managed component is called rule\n  did you mean `rules`?"),
        (("rollback", "engine", "--auto-approve"), "no client is known to run engine"),
        (("rollback", "nothing"), "no managed component is called nothing"),
    ):
        done = fleet.run(*arguments)
        assert done.code == 64, arguments
        assert says in done.err
    assert json.loads(fleet.run("rollout", "list", "--all", "--format", "json").out)["rollouts"][0]["status"] == "done"


def test_what_was_overtaken_is_named_by_its_version_only_and_keeps_nothing_newer_waiting(fleet_of: FleetOf) -> None:
    fleet = fleet_of(CANARY, ALL)
    fleet.release("rules", "2", rules_txt=b"BAD")
    assert fleet.apply().code == 3
    fleet.release("rules", "3", rules_txt=b"three")
    assert (fleet.apply().code, versions(fleet)) == (0, "3 3 3 3 3")
    for verb in ("resume", "pause", "abort", "approve"):
        done = fleet.run("rollout", verb, "rules")
        assert done.code == 64
        assert f"rules has nothing to {verb}: its last rollout, rules 3, is done" in done.err
    assert "rules 2 is halted too, and 3 came after it" in fleet.run("rollout", "resume", "rules").err
    done = fleet.run("rollout", "resume", "rules", "--version", "2")
    assert (done.code, "rules 2 is no longer halted, and goes to nobody: clients should have 3" in done.err) == (
        0,
        True,
    )
    fleet.release("rules", "4", rules_txt=b"four")
    assert (fleet.apply().code, versions(fleet)) == (0, "4 4 4 4 4")
    again(fleet)


def test_a_pause_that_is_over_and_an_approval_that_nobody_waits_for_change_nothing(
    fleet_of: FleetOf, tmp_path: Path
) -> None:
    fleet = fleet_of(CANARY, {"share": "60%", "soak": "1h"}, {**ALL, "approve": "manual"})
    fleet.release("rules", "2", rules_txt=b"BAD")
    assert fleet.apply().code == 3
    fleet.release("rules", "3", rules_txt=b"three")
    assert fleet.apply().code == 0
    assert fleet.run("rollout", "pause", "rules").code == 0
    assert fleet.run("rollout", "resume", "rules").code == 0
    done = fleet.run("rollout", "resume", "rules")
    assert (done.code, "its last rollout, rules 3, is running" in done.err) == (64, True)
    assert "wave 3 of 3 may open" in fleet.run("rollout", "approve", "rules", "--as", "eva").err
    with closing(sqlite3.connect(tmp_path / "state.db")) as state:
        written = list(state.iterdump())
    done = fleet.run("rollout", "approve", "rules")
    assert (done.code, "wave 3 of 3 was approved by eva already: nothing was done" in done.err) == (0, True)
    fleet.write(auto_update={"rollout": {"waves": [CANARY, {"share": "60%", "soak": "1h"}, ALL]}})
    done = fleet.run("rollout", "approve", "rules", "--version", "3")
    assert (done.code, "nothing was done" in done.err) == (0, True)
    with closing(sqlite3.connect(tmp_path / "state.db")) as state:
        assert list(state.iterdump()) == written


def test_rolling_back_twice_blocks_one_version_until_clients_have_left_it(fleet_of: FleetOf, tmp_path: Path) -> None:
    fleet = fleet_of(ALL)
    for version, content in (("2", b"two"), ("3", b"three")):
        fleet.release("rules", version, rules_txt=content)
        assert fleet.apply().code == 0
    assert fleet.run("rollback", "rules", "--auto-approve").code == 0
    text = (tmp_path / "updoser.yaml").read_text()
    done = fleet.run("rollback", "rules", "--auto-approve")
    assert (done.code, (tmp_path / "updoser.yaml").read_text()) == (0, text)
    assert "rules 3 is blocked already, and 5 clients that ran it last go back with the next apply" in done.out
    assert (fleet.apply().code, versions(fleet)) == (0, "2 2 2 2 2")
    fleet.release("rules", "4", rules_txt=b"BAD")
    assert fleet.apply().code == 3
    text = (tmp_path / "updoser.yaml").read_text()
    done = fleet.run("rollback", "rules", "--auto-approve")
    assert (done.code, (tmp_path / "updoser.yaml").read_text()) == (0, text)
    assert "the rollout of rules 4 is halted, and no client is known to run it" in done.out


def test_a_rollout_that_nobody_is_left_to_try_on_is_loud(fleet_of: FleetOf) -> None:
    fleet = fleet_of({"select": "label=nobody", "min_attempted": 1}, ALL)
    fleet.release("rules", "2", rules_txt=b"two")
    stuck = "Stuck: rules 2 wave 1 of 2 is blocked: no client matches `label=nobody`"
    done = fleet.apply()
    assert (done.code, "stuck: rules 2" in done.err, versions(fleet)) == (3, True, "1 1 1 1 1")
    done = again(fleet, code=3)
    done = fleet.run("plan", "--detailed-exitcode")
    assert (done.code, stuck in done.out, "A rollout is stuck: see above." in done.out) == (2, True, True)
    assert stuck in fleet.run("status").out


def test_a_clock_that_was_wrong_is_told_and_no_soak_lasts_longer_for_it(fleet_of: FleetOf, tmp_path: Path) -> None:
    fleet = fleet_of({**CANARY, "soak": "1h"}, ALL)
    fleet.release("rules", "2", rules_txt=b"two")
    assert (fleet.apply().code, versions(fleet)) == (0, "2 1 1 1 1")
    ahead = datetime(2037, 1, 1, tzinfo=UTC).timestamp()
    with closing(sqlite3.connect(tmp_path / "state.db")) as state, state:
        state.execute("UPDATE rollouts SET opened = ?, passed = ? WHERE version = '2'", (ahead, ahead))
    says = "a clock was wrong: moments up to 2037-01-01T00:00:00Z are remembered (rollouts); they count as now"
    for _ in range(2):
        assert says in fleet.run("plan").out, "a plan leaves them as they are"
    done = fleet.apply()
    assert (done.code, says in done.err) == (0, True)
    assert says not in fleet.run("plan").out
    an_hour_passes(fleet)
    assert (fleet.apply().code, versions(fleet)) == (0, "2 2 2 2 2")


WAITS = {"name": "waits", "for": "rules", "phase": "staged", "where": "client", "timeout": "2m"}
WAITS["run"] = 'touch "$UPDOSER_ROOT/../begun"; until test -e "$UPDOSER_ROOT/../go"; do sleep 0.1; done'


@pytest.mark.parametrize("verb", ["abort", "pause", "hold"])
def test_what_is_said_to_a_rollout_holds_for_the_apply_that_runs(fleet_of: FleetOf, verb: str) -> None:
    fleet = fleet_of(ALL, checks=(WAITS,))
    fleet.release("rules", "2", rules_txt=b"two")
    clients, said = fleet.folder / "clients", "hold: INC-1"
    apply = fleet.start("apply", "--auto-approve", "--forks", "1")
    try:
        until((clients / "begun").exists, apply)
        if verb == "hold":
            fleet.write(hold=[{"clients": "all", "reason": "INC-1"}])
        else:
            done = fleet.run("rollout", verb, "rules", "--as", "eva")
            assert done.code == 0
            assert "`updoser apply` of " in done.err
            assert "begins no further client with it: those under way are finished" in done.err
            said = f"rollout: {verb.removesuffix('e')}ed in wave 1 of 1: by eva"
        time.sleep(1.1)  # what was seen a moment ago isn't looked at again at once
    finally:
        (clients / "go").touch()
        out, err = apply.communicate(timeout=PATIENCE)
    assert apply.returncode == 0, err
    assert sorted(versions(fleet).split()) == ["1", "1", "1", "1", "2"]
    assert f"rules 2, 4 clients of all: {said}" in out
