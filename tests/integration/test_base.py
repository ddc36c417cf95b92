"""Plans against a base: what a change of the spec does, apart from what would happen anyway."""

import subprocess
from pathlib import Path

import pytest

from tests.fleet import Fleet

ENV = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
}


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, env=ENV, check=True, capture_output=True)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    fleet = Fleet(tmp_path, clients=3)
    fleet.release("rules", "1", rules_txt=b"one\n")
    _git(tmp_path, "init", "-q")
    _git(tmp_path, "add", "updoser.yaml", "catalog.yaml")
    _git(tmp_path, "commit", "-q", "-m", "one")
    return fleet


def test_a_plan_tells_what_comes_of_a_change_from_what_would_happen_anyway(fleet: Fleet, tmp_path: Path) -> None:
    fleet.release("rules", "2", rules_txt=b"two\n")
    (tmp_path / "same.yaml").write_bytes((tmp_path / "updoser.yaml").read_bytes())
    fleet.write(components={"rules": {"version": "1"}})
    for base in ("HEAD", "same.yaml"):
        shown = fleet.run("plan", "--base", base, "--out", "a.plan", "--format", "json")
        found = shown.json["against_base"]
        deploys = [entry for entry in found if entry["action"] == "deploy"]
        assert [(entry["by"], entry["version"], entry["clients"]) for entry in deploys] == [
            ("change", "1", 3),
            ("no longer", "2", 3),
        ]
    assert "  no longer       deploy" in fleet.run("show", "a.plan").out
    assert "| no longer | deploy | rules 2 | 3 clients |" in fleet.run("show", "a.plan", "--format", "markdown").out
    fleet.write(client_keep=3)
    _git(tmp_path, "commit", "-q", "-a", "-m", "two")
    anyway = fleet.run("plan", "--base", "HEAD", "--limit", "c1,c2", "--target", "rules", "--format", "json").json
    assert {entry["by"] for entry in anyway["against_base"]} == {"anyway"}


def test_a_base_that_cannot_be_had_is_an_error_that_says_where_and_what(fleet: Fleet, tmp_path: Path) -> None:
    assert "has no such revision" in fleet.run("plan", "--base", "nonsense").err
    assert "has no such revision" in fleet.run("plan", "--base=--output=x").err
    _git(tmp_path, "mv", "updoser.yaml", "other.yaml")
    _git(tmp_path, "commit", "-q", "-m", "moved")
    (tmp_path / "updoser.yaml").write_bytes((tmp_path / "other.yaml").read_bytes())
    assert "there was no updoser.yaml at that revision" in fleet.run("plan", "--base", "HEAD").err
    (tmp_path / "updoser.yaml").write_text("version: 1\nnonsense: 1\n")
    _git(tmp_path, "add", "updoser.yaml")
    _git(tmp_path, "commit", "-q", "-m", "invalid")
    (tmp_path / "updoser.yaml").write_bytes((tmp_path / "other.yaml").read_bytes())
    invalid = fleet.run("plan", "--base", "HEAD")
    assert invalid.code == 65
    assert "HEAD:updoser.yaml:2:1" in invalid.err
    assert "with --no-exec git isn't run" in fleet.run("plan", "--no-exec", "--base", "HEAD").err
    (tmp_path / ".git").rename(tmp_path / "git")
    assert "is no repository" in fleet.run("plan", "--base", "HEAD", GIT_CEILING_DIRECTORIES=str(tmp_path)).err
