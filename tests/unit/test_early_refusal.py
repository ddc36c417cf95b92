"""What can't work is refused before a source or a client is looked at."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import click
import pytest

from docs.make.facts import commands
from reconciler import cli
from reconciler.cli.places import FilePath, SpareCommand
from reconciler.cli.root import cli as updoser
from reconciler.errors import UsageError
from reconciler.files import check_writable
from reconciler.present.terminal import Terminal
from tests.fleet import Fleet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.unit.workbench import Opened

KEY = "k" * 32
COMMANDS = dict(commands(updoser))


def refused(fleet: Fleet, arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run a command, see that it opened nothing, and give how it ended."""
    code = cli.run([*arguments, "-f", str(fleet.folder / "updoser.yaml")], Terminal())
    assert not (fleet.folder / "state.db").exists()
    assert not (fleet.folder / "store").exists()
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["plan", "--out", "{}/no/plan.json"], 1, "isn't there\n  mkdir -p"),
        (["plan", "--out", "{}"], 1, "it is a folder"),
        (["plan", "--out", "{}/updoser.yaml"], 64, "--file reads that file"),
        (["plan", "--out", "{}/plan.json", "--sign", "{}/none"], 1, "can't be read"),
        (["plan", "--out", "{}/plan.json", "--sign", "{}/short"], 1, "it needs at least 32"),
        (["plan", "--sign", "{}/key"], 64, "--out FILE"),
        (["apply", "--auto-approve", "--sign", "{}/key"], 64, "name PLAN_FILE"),
        (["apply", "{}/plan.json", "--sign", "{}/short"], 1, "it needs at least 32"),
    ],
)
def test_a_plan_file_that_cannot_be_written_or_signed_is_refused_before_anything_is_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: Sequence[str], code: int, says: str
) -> None:
    fleet = Fleet(tmp_path)
    (tmp_path / "short").write_text("short")
    (tmp_path / "key").write_text(KEY)
    before = sorted(tmp_path.iterdir())
    ended, said = refused(fleet, [part.format(tmp_path) for part in arguments], capsys)
    assert (ended, says in said) == (code, True), said
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["plan", "--out", "a.json", "--json-into", "a.json"], "--json-into a.json: --out writes that file"),
        (["plan", "--out", "a.json", "--json-into", "link.json"], "--json-into link.json: --out writes that file"),
        (["apply", "--events", "a.json", "--json-into", "./a.json"], "--json-into a.json: --events writes that file"),
        (["plan", "--out", "key", "--sign", "key"], "--out key: --sign reads that file"),
        (["plan", "--out", "vars.yaml", "-e", "@vars.yaml"], "--out vars.yaml: --extra-var reads that file"),
        (["plan", "--json-into", "other.yaml", "--base", "other.yaml"], "--json-into other.yaml: --base reads"),
        (["apply", "a.plan", "--json-into", "a.plan"], "--json-into a.plan: PLAN_FILE reads that file"),
        (["schema", "--output", "updoser.yaml"], "--output updoser.yaml: --file reads that file"),
        (["status", "--json-into", "state.db"], "--json-into state.db: that is the state"),
        (["status", "--metrics-into", "updoser.yaml"], "--metrics-into updoser.yaml: --file reads that file"),
        (["status", "--metrics-into", "no/such.prom"], "--metrics-into no/such.prom: it can't be written: "),
        (["plan", "--events", "state.db-wal"], "--events state.db-wal: that is the state"),
        (["plan", "--out", "catalog.yaml"], "--out catalog.yaml: that is a file that the spec is made from"),
        (["plan", "--out", "base.yaml"], "--out base.yaml: that is a file that the spec is made from"),
        (["plan", "--out", "agent.j2"], "--out agent.j2: that is a file that the spec is made from"),
    ],
)
def test_no_command_begins_that_would_write_what_it_reads_or_one_file_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "agent.j2").write_text("a\n")
    fleet = Fleet(tmp_path)
    fleet.spec["groups"]["all"]["settings"] = [{"template": "agent.j2", "path": "/etc/agent"}]
    fleet.write()
    (tmp_path / "base.yaml").write_text((tmp_path / "updoser.yaml").read_text())
    (tmp_path / "updoser.yaml").write_text("extends: base.yaml\n")
    for name in ("other.yaml", "vars.yaml", "a.plan", "key"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "link.json").symlink_to("a.json")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    monkeypatch.chdir(tmp_path)
    code, said = refused(fleet, arguments, capsys)
    assert (code, says in said) == (64, True), said
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_one_device_may_be_written_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = Fleet(tmp_path).folder / "updoser.yaml"
    twice = ["--json-into", "/dev/null", "--events", "/dev/null"]
    assert cli.run(["status", "-f", str(file), *twice], Terminal()) == 0
    assert not capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_that_takes_a_path_says_whether_it_is_written(name: str) -> None:
    paths = [param for param in COMMANDS[name].params if isinstance(param.type, click.Path)]
    assert all(isinstance(param.type, FilePath) for param in paths)
    assert isinstance(COMMANDS[name], SpareCommand)


@pytest.mark.parametrize(
    "options",
    [
        {"targets": ("nothing",)},
        {"expedited": ("nothing",)},
        {"limit": "nobody"},
        {"limit": "a-0:&b-0"},
        {"limit": "g:!g"},
        {"limit": "&"},
        {"limit": "nobody", "refresh": False},
    ],
)
def test_a_target_or_limit_that_takes_nothing_is_refused_before_sources_and_clients_are_asked(
    opened: Opened, options: dict[str, str]
) -> None:
    bench = opened({"a": 1, "b": 1})
    bench.source.calls.clear()
    with pytest.raises(UsageError, match=r"--(target|expedite|limit)"):
        bench.plan(**options)
    assert not bench.source.calls
    assert not any(machine.calls for machine in bench.machines.values())


def test_a_rollback_with_a_limit_that_takes_nobody_asks_nothing_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Fleet(tmp_path).folder / "updoser.yaml"
    before = file.read_bytes()
    code = cli.run(["rollback", "rules", "--to", "1", "--limit", "c9", "-f", str(file)], Terminal())
    said = capsys.readouterr()
    assert (code, said.out) == (64, "")
    assert "`c9` takes no client" in said.err
    assert file.read_bytes() == before


def test_a_look_at_whether_a_file_can_be_written_leaves_what_is_there_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    check_writable(file)
    assert not [*tmp_path.iterdir()]
    file.write_text("before")
    check_writable(file)
    assert file.read_text() == "before"
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    check_writable(fifo)  # whoever is to read it needn't be there yet
    assert stat.S_ISFIFO(fifo.lstat().st_mode)
    with pytest.raises(OSError, match="No such file"):
        check_writable(tmp_path / "none" / "plan.json")
