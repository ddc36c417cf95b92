"""What the state costs where a fleet is large: in SQLite, and in PostgreSQL where its programs are installed.

    outcomes      what became of clients with 16 components each, 20 clients in a transaction: an apply without clients
    observations  looks at 100,000 clients, written down at once, each client with a profile of 200
    list          100,000 clients that an inventory lists, and again where nothing changed
    read          rows, clients and profiles as a plan reads them

CPU is that of updoser; what the server of PostgreSQL needs stands beside it, and SQLite has none.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from measure import ROOT, table
from sqlalchemy import text

sys.path.insert(0, str(ROOT))

from reconciler.model.client import Client, Installed, Profile
from reconciler.model.report import JournalEntry
from reconciler.model.spec import Quarantine
from reconciler.storage.outcomes import ClientOutcome
from reconciler.storage.state import Observation, State
from tests.postgres import postgres_server

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
COMPONENTS = [f"component-{number:02}" for number in range(16)]
AT_ONCE = 20
QUARANTINE = Quarantine(after_failures=3)


class Bench:
    """One state, and what its work cost."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.costs: dict[str, tuple[float, float, float]] = {}

    def time(self, what: str, work: Callable[[], object]) -> None:
        """Do something, and note wall clock time, our CPU, and that of the server."""
        server, wall, cpu = self._server(), time.perf_counter(), time.process_time()
        work()
        self.costs[what] = time.perf_counter() - wall, time.process_time() - cpu, self._server() - server

    def _server(self) -> float:
        """Give the CPU seconds of the process of the server that works for us."""
        engine = self._state._engine
        if engine.dialect.name == "sqlite":
            return 0.0
        with engine.connect() as connection:
            pid = connection.scalar(text("SELECT pg_backend_pid()"))
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100


def profiles() -> list[Profile]:
    return [
        Profile("linux-x86_64", tuple(Installed(name, f"1.{number}", f"{number:064x}") for name in COMPONENTS))
        for number in range(200)
    ]


def measure(state: State, clients: int, large: int) -> Bench:
    bench, known = Bench(state), profiles()
    fleet = [Client(name=f"client-{number:07}", group="all") for number in range(large)]
    bench.time("list: all are new", lambda: state.sync_clients("all", fleet))
    bench.time("list: nothing changed", lambda: state.sync_clients("all", fleet))
    looks = [
        Observation(
            client=client.name,
            profile=known[number % len(known)],
            free=10**9 + number,
            error="",
            at=NOW,
            settings="[]",
            machine=f"{number:032x}",
        )
        for number, client in enumerate(fleet)
    ]
    bench.time("observations", lambda: state.record_observations(looks))
    bench.time("observations again", lambda: state.record_observations(looks))
    silent = [
        Observation(client=one.name, profile=None, free=None, error="timeout: no answer", at=NOW) for one in fleet
    ]
    bench.time("observations: none answers", lambda: state.record_observations(silent))
    bench.time("read: rows", lambda: sum(1 for _row in state.rows()))
    bench.time("read: clients", lambda: len(state.clients()))
    bench.time("read: profiles", lambda: len(state.profiles()))
    names = [client.name for client in fleet[:70_000]]
    bench.time("read: 70,000 by name", lambda: len(state.named(names)))
    state.begin_run("20261124T120000Z-bench", "plan", "apply", NOW)
    bench.time("outcomes", lambda: outcomes(state, fleet[:clients], known))
    bench.time("outcomes a second time", lambda: outcomes(state, fleet[:clients], known))
    return bench


def outcomes(state: State, fleet: list[Client], known: list[Profile]) -> None:
    for start in range(0, len(fleet), AT_ONCE):
        some = [_outcome(client, known[start // AT_ONCE % len(known)]) for client in fleet[start : start + AT_ONCE]]
        state.record_outcomes("20261124T120000Z-bench", some, QUARANTINE, step=1)


def _outcome(client: Client, profile: Profile) -> ClientOutcome:
    entries = tuple(
        JournalEntry(
            client=client.name,
            group=client.group,
            component=name,
            from_version="1.0",
            to_version="1.1",
            outcome="changed",
            bytes=21_000,
            at=NOW,
        )
        for name in COMPONENTS
    )
    seen = Observation(client=client.name, profile=profile, free=None, error="", at=NOW)
    return ClientOutcome(client=client.name, entries=entries, observation=seen, failed=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=10_000, help="that have outcomes")
    parser.add_argument("--fleet", type=int, default=100_000)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        urls = {"SQLite": f"sqlite:///{folder}/state.db"}
        if shutil.which("initdb") or Path("/usr/lib/postgresql").is_dir():
            server = stack.enter_context(postgres_server(fsync="on", autovacuum="on", synchronous_commit="on"))
            urls["PostgreSQL"] = server.empty()
        rows = []
        for name, url in urls.items():
            with State.open(url, clock=lambda: NOW) as state:
                costs = measure(state, options.clients, options.fleet).costs
            for what, (wall, cpu, theirs) in costs.items():
                count = options.clients if what.startswith("outcomes") else options.fleet
                each = f"{cpu / count * 1000:.3f} ms"
                rows.append((name, what, f"{count:,}", f"{wall:.2f} s", f"{cpu:.2f} s", each, f"{theirs:.2f} s"))
    table(("state", "what", "clients", "wall clock", "CPU", "CPU a client", "CPU of the server"), rows)


if __name__ == "__main__":
    main()
