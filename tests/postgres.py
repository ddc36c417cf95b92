"""PostgreSQL for tests: one real server for each worker, and a database of its own for each test.

The server is Debian's, started by a user who isn't root, with its data in memory where there is room, and ends with the
worker. It compares texts as people do (ICU's `en-US`) and not by their bytes, as servers out there do: what counts on
another order fails here.

Fixtures, for tests of any folder:

* `state_url`: the URL of the state of this test; the test runs twice, on SQLite and on PostgreSQL.
* `url_of`: the same for tests with several states: gives the URL of the state that belongs to a folder.
* `postgres_url`: PostgreSQL only; a database with the schema in force and nothing in it.
* `postgres`: the server itself: `empty()` is a database without a schema, `restart()` throws out whoever is connected.

A test that names `state_url` or `url_of` and can't run on PostgreSQL, as it handles the file itself, names
`@pytest.mark.parametrize("database", ["sqlite"], indirect=True)`. A module of unit tests with benches has them on both
kinds where it says `BENCHES_ON = BOTH`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from reconciler.storage.database import open_engine
from reconciler.storage.state import State
from tests.fakes import NOW
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import psycopg

BOTH = ("sqlite", pytest.param("postgresql", marks=pytest.mark.needs("initdb")))
"""The kinds of databases."""
OWNER = "updoser"
"""The role that owns all databases of tests; it may do anything."""
SETTINGS = {
    "fsync": "off",  # nothing here has to survive a power cut
    "full_page_writes": "off",
    "autovacuum": "off",
    "dynamic_shared_memory_type": "mmap",  # within its folder, and gone with it
    "max_connections": "100",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    "lock_timeout": "200s",  # of a test that waits for itself
    "log_min_messages": "warning",
}


@dataclass
class Postgres:
    """A server that runs, at a socket in `folder`, and on `port` of 127.0.0.1 where that isn't 0."""

    folder: Path
    port: int = 0
    migrated: str = ""
    """The database that others begin as copies of, once there is one."""
    _numbers: Iterator[int] = field(default_factory=count)

    @property
    def data(self) -> Path:
        """Give the folder of its data, with its configuration."""
        return self.folder / "data"

    def url(self, database: str, role: str = OWNER) -> str:
        """Give the URL of a database as `server.state` has it."""
        return f"postgresql+psycopg://{role}@/{database}?host={self.folder}"

    def url_by_port(self, database: str, role: str = OWNER) -> str:
        """Give the same for the network."""
        return f"postgresql+psycopg://{role}@127.0.0.1:{self.port}/{database}"

    def name_of(self, url: str) -> str:
        """Give the database that a URL names."""
        return url.partition("@")[2].partition("/")[2].partition("?")[0]

    @contextmanager
    def connected(self, database: str = "postgres", role: str = OWNER) -> Iterator[psycopg.Connection[Any]]:
        """Give a connection in which each statement is done at once."""
        import psycopg

        with psycopg.connect(host=str(self.folder), user=role, dbname=database, autocommit=True) as connection:
            yield connection

    def ask(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a statement and give its rows."""
        with self.connected(database) as connection:
            cursor = connection.execute(cast("Any", statement))
            return cursor.fetchall() if cursor.description else []

    def empty(self, like: str = "template0", name: str = "") -> str:
        """Make a database that has no schema, or is as another one is, and give its URL; a test's own needs no name."""
        name = name or f"test_{next(self._numbers)}"
        self.ask(f"CREATE DATABASE {name} TEMPLATE {like}")
        return self.url(name)

    def fresh(self, name: str = "") -> str:
        """Make a database with the schema in force and nothing in it, and give its URL."""
        if not self.migrated:
            url = self.empty(name="in_force")
            open_engine(url).dispose()  # it makes no identity: each state has one of its own
            self.migrated = self.name_of(url)
        return self.empty(self.migrated, name)

    def drop(self, url: str) -> None:
        """Forget a database, whoever is connected to it."""
        self.ask(f"DROP DATABASE IF EXISTS {self.name_of(url)} WITH (FORCE)")

    def restart(self, mode: str = "immediate") -> None:
        """Stop the server as `pg_ctl` does it, `immediate` as by a power cut, and start it again."""
        self._control("restart", "-m", mode)

    def stop(self, mode: str = "immediate") -> None:
        """Stop the server."""
        self._control("stop", "-m", mode)

    def start(self) -> None:
        """Start it again."""
        self._control("start")

    def configure(self, settings: Mapping[str, str]) -> None:
        """Write settings down; the server reads them at its next start."""
        with (self.data / "postgresql.auto.conf").open("a") as file:
            for name, value in settings.items():
                file.write(f"{name} = '{value}'\n")

    def _control(self, *arguments: str) -> None:
        command = ["pg_ctl", "-D", str(self.data), "-w", "-t", f"{PATIENCE:.0f}", "-s", "-l", str(self.folder / "log")]
        _as_somebody(self.folder, [*command, *arguments])


def _as_somebody(folder: Path, command: list[str]) -> None:
    """Run a program of PostgreSQL, which refuses to be root, with nothing of the environment of the tests."""
    program = shutil.which(command[0])
    assert program is not None, command[0]
    who: dict[str, Any] = {}
    if os.getuid() == 0:
        user = _user()
        who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    with (folder / "programs.log").open("ab") as said:
        done = subprocess.run(
            [program, *command[1:]],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            check=False,
            **who,
        )
        if done.returncode:
            log = folder / "log"
            raise RuntimeError(
                f"{command[0]} ended with {done.returncode}: {(folder / 'programs.log').read_text()[-2000:]}"
                f"{log.read_text()[-2000:] if log.exists() else ''}"
            )


def _user() -> pwd.struct_passwd:
    """Give who runs the server where the tests are run by root."""
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


@contextmanager
def postgres_server(port: int = 0, **settings: str) -> Iterator[Postgres]:
    """Run a server for the time of the block, with further settings."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # a short path: sockets have few characters
    server = Postgres(folder, port)
    try:
        if os.getuid() == 0:
            os.chown(folder, _user().pw_uid, _user().pw_gid)
        _as_somebody(folder, [
            "initdb", "-D", str(server.data), "-U", OWNER, "-A", "trust", "-E", "UTF8", "--no-sync",
            "--no-instructions", "--locale", "C.UTF-8", "--locale-provider", "icu", "--icu-locale", "en-US",
        ])  # fmt: skip
        listens = {"port": str(port), "listen_addresses": "127.0.0.1"} if port else {"listen_addresses": ""}
        server.configure(SETTINGS | listens | {"unix_socket_directories": str(folder)} | settings)
        with _ended_with_us(server):
            server.start()
            yield server
            if (server.data / "postmaster.pid").exists():
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _ended_with_us(server: Postgres) -> Iterator[None]:
    """End a server at the end of the block, and where who runs the tests is killed within it: then a pipe ends."""
    end = 'read -r _; pg_ctl -D "$1/data" -s -m immediate stop; rm -rf "$1"'
    who = {"user": _user().pw_uid, "group": _user().pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
    watch: Any = subprocess.Popen(
        ["sh", "-c", end, "sh", str(server.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        **who,  # type: ignore[call-overload]
    )
    try:
        yield
    finally:
        watch.stdin.close()
        watch.wait()


# --- fixtures: tests/conftest.py offers them to all tests ------------------------------------------------------------


@pytest.fixture(scope="session")
def postgres_of_worker() -> Iterator[Postgres]:
    """Give the server of this worker."""
    if shutil.which("initdb") is None:
        reason = "needs initdb: see .ci/debian-packages.txt"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    with postgres_server() as server:
        yield server


@pytest.fixture
def postgres(postgres_of_worker: Postgres) -> Iterator[Postgres]:
    """Give the server; the databases that a test makes are gone at its end."""
    yield postgres_of_worker
    for (name,) in postgres_of_worker.ask("SELECT datname FROM pg_database WHERE datname LIKE 'test%'"):
        postgres_of_worker.drop(postgres_of_worker.url(name))


@pytest.fixture
def postgres_url(postgres: Postgres) -> str:
    """Give the URL of a database with the schema in force and nothing in it."""
    return postgres.fresh()


@pytest.fixture(params=BOTH)
def database(request: pytest.FixtureRequest) -> str:
    """Give the kind of database that a test runs on."""
    return str(request.param)


@pytest.fixture
def url_of(database: str, request: pytest.FixtureRequest) -> Callable[[Path], str]:
    """Give what tells the URL of the state that belongs to a folder: always the same for the same folder."""
    if database == "sqlite":
        return lambda folder: f"sqlite:///{folder}/state.db"
    server: Postgres = request.getfixturevalue("postgres")
    made: dict[Path, str] = {}

    def url(folder: Path) -> str:
        if folder not in made:
            made[folder] = server.fresh()
        return made[folder]

    return url


@pytest.fixture
def state_url(url_of: Callable[[Path], str], tmp_path: Path) -> str:
    """Give the URL of the state of a test."""
    return url_of(tmp_path)


@pytest.fixture
def any_state(state_url: str) -> Iterator[State]:
    """Give a new state, open, in which it is always the same moment."""
    with State.open(state_url, clock=lambda: NOW) as opened:
        yield opened
