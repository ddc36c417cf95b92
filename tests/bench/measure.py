"""What the benchmarks share: running a command and measuring it, telling the CPU of two sides apart, and a table.

A server and its clients share a machine here. Who used its cores is counted by the kernel, in a control group for each
side: all processes that a side starts count, also those that nobody waits for, as ssh masters that stay behind. That
needs root and cgroup v2 (Linux 5.14); without them `cpu` is that of the command and of all it waited for, and of
clients nothing is known.
"""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[2]
_MOVE = 'echo $$ >"$0"; exec "$@"'
_PATIENCE = 60.0


@dataclass(frozen=True)
class Cost:
    """What a command cost: wall clock and CPU in seconds, peak memory in MiB; `clients` is the CPU of its clients."""

    wall: float
    cpu: float
    memory: float
    clients: float = math.nan


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    codes: Collection[int] = (0,),
) -> Cost:
    """Run a command and give its cost; a wrong exit code ends the benchmark with what the command said.

    Of its CPU that of processes is missing that it didn't wait for: `Sides.run` has it. What Python compiled is kept,
    whatever the environment says: else each start compiles all that it imports.
    """
    clean = {name: text for name, text in (env or os.environ).items() if name != "PYTHONDONTWRITEBYTECODE"}
    with Path(os.devnull).open("r+b") as null, tempfile.TemporaryFile() as said:
        begun = time.perf_counter()
        process = subprocess.Popen(command, cwd=cwd, env=clean, stdin=null, stdout=null, stderr=said)
        _pid, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
        said.seek(0)
        errors = said.read()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in codes:
        sys.exit(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{errors.decode(errors='replace')}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def median(costs: Collection[Cost]) -> Cost:
    """Give the median of each figure."""
    return Cost(*(statistics.median(getattr(cost, field.name) for cost in costs) for field in fields(Cost)))


class Group:
    """Processes of one side, which a control group of the kernel counts together."""

    def __init__(self, folder: Path) -> None:
        """Take the folder of a group that is there."""
        self._folder = folder
        self.procs = folder / "cgroup.procs"

    @property
    def cpu(self) -> float:
        """Give the CPU seconds of all that are in it, and of all that ever were."""
        stat = dict(line.split() for line in (self._folder / "cpu.stat").read_text(encoding="utf-8").splitlines())
        return int(stat["usage_usec"]) / 1e6

    @property
    def alive(self) -> int:
        """Count the processes that are in it."""
        return len(self.procs.read_text(encoding="utf-8").split())

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Have this process be in it for the time of the block: what it starts meanwhile stays."""
        at = _own_group() / "cgroup.procs"
        self.procs.write_text(str(os.getpid()), encoding="utf-8")
        try:
            yield
        finally:
            at.write_text(str(os.getpid()), encoding="utf-8")

    def settle(self, left: int) -> None:
        """Wait until no more processes than these are in it: what is over has been paid for then."""
        until = time.monotonic() + _PATIENCE
        while self.alive > left and time.monotonic() < until:
            time.sleep(0.02)

    def end(self) -> None:
        """End what is in it.

        Raises:
            OSError: this kernel can't.
        """
        with (self._folder / "cgroup.kill").open("r+", encoding="utf-8") as file:
            file.write("1")
        self.settle(0)


def _own_group() -> Path:
    """Give the folder of the control group that this process is in."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    roots = [fields[1] for fields in mounts if fields[2] == "cgroup2"]
    own = [line[3:] for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines() if line[:3] == "0::"]
    return Path(roots[0] + own[0]) if roots and own else Path("/nonexistent")


@contextmanager
def _group(name: str) -> Iterator[Group]:
    folder = _own_group() / f"{name}-{os.getpid()}"
    folder.mkdir()
    group = Group(folder)
    try:
        group.end()
        yield group
    finally:
        with suppress(OSError):
            group.end()
        folder.rmdir()


class Sides:
    """A controller and its clients on one machine, and the CPU of each."""

    def __init__(self, ours: Group | None, theirs: Group | None) -> None:
        """Take the groups of both; None where they can't be told apart."""
        self._ours = ours
        self._theirs = theirs

    @contextmanager
    def clients(self) -> Iterator[None]:
        """Have what is started in the block be of the clients."""
        with ExitStack() as stack:
            if self._theirs is not None:
                stack.enter_context(self._theirs.entered())
            yield

    def run(self, command: Sequence[str | Path], **options: Any) -> Cost:
        """Run a command as `run` does, and give what it cost the controller, with all it started, and the clients."""
        ours = self._ours
        if ours is None:
            return run(command, **options)
        before = ours.cpu

        def work() -> Cost:
            cost = run(["sh", "-c", _MOVE, ours.procs, *command], **options)
            ours.end()
            return replace(cost, cpu=ours.cpu - before)

        return self._beside(work)

    def call(self, work: Callable[[], object]) -> Cost:
        """Do something in this process, and give what that cost; its memory isn't known."""

        def measured() -> Cost:
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            return Cost(time.perf_counter() - wall, time.process_time() - cpu, math.nan)

        return self._beside(measured)

    def _beside(self, work: Callable[[], Cost]) -> Cost:
        if self._theirs is None:
            return work()
        still, before = self._theirs.alive, self._theirs.cpu
        cost = work()
        self._theirs.settle(still)
        return replace(cost, clients=self._theirs.cpu - before)


@contextmanager
def sides() -> Iterator[Sides]:
    """Give the two sides; where the kernel can't tell them apart, that is said."""
    with ExitStack() as stack:
        groups = None
        with suppress(OSError):
            groups = stack.enter_context(_group("controller")), stack.enter_context(_group("clients"))
        if groups is None:
            print("(no root or no cgroup v2: CPU of what was waited for only, and none of clients)\n")
        yield Sides(*(groups or (None, None)))


def each(seconds: float, count: int) -> str:
    """Give the CPU of one of many in milliseconds, as tables show it."""
    return "" if math.isnan(seconds) else f"{1000 * seconds / count:.1f} ms"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows as a Markdown table, which is what docs/figures.md holds."""
    print(f"| {' | '.join(head)} |")
    print(f"|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print(flush=True)
