"""What the state remembers of sources: what each offered when it answered last, and when a release was first seen."""

from __future__ import annotations

import json
from dataclasses import astuple
from typing import TYPE_CHECKING

from sqlalchemy import select

from reconciler.model.release import SourceReport, Withdrawal
from reconciler.storage.base import Part, moment, seconds
from reconciler.storage.database import upsert
from reconciler.storage.manifest import incremental_document, read_incremental, read_release, release_document
from reconciler.storage.tables import FIRST_SEEN, SOURCES

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime


class Upstream(Part):
    """Reports of sources."""

    def record_source(self, report: SourceReport, at: datetime) -> None:
        """Record what a source answered; one that failed keeps the releases that it offered before."""
        with self._write() as connection:
            row = {
                "name": report.source,
                "error": report.error,
                "releases": "[]",
                "incrementals": "[]",
                "problems": "[]",
                "withdrawn": "[]",
                "accepted": report.accepted,
                "cooldown_until": seconds(report.cooldown_until) if report.cooldown_until else None,
            }
            if report.error:
                upsert(connection, SOURCES, [row], ("error", "accepted", "cooldown_until"))
                return
            row["releases"] = json.dumps([release_document(release) for release in report.releases])
            row["incrementals"] = json.dumps([incremental_document(entry) for entry in report.incrementals])
            row["problems"] = json.dumps({"all": report.problems, "waiting": report.waiting})
            row["withdrawn"] = json.dumps([astuple(entry) for entry in report.withdrawn])
            changed = tuple(row)[1:]
            if not report.accepted:  # what is only accepted was verified at an earlier time
                row["last_success"] = seconds(at)
                changed += ("last_success",)
            upsert(connection, SOURCES, [row], changed)

    def record_first_seen(self, releases: Collection[tuple[str, str]], at: datetime) -> None:
        """Record when each (component, version) was offered first; what is known of one stays."""
        rows = [{"component": component, "version": version, "at": seconds(at)} for component, version in releases]
        with self._write() as connection:
            upsert(connection, FIRST_SEEN, rows, ())

    def source_reports(self) -> list[tuple[SourceReport, datetime | None]]:
        """Give the last report of each source, and when it last answered; by name."""
        with self._read() as connection:
            return [
                (
                    SourceReport(
                        row.name,
                        tuple(read_release(entry) for entry in json.loads(row.releases)),
                        _problems(row.problems)[0],
                        row.error,
                        tuple(read_incremental(entry) for entry in json.loads(row.incrementals)),
                        tuple(Withdrawal(*entry) for entry in json.loads(row.withdrawn)),
                        row.accepted,
                        moment(row.cooldown_until),
                        waiting=_problems(row.problems)[1],
                    ),
                    self._past(row.last_success),
                )
                for row in connection.execute(select(SOURCES).order_by(SOURCES.c.name))
            ]

    def first_seen(self) -> dict[tuple[str, str], datetime]:
        """Give when each (component, version) was first offered."""
        with self._read() as connection:
            rows = connection.execute(select(FIRST_SEEN.c.component, FIRST_SEEN.c.version, FIRST_SEEN.c.at))
            return {(component, version): self._past(at) for component, version, at in rows}  # type: ignore[misc]


def _problems(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Read what a source said was wrong, and what of that it waits for; a list is all of it, and older."""
    found = json.loads(text)
    return (tuple(found["all"]), tuple(found["waiting"])) if isinstance(found, dict) else (tuple(found), ())
