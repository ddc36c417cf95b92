"""Pages of clients from the state: `updoser clients --where`, for conditions that hold often, seldom and never.

The fleet is that of bench_plan.py, with 200 distinct profiles and with 20,000. What is measured is CPU, as a page is
short and machines are busy; beside it stands `updoser clients --help`, which is what any command costs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from bench_plan import RUNS, make_fleet
from measure import ROOT, median, run, table

CONDITIONS = (
    "",
    "state=outdated",
    "component=virus-pattern version<16.679",
    "group=g50 state=outdated",
    "name=client-09*",
    "name=*99999",
    "platform=windows*",
    "state=failed",
    'error~"no connection"',
    "component=virus-pattern version<16",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=int, default=1_000_000)
    largest = parser.parse_args().largest
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "reconciler", "clients"]
        least = median([run([*command, "--help"], cwd=ROOT) for _ in range(RUNS)])
        for profiles in (200, 20_000):
            folder = make_fleet(Path(temporary) / str(profiles), largest, profiles)
            asked = [*command, "-f", str(folder / "updoser.yaml"), "--page-size", "50"]
            for condition in CONDITIONS:
                more = ["--where", condition] if condition else []
                cost = median([run([*asked, *more], cwd=ROOT) for _ in range(RUNS)])
                rows.append(
                    (
                        f"{profiles:,}".replace(",", " "),
                        f"`{condition}`" if condition else "all",
                        f"{cost.cpu:.2f} s",
                        f"{cost.memory:.0f} MiB",
                        f"{cost.cpu / least.cpu:.1f}",
                    )
                )
    table(("profiles", "where", "CPU", "memory", "of --help"), rows)


if __name__ == "__main__":
    main()
