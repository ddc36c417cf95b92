"""The two transports over SSH beside each other: `ssh` (paramiko, in our process) and `openssh` (the system's program).

The clients are addresses of one sshd on this machine. Counted is what the controller's side costs: the CPU of updoser
and of all ssh programs that it had started, those in the background too; and the wall clock, in which sshd and the
clients' work share the cores.

    login     connecting, a look, closing: nothing else of updoser
    first     20 components of 50 KB to clients that have nothing
    look      the same again: nothing is to be done
    large     one file of 60 MB, to a few clients
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from measure import ROOT, Cost, median, run, table

sys.path.insert(0, str(ROOT))

from reconciler.client.session import shell_session
from reconciler.model.client import Client
from tests.fakes import fake_context, make_plugin
from tests.sshd import MODULES, sshd_fleet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.sshd import SshFleet

SMALL = {f"component-{number:02}": 50_000 for number in range(20)}
LARGE = {"large": 60_000_000}
FORKS = 8
_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2): what goes into the background below this process is its own child then."""
_PATIENCE = 10.0


def write_releases(folder: Path, sizes: dict[str, int]) -> None:
    """Make a release of each component, and the catalog that knows them."""
    components = [{"id": name, "name": name, "kind": "pattern", "version_scheme": "dotted"} for name in sizes]
    (folder / "catalog.yaml").write_text(yaml.safe_dump({"version": 1, "name": "bench", "components": components}))
    for name, size in sizes.items():
        path = folder / "upstream" / name / "1.0.0" / f"{name}.dat"
        path.parent.mkdir(parents=True)
        path.write_bytes(os.urandom(size))


def background(patience: float) -> float:
    """Wait for the ssh programs that went into the background, and give the CPU that they had."""
    spent, deadline = 0.0, time.monotonic() + patience
    while time.monotonic() < deadline:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        if found is None:
            if not any(is_ssh(pid) for pid in children()):
                return spent
            time.sleep(0.01)
            continue
        counts = is_ssh(found.si_pid)
        _pid, _status, usage = os.wait4(found.si_pid, 0)
        spent += usage.ru_utime + usage.ru_stime if counts else 0.0
    sys.exit("an ssh is still there")


def is_ssh(pid: int) -> bool:
    """Say whether a process is one of OpenSSH's client."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip() == "ssh"
    return False


def children() -> list[int]:
    """Give the children of this process."""
    return [int(pid) for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()]


def measured(command: Sequence[str]) -> Cost:
    """Run updoser, and give what it and its programs cost."""
    cost = run(command, cwd=ROOT)
    return replace(cost, cpu=cost.cpu + background(_PATIENCE))


def apply(fleet: SshFleet, folder: Path, kind: str, clients: int, name: str) -> tuple[Cost, Cost]:
    """Apply a spec of its own twice."""
    entries = [
        {**fleet.client(address), "install_root": f"{fleet.install_root(address)}-{name}"}
        for address in fleet.addresses[:clients]
    ]
    spec = {
        "version": 1,
        "catalogs": ["catalog.yaml"],
        "server": {"store": f"store-{name}", "state": f"sqlite:///state-{name}.db"},
        "sources": [{"name": "drop", "type": "directory", "path": "upstream", "settle": "0s"}],
        "defaults": {"transport": fleet.transport(type=kind), "install_root": "/nonexistent"},
        "groups": {"all": {"clients": entries}},
    }
    file = folder / f"updoser-{name}.yaml"
    file.write_text(yaml.safe_dump(spec))
    command = [sys.executable, "-m", "reconciler", "apply", "--auto-approve", "--forks", str(FORKS), "-f", str(file)]
    return measured(command), measured(command)


def rows(fleet: SshFleet, folder: Path, clients: int, rounds: int, *, large: bool) -> list[tuple[str, ...]]:
    """Measure both transports in turns, and give what each costs a client."""
    found: dict[tuple[str, str], list[Cost]] = {}
    for number in range(rounds):
        for kind in MODULES:
            first, look = apply(fleet, folder, kind, clients, f"{folder.name}-{kind}-{number}")
            found.setdefault(("large" if large else "first", kind), []).append(first)
            if not large:
                found.setdefault(("look", kind), []).append(look)
    named = [(work, kind, median(costs)) for (work, kind), costs in sorted(found.items())]
    return [
        (work, kind, f"{cost.cpu * 1000 / clients:.0f} ms", f"{cost.wall:.1f} s", f"{cost.memory:.0f} MiB")
        for work, kind, cost in named
    ]


def logins(fleet: SshFleet, folder: Path, clients: int, rounds: int) -> list[tuple[str, ...]]:
    """Log in at clients one after the other, and give what that costs this process, and ssh."""
    context = fake_context(folder, shell=shell_session, secrets={"key": fleet.key.read_text()})
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in MODULES}
    transports = {kind: make_plugin(module, fleet.options_of(kind), context) for kind, module in MODULES.items()}
    for number in range(rounds + 1):  # the first is for what is read once
        for kind, transport in transports.items():
            before = spent()
            for address in fleet.addresses[:clients]:
                with transport.connect(Client(address, "all", address)) as session:
                    session.facts(str(fleet.install_root(address)))
            if number:
                found[kind].append((spent()[0] - before[0], spent()[1] - before[1]))
    return [
        (kind, *(f"{statistics.median(costs) * 1000 / clients:.1f} ms" for costs in zip(*all_costs, strict=True)))
        for kind, all_costs in found.items()
    ]


def spent() -> tuple[float, float]:
    """Give the CPU of this process, and of its children that were waited for: a transport does so, where it can."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return used[0].ru_utime + used[0].ru_stime, used[1].ru_utime + used[1].ru_stime


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--large-clients", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    ctypes.CDLL(None).prctl(_SUBREAPER, 1)
    found = []
    with tempfile.TemporaryDirectory() as name, sshd_fleet(Path(name) / "fleet", options.clients) as fleet:
        logged_in = logins(fleet, Path(name), min(options.clients, 30), options.rounds)
        for sizes, clients in ((SMALL, options.clients), (LARGE, options.large_clients)):
            if clients:
                folder = Path(name) / ("large" if sizes is LARGE else "small")
                folder.mkdir()
                write_releases(folder, sizes)
                found += rows(fleet, folder, clients, options.rounds, large=sizes is LARGE)
    table(("login and look", "CPU of updoser's process, a client", "CPU of ssh, a client"), logged_in)
    table(("work", "transport", "CPU of the controller's side, a client", "wall clock", "memory of updoser"), found)


if __name__ == "__main__":
    main()
