"""What the state remembers of clients: who they are, what they had when they were looked at, and when that was."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, select

from reconciler.model.client import Client, Profile
from reconciler.model.network import DIRECT, UNREACHABLE
from reconciler.storage.base import Part, seconds
from reconciler.storage.database import upsert
from reconciler.storage.tables import CLIENTS, PROFILES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

Row = tuple[str, str, str, str | None, str, str, float | None, float | None, str]
_BATCH = 10_000
_FIELDS = tuple(field.name for field in fields(Client))


@dataclass(frozen=True, slots=True)
class Observation:
    """What one look at a client brought: a profile, or an error as `label: message`. `free` is in bytes.

    `settings` are those that it has (`model.settings.pack`), `machine` is what tells that it is the same as another
    (`model.client.Facts`); None: what was known of them stays.
    """

    client: str
    profile: Profile | None
    free: int | None
    error: str
    at: datetime
    settings: str | None = None
    machine: str | None = None


class Fleet(Part):
    """Clients, profiles and observations."""

    def sync_clients(
        self, group: str, clients: Sequence[Client], ways: Mapping[str, str] = MappingProxyType({})
    ) -> list[str]:
        """Record the clients of a group as they are listed now; give the names of those that are gone from it.

        `ways` has the way to those that aren't reached directly, by name (`planner.reach`).
        """
        rows = [
            {
                "name": client.name,
                "grp": group,
                "labels": json.dumps(client.labels),
                "data": json.dumps({name: getattr(client, name) for name in _FIELDS}, sort_keys=True),
                "error": "",
                "gone_at": None,
                "route": ways.get(client.name, DIRECT),
            }
            for client in clients
        ]
        names = {client.name for client in clients}
        with self._write() as connection:
            columns = (CLIENTS.c.name, CLIENTS.c.data, CLIENTS.c.route, CLIENTS.c.gone_at)
            of_group = select(*columns).where(CLIENTS.c.grp == group)
            known = {name: (data, route, gone) for name, data, route, gone in connection.execute(of_group)}
            changed = [row for row in rows if known.get(row["name"]) != (row["data"], row["route"], None)]
            for start in range(0, len(changed), _BATCH):
                batch = changed[start : start + _BATCH]
                upsert(connection, CLIENTS, batch, ("grp", "labels", "data", "gone_at", "route"))
            gone = sorted(name for name, known_as in known.items() if known_as[-1] is None and name not in names)
            self._mark_gone(connection, gone)
        return gone

    def sync_groups(self, groups: Collection[str]) -> list[str]:
        """Let go of the clients of all other groups; give their names."""
        with self._write() as connection:
            alive = select(CLIENTS.c.name).where(CLIENTS.c.grp.not_in(list(groups)), CLIENTS.c.gone_at.is_(None))
            gone = sorted(connection.scalars(alive))
            self._mark_gone(connection, gone)
        return gone

    def _mark_gone(self, connection: object, names: Sequence[str]) -> None:
        if names:
            statement = (
                CLIENTS.update()
                .where(CLIENTS.c.name == bindparam("gone"))
                .values(gone_at=seconds(self._clock()), machine=None)
            )
            connection.execute(statement, [{"gone": name} for name in names])  # type: ignore[attr-defined]

    def known_count(self, group: str) -> int:
        """Count the clients of a group that aren't gone."""
        with self._read() as connection:
            counted = select(func.count()).where(CLIENTS.c.grp == group, CLIENTS.c.gone_at.is_(None))
            return connection.scalar(counted) or 0

    def clients(self, groups: Collection[str] | None = None) -> list[Client]:
        """Give the clients that aren't gone, of these groups or of all, sorted by group and name."""
        wanted = select(CLIENTS.c.data).where(CLIENTS.c.gone_at.is_(None)).order_by(CLIENTS.c.grp, CLIENTS.c.name)
        if groups is not None:
            wanted = wanted.where(CLIENTS.c.grp.in_(list(groups)))
        with self._read() as connection:
            return [_client(data) for data in connection.scalars(wanted)]

    def named(self, names: Collection[str]) -> list[tuple[Client, str]]:
        """Give some clients by name, in the order of their names, each with the settings that it has."""
        wanted = select(CLIENTS.c.data, CLIENTS.c.settings).where(CLIENTS.c.name.in_(list(names)))
        with self._read() as connection:
            return [(_client(data), has) for data, has in connection.execute(wanted.order_by(CLIENTS.c.name))]

    def rows(self) -> Iterator[Row]:
        """Give a tuple for each client that isn't gone, in no order.

        (name, group, labels as JSON, fingerprint, error, route, failing since, in quarantine until, settings).
        Plain tuples: a million of them in about a second.
        """
        entry = CLIENTS.c
        situation = (entry.fingerprint, entry.error, entry.route, entry.failing_since, entry.quarantined)
        wanted = select(entry.name, entry.grp, entry.labels, *situation, entry.settings).where(
            CLIENTS.c.gone_at.is_(None)
        )
        with self._read() as connection:
            text = str(wanted.compile(self._engine, compile_kwargs={"literal_binds": True}))
            cursor = connection.connection.cursor()
            try:
                cursor.execute(text)
                while batch := cursor.fetchmany(_BATCH):
                    yield from batch
            finally:
                cursor.close()

    def doubles(self) -> list[list[str]]:
        """Give the names of each machine that answered under several, sorted."""
        several = select(CLIENTS.c.machine).where(CLIENTS.c.machine != "").group_by(CLIENTS.c.machine)
        there = CLIENTS.c.gone_at.is_(None) & (CLIENTS.c.error == "") & ~CLIENTS.c.route.startswith(UNREACHABLE)
        wanted = select(CLIENTS.c.machine, CLIENTS.c.name).where(
            CLIENTS.c.machine.in_(several.having(func.count() > 1)), there
        )
        names: dict[str, list[str]] = defaultdict(list)
        with self._read() as connection:
            for machine, name in connection.execute(wanted):
                names[machine].append(name)
        return sorted(sorted(same) for same in names.values() if len(same) > 1)

    def ways(self) -> dict[str, str]:
        """Give the way to each client that isn't reached directly, by name."""
        wanted = select(CLIENTS.c.name, CLIENTS.c.route).where(CLIENTS.c.gone_at.is_(None), CLIENTS.c.route != DIRECT)
        with self._read() as connection:
            return dict(connection.execute(wanted).all())

    def silent(self) -> set[str]:
        """Give the fingerprints of profiles that clients had before they stopped answering, or the way was lost."""
        lost = (CLIENTS.c.error != "") | CLIENTS.c.route.startswith(UNREACHABLE)
        wanted = select(CLIENTS.c.fingerprint).where(CLIENTS.c.gone_at.is_(None), lost).distinct()
        with self._read() as connection:
            return {fingerprint for fingerprint in connection.scalars(wanted) if fingerprint}

    def profiles(self) -> dict[str, Profile]:
        """Give the profiles that clients have, by fingerprint."""
        used = select(CLIENTS.c.fingerprint).where(CLIENTS.c.gone_at.is_(None)).distinct()
        wanted = select(PROFILES.c.fingerprint, PROFILES.c.data).where(PROFILES.c.fingerprint.in_(used))
        with self._read() as connection:
            return {key: Profile.from_json(data, key) for key, data in connection.execute(wanted)}

    def record_observations(self, observations: Sequence[Observation]) -> None:
        """Record looks; one that failed keeps the profile that was seen before, and its error."""
        seen = {entry.profile.fingerprint: entry.profile for entry in observations if entry.profile is not None}
        good = [entry for entry in observations if entry.profile is not None]
        bad = [entry for entry in observations if entry.profile is None]
        with self._write() as connection:
            rows = [{"fingerprint": key, "data": profile.to_json()} for key, profile in seen.items()]
            upsert(connection, PROFILES, rows, ())
            this = CLIENTS.update().where(CLIENTS.c.name == bindparam("client"))
            if good:
                statement = this.values(
                    fingerprint=bindparam("print"),
                    error="",
                    failing_since=None,
                    free=func.coalesce(bindparam("room"), CLIENTS.c.free),
                    settings=func.coalesce(bindparam("files"), CLIENTS.c.settings),
                    machine=func.coalesce(bindparam("same"), CLIENTS.c.machine),
                    seen_at=bindparam("at"),
                )
                connection.execute(
                    statement,
                    [
                        {
                            "client": entry.client,
                            "print": entry.profile.fingerprint if entry.profile else None,
                            "room": entry.free,
                            "files": entry.settings,
                            "same": entry.machine,
                            "at": seconds(entry.at),
                        }
                        for entry in good
                    ],
                )
            if bad:
                since = func.coalesce(CLIENTS.c.failing_since, bindparam("since"))
                statement = this.values(error=bindparam("why"), failing_since=since)
                connection.execute(
                    statement,
                    [{"client": entry.client, "why": entry.error, "since": seconds(entry.at)} for entry in bad],
                )

    def last_observed(self) -> datetime | None:
        """Give when a client answered last."""
        with self._read() as connection:
            return self._past(connection.scalar(select(func.max(CLIENTS.c.seen_at)).where(CLIENTS.c.gone_at.is_(None))))

    def prune_profiles(self) -> None:
        """Forget profiles that no client has any more."""
        used = select(CLIENTS.c.fingerprint).where(CLIENTS.c.fingerprint.is_not(None))
        with self._write() as connection:
            connection.execute(PROFILES.delete().where(PROFILES.c.fingerprint.not_in(used)))


def _client(data: str) -> Client:
    values = json.loads(data)
    return Client(**{**values, **{key: tuple(values.get(key, ())) for key in ("labels", "families")}})
