"""Lists clients from what the state remembers: a page at a time, and nobody is contacted.

* What a component on a client counts as says the ruler of `status`, so both give the same figures.
* A page of a rare filter reads on until it is full, in batches.
* The database holds back rows that can't be meant (`sifting`). What costs a look at all profiles is said to it once the
  first clients show that what was asked for is rare.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from reconciler.errors import UsageError
from reconciler.formats.filter import Filter
from reconciler.formats.select import FAILED_SET, parse
from reconciler.formats.where import parse_where
from reconciler.model.listing import Listing
from reconciler.model.plan import Basis
from reconciler.observe.cohorts import Selection
from reconciler.observe.idle import check_limit
from reconciler.observe.judging import count
from reconciler.observe.observed import known_reports, recall_lists
from reconciler.observe.upstream import find_withdrawals, merge_offers
from reconciler.planner.inputs import Observed, Wanted
from reconciler.planner.ruler import Allowance, Ruler
from reconciler.storage.judging import Ground, Judge, with_addresses
from reconciler.storage.sifting import MAX_PROFILES, Known, Sifter

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from reconciler.formats.select import Pattern
    from reconciler.model.client import Installed
    from reconciler.model.listing import ListedClient
    from reconciler.storage.judging import Counted
    from reconciler.storage.lines import Line
    from reconciler.storage.sieve import Sieve
    from reconciler.workspace import Workspace

_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Query:
    """Which clients to list: those that `limit` selects and of which `where` holds, `size` of them behind `after`."""

    limit: str = ""
    where: str = ""
    after: str = ""
    size: int = 500


def list_page(work: Workspace, query: Query) -> Listing:
    """Give a page of clients.

    Raises:
        UsageError: limit or conditions are malformed, name what isn't there, or the limit takes nobody.
        StoreError, StateError: the store or the state can't be read.
    """
    recall_lists(work)
    choice = Selection.parse(query.limit, work.state.last_failed() if f"@{FAILED_SET}" in query.limit else ())
    if choice.pattern is not None and not query.after:
        check_limit(choice.pattern, work.roll.rows())
    wanted = _filter(work, query.where)
    judge = _Judge(work, wanted)
    found: list[ListedClient] = []
    for batch in _batches(work, wanted, judge, query):
        found += judge.take(batch, choice.takes)
        if len(found) > query.size:
            break
    page = found[: query.size]
    page = with_addresses(page, (client for client, _has in work.roll.named([one.name for one in page])))
    return Listing(
        created=work.means.clock(),
        limit=query.limit,
        where=query.where,
        clients=tuple(page),
        after=page[-1].name if len(found) > query.size else "",
    )


def _batches(work: Workspace, wanted: Filter, judge: _Judge, query: Query) -> Iterator[list[Line]]:
    """Give the lines among which those are that the filter takes, a batch after the other."""
    sifter = Sifter(wanted, judge.known())
    after, some = query.after, min(query.size + 1, _BATCH)
    groups = frozenset(sifter.groups)
    if sifter.asks_profiles:
        first = list(islice(work.roll.lines(after, some, groups, sifter.bare()), some))
        yield first
        if len(first) < some:
            return
        after = first[-1].name
    through = judge.sieve(sifter)
    lines = work.roll.lines(after, some, groups, through)
    while batch := list(islice(lines, some)):
        yield batch
        some = min(some * 2, _BATCH)


def make_ruler(work: Workspace) -> Ruler:
    """Give what clients are measured against, from what the store holds and sources offered when they were last read.

    Raises:
        StoreError, StateError: the store or the state can't be read.
    """
    spec, reports = work.spec, known_reports(work)
    components = {name: one.component for name, one in spec.components.items()}
    remembered, _conflicts = merge_offers(reports, spec.sources, components, away=True)
    first_seen = work.state.first_seen()
    facts = Observed(
        Basis(lineage="", epoch=0, serial=0, spec_digest="", catalog_digest=""),
        work.store.inspect().releases,
        remembered=remembered,
        withdrawn=find_withdrawals(reports, spec.sources),
        first_seen=first_seen,
    )
    allowance = Allowance(work.means.clock(), first_seen=first_seen)
    return Ruler(Wanted(spec.components, spec.groups), facts, allowance)


def _filter(work: Workspace, where: str) -> Filter:
    schemes = {name: spec.component.scheme for name, spec in work.spec.components.items()}
    try:
        conditions = parse_where(where) if where else ()
        return Filter(conditions, schemes, tuple(work.spec.groups), work.means.clock())
    except ValueError as error:
        raise UsageError(f"--where: {error}") from error


class _Judge(Judge):
    """Judges what the ruler of a status measures."""

    def __init__(self, work: Workspace, wanted: Filter) -> None:
        self._work = work
        self._ruler = make_ruler(work)
        identity, groups = work.state.identity(), Wanted(work.spec.components, work.spec.groups)
        super().__init__(
            Ground(
                now=work.means.clock(),
                lineage=identity.lineage,
                epoch=identity.epoch,
                groups={name: tuple(one.component.id for one in groups.of_group(name)) for name in work.spec.groups},
                schemes={name: one.component.scheme for name, one in work.spec.components.items()},
                holds=holds_of(work),
                quarantine=work.spec.quarantine.span,
                failed=work.state.failed_in_rollouts(work.spec.components),
            ),
            wanted,
            self._count,
            _Memory(work),
        )

    def known(self) -> Known:
        """Give what is known beside the rows."""
        holds = [pattern for pattern, _text in self._ground.holds]
        return Known(now=self._ground.now, groups=tuple(self._ground.groups), holds=holds, failed=self._ground.failed)

    def sieve(self, sifter: Sifter) -> Sieve:
        """Give what is to be read, after a look at all profiles where that helps."""
        profiles = self._work.state.every_profile(MAX_PROFILES) if sifter.asks_profiles else None
        if profiles is None:
            return sifter.bare()
        components = dict.fromkeys(one for group in sifter.groups for one in self._ground.groups[group])
        who = self._ground.lineage, self._ground.epoch
        return sifter.with_profiles(
            sifter.fit(profiles, list(components), self.measured, lambda profile: profile.is_foreign(*who))
        )

    def _count(self, component: str, installed: Installed | None, platform: str) -> Counted:
        return count(self._ruler, component, installed, platform)


class _Memory:
    """Asks the fleet as a command sees it."""

    def __init__(self, work: Workspace) -> None:
        self._roll = work.roll
        self.last_failures = work.state.last_failures
        self.profiles_of = work.state.profiles_of

    def doubles(self, of: Collection[str]) -> list[list[str]]:
        return self._roll.doubles(of)


def holds_of(work: Workspace) -> list[tuple[Pattern, str]]:
    """Give the holds that are in force, each with why."""
    today = work.means.clock().date()
    return [(parse(hold.clients), hold.text) for hold in work.spec.holds if hold.applies(today)]
