"""Adds the cohorts of a fleet up to deploy changes and findings.

A cohort whose clients aren't all in the same situation is taken in parts: by the wave that they are in, and by whether
they are due at moments of their own.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from operator import or_
from typing import TYPE_CHECKING, Literal

from reconciler.model.change import Deploy, Settings
from reconciler.model.names import places_of
from reconciler.model.plan import Finding
from reconciler.model.roster import Roster
from reconciler.planner.comparison import what
from reconciler.planner.rollout import is_governed
from reconciler.planner.sums import Book, Entry, Sum, Sums
from reconciler.planner.timing import back_test, due_test
from reconciler.planner.walk import Standing
from reconciler.planner.waves import first_waves, whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.model.change import Proof, SettingsReason
    from reconciler.model.plan import Basis, Cohort
    from reconciler.model.policy import Schedule
    from reconciler.model.roster import Section
    from reconciler.planner.comparison import Compared, Comparison
    from reconciler.planner.delivery import Delivery
    from reconciler.planner.diff import Difference
    from reconciler.planner.inputs import Wanted
    from reconciler.planner.rollout import Rollouts
    from reconciler.planner.targets import Times
    from reconciler.planner.timing import Verdict
    from reconciler.planner.waves import FirstWaves

    _Due = tuple[int, int, bool]
    FindingKind = Literal["drift", "pending", "held", "deferred", "unknown", "unreachable", "claims"]
    _Found = tuple[FindingKind, str, str, str]

_Test = Callable[[Sequence[str]], Iterable[bool]]
"""Says of clients whether they are due."""
_Answers = tuple[tuple[bool, ...], tuple[bool, ...]]
"""In which reaches clients are, and which moments have come for them."""
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Moment:
    """What decides over each client by itself: a schedule, and whether it came back since a release is `known`."""

    schedule: Schedule | None
    seen: bool
    known: datetime | None

    def test(self, now: datetime, back: Mapping[str, datetime]) -> _Test:
        """Give what says of clients whether they are due; nobody came back since a release that is new right now."""
        scheduled = due_test(self.schedule, now, self.known or _LONG_AGO) if self.schedule is not None else None
        if not self.seen:
            assert scheduled is not None
            return lambda names: map(scheduled, places_of(names))
        returned = back_test(back, self.known or now)
        if scheduled is None:
            return lambda names: map(returned, names)
        return lambda names: map(or_, map(returned, names), map(scheduled, places_of(names)))


class Aggregate:
    """Adds cohorts up to changes and findings; clients are only counted."""

    def __init__(
        self,
        wanted: Wanted,
        comparison: Comparison,
        rollouts: Rollouts,
        verdicts: Mapping[str, Mapping[str, Verdict]],
        freeze: str,
        times: Times,
        basis: Basis,
        back: Mapping[str, datetime],
    ) -> None:
        self._back = back
        self._times = times
        self._basis = basis
        self._verdicts = verdicts
        self._comparison = comparison
        self._rollouts = rollouts
        self._moments: dict[tuple[int, int], _Moment | None] = {}
        self._standings: dict[tuple[int, int], Standing | None] = {}
        self._relays = {relay.serves: name for name, relay in reversed(tuple(wanted.relays.items()))}
        self._behind: dict[int, str] = {}
        self._tables = Sums(wanted.groups)
        self._book = Book()
        self._cohorts: Sequence[Cohort] = ()
        self.roster = Roster((), {})
        """The clients of each cohort of the plan, once all are added."""
        self._clients = Sum(self._tables)
        self._order = tuple(wanted.components)
        self._freeze = freeze
        self._deploys: dict[_Due, Entry] = {}
        self._findings: dict[_Found, Entry] = {}
        self._ends: dict[_Found, datetime] = {}
        self._settings: dict[SettingsReason, Entry] = {}
        self._proofs: dict[int, Entry] = {}
        self._questions: dict[tuple[int, int], _Questions] = {}
        self._answers: dict[tuple[object, ...], tuple[Entry, ...]] = {}
        self._rechecks = [
            (at, proof, _waves_of(proof, rollouts))
            for at, proof in enumerate(rollouts.proofs)
            if proof.kind == "recheck"
        ]

    def add_all(self, cohorts: Sequence[Cohort]) -> None:
        """Count all cohorts in; they stand in the order of the lineup."""
        self._cohorts = cohorts
        for at, cohort in enumerate(cohorts):
            self._add_cohort(at, cohort)
        self.roster = self._book.roster(cohorts)

    def _add_cohort(self, at: int, cohort: Cohort) -> None:
        """Count a cohort in, the one with this number of the lineup, in the parts that are alike."""
        if cohort.profile is None or cohort.hold or cohort.unreachable:
            self._add(at, cohort, whole(cohort), ((), ()))
            return
        asked = self._ask(cohort)
        parts: Mapping[tuple[bool, ...], Section] = {(): whole(cohort)}
        if asked.reaches:
            parts = self._rollouts.lineup.split(at, asked.reaches)
        for inside in sorted(parts, reverse=True):
            if not asked.matters(inside):
                self._add(at, cohort, parts[inside], (inside, asked.nobody))
                continue
            for due, section in _split(parts[inside], asked.tests):
                self._add(at, cohort, section, (inside, due))

    def _ask(self, cohort: Cohort) -> _Questions:
        """Give what has to be known of each client of a cohort: which reaches it is in, and which moments have come."""
        compared = self._comparison.of(cohort)
        key = self._rollouts.kinds[cohort.group], id(compared)
        if key not in self._questions:
            reaches: dict[FirstWaves, int] = {}
            moments: dict[_Moment, None] = {}
            gates: set[int] = set()
            for number in compared.numbers:
                asked = self._parts(cohort, number)
                places = {reaches.setdefault(part, len(reaches)) for part in asked}
                moment = self._moment(cohort, number)
                if moment is not None:
                    moments[moment] = None
                    gates |= places or {_ALWAYS}
            for _at, proof, part in self._rechecks:
                if _is_proved(cohort, proof):
                    reaches.setdefault(part, len(reaches))
            tests = tuple(moment.test(self._times.now, self._back) for moment in moments)
            self._questions[key] = _Questions(tuple(reaches), tuple(moments), tests, frozenset(gates))
        return self._questions[key]

    def _parts(self, cohort: Cohort, number: int) -> tuple[FirstWaves, ...]:
        """Give the reaches that decide over a difference."""
        standing = self._standing(cohort, number)
        if standing is None:
            return ()
        reason = self._comparison.differences[number][0].reason
        if reason == "rolled_back":
            return standing.undo, standing.spare
        return (standing.admitted(reason),)

    def _moment(self, cohort: Cohort, number: int) -> _Moment | None:
        """Give what decides over each client by itself when a difference is due; None where nothing does."""
        key = self._rollouts.kinds[cohort.group], number
        if key not in self._moments:
            release = self._comparison.differences[number][0].target.release
            verdict = self._verdicts[cohort.group][release.component]
            known = self._times.first_seen.get((release.component, release.version))
            asked = verdict.seen or verdict.schedule is not None
            self._moments[key] = _Moment(verdict.schedule, verdict.seen, known) if asked else None
        return self._moments[key]

    def _standing(self, cohort: Cohort, number: int) -> Standing | None:
        """Give what a rollout says to a difference; None where no rollout decides."""
        key = self._rollouts.kinds[cohort.group], number
        if key not in self._standings:
            difference = self._comparison.differences[number][0]
            release, installed = difference.target.release, difference.installed
            standing = None
            if difference.reason == "rolled_back" and installed is not None:
                standing = self._rollouts.standing(cohort.group, release.component, installed.version) or _NOT_HERE
            elif is_governed(difference):
                standing = self._rollouts.standing(
                    cohort.group, release.component, release.version, downgrade=difference.downgrade
                )
            self._standings[key] = standing
        return self._standings[key]

    def _add(self, at: int, cohort: Cohort, section: Section, answers: _Answers) -> None:
        """Count clients in that are alike in everything that decides."""
        self._clients.add(section)
        entries = self._entries(cohort, *answers)
        if entries:
            number = self._book.add(at, section)
            relay = next((name for serves, name in self._relays.items() if serves in cohort.selected), "")
            if relay:
                self._behind[number] = relay
            for entry in entries:
                entry.take(number, section)

    def _entries(self, cohort: Cohort, inside: tuple[bool, ...], due: tuple[bool, ...]) -> tuple[Entry, ...]:
        """Give the changes and findings that clients belong to; those of alike cohorts are worked out once."""
        if cohort.unreachable:
            return (self._finding("unreachable", cohort.unreachable),)
        if cohort.profile is None:
            return (self._finding("unknown", cohort.unknown),)
        kind = self._rollouts.kinds[cohort.group]
        known_as = cohort.profile.lineage, cohort.profile.epoch
        key = kind, id(self._comparison.of(cohort)), cohort.hold, cohort.settings, known_as, inside, due
        if key not in self._answers:
            self._answers[key] = tuple(self._all_entries(cohort, inside, due))
        return self._answers[key]

    def _all_entries(self, cohort: Cohort, inside: tuple[bool, ...], due: tuple[bool, ...]) -> Iterator[Entry]:
        compared, stopped = self._comparison.of(cohort), cohort.hold or self._freeze
        assert cohort.profile is not None
        if cohort.profile.lineage == self._basis.lineage and cohort.profile.epoch < self._basis.epoch:
            yield self._finding("claims", f"it knows epoch {cohort.profile.epoch}")
        yield from self._noticed(compared)
        asked = self._ask(cohort) if not cohort.hold else _NOTHING
        answers = dict(zip(asked.reaches, inside, strict=True)), dict(zip(asked.moments, due, strict=True))
        for number in compared.numbers:
            difference = self._comparison.differences[number][0]
            if cohort.hold or (self._freeze and difference.reason != "missing"):
                release = difference.target.release
                yield self._finding("held", stopped, release.component, release.version)
            else:
                yield from self._admit(number, cohort, *answers)
        if cohort.settings and stopped:
            yield self._finding("held", stopped)
        elif cohort.settings:
            yield self._settings.setdefault(cohort.settings, self._entry())
        for at, proof, part in self._rechecks:
            if answers[0].get(part) and _is_proved(cohort, proof):
                yield self._proofs.setdefault(at, self._entry())

    def _noticed(self, compared: Compared) -> Iterator[Entry]:
        """Give the findings that are so whether or not anything may be changed."""
        for waiting in compared.waiting:
            release = waiting.target.release
            yield self._finding(waiting.kind, waiting.why, release.component, release.version, waiting.at)
        for drift in compared.drift:
            yield self._finding("drift", drift.what, drift.component, drift.version)
        for idle in compared.unloaded:
            yield self._finding("pending", idle.what, idle.component, idle.version)

    def _finding(
        self, kind: FindingKind, reason: str, component: str = "", version: str = "", at: datetime | None = None
    ) -> Entry:
        key = kind, component, reason, version
        if at is not None:
            self._ends[key] = min(at, self._ends.get(key, at))
        return self._findings.setdefault(key, self._entry())

    def _admit(
        self, number: int, cohort: Cohort, inside: Mapping[FirstWaves, bool], due: Mapping[_Moment, bool]
    ) -> Iterator[Entry]:
        """Give the change that a difference is now, or why it waits; both where it is sent early."""
        difference, delivery, _route = self._comparison.differences[number]
        release = difference.target.release
        standing = self._standing(cohort, number)
        if standing is not None and difference.reason == "rolled_back":
            if inside[standing.undo] and not inside[standing.spare]:
                yield self._change(number, 0)
            return
        if standing is not None and not inside[standing.admitted(difference.reason)]:
            yield self._finding(standing.kind, standing.says, release.component, release.version, standing.at)
            return
        wave = standing.wave if standing is not None else 0
        verdict = self._verdicts[cohort.group][release.component]
        word, moment = verdict.word, self._moment(cohort, number)
        if word == "due" and moment is not None and not due[moment]:
            word = verdict.otherwise
        if word == "due":
            yield self._change(number, wave)
            return
        yield self._finding(word, verdict.reason, release.component, release.version, verdict.opens)
        is_update = difference.installed is not None and difference.installed.digest
        if word == "deferred" and verdict.early and is_update and not delivery.held:
            yield self._change(number, wave, early=True)

    def _entry(self) -> Entry:
        return Entry(self._tables)

    def _change(self, number: int, wave: int, *, early: bool = False) -> Entry:
        return self._deploys.setdefault((number, wave, early), self._entry())

    @property
    def behind(self) -> dict[str, str]:
        """The relays of cohorts, by their ids; of several the first."""
        return {one: relay for number, relay in self._behind.items() for one in self.roster.ids_of(number)}

    def clients(self) -> dict[str, int]:
        """Give the number of clients that were compared, by group."""
        return self._clients.by_group()

    def deploys(self) -> tuple[Deploy, ...]:
        """Give the deploy changes in the order of the catalog, then by group, version and reason."""
        order = {component: at for at, component in enumerate(self._order)}
        known = self._comparison.differences
        found = [
            (what(known[number][0]), group, number, wave, early, clients)
            for (number, wave, early), entry in self._deploys.items()
            for group, clients in entry.by_group().items()
        ]
        ways = {number: (delivery.path, route) for number, (_what, delivery, route) in enumerate(known)}

        def turn(one: tuple[tuple[str, ...], str, int, int, bool, int]) -> tuple[object, ...]:
            return order[one[0][0]], one[1], one[0], ways[one[2]], one[3:5]

        found.sort(key=turn)
        alike = Counter(map(turn, found))
        if len(alike) < len(found):  # ways that differ in words only
            found.sort(key=lambda one: (*turn(one), self._first(one[2:5]) if alike[turn(one)] > 1 else ()))
        return tuple(
            replace(
                _deploy((group, clients, self._deploys[number, wave, early]), *known[number], self.roster),
                not_after=None if early else self._verdicts[group][key[0]].not_after,
                wave=wave,
                early=early,
            )
            for key, group, number, wave, early, clients in found
        )

    def _first(self, key: _Due) -> tuple[object, ...]:
        """Give where a change is met first by who goes through the groups one after the other."""
        number, places = key[0], self._book.places(self._deploys[key], self._cohorts)
        return min((*place, self._comparison.of(cohort).numbers.index(number)) for place, cohort in places)

    def settings(self) -> tuple[Settings, ...]:
        """Give the changes of settings, by group and reason."""
        counts = {reason: entry.by_group() for reason, entry in self._settings.items()}
        found = sorted((group, reason) for reason, groups in counts.items() for group in groups)
        return tuple(
            Settings(group, reason, counts[reason][group], self._settings[reason].ids(self.roster, group))
            for group, reason in found
        )

    def proofs(self) -> tuple[Proof, ...]:
        """Give the proofs, with the clients that they are about."""
        found = []
        for at, proof in enumerate(self._rollouts.proofs):
            entry = self._proofs.get(at)
            counts = entry.by_group() if entry is not None else {}
            members = entry.ids(self.roster, *counts) if entry is not None else ()
            found.append(replace(proof, clients=sum(counts.values()), members=members))
        return tuple(found)

    def findings(self, kind: FindingKind) -> tuple[Finding, ...]:
        """Give the findings of a kind, ordered by group, component and reason."""
        counts = {key: entry.by_group() for key, entry in self._findings.items() if key[0] == kind}
        found = sorted((group, key) for key, groups in counts.items() for group in groups)
        return tuple(
            Finding(
                group=group,
                clients=counts[key][group],
                members=self._findings[key].ids(self.roster, group),
                reason=key[2],
                component=key[1],
                version=key[3],
                at=self._ends.get(key),
            )
            for group, key in found
        )


_NOT_HERE = Standing()
"""Stands for a rollout of another group: nothing of it goes back here."""


def _waves_of(proof: Proof, rollouts: Rollouts) -> FirstWaves:
    record = next(step.record for step in rollouts.steps if step.record.key == proof.key)
    return first_waves(record.cuts, proof.wave)


def _is_proved(cohort: Cohort, proof: Proof) -> bool:
    installed = cohort.profile.by_component.get(proof.component) if cohort.profile else None
    return installed is not None and installed.version == proof.version and proof.group in {"", cohort.group}


def _split(section: Section, tests: Sequence[_Test]) -> Iterator[tuple[tuple[bool, ...], Section]]:
    """Take clients in parts that are due alike."""
    parts: dict[tuple[bool, ...], array[int]] = defaultdict(lambda: array("I"))
    for number, answers in enumerate(zip(*(test(section.names) for test in tests), strict=True)):
        parts[answers].append(number)
    for answers, numbers in sorted(parts.items(), reverse=True):
        yield answers, section.pick(numbers)


@dataclass(frozen=True, slots=True)
class _Questions:
    """What is asked of each client of a cohort: is it in these reaches, and have these moments come (`tests`).

    `gates` are the numbers of the reaches without which no moment matters.
    """

    reaches: tuple[FirstWaves, ...] = ()
    moments: tuple[_Moment, ...] = ()
    tests: tuple[_Test, ...] = ()
    gates: frozenset[int] = frozenset()

    def matters(self, inside: tuple[bool, ...]) -> bool:
        """Say whether moments matter to clients that are in these of the reaches."""
        return any(gate == _ALWAYS or inside[gate] for gate in self.gates)

    @property
    def nobody(self) -> tuple[bool, ...]:
        """The answers where no moment matters."""
        return (False,) * len(self.moments)


_ALWAYS = -1
"""In place of the number of such waves: nothing but the moment decides."""

_NOTHING = _Questions()


def _deploy(
    part: tuple[str, int, Entry], difference: Difference, delivery: Delivery, route: str, roster: Roster
) -> Deploy:
    group, clients, entry = part
    release, installed = difference.target.release, difference.installed
    return Deploy(
        component=release.component,
        group=group,
        from_version=installed.version if installed else "",
        from_digest=installed.digest if installed else "",
        to=release.version,
        to_digest=release.digest,
        platform=release.platform,
        reason=difference.reason,
        clients=clients,
        members=entry.ids(roster, group),
        bytes=delivery.bytes,
        bytes_full=release.size,
        path=delivery.path,
        downgrade=difference.downgrade,
        estimated=delivery.estimated,
        why_full=delivery.why_full,
        route=route,
        held=delivery.held,
    )
