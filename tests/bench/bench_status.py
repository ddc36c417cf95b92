"""What a status costs where nearly each client is a cohort of its own: `make_status`, beside the floor of one pass.

20 components, 100 groups, 20,000 distinct profiles, one client for each pair of them: 200,000 cohorts, and with
`--largest 1000000` as many as there may be with a whole fleet's. CPU is measured, in this process. The floor counts
cohorts by group and by profile, which says nothing of any component yet.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median

from bench_plan import GROUPS, NOW, RUNS, SPEC, make_profiles, make_releases
from measure import table

from reconciler.model.plan import Basis, Cohort
from reconciler.model.report import Traffic
from reconciler.planner.inputs import Observed, Wanted
from reconciler.planner.ruler import Allowance
from reconciler.planner.status import make_status
from reconciler.specfile.load import load_spec

PROFILES = 20_000


def make_inputs(folder: Path, clients: int, count: int = PROFILES) -> tuple[Wanted, Observed]:
    """Make a fleet of so many clients with so many profiles; those of a group with one profile are a cohort."""
    (folder / "updoser.yaml").write_text(SPEC, encoding="utf-8")
    spec = load_spec(folder / "updoser.yaml")
    releases = make_releases(folder, [wanted.component for wanted in spec.components.values()])
    profiles = list(make_profiles(releases, count))
    size = clients // GROUPS
    made = []
    for at, group in enumerate(spec.groups):
        members: dict[int, list[str]] = {}
        for n in range(at * size, at * size + size):
            members.setdefault(n % count, []).append(f"client-{n:07}")
        made += [Cohort(group, tuple(names), profiles[number]) for number, names in members.items()]
    held = [release for of_one in releases.values() for release in of_one]
    return Wanted(spec.components, spec.groups), Observed(Basis("l", 1, 0, "s", "c"), held, (), cohorts=made)


def status_cpu(wanted: Wanted, observed: Observed) -> float:
    """Measure one status, in seconds of CPU."""
    begun = time.process_time()
    made = make_status(wanted, observed, Allowance(NOW), as_of=NOW, sources=(), traffic=Traffic())
    taken = time.process_time() - begun
    assert all(sum(entry.versions.values()) == made.clients for entry in made.components)
    return taken


def floor_cpu(observed: Observed) -> float:
    """Measure the floor, in seconds of CPU."""
    begun = time.process_time()
    assert Counter((cohort.group, id(cohort.profile)) for cohort in observed.cohorts)
    return time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=int, default=200_000)
    largest = parser.parse_args().largest
    rows = []
    for cohorts in (largest // 10, largest):
        with tempfile.TemporaryDirectory() as temporary:
            wanted, observed = make_inputs(Path(temporary), cohorts)
        cost = median(status_cpu(wanted, observed) for _ in range(RUNS))
        least = median(floor_cpu(observed) for _ in range(RUNS))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        row = f"{cohorts:,}".replace(",", " "), f"{cost:.2f} s", f"{memory:.0f} MiB", f"{least:.2f} s"
        rows.append((*row, f"{cost / least:.1f}"))
    table(("cohorts", "status, CPU", "memory", "floor", "ratio"), rows)


if __name__ == "__main__":
    main()
