"""The whole path through the command line, on clients that are folders: each apply runs twice."""

from __future__ import annotations

import json
import shutil
import signal
import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from jsonschema import Draft202012Validator

from reconciler.storage.state import State
from tests.fleet import ONE_WAVE, ROOT, Fleet
from tests.machine import rot
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.fleet import Done

NOTHING = "Plan: 0 downloads (0 B), 0 changes on 0 of 3 clients (0 B)"


def first_releases(folder: Path) -> Fleet:
    made = Fleet(folder)
    made.release("rules", "1", rules_txt=b"one\n", extra_txt=b"same\n")
    made.release("engine", "1.0.0", engine_bin=b"\x00" * 5000)
    return made


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return first_releases(tmp_path)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fleet that has applied twice; tests get copies of its folder, as all paths of its spec are relative."""
    made = first_releases(tmp_path_factory.mktemp("prepared"))
    assert converges(made).code == 0
    return made.folder


@pytest.fixture
def applied(fleet: Fleet, prepared: Path) -> None:
    """Have the fleet of the test stand where its first releases are on all clients."""
    shutil.copytree(prepared, fleet.folder, symlinks=True, dirs_exist_ok=True)


def converges(fleet: Fleet, *arguments: str) -> Done:
    """Apply, and once more: the second one changes nothing."""
    first = fleet.apply(*arguments)
    before = fleet.listing()
    second = fleet.apply(*arguments)
    assert second.code == 0, second.err
    assert NOTHING in second.out
    assert fleet.listing() == before
    return first


def test_what_rotted_on_a_client_is_mended_where_every_file_is_hashed(fleet: Fleet) -> None:
    assert fleet.apply().code == 0
    rot(fleet.root("c1"), "rules", "1", "rules.txt")
    assert fleet.run("plan", "--detailed-exitcode").code == 0
    assert fleet.run("plan", "--verify", "--detailed-exitcode").code == 2
    mended = fleet.apply("--verify")
    assert mended.code == 0, mended.out + mended.err
    assert fleet.current("c1", "rules") == {"extra.txt": b"same\n", "rules.txt": b"one\n"}
    assert fleet.run("plan", "--verify", "--detailed-exitcode").code == 0


def test_a_first_apply_brings_every_client_to_the_latest_and_a_second_changes_nothing(fleet: Fleet) -> None:
    done = converges(fleet)
    assert done.code == 0
    assert done.out.startswith("Plan: 2 downloads (4.9 KiB), 2 changes on 3 of 3 clients (14.7 KiB); drift 0")
    assert "3 clients changed, 0 failed, 0 unreachable" in done.out
    for client in ("c1", "c2", "c3"):
        assert fleet.current(client, "rules") == {"rules.txt": b"one\n", "extra.txt": b"same\n"}


@pytest.mark.usefixtures("applied")
def test_an_update_sends_only_files_that_changed_and_keeps_the_version_before(fleet: Fleet) -> None:
    fleet.release("rules", "2", rules_txt=b"two\n", extra_txt=b"same\n")
    report = fleet.apply("--format", "json").json
    assert NOTHING in fleet.apply().out
    assert report["recap"]["all"]["changed"] == 3
    assert (report["bytes_sent"], report["bytes_saved"]) == (12, 15)
    assert fleet.current("c1", "rules") == {"rules.txt": b"two\n", "extra.txt": b"same\n"}
    assert (fleet.root("c1") / "rules/1/rules.txt").read_bytes() == b"one\n"


@pytest.mark.usefixtures("applied")
def test_old_versions_leave_a_client_beyond_client_keep(fleet: Fleet) -> None:
    for version in ("2", "3", "4"):
        fleet.release("rules", version, rules_txt=version.encode())
        fleet.apply()
    left = sorted(path.name for path in (fleet.root("c1") / "rules").iterdir())
    assert left == ["3", "4", "current"]


def test_a_plan_changes_nothing_and_says_with_its_exit_code_that_changes_are_due(fleet: Fleet) -> None:
    assert fleet.run("plan").code == 0
    done = fleet.run("plan", "--detailed-exitcode")
    assert done.code == 2
    assert not (fleet.folder / "clients").exists()
    converges(fleet)
    assert fleet.run("plan", "--detailed-exitcode").code == 0


def test_check_on_apply_is_a_plan(fleet: Fleet) -> None:
    checked = fleet.run("apply", "--check")
    assert checked.code == 0
    assert checked.out == fleet.run("plan").out
    assert not (fleet.folder / "clients").exists()


def test_without_a_terminal_apply_wants_a_word(fleet: Fleet) -> None:
    done = fleet.run("apply")
    assert done.code == 64
    assert "--auto-approve" in done.err
    assert not (fleet.folder / "clients").exists()


@pytest.mark.usefixtures("applied")
def test_a_file_that_somebody_changed_is_drift_and_is_mended(fleet: Fleet) -> None:
    file = fleet.root("c2") / "rules/current/rules.txt"
    file.chmod(0o644)
    file.write_bytes(b"evil")
    done = fleet.run("plan", "--diff")
    assert "digest_mismatch" in done.out
    assert "rules/1/rules.txt was changed" in done.out
    assert "c2" in done.out
    converges(fleet)
    assert fleet.current("c2", "rules")["rules.txt"] == b"one\n"


def test_a_pin_takes_clients_back_and_says_that_it_is_a_downgrade(fleet: Fleet) -> None:
    fleet.release("rules", "2", rules_txt=b"two\n")
    converges(fleet)
    fleet.write(components={"rules": {"version": "1"}, "engine": {}})
    done = converges(fleet)
    assert "pinned, downgrade" in done.out
    assert fleet.current("c1", "rules")["rules.txt"] == b"one\n"


@pytest.mark.usefixtures("applied")
def test_a_component_that_is_no_longer_listed_is_left_alone(fleet: Fleet) -> None:
    fleet.write(components={"engine": {}})
    fleet.release("rules", "2", rules_txt=b"two\n")
    done = fleet.apply()
    assert NOTHING in done.out
    assert fleet.current("c1", "rules")["rules.txt"] == b"one\n"


def test_limit_and_target_narrow_a_plan_and_it_says_so(fleet: Fleet) -> None:
    done = fleet.apply("--limit", "c1:c2:!c2", "--target", "rules")
    assert "This plan is partial" in done.out
    assert fleet.current("c1", "rules")
    assert not fleet.current("c1", "engine")
    assert not fleet.root("c2").exists()


@pytest.mark.parametrize("arguments", [("--limit", "nobody"), ("--target", "nothing"), ("--limit", "&")])
def test_a_limit_or_target_that_matches_nothing_is_an_error(fleet: Fleet, arguments: tuple[str, str]) -> None:
    assert fleet.run("plan", *arguments).code == 64


def test_a_hold_keeps_clients_as_they_are_and_the_plan_says_why(fleet: Fleet) -> None:
    fleet.write(hold=[{"clients": "c2", "until": "2999-12-31", "reason": "INC-4711"}])
    done = fleet.apply()
    assert "hold until 2999-12-31: INC-4711" in done.out
    assert not fleet.root("c2").exists()
    fleet.write(hold=[{"clients": "c2", "until": "2020-01-01", "reason": "INC-4711"}])
    converges(fleet)
    assert fleet.current("c2", "rules")


def test_a_client_that_fails_stops_no_other_and_is_named(fleet: Fleet) -> None:
    (fleet.folder / "clients").mkdir()
    fleet.root("c2").mkdir(mode=0o777)
    fleet.root("c2").chmod(0o777)
    done = fleet.apply()
    assert done.code == 3
    assert "! folder not usable: 1 client of all\n      c2: " in done.out
    assert "can be written" in done.out
    assert fleet.current("c1", "rules")
    assert fleet.current("c3", "rules")
    fleet.root("c2").chmod(0o755)
    again = fleet.apply("--limit", "@failed")
    assert again.code == 0
    assert "1 client changed" in again.out
    assert fleet.current("c2", "rules")


@pytest.mark.usefixtures("applied")
def test_what_leaves_and_who_comes_and_goes_is_told_until_an_apply_lets_it_go(fleet: Fleet) -> None:
    group = fleet.spec["groups"]["all"]
    group["clients"].pop()
    fleet.spec["groups"]["dmz"] = {**group, "clients": [{"name": "d1", "install_root": "clients/d1"}]}
    fleet.write(components={"rules": {"version": "latest"}})
    planned = fleet.run("plan", "--format", "json", "--fail-on", "removed>2,removed>1")
    assert planned.json["fleet_moves"] == [
        {"kind": "clients_gone", "group": "all", "before": None, "clients": 1, "names": ["c3"]},
        {"kind": "group_new", "group": "dmz", "before": None, "clients": 1, "names": ["d1"]},
    ]
    left = {"component": "engine", "group": "all", "reason": "not_listed", "clients": 2, "names": ["c1", "c2"]}
    assert planned.json["leaving"] == [{**left, "now": True}]
    assert "--fail-on: removed>2: 3 clients of 4 (75.00 %); removed>1: 3 clients of 4" in planned.err
    assert "-  gone from all  1 client  c3\n" in fleet.apply().out
    again = fleet.run("plan", "--format", "json", "--fail-on", "removed")
    assert again.code == 0
    assert "fleet_moves" not in again.json
    assert again.json["leaving"] == [{**left, "now": False}]
    assert sum(again.json["clients"].values()) == 3
    del fleet.spec["groups"]["dmz"]
    fleet.write()
    alone = fleet.apply()
    assert "-  group dmz is gone  1 client  d1\n" in alone.out
    assert "No changes." in alone.out
    assert "Clients that come and go" not in fleet.run("plan").out


# --- plan files -----------------------------------------------------------------------------------------------------


def test_a_plan_file_is_carried_out_exactly_once(fleet: Fleet) -> None:
    assert fleet.run("plan", "--out", "plan.json").code == 0
    fleet.release("rules", "2", rules_txt=b"two\n")
    done = fleet.run("apply", "plan.json")
    assert done.code == 0, done.err
    assert fleet.current("c1", "rules")["rules.txt"] == b"one\n"
    before = fleet.listing()
    again = fleet.run("apply", "plan.json")
    assert (again.code, again.out) == (0, "")
    assert "nothing left to do" in again.err
    assert fleet.listing() == before


def test_a_plan_file_holds_no_path_address_or_command(fleet: Fleet) -> None:
    fleet.run("plan", "--out", "plan.json")
    text = (fleet.folder / "plan.json").read_text()
    assert str(fleet.folder) not in text
    assert "upstream" not in text


def test_a_plan_file_that_was_changed_is_refused(fleet: Fleet) -> None:
    fleet.run("plan", "--out", "plan.json")
    file = fleet.folder / "plan.json"
    file.write_text(file.read_text().replace('"c1"', '"c9"'))
    done = fleet.run("apply", "plan.json")
    assert done.code == 5
    assert not (fleet.folder / "clients").exists()


def test_a_plan_file_is_stale_when_the_spec_changed_or_another_was_started(fleet: Fleet) -> None:
    fleet.run("plan", "--out", "plan.json")
    fleet.write(client_keep=3)
    assert "the spec changed" in fleet.run("apply", "plan.json").err
    fleet.write(client_keep=2)
    fleet.apply()
    done = fleet.run("apply", "plan.json")
    assert done.code == 5
    assert "a later plan was started" in done.err


def test_a_plan_file_is_stale_when_its_release_is_not_offered_any_more(fleet: Fleet) -> None:
    fleet.run("plan", "--out", "plan.json")
    shutil.rmtree(fleet.folder / "upstream/rules")
    done = fleet.run("apply", "plan.json")
    assert done.code == 5
    assert "rules 1" in done.err


def test_a_plan_file_of_another_state_needs_a_signature(fleet: Fleet) -> None:
    (fleet.folder / "key").write_text("k" * 32)
    (fleet.folder / "wrong").write_text("w" * 32)
    fleet.run("plan", "--out", "signed.json", "--sign", "key")
    state = fleet.folder / "state.db"
    with_other_state = [path for path in fleet.folder.iterdir() if path.name.startswith("state.db")]
    assert state in with_other_state
    assert fleet.run("apply", "signed.json", "--sign", "wrong").code == 5
    done = fleet.run("apply", "signed.json", "--sign", "key")
    assert done.code == 0, done.err
    assert fleet.current("c1", "rules")


def test_a_client_that_moved_since_the_plan_gets_the_release_only_if_it_is_below(fleet: Fleet) -> None:
    fleet.write(auto_update=ONE_WAVE)
    converges(fleet)
    fleet.release("rules", "3", rules_txt=b"three\n")
    fleet.run("plan", "--out", "plan.json")
    fleet.release("rules", "2", rules_txt=b"two\n")
    fleet.release("rules", "4", rules_txt=b"four\n")
    (fleet.folder / "elsewhere").mkdir()
    other = Fleet(fleet.folder / "elsewhere")
    # Somebody with the same state moves two clients meanwhile, without starting a plan of ours.
    shutil.copytree(fleet.folder / "upstream", other.folder / "upstream", dirs_exist_ok=True)
    shutil.copy(fleet.folder / "state.db", other.folder / "state.db")
    other.spec["groups"]["all"]["clients"] = [
        {"name": "c1", "install_root": str(fleet.root("c1"))},
        {"name": "c2", "install_root": str(fleet.root("c2"))},
        {"name": "c3", "install_root": str(fleet.root("c3"))},
    ]
    other.write(auto_update=ONE_WAVE, components={"rules": {"version": "2"}})
    assert other.apply("--limit", "c1").code == 0
    other.write(components={"rules": {"version": "4"}})
    assert other.apply("--limit", "c2").code == 0
    done = fleet.run("apply", "plan.json", "--format", "json")
    assert done.code == 0, done.err
    recap = json.loads(done.out)["recap"]["all"]
    assert (recap["changed"], recap["skipped"]) == (2, 1)
    assert fleet.current("c1", "rules")["rules.txt"] == b"three\n"
    assert fleet.current("c2", "rules")["rules.txt"] == b"four\n"


# --- controllers, locks, interruptions ------------------------------------------------------------------------------


def forget(fleet: Fleet) -> None:
    for path in fleet.folder.glob("state.db*"):
        path.unlink()


@pytest.mark.usefixtures("applied")
def test_a_new_state_stops_at_foreign_manifests_and_adopts_only_when_told(fleet: Fleet) -> None:
    forget(fleet)
    fleet.release("rules", "2", rules_txt=b"two\n")
    refused = fleet.apply()
    assert refused.code == 5
    assert "--adopt" in refused.err
    adopted = fleet.apply("--adopt")
    assert adopted.code == 0, adopted.err
    assert "adopted: upgrades wait" in adopted.out
    assert fleet.current("c1", "rules")["rules.txt"] == b"one\n"
    assert fleet.run("apply", "--confirm-adopted").code == 64  # nobody is there to approve
    assert "adopted: upgrades wait" in fleet.run("plan").out
    converges(fleet, "--confirm-adopted")
    assert fleet.current("c1", "rules")["rules.txt"] == b"two\n"


@pytest.mark.usefixtures("applied")
def test_what_clients_have_already_is_adopted_and_not_sent_again(fleet: Fleet) -> None:
    forget(fleet)
    before = listing_of_versions(fleet)
    done = fleet.apply("--adopt")
    assert "0 changes on 0 of 3 clients" in done.out
    assert listing_of_versions(fleet) == before


def listing_of_versions(fleet: Fleet) -> dict[str, tuple[float, int]]:
    """Give everything on clients but what updoser keeps for itself."""
    return {path: what for path, what in fleet.listing().items() if "/rules/" in path or "/engine/" in path}


@pytest.mark.usefixtures("applied")
def test_the_controller_before_is_refused_by_every_client_once_they_were_adopted(fleet: Fleet) -> None:
    fleet.release("rules", "2", rules_txt=b"two\n")
    assert fleet.run("plan").code == 0
    old = {path: path.read_bytes() for path in fleet.folder.glob("state.db*")}
    forget(fleet)
    assert "3 clients are told that this state is their controller now" in fleet.run("plan", "--adopt").out
    off = fleet.root("c3").rename(fleet.folder / "away")
    fleet.root("c3").write_text("no folder")
    assert fleet.apply("--adopt").code != 0
    fleet.root("c3").unlink()
    off.rename(fleet.root("c3"))
    assert fleet.apply().code == 0, "who was off is told when it is back"
    assert "told that this state" not in fleet.run("plan").out
    forget(fleet)
    for path, content in old.items():
        path.write_bytes(content)
    for option in ("--no-refresh", "--refresh"):
        refused = fleet.apply(option)
        assert refused.code != 0
        assert "other controller" in refused.out + refused.err
        assert [fleet.current(f"c{n}", "rules")["rules.txt"] for n in (1, 2, 3)] == [b"one\n"] * 3


def test_the_lock_of_a_run_that_is_alive_is_taken_away_with_force_only(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, clients=1)
    url = f"sqlite:///{tmp_path}/state.db"
    with State.open(url, clock=lambda: datetime.now(UTC)) as state, state.lock("apply") as lock:
        refused = fleet.run("unlock", lock)
        assert refused.code == 5
        assert "is alive: `updoser apply` of " in refused.err
        assert "--force" in refused.err
        assert fleet.run("unlock", lock, "--force").code == 0
        assert state.busy() == ""
    (run,) = fleet.run("history", "--format", "json").json
    assert f"the lock {lock} was taken away by force" in fleet.run("history", run["run_id"]).out


@pytest.mark.usefixtures("applied")
def test_two_controllers_cannot_drive_one_client(fleet: Fleet) -> None:
    (fleet.folder / "b").mkdir()
    rival = Fleet(fleet.folder / "b")
    rival.release("rules", "7", rules_txt=b"seven\n")
    rival.apply()  # clients of its own first: its state isn't new any more
    rival.spec["groups"]["all"]["clients"].append({"name": "c1x", "install_root": str(fleet.root("c1"))})
    rival.write()
    done = rival.apply()
    assert done.code == 3
    assert "! other controller: 1 client of all\n      c1x\n" in done.out
    assert fleet.current("c1", "rules")["rules.txt"] == b"one\n"


def slow_fleet(tmp_path: Path, clients: int = 6) -> Fleet:
    """Give a fleet whose shell takes a while, and writes down when it works."""
    shell = tmp_path / "slow-sh"
    shell.write_text(f'#!/bin/sh\necho begun >>{tmp_path}/shells\nsleep 0.2\nexec sh "$@"\n')
    shell.chmod(stat.S_IRWXU)
    made = Fleet(tmp_path, clients, auto_update=ONE_WAVE)
    made.spec["groups"]["all"]["transport"] = {"type": "local", "shell": str(shell)}
    made.write()
    made.release("rules", "1", rules_txt=b"one\n")
    return made


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"the command never said {text!r}")


def test_an_interrupted_apply_finishes_what_is_under_way_and_releases_the_lock(tmp_path: Path) -> None:
    begun, go = tmp_path / "begun", tmp_path / "go"
    waits = {"name": "waits", "for": "rules", "phase": "staged", "where": "client", "timeout": "2m"}
    waits["run"] = f"echo begun >>{begun}; until test -e {go}; do sleep 0.1; done"
    fleet = Fleet(tmp_path, 6, auto_update=ONE_WAVE, defaults={"checks": [waits]})
    fleet.release("rules", "1", rules_txt=b"one\n")
    process = fleet.start("apply", "--auto-approve", "--forks", "2")
    wait_for(process, "changing 6 clients")
    until(lambda: begun.exists() and begun.read_text().count("begun") == 2, process)
    process.send_signal(signal.SIGINT)
    wait_for(process, "nterrupt")
    go.touch()
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert "Apply interrupted: 2 clients changed" in out
    changed = [name for name in ("c1", "c2", "c3", "c4", "c5", "c6") if fleet.current(name, "rules")]
    assert len(changed) == 2
    assert "interrupted" in fleet.run("history").out
    done = fleet.apply()
    assert done.code == 0
    assert "4 clients changed" in done.out


def test_a_second_apply_is_refused_while_one_runs_and_names_it(tmp_path: Path) -> None:
    fleet = slow_fleet(tmp_path, clients=2)
    (tmp_path / "slow-sh").write_text(f'#!/bin/sh\nuntil test -e {tmp_path}/go; do sleep 0.1; done\nexec sh "$@"\n')
    process = fleet.start("apply", "--auto-approve")
    wait_for(process, "looking at 2 clients")
    refused = fleet.apply()
    (tmp_path / "go").touch()
    assert refused.code == 5
    assert "updoser unlock" in refused.err
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0


def test_a_killed_apply_leaves_whole_clients_and_the_next_goes_on(tmp_path: Path) -> None:
    fleet = slow_fleet(tmp_path, clients=4)
    process = fleet.start("apply", "--auto-approve", "--forks", "1")
    wait_for(process, "changing 4 clients")
    looks_and_one_change = 5
    until(lambda: (tmp_path / "shells").read_text().count("begun") > looks_and_one_change, process)
    process.kill()
    process.communicate(timeout=PATIENCE)
    for name in ("c1", "c2", "c3", "c4"):
        assert fleet.current(name, "rules") in ({}, {"rules.txt": b"one\n"})
    assert "broken off" in fleet.run("history").out
    until(lambda: fleet.apply().code == 0)  # a script that the killed one started may be at work still
    assert all(fleet.current(name, "rules") for name in ("c1", "c2", "c3", "c4"))


# --- store and sources ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("applied")
def test_a_damaged_or_deleted_file_of_the_store_is_noticed_and_fetched_again(fleet: Fleet) -> None:
    content = sorted(path for path in (fleet.folder / "store/content").rglob("*") if path.is_file())
    content[0].chmod(0o644)
    content[0].write_bytes(b"x" * content[0].stat().st_size)
    content[1].unlink()
    done = fleet.run("plan")
    assert "is damaged" in done.out
    assert "download" in done.out
    converges(fleet)


@pytest.mark.usefixtures("applied")
def test_a_version_whose_bytes_change_is_an_error_and_is_not_taken(fleet: Fleet) -> None:
    (fleet.folder / "upstream/rules/1/rules.txt").write_bytes(b"other\n")
    done = fleet.run("plan")
    assert "rules" in done.out
    assert "Problems" in done.out
    assert "0 changes on 0 of 3 clients" in done.out


def test_a_release_added_by_the_command_is_planned_at_once(fleet: Fleet) -> None:
    (fleet.folder / "new.txt").write_bytes(b"new\n")
    (fleet.folder / "notes.md").write_text("Fewer false alarms.\nMore rules.\n")
    said = ("--notes", "@notes.md", "--released", "2026-01-02T03:04:05Z")
    done = fleet.run("release", "add", "rules", "5", "new.txt", "--to", "upstream", *said)
    assert done.code == 0, done.err
    planned = fleet.run("plan", "--fail-on", "unsigned")
    assert "rules 5       not signed  released 2026-01-02  notes: Fewer false alarms. …\n" in planned.out
    assert "--fail-on: unsigned: 2 releases" in planned.err
    assert fleet.run("apply", "--auto-approve").code == 0
    assert fleet.current("c1", "rules") == {"new.txt": b"new\n"}


def test_a_full_store_says_how_much_is_missing(fleet: Fleet) -> None:
    huge = fleet.folder / "upstream/engine/2.0.0"
    huge.mkdir()
    with (huge / "engine.bin").open("wb") as file:
        file.truncate(1024)
    done = fleet.apply()
    assert done.code == 0


# --- what is shown --------------------------------------------------------------------------------------------------


def test_status_tells_rates_and_fails_on_a_condition(fleet: Fleet) -> None:
    fleet.apply("--limit", "c1")
    fleet.run("plan")
    status = fleet.run("status", "--format", "json").json
    rules = next(entry for entry in status["components"] if entry["id"] == "rules")
    assert (rules["updated"], rules["outdated"], rules["unknown"]) == (1, 2, 0)
    assert rules["versions"] == {"1": 1, "missing": 2}
    assert fleet.run("status", "--fail-on", "outdated>50%").code == 1
    assert fleet.run("status", "--fail-on", "outdated>70%,unknown>0").code == 0
    assert fleet.run("status", "--fail-on", "nonsense").code == 64


def test_history_tells_what_a_run_did(fleet: Fleet) -> None:
    fleet.apply()
    (run,) = fleet.run("history", "--format", "json").json
    assert run["status"] == "done"
    shown = fleet.run("history", run["run_id"])
    assert "c1" in shown.out
    assert "store" in shown.out
    assert fleet.run("history", "nothing").code == 64


def test_json_puts_one_document_on_stdout_and_nothing_else(fleet: Fleet) -> None:
    assert fleet.run("plan", "--format", "json").json["summary"]["deploy"]["clients"] == 3
    assert fleet.run("apply", "--auto-approve", "--format", "json").json["recap"]["all"]["changed"] == 3
    assert fleet.run("status", "--format", "json").json["clients"] == 3
    assert fleet.run("doctor", "--format", "json").json["checks"]
    assert fleet.run("plugins", "--format", "json").json["plugins"]
    assert fleet.run("validate", "--format", "json").json["clients"] == 3


def test_events_are_json_lines(fleet: Fleet) -> None:
    fleet.apply("--events", "events.jsonl")
    lines = [json.loads(line) for line in (fleet.folder / "events.jsonl").read_text().splitlines()]
    assert {"run_started", "download_finished", "client_finished", "run_finished"} <= {line["type"] for line in lines}
    assert len({line["run_id"] for line in lines}) == 1
    schema = json.loads((ROOT / "schema/events.schema.json").read_text())
    for line in lines:
        Draft202012Validator(schema).validate(line)


def test_doctor_names_what_is_wrong_and_the_line_that_mends_it(fleet: Fleet) -> None:
    assert fleet.run("doctor").code == 0
    (fleet.folder / "clients").mkdir()
    fleet.root("c1").mkdir()
    fleet.root("c1").chmod(0o777)
    done = fleet.run("doctor", "c1")
    assert done.code == 1
    assert "fix: " in done.out
    assert fleet.run("doctor", "nobody").code == 64


def test_doctor_tells_of_an_install_root_that_an_apply_could_not_make_and_leaves_nothing(fleet: Fleet) -> None:
    fleet.spec["groups"]["all"]["clients"][0]["install_root"] = f"clients/{'x' * 300}"
    fleet.write()
    done = fleet.run("doctor", "--format", "json")
    assert done.code == 1
    found = {check["client"]: check["level"] for check in done.json["checks"] if check["what"] == "install_root"}
    assert found == {"c1": "fail", "c2": "ok", "c3": "ok"}
    assert not (fleet.folder / "clients").exists()


def test_a_plan_for_files_from_anyone_runs_nothing_and_writes_no_state(fleet: Fleet) -> None:
    fleet.write(
        groups={
            **fleet.spec["groups"],
            "more": {
                "transport": {"type": "local"},
                "install_root": "clients",
                "inventory": {"type": "command", "run": ["touch", str(fleet.folder / "was-run")]},
            },
        }
    )
    done = fleet.run("plan", "--no-exec")
    assert done.code == 0, done.err
    assert "unknown 3" in done.out
    assert "--no-exec" in done.out
    assert not (fleet.folder / "was-run").exists()
    assert not (fleet.folder / "state.db").exists()
    assert not (fleet.folder / "store").exists()


def test_a_release_whose_incremental_cannot_be_made_is_not_added(fleet: Fleet) -> None:
    (fleet.folder / "rules.txt").write_bytes(b"two\n")
    order = ("release", "add", "rules", "2", "rules.txt", "--to", "upstream", "--incremental-from")
    before = sorted((fleet.folder / "upstream").rglob("*"))
    done = fleet.run(*order, "1", "--incremental-from", "9")
    assert (done.code, done.out) == (64, "")
    assert "upstream/rules/9 isn't there" in done.err
    assert sorted((fleet.folder / "upstream").rglob("*")) == before
    assert fleet.run(*order, "1").code == 0


def test_nothing_that_a_user_does_wrong_shows_a_traceback(fleet: Fleet) -> None:
    for arguments, code in [
        (("apply", "missing.json"), 1),
        (("show", "updoser.yaml"), 1),
        (("plan", "-f", "missing.yaml"), 65),
        (("plan", "-e", "nonsense"), 64),
        (("nonsense",), 64),
        (("plan", "--forks", "0"), 64),
        (("unlock", "nothing"), 1),
        (("release", "add", "rules", "x", "missing", "--to", "upstream"), 64),
        (("init",), 64),
    ]:
        done = fleet.run(*arguments)
        assert done.code == code, (arguments, done)
        assert done.out == "", arguments
        assert done.err.strip(), arguments


def test_switched_off_releases_are_held_and_a_forced_update_of_a_manual_one_goes_out(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, auto_update={"enabled": False})
    fleet.release("rules", "1", all_rules=b"one")
    held = fleet.run("plan", "--detailed-exitcode")
    assert held.code == 2  # the download is due
    assert "auto_update is off" in held.out
    assert fleet.apply().code == 0
    assert fleet.current("c1", "rules") == {}
    again = fleet.run("plan", "--detailed-exitcode")
    assert again.code == 0
    assert "No changes. What differs is held or deferred." in again.out
    fleet.write(auto_update={"trigger": "manual"})
    assert "held 3" in fleet.run("plan").out.splitlines()[0]
    assert fleet.apply("--limit", "c1").code == 0
    assert fleet.current("c1", "rules") == {"all.rules": b"one"}
    assert fleet.apply("--force-update").code == 0
    assert fleet.current("c3", "rules") == {"all.rules": b"one"}
    assert fleet.run("plan", "--detailed-exitcode", "--force-update").code == 0


def test_outside_of_a_window_nothing_is_changed_and_the_plan_says_when_it_opens(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    opens, closes = ((now + timedelta(hours=hours)).strftime("%H:00") for hours in (3, 4))
    fleet = Fleet(tmp_path, auto_update={"windows": [{"from": opens, "to": closes}]})
    fleet.release("rules", "1", all_rules=b"one")
    done = fleet.apply()
    assert done.code == 0
    assert f"window: opens {(now + timedelta(hours=3)):%Y-%m-%d %H:00} UTC" in done.out
    assert fleet.current("c1", "rules") == {}
    earlier, later = ((now + timedelta(hours=hours)).strftime("%H:%M") for hours in (-1, 1))
    fleet.write(auto_update={"windows": [{"from": earlier, "to": later}]})
    plan = fleet.run("plan", "--format", "json")
    (change,) = (change for change in plan.json["changes"] if change["action"] == "deploy")
    assert change["not_after"] is not None
    assert fleet.apply().code == 0
    assert fleet.current("c1", "rules") == {"all.rules": b"one"}
