"""Who is signed in to the console.

What a browser keeps isn't here, only its digest: who reads the state can't be them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import delete, or_, select

from reconciler.model.request import ROLES, Role
from reconciler.storage.base import Part, moment, seconds
from reconciler.storage.cells import checked
from reconciler.storage.tables import SESSIONS

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from sqlalchemy import Row

SignInWay = Literal["link", "oidc", "proxy", "token"]
"""How somebody signed in: by the link that `serve` prints, a provider, the proxy before it, or a token of the API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Somebody who is signed in, until `ends`; `used` is when they were here last."""

    who: str
    roles: tuple[Role, ...]
    way: SignInWay
    address: str
    created: datetime
    used: datetime
    ends: datetime


class Sessions(Part):
    """Who is signed in."""

    def begin_session(self, secret: str, session: Session) -> None:
        """Have somebody be signed in who shows this secret."""
        row = {
            "digest": _digest(secret),
            "who": session.who,
            "roles": json.dumps(session.roles),
            "way": session.way,
            "address": session.address,
            "created": seconds(session.created),
            "used": seconds(session.used),
            "ends": seconds(session.ends),
        }
        with self._write(fenced=False) as connection:
            connection.execute(SESSIONS.insert().values(row))

    def session(self, secret: str, idle: timedelta) -> Session | None:
        """Give who shows a secret; None where nobody does, it is over, or nobody was here for longer than `idle`."""
        now = self._clock()
        with self._read() as connection:
            row = connection.execute(select(SESSIONS).where(SESSIONS.c.digest == _digest(secret))).first()
            if row is None:
                return None
            found = read_session(row)
        return found if now < found.ends and now - found.used <= idle else None

    def touch_session(self, secret: str) -> None:
        """Remember that somebody was here."""
        with self._write(fenced=False) as connection:
            connection.execute(
                SESSIONS.update().where(SESSIONS.c.digest == _digest(secret)).values(used=seconds(self._clock()))
            )

    def end_session(self, secret: str) -> None:
        """Sign somebody out."""
        with self._write(fenced=False) as connection:
            connection.execute(delete(SESSIONS).where(SESSIONS.c.digest == _digest(secret)))

    def forget_sessions(self, idle: timedelta) -> None:
        """Forget all that are over."""
        now = self._clock()
        over = or_(SESSIONS.c.ends <= seconds(now), SESSIONS.c.used < seconds(now - idle))
        with self._write(fenced=False) as connection:
            connection.execute(delete(SESSIONS).where(over))


def read_session(row: Row[Any]) -> Session:
    """Read a session."""
    created, used, ends = map(moment, (row.created, row.used, row.ends))
    assert created is not None
    assert used is not None
    assert ends is not None
    roles = tuple(role for role in ROLES if role in json.loads(row.roles))
    return checked(
        Session(who=row.who, roles=roles, way=row.way, address=row.address, created=created, used=used, ends=ends)
    )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
