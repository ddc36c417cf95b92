"""States of earlier versions: what they know is kept, whatever happens while they are brought up to date."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from reconciler.errors import StateError
from reconciler.model.client import Client, Installed, Profile
from reconciler.model.offer import SourceReport
from reconciler.model.report import JournalEntry, Traffic
from reconciler.model.rollout import Approval, Cut
from reconciler.model.spec import Quarantine
from reconciler.storage import database
from reconciler.storage.migrations import MIGRATIONS, VERSION
from reconciler.storage.state import State
from reconciler.storage.tables import METADATA
from tests.fakes import make_release

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
STATES = Path(__file__).parent / "data" / "states"
"""States as earlier versions wrote them, dumped, by the version of their schema."""
EARLIER = range(1, VERSION)
GAINED = {
    2: {"sources": {"incrementals": "[]"}, "runs": dict.fromkeys(("received", "not_received", "sent", "saved"), 0)},
    3: {
        "clients": {"route": "direct"},
        "sources": {"withdrawn": "[]", "accepted": "", "cooldown_until": None},
    },
    4: {
        "clients": {"failing_since": None, "failures": 0, "quarantined": None, "settings": ""},
        "identity": {"settings_key": ""},
    },
    5: {"clients": {"machine": None}, "rollout_failures": {"fault": "release"}},
    6: {"rollouts": {"catches_up": 0, "had": "{}"}},
    7: {"runs": {"origin": "{}", "steps": "[]"}},
    8: {"journal": {"reason": ""}},
    9: {"lock": {"generation": None}, "clients": {"looked_at": None}},
    10: {},
    11: {
        "controller": {"progress": ""},
        "clients": {"back_at": None},
        "sources": {"signatures": "{}", "unfetched": "[]", "signed_up_to": "{}", "signed_until": None},
    },
    12: {
        "identity": {"fence": 0, "moved_to": ""},
        "lock": {"beat": 0, "beat_at": None, "fence": 0},
        "lease": {"beat_at": None},
        "runs": {"journal_from": 0},
        "journal": {"step": 0},
    },
    13: {"clients": {"mark": ""}},
}
"""What a step puts into the rows that are there, by its version."""
ONLY_SQLITE = {"clients_alike"}
"""Indexes that PostgreSQL has not."""
ODD = {"INTEGER": 2**31 - 1, "BIGINT": 2**63 - 1, "FLOAT": 1795521600.25, "BOOLEAN": 1}
OPEN = (
    "import sys; from datetime import datetime, UTC; from reconciler.storage.state import State\n"
    "State.open(sys.argv[1], clock=lambda: datetime.now(UTC)).close()\n"
)


def open_state(folder: Path) -> Any:
    return State.open(f"sqlite:///{folder}/state.db", clock=lambda: NOW)


def earlier(folder: Path, version: Any) -> Any:
    """Put a state of an earlier version into a folder."""
    path = folder / "state.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((STATES / f"{version}.sql").read_text(encoding="utf-8"))
    return path


def fill(path: Any) -> None:
    """Put rows into each table that hold odd values, or none where there may be none."""
    with closing(sqlite3.connect(path)) as connection:
        for table in cells(path):
            columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
            odd = [ODD.get(kind, f"{name}: 'ö\n\U0001f600\"") for _at, name, kind, *_rest in columns]
            bare = [ODD.get(kind, "") if needed else None for _at, _name, kind, needed, *_rest in columns]
            for row in (odd, [2 if value == 2**31 - 1 else value for value in bare]):
                marks = ", ".join("?" for _value in row)
                connection.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", row)
        connection.commit()


def cells(path: Any) -> Any:
    """Give the rows of each table but that of the version, by column, in the order in which they were written."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        named = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'schema_version'")
        return {
            table: [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY rowid")]
            for (table,) in named.fetchall()
        }


def migrate(folder: Path, version: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bring the state in a folder to a version, as the updoser did for which that was the newest."""
    monkeypatch.setattr(database, "VERSION", version)
    database.open_engine(f"sqlite:///{folder}/state.db").dispose()


def declared(statements: Any) -> Any:
    """Give what statements declare: the columns of each table, each a set of words, the keys and the indexes."""
    found = set()
    for statement in statements:
        words = " ".join(statement.replace("DEFAULT '0'", "DEFAULT 0").split())
        if added := re.fullmatch(r"ALTER TABLE (\w+) ADD COLUMN (.*)", words):
            found.add((added[1], frozenset(added[2].split())))
        elif made := re.fullmatch(r"CREATE TABLE (\w+) \((.*)\)", words):
            parts = re.split(r", (?![^(]*\))", made[2])
            found |= {(made[1], frozenset(part.split())) for part in parts}
        else:
            found.add(words)  # type: ignore[arg-type]
    return found


def version_of(path: Any) -> Any:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT version FROM schema_version").fetchall()


def schema(path: Any) -> Any:
    """Give the columns of each table, and the indexes."""
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {
            (table, name, kind, bool(needed), (default or "").strip("'"), key)
            for table in tables
            for _at, name, kind, needed, default, key in connection.execute(f"PRAGMA table_info({table})")
        }
        named = connection.execute("SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
        return columns, {re.sub(r"\s+", " ", text) for (text,) in named}


def dump(path: Any) -> Any:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def run(program: Any, path: Any) -> Any:
    return subprocess.Popen(
        [sys.executable, "-c", program, f"sqlite:///{path}"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("version", EARLIER)
def test_a_state_of_each_earlier_version_keeps_what_it_knows_and_learns_the_rest(tmp_path: Path, version: str) -> None:
    path = earlier(tmp_path, version)
    before = dump(path)
    with open_state(tmp_path) as state:
        identity = state.identity()
        assert (identity.lineage, identity.epoch, identity.serial) == ("c0ffee" * 5 + "12", 7, 1)
        assert not state.is_new()
        assert state.clients() == [
            Client("a", "g", address="192.0.2.1", labels=("canary",), vars={"site": "köln"}),
            Client("b", "g"),
        ]
        rows = sorted(state.rows())
        assert [row[:3] for row in rows] == [("a", "g", '["canary"]'), ("b", "g", "[]")]
        assert [row[4:6] for row in rows] == [("", "direct"), ("no connection: refused", "direct")]
        assert state.profiles()[rows[0][3]] == Profile("linux-x86_64", (Installed("rules", "1", "0" * 64),))
        assert state.journal_of("r1") == [
            JournalEntry(
                client="a",
                group="g",
                component="rules",
                from_version="",
                to_version="1",
                outcome="changed",
                message="",
                bytes=5,
                at=NOW,
            )
        ]
        assert state.run("r1").status == "done"
        assert state.plan_record("p1").status == "done"
        assert state.applied_spec() == {"version": 1}
        assert state.traffic() == Traffic()
        ((report, at),) = state.source_reports()
        assert (report.source, report.problems, at) == ("drop", ("odd",), NOW)
        assert [release.version for release in report.releases] == ["1"]
        assert (report.incrementals, report.withdrawn, report.accepted) == ((), (), "")
        assert state.first_seen() == {("rules", "1"): NOW}
        if version < 4:
            assert (state.rollouts(), state.rollout_failures()) == ({}, {})
    assert dump(tmp_path / f"state.db.backup-{version}") == before


def test_rollouts_and_quarantines_of_a_state_are_kept(tmp_path: Path) -> None:
    earlier(tmp_path, 4)
    with open_state(tmp_path) as state:
        record = state.rollouts()["rules", "2", ""]
        assert (record.status, record.reason, record.sizes) == ("halted", "1 of 1 failed", (1, 1))
        assert record.cuts == (Cut("label=canary"), Cut("", 2**32 - 1))
        assert record.approved == (Approval(2, "ann", NOW),)
        assert state.rollout_failures() == {record.key: {"a": "client failed: no"}}
        assert [entry.client for entry in state.quarantined(NOW, Quarantine().span)] == ["b"]
        assert state.settings_key() == bytes.fromhex("ab" * 32)


@pytest.mark.parametrize("version", EARLIER)
def test_a_state_of_each_earlier_version_becomes_what_a_new_one_is(tmp_path: Path, version: str) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
    earlier(old, version)
    for folder in (old, new):
        with open_state(folder) as state:
            state.count_outcome("b", Quarantine(after_failures=1), NOW, failed=True)
            offer = make_release("rules", "1", {"a": b"x"})
            state.record_source(SourceReport("s", (offer,)), NOW + timedelta(hours=1))
    assert schema(old / "state.db") == schema(new / "state.db")
    assert version_of(old / "state.db") == version_of(new / "state.db") == [(VERSION,)]


@pytest.mark.parametrize("version", EARLIER)
def test_no_step_changes_a_cell_that_is_there_and_new_columns_get_what_the_step_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: Any
) -> None:
    path = earlier(tmp_path, version)
    fill(path)
    expected = cells(path)
    assert [table for table, rows in expected.items() if len(rows) < 2] == []
    for step in range(version + 1, VERSION + 1):
        migrate(tmp_path, step, monkeypatch)
        found = cells(path)
        made = found.keys() - expected.keys()
        expected |= {table: [] for table in made}
        for table, values in GAINED[step].items():  # type: ignore[attr-defined]
            expected[table] = [row | values for row in expected[table]]
        assert found == expected
        assert version_of(path) == [(step,)]


@pytest.mark.parametrize("version", EARLIER)
def test_each_step_makes_the_tables_that_its_version_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    before, there = tmp_path / "before", tmp_path / "there"
    for folder in (before, there):
        folder.mkdir()
    if version > 1:
        earlier(before, version - 1)
    migrate(before, version, monkeypatch)
    assert schema(before / "state.db") == schema(earlier(there, version))


def say_conditions() -> None:
    """Give indexes of some rows their conditions, as dialects take them."""
    for index in (index for table in METADATA.sorted_tables for index in table.indexes if "where" in index.info):
        for dialect in ("sqlite", "postgresql"):
            index.dialect_options[dialect]["where"] = text(index.info["where"])


def test_the_tables_are_read_as_what_the_steps_make_of_them(tmp_path: Path) -> None:
    open_state(tmp_path).close()
    engine = create_engine(f"sqlite:///{tmp_path}/as-read.db")
    say_conditions()
    METADATA.create_all(engine)
    engine.dispose()
    assert schema(tmp_path / "state.db") == schema(tmp_path / "as-read.db")


def test_the_steps_say_to_postgresql_what_the_tables_are_read_as() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    say_conditions()
    tables = METADATA.sorted_tables
    indexes = (index for table in tables for index in table.indexes if index.name not in ONLY_SQLITE)
    read = [*map(CreateTable, tables), *map(CreateIndex, indexes)]
    every = (step for steps in MIGRATIONS.values() for step in steps)
    steps = [step if isinstance(step, str) else step.of("postgresql") for step in every]
    assert declared(filter(None, steps)) == declared([str(statement.compile(dialect=dialect)) for statement in read])  # type: ignore[attr-defined]


def test_a_state_of_each_earlier_version_is_at_hand_for_these_tests() -> None:
    assert [version for version in EARLIER if not (STATES / f"{version}.sql").exists()] == []


def test_a_migration_that_is_killed_half_way_has_changed_nothing_and_the_next_command_does_it(tmp_path: Path) -> None:
    path = earlier(tmp_path, 1)
    before = dump(path)
    kill = (
        "import os, signal; from sqlalchemy import Engine, event\n"
        "def kill(_connection, _cursor, statement, *_rest):\n"
        "    if statement.startswith('ALTER TABLE clients ADD COLUMN failures'): os.kill(os.getpid(), signal.SIGKILL)\n"
        "event.listen(Engine, 'before_cursor_execute', kill)\n"
    )
    process = run(kill + OPEN, path)
    assert process.communicate()[1] == ""
    assert process.returncode == -signal.SIGKILL
    assert dump(path) == before
    with open_state(tmp_path) as state:
        assert len(state.clients()) == 2
    assert version_of(path) == [(VERSION,)]
    assert dump(tmp_path / "state.db.backup-1") == before


@pytest.mark.parametrize("version", [0, 1])
def test_of_commands_that_begin_at_once_one_makes_or_migrates_the_state_and_none_fails(
    tmp_path: Path, version: int
) -> None:
    path = earlier(tmp_path, version) if version else tmp_path / "state.db"
    before = dump(path) if version else []
    processes = [run(OPEN, path) for _each in range(5)]
    assert [process.communicate()[1] for process in processes] == [""] * 5
    assert version_of(path) == [(VERSION,)]
    if version:
        assert dump(tmp_path / "state.db.backup-1") == before


def test_a_state_is_left_as_it_was_when_a_step_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_state(tmp_path):
        pass
    before = dump(tmp_path / "state.db")
    monkeypatch.setattr(database, "VERSION", VERSION + 1)
    monkeypatch.setattr(
        database, "MIGRATIONS", {VERSION + 1: ("ALTER TABLE clients ADD COLUMN extra TEXT", "nonsense")}
    )
    with pytest.raises(StateError, match="nonsense"):
        open_state(tmp_path)
    assert dump(tmp_path / "state.db") == before


def test_a_state_that_cannot_be_backed_up_is_not_migrated(tmp_path: Path) -> None:
    path = earlier(tmp_path, 1)
    (tmp_path / "state.db.backup-1").mkdir()
    with pytest.raises(StateError, match="backup-1"):
        open_state(tmp_path)
    assert version_of(path) == [(1,)]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["state.db", "state.db.backup-1"]


def test_a_backup_is_as_secret_as_the_state(tmp_path: Path) -> None:
    earlier(tmp_path, 4 if VERSION > 4 else 3)
    umask = os.umask(0)
    try:
        open_state(tmp_path).close()
    finally:
        os.umask(umask)
    (backup,) = tmp_path.glob("state.db.backup-*")
    assert backup.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("version", [VERSION + 1, 99])
def test_a_state_of_a_later_version_is_refused_with_both_versions_and_left_alone(tmp_path: Path, version: str) -> None:
    with open_state(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        connection.execute("UPDATE schema_version SET version = ?", (version,))
        connection.commit()
    with pytest.raises(StateError, match=rf"state\.db .*later version.* \(schema {version}, known {VERSION}\)"):
        open_state(tmp_path)
    assert version_of(tmp_path / "state.db") == [(version,)]
