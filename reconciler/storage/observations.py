"""What looks at clients brought, written down for many at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, case, func, null

from reconciler.model.mark import WANTED
from reconciler.storage.base import seconds
from reconciler.storage.bulk import ForEach, lock_rows
from reconciler.storage.cells import BigInteger, Float, String, Text
from reconciler.storage.database import upsert
from reconciler.storage.postgres import using_profiles
from reconciler.storage.tables import CLIENTS, PROFILES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection
    from sqlalchemy.sql.dml import UpdateBase

    from reconciler.model.client import Profile
    from reconciler.storage.bulk import Given


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one look at a client brought: a profile, or an error as `label: message`. `free` is in bytes.

    `settings` are those that it has (`model.settings.pack`), `machine` is what tells that it is the same as another
    (`model.client.Facts`); None: what was known of them stays. `mark` is what is remembered of its mark (`model.mark`);
    where the look found what was known, and made none, the next one is to make one. `same`: all but the room is as it
    was, so that there is no profile.
    """

    client: str
    profile: Profile | None
    free: int | None
    error: str
    at: datetime
    settings: str | None = None
    machine: str | None = None
    mark: str | None = None
    same: bool = False


def write_observations(connection: Connection, observations: Sequence[Observation], *, locked: bool = False) -> None:
    """Write looks down; one that failed keeps the profile that was seen before, and its error.

    Of several looks at one client the later ones come after the earlier ones. `locked`: the clients are already.
    """
    for some in _each_once(observations):
        good = {entry.client: entry for entry in some if entry.same or entry.profile is not None}
        profiles = {entry.profile.fingerprint: entry.profile for entry in good.values() if entry.profile is not None}
        if profiles:
            using_profiles(connection)
            rows = [{"fingerprint": key, "data": profile.to_json()} for key, profile in sorted(profiles.items())]
            upsert(connection, PROFILES, rows, ())
        answered = [
            (
                *(name, entry.profile and entry.profile.fingerprint, entry.free, entry.settings, entry.machine),
                *(entry.mark, seconds(entry.at)),
            )
            for name, entry in good.items()
        ]
        if not locked:  # all of them at once: answered and silent ones by themselves are no order that others share
            lock_rows(connection, CLIENTS.c.name, sorted(entry.client for entry in some))
        _ANSWERED.run(connection, answered)
        silent = [(entry.client, entry.error, seconds(entry.at)) for entry in some if entry.client not in good]
        _SILENT.run(connection, silent)


def _each_once(observations: Sequence[Observation]) -> Iterator[list[Observation]]:
    """Give looks in parts in which no client is twice; nearly always that is all of them."""
    rest = list(observations)
    while rest:
        first = {entry.client: entry for entry in reversed(rest)}
        if len(first) == len(rest):
            yield rest
            return
        yield list(first.values())
        rest = [entry for entry in rest if first[entry.client] is not entry]


def _answered(given: Given) -> UpdateBase:
    entry = CLIENTS.c
    was_away = (entry.error != "") | entry.fingerprint.is_(None)
    finds = and_(entry.fingerprint == given("profile"), entry.settings == func.coalesce(given("files"), entry.settings))
    without = case((given("profile").is_(None), entry.mark), (finds, WANTED), else_="")
    return (
        CLIENTS.update()
        .where(entry.name == given("client"))
        .values(
            back_at=case((was_away, given("at")), else_=entry.back_at),
            fingerprint=func.coalesce(given("profile"), entry.fingerprint),
            error="",
            failing_since=null(),
            free=func.coalesce(given("room"), entry.free),
            settings=func.coalesce(given("files"), entry.settings),
            machine=func.coalesce(given("same"), entry.machine),
            mark=func.coalesce(given("mark"), without),
            seen_at=given("at"),
            looked_at=given("at"),
        )
    )


def _silent(given: Given) -> UpdateBase:
    entry = CLIENTS.c
    since = func.coalesce(entry.failing_since, given("since"))
    chosen = CLIENTS.update().where(entry.name == given("client"))
    return chosen.values(error=given("why"), failing_since=since, looked_at=given("since"))


_ANSWERED = ForEach(
    {
        "client": String(),
        "profile": String(),
        "room": BigInteger(),
        "files": Text(),
        "same": String(),
        "mark": String(),
        "at": Float(),
    },
    _answered,
)
_SILENT = ForEach({"client": String(), "why": Text(), "since": Float()}, _silent)
