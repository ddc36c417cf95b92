"""README's commands, word for word."""

import re
import shutil
from pathlib import Path

from tests.fleet import Fleet

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def demo(folder):
    fleet = Fleet(folder)
    shutil.copy(ROOT / "updoser.yaml", folder / "updoser.yaml")
    return fleet


def test_the_plan_that_readme_shows_is_what_the_demo_prints(tmp_path):
    command, shown = re.search(r"```console\n\$ updoser ([^\n]+)\n(.*?)```", README, flags=re.DOTALL).groups()
    fleet = demo(tmp_path)
    assert fleet.apply().code == 0
    assert fleet.run(*command.split()).out == shown


def test_the_spec_of_the_first_fleet_is_valid_but_for_the_key_that_a_reader_brings(tmp_path):
    text = re.search(r"   ```yaml\n(   version: 1\n.*?)   ```", README, flags=re.DOTALL)[1]
    (tmp_path / "updoser.yaml").write_text(re.sub(r"^   ", "", text, flags=re.MULTILINE))
    fleet = Fleet.__new__(Fleet)
    object.__setattr__(fleet, "folder", tmp_path)
    refused = fleet.run("validate")
    assert refused.code == 65
    assert refused.err.count("updoser.yaml:") == 1
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/updoser").write_text("key")
    done = fleet.run("validate")
    assert done.code == 0
    assert "1 component, 1 source, 1 group, 2 clients" in done.out


def test_init_writes_a_file_that_validates_and_its_next_steps_work(tmp_path):
    fleet = Fleet.__new__(Fleet)
    object.__setattr__(fleet, "folder", tmp_path)
    assert fleet.run("init", "--from", "officescan").code == 0
    assert fleet.run("validate").code == 0
    (tmp_path / "lpt$vpn.679").write_bytes(b"x")
    added = fleet.run("release", "add", "virus-pattern", "16.679.00", "lpt$vpn.679", "--to", "upstream")
    assert added.code == 0
    done = fleet.run("plan", "--no-exec")
    assert done.code == 0
    assert "virus-pattern" in done.out
    assert "unknown 1" in done.out


def test_init_asks_an_inventory_program(tmp_path):
    program = tmp_path / "list"
    program.write_text('#!/bin/sh\necho \'{"web": {"hosts": ["a", "b"]}, "_meta": {"hostvars": {}}}\'\n')
    program.chmod(0o755)
    fleet = Fleet.__new__(Fleet)
    object.__setattr__(fleet, "folder", tmp_path)
    done = fleet.run("init", "--inventory", str(program))
    assert done.code == 0, done.err
    assert "2 of 2 clients are in web" in (tmp_path / "updoser.yaml").read_text()
    assert fleet.run("validate").code == 0
