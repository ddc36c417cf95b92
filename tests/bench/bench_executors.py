"""Measures how many clients a second threads and processes look at and change, and what CPU that costs.

Two kinds of clients: some whose side of SSH costs nothing here, so that the controller is the limit (each exchange
costs this process what paramiko takes for one, in Python, and waits as a client makes it wait); and sshd on this
machine, which does its own half of the cryptography and runs the client's shell on the same cores.

CPU is what counts: the rate on so many cores is worked out from it, as what one process does it does on one core, and
`measured` is the best that was seen, with whatever else the machine had to do. A second table is what batches weigh.

No more clients are under way than there are forks, whoever works on them: where each takes a fifth of a second, 32 of
them are through with 160 a second at most, and cores idle that could do more. So there are twice as many here.

    .venv/bin/python tests/bench/bench_executors.py [--clients 400] [--rounds 3] [--sshd 40] [--forks 64]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from io import BytesIO
from itertools import count
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple, cast

sys.path.insert(0, str(Path(__file__).parents[2]))

import measure

from reconciler.client.guard import GuardedTransport
from reconciler.client.reach import Reach
from reconciler.contracts import Hands
from reconciler.formats.answer_json import read_report, write_report
from reconciler.formats.batch_json import read_batch, write_batch
from reconciler.model.batch import Answer, Batch, Change, Look, Order, StepDone, Target
from reconciler.model.client import Client
from reconciler.model.deploy import Outcome, Step
from reconciler.model.release import ReleaseFile, content_digest
from reconciler.plugins.executor import processes
from reconciler.worker.pool import Pool
from reconciler.worker.setup import SPEAK, Ways, read_setup
from tests.fakes import fake_context, make_plugin
from tests.sshd import sshd_fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from reconciler.contracts import Crew
    from reconciler.model.batch import Task

CONTENT = os.urandom(64 * 1024)
CORES = 2
NUMBERS = count(1)
BUSY = '''
"""Clients whose exchanges cost this process CPU in Python, as those over SSH do, and some waiting."""
import time
from contextlib import contextmanager
from reconciler.contracts import Traits
from reconciler.model.client import Facts, Profile
from reconciler.model.deploy import DeployReport, Outcome

OPTIONS = {"type": "object", "properties": {"look": {"type": "number"}, "change": {"type": "number"},
    "wait": {"type": "number"}}}
TRAITS = Traits(local=True)


def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(300))


class Busy:
    def __init__(self, options, context):
        self.options = options

    @contextmanager
    def connect(self, client):
        yield self

    def facts(self, install_root, *, verify=False, tools="", asked=None):
        burn(self.options["look"])
        time.sleep(self.options["wait"])
        return Facts(Profile("linux-x86_64", ()), 2**30)

    def deploy(self, request, content):
        sent = 0
        for step in request.steps:
            for part in step.payload:
                with content(part.sha256) as stream:
                    sent += len(stream.read(part.size))
        burn(self.options["change"])
        time.sleep(self.options["wait"])
        made = (Outcome(one.component, "changed", one.to_version, one.to_digest) for one in request.steps)
        return DeployReport(tuple(made), sent)


PLUGIN = Busy
'''


class Rate(NamedTuple):
    """Clients a second, and the CPU for each in milliseconds: of the controller, and of the workers together."""

    clients: float
    controller: float
    workers: float
    busiest: float

    @property
    def possible(self) -> float:
        """Clients a second on CORES that do nothing else: what one process does, it does on one core."""
        return 1000 / max(self.busiest, (self.controller + self.workers) / CORES)


def step(version: str) -> Step:
    files = (ReleaseFile("data", len(CONTENT), hashlib.sha256(CONTENT).hexdigest()),)
    digest = content_digest(files)
    return Step(component="rules", from_version="", from_digest="", to_version=version, to_digest=digest, files=files)


@contextmanager
def content(_sha256: str) -> Iterator[BytesIO]:
    yield BytesIO(CONTENT)


def crews(folder: Path, way: dict[str, Any], forks: int) -> dict[str, Any]:
    """Give what opens a crew of each kind, for clients that are reached in this way."""
    document = {
        "base": str(folder),
        "home": str(folder),
        "tree": None,
        "work": str(folder / "work"),
        "plugin_folders": [str(folder / "plugins")],
        "hidden": [],
        "groups": {"g": way},
    }
    hands = Hands(
        threads=lambda _forks: nullcontext(cast("Crew", None)),
        speak=SPEAK,
        setup={"worker": document},
        encode=lambda order: write_batch(order.batch),
        decode=read_report,
        content=cast("Any", content),
    )

    @contextmanager
    def threads() -> Iterator[Crew]:
        ways = Ways(read_setup(document), Event(), measure_clock)
        reach = Reach(lambda group: GuardedTransport(ways.transport(group)), Event())
        with Pool(reach, cast("Any", content), forks=forks, stop=Event(), clock=measure_clock) as pool:
            yield pool
        reach.close()

    executor = make_plugin(processes, {}, fake_context(folder))
    return {"threads": threads, "processes": lambda: executor.open(hands, forks)}


def measure_clock() -> Any:
    from datetime import UTC, datetime

    return datetime.now(UTC)


def work(crew: Crew, clients: Sequence[Client], task: Task) -> None:
    """Have all clients worked on, as a dispatcher does: no more is given than there is room for."""
    waiting: dict[str, list[Client]] = {}
    for client in clients:
        waiting.setdefault(crew.lane(client.name), []).append(client)
    left = len(clients)
    while left:
        for lane, mine in waiting.items():
            while crew.room(lane) > 0 and len(mine):
                cut = mine[: min(crew.size, crew.room(lane))]
                del mine[: len(cut)]
                targets = tuple(Target(client=client) for client in cut)
                crew.give(lane, Order(Batch(id=str(next(NUMBERS)), run_id="r", group="g", task=task, targets=targets)))
        for report in crew.receive(0.2):
            if isinstance(report, Answer):
                left -= 1
                if report.error is not None:
                    sys.exit(f"{report.client}: {report.error}")
            elif report.lost:
                sys.exit(report.lost)


def cpu(crew: Any) -> dict[int, float]:
    """Give the CPU seconds of this process (0) and of its workers, by their numbers."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    found = {0: usage.ru_utime + usage.ru_stime}
    for lane in getattr(crew, "_lanes", {}).values():
        pid = lane.line._wire._process.pid
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        found[pid] = sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
    return found


def rate(opened: AbstractContextManager[Crew], clients: Sequence[Client], task: Task, forks: int) -> Rate:
    """Measure one round, without the start of the workers and the first clients of each."""
    with opened as crew:
        work(crew, clients[: 2 * forks], Look())
        before, begun = cpu(crew), time.perf_counter()
        work(crew, clients, task)
        wall, after = time.perf_counter() - begun, cpu(crew)
    each = {number: (after[number] - before[number]) / len(clients) * 1000 for number in after}
    return Rate(len(clients) / wall, each[0], sum(each.values()) - each[0], max(each.values()))


def rows(
    name: str, folder: Path, way: dict[str, Any], clients: Sequence[Client], options: argparse.Namespace
) -> Iterator[list[str]]:
    """Give the rows of the table for some clients."""
    for what in ("look", "change"):
        found: dict[str, list[Rate]] = {"threads": [], "processes": []}
        for turn in range(options.rounds):
            for kind, opened in crews(folder, way, options.forks).items():
                change = Change(lineage="l", epoch=1, keep=2, steps=(step(f"{turn}.{kind}"),))
                task = Look() if what == "look" else change
                found[kind].append(rate(opened(), clients, task, options.forks))
        best = {kind: max(one.clients for one in rates) for kind, rates in found.items()}
        middle = {kind: sorted(rates, key=lambda one: one.possible)[len(rates) // 2] for kind, rates in found.items()}
        for kind, one in middle.items():
            times = f"{one.possible / middle['threads'].possible:.2f}"
            shown = f"{one.controller:.1f} + {one.workers:.1f} ms"
            yield [name, what, kind, shown, f"{one.possible:.0f}", times, f"{best[kind]:.0f}"]


def documents() -> Iterator[list[str]]:
    """Give what a batch of 50 clients and its reports weigh, and what writing and reading them costs."""
    for components in (1, 3, 20):
        steps = tuple(replace(step("16.679.00"), component=f"component-{at}") for at in range(components))
        clients = [Client(f"pc{at:05}", "office", f"10.0.0.{at}", install_root="/var/lib/updoser") for at in range(50)]
        task = Change(lineage="l", epoch=1, keep=2, steps=steps)
        batch = Batch(id="b", run_id="r", group="office", task=task, targets=tuple(Target(client=c) for c in clients))
        outcomes = [Outcome(one.component, "changed", one.to_version, one.to_digest) for one in steps]
        done = tuple(StepDone(outcome=outcome, sent=512) for outcome in outcomes)
        answers = [Answer(batch="b", attempt=1, client=client.name, steps=done) for client in clients]
        order, wrote, read = _cost(partial(write_batch, batch), read_batch)
        reports, told, heard = _cost(partial(_each, write_report, answers), partial(_each, read_report))
        yield [
            str(components),
            *(f"{len(order) / 1000:.1f} kB", f"{wrote:.2f} + {read:.2f} ms"),
            *(f"{sum(map(len, reports)) / 1000:.0f} kB", f"{told:.1f} + {heard:.1f} ms"),
        ]


def _each(do: Callable[[Any], Any], values: Sequence[Any]) -> list[Any]:
    return [do(value) for value in values]


def _cost(write: Callable[[], Any], read: Callable[[Any], Any], times: int = 20) -> tuple[Any, float, float]:
    """Give what was written, and the milliseconds of CPU that writing and reading it take."""
    written, begun = write(), time.process_time()
    for _ in range(times):
        write()
    middle = time.process_time()
    for _ in range(times):
        read(written)
    return written, (middle - begun) / times * 1000, (time.process_time() - middle) / times * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=400)
    parser.add_argument("--sshd", type=int, default=40, help="clients of a real sshd; 0: none")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--forks", type=int, default=64)
    parser.add_argument("--cheap", action="store_true", help="clients that are waited for and cost next to nothing")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="updoser-bench-"))
    folder.chmod(0o755)
    found: list[list[str]] = []
    try:
        (folder / "plugins/transport").mkdir(parents=True)
        (folder / "plugins/transport/busy.py").write_text(BUSY)
        costs = {"look": 0.0003, "change": 0.0003} if options.cheap else {"look": 0.008, "change": 0.02}
        busy = {"plugin": "busy", "options": {**costs, "wait": 0.2}, "proxy": None}
        clients = [Client(f"pc{at:05}", "g", install_root="/r") for at in range(options.clients)]
        found += rows("the controller is the limit", folder, busy, clients, options)
        if options.sshd:
            with sshd_fleet(folder / "sshd", options.sshd) as fleet:
                keys = {"$secret": ["file", str(fleet.key)]}
                plain = {key: value for key, value in fleet.options().items() if key != "keys"}
                way = {"plugin": "ssh", "options": {**plain, "keys": [keys]}, "proxy": None}
                real = [Client(a, "g", a, install_root=str(fleet.install_root(a))) for a in fleet.addresses]
                found += rows("sshd on the same cores", folder, way, real, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    possible = f"clients/s on {CORES} cores"
    head = ["clients", "what", "executor", "CPU a client (controller + workers)", possible, "times", "measured"]
    measure.table(head, found)
    print()
    head = ["components", "a batch of 50 clients", "written + read", "its 50 answers", "written + read"]
    measure.table(head, documents())


if __name__ == "__main__":
    main()
