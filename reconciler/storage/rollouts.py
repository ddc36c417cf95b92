"""What the state remembers of rollouts: how far each is, who failed in it, and which clients are in quarantine."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, case, delete, func, literal, select, tuple_

from reconciler.model.deploy import MACHINE, RELEASE
from reconciler.model.report import Quarantined
from reconciler.model.rollout import STATUSES, UNFIT, UNSETTLED, Approval, Cut, Move, RolloutRecord
from reconciler.storage.base import Part, moment, seconds
from reconciler.storage.bulk import any_of
from reconciler.storage.cells import checked
from reconciler.storage.database import insert_many, upsert
from reconciler.storage.judging import Behind
from reconciler.storage.tables import CLIENTS, ROLLOUT_FAILURES, ROLLOUT_MOVES, ROLLOUTS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime, timedelta

    from sqlalchemy import ColumnElement, Row, Table

    from reconciler.model.deploy import Fault
    from reconciler.model.rollout import Key
    from reconciler.model.spec import Quarantine

_KEY = ("component", "version", "grp")
_MOVE = (*_KEY, "status", "wave", "reason", "at")
_NAMED = ((ROLLOUTS.c.component, "component"), (ROLLOUTS.c.version, "version"))
Ended = tuple[float, str, str, str]
"""Where a rollout stands among those that are over: when it began, component, version and group."""


class RolloutRecords(Part):
    """Rollouts and what went wrong in them."""

    def rollouts(self) -> dict[Key, RolloutRecord]:
        """Give all rollouts, those that are over included."""
        with self._read() as connection:
            rows = connection.execute(select(ROLLOUTS).order_by(*_ORDER)).all()
            now = self._clock()
            records = [_record(row).cut(now) for row in rows]
            return {record.key: record for record in records}

    def rollout(self, key: Key) -> RolloutRecord | None:
        """Give a rollout; None where there is none."""
        chosen = select(ROLLOUTS).where(*_is(ROLLOUTS, key))
        with self._read() as connection:
            row = connection.execute(chosen).first()
            return None if row is None else _record(row).cut(self._clock())

    def rollouts_unsettled(self) -> dict[Key, RolloutRecord]:
        """Give the rollouts that may go on; those that are over may be thousands."""
        chosen = select(ROLLOUTS).where(ROLLOUTS.c.status.in_(UNSETTLED)).order_by(*_ORDER)
        with self._read() as connection:
            now = self._clock()
            records = [_record(row).cut(now) for row in connection.execute(chosen)]
            return {record.key: record for record in records}

    def rollouts_over(self, component: str = "", before: Ended | None = None, limit: int = 50) -> list[RolloutRecord]:
        """Give rollouts that never go on, those that began last first; `before`: those that come after that one."""
        table = ROLLOUTS.c
        order = (table.started, table.component, table.version, table.grp)
        chosen = select(ROLLOUTS).where(table.status.not_in(UNSETTLED)).limit(limit)
        if component:
            chosen = chosen.where(table.component == component)
        if before is not None:
            chosen = chosen.where(tuple_(*order) < tuple_(*map(literal, before)))
        with self._read() as connection:
            return [_record(row) for row in connection.execute(chosen.order_by(*(one.desc() for one in order)))]

    def stopped(self) -> dict[Key, RolloutRecord]:
        """Give the rollouts that were paused, halted or aborted; they are few, so this costs little."""
        chosen = select(ROLLOUTS).where(ROLLOUTS.c.status.in_([*UNFIT, "paused"]))
        with self._read() as connection:
            records = map(_record, connection.execute(chosen).all())
            return {record.key: record for record in records}

    def record_rollout(self, record: RolloutRecord) -> None:
        """Remember how far a rollout is."""
        self.record_rollouts([record])

    def record_rollouts(self, records: Sequence[RolloutRecord]) -> None:
        """Remember how far rollouts are, at once; of several records of one the last word counts."""
        if not records:
            return
        table, at = ROLLOUTS.c, seconds(self._clock())
        named = (any_of(column, {getattr(one, name) for one in records}) for column, name in _NAMED)
        chosen = select(*(table[name] for name in (*_KEY, "status", "wave"))).where(*named)
        with self._write(lasts=True) as connection:
            known = {(row[0], row[1], row[2]): (row[3], row[4]) for row in connection.execute(chosen)}
            moves = []
            for one in records:
                if known.get(one.key) != (one.status, one.wave):
                    known[one.key] = one.status, one.wave
                    moves.append((*one.key, one.status, one.wave, one.reason, at))
            insert_many(connection, ROLLOUT_MOVES, _MOVE, moves)
            rows = [_row(one) for one in {one.key: one for one in records}.values()]
            upsert(connection, ROLLOUTS, rows, tuple(name for name in rows[0] if name not in _KEY))
            self._announce(connection)

    def rollout_moves(self, key: Key) -> list[Move]:
        """Give how a rollout came to where it is, the first first; those before this was written down aren't there."""
        chosen = select(ROLLOUT_MOVES).where(*_is(ROLLOUT_MOVES, key))
        with self._read() as connection:
            return [_move(row) for row in connection.execute(chosen.order_by(ROLLOUT_MOVES.c.id))]

    def moves_of(self, component: str, limit: int) -> list[tuple[Key, Move]]:
        """Give the last moves of all rollouts of a component, the newest first."""
        chosen = select(ROLLOUT_MOVES).where(ROLLOUT_MOVES.c.component == component)
        with self._read() as connection:
            rows = connection.execute(chosen.order_by(ROLLOUT_MOVES.c.id.desc()).limit(limit)).all()
            return [((row.component, row.version, row.grp), _move(row)) for row in rows]

    def forget_rollouts(self, component: str, version: str) -> None:
        """Forget all rollouts of a version, and who failed in them: it begins anew."""
        with self._write(lasts=True) as connection:
            for table in (ROLLOUTS, ROLLOUT_FAILURES, ROLLOUT_MOVES):
                connection.execute(delete(table).where(table.c.component == component, table.c.version == version))

    def rollout_failures(self, fault: Fault = RELEASE) -> dict[Key, dict[str, str]]:
        """Give the clients that failed with the version of a rollout and don't have it since, with their messages.

        `fault` is what they failed of: see `model.client.FAULTS`.
        """
        found: dict[Key, dict[str, str]] = {}
        with self._read() as connection:
            for row in connection.execute(select(ROLLOUT_FAILURES).where(ROLLOUT_FAILURES.c.fault == fault)):
                found.setdefault((row.component, row.version, row.grp), {})[row.client] = row.message
        return found

    def failed_in_rollouts(self, components: Collection[str]) -> dict[str, list[Behind]]:
        """Give the clients that failed in rollouts of some components that aren't superseded, by name."""
        failure, record = ROLLOUT_FAILURES.c, ROLLOUTS.c
        same = and_(*(failure[name] == record[name] for name in _KEY))
        wanted = (
            select(failure.client, failure.component, failure.version, failure.message)
            .join(ROLLOUTS, same, isouter=True)
            .where(func.coalesce(record.status, "") != "superseded", failure.fault.in_([RELEASE, MACHINE]))
            .order_by(failure.fault.desc(), failure.component, failure.version, failure.grp)
        )
        found: dict[str, list[Behind]] = {}
        with self._read() as connection:
            for client, component, version, message in connection.execute(wanted):
                if component in components:
                    found.setdefault(client, []).append(Behind(component, version, message))
        return found

    def failures_of(self, key: Key, limit: int = 1000) -> dict[str, tuple[str, Fault]]:
        """Give some clients that failed in a rollout, by name, with what they said and what it is the fault of."""
        table = ROLLOUT_FAILURES.c
        chosen = select(ROLLOUT_FAILURES).where(*_is(ROLLOUT_FAILURES, key)).order_by(table.client).limit(limit)
        with self._read() as connection:
            return {row.client: (row.message, row.fault) for row in connection.execute(chosen)}

    def count_failures(self, key: Key) -> int:
        """Count the clients that failed in a rollout."""
        chosen = select(func.count()).select_from(ROLLOUT_FAILURES).where(*_is(ROLLOUT_FAILURES, key))
        with self._read() as connection:
            return connection.scalar(chosen) or 0

    def forget_failures(self, key: Key) -> None:
        """Forget who failed in a rollout."""
        with self._write() as connection:
            connection.execute(delete(ROLLOUT_FAILURES).where(*_is(ROLLOUT_FAILURES, key)))

    def count_outcome(self, client: str, quarantine: Quarantine, now: datetime, *, failed: bool) -> None:
        """Count how often in a row a client failed; one that failed often enough is in quarantine from now on."""
        column = CLIENTS.c.failures
        values: Mapping[str, Any] = {"failures": 0, "quarantined": None}
        if failed:
            values = {"failures": column + 1}
            if quarantine.after_failures:
                until = seconds(now + quarantine.span)
                full = column + 1 >= quarantine.after_failures
                values = {**values, "quarantined": case((full, bindparam("until")), else_=CLIENTS.c.quarantined)}
        statement = CLIENTS.update().where(CLIENTS.c.name == client)
        if not failed:  # nothing is written in the most frequent case
            statement = statement.where((column != 0) | CLIENTS.c.quarantined.is_not(None))
        with self._write() as connection:
            connection.execute(
                statement.values(**values), {"until": until} if "quarantined" in values and failed else {}
            )

    def quarantined(self, now: datetime, span: timedelta) -> tuple[Quarantined, ...]:
        """Give the clients that are left alone because they failed again and again, by name; `span` is how long."""
        entry = CLIENTS.c
        columns = (entry.name, entry.grp, entry.quarantined, entry.failures, entry.error)
        wanted = select(*columns).where(entry.gone_at.is_(None), entry.quarantined > seconds(now)).order_by(entry.name)
        with self._read() as connection:
            return tuple(
                Quarantined(client=name, group=group, until=min(until, now + span), failures=failures, message=error)
                for name, group, stamp, failures, error in connection.execute(wanted)
                if (until := moment(stamp)) is not None
            )


def _is(table: Table, key: Key) -> list[ColumnElement[bool]]:
    return [table.c[name] == value for name, value in zip(_KEY, key, strict=True)]


def _row(record: RolloutRecord) -> dict[str, Any]:
    return {
        "component": record.component,
        "version": record.version,
        "grp": record.group,
        "status": record.status,
        "wave": record.wave,
        "started": seconds(record.started),
        "opened": seconds(record.opened),
        "passed": None if record.passed is None else seconds(record.passed),
        "cleared": record.cleared,
        "first": record.first,
        "catches_up": record.catches_up,
        "had": json.dumps(dict(record.had)),
        "reason": record.reason,
        "undo": record.undo,
        "structure": record.structure,
        "cuts": json.dumps([asdict(cut) for cut in record.cuts]),
        "sizes": json.dumps(record.sizes),
        "approved": json.dumps([[entry.wave, entry.who, seconds(entry.at)] for entry in record.approved]),
    }


def _move(row: Row[Any]) -> Move:
    at = moment(row.at)
    assert at is not None
    if row.status not in STATUSES:
        raise ValueError(f"a rollout of {row.component} {row.version} became {row.status}")
    return checked(Move(status=row.status, wave=row.wave, at=at, reason=row.reason))


_ORDER = (ROLLOUTS.c.component, ROLLOUTS.c.started, ROLLOUTS.c.grp)


def _record(row: Row[Any]) -> RolloutRecord:
    started, opened = moment(row.started), moment(row.opened)
    assert started is not None
    assert opened is not None
    record = RolloutRecord(
        component=row.component,
        version=row.version,
        group=row.grp,
        status=row.status,
        cuts=tuple(
            Cut(cut["select"], cut["upto"], tuple(cut["names"]), tuple(cut.get("instead", ())))
            for cut in json.loads(row.cuts)
        ),
        sizes=tuple(json.loads(row.sizes)),
        structure=row.structure,
        started=started,
        opened=opened,
        wave=row.wave,
        passed=moment(row.passed),
        cleared=row.cleared,
        first=row.first,
        reason=row.reason,
        undo=row.undo,
        approved=tuple(
            Approval(wave, who, at)
            for wave, who, stamp in json.loads(row.approved)
            if (at := moment(stamp)) is not None
        ),
        catches_up=row.catches_up,
        had=tuple(sorted(json.loads(row.had).items())),
    )
    waves = len(record.cuts)
    fits = record.wave >= 0 and (not waves or (record.wave <= waves and len(record.sizes) == waves))
    if record.status not in STATUSES or not fits:
        raise ValueError(f"the rollout of {record.component} {record.version} is {record.status} in wave {record.wave}")
    return checked(record)
