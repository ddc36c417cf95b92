"""Bytes that change under a version: taken while nobody got the former, and afterwards when somebody says so."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.fleet import Fleet

if TYPE_CHECKING:
    from pathlib import Path
OLD, NEW = b"alert any\n", b"alert any\nalert more\n"


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    made = Fleet(tmp_path, clients=3, components={"rules": {"version": "latest"}})
    made.release("rules", "7", all_rules=OLD)
    return made


def complete(fleet: Fleet, content: bytes = NEW) -> None:
    """Have the copy of the release end that was under way under its final name."""
    (fleet.folder / "upstream/rules/7/all.rules").write_bytes(content)


def held(fleet: Fleet) -> list[bytes]:
    """Give the content of all files that the store has."""
    return sorted(path.read_bytes() for path in (fleet.folder / "store/content").rglob("*") if path.is_file())


def test_a_half_file_that_only_a_plan_saw_is_taken_when_it_is_complete(fleet: Fleet) -> None:
    assert "download" in fleet.run("plan").out
    complete(fleet)
    done = fleet.apply("--events", "events.jsonl")
    assert done.code == 0, done.err
    assert fleet.current("c1", "rules") == {"all.rules": NEW}
    told = [json.loads(line)["message"] for line in (fleet.folder / "events.jsonl").read_text().splitlines()]
    assert "source drop: the bytes of rules 7 are others than before" in told


def test_a_half_file_that_is_in_the_store_and_on_no_client_is_replaced_there(fleet: Fleet) -> None:
    fleet.write(hold=[{"clients": "all", "reason": "INC-1"}])
    assert fleet.apply().code == 0
    assert held(fleet) == [OLD]
    complete(fleet)
    plan = fleet.run("plan").out
    assert "now offers other bytes than before" in plan
    assert "nobody got those" in plan
    assert "release accept" not in plan
    assert fleet.apply().code == 0
    assert held(fleet) == [NEW]
    fleet.write(hold=[])
    assert fleet.apply().code == 0
    assert fleet.current("c3", "rules") == {"all.rules": NEW}
    assert "other bytes" not in fleet.run("plan").out


WAVES = {"rollout": {"waves": [{"share": "34%", "soak": "1h"}, {"share": "100%"}], "max_unreachable_percentage": 0}}


def test_bytes_that_clients_have_stay_until_somebody_accepts_the_others_and_then_go_by_waves(fleet: Fleet) -> None:
    assert fleet.apply().code == 0
    complete(fleet)
    for _again in range(2):
        refused = fleet.run("plan")
        assert "other bytes than those that are out" in refused.out
        assert "updoser release accept rules 7" in refused.out
        folder = fleet.folder / "upstream/rules"
        shutil.move(folder, fleet.folder / "moved")  # removed and added again, which helps nobody
        assert fleet.run("plan").code == 0
        shutil.move(fleet.folder / "moved", folder)
    assert fleet.apply().code == 1
    assert fleet.current("c1", "rules") == {"all.rules": OLD}

    fleet.write(auto_update=WAVES)
    done = fleet.run("release", "accept", "rules", "7", "--reason", "half a copy", "--as", "joe")
    assert done.code == 0, done.err
    assert "rules 7 is accepted with the bytes that source drop has now" in done.err
    run = next(one for one in fleet.run("history", "--format", "json").json if one["command"] == "release accept rules")
    assert "accepted by joe" in fleet.run("history", run["run_id"]).out
    assert "half a copy" in fleet.run("history", run["run_id"]).out

    assert fleet.apply().code == 0
    assert held(fleet) == [NEW]
    assert {fleet.current(f"c{at}", "rules")["all.rules"] for at in (1, 2, 3)} == {OLD, NEW}
    assert fleet.apply("--expedite", "rules").code == 0
    assert {fleet.current(f"c{at}", "rules")["all.rules"] for at in (1, 2, 3)} == {NEW}
    assert "other bytes" not in fleet.run("plan").out
    assert fleet.run("plan", "--detailed-exitcode").code == 0


def test_what_a_client_had_once_is_not_forgotten_with_the_store(fleet: Fleet) -> None:
    assert fleet.apply().code == 0
    shutil.rmtree(fleet.folder / "store/releases")
    shutil.rmtree(fleet.folder / "clients")
    complete(fleet)
    assert fleet.apply().code == 1
    assert fleet.current("c1", "rules") == {}
    assert fleet.run("release", "accept", "rules", "7").code == 0
    assert fleet.apply().code == 0
    assert fleet.current("c1", "rules") == {"all.rules": NEW}


def test_a_version_that_a_check_halted_begins_anew_with_the_bytes_that_are_accepted(fleet: Fleet) -> None:
    check = {"name": "whole", "phase": "staged", "where": "client", "run": "grep -q more $UPDOSER_STAGED/all.rules"}
    fleet.write(defaults={"checks": [check]})
    assert fleet.apply().code == 3
    complete(fleet)
    assert "updoser release accept rules 7" in fleet.run("plan").out
    assert fleet.run("release", "accept", "rules", "7").code == 0
    done = fleet.apply()
    assert done.code == 0, done.out
    assert fleet.current("c1", "rules") == {"all.rules": NEW}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("rulez", "7"), "no managed component is called rulez"),
        (("rules", "8"), "no source offers rules 8"),
        (("rules", "7", "--platform", "linux-x86_64"), "no source offers rules 7 linux-x86_64"),
        (("rules", "7"), "rules 7 has the bytes that it had before"),
    ],
)
def test_to_accept_what_is_not_there_or_did_not_change_is_an_error(
    fleet: Fleet, words: tuple[str, ...], said: str
) -> None:
    assert fleet.apply().code == 0
    done = fleet.run("release", "accept", *words)
    assert done.code == 64
    assert said in done.err
