"""Adds the cohorts of a fleet up to deploy changes and findings.

A cohort whose clients aren't all in the same situation is taken in parts: by the wave that they are in, and by whether
they are due at moments of their own.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from reconciler.model.change import Deploy, Settings
from reconciler.model.plan import Finding
from reconciler.planner.comparison import what
from reconciler.planner.rollout import is_governed
from reconciler.planner.timing import back_test, due_test
from reconciler.planner.walk import Standing
from reconciler.planner.waves import first_waves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from reconciler.model.change import Proof, SettingsReason
    from reconciler.model.plan import Basis, Cohort
    from reconciler.model.policy import Schedule
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
    _Entry = defaultdict[str, "_Count"]

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Moment:
    """What decides over each client by itself: a schedule, and whether it came back since a release is `known`."""

    schedule: Schedule | None
    seen: bool
    known: datetime | None

    def test(self, now: datetime, back: Mapping[str, datetime]) -> Callable[[str], bool]:
        """Give what says of a client whether it is due; nobody came back since a release that is new right now."""
        scheduled = due_test(self.schedule, now, self.known or _LONG_AGO) if self.schedule is not None else None
        if not self.seen:
            assert scheduled is not None
            return scheduled
        returned = back_test(back, self.known or now)
        return returned if scheduled is None else lambda name: returned(name) or scheduled(name)


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
        self.members: dict[str, tuple[str, ...]] = {}
        self._relays = {relay.serves: name for name, relay in reversed(tuple(wanted.relays.items()))}
        self.behind: dict[str, str] = {}
        """The relays of cohorts, by their ids; of several the first."""
        self._clients: dict[str, int] = defaultdict(int)
        self._order = tuple(wanted.components)
        self._freeze = freeze
        self._deploys: dict[_Due, _Entry] = {}
        self._findings: dict[_Found, _Entry] = {}
        self._ends: dict[_Found, datetime] = {}
        self._settings: dict[SettingsReason, _Entry] = {}
        self._proofs: dict[int, _Entry] = {}
        self._questions: dict[tuple[int, int], _Questions] = {}
        self._answers: dict[tuple[object, ...], tuple[_Entry, ...]] = {}
        self._rechecks = [
            (at, proof, _waves_of(proof, rollouts))
            for at, proof in enumerate(rollouts.proofs)
            if proof.kind == "recheck"
        ]

    def add(self, at: int, cohort: Cohort) -> None:
        """Count a cohort in, the one with this number of the lineup, in the parts that are alike."""
        if cohort.profile is None or cohort.hold or cohort.unreachable:
            self._add(cohort, cohort.members, (), ())
            return
        asked = self._ask(cohort)
        parts: dict[tuple[bool, ...], tuple[str, ...]] = {(): cohort.members}
        if asked.reaches:
            parts = self._rollouts.lineup.split(at, asked.reaches)
        for inside in sorted(parts, reverse=True):
            if not asked.matters(inside):
                self._add(cohort, parts[inside], inside, asked.nobody)
                continue
            for due, names in _split(parts[inside], asked.tests):
                self._add(cohort, names, inside, due)

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

    def _add(self, cohort: Cohort, names: tuple[str, ...], inside: tuple[bool, ...], due: tuple[bool, ...]) -> None:
        """Count clients in that are alike in everything that decides."""
        group, clients = cohort.group, len(names)
        self._clients[group] += clients
        entries = self._entries(cohort, inside, due)
        if entries:
            cohort_id = f"c{len(self.members) + 1}"
            self.members[cohort_id] = names
            relay = next((name for serves, name in self._relays.items() if serves in cohort.selected), "")
            if relay:
                self.behind[cohort_id] = relay
            for entry in entries:
                count = entry[group]
                count.cohorts.append(cohort_id)
                count.clients += clients

    def _entries(self, cohort: Cohort, inside: tuple[bool, ...], due: tuple[bool, ...]) -> tuple[_Entry, ...]:
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

    def _all_entries(self, cohort: Cohort, inside: tuple[bool, ...], due: tuple[bool, ...]) -> Iterator[_Entry]:
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
            yield self._settings.setdefault(cohort.settings, _entry())
        for at, proof, part in self._rechecks:
            if answers[0].get(part) and _is_proved(cohort, proof):
                yield self._proofs.setdefault(at, _entry())

    def _noticed(self, compared: Compared) -> Iterator[_Entry]:
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
    ) -> _Entry:
        key = kind, component, reason, version
        if at is not None:
            self._ends[key] = min(at, self._ends.get(key, at))
        return self._findings.setdefault(key, _entry())

    def _admit(
        self, number: int, cohort: Cohort, inside: Mapping[FirstWaves, bool], due: Mapping[_Moment, bool]
    ) -> Iterator[_Entry]:
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

    def _change(self, number: int, wave: int, *, early: bool = False) -> _Entry:
        return self._deploys.setdefault((number, wave, early), _entry())

    def clients(self) -> dict[str, int]:
        """Give the number of clients that were compared, by group."""
        return dict(sorted(self._clients.items()))

    def deploys(self) -> tuple[Deploy, ...]:
        """Give the deploy changes in the order of the catalog, then by group, version and reason."""
        order = {component: at for at, component in enumerate(self._order)}
        known = self._comparison.differences
        found = [
            (what(known[number][0]), group, number, wave, early, count)
            for (number, wave, early), entry in self._deploys.items()
            for group, count in entry.items()
        ]
        ways = {number: (delivery.path, route) for number, (_what, delivery, route) in enumerate(known)}
        found.sort(key=lambda entry: (order[entry[0][0]], entry[1], entry[0], ways[entry[2]], entry[3:5]))
        return tuple(
            replace(
                _deploy(group, *known[number], count),
                not_after=None if early else self._verdicts[group][key[0]].not_after,
                wave=wave,
                early=early,
            )
            for key, group, number, wave, early, count in found
        )

    def settings(self) -> tuple[Settings, ...]:
        """Give the changes of settings, by group and reason."""
        found = sorted((group, reason) for reason, entry in self._settings.items() for group in entry)
        return tuple(
            Settings(group, reason, count.clients, tuple(count.cohorts))
            for group, reason in found
            for count in (self._settings[reason][group],)
        )

    def proofs(self) -> tuple[Proof, ...]:
        """Give the proofs, with the clients that they are about."""
        found = []
        for at, proof in enumerate(self._rollouts.proofs):
            counts = [count for _group, count in sorted(self._proofs.get(at, {}).items())]
            members = tuple(cohort for count in counts for cohort in count.cohorts)
            found.append(replace(proof, clients=sum(count.clients for count in counts), members=members))
        return tuple(found)

    def findings(self, kind: FindingKind) -> tuple[Finding, ...]:
        """Give the findings of a kind, ordered by group, component and reason."""
        found = sorted((group, key) for key, entry in self._findings.items() if key[0] == kind for group in entry)
        return tuple(
            Finding(
                group=group,
                clients=count.clients,
                members=tuple(count.cohorts),
                reason=key[2],
                component=key[1],
                version=key[3],
                at=self._ends.get(key),
            )
            for group, key in found
            for count in (self._findings[key][group],)
        )


_NOT_HERE = Standing()
"""Stands for a rollout of another group: nothing of it goes back here."""


def _waves_of(proof: Proof, rollouts: Rollouts) -> FirstWaves:
    record = next(step.record for step in rollouts.steps if step.record.key == proof.key)
    return first_waves(record.cuts, proof.wave)


def _is_proved(cohort: Cohort, proof: Proof) -> bool:
    installed = cohort.profile.by_component.get(proof.component) if cohort.profile else None
    return installed is not None and installed.version == proof.version and proof.group in {"", cohort.group}


def _split(
    names: tuple[str, ...], tests: Sequence[Callable[[str], bool]]
) -> Iterator[tuple[tuple[bool, ...], tuple[str, ...]]]:
    """Take clients in parts that are due alike."""
    parts: dict[tuple[bool, ...], list[str]] = defaultdict(list)
    if len(tests) == 1:
        (only,) = tests
        for name in names:
            parts[(only(name),)].append(name)
    else:
        for name in names:
            parts[tuple(test(name) for test in tests)].append(name)
    for answers, alike in sorted(parts.items(), reverse=True):
        yield answers, tuple(alike)


@dataclass(frozen=True, slots=True)
class _Questions:
    """What is asked of each client of a cohort: is it in these reaches, and have these moments come (`tests`).

    `gates` are the numbers of the reaches without which no moment matters.
    """

    reaches: tuple[FirstWaves, ...] = ()
    moments: tuple[_Moment, ...] = ()
    tests: tuple[Callable[[str], bool], ...] = ()
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


class _Count:
    """The cohorts to which something applies, and how many clients they have."""

    __slots__ = ("clients", "cohorts")

    def __init__(self) -> None:
        self.cohorts: list[str] = []
        self.clients = 0


def _entry() -> _Entry:
    return defaultdict(_Count)


def _deploy(group: str, difference: Difference, delivery: Delivery, route: str, count: _Count) -> Deploy:
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
        clients=count.clients,
        members=tuple(count.cohorts),
        bytes=delivery.bytes,
        bytes_full=release.size,
        path=delivery.path,
        downgrade=difference.downgrade,
        estimated=delivery.estimated,
        why_full=delivery.why_full,
        route=route,
        held=delivery.held,
    )
