"""One client with all that is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from reconciler.model.settings import unpack
from reconciler.storage.base import moment
from reconciler.storage.fleet import LISTED
from reconciler.storage.found import FoundRecords
from reconciler.storage.judging import with_addresses
from reconciler.storage.tables import CLIENTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from reconciler.model.client import Client, Profile
    from reconciler.model.listing import ListedClient
    from reconciler.model.settings import Have


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientInFull:
    """A client: as it is listed, with all components of its group, and what was seen of it.

    `listed` is None where the controller never judged anybody. `profile` is what the client had when it answered last,
    `free` the room there in bytes, `settings` its files of settings by their ids. `route` is the way to it, or why
    there is none. It left at `left`, if it did. `same_machine` are all names of its machine, where it has several.
    """

    listed: ListedClient | None
    client: Client
    profile: Profile | None
    route: str
    free: int | None
    looked_at: datetime | None
    left: datetime | None
    settings: Mapping[str, Have]
    same_machine: tuple[str, ...]


class FullRecords(FoundRecords):
    """Clients in full."""

    def client_in_full(self, name: str) -> ClientInFull | None:
        """Give a client, also one that left; None where there never was one of the name.

        Raises:
            StateError: the state can't be read.
        """
        entry = CLIENTS.c
        columns = (entry.fingerprint, entry.route, entry.free, entry.looked_at, entry.gone_at, entry.settings)
        with self._read() as connection:
            row = connection.execute(select(*columns).where(entry.name == name)).first()
            if row is None:
                return None
            settings = unpack(row.settings)
        ((client, _has),) = self.named([name])
        doubles = self.doubles([name])
        left = None if row.gone_at == LISTED else moment(row.gone_at)
        return ClientInFull(
            listed=self._listed_now(client),
            client=client,
            profile=self.profiles_of([row.fingerprint]).get(row.fingerprint) if row.fingerprint else None,
            route=row.route,
            free=row.free,
            looked_at=self._past(row.looked_at),
            left=None if left is None else min(left, self._clock()),
            settings=settings,
            same_machine=tuple(doubles[0]) if doubles else (),
        )

    def _listed_now(self, client: Client) -> ListedClient | None:
        search = self._search(())
        if search is None:
            return None
        lines = list(self.lines_of([client.name]).values())
        group = search.facts.moved.get(client.name)
        if group is not None:
            lines = [line._replace(group=group) for line in lines]
        return next(iter(with_addresses(search.judge.take(lines), [client])), None)
