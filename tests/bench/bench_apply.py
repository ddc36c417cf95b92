"""What goes to clients over SSH, beside other tools, in one run; and how that is to what is aimed at.

    fresh     20 components of 50 KB to clients that have nothing
    update    2 of the 20 have a new version, of which 2 % are new: they go by incrementals, to clients with such marks
    look      nothing is to do, as each client that was just changed says after a look
    refresh   nothing is to do, as each client has the mark that it had at the last looks; as in most rounds of a day
    large     one file of 60 MB, whole

The clients are addresses of one sshd on this machine, so server and clients share its cores: the clock says little
about who spends the time, CPU does. `controller` is that of all processes of a tool, `client` that of sshd and of all
it starts: login, encryption, shells and what they run. Beside the peers (see peers.py) stands

    updoser    `updoser apply`: looks first, verifies, stages, switches atomically, keeps a manifest and a journal

All use the same number of workers, and folders of their own. Where there are several runs, medians are shown.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import yaml
from measure import ROOT, each, median, sides, table
from peers import FORKS, Bed, ansible, connected, pyinfra, scp, script

sys.path.insert(0, str(ROOT))

from reconciler.model.mark import SETTLES
from tests.sshd import sshd_fleet, sudo_user

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from measure import Cost

COMPONENTS = [f"component-{number:02}" for number in range(20)]
CHANGED = COMPONENTS[:2]
SIZE = 50_000
LARGE, SMALL, FEW = 60_000_000, 6_000_000, 5
AT_ONCE = 8
ANSIBLE_CLIENTS = 20
WORKS = ("fresh", "update", "look", "refresh", "large")


class Row(NamedTuple):
    """One tool at one kind of work."""

    work: str
    tool: str
    clients: int
    cost: Cost

    @property
    def rate(self) -> float:
        """Give clients a second."""
        return self.clients / self.cost.wall


class Goal(NamedTuple):
    """What is aimed at: updoser's figure to that of another tool, at least or at most."""

    work: str
    tool: str
    to: float
    figure: str = "rate"

    def is_met(self, ratio: float) -> bool:
        """Say whether it is what is aimed at."""
        return ratio <= self.to if self.figure == "controller" else ratio >= self.to


UPDOSER, SCRIPT, PYINFRA, ANSIBLE = "updoser", "script", "pyinfra", "ansible"
CONNECTED, SCP = "connect, log in, `true`", f"scp, {AT_ONCE} at a time"
GOALS = (
    Goal("fresh", SCRIPT, 0.75),
    Goal("fresh", SCRIPT, 1.3, "controller"),
    Goal("fresh", PYINFRA, 9),
    Goal("fresh", ANSIBLE, 120),
    Goal("update", PYINFRA, 12),
    Goal("refresh", CONNECTED, 0.85),
    Goal("large", SCP, 0.9),
)


class Upstream:
    """A folder of releases, and a spec for clients that get them; each `name` is a fleet of its own."""

    def __init__(self, bed: Bed, name: str, components: Sequence[str], clients: Sequence[str]) -> None:
        self._bed = bed
        self._name = name
        self._spec = bed.folder / f"updoser-{name}.yaml"
        self._folder = bed.folder / f"upstream-{name}"
        self.clients = clients
        entries = [{**bed.fleet.client(one), "install_root": bed.root(one, name)} for one in clients]
        self._offered: dict[str, Path] = {}
        self._catalog = bed.folder / f"catalog-{name}.yaml"
        self.declare(components)
        spec = {
            "version": 1,
            "catalogs": [self._catalog.name],
            "server": {"store": f"store-{name}", "state": f"sqlite:///state-{name}.db"},
            "sources": [{"name": "drop", "type": "directory", "path": self._folder.name, "settle": "0s"}],
            "defaults": {"transport": bed.fleet.transport(), "install_root": "/nonexistent"},
            "auto_update": {"rollout": {"waves": [{"share": "100%"}]}},
            "groups": {"all": {"clients": entries}},
        }
        self._spec.write_text(yaml.safe_dump(spec))

    def declare(self, components: Sequence[str], *, duplicate: bool = False) -> None:
        """Write down what there is; what is duplicated goes by incrementals."""
        what = {"kind": "pattern", "version_scheme": "dotted", "duplicate": duplicate}
        listed = [{"id": id_, "name": id_, **what} for id_ in components]
        self._catalog.write_text(yaml.safe_dump({"version": 1, "name": "bench", "components": listed}))

    def offer(self, component: str, version: str, content: bytes) -> Path:
        """Offer a release, and give its file."""
        file = self._folder / component / version / f"{component}.dat"
        file.parent.mkdir(parents=True)
        file.write_bytes(content)
        self._offered[component] = file
        return file

    def apply(self, forks: int = FORKS) -> Cost:
        """Have the clients get what is offered, and see that all did."""
        command = [sys.executable, "-m", "reconciler", "apply", "--auto-approve", "--forks", str(forks)]
        cost = self._bed.sides.run([*command, "-f", str(self._spec)], cwd=ROOT)
        for component, file in self._offered.items():
            wanted = file.read_bytes()
            for at, client in enumerate(self.clients):
                there = Path(self._bed.root(client, self._name), component, "current", file.name)
                assert there.stat().st_size == len(wanted), there
                assert at or there.read_bytes() == wanted, there
        return cost

    def sent(self, version: str) -> int:
        """Give how many bytes of a version went to clients."""
        state = sqlite3.connect(self._bed.folder / f"state-{self._name}.db")
        ((found,),) = state.execute("SELECT sum(bytes) FROM journal WHERE to_version = ?", [version]).fetchall()
        state.close()
        return int(found or 0)

    def forget(self) -> None:
        """Remove what the clients have of it."""
        forget(self._bed, self._name)


def forget(bed: Bed, *names: str) -> None:
    """Remove folders of clients."""
    folders = [bed.root(address, name) for address in bed.fleet.addresses for name in names]
    subprocess.run(["rm", "-rf", *folders], check=True)


class Found:
    """The costs of all tools at all works."""

    def __init__(self) -> None:
        self._costs: dict[tuple[str, str, int], list[Cost]] = defaultdict(list)

    def add(self, work: str, tool: str, clients: int, cost: Cost | None) -> None:
        """Take note of a run; None: the tool isn't there."""
        if cost is not None:
            self._costs[work, tool, clients].append(cost)
            said = f"{work}, {tool}: {cost.wall:.1f} s, {each(cost.cpu, clients)} and {each(cost.clients, clients)}"
            print(said, file=sys.stderr, flush=True)  # other tools take long

    def rows(self) -> Iterator[Row]:
        """Give the medians, in the order in which tools ran first."""
        for (work, tool, clients), costs in self._costs.items():
            yield Row(work, tool, clients, median(costs))


def small(bed: Bed, found: Found, *, runs: int, others: bool, works: Sequence[str]) -> None:
    """Measure what goes to clients in many small components, fresh, again, and in part."""
    count = len(bed.fleet.addresses)
    for number in range(runs):
        ours = Upstream(bed, f"small-{number}", COMPONENTS, bed.fleet.addresses)
        files = {id_: ours.offer(id_, "1.0.0", os.urandom(SIZE)) for id_ in COMPONENTS}
        if "fresh" in works:
            found.add("fresh", SCRIPT, count, script(bed, files, f"script-{number}"))
        fresh = ours.apply()
        if "fresh" in works:
            found.add("fresh", UPDOSER, count, fresh)
        looks(bed, ours, found, works)
        changed = {id_: ours.offer(id_, "1.0.1", _evolved(files[id_].read_bytes())) for id_ in CHANGED}
        if "update" in works:
            ours.declare(COMPONENTS, duplicate=True)
            found.add("update", UPDOSER, count, ours.apply())
            assert ours.sent("1.0.1") < count * SIZE, "these are no incrementals"
        ours.forget()
        forget(bed, f"script-{number}")
    if others and {"fresh", "update"} & {*works}:
        found.add("fresh", PYINFRA, count, pyinfra(bed, files, PYINFRA))
    if others and "update" in works:
        found.add("update", PYINFRA, count, pyinfra(bed, files | changed, PYINFRA))
    if others and "fresh" in works:
        some = bed.fleet.addresses[:ANSIBLE_CLIENTS]
        found.add("fresh", ANSIBLE, len(some), ansible(bed, files, ANSIBLE, some))
    forget(bed, PYINFRA, ANSIBLE)


def looks(bed: Bed, ours: Upstream, found: Found, works: Sequence[str]) -> None:
    """Measure a look after a change, and one at which clients have the mark that two others found."""
    for work in ("look", "", "", "refresh"):
        if work in works:
            found.add(work, CONNECTED, len(ours.clients), connected(bed))
        cost = ours.apply()
        if work in works:
            found.add(work, UPDOSER, len(ours.clients), cost)
        time.sleep(SETTLES.total_seconds())


def _evolved(content: bytes) -> bytes:
    """Give the next version of a file: 2 % of it are new, in one place."""
    at = random.randrange(len(content) - SIZE // 50)
    return content[:at] + os.urandom(SIZE // 50) + content[at + SIZE // 50 :]


def large(bed: Bed, found: Found, *, runs: int) -> tuple[float, float]:
    """Measure one large file to all clients; gives our peak memory for a tenth of it to a few, and for all."""
    addresses = bed.fleet.addresses
    memory: list[float] = []
    for number in range(runs):
        few = Upstream(bed, f"few-{number}", ["engine"], addresses[:FEW])
        few.offer("engine", "1.0.0", os.urandom(SMALL))
        least = few.apply(AT_ONCE).memory
        few.forget()
        ours = Upstream(bed, f"large-{number}", ["engine"], addresses)
        file = ours.offer("engine", "1.0.0", os.urandom(LARGE))
        found.add("large", SCP, len(addresses), scp(bed, file, f"scp-{number}", AT_ONCE))
        forget(bed, f"scp-{number}")
        cost = ours.apply(AT_ONCE)
        found.add("large", UPDOSER, len(addresses), cost)
        ours.forget()
        memory += [least, cost.memory]
    return max(memory[::2]), max(memory[1::2])


def show(rows: Sequence[Row]) -> None:
    """Show what all cost, and how updoser is to each of the others."""
    ours = {row.work: row for row in rows if row.tool == UPDOSER}
    table(
        ("work", "tool", "clients", "time", "clients/s", "controller, a client", "client", "updoser's rate to it"),
        [
            (
                row.work,
                row.tool,
                str(row.clients),
                f"{row.cost.wall:.1f} s",
                f"{row.rate:.2f}",
                each(row.cost.cpu, row.clients),
                each(row.cost.clients, row.clients),
                f"{ours[row.work].rate / row.rate:.2f}" if row.work in ours and row.tool != UPDOSER else "",
            )
            for row in rows
        ],
    )
    by = {(row.work, row.tool): row for row in rows}
    shown = []
    for goal in GOALS:
        other, mine = by.get((goal.work, goal.tool)), ours.get(goal.work)
        if other is None or mine is None:
            continue
        ratio = mine.rate / other.rate
        if goal.figure == "controller":
            ratio = mine.cost.cpu / mine.clients / (other.cost.cpu / other.clients)
        least = "at most" if goal.figure == "controller" else "at least"
        what = {"rate": "clients/s", "controller": "controller's CPU a client"}[goal.figure]
        met = "yes" if goal.is_met(ratio) else "no"
        shown.append((goal.work, f"{what}, to {goal.tool}", f"{least} {goal.to:g}", f"{ratio:.2f}", met))
    table(("work", "what", "aimed at", "is", "met"), shown)


@contextlib.contextmanager
def bed_of(clients: int) -> Iterator[Bed]:
    """Give so many clients of an sshd for the time of the block."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        both = stack.enter_context(sides())
        # A user of its own, where that can be: the login shell of a developer may cost more than the work.
        user = stack.enter_context(sudo_user()) if os.getuid() == 0 else ""
        with both.clients():
            fleet = stack.enter_context(sshd_fleet(folder, clients, user=user))
        yield Bed(fleet, both, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=100, help="of all but large")
    parser.add_argument("--large", type=int, default=50, help="clients that get the large file")
    parser.add_argument("--runs", type=int, default=3, help="of all but pyinfra and ansible")
    parser.add_argument("--quick", action="store_true", help="without pyinfra and ansible")
    parser.add_argument("--only", action="append", choices=WORKS, help="this work; repeatable")
    options = parser.parse_args()
    works, found = options.only or WORKS, Found()
    memory = math.nan, math.nan
    if {*works} - {"large"}:
        with bed_of(options.clients) as bed:
            small(bed, found, runs=options.runs, others=not options.quick, works=works)
    if "large" in works:
        with bed_of(options.large) as bed:
            memory = large(bed, found, runs=options.runs)
    show(sorted(found.rows(), key=lambda row: WORKS.index(row.work)))
    if "large" in works:
        print(f"Peak memory of the controller: {memory[0]:.0f} MiB for {SMALL // 10**6} MB to {FEW} clients,")
        print(f"{memory[1]:.0f} MiB for {LARGE // 10**6} MB to {options.large}.\n")


if __name__ == "__main__":
    main()
