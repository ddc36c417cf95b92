"""Documents as the controller made them last, for those who show them: nobody who is asked for a page computes one.

Each has a digest: who decides on what a document says names it, and a page that didn't change isn't sent again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import delete, select

from reconciler.storage.base import Part, moment, seconds
from reconciler.storage.cells import checked
from reconciler.storage.database import upsert
from reconciler.storage.tables import SNAPSHOTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

SnapshotKind = Literal["status", "group", "component", "plan", "desired", "places", "facts"]


@dataclass(frozen=True)
class Snapshot:
    """A document of a time: `data` is its JSON."""

    at: datetime
    digest: str
    data: str

    @cached_property
    def document(self) -> Any:
        """The document; whoever shows it changes nothing in it."""
        return json.loads(self.data)


class Snapshots(Part):
    """The documents that were made last."""

    def keep_snapshots(self, kind: SnapshotKind, documents: Mapping[str, object]) -> None:
        """Have these be the documents of a kind, by name, as of now; others of it go."""
        now = seconds(self._clock())
        rows = []
        for name, document in documents.items():
            data = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
            digest = hashlib.sha256(data.encode("utf-8", "surrogatepass")).hexdigest()
            rows.append({"kind": kind, "name": name, "at": now, "digest": digest, "data": data})
        with self._write() as connection:
            known = dict(
                connection.execute(select(SNAPSHOTS.c.name, SNAPSHOTS.c.digest).where(SNAPSHOTS.c.kind == kind)).all()
            )
            gone = [name for name in known if name not in documents]
            for name in gone:
                connection.execute(delete(SNAPSHOTS).where(SNAPSHOTS.c.kind == kind, SNAPSHOTS.c.name == name))
            upsert(connection, SNAPSHOTS, rows, ("at", "digest", "data"))

    def snapshot(self, kind: SnapshotKind, name: str = "") -> Snapshot | None:
        """Give a document; None where none was made yet."""
        chosen = select(SNAPSHOTS).where(SNAPSHOTS.c.kind == kind, SNAPSHOTS.c.name == name)
        with self._read() as connection:
            row = connection.execute(chosen).first()
            if row is None:
                return None
            at = moment(row.at)
            assert at is not None
            return checked(Snapshot(at, row.digest, row.data))

    def snapshot_marks(self) -> dict[str, tuple[float, str]]:
        """Give when the newest document of each kind was made, and the digest of all of that kind."""
        columns = SNAPSHOTS.c
        chosen = select(columns.kind, columns.name, columns.at, columns.digest).order_by(columns.kind, columns.name)
        found: dict[str, tuple[float, str]] = {}
        with self._read() as connection:
            for kind, name, at, digest in connection.execute(chosen):
                newest, before = found.get(kind, (at, ""))
                whole = hashlib.sha256(f"{before}\0{name}\0{digest}".encode("utf-8", "surrogatepass")).hexdigest()
                found[kind] = max(at, newest), whole
        return found

    def snapshot_names(self, kind: SnapshotKind) -> list[str]:
        """Give the names of the documents of a kind, in order."""
        with self._read() as connection:
            return list(
                connection.scalars(select(SNAPSHOTS.c.name).where(SNAPSHOTS.c.kind == kind).order_by(SNAPSHOTS.c.name))
            )
