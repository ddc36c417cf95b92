"""Target folders that somebody else could put another folder in the place of."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.model.deploy import MACHINE, Hook, Hooks, Layout
from tests.machine import MORE_SHELLS, Machine, into, step

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.deploy import InstallMethod

SOMEBODY = 12345

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can give folders away")


@pytest.fixture(params=MORE_SHELLS)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    return Machine(tmp_path, request.param)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """Give a folder that only root should write to."""
    folder = tmp_path / "victim"
    folder.mkdir()
    (folder / "a").write_bytes(b"mine")
    (folder / "x.old").write_bytes(b"mine, too")
    return folder


def untouched(victim: Path) -> bool:
    return {path.name: path.read_bytes() for path in victim.iterdir()} == {"a": b"mine", "x.old": b"mine, too"}


@pytest.mark.parametrize("method", ["rename", "copy", "link"])
@pytest.mark.parametrize("private", [False, True])
def test_a_folder_whose_parent_is_somebody_elses_is_not_followed_by_any_method(
    machine: Machine, victim: Path, method: InstallMethod, private: bool
) -> None:
    parent = machine.folder / "theirs"
    parent.mkdir()
    (parent / "patterns").mkdir()
    layout = Layout((into(parent / "patterns", method),), ("*.old",))
    way = replace(step(None, machine.release("rules", "1", {"a": b"one"}), layout), private=private)
    os.chown(parent, SOMEBODY, SOMEBODY)
    (outcome,) = machine.deploy(way)
    assert (outcome.status, outcome.fault) == ("failed", MACHINE)
    assert f"{parent} belongs to user {SOMEBODY}" in outcome.message
    assert list((parent / "patterns").iterdir()) == []
    (parent / "patterns").rmdir()
    (parent / "patterns").symlink_to(victim)
    os.chown(parent / "patterns", SOMEBODY, SOMEBODY, follow_symlinks=False)
    assert machine.deploy(way)[0].status == "failed"
    assert untouched(victim)
    assert machine.facts().installed == ()
    assert machine.leftovers() == []


@pytest.mark.parametrize("method", ["rename", "copy", "link"])
def test_a_folder_that_is_swapped_while_a_request_is_carried_out_is_not_followed(
    machine: Machine, victim: Path, method: InstallMethod
) -> None:
    parent = machine.folder / "theirs"
    parent.mkdir()
    (parent / "patterns").mkdir()
    layout = Layout((into(parent / "patterns", method),), ("*.old",))
    machine.install("rules", "1", {"a": b"one"}, layout)
    old = machine.facts().by_component["rules"]
    swap = f"cd {parent} && mv patterns aside && ln -s {victim} patterns && chown -h {SOMEBODY} . patterns"
    way = step(old, machine.release("rules", "2", {"a": b"two", "b": b"new"}), layout)
    (outcome,) = machine.deploy(replace(way, hooks=Hooks(before=Hook(swap))))
    assert outcome.status == "failed"
    assert f"belongs to user {SOMEBODY}" in outcome.message
    assert untouched(victim)
    assert machine.current("rules") == {"a": b"one"}


def test_a_link_of_root_that_leads_to_somebody_elses_place_is_not_followed(machine: Machine, victim: Path) -> None:
    theirs = machine.folder / "theirs"
    theirs.mkdir()
    (theirs / "patterns").symlink_to(victim)
    (machine.folder / "link").symlink_to(theirs)
    os.chown(theirs, SOMEBODY, SOMEBODY)
    layout = Layout((into(machine.folder / "link/patterns"),), ("*.old",))
    (outcome,) = machine.deploy(step(None, machine.release("rules", "1", {"a": b"one"}), layout))
    assert outcome.status == "failed"
    assert untouched(victim)


def test_a_folder_that_belongs_to_its_daemon_gets_its_files_by_renames_only(machine: Machine) -> None:
    folder = machine.folder / "daemon"
    folder.mkdir()
    os.chown(folder, SOMEBODY, SOMEBODY)
    release = machine.release("rules", "1", {"a": b"one"})
    (outcome,) = machine.deploy(step(None, release, Layout((into(folder, "copy"),))))
    assert f"{folder} belongs to user {SOMEBODY}" in outcome.message
    assert machine.deploy(step(None, release, Layout((into(folder),))))[0].status == "changed"
    assert (folder / "a").read_bytes() == b"one"


def test_what_an_earlier_version_put_into_a_folder_that_is_theirs_by_now_stays_there(
    machine: Machine, victim: Path
) -> None:
    parent, good = machine.folder / "theirs", machine.folder / "good"
    for folder in (parent, good):
        folder.mkdir()
    (parent / "patterns").mkdir()
    machine.install("rules", "1", {"a": b"one"}, Layout((into(parent / "patterns"),)))
    old = machine.facts().by_component["rules"]
    (parent / "patterns").rename(parent / "aside")
    (parent / "patterns").symlink_to(victim)
    os.chown(parent, SOMEBODY, SOMEBODY)
    way = step(old, machine.release("rules", "2", {"b": b"two"}), Layout((into(good),)))
    (outcome,) = machine.deploy(replace(way, from_digest=machine.facts().by_component["rules"].digest))
    assert outcome.status == "changed"
    assert untouched(victim)
    assert (good / "b").read_bytes() == b"two"
