"""The plugin of CONTRIBUTING is one: an operator can copy it and go on from there."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.fleet import ROOT, Fleet

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """Put the example where an operator would; give its file."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    file = tmp_path / "own" / "source" / "shelf.py"
    file.parent.mkdir(mode=0o755, parents=True)
    example = re.search(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert example is not None
    file.write_text(example[1], encoding="utf-8")
    file.chmod(0o644)
    return file


def test_the_example_of_a_plugin_serves_a_fleet(shelf: Path, tmp_path: Path) -> None:
    sources = [{"name": "shelf", "type": "shelf", "path": "shelf"}]
    fleet = Fleet(tmp_path, clients=2, plugins=["own"], sources=sources, components={"rules": {}})
    (tmp_path / "shelf" / "rules").mkdir(parents=True)
    for version in ("7", "8"):
        (tmp_path / "shelf" / "rules" / version).write_text(f"rules of {version}")
    assert "shelf" in fleet.run("plugins").out
    done = fleet.run("apply", "--auto-approve")
    assert done.code == 0, done.err
    for client in ("c1", "c2"):
        assert (tmp_path / "clients" / client / "rules" / "current" / "rules").read_text() == "rules of 8"
    again = fleet.run("plan", "--detailed-exitcode")
    assert again.code == 0, again.out
    (tmp_path / "shelf" / "rules" / "notes.txt").write_text("no version")
    assert "notes.txt: " in fleet.run("plan").out


def test_the_example_of_a_plugin_is_typed(shelf: Path, tmp_path: Path) -> None:
    strict = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run([*strict, str(shelf)], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600)
    assert (done.returncode, done.stdout) == (0, "Success: no issues found in 1 source file\n"), done.stderr
