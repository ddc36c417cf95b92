"""Clients that hang, lie and flood, each beside honest ones: nobody else is hurt, the run ends and tells the truth."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.attacks.hostile_client import CHANGED, FAILED, KINDS, STALE, UNREACHABLE, hostile_clients
from tests.draw import MORE
from tests.fleet import Fleet
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.attacks.hostile_client import Hostile
    from tests.fleet import Done

HONEST = ("honest-1", "honest-2")
QUICK = {"connect_timeout": "5s", "idle_timeout": "5s", "timeout": "15s"}
"""For those that are silent, or drip: they are unreachable however long one waits."""
PATIENT = dict.fromkeys(QUICK, f"{PATIENCE:.0f}s")
"""For all others: on a busy machine they are slow, too."""
FLOODS = [kind for kind in KINDS if "without-end" in kind or "more-than-anybody" in kind or "4-gib" in kind]
PEAK = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""
ALONE = 100
"""MiB that an apply takes at most when all are honest."""


def fleet_with(folder: Path, hostile: Hostile, kinds: Iterator[str] | list[str], **options: str) -> Fleet:
    """Make a fleet of two honest clients and some hostile ones, all of which an apply takes at once."""
    fleet = Fleet(folder)
    (folder / "known_hosts").write_text(hostile.known_hosts)
    (folder / "password").write_text("let me in, please")
    transport = {"type": "ssh", "known_hosts": "known_hosts", "password": {"file": "password"}}
    bad: dict[str, Any] = {
        group: {"transport": {**transport, **limits}, "install_root": "/srv/updoser", "clients": clients}
        for group, limits in (("hostile", PATIENT), ("silent", options))
        if (
            clients := [
                {"name": kind, "address": "127.0.0.1", "user": kind, "port": hostile.ports[kind]}
                for kind in kinds
                if (KINDS[kind] == UNREACHABLE) == (group == "silent")
            ]
        )
    }
    good = [{"name": name, "install_root": f"clients/{name}"} for name in HONEST]
    rollout = {"waves": [{"share": "100%"}], "max_fail_percentage": 100, "max_unreachable_percentage": 100}
    fleet.write(
        groups={
            "honest": {"transport": {"type": "local"}, "install_root": "clients", "clients": good},
            **bad,
        },
        auto_update={"rollout": rollout},
    )
    fleet.release("rules", "1", rules_txt=b"rules")
    fleet.release("engine", "1.0.0", engine_bin=b"engine" * 1000)
    return fleet


def judge(fleet: Fleet, done: Done, kinds: Iterator[str] | list[str]) -> None:
    """Hold what a run says, and what it remembers, against what each client is known to do."""
    report = done.json
    for name in HONEST:
        assert fleet.current(name, "engine") == {"engine.bin": b"engine" * 1000}
    assert {key: count for key, count in report["recap"]["honest"].items() if count} == {"changed": len(HONEST)}
    told = {entry["client"]: "failed" for entry in report["failed"]}
    told |= {entry["client"]: "unreachable" for entry in report["unreachable"]}
    wanted = {kind: KINDS[kind] for kind in kinds}
    assert told == {kind: becomes for kind, becomes in wanted.items() if becomes in {FAILED, UNREACHABLE}}
    recaps = [recap for group, recap in report["recap"].items() if group != "honest"]
    for outcome in (FAILED, UNREACHABLE, CHANGED, STALE):
        found = sum(recap[outcome] for recap in recaps)
        assert found == sum(becomes == outcome for becomes in wanted.values()), outcome
    assert done.code == (3 if FAILED in told.values() else 4 if told else 0), done.err
    (run,) = fleet.run("history", "--format", "json").json
    assert run["recap"] == {key: sum(counts[key] for counts in report["recap"].values()) for key in run["recap"]}


@pytest.mark.parametrize("kinds", [[kind] for kind in KINDS] if MORE else [list(KINDS)], ids=lambda kinds: kinds[0])
def test_whatever_a_client_does_is_that_clients_trouble_and_the_run_tells_the_truth(
    tmp_path: Path, kinds: Iterator[str]
) -> None:
    assert len(KINDS) >= 28
    with hostile_clients(kinds) as hostile:
        fleet = fleet_with(tmp_path, hostile, kinds, **QUICK)
        judge(fleet, fleet.apply("--format", "json", "--forks", "100"), kinds)


def test_clients_that_send_without_end_take_less_than_64_mib_of_memory_together(tmp_path: Path) -> None:
    with hostile_clients(FLOODS) as hostile:
        fleet = fleet_with(tmp_path, hostile, FLOODS, **QUICK)
        fleet.before = (sys.executable, "-c", PEAK)
        done = fleet.apply("--format", "json", "--forks", "100")
        fleet.before = ()
        judge(fleet, done, FLOODS)
        assert int(done.err.split()[-1]) < (ALONE + 64) * 1024


@pytest.mark.parametrize("kind", ["never-answers-exec", "never-answers-the-login", "is-silent"])
def test_a_run_that_waits_for_a_silent_client_can_be_interrupted(tmp_path: Path, kind: str) -> None:
    with hostile_clients([kind]) as hostile:
        fleet = fleet_with(tmp_path, hostile, [kind], connect_timeout="1h", idle_timeout="1h", timeout="1h")
        process = fleet.start("apply", "--auto-approve")
        hostile.wait_for(kind)
        process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 130, err
        assert "Traceback" not in err
