"""What a page of the console costs where the fleet has 1,000,000 clients in 200 groups, with READERS at once.

The console runs in a process of its own, as `updoser serve` has it, over documents as a controller keeps them. CPU is
that of its process, for each page; the time is what a reader waits, of all pages that were asked for, on a machine that
has as many cores as are said. Then a day passes: the documents change ROUNDS times, and somebody looks at all pages in
between; memory is that of the process before it and after each quarter.
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
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING

from measure import ROOT, table

sys.path.insert(0, str(ROOT))

from reconciler.storage.state import State
from tests.console import NOW, console_app
from tests.console_states import MADE

if TYPE_CHECKING:
    from collections.abc import Iterator

READERS = 8
ROUNDS = 288
"""Rounds of a controller in 24 hours."""
PAGES = ("/", "/?group=group-007&within=1", "/components", "/components/virus-pattern")


def serve(url: str, place: Path) -> None:
    """Serve the console over a state that is there, and write down on which port."""
    import anyio.to_thread
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: object = None) -> None:
            await super().startup(sockets)  # type: ignore[arg-type]
            anyio.to_thread.current_default_thread_limiter().total_tokens = 8
            port = self.servers[0].sockets[0].getsockname()[1]
            (place.parent / "port.new").write_text(str(port))
            (place.parent / "port.new").rename(place)

    app = console_app(State.open_shared(url, clock=lambda: NOW))
    Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning")).run()


def cpu_of(pid: int) -> float:
    """Give the CPU that a process took so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(port: int, path: str, times: int) -> tuple[list[float], int]:
    """Ask for a page so many times; give how long each took in seconds, and how large it is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    taken, size = [], 0
    for _ in range(times):
        begun = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        size = len(answer.read())
        taken.append(time.perf_counter() - begun)
        if answer.status != http.client.OK:
            sys.exit(f"{path}: {answer.status}")
    connection.close()
    return taken, size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=50, help="how often each reader asks for a page")
    parser.add_argument("--readers", type=int, default=READERS, help="how many ask at once")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve[0], Path(options.serve[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        url, place = f"sqlite:///{folder}/state.db", Path(folder) / "port"
        with State.open(url, clock=lambda: NOW) as state:
            MADE["huge"](state)
            process = subprocess.Popen([sys.executable, __file__, "--serve", url, str(place)])
            try:
                while not place.exists() and process.poll() is None:
                    time.sleep(0.05)
                port = int(place.read_text())
                rows = [measured(process.pid, port, path, options) for path in PAGES]
                day = list(lived(state, process.pid, port))
            finally:
                process.terminate()
                process.wait()
    print(f"{options.readers} readers, {os.cpu_count()} cores, {os.getloadavg()[0]:.0f} of load before it")
    table(("page", "bytes", "CPU a page", "median", "p95"), rows)
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


def measured(pid: int, port: int, path: str, options: argparse.Namespace) -> tuple[str, ...]:
    """Give the row of a page."""
    _taken, size = ask(port, path, 5)  # templates are read, documents are in memory
    before = cpu_of(pid)
    with ThreadPoolExecutor(options.readers) as readers:
        taken = [
            one
            for found, _size in readers.map(lambda _n: ask(port, path, options.pages), range(options.readers))
            for one in found
        ]
    cpu = (cpu_of(pid) - before) / len(taken)
    spans = (median(taken), quantiles(taken, n=20)[-1])
    return path, f"{size:,}".replace(",", " "), f"{cpu * 1000:.1f} ms", *(f"{span * 1000:.0f} ms" for span in spans)


if __name__ == "__main__":
    main()
