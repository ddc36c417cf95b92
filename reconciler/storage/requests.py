"""What people ask of the controller, kept for good. The console writes rows, the controller says what came of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from reconciler.model.request import OPEN, REQUEST_KINDS, REQUEST_STATUSES, ROLES, Request, Target
from reconciler.storage.base import Part, moment, seconds
from reconciler.storage.cells import checked
from reconciler.storage.database import upsert
from reconciler.storage.tables import REQUESTS

if TYPE_CHECKING:
    from sqlalchemy import Row

    from reconciler.model.request import RequestStatus

LARGEST_REASON = 2000
"""Characters of a reason that are kept."""


class Requests(Part):
    """What was asked, by whom, and what came of it."""

    def ask(self, request: Request, key: str = "") -> int:
        """Write down what somebody wants; gives its id. The controller has to be woken, too: `ask_controller`.

        What the same person wanted under the same `key` already isn't written down again: gives the id that it has.
        """
        target = asdict(request.target)
        until = request.target.until
        row = {
            "at": seconds(request.at),
            "who": request.who,
            "roles": json.dumps(request.roles),
            "address": request.address,
            "kind": request.kind,
            "target": json.dumps({**target, "until": None if until is None else seconds(until)}),
            "reason": request.reason[:LARGEST_REASON],
            "seen": request.seen,
            "status": "waiting",
            "done_at": None,
            "says": "",
            "asked_as": _digest(request.who, key) if key else None,
        }
        with self._write(lasts=True, fenced=False) as connection:
            self._announce(connection)
            if not key:
                made = connection.execute(REQUESTS.insert().values(row)).inserted_primary_key
                assert made is not None
                return int(made[0])
            upsert(connection, REQUESTS, [row], (), on=("asked_as",))
            return int(connection.scalars(select(REQUESTS.c.id).where(REQUESTS.c.asked_as == row["asked_as"])).one())

    def asked_as(self, who: str, key: str) -> int | None:
        """Give the id of what somebody asked under a key; None: nothing."""
        with self._read() as connection:
            return connection.scalar(select(REQUESTS.c.id).where(REQUESTS.c.asked_as == _digest(who, key)))

    def open_requests(self) -> list[Request]:
        """Give what nothing came of yet, in the order in which it was asked."""
        chosen = select(REQUESTS).where(REQUESTS.c.status.in_(OPEN)).order_by(REQUESTS.c.id)
        with self._read() as connection:
            return [read_request(row) for row in connection.execute(chosen)]

    def requests(self, before: int | None = None, limit: int = 100, *, waiting: bool = False) -> list[Request]:
        """Give what was asked, the newest first; `before`: only what is older than the one with that id.

        `waiting`: only what nothing came of yet.
        """
        chosen = select(REQUESTS).order_by(REQUESTS.c.id.desc()).limit(limit)
        if before is not None:
            chosen = chosen.where(REQUESTS.c.id < before)
        if waiting:
            chosen = chosen.where(REQUESTS.c.status.in_(OPEN))
        with self._read() as connection:
            return [read_request(row) for row in connection.execute(chosen)]

    def request(self, id_: int) -> Request | None:
        """Give what was asked, by its id; None: there is none."""
        with self._read() as connection:
            row = connection.execute(select(REQUESTS).where(REQUESTS.c.id == id_)).first()
            return None if row is None else read_request(row)

    def requests_waiting(self) -> int:
        """Count what nothing came of yet."""
        chosen = select(func.count()).select_from(REQUESTS).where(REQUESTS.c.status.in_(OPEN))
        with self._read() as connection:
            return connection.scalar(chosen) or 0

    def requests_mark(self) -> str:
        """Give what is another one when something was asked, or something came of it."""
        columns = REQUESTS.c
        last = select(func.max(columns.id), func.max(columns.done_at), func.count()).select_from(REQUESTS)
        open_ones = select(func.count()).select_from(REQUESTS).where(columns.status == "seconded")
        with self._read() as connection:
            return f"{tuple(connection.execute(last).one())} {connection.scalar(open_ones)}"

    def settle(self, id_: int, status: RequestStatus, says: str) -> None:
        """Say what came of a request that was open; one that is settled stays as it is, one that waits on is open."""
        values = {"status": status, "says": says, "done_at": None if status in OPEN else seconds(self._clock())}
        with self._write(lasts=True) as connection:
            connection.execute(
                REQUESTS.update().where(REQUESTS.c.id == id_, REQUESTS.c.status.in_(OPEN)).values(values)
            )


def read_request(row: Row[Any]) -> Request:
    """Read a request."""
    at, target = moment(row.at), json.loads(row.target)
    assert at is not None
    roles = json.loads(row.roles)
    if row.kind not in REQUEST_KINDS or row.status not in REQUEST_STATUSES or not set(ROLES).issuperset(roles):
        raise ValueError(f"request {row.id} wants {row.kind} and is {row.status}")
    return checked(
        Request(
            id=row.id,
            at=at,
            who=row.who,
            roles=tuple(roles),
            address=row.address,
            kind=row.kind,
            target=checked(Target(**{**target, "until": moment(target["until"])})),
            reason=row.reason,
            seen=row.seen,
            status=row.status,
            done_at=moment(row.done_at),
            says=row.says,
        )
    )


def _digest(who: str, key: str) -> str:
    return hashlib.sha256(f"{who}\0{key}".encode("utf-8", "surrogatepass")).hexdigest()
