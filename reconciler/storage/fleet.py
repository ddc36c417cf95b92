"""What the state remembers of clients: who they are, what they had when they were looked at, and when that was."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import fields, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import func, null, select, text

from reconciler.model.client import Client, Installed, Profile
from reconciler.model.network import DIRECT, UNREACHABLE
from reconciler.storage.base import Part, seconds
from reconciler.storage.bulk import ForEach, any_of, lock_rows, none_of, raw_batches, streamed
from reconciler.storage.cells import LATEST, Float, String, checked, sound
from reconciler.storage.database import upsert
from reconciler.storage.dialect import passing_through
from reconciler.storage.observations import Observation, write_observations
from reconciler.storage.postgres import pruning_profiles
from reconciler.storage.tables import CLIENTS, PROFILES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

LISTED = 0.0
"""In place of the time when a client left: a look listed it, and no apply took it in yet."""
_LISTS = ("grp", "labels", "data", "gone_at", "route")
"""Columns that a list of the fleet sets."""
_FEW = 500
"""Profiles that are asked for by their fingerprints; of more, all are read."""
_FIELDS = tuple(field.name for field in fields(Client))
_SORTED = json.JSONEncoder(sort_keys=True).encode


class ClientRow(NamedTuple):
    """What is remembered of a client, as its cells have it: `labels` are JSON, times are seconds since the epoch.

    It is in quarantine until `quarantined`; for `settings` see `model.settings`.
    """

    name: str
    group: str
    labels: str
    fingerprint: str | None
    error: str
    route: str
    failing_since: float | None
    quarantined: float | None
    settings: str


class Seen(NamedTuple):
    """What was seen of a client, also of one that left; the fields are those of `ClientRow`."""

    fingerprint: str | None
    error: str
    failing_since: float | None
    quarantined: float | None
    settings: str


class Marked(NamedTuple):
    """What is remembered of a client's mark (`model.mark`), and what the state has of the client."""

    mark: str
    fingerprint: str | None
    settings: str


class _Place(NamedTuple):
    """Where a client stands in the fleet, as its cells have it."""

    group: str
    data: str
    route: str
    gone_at: float | None


class FleetRecords(Part):
    """Clients, profiles and observations."""

    repeatable = frozenset({"record_observations"})

    def sync_clients(
        self, group: str, clients: Sequence[Client], ways: Mapping[str, str] = MappingProxyType({})
    ) -> list[str]:
        """Record the clients of a group as they are listed now; give the names of those that are gone from it.

        `ways` has the way to those that aren't reached directly, by name (`planner.reach`).
        """
        rows = [_row(client, group, ways, None) for client in clients]
        names = {client.name for client in clients}
        with self._write() as connection:
            known = _places(connection, CLIENTS.c.grp == group)
            changed = [row for row in rows if known.get(row["name"]) != _place(row)]
            gone = sorted(name for name, place in known.items() if place.gone_at is None and name not in names)
            leaving = [*gone, *_listed(known, names)]
            lock_rows(connection, CLIENTS.c.name, [*leaving, *(row["name"] for row in changed if row["name"] in known)])
            upsert(connection, CLIENTS, changed, _LISTS)
            self._mark_gone(connection, leaving)
        return gone

    def record_listing(self, listed: Mapping[str, Sequence[Client]], ways: Mapping[str, str]) -> None:
        """Give those that a look listed a place beside the fleet, where they are in it already nothing changes."""
        with self._write() as connection:
            known = _places(connection)
            inside = {name for name, place in known.items() if place.gone_at is None}
            rows = [
                _row(client, group, ways, LISTED)
                for group, clients in listed.items()
                for client in clients
                if client.name not in inside
            ]
            changed = [row for row in rows if known.get(row["name"]) != _place(row)]
            upsert(connection, CLIENTS, changed, _LISTS)
            of_groups = {name: place for name, place in known.items() if place.group in listed}
            names = {client.name for clients in listed.values() for client in clients}
            self._mark_gone(connection, _listed(of_groups, names))

    def take_in(self, group: str, names: Collection[str] = ()) -> None:
        """Let clients that a look listed be of the fleet: these, or all of a group that has no others."""
        entry = CLIENTS.c
        if self._only_listed(group):
            chosen = CLIENTS.update().where(entry.grp == group, entry.gone_at == LISTED).values(gone_at=None)
            with self._write() as connection:
                connection.execute(chosen)
        elif names:
            with self._write() as connection:
                _TAKEN_IN.run(connection, [(name, group) for name in names], locks=entry.name)

    def _only_listed(self, group: str) -> bool:
        """Say whether a group has no clients but those that a look listed."""
        wanted = select(CLIENTS.c.name).where(CLIENTS.c.grp == group, CLIENTS.c.gone_at.is_(None)).limit(1)
        with self._read() as connection:
            return connection.scalar(wanted) is None

    def _of(self, groups: Collection[str] | None) -> ColumnElement[bool]:
        """Give what selects the clients of groups; those that were only listed stand in where there are no others."""
        entry = CLIENTS.c
        if groups is None:
            return entry.gone_at.is_(None)
        bare = [group for group in groups if self._only_listed(group)]
        inside = entry.gone_at.is_(None) & any_of(entry.grp, groups)
        return inside | ((entry.gone_at == LISTED) & any_of(entry.grp, bare)) if bare else inside

    def members(self) -> list[tuple[str, str]]:
        """Give name and group of each client that is of the fleet."""
        with self._read() as connection:
            wanted = select(CLIENTS.c.name, CLIENTS.c.grp).where(CLIENTS.c.gone_at.is_(None))
            return [(name, group) for name, group in streamed(connection, wanted)]

    def seen(self) -> dict[str, Seen]:
        """Give what was seen of each client, also of those that left, by name."""
        wanted = select(CLIENTS.c.name, *(CLIENTS.c[name] for name in Seen._fields))
        with self._read() as connection:
            return {name: Seen._make(rest) for name, *rest in streamed(connection, wanted)}

    def sync_groups(self, groups: Collection[str]) -> list[str]:
        """Let go of the clients of all other groups; give their names."""
        with self._write() as connection:
            alive = select(CLIENTS.c.name).where(none_of(CLIENTS.c.grp, groups), CLIENTS.c.gone_at.is_(None))
            gone = sorted(name for (name,) in streamed(connection, alive))
            self._mark_gone(connection, gone)
        return gone

    def _mark_gone(self, connection: Connection, names: Sequence[str]) -> None:
        now = seconds(self._clock())
        _GONE.run(connection, [(name, now) for name in names], locks=CLIENTS.c.name)

    def known_count(self, group: str) -> int:
        """Count the clients of a group that aren't gone."""
        with self._read() as connection:
            counted = select(func.count()).where(CLIENTS.c.grp == group, CLIENTS.c.gone_at.is_(None))
            return connection.scalar(counted) or 0

    def clients(self, groups: Collection[str] | None = None) -> list[Client]:
        """Give the clients that aren't gone, of these groups or of all, sorted by group and name."""
        wanted = select(CLIENTS.c.data).where(self._of(groups)).order_by(CLIENTS.c.grp, CLIENTS.c.name)
        with self._read() as connection:
            return [read_client(data) for (data,) in streamed(connection, wanted)]

    def named(self, names: Collection[str]) -> list[tuple[Client, str]]:
        """Give some clients by name, in the order of their names, each with the settings that it has."""
        wanted = select(CLIENTS.c.data, CLIENTS.c.settings).where(any_of(CLIENTS.c.name, names))
        with self._read() as connection:
            return [(read_client(data), has) for data, has in streamed(connection, wanted.order_by(CLIENTS.c.name))]

    def rows(self, groups: Collection[str] | None = None) -> Iterator[ClientRow]:
        """Give a row for each client that isn't gone, of these groups or of all, in no order: a million in a second."""
        columns = (CLIENTS.c[_COLUMNS.get(name, name)] for name in ClientRow._fields)
        wanted = select(*columns).where(self._of(groups))
        with self._read() as connection:
            self._check_rows(connection)
            for batch in raw_batches(connection, wanted):
                yield from map(_AS_ROW, batch)

    def _check_rows(self, connection: Connection) -> None:
        """Look whether the cells of `rows` are such as they should be: there are too many for any check in Python."""
        if connection.dialect.name != "sqlite":
            return
        # Numbers sort before all texts, and blobs after them: comparing costs half of what asking for the type does.
        texts = ("name", "grp", "labels", "error", "route", "settings")
        bad = [f"{name} < '' OR {name} >= x''" for name in (*texts, "fingerprint")]
        bad += [f"{name} IS NULL" for name in texts]
        bad += [f"{name} NOT BETWEEN 0 AND {LATEST:.0f}" for name in ("failing_since", "quarantined")]
        found = connection.execute(select(CLIENTS.c.grp).where(text(" OR ".join(bad))).limit(1)).all()
        if found:
            raise ValueError("a client's row has a cell of another kind")

    def doubles(self, names: Collection[str] | None = None) -> list[list[str]]:
        """Give the names of each machine that answered under several, sorted; of all, or of those with some names."""
        several = select(CLIENTS.c.machine).where(CLIENTS.c.machine != "").group_by(CLIENTS.c.machine)
        if names is not None:
            these = select(CLIENTS.c.machine).where(any_of(CLIENTS.c.name, names))
            several = several.where(CLIENTS.c.machine.in_(these))
        there = _HERE & (CLIENTS.c.error == "") & ~CLIENTS.c.route.startswith(UNREACHABLE)
        wanted = select(CLIENTS.c.machine, CLIENTS.c.name).where(
            CLIENTS.c.machine.in_(several.having(func.count() > 1)), there
        )
        found: dict[str, list[str]] = defaultdict(list)
        with self._read() as connection, passing_through(connection):
            for machine, name in connection.execute(wanted):
                found[machine].append(name)
        return sorted(sorted(same) for same in found.values() if len(same) > 1)

    def ways(self) -> dict[str, str]:
        """Give the way to each client that isn't reached directly, by name."""
        wanted = select(CLIENTS.c.name, CLIENTS.c.route).where(_HERE, CLIENTS.c.route != DIRECT)
        with self._read() as connection:
            return dict(connection.execute(wanted).all())

    def profiles(self, of: Collection[str] | None = None) -> dict[str, Profile]:
        """Give the profiles that clients have, by fingerprint: these, or all, also those of clients that left."""
        wanted = select(PROFILES.c.fingerprint, PROFILES.c.data)
        if of is None:
            wanted = wanted.where(PROFILES.c.fingerprint.in_(select(CLIENTS.c.fingerprint).distinct()))
        elif len(of) <= _FEW:
            wanted = wanted.where(PROFILES.c.fingerprint.in_(list(of)))
        reader = _ProfileReader()
        with self._read() as connection:
            return {
                key: reader.read(data, key) for key, data in streamed(connection, wanted) if of is None or key in of
            }

    def record_observations(self, observations: Sequence[Observation]) -> None:
        """Record looks; one that failed keeps the profile that was seen before, and its error."""
        if observations:
            with self._write() as connection:
                write_observations(connection, observations)

    def marks(self, names: Collection[str]) -> dict[str, Marked]:
        """Give the clients of some names of which a mark is remembered, or wanted."""
        cells = (CLIENTS.c.name, CLIENTS.c.mark, CLIENTS.c.fingerprint, CLIENTS.c.settings)
        wanted = select(*cells).where(any_of(CLIENTS.c.name, names), CLIENTS.c.mark != "")
        with self._read() as connection:
            return {name: Marked(*cells) for name, *cells in streamed(connection, wanted)}

    def came_back(self) -> dict[str, datetime]:
        """Give when clients answered for the first time, or again after they hadn't."""
        with self._read() as connection:
            rows = streamed(connection, select(CLIENTS.c.name, CLIENTS.c.back_at).where(CLIENTS.c.back_at.is_not(None)))
            return {name: at for name, stamp in rows if (at := self._past(stamp)) is not None}

    def looked_since(self, then: datetime) -> set[str]:
        """Give the clients that were looked at since a time, whether they answered or not."""
        wanted = select(CLIENTS.c.name).where(CLIENTS.c.looked_at > seconds(then))
        with self._read() as connection:
            return {name for (name,) in streamed(connection, wanted)}

    def last_observed(self) -> datetime | None:
        """Give when a client answered last."""
        with self._read() as connection:
            return self._past(connection.scalar(select(func.max(CLIENTS.c.seen_at)).where(_HERE)))

    def prune_profiles(self) -> None:
        """Forget profiles that no client has any more."""
        used = select(CLIENTS.c.fingerprint).where(CLIENTS.c.fingerprint.is_not(None))
        with self._write() as connection:
            pruning_profiles(connection)
            connection.execute(PROFILES.delete().where(PROFILES.c.fingerprint.not_in(used)))


_GONE = ForEach(
    {"gone": String(), "at": Float()},
    lambda given: CLIENTS.update().where(CLIENTS.c.name == given("gone")).values(gone_at=given("at"), machine=null()),
)
_TAKEN_IN = ForEach(
    {"taken": String(), "of": String()},
    lambda given: (
        CLIENTS.update()
        .where(CLIENTS.c.name == given("taken"), CLIENTS.c.grp == given("of"), CLIENTS.c.gone_at == LISTED)
        .values(gone_at=null())
    ),
)


class _ProfileReader:
    """Reads profiles; what is installed in many of them alike is made and checked once."""

    def __init__(self) -> None:
        self._shared: dict[Any, Installed] = {}
        self._sound: set[int] = set()

    def read(self, data: str, key: str) -> Profile:
        profile = Profile.from_json(data, key, self._shared)
        checked(replace(profile, installed=()))
        for entry in profile.installed:
            if id(entry) not in self._sound:
                self._sound.add(id(checked(entry)))
        return profile


_HERE = CLIENTS.c.gone_at.is_(None) | (CLIENTS.c.gone_at == LISTED)
_COLUMNS = {"group": "grp"}
"""Fields whose columns are called otherwise."""
_AS_ROW: Callable[[Sequence[object]], ClientRow] = partial(tuple.__new__, ClientRow)
"""What `ClientRow._make` does, without its check of how many cells there are: for a million rows."""


def _places(connection: Connection, *which: ColumnElement[bool]) -> dict[str, _Place]:
    """Give where clients stand, those that left included, by name."""
    columns = (CLIENTS.c[_COLUMNS.get(name, name)] for name in _Place._fields)
    found = streamed(connection, select(CLIENTS.c.name, *columns).where(*which))
    return {name: _Place._make(rest) for name, *rest in found}


def _place(row: Mapping[str, Any]) -> _Place:
    """Give where `_row` puts a client."""
    return _Place(row["grp"], row["data"], row["route"], row["gone_at"])


def _row(client: Client, group: str, ways: Mapping[str, str], gone_at: float | None) -> dict[str, Any]:
    """Give the columns that a list of the fleet sets."""
    return {
        "name": client.name,
        "grp": group,
        "labels": json.dumps(client.labels) if client.labels else "[]",
        "data": _SORTED({name: getattr(client, name) for name in _FIELDS}),
        "error": "",
        "gone_at": gone_at,
        "route": ways.get(client.name, DIRECT),
    }


def _listed(known: Mapping[str, _Place], names: Collection[str]) -> list[str]:
    """Give those that an earlier look listed and this one doesn't."""
    return [name for name, place in known.items() if place.gone_at == LISTED and name not in names]


def read_client(data: str) -> Client:
    """Read a client of its cell."""
    values = json.loads(data)
    return checked(Client(**{**values, **{key: tuple(values.get(key, ())) for key in ("labels", "families")}}))


def labels_of(text: str) -> tuple[str, ...]:
    """Read the labels of a row.

    Raises:
        StateError: they are damaged.
    """
    with sound("of a client's labels"):
        labels = tuple(json.loads(text))
        if not all(isinstance(label, str) for label in labels):
            raise ValueError(text)
        return labels
