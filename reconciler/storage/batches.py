"""What the state remembers of batches whose workers outlive the process that gave them.

A batch is written before it is given, so that whoever comes after knows what may still go on somewhere. Its answers are
written with what they brought, in one transaction: what comes twice, of an attempt that isn't in force, or of a run
that left its batches, doesn't count.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, tuple_

from reconciler.storage.base import Part, moment, seconds
from reconciler.storage.cells import checked
from reconciler.storage.database import upsert
from reconciler.storage.tables import ANSWERED, BATCHES

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from reconciler.model.batch import Batch

_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchEntry:
    """A batch that is given to a lane of a site; its worker is taken for lost after `lease_until`."""

    batch: Batch
    site: str
    lane: str
    lease_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecord:
    """What is known of a batch: `status` is given, over, or left. `digest` is the SHA-256 of its document."""

    run_id: str
    batch: str
    site: str
    lane: str
    status: str
    attempt: int
    fence: int
    lease_until: datetime
    clients: tuple[str, ...]
    answered: int
    digest: str


class Batches(Part):
    """Batches, and for whom they were answered."""

    repeatable = frozenset({"record_batches", "end_batches", "leave_batches"})

    def record_batches(self, entries: Sequence[BatchEntry]) -> None:
        """Write batches down before they are given, or another attempt of them."""
        rows = [_row(entry) for entry in entries]
        with self._write(lasts=True) as connection:
            upsert(connection, BATCHES, rows, [name for name in _COLUMNS if name not in {"run_id", "batch"}])

    def record_answered(self, run_id: str, answered: Collection[tuple[str, int, str]]) -> set[tuple[str, str]]:
        """Write down for whom a batch was answered: its id, attempt and client.

        Gives those, without the attempt, that count: whose batch has that attempt in force, and that weren't answered
        for before.
        """
        if not answered:
            return set()
        with self._write() as connection:
            in_force = self._in_force(connection, run_id, {batch for batch, _attempt, _client in answered})
            wanted = {(batch, client): attempt for batch, attempt, client in answered if in_force.get(batch) == attempt}
            known = self._known(connection, run_id, list(wanted))
            new = {key: attempt for key, attempt in wanted.items() if key not in known}
            rows = [
                {"run_id": run_id, "batch": batch, "client": client, "attempt": attempt}
                for (batch, client), attempt in sorted(new.items())
            ]
            upsert(connection, ANSWERED, rows, ())
        return set(new)

    def _in_force(self, connection: Connection, run_id: str, ids: Collection[str]) -> dict[str, int]:
        entry = BATCHES.c
        found: dict[str, int] = {}
        for part in _parts(sorted(ids)):
            mine = (entry.run_id == run_id) & entry.batch.in_(part) & (entry.status != "left")
            for row in connection.execute(select(entry.batch, entry.attempt).where(mine)):
                found[row.batch] = row.attempt
        return found

    def _known(self, connection: Connection, run_id: str, keys: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        entry = ANSWERED.c
        found: set[tuple[str, str]] = set()
        for part in _parts(keys):
            mine = (entry.run_id == run_id) & tuple_(entry.batch, entry.client).in_(part)
            found |= {
                (batch, client) for batch, client in connection.execute(select(entry.batch, entry.client).where(mine))
            }
        return found

    def end_batches(self, run_id: str, ids: Collection[str]) -> None:
        """Write down that batches are over."""
        with self._write() as connection:
            for part in _parts(sorted(ids)):
                mine = (BATCHES.c.run_id == run_id) & BATCHES.c.batch.in_(part)
                connection.execute(BATCHES.update().where(mine).values(status="over"))

    def leave_batches(self, run_id: str) -> None:
        """Write down that nobody waits for what other runs gave: what is answered to those doesn't count any more."""
        others = (BATCHES.c.run_id != run_id) & (BATCHES.c.status == "given")
        with self._write() as connection:
            connection.execute(BATCHES.update().where(others).values(status="left"))

    def batches(self, run_id: str) -> list[BatchRecord]:
        """Give what is known of the batches of a run."""
        counts: dict[str, int] = defaultdict(int)
        with self._read() as connection:
            for batch in connection.scalars(select(ANSWERED.c.batch).where(ANSWERED.c.run_id == run_id)):
                counts[batch] += 1
            rows = connection.execute(select(BATCHES).where(BATCHES.c.run_id == run_id).order_by(BATCHES.c.batch))
            return [_record(row, counts[row.batch]) for row in rows]


def forget_batches(connection: Connection, run_ids: Any) -> None:
    """Forget the batches of runs: `run_ids` selects these."""
    for table in (ANSWERED, BATCHES):
        connection.execute(table.delete().where(table.c.run_id.in_(run_ids)))


_COLUMNS = tuple(column.name for column in BATCHES.columns)


def _row(entry: BatchEntry) -> dict[str, Any]:
    from reconciler.formats.batch_json import write_batch  # most commands give nobody batches

    batch = entry.batch
    return {
        "run_id": batch.run_id,
        "batch": batch.id,
        "site": entry.site,
        "lane": entry.lane,
        "status": "given",
        "attempt": batch.attempt,
        "fence": batch.fence,
        "lease_until": seconds(entry.lease_until),
        "clients": json.dumps([target.client.name for target in batch.targets]),
        "digest": hashlib.sha256(write_batch(batch)).hexdigest(),
    }


def _record(row: Any, answered: int) -> BatchRecord:
    until = moment(row.lease_until)
    assert until is not None
    clients = json.loads(row.clients)
    if not all(isinstance(name, str) for name in clients):
        raise ValueError(f"the batch {row.batch} has clients that are none")
    return checked(
        BatchRecord(
            run_id=row.run_id,
            batch=row.batch,
            site=row.site,
            lane=row.lane,
            status=row.status,
            attempt=row.attempt,
            fence=row.fence,
            lease_until=until,
            clients=tuple(clients),
            answered=answered,
            digest=row.digest,
        )
    )


def _parts(items: Sequence[Any]) -> list[Sequence[Any]]:
    return [items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE)]
