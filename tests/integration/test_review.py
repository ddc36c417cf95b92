"""Reviews: what changed in the file stands in the plan, and a stale plan explains itself."""

from pathlib import Path

from tests.fleet import Fleet


def test_a_plan_says_what_changed_in_the_file_and_a_stale_one_what_differs_from_a_new_one(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, clients=2, quarantine={"after_failures": 2})
    fleet.release("rules", "1", rules_txt=b"one\n")
    assert fleet.apply().code == 0
    fleet.release("rules", "2", rules_txt=b"two\n")
    assert "Changed in the spec" not in fleet.run("plan", "--out", "old.plan").out
    fleet.release("rules", "3", rules_txt=b"three\n")
    fleet.write(quarantine={"after_failures": 9})
    shown = fleet.run("plan", "--out", "new.plan")
    assert "  ! less safe: quarantine: clients are quarantined later: 2 -> 9\n" in shown.out
    refused = fleet.run("apply", "old.plan")
    assert "old.plan is stale: the spec changed" in refused.err
    assert "updoser show --diff OLD NEW" in refused.err
    differences = fleet.run("show", "--diff", "old.plan", "new.plan", "--format", "json").json["differences"]
    assert {entry["what"] for entry in differences} >= {"basis", "change"}
    assert any("1 3" in entry["subject"] and entry["kind"] == "added" for entry in differences)
    assert "--diff" in fleet.run("show", "old.plan", "new.plan").err
