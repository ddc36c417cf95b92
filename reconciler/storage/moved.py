"""Whether a state may be used: one that was moved away may not, nor one that didn't arrive, nor a backup.

It is asked when a state is opened, and again whenever a run or a controller begins: it may have been open before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from reconciler.errors import StateError
from reconciler.storage.tables import IDENTITY

if TYPE_CHECKING:
    from sqlalchemy import Connection

ARRIVING = "(arriving)"
"""In place of where a state was moved to: a move to here didn't end yet."""
BACKUP = "(backup)"
"""In place of where a state was moved to: it is a backup."""


def mark_in(connection: Connection) -> str:
    """Give why a state may not be used; empty where it may."""
    return connection.scalar(select(IDENTITY.c.moved_to)) or ""


def check_usable(connection: Connection, place: str) -> None:
    """Refuse a state that was moved away, that didn't arrive yet, or that is a backup.

    Raises:
        StateError: it is one of these.
    """
    marked = mark_in(connection)
    if marked:
        raise StateError(_why_unusable(place, marked), hint=_advice(marked))


def _why_unusable(place: str, marked: str) -> str:
    if marked == ARRIVING:
        return f"the state at {place} isn't complete: a move to there didn't end"
    if marked == BACKUP:
        return f"{place} is a backup, and no state"
    return f"the state at {place} was moved to {marked}"


def _advice(marked: str) -> str:
    return {
        ARRIVING: "with the former state in server.state, call `updoser state move` again",
        BACKUP: "`updoser state restore` makes a state of it",
    }.get(marked, f"server.state has to name {marked}")
