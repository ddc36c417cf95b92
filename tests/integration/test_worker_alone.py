"""What the worker of a site is installed with: docs/service/worker-requirements.txt, and nothing of a controller."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCKED = """
import sys
for name in {blocked!r}:
    sys.modules[name] = None
import importlib
for name in ("cli", "commands.site_worker", "commands.worker", "plugins.station._celery.program",
             "plugins.executor._celery.signing", "plugins.transport._ssh_client", "plugins.content.http",
             "network.dial", "web.connections"):
    importlib.import_module(f"reconciler.{{name}}")
from reconciler.plugin_loader import options_schema
for kind, name in (("station", "celery"), ("transport", "ssh"), ("transport", "local"), ("content", "http")):
    options_schema(kind, name)
sys.argv = ["updoser", "worker", "--help"]
from reconciler.__main__ import main
main()
"""


def names(lines: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9_-]", line, maxsplit=1)[0].lower() for line in lines if line and line[0] != "#"}


def test_a_worker_runs_without_what_only_a_controller_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needs = names((ROOT / "docs/service/worker-requirements.txt").read_text().splitlines())
    core = names(project["dependencies"])
    assert needs - {"celery"} <= core
    blocked = sorted(name.replace("-", "_") for name in core - needs)
    assert "sqlalchemy" in blocked
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED.format(blocked=blocked)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--site" in done.stdout


def test_the_worker_asks_for_the_same_versions_as_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = (ROOT / "docs/service/worker-requirements.txt").read_text().replace('"', "'").splitlines()
    wanted = {*project["dependencies"], *project["optional-dependencies"]["celery"]}
    assert {line for line in listed if line and line[0] != "#"} <= wanted
