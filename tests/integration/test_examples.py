"""Examples of the pages, word for word."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from docs.make import pictures
from tests.fleet import Fleet
from tests.pages import ROOT, example, marked

if TYPE_CHECKING:
    from tests.pages import Example


def in_folder(folder: Path) -> Fleet:
    fleet = Fleet.__new__(Fleet)
    object.__setattr__(fleet, "folder", folder)
    return fleet


@pytest.fixture(scope="module")
def first_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo after its first day."""
    fleet = in_folder(tmp_path_factory.mktemp("demo"))
    shutil.copy(ROOT / "updoser.yaml", fleet.folder)
    assert fleet.apply().code == 0
    return fleet.folder


@pytest.fixture
def demo(first_demo: Path, tmp_path: Path) -> Fleet:
    return in_folder(shutil.copytree(first_demo, tmp_path / "demo", symlinks=True))


def test_the_plan_that_readme_shows_is_what_the_demo_prints(demo: Fleet) -> None:
    shown = example("run:plan")
    assert demo.run(*shown.commands[0]).out == shown.prints


def test_the_picture_of_the_plan_is_what_a_terminal_shows(demo: Fleet) -> None:
    drawn = pictures.picture(pictures.command(), pictures.shown(demo.folder, pictures.command()))
    kept = pictures.PICTURE.read_text(encoding="utf-8")
    assert kept == drawn, "the picture is out of date: `make pictures` makes it"
    assert "http" not in kept.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize("shown", marked("run:demo"), ids=str)
def test_commands_that_a_page_runs_on_the_demo_do_what_it_shows(shown: Example, demo: Fleet) -> None:
    for command in shown.commands:
        done = demo.run(*command)
        assert done.code == 0, done.err
        if shown.language == "console":
            assert re.fullmatch(re.escape(shown.prints).replace(r"\[\.\.\.\]", ".*"), done.out, flags=re.DOTALL), (
                done.out
            )


def test_the_spec_of_the_first_fleet_is_valid_but_for_the_key_that_a_reader_brings(tmp_path: Path) -> None:
    (tmp_path / "updoser.yaml").write_text(example("first-fleet").text)
    fleet = in_folder(tmp_path)
    refused = fleet.run("validate")
    assert refused.code == 65
    assert refused.err.count("updoser.yaml:") == 1
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/updoser").write_text("key")
    done = fleet.run("validate")
    assert done.code == 0
    assert "1 component, 1 source, 1 group, 2 clients" in done.out


@pytest.mark.parametrize("mark", ["run:first-steps", "run:quickstart"])
def test_the_first_steps_work_on_a_machine_that_has_no_clients_yet(mark: str, tmp_path: Path) -> None:
    fleet = in_folder(tmp_path)
    (tmp_path / "lpt$vpn.679").write_bytes(b"x")
    steps = [command for shown in marked(mark) for command in shown.commands]
    assert [command[0] for command in steps[:2]] == ["release", "init"]
    for command in steps:
        if command not in {("doctor",), ("plan",), ("apply",)}:  # these need the clients of the file that was edited
            done = fleet.run(*command)
            assert done.code == 0, done.err
    assert fleet.run("validate").code == 0
    done = fleet.run("plan", "--no-exec")
    assert done.code == 0
    assert "virus-pattern" in done.out
    assert "unknown 1" in done.out


def test_a_release_gets_the_incremental_that_its_page_makes(tmp_path: Path) -> None:
    fleet = in_folder(tmp_path)
    assert fleet.run("init", "--from", "officescan").code == 0
    old = Path(tmp_path / "upstream/virus-pattern/16.677.00")
    old.mkdir(parents=True)
    (old / "lpt$vpn.677").write_bytes(b"pattern" * 9000)
    (tmp_path / "lpt$vpn.679").write_bytes(b"pattern" * 9000 + b"new")
    [command] = example("run:incremental").commands
    done = fleet.run(*command)
    assert done.code == 0, done.err
    assert (tmp_path / "upstream/virus-pattern/incrementals/16.677.00..16.679.00/incremental.json").is_file()


def test_init_asks_an_inventory_program(tmp_path: Path) -> None:
    program = tmp_path / "list"
    program.write_text('#!/bin/sh\necho \'{"web": {"hosts": ["a", "b"]}, "_meta": {"hostvars": {}}}\'\n')
    program.chmod(0o755)
    fleet = in_folder(tmp_path)
    done = fleet.run("init", "--inventory", str(program))
    assert done.code == 0, done.err
    assert "2 of 2 clients are in web" in (tmp_path / "updoser.yaml").read_text()
    assert fleet.run("validate").code == 0
