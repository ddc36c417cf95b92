"""What of the fleet is read at all, said in SQL: a sieve holds back rows that nobody asks for.

It may let through more than was asked for, and whoever reads judges what comes through; but it never holds back what
was asked for. So wherever a database and Python disagree about a text (case, ranges of characters), more comes through.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, false, func, literal_column, or_, select, true

from reconciler.model.network import UNREACHABLE
from reconciler.storage.tables import CLIENTS, LABELLED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sqlalchemy import ColumnElement

    Rows = ColumnElement[bool]
    """Some of the rows of clients."""

MAX_LISTED = 15_000
"""Names and fingerprints that a statement lists, at most: SQLite takes 32,766 values, PostgreSQL 65,535."""
_ESCAPE = "/"
_CLOCKS = 1.0
"""Seconds by which times may be off when they are compared as numbers."""
_ODD_CASE = frozenset("iskISK")
"""Letters that also are the other case of letters outside of ASCII."""

ALL: Rows = true()
NONE: Rows = false()
NO_WAY: Rows = CLIENTS.c.route.startswith(UNREACHABLE, autoescape=True)
SAID: Rows = CLIENTS.c.error != ""
FAILED_LAST: Rows = CLIENTS.c.failures > 0
NEVER_SEEN: Rows = CLIENTS.c.seen_at.is_(None)
BARE: Rows = CLIENTS.c.fingerprint.is_(None)
"""Those that nothing is known of."""


@dataclass(frozen=True, slots=True, eq=False)
class Sieve:
    """What comes through: `rows` of which all names begin with `prefix`."""

    rows: Rows = ALL
    prefix: str = ""


def either(parts: Iterable[Rows]) -> Rows:
    """Give the rows that are of one of some parts."""
    return or_(NONE, *parts)


def every(parts: Iterable[Rows]) -> Rows:
    """Give the rows that are of all of some parts."""
    return and_(ALL, *parts)


def named(glob: str) -> Rows:
    """Give the clients whose names a glob may match."""
    return CLIENTS.c.name.like(_like(glob), escape=_ESCAPE) if _is_text(glob) else ALL


def labelled(glob: str) -> Rows:
    """Give the clients with a label that a glob may match."""
    return CLIENTS.c.labels.like(f'%"{_like(glob, in_json=True)}"%', escape=_ESCAPE) if _is_text(glob) else ALL


def labelled_as(texts: Collection[str]) -> Rows:
    """Give the clients whose labels are one of some texts, as an index has them."""
    return and_(literal_column(LABELLED), CLIENTS.c.labels.in_(list(texts)))


def literal_prefix(glob: str) -> str:
    """Give what each text begins with that a glob matches."""
    at = next((at for at, char in enumerate(glob) if char in "*?["), len(glob))
    return glob[:at] if _is_text(glob) else ""


def called(names: Collection[str]) -> Rows:
    """Give clients by their names."""
    return CLIENTS.c.name.in_(list(names)) if len(names) <= MAX_LISTED else ALL


def of_groups(groups: Collection[str]) -> Rows:
    """Give the clients of groups."""
    return CLIENTS.c.grp.in_(list(groups)) if len(groups) <= MAX_LISTED else ALL


def with_profile(wanted: Collection[str], others: Collection[str], *, bare: bool) -> Rows:
    """Give the clients whose profiles are wanted, by fingerprint; `bare`: and those whose profile isn't known.

    `others` are all other profiles that are known.
    """
    fingerprint = CLIENTS.c.fingerprint
    if bare or len(others) < len(wanted):
        if len(others) > MAX_LISTED:
            return ALL
        rest = fingerprint.not_in(list(others)) if others else ALL
        return or_(fingerprint.is_(None), rest) if bare else and_(fingerprint.is_not(None), rest)
    return fingerprint.in_(list(wanted)) if len(wanted) <= MAX_LISTED else fingerprint.is_not(None)


def without_profile(unwanted: Collection[str]) -> Rows:
    """Give the clients that have none of some profiles, by fingerprint, though they have one."""
    fingerprint = CLIENTS.c.fingerprint
    return fingerprint.not_in(list(unwanted)) if 0 < len(unwanted) <= MAX_LISTED else fingerprint.is_not(None)


def left_alone(now: float) -> Rows:
    """Give the clients whose quarantine isn't over; in seconds since the epoch."""
    return CLIENTS.c.quarantined > now - _CLOCKS


def seen_since(at: float) -> Rows:
    """Give the clients that answered after a time."""
    return CLIENTS.c.seen_at > at - _CLOCKS


def not_seen_since(at: float) -> Rows:
    """Give the clients that answered before a time last, or never."""
    return or_(CLIENTS.c.seen_at.is_(None), seen_before(at))


def seen_before(at: float) -> Rows:
    """Give the clients that answered before a time last."""
    return CLIENTS.c.seen_at < at + _CLOCKS


def saying(part: str) -> Rows:
    """Give the clients that can't be reached, or failed, with a reason in which a text may stand, in any case."""
    if not _is_text(part):
        return or_(NO_WAY, SAID)
    like = "".join("_" if char in _ODD_CASE or not char.isascii() else _escaped(char) for char in part)
    said, no_way = (column.ilike(f"%{like}%", escape=_ESCAPE) for column in (CLIENTS.c.error, CLIENTS.c.route))
    return or_(and_(SAID, said), and_(NO_WAY, no_way))


def saying_label(label: str) -> Rows:
    """Give the clients whose last look failed for a reason, by its label."""
    begin = f"{label}:"
    return or_(CLIENTS.c.error == label, func.substr(CLIENTS.c.error, 1, len(begin)) == begin)


def doubled() -> Rows:
    """Give the clients whose machine may have other names, too."""
    machine = CLIENTS.c.machine
    several = select(machine).where(machine != "").group_by(machine).having(func.count() > 1)
    return machine.in_(several)


def _is_text(text: str) -> bool:
    """Say whether a database takes a text: a word of the command line may have bytes in it that are none."""
    return text.isprintable() or not any("\ud800" <= char <= "\udfff" or char == "\0" for char in text)


def _like(glob: str, *, in_json: bool = False) -> str:
    """Write a glob as LIKE has it. A range of characters and all behind it is any text.

    `in_json`: what it matches stands in JSON, where a character may be several.
    """
    made = []
    for char in glob:
        if char in "*[":
            made.append("%")
        elif char == "?":
            made.append("%" if in_json else "_")
        else:
            made.append("".join(map(_escaped, json.dumps(char)[1:-1])) if in_json else _escaped(char))
        if char == "[":
            break
    return "".join(made)


def _escaped(char: str) -> str:
    return f"{_ESCAPE}{char}" if char in f"%_{_ESCAPE}" else char
