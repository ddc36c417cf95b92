"""What a run costs beside its clients: an apply over a transport that does nothing, with 16 components on each client.

    main      CPU of the thread that makes batches, counts and writes down, for each client
    process   CPU of the whole process, with the threads that ask clients, for each client

The last apply meets clients that died since they were looked at, which is found out after a while, and slow ones. How
long after the begin the others were through stands beside that of the apply before, in which all are well.

A state is SQLite in a folder, or the database that --state names.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from measure import ROOT, table

sys.path.insert(0, str(ROOT))

from reconciler.errors import TransportError
from reconciler.execute.engine import run_plan
from reconciler.model.client import Client, Facts, Installed, Profile
from reconciler.model.deploy import DeployReport, Outcome
from reconciler.model.policy import AutoUpdate, Rollout, Wave
from reconciler.model.spec import ComponentSpec
from reconciler.observe.observed import Sight
from reconciler.planning import PlanOptions, Turns, new_plan
from reconciler.storage.state import State
from tests.fakes import NOW, make_component
from tests.unit.workbench import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from reconciler.model.deploy import DeployRequest

COMPONENTS = [f"part-{number:02}" for number in range(16)]


class Idle:
    """Clients that have what they were sent last, and answer at once, but for some that are dead or slow."""

    def __init__(self) -> None:
        self.has: dict[str, dict[str, tuple[str, str]]] = {}
        self.dead: AbstractSet[str] = frozenset()
        self.slow: AbstractSet[str] = frozenset()
        self.wait = 0.0
        self.through = 0.0

    @contextmanager
    def connect(self, client: Client) -> Iterator[Any]:
        """Connect to a client."""
        if client.name in self.dead:
            time.sleep(self.wait)
            raise TransportError("it doesn't answer")
        yield _Session(self, client.name)


class _Session:
    def __init__(self, fleet: Idle, name: str) -> None:
        self._fleet = fleet
        self._name = name
        self._has = fleet.has.setdefault(name, {})

    def facts(self, _root: str, **_options: object) -> Facts:
        """Give what the client was sent."""
        installed = tuple(Installed(name, *which) for name, which in sorted(self._has.items()))
        return Facts(Profile("linux-x86_64", installed), 2**40)

    def deploy(self, request: DeployRequest, _content: object) -> DeployReport:
        """Take everything without a look at it."""
        if self._name in self._fleet.slow:
            time.sleep(self._fleet.wait)
        else:
            self._fleet.through = time.perf_counter()
        self._has.update({step.component: (step.to_version, step.to_digest) for step in request.steps})
        return DeployReport(
            tuple(Outcome(step.component, "changed", step.to_version, step.to_digest) for step in request.steps), 0
        )


class Cost(NamedTuple):
    """What an apply cost, in seconds."""

    wall: float
    through: float
    main: float
    process: float


class World(Bench):
    """A fleet of idle clients in one group."""

    def __init__(self, folder: Path, url: str, state: State, clients: int) -> None:
        super().__init__(folder, state, groups={"g": 1}, url=url)
        self.transport: Idle = Idle()
        (group,) = self.spec.groups.values()
        fleet = tuple(Client(f"client-{at:07}", "g", install_root=f"/r/{at}") for at in range(clients))
        self.spec = replace(
            self.spec,
            components={name: ComponentSpec(make_component(name)) for name in COMPONENTS},
            groups={"g": replace(group, clients=fleet)},
            policies={("g", name): AutoUpdate(rollout=Rollout(waves=(Wave(share=1.0),))) for name in COMPONENTS},
        )

    def offer(self, version: str) -> None:
        """Offer a release of every component."""
        for name in COMPONENTS:
            self.source.add(name, version, {"data": f"{name} {version}".encode()})

    def bad(self, dead: float, slow: float) -> tuple[set[str], set[str]]:
        """Give so many percent of the clients each, spread over the fleet."""
        names = [client.name for client in self.spec.groups["g"].clients]
        random.Random(1).shuffle(names)
        ends = [round(len(names) * percent / 100) for percent in (dead, dead + slow)]
        return set(names[: ends[0]]), set(names[ends[0] : ends[1]])

    def cost(self, forks: int, dead: AbstractSet[str] = frozenset(), slow: AbstractSet[str] = frozenset()) -> Cost:
        """Plan, have some clients be dead or slow from then on, and give what the apply costs."""
        with self.work() as work:
            plan = new_plan(work, PlanOptions(Sight(forks=forks)))
            work.state.record_plan(plan.plan_id, "", plan.basis.serial, plan.created)
            self.transport.dead, self.transport.slow = dead, slow
            begun = time.perf_counter(), time.thread_time(), time.process_time()
            turns = Turns(work, self.spec.path, lambda: self.spec.holds)
            report = run_plan(plan, work, forks=forks, turns=turns)
            ended = time.perf_counter(), time.thread_time(), time.process_time()
        changed = sum(counts["changed"] for counts in report.recap.values())
        assert changed == len(self.spec.groups["g"].clients) - len(dead), report.recap
        wall, main, process = (after - before for before, after in zip(begun, ended, strict=True))
        return Cost(wall, self.transport.through - begun[0], main, process)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--forks", type=int, default=20)
    parser.add_argument("--state", default="", help="the URL of a database that is empty")
    parser.add_argument("--dead", type=float, default=2.0, metavar="PERCENT", help="clients that don't answer any more")
    parser.add_argument("--slow", type=float, default=1.0, metavar="PERCENT", help="clients that take their time")
    parser.add_argument("--wait", type=float, default=5.0, metavar="SECONDS", help="how long one of them is waited for")
    parser.add_argument("--profile", action="store_true", help="say where the time of the main thread goes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = options.state or f"sqlite:///{folder}/state.db"
        with State.open(url, clock=lambda: NOW) as state:
            world = World(folder, url, state, options.clients)
            world.transport.wait = options.wait
            dead, slow = world.bad(options.dead, options.slow)
            applies: list[tuple[str, set[str], set[str]]] = [
                ("all are new", set(), set()),
                ("all are well", set(), set()),
                (f"{len(dead)} are dead, {len(slow)} slow", dead, slow),
            ]
            rows = []
            for version, (what, *gone) in enumerate(applies):
                world.offer(str(version))
                if options.profile and version == 1:
                    _profiled(world, options.forks)
                    break
                cost = world.cost(options.forks, *gone)
                each = [1000 * seconds / options.clients for seconds in (cost.main, cost.process)]
                rows.append([what, f"{cost.wall:.1f}", f"{cost.through:.1f}", *(f"{one:.3f}" for one in each)])
            table(["clients", "wall s", "others are through after s", "main ms a client", "process ms a client"], rows)


def _profiled(world: World, forks: int) -> None:
    import cProfile
    import pstats

    profile = cProfile.Profile()
    profile.runcall(world.cost, forks)
    pstats.Stats(profile).sort_stats("tottime").print_stats(45)


if __name__ == "__main__":
    main()
