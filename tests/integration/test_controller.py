"""A controller that runs: it keeps a fleet current, does what people and files say, and is followed when it dies."""

import json
import re
import signal
import socket
import sqlite3
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fleet import Fleet
from tests.waiting import PATIENCE, until

OFTEN = {"interval": "10s", "look": "10s"}


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    made = Fleet(tmp_path, 2, controller=OFTEN)
    made.release("rules", "1", rules_txt=b"one")
    return made


@contextmanager
def running(fleet: Fleet, *options: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run a controller for the time of the block; what it says goes to the file `said`."""
    with (fleet.folder / "said").open("a") as said:
        process = fleet.start_telling(said, "run", *options, **environment)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


def said(fleet: Fleet) -> str:
    return (fleet.folder / "said").read_text()


def has(fleet: Fleet, content: bytes) -> Callable[[], bool]:
    return lambda: all(fleet.current(client, "rules") == {"rules.txt": content} for client in ("c1", "c2"))


def standing(fleet: Fleet, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = fleet.run("status", "--no-refresh", "--format", "json", *options).json["controller"]
    return found


def ended(process: subprocess.Popen[str]) -> int:
    process.communicate(timeout=PATIENCE)
    return process.returncode


def test_it_keeps_the_fleet_current_without_being_asked_and_ends_cleanly(fleet: Fleet) -> None:
    with running(fleet) as process:
        until(has(fleet, b"one"), process)
        fleet.release("rules", "2", rules_txt=b"two")
        process.send_signal(signal.SIGHUP)
        until(has(fleet, b"two"), process)
        assert fleet.run("unlock", "none").code == 1  # it can be talked to while a controller runs
        process.send_signal(signal.SIGTERM)
        assert ended(process) == 0
    last = standing(fleet)
    assert (last["phase"], last["alive"], last["trouble"]) == ("stopped", False, "")
    before = fleet.listing()
    with running(fleet) as process:
        until(lambda: standing(fleet)["phase"] == "sleeping", process)
        process.send_signal(signal.SIGTERM)
        assert ended(process) == 0
    assert fleet.listing() == before


def test_it_tells_whether_it_is_well_and_what_it_did_and_ends_though_somebody_asks(fleet: Fleet) -> None:
    fleet.write(controller={"interval": "1h", "look": "1h"})
    with (fleet.folder / "said").open("a") as file:
        process = fleet.start_telling(file, "run", "--listen", "127.0.0.1:0")
    try:
        host, port = (
            "127.0.0.1",
            int(until(lambda: re.findall(r"http://127.0.0.1:(\d+)/metrics", said(fleet)), process)[0]),
        )
        there = f"http://{host}:{port}"
        until(lambda: b'\nupdoser_clients{component="rules",state="updated"} 2\n' in asked(f"{there}/metrics"), process)
        until(lambda: re.search(rb'\nupdoser_reconcile_total\{result="ok"\} [1-9]', asked(f"{there}/metrics")), process)
        assert b'\nupdoser_run_clients_total{outcome="changed"} 2\n' in asked(f"{there}/metrics")
        assert [asked(f"{there}/{path}")[:2] for path in ("livez", "readyz")] == [b"ok", b"ok"]
        with socket.create_connection((host, port), PATIENCE):
            process.send_signal(signal.SIGTERM)
            assert ended(process) == 0
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


def asked(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
        content: bytes = answer.read()
    return content


def test_a_spec_that_is_no_good_is_told_and_the_last_good_one_stays_in_force(fleet: Fleet) -> None:
    with running(fleet) as process:
        until(has(fleet, b"one"), process)
        good = (fleet.folder / "updoser.yaml").read_text()
        (fleet.folder / "updoser.yaml").write_text(f"{good}\nnonsense: 1\n")
        fleet.release("rules", "2", rules_txt=b"two")
        process.send_signal(signal.SIGHUP)
        until(has(fleet, b"two"), process)
        assert said(fleet).count("the last good one stays in force") == 1
        (fleet.folder / "updoser.yaml").write_text(good)
        process.send_signal(signal.SIGHUP)
        until(lambda: "over: the spec is no good" in said(fleet), process)


def test_a_spec_that_is_no_good_at_the_start_begins_nothing(fleet: Fleet) -> None:
    (fleet.folder / "updoser.yaml").write_text("nonsense: 1\n")
    with running(fleet) as process:
        assert ended(process) == 65
    assert not (fleet.folder / "state.db").exists()


def test_while_it_is_paused_it_looks_and_changes_nothing(fleet: Fleet) -> None:
    with running(fleet) as process:
        until(has(fleet, b"one"), process)
        assert fleet.run("controller", "pause", "--reason", "audit", "--as", "ann").code == 0
        fleet.release("rules", "2", rules_txt=b"two")
        process.send_signal(signal.SIGHUP)
        until(lambda: "changes are due, and wait: paused by ann: audit" in said(fleet), process)
        assert has(fleet, b"one")()
        shown = fleet.run("status", "--no-refresh").out
        assert "  paused by ann until `updoser controller resume`: audit\n" in shown
        assert fleet.run("controller", "resume").code == 0
        until(has(fleet, b"two"), process)
    commands = {run["command"]: run["run_id"] for run in fleet.run("history", "--format", "json").json}
    assert "paused by ann: audit" in fleet.run("history", commands["controller pause"]).out
    assert "the pause of ann was ended: audit" in fleet.run("history", commands["controller resume"]).out


def test_who_only_observes_changes_nothing_and_says_what_is_due(fleet: Fleet) -> None:
    fleet.write(controller={**OFTEN, "mode": "observe"})
    with running(fleet) as process:
        until(lambda: "`controller.mode: observe` carries out none" in said(fleet), process)
        until(lambda: standing(fleet)["phase"] == "sleeping", process)
    assert fleet.current("c1", "rules") == {}
    assert fleet.run("history", "--format", "json").json == []


def test_with_approval_it_goes_on_with_what_a_person_let_go_out_and_begins_nothing(fleet: Fleet) -> None:
    waves = {"waves": [{"count": 1}, {"share": "100%", "soak": "1s"}]}
    fleet.write(controller={**OFTEN, "mode": "approve"}, auto_update={"rollout": waves})
    with running(fleet) as process:
        until(lambda: "that nobody let go out yet" in said(fleet), process)
        assert fleet.current("c1", "rules") == {}
        until(lambda: fleet.apply().code == 0, process)  # it is refused while the controller looks
        until(has(fleet, b"one"), process)


def test_while_somebody_changes_the_fleet_by_hand_a_round_is_left_out_and_that_is_no_failure(fleet: Fleet) -> None:
    with running(fleet) as process:
        until(has(fleet, b"one"), process)
        until(lambda: standing(fleet)["phase"] == "sleeping", process)
        columns = "id, lock_id, who, holder, command, since"  # as an earlier version wrote it: it shows no sign of life
        fleet.sql(
            f"INSERT INTO lock ({columns}) VALUES (1, 'abc', 'ann@elsewhere', 'elsewhere boot ns 1 2', 'apply', 0)"
        )
        process.send_signal(signal.SIGHUP)
        until(lambda: "this round is left out: the state is locked by ann@elsewhere" in said(fleet), process)
        fleet.release("rules", "2", rules_txt=b"two")
        fleet.sql("DELETE FROM lock")
        process.send_signal(signal.SIGHUP)
        until(has(fleet, b"two"), process)
        assert standing(fleet)["trouble"] == ""


def test_what_it_says_of_a_round_that_failed_has_no_secret_in_it(fleet: Fleet) -> None:
    listed = '{"g": {"hosts": ["a"]}, "_meta": {"hostvars": {"a": {"ansible_host": "\'$TOKEN\' x"}}}}'
    asks = {"type": "command", "run": ["sh", "-c", f"echo '{listed}'"], "pass_env": ["TOKEN"]}
    fleet.write(groups={"g": {"transport": {"type": "local"}, "install_root": "clients", "inventory": asks}})
    with running(fleet, TOKEN="hunter2-hunter2") as process:
        until(lambda: "this round failed" in said(fleet), process)
        trouble = until(lambda: reported(fleet)["trouble"], process)
    assert "******** x" in trouble
    assert "hunter2" not in trouble + said(fleet)


def reported(fleet: Fleet) -> Any:
    """Give what the controller says of itself in the state."""
    with closing(sqlite3.connect(fleet.folder / "state.db")) as connection:
        return json.loads(connection.execute("SELECT report FROM controller").fetchone()[0])


def test_of_two_controllers_one_waits_and_follows_when_the_other_dies(fleet: Fleet) -> None:
    with running(fleet) as first:
        until(has(fleet, b"one"), first)
        with running(fleet) as second:
            until(lambda: "leads; this one waits" in said(fleet), second)
            first.kill()
            ended(first)
            fleet.release("rules", "2", rules_txt=b"two")
            until(has(fleet, b"two"), second)
            assert standing(fleet)["who"].endswith(f"(process {second.pid})")


def test_who_has_lost_the_lease_ends_with_an_error_and_changes_nothing(fleet: Fleet) -> None:
    with running(fleet) as process:
        until(has(fleet, b"one"), process)
        until(lambda: standing(fleet)["phase"] == "sleeping", process)
        fleet.sql(
            "UPDATE lease SET generation = generation + 1, holder = 'elsewhere boot ns 1 2', who = 'ann@elsewhere'"
        )
        assert ended(process) == 5
    assert "another controller leads" in said(fleet)


def test_people_are_told_when_something_begins_and_when_it_is_over(fleet: Fleet) -> None:
    told = fleet.folder / "told"
    fleet.write(notify=[{"name": "log", "type": "command", "run": "cat >> told"}])

    def heard() -> list[str]:
        lines = told.read_text().splitlines() if told.exists() else []
        return [f"{one['change']} {one['condition']}" for line in lines for one in json.loads(line)["notices"]]

    done = fleet.run("controller", "test-notify", "log")
    assert (done.code, heard()) == (0, ["test rollout_halted"])
    assert fleet.run("controller", "test-notify", "lag").code == 64
    with running(fleet) as process:
        until(has(fleet, b"one"), process)
        good = (fleet.folder / "updoser.yaml").read_text()
        (fleet.folder / "updoser.yaml").write_text(f"{good}\nnonsense: 1\n")
        process.send_signal(signal.SIGHUP)
        until(lambda: heard()[1:] == ["begun spec_rejected"], process)
        process.kill()
        ended(process)
    (fleet.folder / "updoser.yaml").write_text(good)
    (known,) = fleet.run("status", "--no-refresh", "--format", "json").json["conditions"]
    assert (known["kind"], known["severity"]) == ("spec_rejected", "critical")
    with running(fleet) as process:  # another process knows what the first one told
        # Killed before it had written down that a message was delivered, it is delivered once more.
        until(lambda: list(dict.fromkeys(heard()[1:])) == ["begun spec_rejected", "ended spec_rejected"], process)
