"""The start of `validate`, `status` and `plan` on the demo, in CPU: how much of it is imports, and what has to be.

Each command is a new process. Its `imports` are a process that imports the same modules and ends. The floors are Python
that starts and ends, and the libraries without which no state is read. All take turns, so that a machine that is busy
for a while is so for all; what is printed is the least of RUNS, as CPU only grows with what else runs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import ROOT, run, table

RUNS = 9
COMMANDS = ("validate", "status --no-refresh", "plan --no-refresh", "status", "plan")
FLOORS = {
    "python -c pass": "pass",
    "import yaml": "import yaml",
    "import sqlalchemy": "import sqlalchemy",
    "import click, yaml, sqlalchemy and its SQLite": "import click, yaml, sqlalchemy.dialects.sqlite",
}
HEAVY = {"click", "reconciler", "sqlalchemy", "yaml"}
"""What is imported by name; it brings all else along."""
TOLD = """
import sys
from reconciler.cli import main
try:
    main()
finally:
    print("imported:", *sorted(sys.modules), file=sys.stderr)
"""


def modules_of(folder: Path, command: str, env: dict[str, str]) -> list[str]:
    """Give the modules that a command imports."""
    told = [sys.executable, "-c", TOLD, *command.split()]
    done = subprocess.run(told, cwd=folder, env=env, capture_output=True, text=True, check=True)
    names = done.stderr.rpartition("imported: ")[2].split()
    return [name for name in names if name.split(".")[0] in HEAVY]


def main() -> None:
    """Run them by turns."""
    with tempfile.TemporaryDirectory(prefix="updoser-bench-") as name:
        folder = Path(name)
        shutil.copy(ROOT / "updoser.yaml", folder)
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        updoser = [sys.executable, "-m", "reconciler"]
        run([*updoser, "apply", "--auto-approve"], cwd=folder, env=env)
        python = {what: [sys.executable, "-c", code] for what, code in FLOORS.items()}
        counts = {}
        for command in COMMANDS:
            modules = modules_of(folder, command, env)
            counts[command] = len(modules)
            text = "import importlib\nfor name in sys.argv[1:]:\n    importlib.import_module(name)"
            early = "import gc, sys\ngc.set_threshold(200_000, 20, 50)\n"  # as the command has it
            python[f"imports of {command}"] = [sys.executable, "-c", early + text, *modules]
            python[command] = [*updoser, *command.split()]
        cost = dict.fromkeys(python, float("inf"))
        for _ in range(RUNS):
            for what, line in python.items():
                cost[what] = min(cost[what], run(line, cwd=folder, env=env).cpu)
    print("\nCPU of starts\n")
    table(("floor", "CPU"), [(what, f"{cost[what]:.2f} s") for what in FLOORS])
    table(
        ("updoser", "CPU", "of that imports", "modules of its libraries and its own"),
        [(each, f"{cost[each]:.2f} s", f"{cost[f'imports of {each}']:.2f} s", str(counts[each])) for each in COMMANDS],
    )


if __name__ == "__main__":
    main()
