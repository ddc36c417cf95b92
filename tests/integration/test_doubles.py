"""One machine that the fleet lists under two names."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.fleet import Fleet
from tests.machine import SHELLS, Machine


class Doubled(Fleet):
    """Two groups that want another file each, and whose clients are one folder; and a client that is by itself."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "clients").mkdir()
        (folder / "link").symlink_to(folder / "clients")
        groups = {"rest": self.group("clients/pc-3", "pc-3")}
        for group, root, client in (("lab", "clients", "pc-1"), ("office", "link", "pc-2")):
            (folder / f"{group}.j2").write_text(f"{group}\n")
            settings = {"template": f"{group}.j2", "path": str(folder / "agent.conf")}
            groups[group] = {**self.group(f"{root}/pc", client), "settings": [settings]}
        self.write(groups=groups)

    def group(self, root: str, client: str) -> dict[str, object]:
        return {"transport": {"type": "local"}, "install_root": root, "clients": [{"name": client}]}


TOLD = "pc-1 is the same machine as pc-2 (one install_root): keep one of the names"


def test_one_machine_under_two_names_is_held_under_both_and_all_others_go_on(tmp_path: Path) -> None:
    fleet = Doubled(tmp_path)
    fleet.release("rules", "1", a=b"one")
    for _again in range(2):
        plan = fleet.run("plan", "--format", "json").json
        assert {(entry["group"], entry["reason"]) for entry in plan["held"]} == {("lab", TOLD), ("office", TOLD)}
        assert TOLD in plan["problems"]
        assert TOLD in fleet.run("plan").out
        fleet.apply()
        assert fleet.current("pc-3", "rules") == {"a": b"one"}
        assert not fleet.root("pc").exists()
        assert not (tmp_path / "agent.conf").exists()
    fleet.write(groups={name: group for name, group in fleet.spec["groups"].items() if name != "office"})
    done = fleet.apply()
    assert done.code == 0, done.err
    assert fleet.current("pc", "rules") == {"a": b"one"}
    assert (tmp_path / "agent.conf").read_text() == "lab\n"


def test_a_second_name_for_what_is_there_already_changes_nothing_of_it(tmp_path: Path) -> None:
    fleet = Doubled(tmp_path)
    both = fleet.spec["groups"]
    fleet.write(groups={"lab": both["lab"]})
    fleet.release("rules", "1", a=b"one")
    assert fleet.apply().code == 0
    before = fleet.listing()
    fleet.release("rules", "2", a=b"two")
    fleet.write(groups=both)
    for _again in range(2):
        fleet.apply()
        assert {path: was for path, was in fleet.listing().items() if "/pc-3" not in path} == before
        assert (tmp_path / "agent.conf").read_text() == "lab\n"
        assert fleet.current("pc-3", "rules") == {"a": b"two"}
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        assert boot not in "".join(connection.iterdump())
    assert boot not in fleet.run("plan", "--format", "json").out


@pytest.mark.parametrize("shell", SHELLS)
def test_a_folder_is_the_same_by_whatever_path_and_folders_of_one_machine_are_several(
    tmp_path: Path, shell: str
) -> None:
    machine = Machine(tmp_path, shell)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)

    def identity(path: Path) -> str:
        return machine.session.facts(str(path)).machine

    new = identity(machine.root)
    assert new
    assert identity(link / "root") == new
    assert identity(tmp_path / "other") != new
    machine.install("rules", "1", {"a": b"one"})
    there = identity(machine.root)
    assert identity(link / "root") == there == identity(machine.root)
    assert identity(tmp_path / "other") != there
