"""Pages of clients as the console asks for them (`State.find_clients`), by conditions that hold often, seldom, never.

The fleet is that of bench_plan.py, with 200 distinct profiles and with 20,000, one client in 1,000 in trouble. First
what the controller writes down after a round is measured: once all of it, then where nothing is new, and at last all of
it together with the documents of status, groups, components and plan. Of each page the
CPU of its statements is measured, from the question to the last row, and that of the whole call, with what is judged in
Python. Beside it stands the floor: reading as many rows by their names from SQLite, with no condition.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import tempfile
import time
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from statistics import median
from threading import Event
from typing import TYPE_CHECKING, Any

from bench_plan import NOW, make_fleet
from measure import table
from sqlalchemy.engine import Connection

from reconciler.controller.snapshot import keep_snapshots
from reconciler.formats.where import parse_where
from reconciler.observe.judging import keep_index
from reconciler.observe.observed import Sight, observe
from reconciler.planning import PlanOptions, plan_of, status_from
from reconciler.specfile.load import load_spec
from reconciler.storage.state import State
from reconciler.workspace import Means, open_workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUNS = 7
PAGE = 100
PROFILES = (200, 20_000)
CONDITIONS = (
    "",
    "state=outdated",
    "state=updated component=virus-pattern",
    "component=virus-pattern version=16.677.00 state!=unknown",
    "component=virus-pattern version<16",
    "state=unknown",
    "state=ahead",
    "group=g50 state=outdated",
    "group=g50 state=unknown",
    "reason=silent",
    "state=failed",
    "state=quarantined",
    "seen=never",
    "seen>7d",
    "name=client-09*",
    "name=*99999",
    "current=yes",
    "current=no",
    "component=virus-pattern behind>=2",
    "label=canary",
    'error~"no connection"',
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, help="where fleets are, or are put, that are measured again")
    arguments = parser.parse_args()
    written, pages = [], []
    with tempfile.TemporaryDirectory() as temporary:
        for profiles in PROFILES:
            folder = (arguments.keep or Path(temporary)) / str(profiles)
            if not folder.exists():
                make_fleet(folder, arguments.largest, profiles)
            shown = f"{profiles:,}".replace(",", " ")
            written.append((shown, *(f"{cost:.2f} s" for cost in index(folder))))
            pages += [(shown, *row) for row in measured(folder)]
    table(("profiles", "all of it", "nothing new", "one release more", "with all documents"), written)
    print()
    table(("profiles", "where", "found", "SQL", "first page", "a page behind it", "floor"), pages)


def index(folder: Path) -> Iterator[float]:
    """Measure what is written down after a round, in seconds of CPU."""
    trouble(folder)
    spec = load_spec(folder / "updoser.yaml")
    os.chdir(folder)
    means = Means(
        run_id="r", clock=lambda: NOW, secret=str, emit=lambda _event: None, stop=Event(), public=str, work=folder
    )
    with open_workspace(spec, means) as work:
        found = observe(work, Sight(refresh=False, settings=False))
        all_ = found.held
        for held in (all_, all_, all_[1:]):
            object.__setattr__(found, "held", held)
            begun = time.process_time()
            keep_index(work, found)
            yield time.process_time() - begun
        object.__setattr__(found, "held", all_)
        plan = plan_of(work, PlanOptions(Sight(refresh=False)), found)
        status = status_from(work, found, plan)
        trouble(folder)
        begun = time.process_time()
        keep_snapshots(work, status, plan, found)
        yield time.process_time() - begun


def trouble(folder: Path) -> None:
    """Have one client in 1,000 silent since it was looked at last, and a few failing, in quarantine or never seen."""
    with closing(sqlite3.connect(folder / "state.db")) as database:
        database.execute("UPDATE clients SET error = 'did not answer: x' WHERE name LIKE '%777'")
        database.execute("UPDATE clients SET failures = 2 WHERE name LIKE '%88888'")
        database.execute(
            "UPDATE clients SET quarantined = ? WHERE name LIKE '%88888'", ((NOW + timedelta(days=1)).timestamp(),)
        )
        database.execute("UPDATE clients SET seen_at = NULL, fingerprint = NULL WHERE name LIKE '%99999'")
        database.execute("DELETE FROM profile_components")
        database.execute("DELETE FROM profile_numbers")
        database.execute("DELETE FROM standings")
        database.commit()


def measured(folder: Path) -> Iterator[tuple[str, ...]]:
    """Measure pages."""
    with State.open_shared(f"sqlite:///{folder / 'state.db'}", clock=lambda: NOW) as state:
        for where in CONDITIONS:
            asked = parse_where(where) if where else ()
            first = state.find_clients(asked, limit=PAGE)
            rows = len(first.clients)
            behind = first.after or "client-05"
            with statements() as spent:
                whole = cpu(lambda: state.find_clients(asked, limit=PAGE))  # noqa: B023 - called at once
            after = cpu(lambda: state.find_clients(asked, after=behind, limit=PAGE))  # noqa: B023
            floor = cpu(lambda: bare(folder, rows))  # noqa: B023
            shown = [f"{cost * 1000:.1f} ms" for cost in (sum(spent) / RUNS, whole, after, floor)]
            yield f"`{where}`" if where else "all", f"{rows}{'+' if first.after else ''}", *shown


def cpu(run: Callable[[], object]) -> float:
    """Measure a call, in seconds of CPU."""
    taken = []
    for _run in range(RUNS):
        begun = time.process_time()
        run()
        taken.append(time.process_time() - begun)
    return median(taken)


@contextmanager
def statements() -> Iterator[list[float]]:
    """Measure what statements cost, rows included, in seconds of CPU."""
    spent: list[float] = []
    execute = Connection.execute

    def timed(connection: Connection, *given: Any, **more: Any) -> Any:
        begun = time.process_time()
        try:
            return execute(connection, *given, **more).freeze()()
        finally:
            spent.append(time.process_time() - begun)

    Connection.execute = timed  # type: ignore[method-assign, assignment]
    try:
        yield spent
    finally:
        Connection.execute = execute  # type: ignore[method-assign]


def bare(folder: Path, rows: int) -> object:
    """Read so many rows by their names."""
    with closing(sqlite3.connect(folder / "state.db")) as database:
        return database.execute("SELECT * FROM clients ORDER BY name LIMIT ?", (rows,)).fetchall()


if __name__ == "__main__":
    main()
