"""`updoser validate` of a spec of 20 groups and 1,920 clients, beside what Ansible does with the same fleet.

Each command is a new process; what is printed are medians of RUNS. `ansible-inventory --list` reads the inventory and
prints it; `ansible-playbook --syntax-check` reads a playbook of one task as well. `updoser validate` checks each value
against the schema, and names, places and plugins against one another. All three take turns, so that a machine that is
busy for a while is so for all. The floor is Python that starts and ends.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from measure import median, run, table

if TYPE_CHECKING:
    from measure import Cost

RUNS = 9
GROUPS = 20
CLIENTS = 96
BIN = Path(sys.executable).parent
HEAD = """\
version: 1
catalogs: [officescan]
server: {store: store, state: "sqlite:///state.db"}
sources: [{name: updates, type: directory, path: updates}]
groups:
"""
PLAYBOOK = "- hosts: all\n  tasks:\n    - {name: look, ansible.builtin.ping: }\n"


def make_spec() -> str:
    """Write the fleet as a spec."""
    lines = []
    for group in range(GROUPS):
        lines += [f"  g{group}:", "    transport: {type: ssh, user: root}", "    install_root: /opt/x", "    clients:"]
        lines += [
            f"      - {{name: pc-{group}-{client}, address: 192.0.{group}.{client}, labels: [canary, eu]}}"
            for client in range(CLIENTS)
        ]
    return HEAD + "\n".join(lines) + "\n"


def make_inventory() -> str:
    """Write the same fleet as an inventory of Ansible."""
    lines = ["all:", "  children:"]
    for group in range(GROUPS):
        lines += [f"    g{group}:", "      vars: {ansible_user: root}", "      hosts:"]
        lines += [
            f"        pc-{group}-{client}: {{ansible_host: 192.0.{group}.{client}, labels: [canary, eu]}}"
            for client in range(CLIENTS)
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "updates").mkdir()
        for name, text in (("updoser.yaml", make_spec()), ("hosts.yaml", make_inventory()), ("play.yaml", PLAYBOOK)):
            (folder / name).write_text(text, encoding="utf-8")
        commands: dict[str, list[str | Path]] = {
            "floor: python -c pass": [sys.executable, "-c", "pass"],
            "updoser validate": [BIN / "updoser", "validate"],
            "ansible-inventory --list": [BIN / "ansible-inventory", "-i", "hosts.yaml", "--list"],
            "ansible-playbook --syntax-check": [
                BIN / "ansible-playbook",
                "-i",
                "hosts.yaml",
                "play.yaml",
                "--syntax-check",
            ],
        }
        env = {**os.environ, "ANSIBLE_HOME": str(folder), "LC_ALL": "C.UTF-8"}
        costs: dict[str, list[Cost]] = {name: [] for name in commands}
        for _ in range(RUNS):
            for name, command in commands.items():
                costs[name].append(run(command, cwd=folder, env=env))
    found = {name: median(of_one) for name, of_one in costs.items()}
    ours = found["updoser validate"].wall
    table(
        ("command", "time", "CPU", "memory", "of updoser's time"),
        [
            (name, f"{cost.wall:.2f} s", f"{cost.cpu:.2f} s", f"{cost.memory:.0f} MiB", f"{cost.wall / ours:.1f}")
            for name, cost in found.items()
        ],
    )


if __name__ == "__main__":
    main()
