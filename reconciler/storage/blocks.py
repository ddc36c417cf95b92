"""Clients whose rows are alike: what a plan is made from, counted by the database.

A million clients have a few thousand different rows. The database puts those together and gives their names in one
text, so that nothing is made here for each client. In SQLite that is read from an index alone (`clients_alike`), in its
order; elsewhere in any order, and names are sorted here by their characters.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import groupby
from sys import intern
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import func, select

from reconciler.storage.base import Part
from reconciler.storage.dialect import passing_through
from reconciler.storage.fleet import LISTED
from reconciler.storage.tables import CLIENTS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection

    from reconciler.storage.fleet import ClientRow

_BETWEEN = "\n"
"""Stands between names; no name of a client or a group has it."""


class Likeness(NamedTuple):
    """What rows of clients are alike in: all that `ClientRow` has, but for names and groups."""

    labels: str
    fingerprint: str | None
    error: str
    route: str
    failing_since: float | None
    quarantined: float | None
    settings: str


class Block(NamedTuple):
    """Clients that are alike: the names by group, sorted, in the order of the groups."""

    like: Likeness
    names: Mapping[str, Sequence[str]]


class Blocks(Part):
    """Gives the clients of a fleet by what their rows are."""

    def alike(self, groups: Collection[str]) -> Iterator[Block]:
        """Give the clients of groups that are of the fleet, each once; blocks that are alike may come twice."""
        wanted = set(groups)
        with self._read() as connection, passing_through(connection):
            for block in _found(connection, CLIENTS.c.gone_at.is_(None)):
                inside = {group: listed for group, listed in block.names.items() if group in wanted}
                if inside:
                    yield Block(block.like, inside)

    def listed_alike(self, groups: Collection[str]) -> Iterator[Block]:
        """Give the same of clients that were only listed: those of groups that have no others."""
        with self._read() as connection:
            for group in groups:
                yield from _found(connection, CLIENTS.c.gone_at == LISTED, CLIENTS.c.grp == group)


def blocks_of(rows: Iterable[ClientRow]) -> Iterator[Block]:
    """Put rows of clients together by what they are alike in."""
    found: dict[tuple[object, ...], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, group, *like in rows:
        found[tuple(like)][group].append(name)
    for key, names in found.items():
        yield Block(Likeness._make(key), _sorted(names))


def _sorted(names: Mapping[str, list[str]]) -> dict[str, list[str]]:
    for listed in names.values():
        listed.sort()
    return {group: names[group] for group in sorted(names)}


def _found(connection: Connection, *which: ColumnElement[bool]) -> Iterator[Block]:
    """Ask the database; `which` are the clients."""
    entry = CLIENTS.c
    like = [entry[name] for name in Likeness._fields]
    together = func.string_agg if connection.dialect.name == "postgresql" else func.group_concat
    names, groups = (together(column, _BETWEEN) for column in (entry.name, entry.grp))
    # Numbers sort before all texts, and blobs after them: where the first and the last are texts, all are.
    ends = [end(column) for column in (entry.name, entry.grp) for end in (func.min, func.max)]
    wanted = select(names, groups, func.count(), *like, *ends).where(*which).group_by(*like)
    for listed, of_groups, count, *cells in connection.execute(wanted):
        alike = Likeness._make(cells[: len(like)])
        yield Block(alike, _by_group(listed.split(_BETWEEN), of_groups.split(_BETWEEN), count))


def _by_group(names: list[str], groups: list[str], count: int) -> dict[str, list[str]]:
    """Take names apart by their groups; mostly they come in their order."""
    if not len(names) == len(groups) == count:
        raise ValueError("a client's name is of several lines")
    found: dict[str, list[str]] = {}
    at = 0
    for group, run in groupby(groups):
        end = at + len(list(run))
        found.setdefault(intern(group), []).extend(names[at:end])
        at = end
    return _sorted(found)
