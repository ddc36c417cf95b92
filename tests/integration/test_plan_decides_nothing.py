"""A plan only looks: whatever it was made for, the next run decides as if it hadn't been."""

from __future__ import annotations

import csv
import json
import sqlite3
from typing import TYPE_CHECKING

import pytest

from tests.fleet import ONE_WAVE, Fleet

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fleet import Done

AWAY = {"transport": {"type": "ssh", "connect_timeout": "5s"}, "install_root": "/var/lib/updoser"}


def inventory(fleet: Fleet, name: str, count: int, prefix: str = "c") -> dict[str, object]:
    with (fleet.folder / name).open("w", newline="") as file:
        rows = [(f"{prefix}{n}", "127.0.0.1", ord(prefix) + n) for n in range(count)]
        csv.writer(file).writerows([("name", "address", "port"), *rows])
    return {**AWAY, "inventory": {"type": "csv", "path": name}}


def clients(plan: Done) -> int:
    return sum(plan.json["clients"].values())


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    made = Fleet(tmp_path, auto_update=ONE_WAVE)
    made.release("rules", "1", a=b"one")
    made.write(groups={"all": inventory(made, "main.csv", 10)})
    return made


def planned(fleet: Fleet, *arguments: str) -> Done:
    return fleet.run("plan", "--format", "json", *arguments)


def test_a_plan_of_a_branch_with_more_clients_does_not_stop_the_next_plan_or_apply(fleet: Fleet) -> None:
    main = fleet.spec["groups"]
    fleet.write(groups={"all": inventory(fleet, "branch.csv", 40)})
    assert clients(planned(fleet)) == 40
    fleet.write(groups=main)
    for arguments in ((), ("--no-refresh",), ()):
        plan = planned(fleet, *arguments)
        assert (plan.code, clients(plan), plan.json["gone"]) == (0, 10, []), (arguments, plan.err)
    assert "known" not in plan.err
    done = fleet.apply("--format", "json")
    assert sum(done.json["recap"]["all"].values()) == 10, done.err
    fleet.write(groups={"all": inventory(fleet, "branch.csv", 40)})
    assert clients(planned(fleet)) == 40
    fleet.write(groups=main)
    again = planned(fleet)
    assert (again.code, clients(again), again.json["gone"]) == (0, 10, [])
    assert clients(planned(fleet, "--no-refresh")) == 10
    assert json.loads(fleet.run("status", "--format", "json").out)["clients"] == 10


def test_a_plan_with_a_new_group_lists_nobody_as_gone_the_next_time_and_applies(fleet: Fleet) -> None:
    main = fleet.spec["groups"]
    fleet.apply()
    fleet.write(groups={**main, "new": inventory(fleet, "new.csv", 3, "n")})
    assert clients(planned(fleet)) == 13
    fleet.write(groups=main)
    assert planned(fleet).json["gone"] == []
    fleet.write(groups={**main, "new": inventory(fleet, "new.csv", 3, "n")})
    assert set(fleet.apply("--format", "json").json["recap"]) == {"all", "new"}
    fleet.write(groups=main)
    for _ in range(2):
        assert planned(fleet).json["gone"] == ["n0", "n1", "n2"], "a plan takes no note of it"
    fleet.apply()
    assert planned(fleet).json["gone"] == []


def test_a_list_that_a_plan_was_allowed_to_believe_is_doubted_again_by_the_next_run(fleet: Fleet) -> None:
    fleet.apply()
    inventory(fleet, "main.csv", 2)
    assert clients(planned(fleet, "--allow-shrink")) == 2
    refused = fleet.apply()
    assert (refused.code, "had 10 clients" in refused.err) == (5, True)
    assert fleet.apply("--allow-shrink").code == 4
    assert planned(fleet).code == 0


def test_a_plan_file_is_carried_out_on_clients_that_only_the_plan_has_seen(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, clients=2, auto_update=ONE_WAVE)
    fleet.release("rules", "1", a=b"one")
    assert fleet.run("plan", "--out", "p.json").code == 0
    done = fleet.run("apply", "p.json", "--no-refresh")
    assert done.code == 0, done.err
    assert fleet.current("c1", "rules") == fleet.current("c2", "rules") == {"a": b"one"}


def test_a_plan_starts_no_clock_of_a_release(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, clients=1, auto_update=ONE_WAVE, components={"rules": {"min_age": "1h"}})
    fleet.release("rules", "1", a=b"one")
    count = "SELECT count(*) FROM first_seen"
    for expected, command in ((0, ("plan",)), (0, ("status", "--refresh")), (1, ("apply", "--auto-approve"))):
        assert fleet.run(*command).code == 0
        with sqlite3.connect(tmp_path / "state.db") as database:
            assert database.execute(count).fetchone() == (expected,), command


def test_a_plan_that_would_take_clients_over_takes_nobody_over(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, clients=1, auto_update=ONE_WAVE)
    fleet.release("rules", "1", a=b"one")
    assert fleet.apply().code == 0
    (tmp_path / "state.db").unlink()
    assert fleet.run("plan", "--adopt", "--out", "p.json").code == 0
    refused = fleet.apply()
    assert (refused.code, "answer to another controller" in refused.err) == (5, True)
    assert fleet.run("apply", "p.json").code == 0
    assert fleet.run("plan").code == 0
