"""What the state remembers of sources and releases.

What each source offered when it answered last, when a release was first seen, and which bytes a version stands for.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, or_, select

from reconciler.model.offer import SourceReport, Unfetched, Withdrawal
from reconciler.model.release import Content
from reconciler.model.report import published_text
from reconciler.storage.base import Part, moment, seconds
from reconciler.storage.cells import checked, sound
from reconciler.storage.database import upsert
from reconciler.storage.manifest import incremental_document, read_incremental, read_release, release_document
from reconciler.storage.tables import CONTENTS, FIRST_SEEN, JOURNAL, SOURCES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

_GOT = ("changed", "ok", "staged")
"""Outcomes after which a client has the bytes of a version, or had them."""


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
                "signatures": "{}",
                "unfetched": "[]",
                "signed_up_to": "{}",
                "signed_until": None,
                "accepted": report.accepted,
                "cooldown_until": seconds(report.cooldown_until) if report.cooldown_until else None,
            }
            if report.error:
                upsert(connection, SOURCES, [row], ("error", "accepted", "cooldown_until"))
                return
            row["releases"] = json.dumps([release_document(release) for release in report.releases])
            row["incrementals"] = json.dumps([incremental_document(entry) for entry in report.incrementals])
            row["problems"] = json.dumps({"all": report.problems, "harmless": report.harmless})
            row["signatures"] = json.dumps({role: seconds(at) for role, at in report.expires.items()})
            row["unfetched"] = json.dumps(list(map(_unfetched_row, report.unfetched)))
            row["signed_up_to"] = json.dumps(dict(report.signed_up_to))
            row["signed_until"] = seconds(report.signed_until) if report.signed_until else None
            row["withdrawn"] = json.dumps([_withdrawal_row(entry) for entry in report.withdrawn])
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
                        problems=_problems(row.problems)[0],
                        error=row.error,
                        incrementals=tuple(read_incremental(entry) for entry in json.loads(row.incrementals)),
                        withdrawn=tuple(map(_withdrawal, json.loads(row.withdrawn))),
                        accepted=row.accepted,
                        cooldown_until=moment(row.cooldown_until),
                        harmless=_problems(row.problems)[1],
                        expires=_moments(row.signatures),
                        unfetched=tuple(map(_unfetched, json.loads(row.unfetched))),
                        signed_up_to={
                            str(name): str(version) for name, version in json.loads(row.signed_up_to).items()
                        },
                        signed_until=self._past(row.signed_until),
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

    def contents(self) -> dict[tuple[str, str, str], Content]:
        """Give which bytes each (component, version, platform) stands for, of those that were ever in the store."""
        with self._read() as connection:
            return {
                (row.component, row.version, row.platform): checked(
                    Content(row.digest, tuple(json.loads(row.replaced)))
                )
                for row in connection.execute(select(CONTENTS))
            }

    def record_content(self, key: tuple[str, str, str], digest: str, before: str = "") -> None:
        """Have a (component, version, platform) stand for a content from now on.

        `before` is what it stood for where that isn't remembered; nothing is written where nothing is new.
        """
        names = dict(zip(("component", "version", "platform"), key, strict=True))
        with self._write(lasts=True) as connection:
            here = and_(*(CONTENTS.c[name] == value for name, value in names.items()))
            row = connection.execute(select(CONTENTS).where(here)).first()
            if row is not None and row.digest == digest:
                return
            with sound(self._engine.url.render_as_string(hide_password=True)):
                known = [*json.loads(row.replaced), row.digest] if row is not None else [before] if before else []
            replaced = json.dumps([one for one in dict.fromkeys(known) if one != digest])
            upsert(connection, CONTENTS, [{**names, "digest": digest, "replaced": replaced}], ("digest", "replaced"))

    def got(self, releases: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Give which (component, version) some client got at some time, or was published."""
        entry = JOURNAL.c
        found = set()
        with self._read() as connection:
            for component, version in releases:
                given = and_(entry.client != "", entry.outcome.in_(_GOT))
                text = published_text(component, version)
                said = or_(entry.message == text, entry.message.startswith(f"{text} in ", autoescape=True))
                told = and_(entry.client == "", said)
                wanted = select(entry.id).where(
                    entry.component == component, entry.to_version == version, or_(given, told)
                )
                if connection.execute(wanted.limit(1)).first() is not None:
                    found.add((component, version))
        return found


def _moments(text: str) -> dict[str, datetime]:
    found = {str(role): moment(float(at)) for role, at in json.loads(text).items()}
    return {role: at for role, at in found.items() if at is not None}


def _unfetched_row(entry: Unfetched) -> list[Any]:
    out = seconds(entry.released) if entry.released else None
    return [entry.component, entry.version, entry.platform, entry.size, out, entry.why]


def _unfetched(row: list[Any]) -> Unfetched:
    component, version, platform, size, out, why = row
    found = Unfetched(component, version, platform, size=size, released=moment(out), why=why)
    return checked(found)


def _withdrawal_row(entry: Withdrawal) -> list[str]:
    return [entry.component, entry.version, entry.reason]


def _withdrawal(row: list[str]) -> Withdrawal:
    component, version, reason = row
    return checked(Withdrawal(component, version, reason))


def _problems(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Read what a source said was wrong, and what of that is harmless; a list is all of it, and older."""
    found = json.loads(text)
    both = (found["all"], found["harmless"]) if isinstance(found, dict) else (found, [])
    told, harmless = (tuple(map(str, part)) for part in both)
    return told, harmless
