"""Remembered moments that lie ahead of the clock: whoever wrote them had a clock that was wrong, or it is wrong now.

Taken at their word they last until the clock gets there: a soak, the age of a release, a quarantine of years. So a
moment that was the present when it was written is never later than now, and the end of a span never further away than
the span is long. All readers take it so (`Part._past`); an apply also writes it down, or it would be now for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from reconciler.storage.base import Part, moment, seconds
from reconciler.storage.dialect import passing_through
from reconciler.storage.tables import CLIENTS, FIRST_SEEN, ROLLOUTS, RUNS, SOURCES

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from sqlalchemy import Column, ColumnElement, Connection

_MOMENTS: dict[str, tuple[Column[float], ...]] = {
    "rollouts": (ROLLOUTS.c.started, ROLLOUTS.c.opened, ROLLOUTS.c.passed),
    "when versions were first seen": (FIRST_SEEN.c.at,),
    "answers of sources": (SOURCES.c.last_success,),
    "looks at clients": (CLIENTS.c.seen_at, CLIENTS.c.failing_since, CLIENTS.c.looked_at, CLIENTS.c.back_at),
    "runs": (RUNS.c.started, RUNS.c.ended),
}
_QUARANTINE = "quarantine"


class Moments(Part):
    """The remembered moments of all parts."""

    def moments_ahead(self, quarantine: timedelta) -> dict[str, datetime]:
        """Give the latest of the moments that lie ahead, by what they are about; a quarantine lasts so long."""
        now = self._clock()
        with self._read() as connection, passing_through(connection):
            found = {about: _latest(connection, *columns) for about, columns in _MOMENTS.items()}
            few = CLIENTS.c.quarantined.is_not(None)  # they stand in an index
            found[_QUARANTINE] = _latest(connection, CLIENTS.c.quarantined, where=few)
        return {about: at for about, at in found.items() if at and at > now + (quarantine * (about == _QUARANTINE))}

    def cut_moments(self, quarantine: timedelta) -> dict[str, datetime]:
        """Make those that lie ahead what they count as; gives what `moments_ahead` gave before."""
        ahead, now = self.moments_ahead(quarantine), self._clock()
        limits = {column: now for about in ahead for column in _MOMENTS.get(about, ())}
        if _QUARANTINE in ahead:
            limits[CLIENTS.c.quarantined] = now + quarantine
        with self._write() as connection:
            for column, limit in limits.items():
                late = column.table.update().where(column > seconds(limit))
                connection.execute(late.values({column: seconds(limit)}))
        return ahead


def _latest(
    connection: Connection, *columns: Column[float], where: ColumnElement[bool] | None = None
) -> datetime | None:
    """Give the latest moment of some columns of one table, or of some of its rows."""
    wanted = select(*map(func.max, columns))
    row = connection.execute(wanted if where is None else wanted.where(where)).one()
    return moment(max((value for value in row if value is not None), default=None))
