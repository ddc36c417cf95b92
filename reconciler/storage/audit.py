"""Who did what, the newest first: what people asked in the console, which commands they gave, and who signed in.

Each lies in a table of its own; here they are one list. Sessions that are over are forgotten, all else is kept for as
long as the spec says, and requests for good.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from sqlalchemy import Integer, select, text, tuple_

from reconciler.storage.base import Part, moment, seconds
from reconciler.storage.logbook import is_by
from reconciler.storage.requests import read_request
from reconciler.storage.runs import read_run, run_under_way
from reconciler.storage.sessions import read_session
from reconciler.storage.tables import BY_PEOPLE as RUN_BY_PEOPLE
from reconciler.storage.tables import REQUESTS, RUNS, SESSIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from sqlalchemy import Column, ColumnElement, Connection, Row, Select, TextClause

    from reconciler.model.report import Run
    from reconciler.model.request import Request
    from reconciler.storage.sessions import Session

DeedKind = Literal["request", "command", "sign-in", "apply"]
DEEDS: tuple[DeedKind, ...] = get_args(DeedKind)
"""What somebody did; an `apply` may also be one that the controller began by itself."""
BY_PEOPLE: tuple[DeedKind, ...] = ("request", "command", "sign-in")
_APPLY = "apply"
_BATCH = 200
_END = 2.0**40
_MOST = 2**63
_KEY = 16
"""Characters of what sets apart those of one moment: of the digest of a session a part is enough."""


class Place(NamedTuple):
    """Where a deed stands in the list: its time, and what sets apart those of one moment."""

    at: float
    rank: int
    key: str

    @property
    def text(self) -> str:
        """The place as an address has it."""
        return f"{self.at!r}~{self.rank}~{self.key}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read a place.

        Raises:
            ValueError: it is none.
        """
        at, rank, key = text.split("~", 2)
        found = cls(float(at), int(rank), key)
        if not (0 <= found.at < _END and 0 <= found.rank < len(DEEDS)):
            raise ValueError(text)
        if DEEDS[found.rank] == "request" and not 0 <= int(key) < _MOST:
            raise ValueError(text)
        return found


class Deed(NamedTuple):
    """What somebody did."""

    kind: DeedKind
    at: datetime
    place: Place
    what: Request | Run | Session


@dataclass(frozen=True, slots=True)
class AskedDeeds:
    """Which deeds are asked for: of these kinds, by somebody whose name has `who` in it, and when."""

    kinds: tuple[DeedKind, ...] = BY_PEOPLE
    who: str = ""
    since: datetime | None = None
    until: datetime | None = None


class _Source(NamedTuple):
    """Where deeds of a kind lie. `by` says of a row whether a part of a name stands in who it was."""

    which: Select[Any]
    at: Column[float]
    key: Column[Any]
    by: Callable[[Row[Any], str], bool]
    read: Callable[[Row[Any], str], Request | Run | Session]


def _is_of(row: Row[Any], who: str) -> bool:
    return who.casefold() in row.who.casefold()


def _ran(row: Row[Any], who: str) -> bool:
    return is_by(row.origin, who)


def _run_source(which: ColumnElement[bool] | TextClause) -> _Source:
    return _Source(select(RUNS).where(which), RUNS.c.started, RUNS.c.run_id, by=_ran, read=read_run)


_SOURCES: dict[DeedKind, _Source] = {
    "request": _Source(
        select(REQUESTS), REQUESTS.c.at, REQUESTS.c.id, by=_is_of, read=lambda row, _live: read_request(row)
    ),
    "command": _run_source(text(RUN_BY_PEOPLE)),
    "sign-in": _Source(
        select(SESSIONS), SESSIONS.c.created, SESSIONS.c.digest, by=_is_of, read=lambda row, _live: read_session(row)
    ),
    "apply": _run_source(RUNS.c.command == _APPLY),
}
_RANKS = {kind: rank for rank, kind in enumerate(DEEDS)}


class Audit(Part):
    """Who did what."""

    def find_deeds(self, asked: AskedDeeds, behind: Place | None = None, limit: int = 50) -> tuple[list[Deed], bool]:
        """Give what was done, the newest first, behind a place; and whether there is more."""
        with self._read() as connection:
            live = run_under_way(connection)
            walks = [_walk(connection, kind, asked, behind, live) for kind in asked.kinds]
            found = list(islice(merge(*walks, key=lambda deed: (-deed.place.at, deed.place.rank)), limit + 1))
            return found[:limit], len(found) > limit


def _walk(connection: Connection, kind: DeedKind, asked: AskedDeeds, behind: Place | None, live: str) -> Iterator[Deed]:
    """Give deeds of a kind, the newest first, in batches."""
    source, rank = _SOURCES[kind], _RANKS[kind]
    wanted = source.which.order_by(source.at.desc(), source.key.desc()).limit(_BATCH)
    if asked.since is not None:
        wanted = wanted.where(source.at >= seconds(asked.since))
    if asked.until is not None:
        wanted = wanted.where(source.at < seconds(asked.until))
    beyond = _beyond(source, rank, behind)
    while True:
        rows = connection.execute(wanted.where(*beyond)).all()
        for row in rows:
            if not asked.who or source.by(row, asked.who):
                at = getattr(row, str(source.at.key))
                place = Place(at, rank, str(getattr(row, str(source.key.key)))[: _KEY if kind == "sign-in" else None])
                yield Deed(kind, moment(at), place, source.read(row, live))  # type: ignore[arg-type]
        if len(rows) < _BATCH:
            return
        last = rows[-1]
        beyond = [
            tuple_(source.at, source.key) < (getattr(last, str(source.at.key)), getattr(last, str(source.key.key)))
        ]


def _beyond(source: _Source, rank: int, behind: Place | None) -> list[ColumnElement[bool]]:
    """Give what says that a row stands behind a place."""
    if behind is None:
        return []
    earlier, same = source.at < behind.at, source.at == behind.at
    if rank != behind.rank:
        return [earlier | same if rank > behind.rank else earlier]
    key: object = int(behind.key) if isinstance(source.key.type, Integer) else behind.key
    return [earlier | (same & (source.key < key))]
