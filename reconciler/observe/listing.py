"""Lists clients from what the state remembers: a page at a time, and nobody is contacted.

* What a component on a client counts as says the ruler of `status`, so both give the same figures. A client that isn't
  known now (it didn't answer, or answers to another controller) counts as `unknown`; what was seen of it last is shown.
* Each distinct profile is judged once, and only as many are kept as `_KEPT`: a page of a rare filter reads on until it
  is full, in batches, and a million clients never stand in memory.
* The database holds back rows that can't be meant (`sifting`). What costs a look at all profiles is said to it once the
  first clients show that what was asked for is rare.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, cast

from reconciler.errors import OtherControllerError, UsageError
from reconciler.formats.select import FAILED_SET, parse
from reconciler.formats.where import parse_where
from reconciler.model.deploy import MACHINE, RELEASE
from reconciler.model.listing import ListedClient, ListedComponent, Listing
from reconciler.model.network import why_unreachable
from reconciler.model.plan import NEVER_SEEN, Basis
from reconciler.observe.cohorts import Selection, double_text, is_foreign
from reconciler.observe.idle import check_limit
from reconciler.observe.observed import known_reports, recall_lists
from reconciler.observe.sifting import MAX_PROFILES, Known, Sifter
from reconciler.observe.upstream import find_withdrawals, merge_offers
from reconciler.planner.filter import Filter
from reconciler.planner.inputs import Observed, Wanted
from reconciler.planner.ruler import Allowance, Ruler
from reconciler.reasons import REASONS, reached
from reconciler.storage.base import moment
from reconciler.storage.fleet import labels_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from reconciler.formats.select import Pattern
    from reconciler.model.client import Installed, Profile
    from reconciler.model.listing import ClientState
    from reconciler.model.spec import ComponentSpec
    from reconciler.storage.lines import Line
    from reconciler.storage.sieve import Sieve
    from reconciler.workspace import Workspace

_KEPT = 20_000
"""Distinct profiles that are kept."""
_WORST: tuple[ClientState, ...] = ("quarantined", "held", "unreachable", "failed", "unknown")
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
        found += judge.take(batch, choice)
        if len(found) > query.size:
            break
    page = found[: query.size]
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


class _Judge:
    """Says of lines what a listing says of clients."""

    def __init__(self, work: Workspace, wanted: Filter) -> None:
        self._work = work
        self._filter = wanted
        self._now = work.means.clock()
        self._identity = work.state.identity()
        self._ruler = make_ruler(work)
        self._of_group = Wanted(work.spec.components, work.spec.groups).of_group
        holds = [hold for hold in work.spec.holds if hold.applies(self._now.date())]
        self._holds: list[tuple[Pattern, str]] = [(parse(hold.clients), hold.text) for hold in holds]
        self._doubles: dict[str, str] = {}
        self._failed = failed_in_rollouts(work)
        self._profiles: dict[str, Profile] = {}
        self._judged: dict[tuple[object, ...], tuple[ListedComponent, ...]] = {}
        self._labels: dict[str, tuple[str, ...]] = {}

    def known(self) -> Known:
        """Give what is known beside the lines."""
        holds = [pattern for pattern, _text in self._holds]
        return Known(now=self._now, groups=self._work.spec.groups, holds=holds, failed=self._failed)

    def sieve(self, sifter: Sifter) -> Sieve:
        """Give what is to be read, after a look at all profiles where that helps."""
        profiles = self._work.state.every_profile(MAX_PROFILES) if sifter.asks_profiles else None
        if profiles is None:
            return sifter.bare()
        specs = {spec.component.id: spec for group in sifter.groups for spec in self._of_group(group)}

        def measure(component: str, installed: Installed | None, platform: str, known: bool) -> ListedComponent:
            return self._measured(specs[component], installed, platform, known=known)

        return sifter.with_profiles(
            sifter.fit(profiles, list(specs), measure, lambda profile: is_foreign(profile, self._identity))
        )

    def take(self, lines: Sequence[Line], choice: Selection) -> Iterable[ListedClient]:
        """Give those that were asked for."""
        chosen = []
        for line in lines:
            labels = self._labels.get(line.labels)
            if labels is None:
                labels = self._labels[line.labels] = labels_of(line.labels)
            if choice.takes(line.name, line.group, labels):
                chosen.append((line, labels))
        doubles = self._work.roll.doubles([line.name for line, _labels in chosen]) if chosen else []
        self._doubles = {name: double_text(names) for names in doubles for name in names}
        self._learn({line.fingerprint for line, _labels in chosen if line.fingerprint})
        failed = [line.name for line, _labels in chosen if line.failures and line.name not in self._failed]
        said = self._work.state.last_failures(failed) if failed else {}
        found = (
            self._listed(line, labels, said[line.name].message if line.name in said else self._failed_with(line))
            for line, labels in chosen
        )
        return [listed for listed in found if listed is not None]

    def _failed_with(self, line: Line) -> str:
        """Give what a client said when it failed in a rollout, unless it has that version by now, or a later one."""
        profile = self._profiles.get(line.fingerprint or "")
        failed = self._failed.get(line.name, ())
        lacking = (message for component, version, message in failed if lacks(self._work, profile, component, version))
        return next(lacking, "")

    def _learn(self, fingerprints: set[str]) -> None:
        """Have the profiles of a batch at hand."""
        if len(self._profiles) > _KEPT:
            self._profiles.clear()
            self._judged.clear()
        new = [one for one in fingerprints if one not in self._profiles]
        if new:
            self._profiles |= self._work.state.profiles_of(new)

    def _listed(self, line: Line, labels: tuple[str, ...], said: str) -> ListedClient | None:
        """Give a client, if the conditions hold of it; `said` is why it failed, if it answers and did."""
        profile = self._profiles.get(line.fingerprint or "")
        no_way = why_unreachable(line.route)
        foreign = profile is not None and is_foreign(profile, self._identity)
        known = profile is not None and not (line.error or no_way or foreign)
        hold = self._hold(line, labels)
        until = moment(line.quarantined)
        until = until if until is not None and until > self._now else None
        until = min(until, self._now + self._work.spec.quarantine.span) if until else None
        failed = bool(said or line.failures)
        words = _words(line, known=known, hold=hold, quarantined=until is not None, no_way=no_way, failed=failed)
        components = self._components(line, profile, words, known=known)
        if self._filter.asks_components and not components:
            return None
        platform = profile.platform if profile else ""
        seen = self._past(line.seen_at)
        error = no_way or line.error or said or (REASONS[OtherControllerError.reason].label if foreign else "")
        if not self._filter.takes(
            name=line.name, group=line.group, labels=labels, platform=platform, seen=seen, error=error
        ):
            return None
        return ListedClient(
            name=line.name,
            group=line.group,
            labels=labels,
            platform=platform,
            state=_worst(words, components),
            why=hold or error or ("" if known else NEVER_SEEN),
            seen=seen,
            failing_since=self._past(line.failing_since) if line.error else None,
            failures=line.failures,
            until=until,
            components=components,
        )

    def _past(self, stamp: float | None) -> datetime | None:
        read = moment(stamp)
        return None if read is None else min(read, self._now)

    def _hold(self, line: Line, labels: tuple[str, ...]) -> str:
        for pattern, text in self._holds:
            if pattern.matches(line.name, (line.group,), labels):
                return text
        return self._doubles.get(line.name, "")

    def _components(
        self, line: Line, profile: Profile | None, words: frozenset[str], *, known: bool
    ) -> tuple[ListedComponent, ...]:
        key = line.fingerprint if profile else "", line.group, known, words
        found = self._judged.get(key)
        if found is None:
            found = self._filter.components(self._measure(line.group, profile, known=known), words)
            self._judged[key] = found
        return found

    def _measure(self, group: str, profile: Profile | None, *, known: bool) -> Iterable[ListedComponent]:
        for spec in self._of_group(group) if group in self._work.spec.groups else ():
            installed = profile.by_component.get(spec.component.id) if profile else None
            yield self._measured(spec, installed, profile.platform if profile else "", known=known)

    def _measured(
        self, spec: ComponentSpec, installed: Installed | None, platform: str, *, known: bool
    ) -> ListedComponent:
        component = spec.component.id
        return ListedComponent(
            id=component,
            version=installed.version if installed else "",
            wanted=self._ruler.wanted(component, platform),
            state=self._ruler.state(component, installed, platform) if known else "unknown",
        )


def lacks(work: Workspace, profile: Profile | None, component: str, version: str) -> bool:
    """Say whether a client hasn't got a version, or a later one, as far as its versions can be compared."""
    installed = profile.by_component.get(component) if profile else None
    scheme = work.spec.components[component].component.scheme
    if installed is None or not (scheme.accepts(installed.version) and scheme.accepts(version)):
        return True
    return scheme.parse(installed.version) < scheme.parse(version)


def failed_in_rollouts(work: Workspace) -> dict[str, list[tuple[str, str, str]]]:
    """Give the clients that failed in rollouts: with which component and version, and what they said."""
    over = {key for key, record in work.state.rollouts().items() if record.status == "superseded"}
    found: dict[str, list[tuple[str, str, str]]] = {}
    for fault in (RELEASE, MACHINE):
        for key, clients in work.state.rollout_failures(fault).items():
            component, version, _group = key
            if key not in over and component in work.spec.components:
                for client, message in clients.items():
                    found.setdefault(client, []).append((component, version, message))
    return found


def _words(line: Line, *, known: bool, hold: str, quarantined: bool, no_way: str, failed: bool) -> frozenset[str]:
    """Give the states that a client is in as a whole."""
    answered = not line.error or reached(line.error)
    words = {
        "quarantined": quarantined,
        "held": bool(hold),
        "unreachable": bool(no_way) or not answered,
        "failed": not no_way and answered and (bool(line.error) or failed),
        "unknown": not known,
    }
    return frozenset(word for word, holds in words.items() if holds)


def _worst(words: frozenset[str], components: Sequence[ListedComponent]) -> ClientState:
    """Give the word for a client: what is in its way, or else what is the matter with its components."""
    for word in _WORST:
        if word in words:
            return word
    states = {component.state for component in components}
    if states & {"missing", "damaged", "outdated"}:
        return "outdated"
    ranked = ("unknown", "ahead", "deferred")
    return cast("ClientState", next((word for word in ranked if word in states), "updated"))
