"""Opens the database of the state, brings its schema up to date, and turns its errors into ours."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event, inspect, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from reconciler.errors import StateError
from reconciler.files import sync_folder
from reconciler.storage import postgres
from reconciler.storage.bulk import insert_rows, upsert_arrays
from reconciler.storage.cells import cleaned, sound
from reconciler.storage.migrations import MIGRATIONS, VERSION
from reconciler.storage.tables import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Engine, Table
    from sqlalchemy.dialects import postgresql, sqlite
    from sqlalchemy.engine import URL
    from sqlalchemy.sql.selectable import FromClause

_BUSY_SECONDS = 30
SHARED = frozenset(
    [
        ("insert", "requests", None),
        *((change, "sessions", None) for change in ("insert", "update", "delete")),
        ("insert", "controller", None),
        ("update", "controller", "asked"),
    ]
)
"""All that the console writes, as changes of tables, and of which columns (None: all): what people ask, who is signed
in, and that the controller is to wake up."""
_CHANGES = {sqlite3.SQLITE_INSERT: "insert", sqlite3.SQLITE_UPDATE: "update", sqlite3.SQLITE_DELETE: "delete"}
_READS = frozenset(
    [
        *(sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE),
        *(sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_PRAGMA, sqlite3.SQLITE_SAVEPOINT),
    ]
)


def open_engine(url: str, password: str | None = None) -> Engine:
    """Open a database and bring its schema up to date; an SQLite file is backed up before it is changed.

    Raises:
        StateError: it can't be opened, is no state, or was written by a later version of updoser.
    """
    target = _target(url, password)
    with mapped(target):
        engine = _engine(target)
        try:
            with sound(target.database):
                _migrate(engine, target)
        except BaseException:
            engine.dispose()
            raise
    return engine


def open_shared_engine(url: str, password: str | None = None, *, careful: bool = False) -> Engine:
    """Open a database that belongs to another process: what isn't there isn't made, and an earlier schema stays.

    In an SQLite file the database itself refuses to write any table but those of `SHARED`; elsewhere that is for the
    rights of the role. `careful`: a server gets no password from which it could learn it.

    Raises:
        StateError: it isn't there, can't be opened, is no state, or has the schema of another version.
    """
    target = _target(url, password)
    if careful:
        target = target.update_query_dict({"require_auth": "none,scram-sha-256"})
    is_file = target.get_backend_name() == "sqlite"
    if is_file and not Path(target.database or "").is_file():
        raise StateError(f"there is no state at {target.database} yet", hint="`updoser apply` or `run` makes it")
    with mapped(target):
        engine = _engine(target, shared=True)
        try:
            with sound(target.database), engine.connect() as connection:
                known = SCHEMA.name in inspect(connection).get_table_names()
                version = _version(connection, target) if known else 0
        except BaseException:
            engine.dispose()
            raise
    if version != VERSION:
        engine.dispose()
        raise StateError(
            f"the state {target.database} is of an earlier version of updoser",
            hint="`updoser status` brings it up to date",
        )
    return engine


def _engine(url: URL, *, shared: bool = False) -> Engine:
    is_file = url.get_backend_name() == "sqlite"
    engine = _sqlite_engine(url, shared=shared) if is_file else postgres.engine_of(url)

    @event.listens_for(engine, "before_cursor_execute", retval=True)
    def _clean(*given: Any) -> tuple[str, Any]:
        _connection, _cursor, statement, parameters, *_rest = given
        return statement, cleaned(parameters)

    return engine


def _target(url: str, password: str | None) -> URL:
    try:
        target = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise StateError(f"server.state: {url!r} is no database URL") from error
    if target.drivername == "postgresql":  # what SQLAlchemy takes for it isn't what updoser[postgresql] brings
        target = target.set(drivername="postgresql+psycopg")
    return target if password is None else target.set(password=password)


@contextmanager
def mapped(url: URL) -> Iterator[None]:
    """Turn errors of the database into StateError; its message names the place, without the password."""
    place = url.database if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)
    try:
        yield
    except ModuleNotFoundError as error:
        raise StateError(f"the state {place} needs the package {error.name}") from error
    except DBAPIError as error:
        words = " ".join(str(error.orig).split())
        in_doubt = isinstance(error, _InDoubtError)
        if in_doubt:
            words += "; it may be that the last change was written down, and it may be that it wasn't"
        passing = postgres.is_passing(error) and not in_doubt
        hint = _hint(str(error.orig))
        raise StateError(f"the state {place}: {words}", hint=hint, passing=passing, in_doubt=in_doubt) from error
    except sqlite3.Error as error:  # while it is copied
        raise StateError(f"the backup of the state {place}: {error}", hint=_hint(str(error))) from error
    except (SQLAlchemyError, OSError, UnicodeError) as error:
        raise StateError(f"the state {place}: {error}") from error


class _InDoubtError(DBAPIError):
    """The server was lost while it committed."""


def _hint(message: str) -> str:
    return {
        "database is locked": "another process writes to it; try again",
        "unable to open database file": "check that its folder exists and may be written",
        "attempt to write a readonly database": "it belongs to another user, or its disk is read-only",
        "database or disk is full": "make room on its disk",
        "disk I/O error": "look at its disk: it may be full, or broken",
        "file is not a database": "it was overwritten; put a backup in its place, or move it away and use --adopt",
        "database disk image is malformed": "put a backup in its place, or move it away and use --adopt",
    }.get(message, "") or postgres.hint(message)


def _sqlite_engine(url: URL, *, shared: bool = False) -> Engine:
    """Make the engine of a file; one that isn't `shared` makes the file, and writes all of it."""
    if url.database and not shared:
        path = Path(url.database)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS})
    compiler: Any = engine.dialect.statement_compiler
    engine.dialect.statement_compiler = type("Hinting", (compiler,), {"get_from_hint_text": _hint_of_table})

    @event.listens_for(engine, "connect")
    def _settings(connection: sqlite3.Connection, _record: object) -> None:
        # With WAL, NORMAL loses at most the last commits when the power fails, never the database; what clients have
        # is observed again then. What somebody is told was done is on the disk first: see `writing`.
        connection.isolation_level = None  # transactions begin below, also around changes of the schema
        for setting in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "cache_size=-65536"):
            connection.execute(f"PRAGMA {setting}")
        if shared:
            connection.execute("SELECT value FROM json_each('[]')").close()  # it is set up at its first use only
            connection.set_authorizer(_only_shared)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        writes = options.get("writes", False)
        if writes:
            connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if options.get('lasts') else 'NORMAL'}")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _hint_of_table(_compiler: object, _table: FromClause, text: str | None) -> str | None:
    """Give the hint that stands behind the name of a table, as in `clients INDEXED BY clients_in_trouble`."""
    return text


def _only_shared(action: int, table: str | None, column: str | None, *_rest: object) -> int:
    """Say of a part of a statement whether SQLite may do it: reading, and the changes of `SHARED`."""
    change = _CHANGES.get(action)
    fits = action in _READS or (change, table, None) in SHARED or (change, table, column) in SHARED
    return sqlite3.SQLITE_OK if fits else sqlite3.SQLITE_DENY


@contextmanager
def writing(engine: Engine, *, lasts: bool = False) -> Iterator[Connection]:
    """Give a connection in a transaction that holds the right to write from its start: it can't fail half-way.

    What is written, and all that was written before it, survives a power cut where it `lasts`.
    """
    written = False
    try:
        with connected(engine) as connection:
            connection.execution_options(writes=True, lasts=lasts)
            with connection.begin():
                yield connection
                written = True
    except DBAPIError as error:
        if written and postgres.is_lost(error):
            raise _InDoubtError(error.statement, error.params, error.orig, connection_invalidated=True) from error  # type: ignore[arg-type]
        raise


def connected(engine: Engine) -> Connection:
    """Give a connection; a server that was there before, and restarts, is waited for."""
    return engine.connect() if engine.dialect.name == "sqlite" else postgres.connected(engine)


def of_one_moment(connection: Connection) -> Connection:
    """Have all that a new connection reads be of one moment."""
    if connection.dialect.name == "sqlite":  # where each transaction is
        return connection
    return connection.execution_options(isolation_level="REPEATABLE READ")


def _migrate(engine: Engine, url: URL) -> None:
    """Bring the schema up to date, in one transaction: of two processes that start at once, one does it."""
    with writing(engine, lasts=True) as connection:
        postgres.keep_others_out(connection)
        tables = inspect(connection).get_table_names()
        version = _version(connection, url) if SCHEMA.name in tables else 0
        if tables and not version:
            raise StateError(f"{url.database} is a database of something else", hint="name another one")
        if version == VERSION:
            return
        if version:
            _back_up(url, version)
        for step in range(version + 1, VERSION + 1):
            for statement in MIGRATIONS[step]:
                literal = statement if isinstance(statement, str) else statement.of(connection.dialect.name)
                if literal:  # what only the other database has is nothing here
                    connection.exec_driver_sql(literal)
        connection.execute(SCHEMA.update() if version else SCHEMA.insert(), {"version": VERSION})


def _version(connection: Connection, url: URL) -> int:
    """Read which version a schema has; 0: none."""
    version: int = connection.scalar(select(SCHEMA.c.version)) or 0
    if version > VERSION:
        raise StateError(
            f"the state {url.database} was written by a later version of updoser (schema {version}, known {VERSION})",
            hint="use that version",
        )
    return version


def _back_up(url: URL, version: int) -> None:
    """Copy an SQLite file beside itself; other databases have backups of their own.

    The caller keeps writers out. A copy that breaks off doesn't take the place of a whole one.
    """
    if url.get_backend_name() != "sqlite" or not url.database:
        return
    place = Path(f"{url.database}.backup-{version}")
    half = place.with_name(f"{place.name}.part")
    half.unlink(missing_ok=True)
    try:
        os.close(os.open(half, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with closing(sqlite3.connect(url.database)) as source, closing(sqlite3.connect(half)) as target:
            source.backup(target)
        with half.open("rb") as copied:
            os.fsync(copied.fileno())
        half.replace(place)
        sync_folder(place.parent)
    except BaseException:
        half.unlink(missing_ok=True)
        raise


def inserting(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """Begin an insert that can say what is done where the key is there; a dialect is imported where it is spoken."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as insert_there

        return insert_there(table)
    from sqlalchemy.dialects.sqlite import insert

    return insert(table)


def insert_many(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows of plain values as they are: where there are hundreds of thousands, checking each costs the most."""
    if rows:
        insert_rows(connection, table, columns, rows)


def upsert(
    connection: Connection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    update: Sequence[str],
    on: Sequence[str] = (),
) -> None:
    """Insert rows, or set the columns in `update` where the key is there already (none: leave it as it is).

    `on` are the columns of another key than the primary one.
    """
    if not rows:
        return
    keys = list(on) or [column.name for column in table.primary_key.columns]
    if len(rows) > 1 and connection.dialect.name == "postgresql":
        upsert_arrays(connection, inserting(connection, table), rows, keys, update)
        return
    if len(rows) > 1:  # whoever writes several at once does so in one order, or two wait for each other
        rows = sorted(rows, key=lambda row: [(row[key] is not None, row[key]) for key in keys])
    asked = connection.dialect.name, table.name, tuple(keys), tuple(update)
    statement = _UPSERTS.get(asked)
    if statement is None:
        new = inserting(connection, table)
        changes = {name: new.excluded[name] for name in update}
        statement = _UPSERTS[asked] = (
            new.on_conflict_do_update(index_elements=keys, set_=changes)
            if changes
            else new.on_conflict_do_nothing(index_elements=keys)
        )
    connection.execute(statement, list(rows))


_UPSERTS: dict[tuple[str, str, tuple[str, ...], tuple[str, ...]], postgresql.Insert | sqlite.Insert] = {}
"""Statements by dialect, table, its key and what they update: making one costs more than carrying it out."""


def upsert_newer(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], version: str) -> None:
    """Insert rows, or put them in the place of those of their key that have a lower `version`, a column."""
    statement = inserting(connection, table)
    keys = [column.name for column in table.primary_key.columns]
    changes = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in keys}
    newer = table.c[version] < statement.excluded[version]
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changes, where=newer), list(rows))
