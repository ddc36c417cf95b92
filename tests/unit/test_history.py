"""The history: who ran what, how long its parts took, and what happened to a client, a component or a version."""

import csv
import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.desk import origin_of
from reconciler.formats.ci import MAX_VALUE, SYSTEMS, bounded, ci_origin
from reconciler.model.report import Asked
from reconciler.present.csv_text import csv_text
from reconciler.present.document import outcomes_document, run_document
from reconciler.present.history_text import history_rows, history_text, outcomes_text, run_text
from reconciler.storage.state import State
from tests.fakes import NOW
from tests.postgres import BOTH
from tests.unit.workbench import Bench, Opened

BENCHES_ON = BOTH

COMMIT = "0123456789abcdef" * 2 + "01234567"


def asked(bench: Bench, last: int = 100, **what: Any) -> Any:
    return outcomes_document(Asked(**what), bench.state.outcomes(Asked(**what), last))["entries"]


def test_what_happened_is_found_by_client_component_version_and_time(opened: Opened) -> None:
    bench = opened({"g": 2})
    bench.release("2")
    bench.later(timedelta(days=1))
    bench.apply()
    bench.release("3")
    bench.later(timedelta(days=1))
    bench.apply(limit="g-1")
    assert [one["to"] for one in asked(bench, client="g-1")] == ["3", "2", "1"]
    assert {one["client"] for one in asked(bench, client="g-1")} == {"g-1"}
    assert [one["to"] for one in asked(bench, client="g-1", last=1)] == ["3"]
    left_or_got = {(one["from"], one["to"]) for one in asked(bench, client="g-1", version="2")}
    assert left_or_got == {("1", "2"), ("2", "3")}
    assert [one["to"] for one in asked(bench, client="g-1", since=NOW + timedelta(days=2))] == ["3"]
    assert asked(bench, client="g-1", component="engine") == []
    assert "outcomes of client g-1" in outcomes_text(
        outcomes_document(Asked(client="g-1"), bench.state.outcomes(Asked(client="g-1"), 9))
    )


def test_a_run_says_how_long_each_of_its_parts_took_and_leaves_out_those_with_nothing_to_do(opened: Opened) -> None:
    bench = opened({"g": 2})
    bench.release("2")
    bench.apply()
    (run,) = bench.state.runs(1)
    steps = [step.step for step in run.steps]
    assert steps[:2] == ["download", "clients"]
    assert not set(steps) & {"claim", "publish", "merge"}
    document = run_document(run, [])
    assert [one["step"] for one in document["steps"]] == steps
    assert "Parts\n  download  2026-11-24T12:00:00Z  0.0 s" in run_text(document)


def test_who_ran_it_stands_in_the_history_as_printable_text(state_url: str) -> None:
    with State.open(state_url, clock=lambda: NOW) as state:
        origin = {"ci": "GitHub Actions", **bounded({"actor": "ann\x1b[2J", "job": "https://x/1"})}
        state.begin_run("r", "p", "apply", NOW, origin)
        state.end_run("r", "done", {}, NOW)
        run = run_document(state.runs(1)[0], [])
    assert run["origin"]["actor"] == "ann?[2J"
    assert "GitHub Actions for ann?[2J" in history_text([run])
    assert "job https://x/1" in run_text(run)
    (head, row) = csv.reader(io.StringIO(csv_text(history_rows([run]))))
    assert dict(zip(head, row, strict=True))["actor"] == "ann?[2J"


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, {}),
        ({"GITHUB_ACTIONS": "false", "GITHUB_SHA": "a"}, {}),
        (
            {
                "GITHUB_ACTIONS": "true",
                "CI": "true",
                "GITHUB_SERVER_URL": "https://github.example",
                "GITHUB_REPOSITORY": "o/r",
                "GITHUB_RUN_ID": "7",
                "GITHUB_ACTOR": "ann",
                "GITHUB_SHA": "abc",
                "GITHUB_REF_NAME": "main",
            },
            {
                "ci": "GitHub Actions",
                "job": "https://github.example/o/r/actions/runs/7",
                "actor": "ann",
                "commit": "abc",
                "ref": "main",
            },
        ),
        (
            {"GITLAB_CI": "true", "CI_JOB_URL": "https://gitlab.example/-/jobs/1", "CI_COMMIT_SHA": "d"},
            {"ci": "GitLab CI", "job": "https://gitlab.example/-/jobs/1", "commit": "d"},
        ),
        ({"JENKINS_URL": "https://j", "BUILD_URL": "https://j/1"}, {"ci": "Jenkins", "job": "https://j/1"}),
        ({"CI": "1", "BUILD_URL": "x"}, {"ci": "CI", "job": "x"}),
    ],
)
def test_a_pipeline_is_known_by_its_variables(environ: dict[str, str], found: dict[str, str]) -> None:
    assert ci_origin(environ) == found


@given(
    st.sampled_from([system.mark for system in SYSTEMS]),
    st.dictionaries(
        st.sampled_from(sorted({name for one in SYSTEMS for part in one[2:] for name in part if "{" not in name})),
        st.text(max_size=400),
    ),
)
def test_whatever_a_pipeline_says_is_bounded_and_printable(mark: str, environ: dict[str, str]) -> None:
    found = ci_origin({**environ, mark: "1"})
    assert all(value and value.isprintable() and len(value) <= MAX_VALUE for value in found.values())


def repository(folder: Path, head: str, **files: str) -> Path:
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text(head)
    for name, text in files.items():
        path = folder / ".git" / name.replace("__", "/").replace("_", "-")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    inside = folder / "fleet"
    inside.mkdir()
    return inside


@pytest.mark.parametrize(
    ("head", "files", "commit"),
    [
        (COMMIT, {}, COMMIT),
        ("ref: refs/heads/main", {"refs__heads__main": f"{COMMIT}\n"}, COMMIT),
        ("ref: refs/heads/main", {"packed_refs": f"# pack-refs\n{COMMIT} refs/heads/main\n"}, COMMIT),
        ("ref: refs/heads/new", {}, None),
        ("ref: ../../etc/passwd", {}, None),
        ("ref: refs/heads/../../../x", {}, None),
        ("rubbish\x1b", {}, None),
        ("ref: refs/heads/main", {"refs__heads__main": "x" * 40}, None),
    ],
)
def test_the_commit_of_the_specs_folder_is_known_without_running_git(
    tmp_path: Path, head: str, files: dict[str, str], commit: str | None
) -> None:
    found = origin_of(repository(tmp_path, head, **files), {})
    assert found.get("spec_commit") == commit
    assert found["user"]
    assert found["host"]


def test_the_commit_of_a_worktree_is_that_of_the_worktree(tmp_path: Path) -> None:
    main, other = tmp_path / "main", tmp_path / "other"
    for folder in (main, other):
        folder.mkdir()
    repository(main, "ref: refs/heads/main", refs__heads__side=COMMIT)
    place = main / ".git" / "worktrees" / "other"
    place.mkdir(parents=True)
    (place / "HEAD").write_text("ref: refs/heads/side")
    (place / "commondir").write_text("../..")
    (other / ".git").write_text(f"gitdir: {place}\n")
    assert origin_of(other, {})["spec_commit"] == COMMIT
