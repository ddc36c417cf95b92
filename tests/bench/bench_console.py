"""What a page of the console costs where the fleet has 1,000,000 clients in 200 groups, with READERS at once.

The console runs in a process of its own, as `updoser serve` has it, over documents as a controller keeps them. First
one reader asks, and each page is made anew, as if a second had passed. Then READERS ask at once, each another person,
while a run writes down ten times a second how far it is: those of one moment get the same page. CPU is that of its
process, for each page; the time is what a reader waits, of all pages that were asked for, on a machine that has as many
cores as are said. Then a day passes: the documents change ROUNDS times, and somebody looks at all pages in between;
memory is that of the process before it and after each quarter.
"""

from __future__ import annotations

import argparse
import http.client
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from statistics import quantiles
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from measure import ROOT, table

sys.path.insert(0, str(ROOT))

from starlette.middleware import Middleware

from reconciler.console.app import make_app
from reconciler.console.frame import Console, Person
from reconciler.model.controller import RunProgress
from reconciler.model.request import ROLES
from reconciler.storage.state import State
from tests.console import NOW
from tests.console_states import MADE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

READERS = 8
ROUNDS = 288
"""Rounds of a controller in 24 hours."""
PAGES = ("/", "/?group=group-007&within=1", "/components", "/components/virus-pattern")


class Named:
    """Has everybody be who they say they are."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            who = dict(scope["headers"])[b"x-who"].decode()
            scope["updoser.person"] = Person(who=who, roles=frozenset(ROLES), csrf=f"form-of-{who}")
        await self._app(scope, receive, send)


def serve(url: str, place: Path, mode: str) -> None:
    """Serve the console over a state that is there, and write down on which port.

    Where the mode is `anew`, each look at the clock is a second later.
    """
    import anyio.to_thread
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: object = None) -> None:
            await super().startup(sockets)  # type: ignore[arg-type]
            anyio.to_thread.current_default_thread_limiter().total_tokens = 8
            port = self.servers[0].sockets[0].getsockname()[1]
            (place.parent / "port.new").write_text(str(port))
            (place.parent / "port.new").rename(place)

    begun, looks = time.monotonic(), count()

    def clock() -> datetime:
        return NOW + timedelta(seconds=next(looks) if mode == "anew" else time.monotonic() - begun)

    app = make_app(Console(State.open_shared(url, clock=clock), clock), [Middleware(Named)])
    Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning")).run()


@contextmanager
def served(url: str, place: Path, mode: str) -> Iterator[tuple[int, int]]:
    """Have the console be served in a process of its own; gives its id and its port."""
    place.unlink(missing_ok=True)
    process = subprocess.Popen([sys.executable, __file__, "--serve", url, str(place), mode])
    try:
        while not place.exists() and process.poll() is None:
            time.sleep(0.05)
        yield process.pid, int(place.read_text())
    finally:
        process.terminate()
        process.wait()


@contextmanager
def a_run(state: State) -> Iterator[None]:
    """Have a run go on for the time of the block."""
    over = Event()

    def go_on() -> None:
        for number in count():
            if over.wait(0.1):
                return
            state.report_progress(
                RunProgress(run_id="r", command="run", started=NOW, clients=1_000_000, finished=number, at=NOW)
            )

    writer = Thread(target=go_on)
    writer.start()
    try:
        with state.lock("run"):
            yield
    finally:
        over.set()
        writer.join()
        state.report_progress(None)


def cpu_of(pid: int) -> float:
    """Give the CPU that a process took so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(port: int, path: str, times: int, who: int = 0) -> tuple[list[float], int]:
    """Ask for a page so many times; give how long each took in seconds, and how large it is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    taken, size = [], 0
    for _ in range(times):
        begun = time.perf_counter()
        connection.request("GET", path, headers={"x-who": f"reader-{who}"})
        answer = connection.getresponse()
        size = len(answer.read())
        taken.append(time.perf_counter() - begun)
        if answer.status != http.client.OK:
            sys.exit(f"{path}: {answer.status}")
    connection.close()
    return taken, size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=200, help="how often each reader asks for a page")
    parser.add_argument("--readers", type=int, default=READERS, help="how many ask at once")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve[0], Path(options.serve[1]), options.serve[2])
        return
    with tempfile.TemporaryDirectory() as folder:
        url, place = f"sqlite:///{folder}/state.db", Path(folder) / "port"
        with State.open(url, clock=lambda: NOW) as state:
            MADE["huge"](state)
            with served(url, place, "anew") as (pid, port):
                alone = [measured(pid, port, path, 1, options.pages) for path in PAGES]
            with served(url, place, "live") as (pid, port):
                with a_run(state):
                    together = [measured(pid, port, path, options.readers, options.pages)[1:] for path in PAGES]
                day = list(lived(state, pid, port))
    print(f"{options.readers} readers, {os.cpu_count()} cores, {os.getloadavg()[0]:.0f} of load before it")
    rows = [(path, *one, *many) for path, one, many in zip(PAGES, alone, together, strict=True)]
    table(("page", "bytes", "alone, made anew: CPU a page", "p95", "at once: CPU a page", "p95"), rows)
    print(f"memory over {ROUNDS} rounds with {len(PAGES)} pages after each: {', '.join(day)}")


def lived(state: State, pid: int, port: int) -> Iterator[str]:
    """Give the memory of a process before a day, and after each quarter of it."""
    kept = state.snapshot("status")
    assert kept is not None
    for number in range(ROUNDS + 1):
        state.keep_snapshots("status", {"": {**kept.document, "saved_by_round": number}})
        for path in PAGES:
            ask(port, path, 1)
        if number % (ROUNDS // 4) == 0:
            yield f"{resident(pid) / 2**20:.1f} MiB"


def resident(pid: int) -> int:
    """Give the bytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measured(pid: int, port: int, path: str, readers: int, pages: int) -> tuple[str, ...]:
    """Give how large a page is, what it costs, and how long the slowest twentieth waits."""
    _taken, size = ask(port, path, 5)  # templates are read
    before = cpu_of(pid)
    with ThreadPoolExecutor(readers) as pool:
        taken = [one for found, _size in pool.map(partial(ask, port, path, pages), range(readers)) for one in found]
    cpu = (cpu_of(pid) - before) / len(taken)
    return f"{size:,}".replace(",", " "), f"{cpu * 1000:.1f} ms", f"{quantiles(taken, n=20)[-1] * 1000:.0f} ms"


if __name__ == "__main__":
    main()
