"""A controller that has nothing to do: what a day of it costs, and whether it grows.

24 hours of the loop in one process, with an interval of 5 minutes: 288 rounds over 1,900 clients in memory, at which it
looks each 30 minutes. State, store and a folder as source are real, its clock goes on by the 2 seconds of each wait.
Memory is what is resident: after the first hour, at the end, and how much an hour adds in the last twelve. The beat of
the lease, each 5 seconds of a real clock, is measured apart and counted for the whole day.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import tempfile
import time
from contextlib import closing, redirect_stderr
from datetime import timedelta
from pathlib import Path
from statistics import linear_regression
from threading import Event
from typing import TYPE_CHECKING

import yaml
from measure import ROOT, table

sys.path.insert(0, str(ROOT))

from reconciler.controller.health import Health
from reconciler.controller.loop import POLL, Outside, Signals, Time, keep_current
from reconciler.controller.service import ServiceManager
from reconciler.controller.spec_source import FromFile
from reconciler.desk import Desk
from reconciler.present.terminal import Terminal
from reconciler.storage.lease import BEAT
from reconciler.storage.state import State
from tests import soak

if TYPE_CHECKING:
    from typing import Literal

    from reconciler.model.report import Report

HOURS = 24
BEATS = 200
DAY = {"interval": "5m", "jitter": "0%", "look": "30m"}


class Measured(Health):
    """Takes the measure of the process after each round."""

    def __init__(self, world: soak.World) -> None:
        super().__init__(world.clock, world.watch)
        self._world = world
        self.rounds: list[tuple[float, float, int, float]] = []
        """By round: the hour, MiB of memory, open files, seconds of CPU so far."""

    def end_round(self, result: Literal["ok", "failed", "left_out"], report: Report | None = None) -> None:
        super().end_round(result, report)
        assert result == "ok"
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        memory = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
        self.rounds.append((self._world.hours, memory, len(list(Path("/proc/self/fd").iterdir())), time.process_time()))


def rows_of(state: Path) -> dict[str, int]:
    """Count the rows of each table."""
    with closing(sqlite3.connect(state)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}


def beat_cpu(state: Path) -> float:
    """Measure one beat of the lease, in seconds of CPU."""
    with State.open(f"sqlite:///{state}", clock=soak.world().clock) as opened:
        lease = opened.take_lease()
        assert lease is not None
        begun = time.process_time()
        for _beat in range(BEATS):
            opened.beat(lease.generation)
        return (time.process_time() - begun) / BEATS


def spend(sites: soak.Sites, hours: float, waves: object) -> Measured:
    """Be a controller for so many hours."""
    spec = soak.spec_of(sites)
    spec["controller"], spec["auto_update"] = DAY, {"rollout": {"waves": waves}}
    (sites.commits / "updoser.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    story = soak.Story(soak.world().hours + hours, step=timedelta(seconds=POLL))
    world = soak.World(sites, soak.world().memory, story)
    soak.enter(world)
    desk = Desk(Terminal(), sites.commits / "updoser.yaml")
    source, health = FromFile(desk), Measured(world)
    signals = Signals(soak.Clockwork(world), Event())
    outside = Outside(ServiceManager(), health)
    with Path(os.devnull).open("w", encoding="ascii") as nobody, redirect_stderr(nobody):
        keep_current(source, source.first(signals.stop), outside, signals, forks=4, time=Time(world.clock, world.watch))
    world.save()
    return health


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        sites = soak.Sites(Path(temporary))
        soak.begin(sites)
        soak.enter(soak.World(sites, soak.Memory(), soak.Story(0)))
        spend(sites, 0.5, [{"share": "100%"}])  # all is updated then, and nothing is to be done
        before = rows_of(sites.state)
        rounds = spend(sites, HOURS, [{"share": "100%"}]).rounds
        after = rows_of(sites.state)
        beat = beat_cpu(sites.state)
    grown = {name: count - before[name] for name, count in after.items() if count != before[name]}
    hours, memory, files, cpu = (list(figures) for figures in zip(*rounds, strict=True))
    late = [at for at, hour in enumerate(hours) if hour > hours[-1] - HOURS / 2]
    slope = linear_regression([hours[at] for at in late], [memory[at] for at in late]).slope
    first = next(at for at, hour in enumerate(hours) if hour > hours[0] + 1)
    span = (hours[-1] - hours[0]) * 3600
    spent = cpu[-1] - cpu[0] + span / BEAT * beat
    row = (
        str(len(rounds)),
        f"{memory[first]:.1f} MiB",
        f"{memory[-1]:.1f} MiB",
        f"{slope * 1024:+.0f} KiB/h",
        f"{files[first]} -> {files[-1]}",
        ", ".join(f"{name} {count:+}" for name, count in grown.items()) or "none",
        f"{(cpu[-1] - cpu[0]) / (len(rounds) - 1) * 1000:.0f} ms",
        f"{spent / span:.2%}",
    )
    head = (
        "rounds",
        "memory after 1 h",
        "at the end",
        "slope",
        "open files",
        "new rows",
        "CPU of a round and its sleep",
    )
    table((*head, "of a core, beats included"), [row])


if __name__ == "__main__":
    main()
