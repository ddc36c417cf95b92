"""What a run costs beside its clients: an apply over a transport that does nothing, with 16 components on each client.

    main      CPU of the thread that makes batches, counts and writes down, for each client
    process   CPU of the whole process, with the threads that ask clients, for each client

A state is SQLite in a folder, or the database that --state names.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measure import ROOT, table

sys.path.insert(0, str(ROOT))

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

    from reconciler.model.deploy import DeployRequest

COMPONENTS = [f"part-{number:02}" for number in range(16)]


class Idle:
    """Clients that have what they were sent last, and answer at once."""

    def __init__(self) -> None:
        self.has: dict[str, dict[str, tuple[str, str]]] = {}

    @contextmanager
    def connect(self, client: Client) -> Iterator[Any]:
        """Connect to a client."""
        yield _Session(self.has.setdefault(client.name, {}))


class _Session:
    def __init__(self, has: dict[str, tuple[str, str]]) -> None:
        self._has = has

    def facts(self, _root: str, **_options: object) -> Facts:
        """Give what the client was sent."""
        installed = tuple(Installed(name, *which) for name, which in sorted(self._has.items()))
        return Facts(Profile("linux-x86_64", installed), 2**40)

    def deploy(self, request: DeployRequest, _content: object) -> DeployReport:
        """Take everything without a look at it."""
        self._has.update({step.component: (step.to_version, step.to_digest) for step in request.steps})
        return DeployReport(
            tuple(Outcome(step.component, "changed", step.to_version, step.to_digest) for step in request.steps), 0
        )


class World(Bench):
    """A fleet of idle clients in one group."""

    def __init__(self, folder: Path, url: str, state: State, clients: int) -> None:
        super().__init__(folder, state, groups={"g": 1}, url=url)
        self.transport = Idle()
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

    def cost(self, forks: int) -> tuple[float, float, float]:
        """Plan, and give wall clock and CPU seconds of the apply: of its main thread, and of the process."""
        with self.work() as work:
            plan = new_plan(work, PlanOptions(Sight(forks=forks)))
            work.state.record_plan(plan.plan_id, "", plan.basis.serial, plan.created)
            begun = time.perf_counter(), time.thread_time(), time.process_time()
            turns = Turns(work, self.spec.path, lambda: self.spec.holds)
            report = run_plan(plan, work, forks=forks, turns=turns)
            ended = time.perf_counter(), time.thread_time(), time.process_time()
        changed = sum(counts["changed"] for counts in report.recap.values())
        assert changed == len(self.spec.groups["g"].clients), report.recap
        wall, main, process = (after - before for before, after in zip(begun, ended, strict=True))
        return wall, main, process


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--forks", type=int, default=20)
    parser.add_argument("--state", default="", help="the URL of a database that is empty")
    parser.add_argument("--profile", action="store_true", help="say where the time of the main thread goes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = options.state or f"sqlite:///{folder}/state.db"
        with State.open(url, clock=lambda: NOW) as state:
            world = World(folder, url, state, options.clients)
            rows = []
            for version in ("1", "2"):
                world.offer(version)
                if options.profile and version == "2":
                    _profiled(world, options.forks)
                    continue
                wall, main, process = world.cost(options.forks)
                each = [1000 * seconds / options.clients for seconds in (main, process)]
                rows.append([f"to {version}", f"{wall:.1f}", *(f"{cost:.3f}" for cost in each)])
            table(["apply", "wall s", "main ms a client", "process ms a client"], rows)


def _profiled(world: World, forks: int) -> None:
    import cProfile
    import pstats

    profile = cProfile.Profile()
    profile.runcall(world.cost, forks)
    pstats.Stats(profile).sort_stats("tottime").print_stats(45)


if __name__ == "__main__":
    main()
