"""The pipelines of docs/pipelines: each shell step runs here, on checkouts of their own, against a forge of ours."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from xml.etree import ElementTree as ET

import pytest
import yaml
from jsonschema import Draft202012Validator

from reconciler import cli
from reconciler.present.terminal import Terminal
from tests import forge, zygote
from tests.fleet import Fleet
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

Run: TypeAlias = "Callable[[Site, str, Path], subprocess.CompletedProcess[str]]"
ROOT = Path(__file__).parents[2]
PIPELINES = ROOT / "docs" / "pipelines"
GITHUB = yaml.load((PIPELINES / "github-actions.yml").read_text(), yaml.BaseLoader)
GITLAB = yaml.load((PIPELINES / "gitlab-ci.yml").read_text(), yaml.BaseLoader)
EXPRESSION = re.compile(r"\$\{\{ (\S+) \}\}")
TEXT = {"type": "string", "minLength": 1}
TEXTS = {"type": "array", "items": TEXT, "minItems": 1}
MAP = {"type": "object", "additionalProperties": TEXT}


def shape(required: list[str], **properties: object) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


STEP = {
    **shape([], name=TEXT, uses={"pattern": r"^[\w-]+/[\w-]+@v\d+$"}, run=TEXT, env=MAP, **{"if": TEXT, "with": MAP}),
    "oneOf": [{"required": ["uses"]}, {"required": ["run"]}],
}
GITHUB_JOB = shape(
    ["runs-on", "steps", "timeout-minutes"],
    **{"runs-on": TEXT, "if": TEXT, "env": MAP, "environment": TEXT, "timeout-minutes": TEXT},
    steps={"type": "array", "items": STEP},
)
GITHUB_SCHEMA = shape(
    ["name", "on", "jobs", "permissions"],
    name=TEXT,
    on={"type": "object", "propertyNames": {"enum": ["pull_request", "push"]}},
    permissions={"type": "object", "additionalProperties": {"enum": ["read", "write"]}},
    concurrency=TEXT,
    jobs={"type": "object", "additionalProperties": GITHUB_JOB},
)
GITLAB_JOB = shape(
    ["stage", "rules", "script"],
    stage={"enum": ["plan", "apply"]},
    rules={"type": "array", "items": shape(["if"], changes=TEXTS, **{"if": TEXT})},
    script=TEXTS,
    artifacts=shape(
        ["paths"], paths=TEXTS, expire_in=TEXT, when=TEXT, reports=shape(["junit"], junit={"anyOf": [TEXT, TEXTS]})
    ),
    resource_group=TEXT,
    environment=TEXT,
)
GITLAB_SCHEMA = shape(
    ["stages", "plan", "apply"],
    stages=TEXTS,
    default=shape([], image=TEXT, before_script=TEXTS),
    plan=GITLAB_JOB,
    apply=GITLAB_JOB,
)


class Site:
    """A forge, a fleet, and runners that share nothing but the state and the store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "main").mkdir()
        self.fleet = Fleet(
            folder / "main", server={"store": f"{folder}/store", "state": f"sqlite:///{folder}/state.db"}
        )
        clients = [{"name": f"c{n}", "install_root": f"{folder}/clients/c{n}"} for n in (1, 2)]
        self.fleet.write(
            groups={"all": {"transport": {"type": "local"}, "install_root": f"{folder}/clients", "clients": clients}},
            sources=[{"name": "drop", "type": "directory", "path": f"{folder}/main/upstream", "settle": "0s"}],
        )
        self.fleet.release("rules", "1", data=b"1")
        assert cli.run(["fmt", str(folder / "main" / "updoser.yaml")], Terminal()) == 0
        (folder / "forge").mkdir()
        (folder / "bin").mkdir()
        self._forked = zygote.stand_in(folder / "bin")
        for name in ("pipx", "pip"):
            self._program(name, ":")
        for name in ("gh", "curl"):
            script = folder / "bin" / name
            script.write_text(f"#!{sys.executable}\n{Path(forge.__file__).read_text()}")
            script.chmod(0o755)
        self.key = folder / "key"
        self.key.write_text("k" * 64)

    def _program(self, name: str, line: str) -> None:
        script = self.folder / "bin" / name
        script.write_text(f"#!/bin/sh\n{line}\n")
        script.chmod(0o755)

    def checkout(self, name: str) -> Path:
        """Give a new checkout, as a runner has one."""
        folder = self.folder / name
        folder.mkdir()
        for file in ("updoser.yaml", "catalog.yaml"):
            shutil.copy(self.folder / "main" / file, folder)
        return folder

    def shell(self, script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        own = {"PATH": path, "FORGE": str(self.folder / "forge"), "HOME": str(self.folder)}
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", script],
            cwd=folder,
            env={**own, "ZYGOTE": self._forked["env"]["ZYGOTE"], **environment},
            pass_fds=self._forked["pass_fds"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def reviewed(self, folder: Path) -> None:
        """Keep a plan as the artifact of a run on the pull request."""
        shutil.copy(folder / "plan.json", self.folder / "forge")
        (self.folder / "forge" / "pull").touch()

    @property
    def comments(self) -> list[str]:
        file = self.folder / "forge" / "comments.json"
        return list(json.loads(file.read_text()).values()) if file.exists() else []

    def done(self) -> dict[str, bool]:
        return {name: (self.folder / "clients" / name / "rules/current/data").exists() for name in ("c1", "c2")}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def github(site: Site, job: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the steps of a job in their order; give how the last one ended, and stop at the first that fails."""
    values = {
        "secrets.PLAN_KEY": site.key.read_text(),
        "github.token": "token",
        "github.repository": "o/r",
        "github.event.pull_request.number": "7",
    }
    described = GITHUB["jobs"][job]
    env = {
        name: re.sub(r"\$\{\{ (\S+) \}\}", lambda found: values[found[1]], text)
        for name, text in described["env"].items()
    }
    (folder / "runner").mkdir(exist_ok=True)
    env |= {"RUNNER_TEMP": f"{folder}/runner", "GITHUB_SHA": "merged", "GITHUB_STEP_SUMMARY": f"{folder}/summary.md"}
    done: subprocess.CompletedProcess[str] | None = None
    for step in described["steps"]:
        if "run" in step and (done is None or done.returncode == 0):
            done = site.shell(step["run"], folder, **env)
        elif step.get("with", {}).get("name") == "plan" and done and done.returncode == 0:
            site.reviewed(folder)
    assert done, "no step runs anything"
    return done


def gitlab(site: Site, job: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the script of a job as one, as GitLab's runner does."""
    env = {
        "PLAN_KEY": str(site.key),
        "GITLAB_TOKEN": "token",
        "CI_API_V4_URL": "https://forge/api",
        "CI_PROJECT_ID": "3",
        "CI_MERGE_REQUEST_IID": "7",
        "CI_COMMIT_SHA": "merged",
    }
    done = site.shell("\n".join(GITLAB["default"]["before_script"] + GITLAB[job]["script"]), folder, **env)
    if job == "plan" and done.returncode == 0:
        site.reviewed(folder)
    return done


@pytest.mark.parametrize("run", [github, gitlab])
def test_a_plan_is_one_comment_and_on_merge_another_machine_applies_that_very_plan(site: Site, run: Run) -> None:
    before = {"5": "looks good", "6": "<!-- updoser: plan -->\n\nthe plan before"}
    (site.folder / "forge" / "comments.json").write_text(json.dumps(before))
    done = run(site, "plan", site.checkout("branch"))
    assert done.returncode == 0, done.stderr
    other, comment = site.comments
    assert other == "looks good"
    assert comment.startswith("<!-- updoser: plan -->\n\n")
    assert "rules" in comment
    assert not any(site.done().values())
    merged = site.checkout("merged")
    done = run(site, "apply", merged)
    assert done.returncode == 0, done.stderr + done.stdout
    assert all(site.done().values())
    reports = [*(site.folder / "branch").glob("*.xml"), *merged.glob("*.xml")]
    assert {ET.parse(report).getroot().tag for report in reports} == ({"testsuites"} if run is gitlab else set())


@pytest.mark.parametrize("run", [github, gitlab])
def test_what_nobody_reviewed_or_what_changed_since_is_not_applied(site: Site, run: Run) -> None:
    done = run(site, "apply", site.checkout("direct"))
    assert (done.returncode, "so no plan was reviewed" in done.stderr) == (1, True)
    assert run(site, "plan", site.checkout("branch")).returncode == 0
    assert len(site.comments) == 1
    merged = site.checkout("merged")
    with (merged / "updoser.yaml").open("a") as file:
        file.write("client_keep: 3\n")
    done = run(site, "apply", merged)
    assert (done.returncode, "stale" in done.stderr) == (5, True), done.stderr
    assert not any(site.done().values())


@pytest.mark.parametrize("run", [github, gitlab])
def test_a_file_that_is_not_formatted_fails_before_it_is_planned(site: Site, run: Run) -> None:
    branch = site.checkout("branch")
    with (branch / "updoser.yaml").open("a") as file:
        file.write("client_keep:    3\n\n\n\n")
    done = run(site, "plan", branch)
    assert (done.returncode, done.stdout) == (1, "updoser.yaml\n")
    assert not site.comments


@pytest.mark.parametrize(("pipeline", "schema"), [(GITHUB, GITHUB_SCHEMA), (GITLAB, GITLAB_SCHEMA)])
def test_the_files_have_the_shape_that_the_forge_takes(pipeline: object, schema: dict[str, object]) -> None:
    assert [error.message for error in Draft202012Validator(schema).iter_errors(pipeline)] == []


def test_no_expression_is_pasted_into_a_shell_script() -> None:
    scripts = [step["run"] for job in GITHUB["jobs"].values() for step in job["steps"] if "run" in step]
    assert scripts
    assert not [script for script in scripts if "${{" in script]


def test_the_hooks_check_and_format_what_a_commit_has(site: Site) -> None:
    hooks = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
    assert set(hooks) == {"updoser-validate", "updoser-fmt"}
    folder = site.checkout("clone")
    for hook in hooks.values():
        assert re.search(hook["files"], "sites/updoser.yaml")
        assert not re.search(hook["files"], "catalog.yaml")
        files = [] if hook.get("pass_filenames") is False else ["updoser.yaml"]
        done = site.shell(shlex.join([*shlex.split(hook["entry"]), *files]), folder)
        assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for name in ("updoser.service", "updoser.timer"):
        text = (PIPELINES / name).read_text()
        (tmp_path / name).write_text(text.replace("/usr/local/bin/updoser", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / "updoser.service", tmp_path / "updoser.timer"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, str(tmp_path) in done.stderr) == (0, False), done.stderr


def test_the_commands_of_the_schedules_are_ones_that_updoser_has(site: Site) -> None:
    (service,) = re.findall(r"^ExecStart=\S+/updoser (.+)$", (PIPELINES / "updoser.service").read_text(), re.MULTILINE)
    (cron,) = re.findall(r"&& updoser (.+?) >", (PIPELINES / "updoser.cron").read_text())
    for line, name in ((service, "service"), (cron, "cron")):
        command = line.replace("/var/log/updoser/", "")
        assert site.shell(f"updoser {command}", site.checkout(name)).returncode == 0
        assert all(site.done().values())
