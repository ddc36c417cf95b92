"""What runs did, a page at a time, the newest first.

A page lies behind an entry, or before one (a keyset): the thousandth costs what the first does, and what is written
meanwhile shifts nothing onto two pages or none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from sqlalchemy import and_, func, select, text, tuple_

from reconciler.storage.base import Part
from reconciler.storage.runs import journal_entry, read_run, run_under_way
from reconciler.storage.tables import FAILED, JOURNAL, RUNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection, Row, Select

    from reconciler.model.report import JournalEntry, JournalOutcome, Run, RunStatus
    from reconciler.reasons import Reason

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
WHO = ("user", "host", "ci", "actor")
"""What of an origin says who it was."""
ESCAPE = "/"
_MOST_AT_ONCE = 2000
_EXAMPLES = 3
_UNENDED = ("running", "broken off")


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a page lies: behind an entry (`older`), before one (`newer`), or at the begin. Both are ids of entries."""

    older: str = ""
    newer: str = ""
    limit: int = 50


class Paged(NamedTuple, Generic[T_co]):
    """A page, the newest first, and whether there is more on each side of it."""

    entries: Sequence[T_co]
    older: bool = False
    newer: bool = False


@dataclass(frozen=True, slots=True)
class AskedRuns:
    """Which runs are asked for; empty: whatever it is. `who` and `command` are parts, in any case."""

    statuses: tuple[RunStatus, ...] = ()
    who: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True)
class AskedEntries:
    """Which entries of the journal are asked for; empty: whatever it is."""

    run_id: str = ""
    client: str = ""
    component: str = ""
    outcomes: tuple[JournalOutcome, ...] = ()
    reasons: tuple[Reason, ...] = ()


class Noted(NamedTuple):
    """An entry of the journal with its place in it, and the run that it is of."""

    id: int
    run_id: str
    entry: JournalEntry


class Failing(NamedTuple):
    """Clients that failed in a run for a reason: how many, and the first of them with what they said."""

    reason: Reason
    clients: int
    examples: Sequence[JournalEntry]


class Logbook(Part):
    """Pages of runs and of the journal."""

    def find_runs(self, asked: AskedRuns, cut: Cut) -> Paged[Run]:
        """Give a page of runs."""
        place = (RUNS.c.started, RUNS.c.run_id)
        columns = select(RUNS.c.run_id, RUNS.c.started, RUNS.c.status, RUNS.c.origin)
        with self._read() as connection:
            live = run_under_way(connection)

            def fits(row: Row[Any]) -> bool:
                status = "broken off" if row.status == "running" and row.run_id != live else row.status
                return status in (asked.statuses or (status,)) and is_by(row.origin, asked.who)

            def ids(side: str, *, back: bool) -> Iterator[str]:
                wanted = columns.where(*_of_runs(asked))
                row = connection.execute(columns.where(RUNS.c.run_id == side)).first() if side else None
                if side and row is None:  # it was forgotten, and all that was older
                    return
                yield from (
                    found.run_id
                    for found in _walk(
                        connection, wanted, place, row and (row.started, row.run_id), back=back, first=cut.limit + 1
                    )
                    if fits(found)
                )

            chosen = _paged(ids, cut)
            rows = connection.execute(select(RUNS).where(RUNS.c.run_id.in_(chosen.entries)))
            runs = {row.run_id: read_run(row, live) for row in rows}
            return Paged([runs[one] for one in chosen.entries], chosen.older, chosen.newer)

    def run_report(self, run_id: str) -> dict[str, Any]:
        """Give the document with which a run ended; empty where it has none."""
        with self._read() as connection:
            found = connection.scalar(select(RUNS.c.report).where(RUNS.c.run_id == run_id))
            return dict(json.loads(found)) if found else {}

    def find_entries(self, asked: AskedEntries, cut: Cut) -> Paged[Noted]:
        """Give a page of the journal."""
        wanted = select(JOURNAL).where(*_of_journal(asked))

        with self._read() as connection:

            def rows(side: str, *, back: bool) -> Iterator[Row[Any]]:
                yield from _walk(
                    connection, wanted, (JOURNAL.c.id,), (int(side),) if side else None, back=back, first=cut.limit + 1
                )

            found = _paged(rows, cut)
            noted = [Noted(row.id, row.run_id, journal_entry(row)) for row in found.entries]
            return Paged(noted, found.older, found.newer)

    def failing_in(self, run_id: str) -> list[Failing]:
        """Give who failed in a run, by reason, the most frequent first; a client counts once for a reason."""
        entry = JOURNAL.c
        failed = and_(entry.run_id == run_id, text(FAILED))
        clients = func.count(func.distinct(entry.client)).label("clients")
        with self._read() as connection:
            counted = select(entry.reason, clients).where(failed).group_by(entry.reason).order_by(clients.desc())
            found = []
            for reason, count in connection.execute(counted).all():
                some = select(JOURNAL).where(failed, entry.reason == reason).order_by(entry.id).limit(_EXAMPLES)
                found.append(Failing(reason, count, [journal_entry(row) for row in connection.execute(some)]))
            return found


def is_by(origin: str, who: str) -> bool:
    """Say whether a part of a name stands in an origin, as its cell has it, where that says who it was."""
    if not who:
        return True
    found = json.loads(origin)
    return any(who.casefold() in str(found.get(key, "")).casefold() for key in WHO)


def part_of(column: ColumnElement[str], part: str) -> ColumnElement[bool]:
    """Say that a part stands in a column, in any case as far as the database knows cases."""
    escaped = "".join(f"{ESCAPE}{char}" if char in f"%_{ESCAPE}" else char for char in part)
    return column.ilike(f"%{escaped}%", escape=ESCAPE)


def _of_runs(asked: AskedRuns) -> Iterator[ColumnElement[bool]]:
    if asked.statuses:
        kept = {"running" if status in _UNENDED else status for status in asked.statuses}
        yield RUNS.c.status.in_(sorted(kept))
    if asked.command:
        yield part_of(RUNS.c.command, asked.command)
    if asked.who.isascii() and not set(asked.who) & set('"\\'):  # as JSON has it; `is_by` looks where it stands
        yield part_of(RUNS.c.origin, asked.who)


def _of_journal(asked: AskedEntries) -> Iterator[ColumnElement[bool]]:
    entry = JOURNAL.c
    for column, value in (
        (entry.run_id, asked.run_id),
        (entry.client, asked.client),
        (entry.component, asked.component),
    ):
        if value:
            yield column == value
    if asked.outcomes:
        yield entry.outcome.in_(asked.outcomes)
    if asked.reasons:
        yield and_(text(FAILED), entry.reason.in_(asked.reasons))


def _walk(
    connection: Connection,
    wanted: Select[Any],
    place: Sequence[ColumnElement[Any]],
    side: Sequence[Any] | None,
    *,
    back: bool,
    first: int,
) -> Iterator[Row[Any]]:
    """Give rows from a place on, the next first; `back`: towards what is newer. Each batch is larger than the last."""
    order = [column.asc() if back else column.desc() for column in place]
    names = [str(column.key) for column in place]
    size = first
    while True:
        here = tuple_(*place)
        beyond = [] if side is None else [here > tuple_(*side) if back else here < tuple_(*side)]
        rows = connection.execute(wanted.where(*beyond).order_by(*order).limit(size)).all()
        yield from rows
        if len(rows) < size:
            return
        size = min(size * 4, _MOST_AT_ONCE)
        side = [getattr(rows[-1], name) for name in names]


def _paged(rows: Callable[..., Iterator[T]], cut: Cut) -> Paged[T]:
    """Take a page of what a walk gives, and one more to see whether there is more."""
    back = bool(cut.newer)
    found: list[T] = []
    for row in rows(cut.newer or cut.older, back=back):
        found.append(row)
        if len(found) > cut.limit:
            break
    more = len(found) > cut.limit
    shown = found[: cut.limit]
    if back:
        return Paged(shown[::-1], older=True, newer=more)
    return Paged(shown, older=more, newer=bool(cut.older))
