"""Plans for a fleet from the state: `updoser plan --no-refresh`, beside the floor of reading the rows.

20 components, 100 groups; 200 distinct profiles, and 20,000; and 200 with a schedule that gives each client a minute of
its own in this hour, so that about half of them are due; and 20,000 in one group. Each case runs RUNS times in a
process of its own; what is printed are medians. The floor is Python's sqlite3 reading name, group and profile of every
client and counting them by the last two.
"""

from __future__ import annotations

import argparse
import hashlib
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from measure import ROOT, median, run, table

sys.path.insert(0, str(ROOT))

from reconciler.model.client import Client, Installed, Profile
from reconciler.model.deploy import Layout
from reconciler.model.release import Release, ReleaseFile
from reconciler.specfile.load import load_spec
from reconciler.storage.state import Observation, State
from reconciler.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.model.release import Component
RUNS = 3
GROUPS = 100
NOW = datetime(2026, 11, 20, tzinfo=UTC)
HEAD = """\
version: 1
catalogs: [officescan]
server: {store: store, state: "sqlite:///state.db"}
defaults: {transport: {type: local}, install_root: /nonexistent}
groups:
"""


def spec_text(groups: int) -> str:
    """Give a spec with so many groups."""
    return HEAD + "".join(f"  g{n:02}: {{inventory: {{type: csv, path: none.csv}}}}\n" for n in range(groups))


SPEC = spec_text(GROUPS)


def make_releases(folder: Path, components: list[Component]) -> dict[str, list[Release]]:
    """Put an old and a new release of each component into the store; give them by component."""
    store = Store(folder / "store")
    found: dict[str, list[Release]] = {}
    for component in components:
        versions = ("16.677.00", "16.679.00") if component.scheme.name == "pattern" else ("9.850.1008", "9.850.1010")
        for version in versions:
            data = f"{component.id} {version}\n".encode()
            file = ReleaseFile(f"{component.id}.dat", len(data), hashlib.sha256(data).hexdigest())
            release = Release(component.id, version, "any", (file,))
            store.put(file, BytesIO(data))
            store.add(release)
            found.setdefault(component.id, []).append(release)
    return found


def make_profiles(releases: dict[str, list[Release]], count: int) -> Iterator[Profile]:
    """Make distinct profiles: bit n of a profile's number says whether component n is old or new."""
    layout = Layout().fingerprint
    pairs = sorted(releases.items())
    for number in range(count):
        chosen = ((component, pair[number >> at & 1]) for at, (component, pair) in enumerate(pairs))
        yield Profile(
            platform="linux-x86_64",
            installed=tuple(Installed(c, release.version, release.digest, layout=layout) for c, release in chosen),
            tools=("gzip",),
        )


def make_fleet(folder: Path, clients: int, profiles: int, groups: int = GROUPS) -> Path:
    """Write a spec, a store and a state in which every client was looked at."""
    folder.mkdir()
    (folder / "updoser.yaml").write_text(spec_text(groups), encoding="utf-8")
    spec = load_spec(folder / "updoser.yaml")
    releases = make_releases(folder, [wanted.component for wanted in spec.components.values()])
    known = list(make_profiles(releases, profiles))
    with State.open(spec.server.state, clock=lambda: NOW) as state:
        state.raise_serial()
        size = clients // groups
        for at, group in enumerate(spec.groups):
            names = [f"client-{at * size + n:07}" for n in range(size)]
            state.sync_clients(group, [Client(name, group, install_root="/nonexistent") for name in names])
            state.record_observations(
                [
                    Observation(
                        client=name,
                        profile=known[(at * size + n) % profiles],
                        free=1 << 30,
                        error="",
                        at=NOW,
                        machine=f"{name:>032}",
                    )
                    for n, name in enumerate(names)
                ]
            )
    return folder


def floor(folder: Path) -> float:
    """Measure the floor, in seconds."""
    begun = time.perf_counter()
    with closing(sqlite3.connect(folder / "state.db")) as database:
        counted = Counter(
            (group, profile) for _name, group, profile in database.execute("SELECT name, grp, fingerprint FROM clients")
        )
    assert counted
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=int, default=1_000_000)
    largest = parser.parse_args().largest
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for profiles, schedule, groups in (
            (200, "", GROUPS),
            (200, ", scheduled", GROUPS),
            (20_000, "", GROUPS),
            (20_000, ", one group", 1),
        ):
            walls = {}
            for clients in (largest // 10, largest):
                folder = make_fleet(Path(temporary) / f"{clients}-{profiles}{schedule[2:]}", clients, profiles, groups)
                if schedule == ", scheduled":
                    at = (datetime.now(UTC) - timedelta(minutes=30)).strftime("%H:%M")
                    with (folder / "updoser.yaml").open("a", encoding="utf-8") as file:
                        file.write(f'auto_update: {{schedule: {{every: day, at: "{at}", spread: 1h}}}}\n')
                command = [
                    sys.executable,
                    "-m",
                    "reconciler",
                    "plan",
                    "--no-refresh",
                    "-f",
                    str(folder / "updoser.yaml"),
                ]
                cost = median([run(command, cwd=ROOT) for _ in range(RUNS)])
                least = sorted(floor(folder) for _ in range(RUNS))[RUNS // 2]
                walls[clients] = cost.wall
                growth = f"{cost.wall / walls[largest // 10]:.1f}" if clients == largest else "1"
                rows.append(
                    (
                        f"{clients:,}".replace(",", " "),
                        f"{profiles:,}".replace(",", " ") + schedule,
                        f"{cost.wall:.2f} s",
                        f"{cost.cpu:.2f} s",
                        f"{cost.memory:.0f} MiB",
                        growth,
                        f"{least:.2f} s",
                        f"{cost.wall / least:.1f}",
                    )
                )
    table(
        ("clients", "profiles", "plan", "CPU", "memory", "times the tenth", "floor: rows read and counted", "ratio"),
        rows,
    )


if __name__ == "__main__":
    main()
