"""What is remembered of relays: what each host had when it answered last, and what went wrong since."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from reconciler.model.relay import Held, RelaySeen
from reconciler.storage.base import Part, seconds
from reconciler.storage.database import upsert
from reconciler.storage.tables import RELAYS

if TYPE_CHECKING:
    from collections.abc import Iterable


class RelayMemory(Part):
    """Relays, as they were seen."""

    def relays(self) -> dict[tuple[str, str], RelaySeen]:
        """Give what is known of each host of each relay, by the names of both."""
        with self._read() as connection:
            rows = connection.execute(select(RELAYS).order_by(RELAYS.c.relay, RELAYS.c.host))
            return {(row.relay, row.host): self._relay(row) for row in rows}

    def _relay(self, row: Any) -> RelaySeen:
        return RelaySeen(
            relay=str(row.relay),
            host=str(row.host),
            at=self._past(row.at) if row.at is not None else None,
            held=_read(row.held) if row.held else None,
            error=str(row.error),
        )

    def keep_relays(self, seen: Iterable[RelaySeen]) -> None:
        """Remember hosts; of one that didn't answer what it had before stays, beside what went wrong."""
        answered, silent = [], []
        for one in seen:
            row: dict[str, Any] = {"relay": one.relay, "host": one.host, "error": one.error}
            if one.held is None or one.at is None:
                silent.append({**row, "at": None, "held": ""})
            else:
                answered.append({**row, "at": seconds(one.at), "held": _written(one.held)})
        if not answered and not silent:
            return
        with self._write() as connection:
            if answered:
                upsert(connection, RELAYS, answered, ("at", "held", "error"))
            if silent:
                upsert(connection, RELAYS, silent, ("error",))


def _read(text: str) -> Held:
    """Read what `_written` gave.

    Raises:
        ValueError: somebody else wrote it.
    """
    found = json.loads(text)
    free, parts, begun = found["free"], found["parts"], found["begun"]
    for sizes in (parts, begun, {"": free}):
        if not all(type(size) is int and size >= 0 for size in sizes.values()):
            raise ValueError(f"no sizes of a relay: {text[:60]}")
    return Held(free=free, parts=parts, begun=begun)


def _written(held: Held) -> str:
    return json.dumps({"free": held.free, "parts": dict(held.parts), "begun": dict(held.begun)}, sort_keys=True)
