"""The wheel, built from the sdist, holds what the checkout holds and works from there."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from shutil import copy2
from textwrap import dedent
from typing import Any

import pytest

from reconciler import plugin_loader
from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    """Names of all files of the checkout that git doesn't ignore, also those that aren't committed yet."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE)
    if done.returncode:
        pytest.skip("not a git checkout")
    return sorted(name for name in done.stdout.split("\0") if name and (ROOT / name).is_file())


@pytest.fixture(scope="module")
def built(tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an sdist, and a wheel made from that sdist, of a clean copy of the checkout."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    dist = shared / "dist"
    with (shared / "dist.lock").open("w") as lock:  # one worker builds for all
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not dist.is_dir():
            tree = tmp_path_factory.mktemp("tree")
            for name in tracked:
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                copy2(ROOT / name, tree / name)
            made = tmp_path_factory.mktemp("made")
            command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(made), str(tree)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
            assert done.returncode == 0, done.stdout + done.stderr
            made.rename(dist)
    return dist


@pytest.fixture(scope="module")
def prefix(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like a virtual environment after the wheel was installed, without its programs."""
    folder = tmp_path_factory.mktemp("prefix")
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    (data,) = (folder / "site").glob("updoser-*.data")
    (data / "data" / "share").rename(folder / "share")
    (data / "data").rmdir()
    data.rmdir()
    (folder / "bin").mkdir()
    return folder


@pytest.fixture(scope="module")
def site(prefix: Path) -> Path:
    """A folder that looks like site-packages after the wheel was installed."""
    return prefix / "site"


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def python(site: Path, program: str) -> Any:
    """Run a program that finds updoser in `site` before the checkout, and give what it prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", dedent(program)],
        cwd=site.parent,
        env={"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("folder", ["plugins", "schema"])
def test_the_wheel_has_the_files_of_the_checkout_and_no_others(site: Path, tracked: list[str], folder: str) -> None:
    below = f"{folder}/"
    expected = {name.removeprefix(below) for name in tracked if name.startswith(below)}
    found = set(files_below(site / "reconciler" / folder)) - ({"__init__.py"} if folder == "plugins" else set())
    assert found == expected


def test_the_wheel_has_every_module_and_the_client_script(site: Path, tracked: list[str]) -> None:
    expected = {name for name in tracked if name.startswith("reconciler/")}
    assert expected <= set(files_below(site))
    assert "reconciler/client/script/10-common.sh" in files_below(site)


def test_nothing_but_the_package_lies_at_the_top_of_site_packages(site: Path) -> None:
    top = {path.name.partition("-")[0] for path in site.iterdir()}
    assert top == {"reconciler", "updoser"}
    assert [path.name for path in site.iterdir() if path.name.startswith("updoser")] == [
        path.name for path in site.glob("updoser-*.dist-info")
    ]


def test_the_wheel_brings_the_command_and_the_license(site: Path) -> None:
    info = next(site.glob("updoser-*.dist-info"))
    assert "updoser = reconciler.__main__:main" in (info / "entry_points.txt").read_text(encoding="utf-8")
    assert (info / "licenses" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@pytest.mark.needs("man")
def test_man_finds_the_pages_of_an_installed_updoser(prefix: Path, tracked: list[str]) -> None:
    assert files_below(prefix / "share") == [name for name in tracked if name.startswith("man/")]
    where = {"PATH": f"{prefix / 'bin'}:{os.environ['PATH']}"}  # from there `man` comes to share/man
    for page in ("man1/updoser.1", "man1/updoser-plan.1", "man1/updoser-rollout.1", "man5/updoser.yaml.5"):
        name = Path(page).stem
        done = subprocess.run(
            ["man", "-w", name], env=where, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        assert done.stdout == f"{prefix / 'share/man' / page}\n", done.stderr


def test_the_sdist_has_what_the_tests_and_the_build_need(built: Path, tracked: list[str]) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        members = {str(PurePosixPath(*PurePosixPath(name).parts[1:])) for name in sdist.getnames()}
    assert set(tracked) <= members


def test_an_installed_updoser_finds_its_own_plugins_and_schemas(site: Path) -> None:
    found = python(
        site,
        """
        import json
        from reconciler import plugin_loader

        print(json.dumps({
            "folders": [str(plugin_loader.bundled_folder()), str(plugin_loader.schema_folder())],
            "plugins": {
                kind: [plugin.name for plugin in plugin_loader.available(kind) if plugin.origin == "bundled"]
                for kind in plugin_loader.KINDS
            },
            "modules": [
                plugin_loader._module(plugin).__file__
                for kind in plugin_loader.KINDS
                for plugin in plugin_loader.available(kind)
                if plugin.origin == "bundled"
            ],
        }))
        """,
    )
    assert found["folders"] == [str(site / "reconciler" / "plugins"), str(site / "reconciler" / "schema")]
    assert found["plugins"] == {
        kind: [plugin.name for plugin in plugin_loader.available(kind) if plugin.origin == "bundled"]
        for kind in plugin_loader.KINDS
    }
    assert all(Path(module).is_relative_to(site) for module in found["modules"])
