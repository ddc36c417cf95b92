"""What the state remembers of plans and runs: which were made, carried out or superseded, and what they did."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, or_, select

from reconciler.model.report import LOST, JournalEntry, Run, RunStep, Traffic
from reconciler.storage.base import Part, moment, seconds
from reconciler.storage.batches import forget_batches
from reconciler.storage.bulk import any_of
from reconciler.storage.cells import checked
from reconciler.storage.database import insert_many, upsert
from reconciler.storage.lock import is_over
from reconciler.storage.tables import APPLIED, FORGOTTEN, JOURNAL, LOCK, PLANS, RUNS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Row, Table

    from reconciler.model.report import Asked, PlanStatus, RunPart, RunStatus

_TRAFFIC = {
    "received": "bytes_received",
    "not_received": "bytes_not_received",
    "sent": "bytes_sent",
    "saved": "bytes_saved",
}
"""Columns of a run, and what they are called in the document of its report."""


FORGOTTEN_AT_ONCE = 10_000
"""Entries of the journal that are forgotten in one transaction."""
_RUNS = 500
MAX_STEPS = 500
"""Parts of a run that are remembered: one that waits for weeks has many."""


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """A plan that was written down. `sha256` is that of its file; `status`: new, running, done or superseded."""

    plan_id: str
    sha256: str
    serial: int
    created: datetime
    status: PlanStatus


class Runs(Part):
    """Plans, runs and the journal."""

    def record_plan(self, plan_id: str, sha256: str, serial: int, created: datetime) -> None:
        """Write down that a plan was made."""
        row = {"plan_id": plan_id, "sha256": sha256, "serial": serial, "created": seconds(created), "status": "new"}
        with self._write(lasts=True) as connection:
            upsert(connection, PLANS, [row], ())

    def plan_record(self, plan_id: str) -> PlanRecord | None:
        """Give what is known of a plan."""
        with self._read() as connection:
            row = connection.execute(select(PLANS).where(PLANS.c.plan_id == plan_id)).first()
            if row is None:
                return None
            created = moment(row.created)
            assert created is not None
            return checked(
                PlanRecord(
                    plan_id=row.plan_id, sha256=row.sha256, serial=row.serial, created=created, status=row.status
                )
            )

    def start_plan(self, plan_id: str) -> None:
        """Mark a plan as running; all others that aren't done are superseded by it."""
        with self._write(lasts=True) as connection:
            open_plans = PLANS.update().where(PLANS.c.status.in_(("new", "running")), PLANS.c.plan_id != plan_id)
            connection.execute(open_plans.values(status="superseded"))
            connection.execute(PLANS.update().where(PLANS.c.plan_id == plan_id).values(status="running"))

    def finish_plan(self, plan_id: str) -> None:
        """Mark a plan as done."""
        with self._write(lasts=True) as connection:
            connection.execute(PLANS.update().where(PLANS.c.plan_id == plan_id).values(status="done"))

    def begin_run(
        self,
        run_id: str,
        plan_id: str,
        command: str,
        started: datetime,
        origin: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Write down that a run began; `origin` says who runs it and where."""
        row = {"run_id": run_id, "plan_id": plan_id, "command": command, "started": seconds(started)}
        row["origin"] = json.dumps(dict(origin))
        newest = select(func.coalesce(func.max(JOURNAL.c.id), 0)).scalar_subquery()
        with self._write(lasts=True) as connection:
            connection.execute(RUNS.insert().values(**row, status="running", report="", journal_from=newest))

    def record_command(
        self, run_id: str, command: str, origin: Mapping[str, str], entries: Sequence[JournalEntry]
    ) -> None:
        """Write down what somebody did by a command that carried out no plan."""
        now = self._clock()
        with self.together():
            self.begin_run(run_id, "", command, now, origin)
            self.journal(run_id, entries)
            self.end_run(run_id, "done", {}, now)

    def journal(self, run_id: str, entries: Sequence[JournalEntry]) -> None:
        """Write outcomes down as they happen."""
        if entries:
            with self._write() as connection:
                insert_many(connection, JOURNAL, JOURNAL_COLUMNS, journal_rows(run_id, entries))

    def end_run(
        self,
        run_id: str,
        status: RunStatus,
        report: Mapping[str, Any],
        ended: datetime,
        steps: Sequence[RunStep] = (),
    ) -> None:
        """Write down how a run ended; `report` is its document, `steps` are its parts with their times."""
        took = json.dumps([[step.step, seconds(step.started), step.seconds] for step in steps[:MAX_STEPS]])
        traffic = {column: int(report.get(key, 0)) for column, key in _TRAFFIC.items()}
        changes = {"status": status, "report": json.dumps(report), "ended": seconds(ended), "steps": took, **traffic}
        with self._write(lasts=True) as connection:
            connection.execute(RUNS.update().where(RUNS.c.run_id == run_id).values(**changes))

    def runs(self, limit: int, since: datetime | None = None) -> list[Run]:
        """Give the last runs, the newest first, of those that began since a time."""
        wanted = select(RUNS).order_by(RUNS.c.started.desc()).limit(limit)
        with self._read() as connection:
            live = run_under_way(connection)
            rows = connection.execute(wanted.where(RUNS.c.started >= seconds(since)) if since else wanted).all()
            return [read_run(row, live) for row in rows]

    def traffic(self) -> Traffic:
        """Add up what all runs received, sent and saved."""
        with self._read() as connection:
            return _sum_of(connection, RUNS) + _sum_of(connection, FORGOTTEN)

    def forget_runs(self, before: datetime, plans_before: datetime) -> int:
        """Forget runs and plans that began before a time, with what was done with clients; gives how many runs.

        The newest run stays, and so does a plan that is under way. What runs received and sent stays in `traffic`.
        """
        forgotten, more = 0, True
        while more:
            runs, more = self._forget_some(before)
            forgotten += runs
        made = (PLANS.c.created < seconds(plans_before)) & (PLANS.c.status != "running")
        with self._write() as connection:
            connection.execute(PLANS.delete().where(made))
        return forgotten

    def _forget_some(self, before: datetime) -> tuple[int, bool]:
        """Forget as much as doesn't keep others waiting; gives how many runs went, and whether there may be more.

        A run goes with the last of its journal, so that one that was forgotten in part goes on to be.
        """
        with self._write() as connection:
            newest = connection.scalar(select(RUNS.c.run_id).order_by(RUNS.c.started.desc()).limit(1))
            old = (RUNS.c.started < seconds(before)) & (RUNS.c.run_id != (newest or ""))
            ids = connection.scalars(select(RUNS.c.run_id).where(old).order_by(RUNS.c.started).limit(_RUNS)).all()
            room, gone = FORGOTTEN_AT_ONCE, list[str]()
            for run_id in ids:
                some = select(JOURNAL.c.id).where(JOURNAL.c.run_id == run_id).limit(room)
                room -= connection.execute(JOURNAL.delete().where(JOURNAL.c.id.in_(some))).rowcount
                if not room:
                    break
                gone.append(run_id)
            if gone:
                these = any_of(RUNS.c.run_id, gone)
                sums = _sum_of(connection, RUNS, these) + _sum_of(connection, FORGOTTEN)
                forget_batches(connection, select(RUNS.c.run_id).where(these))
                connection.execute(RUNS.delete().where(these))
                row = {"id": 1, **{column: getattr(sums, column) for column in _TRAFFIC}}
                upsert(connection, FORGOTTEN, [row], tuple(_TRAFFIC))
        return len(gone), not room or len(ids) == _RUNS

    def run(self, run_id: str) -> Run | None:
        """Give one run."""
        with self._read() as connection:
            live = run_under_way(connection)
            row = connection.execute(select(RUNS).where(RUNS.c.run_id == run_id)).first()
            return None if row is None else read_run(row, live)

    def journal_of(self, run_id: str) -> list[JournalEntry]:
        """Give the outcomes of a run, in the order in which they came."""
        with self._read() as connection:
            rows = connection.execute(select(JOURNAL).where(JOURNAL.c.run_id == run_id).order_by(JOURNAL.c.id)).all()
            return [journal_entry(row) for row in rows]

    def outcomes(self, asked: Asked, limit: int) -> list[tuple[str, JournalEntry]]:
        """Give the last outcomes of those that are asked for, each with the id of its run, the newest first."""
        entry = JOURNAL.c
        conditions = [
            *([entry.run_id == asked.run_id] if asked.run_id else []),
            *([entry.client == asked.client] if asked.client else []),
            *([entry.component == asked.component] if asked.component else []),
            *([or_(entry.to_version == asked.version, entry.from_version == asked.version)] if asked.version else []),
            *([entry.at >= seconds(asked.since)] if asked.since else []),
        ]
        wanted = select(JOURNAL).where(*conditions).order_by(entry.id.desc()).limit(limit)
        with self._read() as connection:
            return [(row.run_id, journal_entry(row)) for row in connection.execute(wanted)]

    def switched_at(self, component: str, version: str, since: datetime) -> dict[str, datetime]:
        """Give when clients last switched to a version, in runs that didn't end before a time."""
        entry = JOURNAL.c
        late = select(RUNS.c.run_id).where(or_(RUNS.c.ended.is_(None), RUNS.c.ended >= seconds(since)))
        wanted = (
            select(entry.client, func.max(entry.at))
            .where(entry.run_id.in_(late), entry.component == component, entry.to_version == version)
            .where(entry.outcome == "changed")
            .group_by(entry.client)
        )
        with self._read() as connection:
            return {client: at for client, stamp in connection.execute(wanted) if (at := moment(stamp)) is not None}

    def last_failed(self) -> frozenset[str]:
        """Give the clients that failed or were unreachable in the last run that ended and had something to do there."""
        applied = RUNS.c.ended.is_not(None) & (RUNS.c.command == "apply")
        newest = select(RUNS.c.report).where(applied).order_by(RUNS.c.started.desc()).limit(1)
        with self._read() as connection:
            report = json.loads(connection.scalar(newest) or "{}")
            return frozenset(
                str(entry["client"]) for key in sorted(LOST) for entry in report.get(key, ()) if entry["client"]
            )

    def record_applied_spec(self, digest: str, effective: Mapping[str, Any]) -> None:
        """Remember the spec that was applied."""
        row = {"id": 1, "digest": digest, "effective": json.dumps(effective, default=str)}
        with self._write() as connection:
            upsert(connection, APPLIED, [row], ("digest", "effective"))

    def applied_digest(self) -> str | None:
        """Give the digest of the spec that was applied last; None where none was."""
        with self._read() as connection:
            return connection.scalar(select(APPLIED.c.digest))

    def applied_spec(self) -> dict[str, Any] | None:
        """Give the effective values of the spec that was applied last."""
        with self._read() as connection:
            text = connection.scalar(select(APPLIED.c.effective))
            return None if text is None else dict(json.loads(text))


JOURNAL_COLUMNS = (
    *("run_id", "client", "grp", "component", "from_version", "to_version"),
    *("outcome", "message", "bytes", "at", "reason", "step"),
)


def journal_rows(run_id: str, entries: Sequence[JournalEntry], step: int = 0) -> list[tuple[Any, ...]]:
    """Give entries as the cells of `JOURNAL_COLUMNS`."""
    stamps = {at: seconds(at) for at in {entry.at for entry in entries}}
    return [
        (
            run_id,
            entry.client,
            entry.group,
            entry.component,
            entry.from_version,
            entry.to_version,
            entry.outcome,
            entry.message,
            entry.bytes,
            stamps[entry.at],
            entry.reason,
            step,
        )
        for entry in entries
    ]


def journal_entry(row: Row[Any]) -> JournalEntry:
    """Read an entry of the journal."""
    entry = JournalEntry(
        client=row.client,
        group=row.grp,
        component=row.component,
        from_version=row.from_version,
        to_version=row.to_version,
        outcome=row.outcome,
        message=row.message,
        bytes=row.bytes,
        at=moment(row.at),  # type: ignore[arg-type]
        reason=row.reason,
    )
    return checked(entry)


def _sum_of(connection: Connection, table: Table, *which: ColumnElement[bool]) -> Traffic:
    sums = [func.coalesce(func.sum(table.c[column]), 0) for column in _TRAFFIC]
    row = connection.execute(select(*sums).where(*which)).one()
    return Traffic(**{column: int(value) for column, value in zip(_TRAFFIC, row, strict=True)})


def run_under_way(connection: Connection) -> str:
    """Give the id of the run that goes on now: the newest that didn't end, while somebody holds the lock; or nothing.

    Newer ones may have ended meanwhile: a rollout is paused while a run changes clients.
    """
    held = connection.execute(select(LOCK)).first()
    if held is None or is_over(connection, held):
        return ""
    unended = select(RUNS.c.run_id).where(RUNS.c.status == "running").order_by(RUNS.c.started.desc()).limit(1)
    return connection.scalar(unended) or ""


def read_run(row: Row[Any], live: str) -> Run:
    """Read a run; `live` is the id of the one that goes on now."""
    started = moment(row.started)
    assert started is not None
    status: RunStatus = "broken off" if row.status == "running" and row.run_id != live else row.status
    recap = json.loads(row.report).get("recap", {}) if row.report else {}
    traffic = Traffic(row.received, row.not_received, row.sent, row.saved)
    if not isinstance(recap, dict) or not all(map(_are_counts, recap.values())):
        raise ValueError(f"the recap of {row.run_id} is {recap!r:.60}")
    run = Run(
        run_id=row.run_id,
        plan_id=row.plan_id,
        command=row.command,
        started=started,
        ended=moment(row.ended),
        status=status,
        recap=recap,
        traffic=checked(traffic),
        origin=dict(json.loads(row.origin)),
        steps=tuple(_step(*entry) for entry in json.loads(row.steps)),
    )
    if not all(isinstance(text, str) for pair in run.origin.items() for text in pair):
        raise ValueError(f"the origin of {row.run_id} is {row.origin!r:.60}")
    if not all(isinstance(text, str) for text in (run.run_id, run.plan_id, run.command, run.status)):
        raise ValueError("a run has no name")
    return run


def _step(step: RunPart, started: float, took: float) -> RunStep:
    began = moment(started)
    assert began is not None
    return checked(RunStep(step, began, float(took)))


def _are_counts(found: object) -> bool:
    return isinstance(found, dict) and all(type(count) is int for count in found.values())
