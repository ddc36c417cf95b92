"""A command imports what it uses: what it doesn't, would make each call wait."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCAL = ROOT / "updoser.yaml"
COUNT = """
import sys
from reconciler.cli import main
try:
    main()
finally:
    print("imported:", *sorted(sys.modules), file=sys.stderr)
"""
HEAVY = frozenset(
    [
        *(
            "aiohappyeyeballs",
            "asyncio",
            "bcrypt",
            "hdiffpatch",
            "cryptography",
            "deepdiff",
            "dulwich",
            "importlib.metadata",
            "jinja2",
        ),
        *("jsonschema", "paramiko", "rich", "securesystemslib", "socks", "sqlalchemy", "tuf", "urllib3", "yaml"),
        *("reconciler.dispatch.flow", "reconciler.model.batch", "reconciler.storage.sifting", "reconciler.worker.pool"),
        *("reconciler.model.console", "reconciler.model.mirror", "reconciler.model.work_events"),
        "reconciler.repository.folder",
        *("reconciler.present.junit", "reconciler.present.markdown", "sqlalchemy.dialects.postgresql"),
    ]
)
SPEC = {"yaml"}
"""What a spec is read with that is right. No package here has plugins, so that nothing has to find them."""
STATE = {"asyncio", "importlib.metadata", "sqlalchemy"}
"""What a state is read with; SQLAlchemy brings the others along."""
LOOK = {"reconciler.dispatch.flow", "reconciler.model.batch", "reconciler.worker.pool"}
"""What clients are looked at with."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet")
    shutil.copy(LOCAL, folder)
    imported(folder, "plan", "--out", "plan.json")
    return folder


def imported(folder: Path, *arguments: str) -> set[str]:
    measuring = {name for name in os.environ if name.startswith("COV")}  # it would be counted
    done = subprocess.run(
        [sys.executable, "-c", COUNT, *arguments],
        cwd=folder,
        env={**{name: value for name, value in os.environ.items() if name not in measuring}, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return set(done.stderr.rpartition("imported: ")[2].split())


@pytest.mark.parametrize(
    ("command", "may", "most"),
    [
        ("--version", set(), 175),
        ("show plan.json", set(), 245),
        ("validate", SPEC, 310),
        ("plugins", SPEC, 310),
        ("history", SPEC | STATE, 575),
        ("plan --no-refresh", SPEC | STATE, 660),
        ("status --no-refresh", SPEC | STATE, 655),
        ("plan", SPEC | STATE | LOOK, 695),
    ],
)
def test_a_command_imports_no_more_than_it_uses(folder: Path, command: str, may: set[str], most: int) -> None:
    found = imported(folder, *command.split())
    assert found & HEAVY <= may
    assert len(found) <= most


def test_what_talks_ssh_brings_no_tool_that_runs_commands_here_and_keeps_nobody_else_from_it() -> None:
    brought = "invoke" in imports_of(
        "reconciler.plugins.transport._ssh_login", "reconciler.plugins.transport._ssh_wire"
    )
    assert not brought
    assert "invoke" in imports_of("reconciler.plugins.transport._ssh_login", "invoke")


def test_a_source_brings_no_way_to_verify_that_it_is_not_asked_for() -> None:
    found = imports_of("reconciler.plugins.source.directory")
    assert not {f"reconciler.formats.{name}" for name in ("cosign", "minisign", "openpgp", "sshsig")} & found


def imports_of(*modules: str) -> set[str]:
    code = f"import sys, {', '.join(modules)}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300, check=True
    )
    return set(done.stdout.split())
