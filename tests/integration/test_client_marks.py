"""The mark of a real client: equal as long as a look would find the same, another one after whatever a look sees."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.client.opening import marking
from reconciler.errors import ClientError
from reconciler.model.client import Facts, Same
from reconciler.model.deploy import Layout
from tests.machine import MORE_SHELLS, Machine, into, step

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROOM = "/dev/sda1 99999 87654 12345 88% /"
SETTLED = 0.02
"""Seconds after which a change has another time: several ticks of the kernel's clock."""


@pytest.fixture(params=MORE_SHELLS)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    return Machine(tmp_path, request.param)


def look(machine: Machine, mark: str) -> Facts | Same:
    return machine.session.look_again(str(machine.root), mark)


def marked(machine: Machine) -> str:
    found = look(machine, "?")
    assert isinstance(found, Facts)
    assert found.mark
    return found.mark


def tool(machine: Machine, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    """Put a tool first in the PATH of a client."""
    tools = machine.folder / "tools"
    tools.mkdir()
    (tools / name).write_text(f"#!/bin/sh\n{text}\n")
    (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")


def furnish(machine: Machine) -> None:
    """Bring two components, one of them twice and into a daemon's folder, with files that nobody manages."""
    daemon = machine.folder / "daemon dir"
    daemon.mkdir()
    (daemon / "theirs").write_bytes(b"theirs")
    layout = Layout((into(daemon),))
    machine.install("rules", "1", {"a": b"one", "b": b"same"}, layout)
    machine.install("rules", "2", {"a": b"two", "b": b"same"}, layout)
    machine.install("engine", "1", {"e": b"engine"})
    unchecked(machine, "0")
    time.sleep(SETTLED)


def unchecked(machine: Machine, version: str) -> None:
    """Have a run of the engine ended before its last check."""
    folder = machine.root / ".updoser/unchecked"
    folder.mkdir(exist_ok=True)
    (folder / "engine").write_text(f"{version}\n")


def test_a_client_that_is_as_it_was_says_so_and_is_not_touched(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(machine)
    tool(machine, monkeypatch, "df", f"echo 'Filesystem 1024-blocks Used Available Capacity Mounted on'\necho '{ROOM}'")
    first = look(machine, "?")
    assert isinstance(first, Facts)
    assert first.mark.endswith("+"), "it has targets outside of install_root"
    assert first.profile == machine.facts()
    before = machine.listing()
    again = look(machine, first.mark)
    assert isinstance(again, Same)
    assert again.free == first.free == 12345 * 1024
    anew = look(machine, f"{first.mark}?")
    assert isinstance(anew, Facts)
    assert (anew.mark, anew.profile) == (first.mark, first.profile)
    assert machine.listing() == before


def test_without_targets_nothing_outside_is_listed(machine: Machine) -> None:
    machine.install("engine", "1", {"e": b"engine"})
    mark = marked(machine)
    assert not mark.endswith("+")
    assert isinstance(look(machine, mark), Same)


def test_a_client_that_has_nothing_yet_has_a_mark_too(machine: Machine) -> None:
    first = look(machine, "?")
    assert isinstance(first, Facts)
    machine.root.mkdir()
    mark = marked(machine)
    assert isinstance(look(machine, mark), Same)
    machine.install("engine", "1", {"e": b"engine"})
    assert isinstance(look(machine, mark), Facts)


def current(machine: Machine, name: str = "a") -> Path:
    return machine.root / "rules" / "current" / name


def again_under_its_name(path: Path) -> None:
    """Replace a file by another one of the same size and times."""
    info = path.stat()
    path.rename(path.with_name("aside"))
    path.write_bytes(b"x" * info.st_size)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    path.with_name("aside").unlink()


def changed_in_place(path: Path) -> None:
    """Change bytes of a file, and give it the times that it had."""
    info = path.stat()
    path.write_bytes(b"x" * info.st_size)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def led_elsewhere(machine: Machine) -> None:
    link = machine.root / "rules" / "current"
    link.unlink()
    link.symlink_to("1")


def by_a_link(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


CHANGES: dict[str, Callable[[Machine], Any]] = {
    "bytes of a file": lambda m: changed_in_place(current(m)),
    "a file is replaced": lambda m: again_under_its_name(current(m)),
    "a file is gone": lambda m: current(m).unlink(),
    "a file is a link": lambda m: by_a_link(current(m)),
    "a file more": lambda m: current(m, "more").write_bytes(b""),
    "a hidden file more": lambda m: current(m, ".more").write_bytes(b""),
    "the version in force": led_elsewhere,
    "no version in force": lambda m: (m.root / "rules" / "current").unlink(),
    "a kept version is gone": lambda m: shutil.rmtree(m.root / "rules" / "1"),
    "a component is gone": lambda m: shutil.rmtree(m.root / "engine"),
    "a manifest is gone": lambda m: (m.root / ".updoser/manifests/rules@2").unlink(),
    "a manifest of a kept version is gone": lambda m: (m.root / ".updoser/manifests/rules@1").unlink(),
    "a manifest is changed": lambda m: changed_in_place(m.root / ".updoser/manifests/rules@2"),
    "checks weren't finished": lambda m: unchecked(m, "1"),
    "another controller": lambda m: (m.root / ".updoser/controller").write_text("other 7\n"),
    "bytes of a target": lambda m: changed_in_place(m.folder / "daemon dir/a"),
    "a target is replaced": lambda m: again_under_its_name(m.folder / "daemon dir/a"),
    "a target is gone": lambda m: (m.folder / "daemon dir/a").unlink(),
    "the folder of targets is gone": lambda m: shutil.rmtree(m.folder / "daemon dir"),
}
"""What a look says something else of, each behind updoser's back."""


@pytest.mark.parametrize("change", CHANGES)
def test_after_a_change_it_is_looked_at_and_says_what_is_there(tmp_path: Path, change: str) -> None:
    machine = Machine(tmp_path)
    furnish(machine)
    mark, before = marked(machine), machine.facts()
    CHANGES[change](machine)
    found = look(machine, mark)
    assert isinstance(found, Facts)
    assert found.profile == machine.facts() != before
    assert found.mark != mark
    time.sleep(SETTLED)
    again = look(machine, marked(machine) + "?")  # without targets that only a manifest not in force has
    assert isinstance(again, Facts)
    assert isinstance(look(machine, again.mark), Same), "what is wrong stays wrong without another look"


def test_what_nobody_manages_in_a_watched_folder_is_seen_when_it_comes_and_goes(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    furnish(machine)
    watched = machine.folder / "watched"
    watched.mkdir()
    layout = Layout((into(watched),), unmanaged="report")
    release = machine.release("watched", "1", {"w": b"w"})
    machine.deploy(step(None, release, layout))
    time.sleep(SETTLED)
    mark = marked(machine)
    (watched / "stranger").write_bytes(b"")
    found = look(machine, mark)
    assert isinstance(found, Facts)
    assert found.profile.unmanaged == (str(watched / "stranger"),)
    time.sleep(SETTLED)
    mark = marked(machine)
    (watched / "stranger").unlink()
    found = look(machine, mark)
    assert isinstance(found, Facts)
    assert found.profile.unmanaged == ()


@pytest.mark.parametrize("where", [".", "root", "root/.updoser"])
def test_a_place_that_others_may_write_to_is_refused_whatever_its_mark_was(tmp_path: Path, where: str) -> None:
    machine = Machine(tmp_path / "above")
    machine.folder.mkdir()
    machine.install("engine", "1", {"e": b"engine"})
    mark = marked(machine)
    (machine.folder / where).chmod(0o777)
    with pytest.raises(ClientError, match="can be written by its group or by everyone"):
        look(machine, mark)


def test_a_root_that_is_a_link_has_no_mark_and_is_looked_at(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.install("engine", "1", {"e": b"engine"})
    machine.root.rename(tmp_path / "real")
    machine.root.symlink_to("real")
    found = look(machine, "?")
    assert isinstance(found, Facts)
    assert (found.mark, len(found.profile.installed)) == ("", 1)
    assert isinstance(look(machine, "a" * 40), Facts)


def test_tools_that_come_and_go_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path)
    machine.install("engine", "1", {"e": b"engine"})
    tools = tmp_path / "tools"
    tools.mkdir()
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    mark = marked(machine)
    (tools / "zstd").write_text("#!/bin/sh\necho 'zstd v1.0.0'\n")
    (tools / "zstd").chmod(0o755)
    found = look(machine, mark)
    assert isinstance(found, Facts)
    assert "zstd" not in found.profile.tools


@pytest.mark.parametrize("worse", ["exit 0", "exit 1", "echo one; exit 1", "kill -9 $$", "echo one; kill -9 $$"])
def test_a_client_whose_stat_fails_is_looked_at_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worse: str
) -> None:
    machine = Machine(tmp_path)
    machine.install("engine", "1", {"e": b"engine"})
    tool(machine, monkeypatch, "stat", worse)
    for _ in range(2):
        assert isinstance(look(machine, marked(machine)), Facts)
    machine.root.chmod(0o777)
    with pytest.raises(ClientError, match="can be written by its group or by everyone"):
        machine.facts()


def test_the_command_that_is_logged_stays_short_and_the_line_is_one(tmp_path: Path) -> None:
    line = marking(f"{tmp_path}/it's here", "a" * 40 + "+")
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert len(line) < 2500
