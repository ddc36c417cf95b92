"""A state that is damaged, bit by bit or cell by cell, is an error that says so and what to do, never a fault."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest

from reconciler.cli import run
from reconciler.present.terminal import Terminal
from tests.draw import rounds
from tests.fleet import Fleet

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from random import Random
ODD = (
    None,
    "",
    "x",
    "\udcff",
    b"\xff\xfe",
    -1,
    2**63 - 1,
    -(2**63),
    1e300,
    float("inf"),
    0.5,
    "[",
    "null",
    "[1]",
    '{"a": 1}',
    '[{"a": 1}]',
    "[[1, 2, 3]]",
    '"\\ud800"',
    "9" * 5000,
    "[" * 100_000,
)
COMMANDS = (
    ["plan"],
    ["plan", "--limit", "c1"],
    ["plan", "--no-refresh", "--diff"],
    ["status"],
    ["status", "--format", "json"],
    ["history"],
    ["history", "--format", "json"],
    ["rollout", "list"],
    ["rollout", "pause", "rules"],
    ["unlock", "x"],
    ["apply", "--auto-approve"],
    ["apply", "--auto-approve", "--limit", "@failed"],
)
FAULT = "fault of updoser"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a fleet with some history: a release that all have, and a newer one under way."""
    folder = tmp_path_factory.mktemp("whole")
    clients = [{"name": f"c{n}", "install_root": f"clients/c{n}", "labels": ["x"]} for n in range(1, 5)]
    soaked = {"rollout": {"waves": [{"count": 1, "soak": "1h"}, {"share": "100%"}]}}
    group = {"transport": {"type": "local"}, "install_root": "clients", "clients": clients}
    fleet = Fleet(folder, groups={"all": group}, auto_update=soaked, components={"rules": {}})
    for version in ("1", "2"):
        fleet.release("rules", version, all_rules=version.encode())
        assert fleet.apply().code == 0
    return folder


@pytest.fixture
def fleet(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Path], None]], None]:
    """Give a copy, and what runs a command in it."""
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder, symlinks=True)
    monkeypatch.chdir(folder)
    state = whole / "state.db"

    def damage(change: Callable[[Path], None]) -> None:
        for left in folder.glob("state.db*"):
            left.unlink()
        shutil.copy(state, folder / "state.db")
        change(folder / "state.db")

    return damage


@pytest.fixture
def ran(capsys: pytest.CaptureFixture[str]) -> Callable[[list[str]], tuple[int, str]]:
    """Run a command; give its exit code and what it said."""

    def do(command: list[str]) -> tuple[int, str]:
        code = run(list(command), Terminal())
        shown = capsys.readouterr()
        return code, shown.out + shown.err

    return do


def columns(path: Path) -> list[tuple[str, str]]:
    """Give each column of each table."""
    with closing(sqlite3.connect(path)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return [(table, row[1]) for table in tables for row in database.execute(f"PRAGMA table_info({table})")]


def put(path: Path, table: str, column: str, value: object) -> None:
    """Put a value into a cell of each row, whatever the table's constraints say of it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA writable_schema = ON")
        loose = "UPDATE sqlite_master SET sql = replace(sql, 'NOT NULL', '') WHERE type = 'table'"
        database.execute(loose)
        database.execute("PRAGMA writable_schema = RESET")
        with suppress(sqlite3.IntegrityError):  # a key that must be a number
            if value == "\udcff":
                database.execute(f"UPDATE OR IGNORE {table} SET {column} = CAST(x'ff' AS TEXT)")
            else:
                database.execute(f"UPDATE OR IGNORE {table} SET {column} = ?", (value,))


def test_an_odd_cell_is_damage_of_the_state_and_no_fault(
    fleet: Callable[[Callable[[Path], None]], None],
    ran: Callable[[list[str]], tuple[int, str]],
    draw: Random,
    whole: Path,
) -> None:
    cells = columns(whole / "state.db")
    for _ in range(rounds(24)):
        (table, column), value = draw.choice(cells), draw.choice(ODD)
        fleet(partial(put, table=table, column=column, value=value))
        command = draw.choice(COMMANDS)
        _code, said = ran(command)
        assert FAULT not in said, (table, column, value, command, said[-1000:])
        assert "Traceback" not in said


def test_flipped_bits_are_damage_of_the_state_and_no_fault(
    fleet: Callable[[Callable[[Path], None]], None], ran: Callable[[list[str]], tuple[int, str]], draw: Random
) -> None:
    def flip(path: Path) -> None:
        data = bytearray(path.read_bytes())
        for _ in range(draw.choice((1, 10, 300))):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data)

    for _ in range(rounds(15)):
        fleet(flip)
        command = draw.choice(COMMANDS)
        _code, said = ran(command)
        assert FAULT not in said, (command, said[-1000:])


def test_damage_is_told_with_a_way_out(
    fleet: Callable[[Callable[[Path], None]], None], ran: Callable[[list[str]], tuple[int, str]]
) -> None:
    for table, column, value in (("rollouts", "cuts", "["), ("profiles", "data", "x"), ("clients", "error", b"x")):
        fleet(partial(put, table=table, column=column, value=value))
        code, said = ran(["plan", "--no-refresh"])
        assert code == 1, (table, column)
        assert "put a backup in its place, or move it away and use --adopt" in said
