"""A user who stands in no passwd and has no HOME, as in containers: only what names a home is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.fleet import ROOT, Fleet
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

NAMELESS = """
import pwd, sys
def getpwuid(number):
    raise KeyError(f"getpwuid(): uid not found: {number}")
pwd.getpwuid = getpwuid
from reconciler.cli import main
main()
"""
"""Runs updoser as somebody whom no passwd has; who really is such a one can't read the Python that tests run with."""


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    made = Fleet(tmp_path, clients=2, components={"rules": {}})
    made.release("rules", "1", rules_txt=b"one")
    return made


def run(fleet: Fleet, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as somebody without a name and a home."""
    done = subprocess.run(
        [sys.executable, "-c", NAMELESS, *arguments],
        cwd=fleet.folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert "Traceback" not in done.stderr
    assert "fault of updoser" not in done.stdout + done.stderr
    return done


def test_a_fleet_is_updated_and_a_rollout_paused_by_somebody_without_a_name_and_a_home(fleet: Fleet) -> None:
    done = run(fleet, "apply", "--auto-approve")
    assert done.returncode == 0, done.stderr
    assert "2 clients changed" in done.stdout
    fleet.release("rules", "2", rules_txt=b"two")
    fleet.write(auto_update={"rollout": {"waves": [{"share": "50%", "soak": "1h"}, {"share": "100%"}]}})
    assert run(fleet, "apply", "--auto-approve").returncode == 0
    paused = run(fleet, "rollout", "pause", "rules")
    assert paused.returncode == 0, paused.stderr


def test_a_path_in_the_home_is_refused_with_its_place(fleet: Fleet) -> None:
    fleet.write(server={"store": "~/store", "state": "sqlite:///state.db"})
    done = run(fleet, "validate")
    assert done.returncode == 65
    assert "`~/store` is in no home: HOME isn't set, and this user stands in no passwd" in done.stderr
    assert "updoser.yaml:" in done.stderr


def test_known_hosts_of_a_home_that_is_not_there_cost_the_clients_that_need_them_only(fleet: Fleet) -> None:
    remote = {"transport": {"type": "ssh"}, "clients": [{"name": "far", "address": "127.0.0.1", "install_root": "/r"}]}
    fleet.spec["groups"]["remote"] = remote
    fleet.write(defaults={"install_root": "/r"})
    done = run(fleet, "apply", "--auto-approve")
    assert "2 clients changed" in done.stdout
    assert done.returncode == 4
    assert "! host key not trusted: 1 client of remote\n      far: `~/.ssh/known_hosts` is in no home" in done.stdout
    trusted = {"type": "ssh", "known_hosts": "known_hosts"}
    fleet.write(groups={**fleet.spec["groups"], "remote": {**remote, "transport": trusted}})
    assert "1 client  remote  authentication failed" in run(fleet, "plan").stdout
    done = run(fleet, "status", "--no-refresh")
    assert f"far: nobody knows the name of user {os.getuid()}" in done.stdout
