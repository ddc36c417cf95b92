"""A wish that can't be met is never called fulfilled: the verdict, --detailed-exitcode and apply take account of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fleet import ONE_WAVE, Fleet

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    made = Fleet(tmp_path, clients=2, auto_update=ONE_WAVE, components={"rules": {}})
    made.release("rules", "1", a=b"one")
    assert made.apply().code == 0
    assert made.run("plan", "--detailed-exitcode").code == 0
    return made


def codes(fleet: Fleet) -> tuple[tuple[int, int, int], str, str]:
    """Give the codes of a plan, of one with --detailed-exitcode, and of an apply; and what the last two said."""
    plain, detailed, done = fleet.run("plan"), fleet.run("plan", "--detailed-exitcode"), fleet.apply()
    return (plain.code, detailed.code, done.code), detailed.out, done.out + done.err


def test_a_pin_that_no_source_has(fleet: Fleet) -> None:
    fleet.write(components={"rules": {"version": "9"}})
    found, plan, done = codes(fleet)
    assert found == (0, 2, 1)
    for text in (plan, done):
        assert "; not as declared: rules 9 can't be had\n" in text
        assert "No changes. Not as declared: rules 9 can't be had.\n" in text
    assert "Error: not as declared: rules 9 can't be had" in done


def test_a_component_of_which_there_is_no_release_does_not_keep_others_from_clients(fleet: Fleet) -> None:
    fleet.write(components={"rules": {}, "engine": {}})
    fleet.release("rules", "2", a=b"two")
    done = fleet.apply()
    assert (done.code, "not as declared: engine can't be had" in done.err) == (1, True)
    assert fleet.current("c1", "rules") == {"a": b"two"}


def test_a_component_that_only_its_catalog_names_may_have_no_release(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, clients=1, auto_update=ONE_WAVE)
    fleet.release("rules", "1", a=b"one")
    assert fleet.apply().code == 0
    found, plan, _done = codes(fleet)
    assert (found, "engine: no source offers any release" in plan) == ((0, 0, 0), True)


def test_a_source_that_can_not_be_read_unless_the_file_says_that_it_may_be_away(fleet: Fleet) -> None:
    (fleet.folder / "upstream").rename(fleet.folder / "away")
    found, plan, done = codes(fleet)
    assert found == (0, 2, 1)
    assert "; not as declared: source drop can't be read\n" in plan
    assert "Error: not as declared: source drop can't be read" in done
    fleet.write(sources=[{**fleet.spec["sources"][0], "when_absent": "hold"}])
    found, plan, _done = codes(fleet)
    assert (found, "source drop: " in plan) == ((0, 0, 0), True)


def test_what_a_policy_keeps_back_is_as_declared(fleet: Fleet) -> None:
    fleet.release("rules", "2", a=b"two")
    fleet.write(components={"rules": {"block": [{"version": "2", "reason": "INC-1"}]}})
    found, plan, _done = codes(fleet)
    assert (found, "rules 2 is blocked: INC-1" in plan) == ((0, 0, 0), True)
    fleet.write(components={"rules": {}}, sources=[{**fleet.spec["sources"][0], "settle": "1h"}])
    found, plan, _done = codes(fleet)
    assert (found, "not settled yet" in plan) == ((0, 0, 0), True)


def test_a_release_with_other_bytes_than_before(fleet: Fleet) -> None:
    (fleet.folder / "upstream" / "rules" / "1" / "a").write_bytes(b"other")
    found, plan, _done = codes(fleet)
    assert found == (0, 2, 1)
    assert "; not as declared: 1 problem\n" in plan


def test_a_fleet_that_nothing_is_known_of(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, clients=2, auto_update=ONE_WAVE, components={"rules": {}})
    fleet.release("rules", "1", a=b"one")
    assert fleet.run("plan", "--no-refresh", "--detailed-exitcode").code == 2
    fleet.write(components={"rules": {}}, sources=[])
    silent = fleet.run("plan", "--no-refresh", "--detailed-exitcode", "--target", "rules")
    assert silent.code == 2
    assert "; nothing is known of any client\n" in silent.out
    assert fleet.apply("--no-refresh").code == 4


def test_a_plan_file_that_could_not_read_a_source_is_fine_once_the_source_is_back(fleet: Fleet) -> None:
    (fleet.folder / "upstream").rename(fleet.folder / "away")
    assert fleet.run("plan", "--out", "p.json").code == 0
    (fleet.folder / "away").rename(fleet.folder / "upstream")
    done = fleet.run("apply", "p.json")
    assert done.code == 0, done.err


def test_a_newer_version_that_is_offered_and_not_had_is_no_fleet_that_is_up_to_date(fleet: Fleet) -> None:
    assert fleet.run("status", "--fail-on", "outdated>0%").code == 0
    fleet.release("rules", "2", a=b"two")
    assert fleet.run("plan").code == 0
    status = fleet.run("status", "--fail-on", "outdated>0%")
    assert (status.code, "0 of 1 component updated everywhere" in status.out) == (1, True)
