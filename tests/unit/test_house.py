"""Rules of the house that no linter checks."""

import ast
import re
import tomllib
from ast import Module
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.plugin_loader import KINDS, available

ROOT = Path(__file__).parents[2]
LOCKS = [ROOT / "requirements.lock", *sorted((ROOT / ".ci").glob("*.lock"))]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def canonical(requirement: Any) -> str:
    """Give the package name of a requirement as the lock files write it."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(lock: Path) -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+)==", lock.read_text(encoding="utf-8"), flags=re.MULTILINE))


def test_no_record_is_made_of_more_than_four_values_by_their_order() -> None:
    files = [path for folder in ("reconciler", "plugins") for path in (ROOT / folder).rglob("*.py")]
    nodes = [(path, node) for path in files for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    records = {
        node.name
        for _path, node in nodes
        if isinstance(node, ast.ClassDef)
        and any("dataclass" in ast.unparse(part) or "NamedTuple" in ast.unparse(part) for part in _made_of(node))
    }
    assert len(records) > 100
    wide = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node.func)}"
        for path, node in nodes
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in records and len(node.args) > 4
    ]
    assert wide == []


def _made_of(node: Any) -> Any:
    return *node.decorator_list, *node.bases


def test_the_folder_of_plugins_is_no_package() -> None:
    assert list((ROOT / "plugins").rglob("__init__.py")) == []


@pytest.mark.parametrize(
    ("contract", "open_to_it"),
    [
        (
            "Bundled plugins know contracts, web, remembered, programs, files, paths, formats, model and errors only",
            {"contracts", "web", "remembered", "programs", "files", "paths", "formats", "model", "errors", "reasons"},
        ),
        ("Decisions are pure", {"planner", "formats", "model", "present", "hints", "errors", "reasons"}),
    ],
)
def test_a_rule_of_imports_names_every_room_but_those_that_are_open(
    project: dict[str, Any],
    contract: str,
    open_to_it: set[str],
) -> None:
    # import-linter forbids what a contract lists: a new room that isn't listed would be open to all.
    rules = {rule["name"]: rule for rule in project["tool"]["importlinter"]["contracts"]}
    rooms = {path.stem for path in (ROOT / "reconciler").iterdir() if path.suffix == ".py" or path.is_dir()}
    rooms -= {"__init__", "__pycache__"}
    named = {module for module in rules[contract]["forbidden_modules"] if module.startswith("reconciler.")}
    assert named == {f"reconciler.{room}" for room in rooms - open_to_it}


def test_no_file_is_left_out_of_the_check_of_types(project: dict[str, Any]) -> None:
    mypy, ruff = project["tool"]["mypy"], project["tool"]["ruff"]["lint"]
    assert {"reconciler", "plugins", "tests"} <= set(mypy["files"])
    assert "exclude" not in mypy
    assert [rule for rule in mypy["overrides"] if rule.keys() & {"ignore_errors", "follow_imports"}] == []
    assert [path for path, off in ruff["per-file-ignores"].items() if any(code.startswith("ANN") for code in off)] == []
    files = [path for folder in mypy["files"] for path in (ROOT / folder).rglob("*.py")]
    assert [path for path in files if re.search(r"^# mypy:", path.read_text(encoding="utf-8"), re.MULTILINE)] == []


def test_the_lock_for_running_has_every_runtime_package_and_no_tool(
    project: dict[str, Any],
) -> None:
    wanted = {canonical(requirement) for requirement in project["project"]["dependencies"]}
    tools = {canonical(tool) for tool in project["dependency-groups"]["dev"] if isinstance(tool, str)}
    assert wanted <= pinned(ROOT / "requirements.lock")
    assert tools & pinned(ROOT / "requirements.lock") == {"markdown-it-py"}  # rich brings it, and tests read with it


@pytest.mark.parametrize("group", ["build", "dev", "bench"])
def test_every_group_has_a_lock_with_all_of_its_packages(
    project: dict[str, Any],
    group: str,
) -> None:
    wanted = {canonical(item) for item in project["dependency-groups"][group] if isinstance(item, str)}
    assert wanted <= pinned(ROOT / ".ci" / f"{group}.lock")


def test_what_runs_is_what_was_tested() -> None:
    lines = {
        lock: set(re.findall(r"^\S+==\S+", (ROOT / lock).read_text(encoding="utf-8"), flags=re.MULTILINE))
        for lock in ("requirements.lock", ".ci/build.lock", ".ci/dev.lock")
    }
    assert lines["requirements.lock"] | lines[".ci/build.lock"] <= lines[".ci/dev.lock"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_has_hashes_and_names_no_host(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^--", text, flags=re.MULTILINE)
    for entry in re.split(r"\n(?=\S)", text):
        assert entry.startswith("#") or "--hash=sha256:" in entry


NAMED = {
    ("zstd", "delta"): "the codecs of `duplication`, where a spec names none",
    ("bsdiff", "delta"): "the same",
    ("gzip", "delta"): "the same; and what packs files that nothing is patched with",
    ("ssh", "groups"): "the transport of a group that names none",
    ("threads", "spec"): "the executor where a spec names none",
    ("processes", "worker_file"): "a key of the file, which is no plugin",
    ("command", "assembly"): "the inventory of a program that the command line names, for which there is no spec yet",
    ("gzip", "packed"): "a way that archives are packed in",
    ("gzip", "answer"): "a way that servers of the web pack what they send",
    ("zstd", "answer"): "the same",
    ("zstd", "packed"): "the same",
    ("zstd", "releases"): "the default of an option of the command line",
    ("zstd", "doctor"): "a program on clients",
    ("csv", "render"): "a format of results",
    ("csv", "options"): "the same",
    ("ssh", "mirror"): "a protocol of git",
    ("email", "oidc"): "a claim of OpenID Connect",
    ("relay", "relays"): "a machine that has bytes for clients, which is no plugin",
    ("relay", "session"): "the same",
    ("relay", "batch_json"): "the same",
    ("relay", "fetching"): "the same",
    ("relay", "relaying"): "the same",
    ("relay", "relay_text"): "the same",
    ("relay", "reasons"): "the same",
    ("relay", "tables"): "the same",
    ("tuf", "safety_trust"): "the type of sources whose releases are signed, as a spec names it",
    ("tuf", "repository"): "the layout of the core's own, where a spec names none",
}
"""Where the core has a bundled plugin's name, and why. It goes by what plugins declare, so a name decides nothing."""
WORDS = {"command", "folder", "git", "http", "tree"}
"""Names that are words of their own, too: they count beside a plugin's kind, and where they are held against a name."""


def strings(tree: Any) -> set[str]:
    """Give the texts of a module that could name a plugin."""
    texts = {node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    telling = set()
    for node in ast.walk(tree):
        held = [part for part in ast.walk(node) if part in texts] if isinstance(node, ast.Compare) else []
        if isinstance(node, ast.Call) and any(part in texts and part.value in KINDS for part in node.args):
            telling.update(node.args)
        elif held and any(getattr(part, "attr", "") == "name" for part in ast.walk(node)):
            telling.update(held)
    return {text.value for text in texts if text.value not in WORDS or text in telling}  # type: ignore[misc]


def core() -> Iterator[tuple[Path, Module]]:
    """Give all modules of the core: bundled plugins lie elsewhere."""
    for path in sorted((ROOT / "reconciler").rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def test_the_core_names_no_plugin_but_those_that_are_used_where_nobody_names_one() -> None:
    names = {found.name for kind in KINDS for found in available(kind) if found.origin == "bundled"}
    found = {(name, path.stem) for path, tree in core() for name in strings(tree) & names}
    assert found == NAMED.keys()


def test_the_core_reads_no_option_of_a_plugin() -> None:
    read = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path, tree in core()
        if path.parent.name != "web"  # what plugins share: their options are read there for them
        for node in ast.walk(tree)
        if isinstance(node, (ast.Subscript, ast.Attribute))
        and isinstance(node.value, ast.Attribute)
        and node.value.attr == "options"
    ]
    assert read == []


def test_programs_are_started_in_one_place() -> None:
    modules = [*core(), *((path, ast.parse(path.read_text(encoding="utf-8"))) for path in ROOT.glob("plugins/**/*.py"))]
    starting = {
        path.relative_to(ROOT).as_posix()
        for path, tree in modules
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"os.system", "os.popen", "subprocess.run", "subprocess.Popen", "pty.spawn"}
    }
    assert starting == {"reconciler/programs.py"}
