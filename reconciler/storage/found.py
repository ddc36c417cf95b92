"""Clients found by what they are like, a page at a time: for those who show them and have no spec.

What clients count as was judged by the controller (`standings`); what is asked for is said in SQL (`sifting`), and each
client that comes through is judged as in any other listing. So a page tells what `updoser clients` tells, and there are
as many clients behind a condition as a status counts.

A page begins behind a name. There are several ways to the clients that follow it, and the shortest is taken:

* What hardly any client is (in trouble, in quarantine, never seen) has an index of its own, in the order of names.
* Where few clients have a component that fits, each profile is asked for its first ones behind the name.
* Else clients are read in the order of their names, or of those in their group: the page is full before long.

Most commands open a state and look for nobody, so that what takes conditions apart is imported with the first of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import merge
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import ColumnElement, func, lateral, literal_column, select, true, type_coerce
from sqlalchemy.types import NULLTYPE

from reconciler.errors import StateError
from reconciler.storage import sieve
from reconciler.storage.cells import sound
from reconciler.storage.fleet import LISTED, labels_of
from reconciler.storage.lines import Line, Lines, by_code_point, from_prefix
from reconciler.storage.rollouts import RolloutRecords
from reconciler.storage.snapshots import Snapshots
from reconciler.storage.standings import UNREAD, Standings
from reconciler.storage.tables import CLIENTS, ODD, PROFILE_COMPONENTS, PROFILE_NUMBERS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Select
    from sqlalchemy.sql.selectable import FromClause

    from reconciler.formats.where import Condition
    from reconciler.model.client import Profile
    from reconciler.model.listing import ListedClient
    from reconciler.storage.ground import Facts
    from reconciler.storage.indexed import Indexed
    from reconciler.storage.judging import Judge
    from reconciler.storage.lines import LastFailure
    from reconciler.storage.sieve import Rows, Sieve
    from reconciler.storage.sifting import Sifter
    from reconciler.storage.standings import Measured

MAX_PAGE = 1000
"""Clients of a page, at most."""
MAX_COUNTED = 1000
_MAX_BATCH = 4000
_MAX_GROUPS = 8
"""Groups that are read side by side, at most."""
_FEW = 3000
"""Clients that are read and put in order, at most."""
_MAX_LABEL_TEXTS = 1000
"""Different labels that are looked through, at most: where each client has its own, reading on costs the same."""
_STEP = 3.0
"""How much longer it takes to go to a client by its profile than to go on to the next name."""


@dataclass(frozen=True, slots=True)
class FoundClients:
    """A page of clients in the order of their names; `after` is what the next begins behind, empty on the last.

    `at` is when the controller judged last; None: it never did, and nobody is found.
    """

    at: datetime | None
    clients: tuple[ListedClient, ...] = ()
    after: str = ""


@dataclass(frozen=True, slots=True)
class FoundCount:
    """How many clients there are; `more`: at least so many."""

    number: int
    more: bool = False


class Way(NamedTuple):
    """A way to clients: those of `rows`, or those whose profiles have one of some standings, or weren't read yet.

    `by` is an index that has just these rows, in the order of names.
    """

    rows: Rows = sieve.ALL
    by: str = ""
    standings: Sequence[int] = ()
    unread: bool = False


class FoundRecords(Lines, Standings, Snapshots, RolloutRecords):
    """Finding clients."""

    def find_clients(self, conditions: Sequence[Condition], *, after: str = "", limit: int = 100) -> FoundClients:
        """Give a page of the clients of whom conditions hold, of those that follow a name.

        Raises:
            ValueError: a condition names what isn't there; the message says what may stand in its place.
            StateError: the state can't be read.
        """
        from reconciler.storage.judging import with_addresses

        search = self._search(conditions)
        if search is None:
            return FoundClients(None)
        found, more = self._page(search, after, min(limit, MAX_PAGE))
        named = (client for client, _has in self.named([one.name for one in found]))
        return FoundClients(search.at, tuple(with_addresses(found, named)), found[-1].name if more else "")

    def client_pages(self, conditions: Sequence[Condition], size: int = MAX_PAGE) -> Iterator[FoundClients]:
        """Give all clients of whom conditions hold, page by page; raises what `find_clients` raises."""
        after = ""
        while True:
            page = self.find_clients(conditions, after=after, limit=size)
            yield page
            after = page.after
            if not after:
                return

    def count_clients(self, conditions: Sequence[Condition], *, most: int = MAX_COUNTED) -> FoundCount:
        """Count the clients of whom conditions hold, up to a number; raises what `find_clients` raises."""
        search = self._search(conditions)
        number, after, more = 0, "", search is not None
        while search is not None and more:
            found, more = self._page(search, after, min(most - number, MAX_PAGE))
            number += len(found)
            if number >= most:
                return FoundCount(number, more)
            after = found[-1].name if found else ""
        return FoundCount(number)

    # --- what is asked for --------------------------------------------------------------------------------------------

    def _search(self, conditions: Sequence[Condition]) -> _Search | None:
        """Say what is asked for in the words of the state; None where nobody judged the fleet yet."""
        from reconciler.formats.filter import Filter
        from reconciler.storage.indexed import Indexed
        from reconciler.storage.judging import Judge
        from reconciler.storage.sifting import Known, Sifter

        kept = self._judged()
        if kept is None:
            return None
        at, facts, measured = kept
        ground = facts.ground(self._clock(), self.failed_in_rollouts(facts.schemes))
        odd = measured.odd_versions(ground.schemes)
        wanted = Filter(conditions, ground.schemes, tuple(ground.groups), ground.now, odd)
        known = Known(
            now=ground.now,
            groups=tuple(ground.groups),
            holds=[pattern for pattern, _text in ground.holds],
            failed=ground.failed,
            doubles=None if facts.doubles is None else [name for names in facts.doubles for name in names],
            moved=tuple(facts.moved),
        )
        sifter = Sifter(wanted, known)
        indexed = Indexed(sifter, wanted, ground, measured, known.moved)
        through = sifter.with_profiles(indexed) if sifter.asks_profiles else sifter.bare()
        return _Search(
            at=at,
            facts=facts,
            groups=indexed.groups,
            judge=Judge(ground, wanted, measured.count, _Memory(self, facts)),
            through=through,
            sifter=sifter,
            indexed=indexed,
            clients=measured.clients,
        )

    def _judged(self) -> tuple[datetime, Facts, Measured] | None:
        """Give what the controller wrote down last; it is read once: its digest covers the standings as well."""
        snapshot = self.snapshot("facts")
        if snapshot is None:
            return None
        kept = self._last_judged
        if kept is None or kept[0] != snapshot.digest:
            from reconciler.storage.ground import read_facts

            with sound("of what clients are judged by"):
                facts = read_facts(snapshot.document)
            kept = snapshot.digest, facts, self.standings()
            self._last_judged = kept
        return snapshot.at, kept[1], kept[2]

    _last_judged: tuple[str, Facts, Measured] | None = None

    # --- reading ------------------------------------------------------------------------------------------------------

    def _page(self, search: _Search, after: str, limit: int) -> tuple[list[ListedClient], bool]:
        """Give a page, and whether there are more."""
        found: list[ListedClient] = []
        size, ways = limit + 1, self._ways(search, limit)
        while True:
            lines, over = self._next(search, ways, after, size)
            found += search.judge.take(lines)
            if over or len(found) > limit:
                return found[:limit], len(found) > limit
            after, size = lines[-1].name, min(size * 2, _MAX_BATCH)

    def _ways(self, search: _Search, limit: int) -> list[Way]:
        """Choose how to go to the clients that are asked for."""
        sifter, indexed = search.sifter, search.indexed
        names = sifter.names()
        if names is not None:
            return [Way(sieve.called(names))]
        odd = sifter.odd()
        if odd is not None:
            return self._odd_ways(odd, indexed)
        at = sifter.seen_before()
        if at is not None and self._are_few(sieve.seen_before(at)):
            return [Way(sieve.seen_before(at), "clients_by_seen"), *self._odd_ways(("never_seen",), indexed)]
        if sifter.asks_labels and (way := self._labelled_way(sifter)) is not None:
            return way
        fitting, beside = indexed.fitting(), sifter.odd_beside()
        if fitting is not None and beside is not None:
            walk = limit * search.clients / max(fitting.clients, 1)
            if _STEP * fitting.cost(limit) <= walk:
                kinds = (*beside, *(["bare"] if fitting.bare else []))
                return [*self._profile_ways(fitting.standings), *self._odd_ways(kinds, indexed)]
            known = fitting.known
            if known is not None and _STEP * known.cost(limit) <= walk:
                few = [Way(standings=known.standings)] if known.standings else []
                return [*few, *self._odd_ways((*beside, *_UNKNOWN), indexed)]
        groups, moved = search.groups, search.moved
        if len(groups) < len(search.facts.groups) and len(groups) <= _MAX_GROUPS:
            return [*(Way(CLIENTS.c.grp == group) for group in groups), *([Way(sieve.called(moved))] if moved else [])]
        return [Way()]

    def _labelled_way(self, sifter: Sifter) -> list[Way] | None:
        """Give the way to clients by their labels, where few have such; None: by none of them."""
        texts = self.label_texts(_MAX_LABEL_TEXTS)
        if texts is None:
            return None
        fit = [text for text in texts if _may_take_labels(sifter, text)]
        if not fit:
            return []
        rows = sieve.labelled_as(fit)
        return [Way(rows, "clients_by_labels")] if self._are_few(rows) else None

    def _are_few(self, rows: Rows) -> bool:
        """Say whether hardly any clients are such; an index must tell."""
        some = select(literal_column("1")).select_from(CLIENTS).where(rows).limit(_FEW + 1).subquery()
        with self._read() as connection:
            return (connection.scalar(select(func.count()).select_from(some)) or 0) <= _FEW

    def _odd_ways(self, odd: Collection[str], indexed: Indexed) -> list[Way]:
        ways = [Way(literal_column(ODD[name]), f"clients_{name}") for name in dict.fromkeys(odd) if name in ODD]
        if "bare" in odd:
            ways.append(Way(sieve.BARE))
        if "failed" in odd and indexed.failed:
            ways.append(Way(sieve.called(indexed.failed)))
        if "foreign" in odd:
            ways += self._profile_ways(indexed.foreign_standings())
        return ways

    def _profile_ways(self, standings: Sequence[int]) -> list[Way]:
        """Give the ways to clients by their profiles; those that weren't read yet may be any."""
        return [*([Way(standings=standings)] if standings else []), *([Way(unread=True)] if self.has_unread() else [])]

    def _next(self, search: _Search, ways: Sequence[Way], after: str, size: int) -> tuple[list[Line], bool]:
        """Give lines that follow a name, and whether these are all; of those that may fit, none is left out."""
        inside = search.inside
        with self._read() as connection:
            parts = [self._along(connection, way, search.through, inside, after, size) for way in ways]
        full = [part[-1].name for part in parts if len(part) >= size]
        end = min(full, default=None)
        merged = (next(same) for _name, same in groupby(merge(*parts, key=_NAME), key=_NAME))
        lines = [line for line in merged if end is None or line.name <= end]
        moved = search.facts.moved
        lines = [line._replace(group=moved[line.name]) if line.name in moved else line for line in lines]
        return lines, end is None

    def _along(
        self, connection: Connection, way: Way, through: Sieve, inside: Rows, after: str, size: int
    ) -> list[Line]:
        """Give lines on one way, in the order of names."""
        name = by_code_point(connection)
        begins = from_prefix(name, through.prefix, after)
        if way.standings or way.unread:
            profiles = UNREAD if way.unread else _having(way.standings)
            wanted = _by_profile(connection, profiles, [*begins, through.rows, inside], size)
        else:
            wanted = select(*_cells(CLIENTS)).where(way.rows, *begins, through.rows, inside).order_by(name).limit(size)
            if way.by:
                wanted = wanted.with_hint(CLIENTS, f"INDEXED BY {way.by}", "sqlite")
        return [Line._make(row) for row in connection.execute(wanted)]


class _Search(NamedTuple):
    """What is asked for: `through` lets all through that the judge may take, of `groups`."""

    at: datetime
    facts: Facts
    groups: Sequence[str]
    judge: Judge
    through: Sieve
    sifter: Sifter
    indexed: Indexed
    clients: int

    @property
    def moved(self) -> list[str]:
        """The clients that are in one of the groups, and that the state has in another."""
        return [name for name, group in self.facts.moved.items() if group in self.groups]

    @property
    def inside(self) -> Rows:
        """The clients of the groups, as the last look found them."""
        entry, facts = CLIENTS.c, self.facts
        here = sieve.either([sieve.of_groups(self.groups), *([sieve.called(self.moved)] if self.moved else [])])
        there = [entry.name.not_in(sorted(facts.gone))] if facts.gone else []
        return sieve.every([entry.gone_at.is_(None) | (entry.gone_at == LISTED), here, *there])


class _Memory:
    """Asks the state about clients."""

    def __init__(self, state: FoundRecords, facts: Facts) -> None:
        self._state = state
        self._groups = tuple(facts.groups)
        self._doubles: Mapping[str, Sequence[str]] | None = None
        if facts.doubles is not None:
            self._doubles = {name: names for names in facts.doubles for name in names}

    def doubles(self, of: Collection[str]) -> list[list[str]]:
        if self._doubles is None:
            several = self._state.doubles(of)
            ours = self._state.among(self._groups, [name for names in several for name in names]) if several else set()
            found = ([name for name in names if name in ours] for names in several)
            return [names for names in found if len(names) > 1]
        machines = {tuple(names) for name in of for names in (self._doubles.get(name, ()),) if names}
        return [list(names) for names in sorted(machines)]

    def last_failures(self, names: Collection[str]) -> Mapping[str, LastFailure]:
        return self._state.last_failures(names)

    def profiles_of(self, fingerprints: Collection[str]) -> Mapping[str, Profile]:
        return self._state.profiles_of(fingerprints)


def _may_take_labels(sifter: Sifter, text: str) -> bool:
    """Say whether clients with labels may be taken; what can't be read is told where such a client is."""
    try:
        return sifter.takes_labels(labels_of(text))
    except StateError:
        return True


def _having(standings: Sequence[int]) -> Select[Any]:
    """Give the fingerprints of profiles that have one of some standings."""
    number, part = PROFILE_NUMBERS.c, PROFILE_COMPONENTS.c
    having = select(part.profile).where(part.standing.in_(standings))
    return select(number.fingerprint).where(number.number.in_(having))


def _by_profile(connection: Connection, profiles: Select[Any], rows: Sequence[Rows], size: int) -> Select[Any]:
    """Give the first clients of each of some profiles."""
    wanted = profiles.subquery("wanted")
    same = CLIENTS.c.fingerprint == wanted.c.fingerprint
    if connection.dialect.name == "postgresql":
        name = by_code_point(connection)
        first = select(*_cells(CLIENTS)).where(same, *rows).order_by(name).limit(size).correlate(wanted)
        found = lateral(first, "found")
        return select(*found.c).select_from(wanted.join(found, true())).order_by(found.c.name.collate("C")).limit(size)
    inside = select(CLIENTS.c.name).where(same, *rows).order_by(CLIENTS.c.name).limit(size).correlate(wanted)
    all_ = CLIENTS.alias("found")
    joined = wanted.join(all_, all_.c.name.in_(inside))
    return select(*_cells(all_)).select_from(joined).order_by(all_.c.name).limit(size)


def _cells(table: FromClause) -> list[ColumnElement[Any]]:
    """Give what a line is made of, without a check of each cell: what is odd shows when it is used."""
    names = ((name, "grp" if name == "group" else name) for name in Line._fields)
    return [type_coerce(table.c[column], NULLTYPE).label(name) for name, column in names]


_UNKNOWN = ("in_trouble", "without_way", "bare", "foreign")
"""Kinds of clients of which nobody knows what they have now."""
_NAME = attrgetter("name")
