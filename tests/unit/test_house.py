"""Rules of the house that no linter checks."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = [ROOT / "requirements.lock", *sorted((ROOT / ".ci").glob("*.lock"))]
HEAVY = ("deepdiff", "importlib.metadata", "jinja2", "jsonschema", "paramiko", "rich", "sqlalchemy", "yaml")


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def canonical(requirement):
    """Give the package name of a requirement as the lock files write it."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(lock):
    return set(re.findall(r"^([a-z0-9-]+)==", lock.read_text(encoding="utf-8"), flags=re.MULTILINE))


def test_starting_up_imports_no_heavy_package():
    program = f"import sys, reconciler.cli; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == []


def test_the_folder_of_plugins_is_no_package():
    assert list((ROOT / "plugins").rglob("__init__.py")) == []


@pytest.mark.parametrize(
    ("contract", "open_to_it"),
    [
        ("Bundled plugins know contracts, formats, model and errors only", {"contracts", "formats", "model", "errors"}),
        ("Decisions are pure", {"planner", "formats", "model", "present", "hints", "errors"}),
    ],
)
def test_a_rule_of_imports_names_every_room_but_those_that_are_open(project, contract, open_to_it):
    # import-linter forbids what a contract lists: a new room that isn't listed would be open to all.
    rules = {rule["name"]: rule for rule in project["tool"]["importlinter"]["contracts"]}
    rooms = {path.stem for path in (ROOT / "reconciler").iterdir() if path.suffix == ".py" or path.is_dir()}
    rooms -= {"__init__", "__pycache__"}
    named = {module for module in rules[contract]["forbidden_modules"] if module.startswith("reconciler.")}
    assert named == {f"reconciler.{room}" for room in rooms - open_to_it}


def test_the_lock_for_running_has_every_runtime_package_and_no_tool(project):
    wanted = {canonical(requirement) for requirement in project["project"]["dependencies"]}
    tools = {canonical(tool) for tool in project["dependency-groups"]["dev"] if isinstance(tool, str)}
    assert wanted <= pinned(ROOT / "requirements.lock")
    assert not tools & pinned(ROOT / "requirements.lock")


@pytest.mark.parametrize("group", ["build", "dev", "bench"])
def test_every_group_has_a_lock_with_all_of_its_packages(project, group):
    wanted = {canonical(item) for item in project["dependency-groups"][group] if isinstance(item, str)}
    assert wanted <= pinned(ROOT / ".ci" / f"{group}.lock")


def test_what_runs_is_what_was_tested():
    lines = {
        lock: set(re.findall(r"^\S+==\S+", (ROOT / lock).read_text(encoding="utf-8"), flags=re.MULTILINE))
        for lock in ("requirements.lock", ".ci/build.lock", ".ci/dev.lock")
    }
    assert lines["requirements.lock"] | lines[".ci/build.lock"] <= lines[".ci/dev.lock"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_has_hashes_and_names_no_host(lock):
    text = lock.read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^--", text, flags=re.MULTILINE)
    for entry in re.split(r"\n(?=\S)", text):
        assert entry.startswith("#") or "--hash=sha256:" in entry
