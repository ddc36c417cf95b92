"""What hashes large files on a client: openssl where it is there, and sha256sum whenever openssl says anything else."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.machine import MORE_SHELLS, Machine, raw, request_bytes, rot, step

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LARGE = b"0123456789abcdef" * 2**20 + b"the last bytes"
KNOWN = 'case "$*" in *engine*) ;; *) exec {tool} "$@" ;; esac; '
"""What is wrong begins behind the hash that is known."""
WRONG = {
    "none": "exit 127",
    "nonsense": "echo nonsense",
    "one that knows no files": KNOWN + "exit 1",
    "one that lies of files": KNOWN + 'echo "$(printf %064d 0) *engine/1/engine.dat"',
    "one that says more": KNOWN + '{tool} "$@"; echo "$(printf %064d 0) *more"',
    "one that hangs at once": "exec sleep 60",
    "one that hangs on files": KNOWN + "exec sleep 60",
}


@pytest.fixture(params=MORE_SHELLS)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    return Machine(tmp_path, request.param)


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Put another tool first in the PATH, and give the file with its calls; no tool is waited for for long."""
    place = tmp_path / "tools"
    place.mkdir()
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")

    def put(name: str, body: str) -> Path:
        text = body.replace("{tool}", shutil.which(name, path="/usr/bin:/bin") or "false")
        calls = tmp_path / f"calls-of-{name}"
        (place / name).write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{calls}\n{text}\n')
        (place / name).chmod(0o755)
        return calls

    put("timeout", 'shift 3 && exec {tool} -s KILL 0.5 "$@"')
    return put


needs_openssl = pytest.mark.needs("openssl")


@needs_openssl
@pytest.mark.each_shell
def test_large_files_are_hashed_by_openssl_once_and_small_ones_are_not(
    machine: Machine, put: Callable[[str, str], Path]
) -> None:
    put("timeout", 'exec {tool} "$@"')
    fast, usual = (put(name, 'exec {tool} "$@"') for name in ("openssl", "sha256sum"))
    machine.install("rules", "1", {"rules.dat": b"small"})
    assert not fast.exists()
    assert "rules.dat" in usual.read_text()
    names = {"engine.dat": LARGE, "a b": b"", "*": b"star", "it's": b"quote"}
    machine.install("engine", "1", names)
    assert machine.current("engine") == names
    assert [line for line in fast.read_text().splitlines() if "engine.dat" in line] == [
        f"dgst -sha256 -r {' '.join(f'engine/1/{name}' for name in sorted(names))}"
    ]
    assert "engine.dat" not in usual.read_text()
    assert not any(entry.damage for entry in machine.facts(verify=True).installed)
    assert "engine.dat" not in usual.read_text()


@pytest.mark.parametrize("wrong", WRONG)
def test_whatever_openssl_says_large_files_arrive_and_are_not_called_damaged(
    machine: Machine, put: Callable[[str, str], Path], wrong: str
) -> None:
    put("openssl", WRONG[wrong])
    machine.install("engine", "1", {"engine.dat": LARGE})
    assert machine.current("engine") == {"engine.dat": LARGE}
    assert not machine.facts(verify=True).installed[0].damage


@needs_openssl
@pytest.mark.each_shell
def test_large_files_that_were_damaged_on_the_way_or_later_are_found_with_openssl(machine: Machine) -> None:
    data = request_bytes(machine, step(None, machine.release("engine", "1", {"engine.dat": LARGE})))
    done = raw(machine, data.replace(b"last", b"lost"))
    assert b"engine failed - - what arrived has other bytes than announced" in done.stdout
    assert machine.current("engine") == {}
    machine.install("engine", "1", {"engine.dat": LARGE})
    rot(machine.root, "engine", "1", "engine.dat")
    assert not machine.facts().installed[0].damage
    assert "engine.dat was changed" in machine.facts(verify=True).installed[0].damage
