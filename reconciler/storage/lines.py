"""The fleet read line by line, in the order of names: as much at a time as is asked for, never all of it.

A page begins behind a name (a keyset), so that the ten thousandth costs what the first does, and clients that come or
go meanwhile shift nobody onto two pages or none.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import func, select, text, type_coerce
from sqlalchemy.types import NULLTYPE

from reconciler.model.client import Profile
from reconciler.reasons import REASONS, reason_of
from reconciler.storage.base import moment
from reconciler.storage.bulk import any_of, streamed
from reconciler.storage.cells import checked
from reconciler.storage.fleet import FleetRecords
from reconciler.storage.sieve import Sieve
from reconciler.storage.tables import CLIENTS, JOURNAL, LABELLED, PROFILES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

    from reconciler.reasons import Reason

MAX_BATCH = 50_000
"""Clients that are read at once, at most."""


class Line(NamedTuple):
    """What is remembered of a client, as its cells have it: `labels` are JSON, times are seconds since the epoch.

    `failures` counts the runs in a row in which it failed; it is left alone until `quarantined`.
    """

    name: str
    group: str
    labels: str
    fingerprint: str | None
    error: str
    route: str
    seen_at: float | None
    failing_since: float | None
    failures: int
    quarantined: float | None


class LastFailure(NamedTuple):
    """How a client failed last: what it said, when that was, with which component (empty: as a whole), and why."""

    message: str
    at: datetime | None
    component: str
    reason: Reason


_BARE = select(
    *(type_coerce(CLIENTS.c["grp" if name == "group" else name], NULLTYPE).label(name) for name in Line._fields)
)
"""A line without a check of each cell: there are millions. What is odd shows when a line is used."""


_LABEL_TEXTS = text(
    f"""
    WITH RECURSIVE found (labels) AS (
        SELECT * FROM (SELECT labels FROM clients WHERE {LABELLED} ORDER BY labels LIMIT 1) AS first
        UNION ALL
        SELECT (
            SELECT labels FROM clients WHERE {LABELLED} AND labels > found.labels ORDER BY labels LIMIT 1
        ) FROM found WHERE found.labels IS NOT NULL
    )
    SELECT labels FROM found WHERE labels IS NOT NULL LIMIT :most
    """  # noqa: S608 - a text of ours
)
"""Goes from each text to the next one in the index, instead of over all that are alike."""


class Lines(FleetRecords):
    """The lines of the fleet."""

    def lines(
        self, groups: Collection[str], after: str = "", first: int = 500, through: Sieve | None = None
    ) -> Iterator[Line]:
        """Give the clients of groups that follow a name, in order; each batch is larger than the one before.

        With a sieve, only those that come through it are read.
        """
        chosen = through or Sieve()
        chosen, size = replace(chosen, rows=self._of(groups) & chosen.rows), min(max(first, 1), MAX_BATCH)
        while True:
            batch = self._batch(chosen, after, size)
            yield from batch
            if len(batch) < size:
                return
            after, size = batch[-1].name, min(size * 4, MAX_BATCH)

    def lines_of(self, names: Collection[str]) -> dict[str, Line]:
        """Give the lines of some clients by name, also of those that left."""
        with self._read() as connection:
            found = streamed(connection, _BARE.where(any_of(CLIENTS.c.name, names)))
            return {line.name: line for line in map(Line._make, found)}

    def label_texts(self, most: int) -> list[str] | None:
        """Give the labels of clients as their cells have them, each text once; None where there are more of them."""
        with self._read() as connection:
            found = list(connection.scalars(_LABEL_TEXTS, {"most": most + 1}))
        return found if len(found) <= most else None

    def among(self, groups: Collection[str], names: Collection[str]) -> set[str]:
        """Give those of some names that are clients of groups."""
        wanted = select(CLIENTS.c.name).where(any_of(CLIENTS.c.name, names), self._of(groups))
        with self._read() as connection:
            return set(connection.scalars(wanted))

    def _batch(self, chosen: Sieve, after: str, size: int) -> list[Line]:
        with self._read() as connection:
            name = by_code_point(connection)
            wanted = _BARE.where(chosen.rows, *from_prefix(name, chosen.prefix, after)).order_by(name).limit(size)
            return [Line._make(row) for row in connection.execute(wanted)]

    def neighbours(self, name: str, most: int = 200) -> list[str]:
        """Give the clients whose names stand next to one in their order, also of those that left."""
        begins = name[: max(len(name) // 2, 1)]
        with self._read() as connection:
            column = by_code_point(connection)
            behind = select(CLIENTS.c.name).where(column >= begins).order_by(column).limit(most)
            before = select(CLIENTS.c.name).where(column < name).order_by(column.desc()).limit(most)
            return list(dict.fromkeys([*connection.scalars(before), *connection.scalars(behind)]))

    def profiles_of(self, fingerprints: Collection[str]) -> dict[str, Profile]:
        """Give some profiles by fingerprint."""
        wanted = select(PROFILES.c.fingerprint, PROFILES.c.data).where(any_of(PROFILES.c.fingerprint, fingerprints))
        with self._read() as connection:
            return {key: _profile(data, key) for key, data in connection.execute(wanted)}

    def every_profile(self, most: int) -> Iterator[tuple[str, Profile]] | None:
        """Give all profiles by fingerprint, also those that no client has any more; None where there are more."""
        with self._read() as connection:
            if (connection.scalar(select(func.count()).select_from(PROFILES)) or 0) > most:
                return None
        return self._every_profile()

    def _every_profile(self) -> Iterator[tuple[str, Profile]]:
        with self._read() as connection:
            for key, data in streamed(connection, select(PROFILES.c.fingerprint, PROFILES.c.data)):
                yield key, checked(Profile.from_json(data, key))

    def last_failures(self, names: Collection[str]) -> dict[str, LastFailure]:
        """Give how some clients failed last, by name."""
        return self._failures(any_of(JOURNAL.c.client, names))

    def failing(self) -> dict[str, LastFailure]:
        """Give how those failed last that weren't well since, by name."""
        return self._failures(JOURNAL.c.client.in_(select(CLIENTS.c.name).where(CLIENTS.c.failures > 0)))

    def _failures(self, of: ColumnElement[bool]) -> dict[str, LastFailure]:
        entry = JOURNAL.c
        last = select(func.max(entry.id)).where(of, entry.outcome == "failed").group_by(entry.client)
        columns = (entry.client, entry.message, entry.at, entry.component, entry.reason)
        with self._read() as connection:
            return {
                name: LastFailure(message, moment(at), component, _reason(reason, message))
                for name, message, at, component, reason in connection.execute(
                    select(*columns).where(entry.id.in_(last))
                )
            }


def _reason(known: str, message: str) -> Reason:
    """Give the reason of a failure; earlier versions wrote down its label, where a client failed as a whole."""
    reason = _KNOWN.get(known) or reason_of(message)
    return "client" if reason == "other" else reason


_KNOWN: Mapping[str, Reason] = {reason: reason for reason in REASONS}


def by_code_point(connection: Connection) -> ColumnElement[str]:
    """Give names in an order that is the same in each database, and that of Python."""
    name = CLIENTS.c.name
    return name.collate("C") if connection.dialect.name == "postgresql" else name


def from_prefix(name: ColumnElement[str], prefix: str, after: str) -> list[ColumnElement[bool]]:
    """Give what is true of names that begin with a prefix and follow a name."""
    end = _behind(prefix)
    return [name >= prefix if prefix > after else name > after, *([name < end] if end else [])]


def _behind(prefix: str) -> str:
    """Give the first text behind all that begin with a prefix; empty where there is none."""
    kept = prefix.rstrip(chr(sys.maxunicode))
    if not kept:
        return ""
    last = ord(kept[-1]) + 1
    return kept[:-1] + ("\ue000" if last == _SURROGATES else chr(last))


_SURROGATES = 0xD800
"""Where characters begin that no text has; those behind them begin with U+E000."""


@lru_cache(maxsize=1000)
def _profile(data: str, fingerprint: str) -> Profile:
    """Read a profile; those of one page are those of the next, and its fingerprint stands for all that is in it."""
    return checked(Profile.from_json(data, fingerprint))
