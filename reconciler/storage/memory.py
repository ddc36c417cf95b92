"""What plugins must not be talked out of: kept where all controllers of a state have it, the newest of each.

It has transactions of its own, beside whatever its caller has open, as plugins are asked by several threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from reconciler.contracts import Remembered
from reconciler.storage.base import Part
from reconciler.storage.cells import sound
from reconciler.storage.database import connected, mapped, upsert_newer, writing
from reconciler.storage.tables import TRUSTED

if TYPE_CHECKING:
    from collections.abc import Mapping


class Memories(Part):
    """What each plugin remembers, by the plugin's name and those of its entries."""

    def remembered(self, owner: str) -> dict[str, Remembered]:
        """Give all that one remembers."""
        place = self._engine.url.render_as_string(hide_password=True)
        with mapped(self._engine.url), sound(place), connected(self._engine) as connection:
            rows = connection.execute(
                select(TRUSTED.c.name, TRUSTED.c.version, TRUSTED.c.content).where(TRUSTED.c.owner == owner)
            )
            return {name: Remembered(version, content) for name, version, content in rows}

    def remember(self, owner: str, entries: Mapping[str, Remembered]) -> dict[str, Remembered]:
        """Keep those entries that are newer than what is kept, in one step; give what is kept under their names."""
        rows = [
            {"owner": owner, "name": name, "version": entry.version, "content": entry.content}
            for name, entry in sorted(entries.items())
        ]
        if not rows:
            return {}
        place = self._engine.url.render_as_string(hide_password=True)
        with mapped(self._engine.url), sound(place), writing(self._engine, lasts=True) as connection:
            upsert_newer(connection, TRUSTED, rows, "version")
            found = connection.execute(
                select(TRUSTED.c.name, TRUSTED.c.version, TRUSTED.c.content).where(
                    TRUSTED.c.owner == owner, TRUSTED.c.name.in_(list(entries))
                )
            )
            return {name: Remembered(version, content) for name, version, content in found}


class StateMemory:
    """The `Memory` of one plugin, in the state."""

    def __init__(self, memories: Memories, owner: str) -> None:
        """Take the state, and the plugin's name there."""
        self._memories = memories
        self._owner = owner

    def recall(self) -> Mapping[str, Remembered]:
        """See `Memory.recall`."""
        return self._memories.remembered(self._owner)

    def keep(self, entries: Mapping[str, Remembered]) -> Mapping[str, Remembered]:
        """See `Memory.keep`."""
        return self._memories.remember(self._owner, entries)
