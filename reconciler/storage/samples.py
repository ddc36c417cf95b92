"""How far the fleet was at times past, by component; the whole fleet stands under the empty name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, cast, delete, func, select

from reconciler.storage.base import Part, moment, seconds
from reconciler.storage.cells import checked
from reconciler.storage.database import upsert
from reconciler.storage.tables import SAMPLES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

_COUNTS = ("updated", "outdated", "ahead", "unknown", "pending")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """How many clients were how far at a time."""

    at: datetime
    updated: int
    outdated: int
    ahead: int
    unknown: int
    pending: int = 0


class Samples(Part):
    """How far the fleet was."""

    def keep_samples(self, samples: Mapping[str, Sample]) -> None:
        """Remember how far each component is, by its id."""
        rows = [
            {"at": seconds(one.at), "component": component, **{name: getattr(one, name) for name in _COUNTS}}
            for component, one in samples.items()
        ]
        with self._write() as connection:
            upsert(connection, SAMPLES, rows, _COUNTS)

    def samples(self, component: str, since: datetime) -> list[Sample]:
        """Give how far a component was since a time, the oldest first."""
        chosen = (
            select(SAMPLES)
            .where(SAMPLES.c.component == component, SAMPLES.c.at >= seconds(since))
            .order_by(SAMPLES.c.at)
        )
        with self._read() as connection:
            found = []
            for row in connection.execute(chosen):
                at = moment(row.at)
                assert at is not None
                found.append(checked(Sample(at=at, **{name: getattr(row, name) for name in _COUNTS})))
            return found

    def last_sample(self) -> datetime | None:
        """Give when the last samples were taken."""
        with self._read() as connection:
            return moment(connection.scalar(select(func.max(SAMPLES.c.at))))

    def thin_samples(self, before: datetime, span: timedelta) -> None:
        """Keep of what is older than a time only the first samples of each span."""
        older = SAMPLES.c.at < seconds(before)
        part = cast(SAMPLES.c.at / span.total_seconds(), BigInteger)
        kept = select(func.min(SAMPLES.c.at)).where(older).group_by(part)
        with self._write() as connection:
            connection.execute(delete(SAMPLES).where(older, SAMPLES.c.at.not_in(kept)))

    def forget_samples(self, before: datetime) -> None:
        """Forget what is older."""
        with self._write() as connection:
            connection.execute(delete(SAMPLES).where(SAMPLES.c.at < seconds(before)))
