"""Clients as work on them needs them, read a few at a time: a fleet needn't fit into memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select

from reconciler.storage.base import Part
from reconciler.storage.bulk import any_of
from reconciler.storage.fleet import read_client
from reconciler.storage.tables import CLIENTS

if TYPE_CHECKING:
    from collections.abc import Collection

    from reconciler.model.client import Client


class AtWork(NamedTuple):
    """A client, the settings that it has, and the fingerprint of its profile; None where it was never seen."""

    client: Client
    settings: str
    fingerprint: str | None


class Working(Part):
    """Reads clients that are to be worked on."""

    def working(self, names: Collection[str]) -> list[AtWork]:
        """Give those of some clients that are of the fleet, in the order of their names."""
        entry = CLIENTS.c
        wanted = select(entry.data, entry.settings, entry.fingerprint).where(any_of(entry.name, names))
        with self._read() as connection:
            found = connection.execute(wanted.where(entry.gone_at.is_(None)).order_by(entry.name))
            return [AtWork(read_client(data), has, fingerprint) for data, has, fingerprint in found]
