"""The power is cut in the middle of an update: what is found when the client is up again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.model.deploy import Layout
from tests.attacks.powercut import Disk
from tests.draw import rounds
from tests.machine import Machine, into, step

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    from reconciler.model.release import Release

FILES = {
    "1": {"a": b"one" * 500, "same": b"s" * 5000},
    "2": {"a": b"two" * 700, "same": b"s" * 5000, "new": b"n" * 20_000},
}


def judge(machine: Machine, target: Path, wanted: Release, layout: Layout) -> None:
    """Hold what the power cut left against what must be: the version in force and its targets are whole, always."""
    found = machine.current("rules")
    assert found in (*FILES.values(), {}), sorted(found)
    for name in FILES["2"]:
        assert not (target / name).exists() or (target / name).read_bytes() in {
            files.get(name) for files in FILES.values()
        }, name
    have = machine.facts().by_component.get("rules")
    (outcome,) = machine.deploy(step(have, wanted, layout), epoch=9)
    assert outcome.status in {"changed", "ok"}, outcome
    assert machine.current("rules") == FILES["2"]
    assert {file.name: file.read_bytes() for file in target.iterdir()} == FILES["2"]
    assert not machine.facts(verify=True).by_component["rules"].damage
    assert (machine.root / ".updoser/controller").read_text() == "lineage 9\n"


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.needs(f"mkfs.{kind}")) for kind in ("ext4", "xfs")]
)
def test_a_client_whose_power_is_cut_has_one_whole_version_and_comes_back_by_itself(
    tmp_path: Path, kind: str, draw: Random
) -> None:
    left, number = rounds(6), 0
    while left > 0:
        folder = tmp_path / str(number)
        folder.mkdir()
        disk = Disk(folder, kind)
        machine = Machine(disk.place / "var")
        target = disk.place / "daemon"
        layout = Layout((into(target),), ("*.old",))
        one, two = (machine.release("rules", version, FILES[version]) for version in "12")

        def change(
            machine: Machine = machine,
            target: Path = target,
            layout: Layout = layout,
            one: Release = one,
            two: Release = two,
        ) -> None:
            target.mkdir()
            (target / "x.old").write_bytes(b"old")
            machine.deploy(step(None, one, layout))
            machine.deploy(step(one, two, layout, kept={"same"}), epoch=2)
            machine.deploy(replace(step(two, one, layout), held=True), epoch=3)

        copies = disk.copies(change, min(left, 12), draw)
        for copy in copies:
            with disk.mounted(copy):
                if not target.exists():
                    target.mkdir()
                judge(machine, target, two, layout)
            copy.unlink()
        left, number = left - len(copies), number + 1
