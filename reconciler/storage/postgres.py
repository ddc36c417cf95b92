"""How PostgreSQL is spoken to: its limits of time, what it says when a transaction may be done again, and TLS.

Sessions keep what they set, so that no pooler may stand between that gives each transaction another one, as PgBouncer
does in transaction mode.
"""

from __future__ import annotations

import random
import time
from contextlib import closing, suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import URL

CONNECTING: dict[str, Any] = {
    "application_name": "updoser",
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""How a connection is made, and when a server that is gone is missed, unless the URL says something else."""
LIMITS = {"statement_timeout": "300s", "lock_timeout": "30s", "idle_in_transaction_session_timeout": "40s"}
"""Limits of a session, unless the URL, the role or the database has others. The last one ends the transactions of who
is suspended or cut off, before the patience with a holder's beat is over: they would keep others from following."""
RESTART = 30.0
"""Seconds for which a server that was there before is waited for."""
AGAIN = frozenset(["40001", "40P01"])
"""The server chose this transaction of several that couldn't all be: it is to be done again."""
_ENDING = ("08", "57P", "25P03")
"""The connection broke; the server stops, or ended a session that was idle."""
_LIMIT = """
SELECT set_config(name, %s, false) FROM pg_settings WHERE name = %s AND source IN ('default', 'configuration file')
"""
_CHANNEL = "updoser"
_MIGRATION, _PROFILES = "updoser", "updoser profiles"
"""What is locked by its name."""


def engine_of(url: URL) -> Engine:
    """Make the engine of a database."""
    given = {name: value for name, value in CONNECTING.items() if name not in url.query}
    engine = create_engine(url, connect_args=given, pool_pre_ping=True)

    @event.listens_for(engine, "connect")
    def _limit(connection: Any, _record: object) -> None:
        with closing(connection.cursor()) as cursor:
            for name, value in LIMITS.items():
                cursor.execute(_LIMIT, (value, name))
        connection.commit()

    return engine


def connected(engine: Engine) -> Connection:
    """Give a connection; a server that was there before is waited for a while."""
    give_up = time.monotonic() + RESTART
    pause = 0.1
    while True:
        try:
            connection = engine.connect()
        except OperationalError:
            if not engine.get_execution_options().get("reached") or time.monotonic() > give_up:
                raise
        else:
            engine.update_execution_options(reached=True)
            return connection
        time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - spreads those that wait for the same server
        pause = min(pause * 2, 2.0)


def is_lost(error: DBAPIError) -> bool:
    """Say whether the connection is gone."""
    state = getattr(error.orig, "sqlstate", None) or ""
    return error.connection_invalidated or state.startswith(_ENDING)


def is_passing(error: DBAPIError) -> bool:
    """Say whether a transaction broke off through no fault of its own, and left nothing."""
    return getattr(error.orig, "sqlstate", None) in AGAIN or is_lost(error)


def hint(message: str) -> str:
    """Say what to do about what the server said."""
    for part, advice in _HINTS.items():
        if part in message:
            return advice
    return ""


_HINTS = {
    "lock timeout": "another process writes to it; try again",
    "permission denied": "the role lacks a right: see what each role may do in docs/state.md",
    "read-only transaction": "this server only follows another one: name the one that takes writes",
    "too many clients": "let the server have more connections, or fewer of updoser run at once",
    "could not translate host name": "look at the host in server.state",
    "password authentication failed": "look at the role in server.state, and at its password",
    "certificate verify failed": "sslrootcert must hold the authority of the server's certificate",
}


def keep_others_out(connection: Connection) -> None:
    """Let one process at a time bring the schema up to date, however long it takes; until the transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL lock_timeout = 0"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:what))"), {"what": _MIGRATION})


def using_profiles(connection: Connection) -> None:
    """Keep profiles from being pruned until the transaction ends: it may name one that nobody names yet."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock_shared(hashtext(:what))"), {"what": _PROFILES})


def pruning_profiles(connection: Connection) -> None:
    """Wait for all that may name a profile that nobody named yet, and let them wait."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:what))"), {"what": _PROFILES})


def announce(connection: Connection, name: str) -> None:
    """Let all who listen hear that somebody steers, once the transaction is committed; `name` is who."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_notify(:channel, :name)"), {"channel": _CHANNEL, "name": name})


class Ear:
    """Hears what others announce; by a connection of its own, which is made again where it broke."""

    def __init__(self, engine: Engine, name: str) -> None:
        """Take an open engine, and the name of who isn't to hear itself."""
        self._engine = engine
        self._name = name
        self._connection: Any = None
        self._broke = False

    def heard(self) -> bool:
        """Say whether something was announced since this was asked last, or may have been; asks nobody."""
        try:
            if self._connection is None:
                self._connection = self._listening()
                missed, self._broke = self._broke, False
                return missed
            return any(note.payload != self._name for note in self._connection.notifies(timeout=0))
        except (SQLAlchemyError, self._engine.dialect.loaded_dbapi.Error):  # it is heard again once the server is back
            self.close()
            self._broke = True
            return False

    def _listening(self) -> Any:
        raw = self._engine.raw_connection()
        raw.detach()
        made: Any = raw.dbapi_connection
        made.autocommit = True
        made.execute(f"LISTEN {_CHANNEL}")
        return made

    def close(self) -> None:
        """Hear no more."""
        if self._connection is not None:
            with suppress(Exception):
                self._connection.close()
            self._connection = None


def unverified(target: URL) -> str:
    """Say what is wrong with the way to a server on another machine; empty where its certificate is verified."""
    host = target.query.get("host") or target.host or ""
    if target.get_backend_name() != "postgresql" or not isinstance(host, str) or _is_here(host):
        return ""
    if target.query.get("sslmode") == "verify-full":
        return ""
    return f"the state is on {host}, and nothing verifies that the server is that one"


def _is_here(host: str) -> bool:
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
