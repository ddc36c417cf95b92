"""`plan --no-exec` makes only plugins that say of themselves that they run nothing and connect to nobody."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.fleet import ROOT, Fleet

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
MODULES = {
    "inventory": """
from reconciler.contracts import Traits
from reconciler.model.client import InventoryEntry
OPTIONS = {{"type": "object", "properties": {{"run": {{}}}}}}
{traits}
class PLUGIN:
    def __init__(self, options, context):
        (context.base / "inventory-made").touch()
    def clients(self):
        return [InventoryEntry("from-the-list")]
""",
    "source": """
from reconciler.contracts import Traits
from reconciler.model.offer import SourceReport
from reconciler.model.release import Release, ReleaseFile
OPTIONS = {{"type": "object", "properties": {{"url": {{"type": "string"}}, "trusted_root": {{"type": "string"}}}}}}
{traits}
class PLUGIN:
    def __init__(self, options, context):
        (context.base / "source-made").touch()
    def releases(self, components):
        return SourceReport("own", (Release("rules", "7", "any", (ReleaseFile("a", 1, "0" * 64),)),))
""",
    "codec": """
from reconciler.contracts import Traits
from reconciler.model.delta import CodecTraits
OPTIONS = {{"type": "object"}}
{traits}
class PLUGIN:
    def __init__(self, options, context):
        (context.base / "codec-made").touch()
    traits = CodecTraits(
        "own", tool="own", based=True, grades=(), memory=1, memory_old=1.0, memory_new=1.0, making=1.0, max_size=1
    )
""",
}


@pytest.fixture
def site(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Give what installs the three plugins as a package would, with what each says of itself."""

    def install(says: str) -> dict[str, str]:
        folder = tmp_path / "site"
        info = folder / "acme-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("".join(f"[updoser.{kind}]\nown = acme_{kind}\n" for kind in MODULES))
        for kind, text in MODULES.items():
            (folder / f"acme_{kind}.py").write_text(text.format(traits=says))
        return {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}

    return install


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    folder = tmp_path / "fleet"
    folder.mkdir()
    fleet = Fleet(folder, duplication={"codecs": {"own": {}, "gzip": {}}})
    fleet.spec["sources"].append({"name": "own", "type": "own", "trusted_root": "root.json"})
    fleet.spec["groups"]["listed"] = {
        "transport": {"type": "local"},
        "install_root": "clients/listed",
        "inventory": {"type": "own", "run": ["touch", "ran"]},
    }
    fleet.write()
    return fleet


def made(fleet: Fleet) -> set[str]:
    return {path.name.removesuffix("-made") for path in fleet.folder.glob("*-made")}


@pytest.mark.parametrize(
    ("says", "why"),
    [
        ("", "doesn't say what it does"),
        ("TRAITS = Traits(programs=True)", "it runs programs"),
        ("TRAITS = lambda options: Traits(network=True)", "it connects to hosts"),
    ],
)
def test_what_is_not_declared_harmless_is_not_made_and_the_plan_says_so(
    fleet: Fleet, site: Callable[[str], dict[str, str]], says: str, why: str
) -> None:
    done = fleet.run("plan", "--no-exec", **site(says))
    assert done.code == 0, done.err
    assert made(fleet) == set()
    for left_out in ("source own isn't asked", "the inventory of group listed isn't asked", "the codec own isn't used"):
        assert any(left_out in line and why in line for line in done.out.splitlines()), done.out


def test_what_declares_that_it_is_harmless_is_asked(fleet: Fleet, site: Callable[[str], dict[str, str]]) -> None:
    done = fleet.run("plan", "--no-exec", **site("TRAITS = Traits()"))
    assert done.code == 0, done.err
    assert made(fleet) == {"source", "inventory", "codec"}
    assert "unknown 4" in done.out


def test_without_it_a_plugin_is_used_whatever_it_says(fleet: Fleet, site: Callable[[str], dict[str, str]]) -> None:
    fleet.run("plan", **site(""))
    assert made(fleet) == {"source", "inventory", "codec"}
