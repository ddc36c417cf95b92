"""Many rows at once: in PostgreSQL by COPY and by arrays, in SQLite by one prepared statement for all.

A placeholder for each value of each row costs more than the work, and PostgreSQL takes no more than 65,535 of them. So
what is asked for by many names is one parameter (`any_of`), and so is each column of what is written (`ForEach`).

Two commands that write the same rows in PostgreSQL must take them in the same order, or each waits for the other: rows
are sorted by their keys, and locked in that order before they are changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import count
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Self, TypeVarTuple

from sqlalchemy import ARRAY, String, bindparam, cast, column, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import ColumnElement
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NULLTYPE, Boolean, TypeEngine, UserDefinedType

from reconciler.storage.cells import clean, cleaned

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import BindParameter, Column, Connection, CursorResult, Dialect, FromClause, Select, Table
    from sqlalchemy.sql.dml import UpdateBase
    from sqlalchemy.sql.operators import OperatorType

AT_ONCE = 10_000
"""Rows that are given to one statement: what both sides hold in memory."""
Row = tuple[Any, ...]
Cells = TypeVarTuple("Cells")
Given = Callable[[str], ColumnElement[Any]]


# --- asking by many values --------------------------------------------------------------------------------------------


class _Many(UserDefinedType[Any]):
    """Many values as one text: of an array, or JSON where there are no arrays."""

    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], str]:
        if dialect.name != "postgresql":
            return json.dumps
        return lambda values: _texts(values) if values and isinstance(values[0], str) else _numbers(values)

    def literal_processor(self, dialect: Dialect) -> Callable[[Any], str]:
        as_text = self.bind_processor(dialect)
        quoted: Any = String().literal_processor(dialect)  # type: ignore[no-untyped-call]
        return lambda values: str(quoted(as_text(values)))


class _AnyOf(FunctionElement[bool]):
    """A column, and the values of which it is to have one."""

    type = Boolean()
    name = "any_of"
    inherit_cache = True
    words = "IN"

    def self_group(self, against: OperatorType | None = None) -> Self:
        """Stay as it is: held against 1, as other functions are, it would find no index."""
        del against
        return self


class _NoneOf(_AnyOf):
    """A column, and the values of which it is to have none."""

    name = "none_of"
    inherit_cache = True
    words = "NOT IN"


@compiles(_AnyOf)
@compiles(_NoneOf)
def _among(element: _AnyOf, compiler: Any, **rest: Any) -> str:
    wanted, values = (compiler.process(part, **rest) for part in element.clauses)
    if compiler.dialect.name == "postgresql":
        of = compiler.dialect.type_compiler_instance.process(ARRAY(_plain(next(iter(element.clauses)).type)))
        return f"({wanted} {element.words} (SELECT unnest(CAST({values} AS {of}))))"
    return f"({wanted} {element.words} (SELECT value FROM json_each({values})))"  # noqa: S608 - SQLAlchemy made them


def any_of(wanted: Column[Any], values: Iterable[Any]) -> ColumnElement[bool]:
    """Say that a column has one of some values, however many there are.

    They are one parameter. `column.in_` is for lists that don't grow with the fleet.
    """
    return _AnyOf(wanted, _many(values))


def any_of_given(wanted: Column[Any], name: str) -> ColumnElement[bool]:
    """Say that a column has one of the values that a statement is given as a parameter of a name, as a list."""
    return _AnyOf(wanted, bindparam(name, type_=_Many()))


def none_of(wanted: Column[Any], values: Iterable[Any]) -> ColumnElement[bool]:
    """Say that a column has none of some values, however many there are."""
    return _NoneOf(wanted, _many(values))


def _many(values: Iterable[Any]) -> BindParameter[Any]:
    return bindparam(None, list(values), type_=_Many(), unique=True)


def _plain(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    """Give the type of a column as databases know it: what was read isn't checked here, it goes there."""
    return String() if isinstance(type_, String) else type_


# --- reading many -----------------------------------------------------------------------------------------------------


def streamed(connection: Connection, wanted: Select[*Cells]) -> CursorResult[*Cells]:
    """Ask for many rows so that they come as they are read: PostgreSQL's driver would hold all of them first."""
    return connection.execute(wanted, execution_options={"stream_results": True, "max_row_buffer": AT_ONCE})


def raw_batches(connection: Connection, wanted: Select[Any]) -> Iterator[list[Row]]:
    """Give many rows as the driver does, without a check of each cell."""
    text = str(wanted.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True}))
    cursor = _cursor(connection)
    try:
        with _as_sqlalchemy(connection, text):
            cursor.execute(text, ())
        while True:
            with _as_sqlalchemy(connection, text):
                batch = cursor.fetchmany(AT_ONCE)
            if not batch:
                return
            yield batch
    finally:
        cursor.close()


def _cursor(connection: Connection) -> Any:
    """Give a cursor of the driver; in PostgreSQL the rows stay at the server until they are asked for."""
    driver = connection.connection.driver_connection
    assert driver is not None
    return driver.cursor(f"rows_{next(_NUMBERS)}") if connection.dialect.name == "postgresql" else driver.cursor()


_NUMBERS = count()


@contextmanager
def _as_sqlalchemy(connection: Connection, asked: str) -> Iterator[None]:
    """Raise the driver's errors as SQLAlchemy would, where it is asked directly."""
    try:
        yield
    except connection.dialect.loaded_dbapi.Error as error:
        raise DBAPIError(asked, None, error) from error


# --- writing ----------------------------------------------------------------------------------------------------------


class ForEach:
    """A statement that is carried out for each of many rows: in SQLite once for each, in PostgreSQL once for all.

    `statement` is given what stands for the cells of a row, by name. It is made once for each dialect.
    """

    def __init__(self, columns: Mapping[str, TypeEngine[Any]], statement: Callable[[Given], UpdateBase]) -> None:
        """Take the names and types of what rows have, the key first, and what makes the statement."""
        self._columns = columns
        self._statement = statement
        self._made: dict[str, _Prepared] = {}

    def run(self, connection: Connection, rows: Iterable[Row], *, locks: Column[Any] | None = None) -> None:
        """Carry it out for rows in the order of their keys, each key once; `locks` is the column of the key.

        What is `locks`ed first can't lead to a deadlock with others that do the same.
        """
        ordered = sorted(rows, key=itemgetter(0))
        for start in range(0, len(ordered), AT_ONCE):
            some = ordered[start : start + AT_ONCE]
            if locks is not None:
                lock_rows(connection, locks, [row[0] for row in some])
            self._prepared(connection.dialect).run(connection, some)

    def _prepared(self, dialect: Dialect) -> _Prepared:
        known = self._made.get(dialect.name)
        if known is None:
            if dialect.name == "postgresql":
                given = _given(self._columns)
                statement = self._statement(lambda name: given.c[name])
            else:
                statement = self._statement(lambda name: bindparam(name, type_=self._columns[name]))
            known = self._made[dialect.name] = _Prepared(statement, dialect, self._columns)
        return known


class _Prepared:
    """A compiled statement, and how its parameters are made of rows."""

    def __init__(self, statement: UpdateBase, dialect: Dialect, columns: Mapping[str, TypeEngine[Any]]) -> None:
        made = statement.compile(dialect=dialect)
        self._text, self._columns = str(made), columns
        names = list(columns)
        self._rest = {name: value for name, value in made.params.items() if name not in columns and name[:6] != _GIVEN}
        self._at: Callable[[Row], Row] | None = None
        if made.positional:
            order = [*names, *self._rest]
            places = [order.index(name) for name in made.positiontup or ()]
            self._at = itemgetter(*places) if len(places) > 1 else lambda row: (row[places[0]],)

    def run(self, connection: Connection, rows: Sequence[Row]) -> None:
        if self._at is not None:
            rest, at = tuple(self._rest.values()), self._at
            connection.exec_driver_sql(self._text, [at(row + rest) for row in rows])
        else:
            connection.exec_driver_sql(self._text, {**self._rest, **_arrays(self._columns, rows)})


_GIVEN = "given_"


def _given(columns: Mapping[str, TypeEngine[Any]]) -> FromClause:
    """Give rows that are parameters as a table: an array for each column."""
    arrays = [
        cast(bindparam(f"{_GIVEN}{name}", type_=NULLTYPE), ARRAY(_plain(type_))) for name, type_ in columns.items()
    ]
    named = [column(name, type_) for name, type_ in columns.items()]
    return func.unnest(*arrays).table_valued(*named, name="given").render_derived(name="given")


def _arrays(columns: Mapping[str, TypeEngine[Any]], rows: Sequence[Row]) -> dict[str, str]:
    cells = zip(*rows, strict=True)
    return {
        f"{_GIVEN}{name}": (_texts if isinstance(type_, String) else _numbers)(column_)
        for (name, type_), column_ in zip(columns.items(), cells, strict=True)
    }


def _texts(cells: Sequence[str | None]) -> str:
    """Write texts as PostgreSQL reads an array; the driver's own way costs five times as much."""
    try:
        joined = '","'.join(cells)  # type: ignore[arg-type]
    except TypeError:
        joined = "\\"
    if "\\" in joined or "\0" in joined or not joined.isascii() or joined.count('"') != 2 * len(cells) - 2:
        return f"{{{','.join(['NULL' if cell is None else _quoted(cell) for cell in cells])}}}"
    return f'{{"{joined}"}}'


def _quoted(text: str) -> str:
    escaped = clean(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _numbers(cells: Sequence[float | None]) -> str:
    return f"{{{','.join(map(str, cells))}}}".replace("None", "NULL")


def lock_rows(connection: Connection, key: Column[Any], values: Sequence[Any]) -> None:
    """Keep others from changing rows, taken in one order by all who do; in SQLite a transaction that writes does."""
    if connection.dialect.name != "postgresql" or len(values) < 2:
        return
    connection.execute(_locking(key), {"keys": values})


@cache
def _locking(key: Column[Any]) -> Select[Any]:
    order = key.collate("C") if isinstance(key.type, String) else key
    locked = select(key).where(any_of_given(key, "keys")).order_by(order).with_for_update(key_share=True)
    return select(func.count()).select_from(locked.subquery("locked"))


def insert_rows(connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Insert rows of plain values as they are: where there are hundreds of thousands, checking each costs the most."""
    if connection.dialect.name == "postgresql":
        _copy(connection, table, columns, rows)
        return
    key = connection.dialect.name, table.name, tuple(columns)
    known = _INSERTS.get(key)
    if known is None:
        made = table.insert().compile(dialect=connection.dialect, column_keys=list(columns))
        at = [columns.index(name) for name in made.positiontup or columns]
        known = _INSERTS[key] = str(made), at if at != sorted(at) else []
    text, order = known
    for some in _batches(rows):
        connection.exec_driver_sql(text, [tuple(row[each] for each in order) for row in some] if order else some)


_INSERTS: dict[tuple[str, str, tuple[str, ...]], tuple[str, list[int]]] = {}
"""Texts of inserts by dialect, table and columns, and in which order they take these; none: as they are."""


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    if isinstance(rows, list) and 0 < len(rows) <= AT_ONCE:
        yield rows
        return
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _copy(connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Row]) -> None:
    quoted = connection.dialect.identifier_preparer.quote
    asked = f"COPY {quoted(table.name)} ({', '.join(map(quoted, columns))}) FROM STDIN"
    driver: Any = connection.connection.driver_connection
    with _as_sqlalchemy(connection, asked), driver.cursor() as cursor, cursor.copy(asked) as copy:
        for some in _batches(rows):
            for row in cleaned(some):
                copy.write_row(row)


def upsert_arrays(
    connection: Connection, insert: Any, rows: Sequence[Mapping[str, Any]], keys: Sequence[str], update: Sequence[str]
) -> None:
    """Insert rows, or set the columns in `update` where the key is there already, by one statement in PostgreSQL.

    `insert` is an insert of the dialect for a table. Of rows with one key the last counts.
    """
    table: Table = insert.table
    names = list(rows[0])
    columns = {name: table.c[name].type for name in names}
    last = {tuple(row[key] for key in keys): row for row in rows}
    given = _given(columns)
    source = select(*(given.c[name] for name in names))  # in their order: nothing else is read
    statement = insert.from_select(names, source)
    if update:
        statement = statement.on_conflict_do_update(
            index_elements=list(keys), set_={name: statement.excluded[name] for name in update}
        )
    else:
        statement = statement.on_conflict_do_nothing(index_elements=list(keys))
    ordered = [tuple(map(last[key].__getitem__, names)) for key in sorted(last)]
    for some in _batches(ordered):
        connection.execute(statement, _arrays(columns, some))
