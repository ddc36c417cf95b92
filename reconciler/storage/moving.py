"""A state brought from one place to another: between SQLite and PostgreSQL in any direction, and into a backup.

* What is read is of one moment, and all of it is written by one transaction. Each table is read back and compared: the
  number of its rows, and the sum of the digests of all of them. Only then is anything said to be done.
* Two states with one lineage would be two leaders of the same clients. So a state that was moved is marked, and refuses
  to be used; the new one is marked as well until the old one is. Wherever a move is killed, at most one can be used,
  and the same command again ends it.
* A backup is marked, too: it is restored, and not used. What is restored has a later epoch: clients that it reached
  refuse whoever goes on with what there was before.
* Who holds the lock, who leads and who is signed in stays behind.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import delete, func, select, text, update

from reconciler.errors import LockHeldError, StateError
from reconciler.files import sync_folder
from reconciler.model.client import MAX_EPOCH
from reconciler.storage.bulk import AT_ONCE, insert_rows, streamed
from reconciler.storage.cells import Boolean, Float, cleaned, sound
from reconciler.storage.database import connected, mapped, of_one_moment, open_engine, open_shared_engine, writing
from reconciler.storage.holding import is_over as is_dead
from reconciler.storage.lock import is_over
from reconciler.storage.moved import ARRIVING, BACKUP, check_usable, mark_in
from reconciler.storage.tables import CLIENTS, IDENTITY, LEASE, LOCK, METADATA, PLANS, RUNS, SCHEMA, SESSIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection, Engine, Table

LEFT_BEHIND = (SCHEMA, LOCK, SESSIONS)
"""Tables that no other state gets."""
_LIMITS = ("statement_timeout", "idle_in_transaction_session_timeout")
_SUM = 2**256


class Place(NamedTuple):
    """Where a state is: a URL and its password."""

    url: str
    password: str | None = None


@dataclass(frozen=True, slots=True)
class Brought:
    """What was brought: rows by table, and the epoch of what is there now."""

    rows: dict[str, int]
    epoch: int


def back_up(here: Place, file: Path) -> Brought:
    """Write a state into a file, whoever uses it meanwhile.

    Raises:
        StateError: it can't be read or written, or something is there.
    """
    if file.exists():
        raise StateError(f"{file} is there already", hint="name another file, or move it away")
    half = file.with_name(f"{file.name}.part")
    parts = (half, Path(f"{half}-wal"), Path(f"{half}-shm"))
    try:
        with _read_only(here) as state, _opened(_file(half)) as made, _reading(state) as source:
            check_usable(source, _name(state))
            with _writing(made) as target:
                rows = _bring(source, target, {"moved_to": BACKUP})
            epoch = _epoch(source)
        with _mapped_files(file):
            _alone(half)
            half.replace(file)
            sync_folder(file.parent)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
    return Brought(rows, epoch)


def restore(copy: Path, place: Place, *, force: bool = False) -> Brought:
    """Make a state of a backup, whose `copy` may be brought up to date.

    Its epoch is later than that of the backup, and than that of what was there.

    Raises:
        StateError: the backup is none, the state can't be written, or (without `force`) something is in it.
        LockHeldError: it is in use.
    """
    with ExitStack() as stack:
        kept, state = stack.enter_context(_opened(_file(copy))), stack.enter_context(_opened(place))
        source, target = stack.enter_context(_reading(kept)), stack.enter_context(_writing(state))
        _refuse_use(target)
        _keep_out(target)
        if not force:
            _refuse_content(target)
        mine, before = (connection.execute(select(IDENTITY)).first() for connection in (source, target))
        if mine is None:
            raise StateError("the backup is empty: nothing was ever done with that state")
        same = before is not None and before.lineage == mine.lineage
        epoch = min(1 + max(mine.epoch, before.epoch if same and before is not None else 0), MAX_EPOCH)
        rows = _bring(source, target, {"moved_to": "", "epoch": epoch})
    return Brought(rows, epoch)


def move(here: Place, there: Place, *, force: bool = False) -> Brought:
    """Bring a state to another place, and mark what stays here as moved.

    Raises:
        StateError: one of both can't be read or written, or (without `force`) something is there.
        LockHeldError: one of both is in use.
    """
    with _read_only(here):
        pass  # what isn't there isn't made
    with _opened(here) as old, _opened(there) as new:
        name = _name(new)
        if _name(old) == name:
            raise StateError(f"the state is at {name} already", hint="name another place")
        with connected(old) as connection:
            begun = mark_in(connection) == name
        if not begun:
            _send(old, new, force=force)
        return _arrive(old, new)


def _send(old: Engine, new: Engine, *, force: bool) -> None:
    """Bring all to the new place, then mark the old one."""
    with mapped(old.url), _writing(old) as source:
        check_usable(source, _name(old))
        _keep_out(source)
        _refuse_use(source)
        with _writing(new) as target:
            _keep_out(target)
            _refuse_use(target)
            if not (force or (mark_in(target) == ARRIVING and _lineage(target) == _lineage(source))):
                _refuse_content(target)
            _bring(source, target, {"moved_to": ARRIVING})
        source.execute(update(IDENTITY).values(moved_to=_name(new)))


def _arrive(old: Engine, new: Engine) -> Brought:
    """Let the new place be used, where the old one is marked."""
    with connected(old) as source, _writing(new) as target:
        if _lineage(source) != _lineage(target):
            raise StateError(f"the state was moved to {_name(new)}, and that is another state now")
        target.execute(update(IDENTITY).where(IDENTITY.c.moved_to == ARRIVING).values(moved_to=""))
        return Brought({table.name: _count(target, table) for table in _tables()}, _epoch(target))


def copy_server(url: str, file: Path) -> None:
    """Bring what a server has into a new file, to look with; nothing is written there, and its schema stays.

    Raises:
        StateError: it can't be reached, or read.
    """
    with _read_only(Place(url), careful=True) as server, _opened(_file(file)) as made, _reading(server) as source:
        check_usable(source, _name(server))
        with _writing(made) as target:
            _bring(source, target, {})


# --- both sides -------------------------------------------------------------------------------------------------------


def _file(path: Path) -> Place:
    return Place(f"sqlite:///{path}")


def _opened(place: Place) -> AbstractContextManager[Engine]:
    return _used(open_engine(place.url, place.password))


def _read_only(place: Place, *, careful: bool = False) -> AbstractContextManager[Engine]:
    return _used(open_shared_engine(place.url, place.password, careful=careful))


@contextmanager
def _used(engine: Engine) -> Iterator[Engine]:
    try:
        with mapped(engine.url):
            yield engine
    finally:
        engine.dispose()


@contextmanager
def _reading(engine: Engine) -> Iterator[Connection]:
    with connected(engine) as plain:
        connection = of_one_moment(plain)
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET TRANSACTION READ ONLY"))
        _without_limits(connection)
        yield connection


@contextmanager
def _writing(engine: Engine) -> Iterator[Connection]:
    with mapped(engine.url), writing(engine, lasts=True) as connection:
        _without_limits(connection)
        yield connection


def _without_limits(connection: Connection) -> None:
    """Let a statement, and a wait for the other side, take as long as it takes, until the transaction ends.

    Not a wait for a lock: two URLs may name one database.
    """
    for name in _LIMITS if connection.dialect.name == "postgresql" else ():
        connection.execute(text(f"SET LOCAL {name} = 0"))


@contextmanager
def _mapped_files(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise StateError(f"the backup {file} can't be written: {error}") from error


def _name(engine: Engine) -> str:
    url = engine.url
    if url.get_backend_name() == "sqlite" and url.database:
        url = url.set(database=str(Path(url.database).resolve()))
    return url.render_as_string(hide_password=True)


def _lineage(connection: Connection) -> str:
    return connection.scalar(select(IDENTITY.c.lineage)) or ""


def _epoch(connection: Connection) -> int:
    return connection.scalar(select(IDENTITY.c.epoch)) or 0


def _count(connection: Connection, table: Table) -> int:
    return connection.scalar(select(func.count()).select_from(table)) or 0


def _keep_out(connection: Connection) -> None:
    """Have nobody else write until the transaction ends, not even what a console may."""
    if connection.dialect.name == "postgresql":
        names = ", ".join(sorted(table.name for table in METADATA.sorted_tables))
        connection.execute(text(f"LOCK TABLE {names} IN EXCLUSIVE MODE"))


def _refuse_use(connection: Connection) -> None:
    """Refuse a state that somebody changes, or leads with.

    Raises:
        LockHeldError: somebody does.
    """
    held = connection.execute(select(LOCK)).first()
    if held is not None and not is_over(connection, held):
        raise LockHeldError(f"the state is locked by {held.who} for `updoser {held.command}`", hint="wait for it")
    lease = connection.execute(select(LEASE)).first()
    if lease is not None and lease.holder and not is_dead(connection, lease.holder, lease.beat_at):
        raise LockHeldError(f"a controller uses the state: {lease.who}", hint="stop it first")


def _refuse_content(connection: Connection) -> None:
    """Refuse a state in which something is that would be lost.

    Raises:
        StateError: there is.
    """
    used = connection.scalar(select(IDENTITY.c.used)) or any(_count(connection, one) for one in (CLIENTS, PLANS, RUNS))
    if used:
        where = connection.engine.url.render_as_string(hide_password=True)
        raise StateError(f"the state at {where} isn't empty", hint="with --force it is replaced")


# --- rows -------------------------------------------------------------------------------------------------------------


def _tables() -> list[Table]:
    return [table for table in METADATA.sorted_tables if table not in LEFT_BEHIND]


def _bring(source: Connection, target: Connection, identity: Mapping[str, Any]) -> dict[str, int]:
    """Put all rows of one state in place of those of another, and compare; `identity` gives what differs there.

    Raises:
        StateError: what was read back isn't what was read.
    """
    for table in METADATA.sorted_tables:
        if table is not SCHEMA:
            target.execute(delete(table))
    counts = {}
    for table in _tables():
        digest = _Digest()
        batches = _changed(table, _read(source, table), identity)
        insert_rows(target, table, [column.name for column in table.columns], digest.over(batches))
        found = _Digest()
        for _row in found.over(_read(target, table)):
            pass
        if digest.value != found.value:
            raise StateError(f"{table.name}: {digest.rows} rows were written, and {found.rows} others are there")
        counts[table.name] = digest.rows
    _go_on_counting(target)
    return counts


def _read(connection: Connection, table: Table) -> Iterator[list[tuple[Any, ...]]]:
    """Give the rows of a table, with values that are the same whatever database they come from."""
    forms = [_FORMS.get(type(column.type)) for column in table.columns]
    with mapped(connection.engine.url), sound(_name(connection.engine)):
        result = streamed(connection, select(*table.columns))
        while rows := result.fetchmany(AT_ONCE):
            yield cleaned([tuple(map(_as_it_is, forms, row)) for row in rows])


def _as_it_is(form: Callable[[Any], Any] | None, cell: Any) -> Any:
    return cell if form is None or cell is None else form(cell)


_FORMS: dict[type, Callable[[Any], Any]] = {Boolean: bool, Float: float}


def _changed(
    table: Table, batches: Iterator[list[tuple[Any, ...]]], identity: Mapping[str, Any]
) -> Iterator[list[tuple[Any, ...]]]:
    """Give rows as the other state gets them: who it is may differ, and nobody leads there."""
    if table not in (IDENTITY, LEASE):
        yield from batches
        return
    names = [column.name for column in table.columns]
    for rows in batches:
        made = [dict(zip(names, row, strict=True)) for row in rows]
        for row in made:
            row.update(identity if table is IDENTITY else _NOBODY)
        yield [tuple(row.values()) for row in made]


_NOBODY = {"holder": "", "who": "", "beat_at": None}


class _Digest:
    """The number of some rows and the sum of their digests: the same in whatever order they come."""

    def __init__(self) -> None:
        self.rows = 0
        self._sum = 0

    @property
    def value(self) -> tuple[int, int]:
        return self.rows, self._sum

    def over(self, batches: Iterator[list[tuple[Any, ...]]]) -> Iterator[tuple[Any, ...]]:
        """Give rows, and count them."""
        for rows in batches:
            for row in rows:
                digest = hashlib.sha256(repr(row).encode("utf-8", "surrogatepass")).digest()
                self._sum = (self._sum + int.from_bytes(digest, "big")) % _SUM
            self.rows += len(rows)
            yield from rows


def _go_on_counting(connection: Connection) -> None:
    """Have PostgreSQL give numbers that no row has; SQLite looks at the rows."""
    for table in _tables() if connection.dialect.name == "postgresql" else ():
        counted = connection.scalar(select(func.pg_get_serial_sequence(table.name, "id"))) if "id" in table.c else None
        if counted:
            newest = connection.scalar(select(func.max(table.c.id)))
            connection.execute(select(func.setval(counted, newest or 1, newest is not None)))


# --- files ------------------------------------------------------------------------------------------------------------


def _alone(file: Path) -> None:
    """Have all of a database in its one file, and on the disk."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    with file.open("rb") as written:
        os.fsync(written.fileno())
