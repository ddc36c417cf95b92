"""Whoever is killed, on a client or on the server: what is in force is whole, and the next run goes on."""

from __future__ import annotations

import os
import shutil
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.model.deploy import ClientCheck, Layout
from tests.attacks.kills import half_state, run_and_kill, time_of
from tests.draw import rounds
from tests.fleet import Fleet
from tests.machine import Machine, into, step
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    from reconciler.model.release import Release

FILES = {
    "1": {"a": b"one", "same": b"s" * 5000},
    "2": {"a": b"two", "same": b"s" * 5000, "new": b"n"},
    "3": {"a": b"three"},
}
SHELLS = ("dash", "bash", "busybox sh", "mksh")
EACH = 6
"""Clients in one part of a test: an exploration does more parts, not longer ones."""
in_parts = pytest.mark.parametrize("part", range(rounds(1)))


def installed(folder: Path, draw: Random) -> tuple[Machine, dict[str, Release], Layout]:
    """Give a client with version 1 and a target folder, its releases, and the way to each of them."""
    shell = draw.choice([shell for shell in SHELLS if shutil.which(shell.split()[0])])
    machine = Machine(folder, shell)
    target = folder / "daemon"
    target.mkdir(parents=True)
    layout = Layout((into(target, draw.choice(["rename", "copy"])),), ("*.old",))
    releases = {version: machine.release("rules", version, files) for version, files in FILES.items()}
    machine.install("rules", "1", FILES["1"], layout)
    return machine, releases, layout


def converges(machine: Machine, releases: dict[str, Release], layout: Layout) -> None:
    """Hold what was left against what must be: it is whole, the next update arrives, and nothing else stays."""
    assert machine.current("rules") in (*FILES.values(), {})
    for version in "23":
        have = machine.facts().by_component.get("rules")
        (outcome,) = machine.deploy(step(have, releases[version], layout), keep=1)
        assert outcome.status in {"changed", "ok"}, outcome
        assert machine.current("rules") == FILES[version]
        found = {path.name: path.read_bytes() for path in (machine.folder / "daemon").iterdir()}
        assert found == FILES[version]
        assert not machine.facts(verify=True).by_component["rules"].damage
    assert machine.leftovers() == []
    assert {path.name for path in machine.root.iterdir()} == {".updoser", "rules"}
    assert {path.name for path in (machine.root / "rules").iterdir()} == {"3", "current"}
    assert [path.name for path in (machine.root / ".updoser/manifests").iterdir()] == ["rules@3"]


@in_parts
def test_an_update_that_is_killed_at_any_moment_leaves_one_whole_version_and_the_next_goes_on(
    tmp_path: Path, draw: Random, part: int
) -> None:
    for number in range(EACH):
        machine, releases, layout = installed(tmp_path / str(number), draw)
        way = step(releases["1"], releases["2"], layout, kept={"same"})
        if draw.random() < 0.5:
            way = replace(way, checks=(ClientCheck("fine", "switched", "true"),))
        took = time_of(machine.facts) * 6
        run_and_kill(machine, draw.uniform(0, took), way)
        converges(machine, releases, layout)
        shutil.rmtree(machine.folder)


@in_parts
def test_whatever_a_killed_run_or_a_power_cut_left_half_done_the_next_update_arrives(
    tmp_path: Path, draw: Random, part: int
) -> None:
    for number in range(EACH):
        machine, releases, layout = installed(tmp_path / str(number), draw)
        half_state(machine, draw)
        converges(machine, releases, layout)
        shutil.rmtree(machine.folder)


def test_a_controller_that_is_killed_at_any_moment_is_followed_by_one_that_ends_its_work(
    tmp_path: Path, draw: Random
) -> None:
    fleet = Fleet(tmp_path, 2)
    fleet.release("rules", "1", a=b"1", same=b"same")
    took = time_of(fleet.apply)
    for number in range(2, 2 + rounds(1)):
        fleet.release("rules", str(number), a=b"%d" % number, same=b"same")
        process = fleet.start("apply", "--auto-approve")
        time.sleep(draw.uniform(0.2, 1) * took)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        for client in ("c1", "c2"):
            assert fleet.current(client, "rules")["a"] in {b"%d" % number, b"%d" % (number - 1)}

        def is_done(wanted: bytes = b"%d" % number) -> bool:
            here = [fleet.current(client, "rules")["a"] for client in ("c1", "c2")]
            return fleet.apply().code == 0 and here == [wanted] * 2

        until(is_done)  # a script that the killed one started may be at work still
    for client in ("c1", "c2"):
        names = {path.name for path in (fleet.root(client) / "rules").iterdir()}
        assert names == {"current", str(number), str(number - 1)}
