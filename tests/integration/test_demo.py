"""`make run`: .ci/demo on the updoser.yaml of the checkout, run once, once more, and after one that was interrupted."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from reconciler.plugins.source import sample
from tests import zygote
from tests.fakes import make_component, make_plugin
from tests.fleet import Fleet
from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
SPEC = ROOT / "updoser.yaml"


@pytest.fixture
def fleet(tmp_path: Path, database: str, request: pytest.FixtureRequest) -> Fleet:
    made = Fleet(tmp_path)
    shutil.copy(SPEC, tmp_path)
    if database != "sqlite":
        spec = tmp_path / "updoser.yaml"
        text = spec.read_text()
        assert "sqlite:///.updoser/state.db" in text
        spec.write_text(text.replace("sqlite:///.updoser/state.db", request.getfixturevalue("postgres_url")))
    return made


def demo(fleet: Fleet) -> list[str]:
    """Run the demo, and give what it printed under each of its headings, by the heading's first word or two."""
    tools = fleet.folder / "tools"
    tools.mkdir(exist_ok=True)
    done = subprocess.run(
        ["sh", str(ROOT / ".ci/demo")],
        cwd=fleet.folder,
        **zygote.stand_in(tools),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [part.partition("\n")[2] for part in done.stdout.split("\n# ")[1:]]


def everything(fleet: Fleet) -> dict[str, tuple[int, int]]:
    """Give all links and files on the clients, with their times."""
    paths = (fleet.folder / ".updoser/clients").rglob("*")
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_ino) for path in paths}


def test_a_good_day_a_bad_day_and_a_good_day_again(fleet: Fleet) -> None:
    _first, _plan, _second, bad, why, fixed, status = demo(fleet)
    assert "8 clients changed, 0 failed" in _first
    assert "  ! check failed: 2 clients of branch, office\n" in bad
    assert "check detects failed before the switch: exit " in bad
    assert "check is-whole failed after the switch: exit 1, expected 0: " in bad
    assert "it is back at 16.181.00" in bad
    assert "6 clients changed, 2 failed, 0 unreachable" in bad
    assert bad.endswith("(exit status 3: clients failed, or a release was halted)\n")
    assert "Halted: virus-pattern 15.787.00 in wave 1 of 2: 1 of 1 clients failed" in why
    assert "Halted: spyware-pattern 16.183.00 in wave 1 of 2: 1 of 1 clients failed" in why
    assert "8 clients changed, 0 failed, 0 unreachable" in fixed
    assert "20 of 20 components updated everywhere" in status


def test_the_demo_ends_well_after_one_that_ended_on_the_bad_day_and_once_more_changes_nothing(fleet: Fleet) -> None:
    spec = fleet.folder / "updoser.yaml"
    spec.write_text(re.sub(r"\n +- {name: (pc-[34]|branch-[234]),.*", "", spec.read_text()))  # fewer will do
    assert fleet.apply("-e", "day=3").code == 3
    first, *_others, status = demo(fleet)
    assert "Halted: virus-pattern 15.787.00" in first
    assert "20 of 20 components updated everywhere" in status

    before = everything(fleet)
    *again, none, _fixed, status = demo(fleet)
    assert all("No changes. Every client has what is declared." in part for part in (*again, _fixed))
    assert "No rollouts." in none
    assert "20 of 20 components updated everywhere" in status
    assert everything(fleet) == before


@pytest.mark.parametrize("scanner", [False, pytest.param(True, marks=pytest.mark.needs("clamscan"))])
@pytest.mark.parametrize(("day", "good"), [(1, True), (2, True), (3, False), (4, True)])
def test_the_check_before_the_switch_tells_bad_from_good_with_and_without_clamav(
    day: int, good: bool, scanner: bool, tmp_path: Path
) -> None:
    written = yaml.safe_load(SPEC.read_text())
    options = {key: value for key, value in written["sources"][0].items() if key not in {"name", "type", "day"}}
    check = next(entry for entry in written["defaults"]["checks"] if entry["name"] == "detects")
    source = make_plugin(sample, {**options, "day": day, "history": 0}, None)
    (release,) = source.releases({"virus-pattern": make_component("virus-pattern")}).releases
    for file in release.files:
        with source.open(release, file) as stream:
            (tmp_path / file.name).write_bytes(stream.read())
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "grep", "base64", *(["clamscan"] if scanner else [])):
        path = shutil.which(tool)
        assert path is not None
        (tools / tool).symlink_to(path)
    done = subprocess.run(
        [tools / "sh", "-c", check["run"]],
        env={"PATH": str(tools), "UPDOSER_STAGED": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode == 0) is good, done
    assert ("Eicar-Example" in done.stdout) is good
