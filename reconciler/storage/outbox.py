"""What the state remembers of notifiers: which conditions each knows of, and the messages that wait to be sent.

Both change in one transaction, so that what counts as told is in the outbox, whatever ends the process. A message
leaves the outbox when it was delivered, or given up.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import delete, func, select

from reconciler.model.notice import RECORDED, SEVERITIES, Condition, Known, Message, message_of
from reconciler.storage.base import Part, moment, seconds
from reconciler.storage.cells import checked
from reconciler.storage.tables import KNOWN, OUTBOX

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that wasn't delivered yet: `place` is its turn among those of its notifier."""

    notifier: str
    place: int
    message: Message
    attempts: int
    due: datetime


class Outbox(Part):
    """What is told, and to whom."""

    def known(self, notifier: str) -> dict[str, Known]:
        """Give the conditions that a notifier knows of, by their fingerprint."""
        with self._read() as connection:
            rows = connection.execute(select(KNOWN).where(KNOWN.c.notifier == notifier))
            return {row.fingerprint: checked(_known(row)) for row in rows}

    def conditions(self) -> tuple[Known, ...]:
        """Give what the controller knows to be so now, and since when; the worst first, then the oldest."""
        found = [known for known in self.known(RECORDED).values() if known.severity is not None]
        return tuple(sorted(found, key=lambda known: (-SEVERITIES.index(known.condition.severity), known.since)))

    def tell(self, notifier: str, known: Mapping[str, Known], messages: Iterable[Message], now: datetime) -> None:
        """Remember what a notifier knows from now on, and put the messages that say so into the outbox."""
        with self._write(lasts=True) as connection:
            connection.execute(delete(KNOWN).where(KNOWN.c.notifier == notifier))
            if known:
                connection.execute(KNOWN.insert(), [_row(notifier, key, one) for key, one in known.items()])
            last = connection.scalar(select(func.max(OUTBOX.c.place)).where(OUTBOX.c.notifier == notifier)) or 0
            for place, message in enumerate(messages, last + 1):
                row = {"notifier": notifier, "place": place, "body": json.dumps(message.document)}
                connection.execute(OUTBOX.insert(), {**row, "attempts": 0, "due": seconds(now)})

    def first_waiting(self) -> list[Waiting]:
        """Give the message of each notifier whose turn it is."""
        turns = (
            select(OUTBOX.c.notifier, func.min(OUTBOX.c.place).label("place")).group_by(OUTBOX.c.notifier).subquery()
        )
        query = select(OUTBOX).join(turns, (OUTBOX.c.notifier == turns.c.notifier) & (OUTBOX.c.place == turns.c.place))
        with self._read() as connection:
            return [
                Waiting(
                    notifier=row.notifier,
                    place=row.place,
                    message=checked(message_of(json.loads(row.body))),
                    attempts=row.attempts,
                    due=cast("datetime", moment(row.due)),
                )
                for row in connection.execute(query.order_by(OUTBOX.c.notifier))
            ]

    def postpone(self, waiting: Waiting, due: datetime) -> None:
        """Count an attempt that failed; the next one is due then."""
        with self._write() as connection:
            connection.execute(
                OUTBOX.update().where(_is(waiting)).values(attempts=OUTBOX.c.attempts + 1, due=seconds(due))
            )

    def take_out(self, waiting: Waiting) -> None:
        """Let go of a message that was delivered, or is given up."""
        with self._write() as connection:
            connection.execute(delete(OUTBOX).where(_is(waiting)))

    def forget_notifiers(self, kept: Collection[str]) -> int:
        """Forget the notifiers that there are none of any more; gives how many messages nobody gets by that."""
        with self._write() as connection:
            connection.execute(delete(KNOWN).where(KNOWN.c.notifier.not_in(kept)))
            return connection.execute(delete(OUTBOX).where(OUTBOX.c.notifier.not_in(kept))).rowcount


def _is(waiting: Waiting) -> Any:
    return (OUTBOX.c.notifier == waiting.notifier) & (OUTBOX.c.place == waiting.place)


def _row(notifier: str, fingerprint: str, known: Known) -> dict[str, Any]:
    condition = known.condition
    return {
        "notifier": notifier,
        "fingerprint": fingerprint,
        "kind": condition.kind,
        "about": condition.about,
        "severity": condition.severity,
        "summary": condition.summary,
        "since": seconds(known.since),
        "told": known.severity or "",
        "at": None if known.at is None else seconds(known.at),
    }


def _known(row: Any) -> Known:
    condition = Condition(row.kind, row.about, row.severity, row.summary)
    return Known(condition, moment(row.since), row.told or None, moment(row.at))  # type: ignore[arg-type]
