"""Where SQLite and PostgreSQL differ: statements that they don't take in the same words, and what memory they take."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

_PASSING_KIB = 2048


class ByDialect(NamedTuple):
    """One statement in the words of each database; empty where it needs none."""

    sqlite: str
    postgresql: str

    def of(self, dialect: str) -> str:
        """Give it in the words of one."""
        return self.postgresql if dialect == "postgresql" else self.sqlite


@contextmanager
def passing_through(connection: Connection) -> Iterator[None]:
    """Read very many rows once in the block: SQLite, which is part of this process, needn't keep what it read."""
    if connection.dialect.name != "sqlite":
        yield
        return
    before = connection.exec_driver_sql("PRAGMA cache_size").scalar()
    connection.exec_driver_sql(f"PRAGMA cache_size=-{_PASSING_KIB}")
    try:
        yield
    finally:
        connection.exec_driver_sql(f"PRAGMA cache_size={int(before or 0)}")
