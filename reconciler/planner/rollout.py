"""How far each release may go now: waves, gates, soaks, and what becomes of a rollout when a newer release comes.

A release that clients lack goes through the fleet (or through each group, with `scope: group`) by a rollout of its own.
The first rule that fits says where it stands; a rule that moves it on is followed by the rules from the start:

1. It starts with no wave open; cut-points are made, and made anew when the spec's waves are others now.
2. Paused or halted it stays where it is, until somebody resumes it or the spec blocks the version.
3. While clients of the open wave are pending, they get the release. Pending are those that lack it, answer, haven't
   failed with it, and aren't held; those that wait for a window or their minute are. With `wait_loaded` those that have
   it are, too, until their engines have loaded it; who hasn't for so long has failed with it. Clients that didn't
   answer when the wave opened aren't in its gate; those at which nobody looked yet keep it open, and nothing newer
   waits for that.
4. The gate: too many failed, and the rollout halts. Too few were attempted, and it waits: an empty canary is never
   passed over. What is wrong with a machine (it became unreachable, its disk is full) says nothing about the release:
   in all waves but the last, another client of its group stands in for it, the next in the order of clients that is in
   a later wave; no more than the wave has clients, and none where nobody may be in trouble. Where too many are left for
   whom nobody does, the rollout is stalled: they are tried in each apply, it goes on by itself when they are fine, and
   nothing newer waits for it. A wave of which nobody could be tried shows nothing and is never passed either: others
   stand in for clients that were off, and where there are none it waits for them, and nothing newer waits for it.
5. Then the wave soaks, also where all of it had the version before: nobody knows for how long. It needn't when the
   rollout is a first install, is expedited, or nobody is in the wave. Clients that have nothing at all needn't wait for
   the soak of the wave before theirs.
6. At the end of the soak the switched checks are repeated on all waves so far (`recheck`), and gates are asked: proofs
   of the plan, which halt the rollout when one is bad.
7. The next wave opens, when somebody approved it if that is wanted. After the last the rollout is done.

With `newer: queue` a newer release waits until the rollout is done, with `finish` until the open wave has passed its
gate, with `supersede` not at all. Nor does it wait for a rollout that was overtaken (`planner.succession`), be it for
its own platform only, or that is stuck: too few clients are left that its open wave could ever be tried on. A version
that ran through a rollout here before is proven on those who were there: it goes at once to who comes late (was off, is
new), as long as they are few (`max_catch_up`). More of them go by waves and gates of their own, in which the others
don't count. What clients go down to goes to all at once, if it is proven or they come from a version that is blocked.

Example: virus-pattern 16.679.00, waves `label=canary` with a soak of 4h and `share: 100%`. The first plan opens wave 1
for 3 clients; one made an hour after they have it says `soaks until …`; one made four hours after opens wave 2.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING

from reconciler.model.plan import RolloutStep, WaveCounts
from reconciler.model.rollout import OPEN, UNDER_WAY, UNFIT, RolloutRecord
from reconciler.planner.loading import not_loaded
from reconciler.planner.targets import Halt
from reconciler.planner.walk import NOBODY, Standing, Walk
from reconciler.planner.waves import Lineup, first_waves, structure

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from datetime import datetime

    from reconciler.model.change import DeployReason, Proof
    from reconciler.model.plan import Cohort
    from reconciler.model.policy import Limits, Wave
    from reconciler.model.rollout import Key, RolloutStatus
    from reconciler.planner.comparison import Compared, Comparison
    from reconciler.planner.desired import Desired
    from reconciler.planner.diff import Difference
    from reconciler.planner.gate import Part
    from reconciler.planner.inputs import Observed, Wanted
    from reconciler.planner.targets import First
    from reconciler.planner.timing import Verdict

_GOVERNED = frozenset(["missing", "outdated", "pinned", "blocked", "withdrawn"])


def is_governed(difference: Difference) -> bool:
    """Say whether a difference's target goes by waves.

    What repairs a client doesn't, and nobody waits to go down from a version that is blocked or was withdrawn.
    """
    away = difference.downgrade and difference.reason in {"blocked", "withdrawn"}
    return difference.reason in _GOVERNED and not away


def halts(records: Iterable[RolloutRecord]) -> dict[tuple[str, str], Halt]:
    """Give the (component, version) that go to nobody because a rollout of them was halted or aborted.

    Where several were, in groups that have rollouts of their own, the first says why, and any that is undone is.
    """
    found: dict[tuple[str, str], Halt] = {}
    for record in sorted((record for record in records if record.status in UNFIT), key=lambda entry: entry.key):
        name = record.component, record.version
        known = found.get(name)
        why = known.why if known else f"{record.status}: {record.reason}"
        found[name] = Halt(why, undone=bool(record.undo) or (known is not None and known.undone))
    return found


def lane(wanted: Wanted, group: str, component: str) -> str:
    """Give the group that rollouts of a component in a group are for: empty is the whole fleet."""
    return group if wanted.policy(group, component).rollout.scope == "group" else ""


def forced_versions(
    wanted: Wanted, desired: Desired, records: Mapping[Key, RolloutRecord], stuck: Collection[Key] = ()
) -> dict[str, dict[str, tuple[First, ...]]]:
    """Give by group the versions that newer ones have to wait for, by component; see the module's rules.

    Of several, each for other platforms, the highest comes first: nobody goes down to one. `stuck` are the rollouts
    that can't go on: nothing waits for them, nor for one that was overtaken.
    """
    found: dict[str, dict[str, tuple[First, ...]]] = {}
    under_way = [
        record
        for record in records.values()
        if record.status in UNDER_WAY and record.key not in stuck and not desired.overtaking(record, records.values())
    ]
    for group in wanted.groups if under_way else ():
        for record in under_way:
            spec = wanted.components.get(record.component)
            if spec is None or lane(wanted, group, record.component) != record.group:
                continue
            newer = wanted.policy(group, record.component).rollout.newer
            waits = newer == "queue" or (newer == "finish" and record.passed is None)
            latest = [target for target in desired.newer(record.component) if not target.pinned]
            scheme = spec.component.scheme
            if waits and latest and scheme.accepts(record.version):
                version = scheme.parse(record.version)
                if any(target.version > version for target in latest) and desired.knows(
                    record.component, record.version
                ):
                    ahead = found.setdefault(group, {})
                    firsts = (*ahead.get(record.component, ()), desired.first(record, records.values()))
                    ahead[record.component] = tuple(sorted(firsts, key=attrgetter("version"), reverse=True))
    return found


class Rollouts:
    """Decides over all rollouts of a plan; see the module's rules."""

    def __init__(
        self,
        wanted: Wanted,
        observed: Observed,
        desired: Desired,
        comparison: Comparison,
        verdicts: Mapping[str, Mapping[str, Verdict]],
        now: datetime,
    ) -> None:
        """Look at the whole fleet, also at what a limit leaves out of the plan; `verdicts` by group and component."""
        self._wanted = wanted
        self._observed = observed
        self._desired = desired
        self._comparison = comparison
        self._verdicts = verdicts
        self.now = now
        self.lineup = Lineup((*observed.cohorts, *observed.others))
        self._lanes = {
            group: {spec.component.id: lane(wanted, group, spec.component.id) for spec in wanted.of_group(group)}
            for group in wanted.groups
        }
        self.kinds = self._kinds()
        self._states: dict[tuple[int, int, Key], Part] = {}
        self._inside: dict[tuple[tuple[str, str | None], ...], tuple[int, ...]] = {}
        self._places: dict[tuple[str, str | None], list[int]] = defaultdict(list)
        for at, cohort in enumerate(self.lineup.cohorts):
            self._places[cohort.group, cohort.profile.platform if cohort.profile else None].append(at)
        self.steps: list[RolloutStep] = []
        self.proofs: list[Proof] = []
        self._standings: dict[Key, Standing] = {}
        self._asleep: set[Key] = set()
        lacking = self._lacking()
        records = observed.rollouts
        self.lineup.having(frozenset(self._named(records.values())))  # all at once: that is one look at the fleet
        live = {key for key, record in records.items() if record.status in OPEN | UNFIT}
        for key in sorted({*lacking, *live}):
            self._decide(key, records.get(key), lacking.get(key))

    def standing(self, group: str, component: str, version: str, *, downgrade: bool = False) -> Standing | None:
        """Give what the rollout of a version says for a group; None where there is none, or it is done.

        Nor is there one for a `downgrade` while the version's rollout is for late clients only.
        """
        key = component, version, self._lanes[group].get(component, "")
        if not self._standings or (downgrade and self._is_proven(key)):
            return None
        return self._standings.get(key)

    @property
    def stuck(self) -> frozenset[Key]:
        """The rollouts that can't go on, whatever clients that answer do."""
        return frozenset(step.record.key for step in self.steps if step.stuck).union(self._asleep)

    def _is_proven(self, key: Key) -> bool:
        """Say whether a version ran through a rollout here before, also where late clients are on their way to it."""
        record = self._observed.rollouts.get(key)
        return record is not None and (record.status == "done" or record.catches_up)

    def _named(self, records: Iterable[RolloutRecord]) -> Iterator[str]:
        """Give the clients that rollouts name, or that are in trouble with them."""
        for record in records:
            yield from (name for cut in record.cuts for name in (*cut.names, *cut.instead))
            yield from (*self.failures(record.key), *self.troubles(record.key))

    def _lacking(self) -> dict[Key, DeployReason]:
        """Give the rollouts that some client needs, each with `missing` as long as all of those have nothing."""
        found: dict[Key, DeployReason] = {}
        seen: set[tuple[int, int]] = set()
        for cohort in self.lineup.cohorts:
            if cohort.profile is None:
                continue
            compared = self._comparison.of(cohort)
            situation = self.kinds[cohort.group], id(compared)
            if situation in seen:
                continue
            seen.add(situation)
            lanes = self._lanes[cohort.group]
            for number in compared.numbers:
                difference = self._comparison.differences[number][0]
                if is_governed(difference):
                    release = difference.target.release
                    key = release.component, release.version, lanes[release.component]
                    found[key] = difference.reason if found.get(key, "missing") == "missing" else found[key]
        return found

    # --- one rollout --------------------------------------------------------------------------------------------------

    def _decide(self, key: Key, record: RolloutRecord | None, lacking: DeployReason | None) -> None:
        component, version, group = key
        if component not in self._wanted.components:
            return
        groups = [
            name
            for name, lanes in self._lanes.items()
            if lanes.get(component) == group and (name == group or not group)
        ]
        if groups and record is not None and record.status in UNFIT:
            self._stopped(record, groups)
            return
        among = self._among(component, version, groups) if groups else ()
        if not among:
            if record is not None and record.status in OPEN:
                self._end(record, "superseded", "no client should run it any more")
            return
        policy = self._wanted.policy(groups[0], component).rollout
        late = self._late(key, among) if self._is_proven(key) else None
        if late is not None and record is not None and record.status == "done":
            total = sum(len(self.lineup.cohorts[at].members) for at in among)
            if sum(len(self.lineup.cohorts[at].members) for at in late) <= policy.catch_up.of(total):
                return
        walk = Walk(self, key, policy, groups, among)
        fits = record is not None and record.status in OPEN and record.structure == structure(policy.waves)
        if record is None or not fits:
            first = lacking == "missing" if late is not None else self._is_first(component, among, lacking)
            record = walk.start(record, first=first, late=late)
        walk.walk(record)
        if walk.asleep:
            self._asleep.add(key)
        self.steps.append(walk.step(self._observed.rollouts.get(key)))
        self.proofs += walk.proofs
        standing = walk.standing()
        if standing is not None:
            self._standings[key] = standing

    def _late(self, key: Key, among: tuple[int, ...]) -> tuple[int, ...]:
        """Give the numbers of the cohorts whose clients lack a version that is proven, and could get it."""
        return tuple(
            at
            for at in among
            if (cohort := self.lineup.cohorts[at]).profile is not None and not cohort.hold
            if self.state(cohort, key) == "pending"
        )

    def _stopped(self, record: RolloutRecord, groups: list[str]) -> None:
        """Keep a halted rollout in sight while nothing newer takes its place, and take it back where wanted."""
        spec = self._wanted.components[record.component]
        if record.version in spec.blocked or not spec.component.scheme.accepts(record.version):
            return
        version = spec.component.version(record.version)
        newer = any(target.version > version for target in self._desired.targets(record.component))
        if not newer and not self._was_followed(record):
            counts = self._tried(record, frozenset(groups))
            self.steps.append(RolloutStep(record, False, record.stopped, counts, before=record.fingerprint))
        if record.undo:
            undo = first_waves(record.cuts, record.wave)
            spare = first_waves(record.cuts, record.wave - 1) if record.undo == "wave" else NOBODY
            self._standings[record.key] = Standing(undo=undo, spare=spare, wave=record.wave, kind="held")

    def _tried(self, record: RolloutRecord, groups: frozenset[str]) -> WaveCounts:
        """Count who was tried in the open wave of one that is halted: nobody waits for it, or could be tried now."""
        component, version, _group = record.key
        upper, lower = first_waves(record.cuts, record.wave), first_waves(record.cuts, record.wave - 1)
        among = tuple(sorted(at for place, found in self._places.items() if place[0] in groups for at in found))
        failures = frozenset(self.failures(record.key))
        passed = failed = 0
        concerned = self.lineup.having(failures)
        for at, size in self.lineup.between(lower, upper, among):
            cohort, bad = self.lineup.cohorts[at], 0
            some = self.lineup.split(at, (upper, lower)).get((True, False)) if at in concerned else None
            if some is not None:
                bad = len(failures.intersection(some.names))
            installed = cohort.profile.by_component.get(component) if cohort.profile else None
            passed += size - bad if installed is not None and installed.version == version else 0
            failed += bad
        return WaveCounts(planned=passed + failed, passed=passed, failed=failed)

    def _was_followed(self, record: RolloutRecord) -> bool:
        """Say whether another rollout took the place of one."""
        others = self._observed.rollouts.values()
        subject = record.component, record.group
        return any((other.component, other.group) == subject and other.started > record.started for other in others)

    def _end(self, record: RolloutRecord, status: RolloutStatus, reason: str) -> None:
        ended = replace(record, status=status, reason=reason)
        self.steps.append(RolloutStep(ended, new=True, says=f"{status}: {reason}", before=record.fingerprint))

    def _among(self, component: str, version: str, groups: list[str]) -> tuple[int, ...]:
        """Give the numbers of the cohorts whose clients should run a version, or may: those that are unknown."""
        inside = frozenset(groups)
        runs = tuple(
            place
            for place in self._places
            if place[0] in inside
            and (place[1] is None or self._comparison.version(place[0], component, place[1]) == version)
        )
        if runs not in self._inside:
            self._inside[runs] = tuple(sorted(at for place in runs for at in self._places[place]))
        return self._inside[runs]

    def _kinds(self) -> dict[str, int]:
        """Number the groups so that those in which everything is decided alike have the same number."""
        known: dict[object, int] = {}
        found = {}
        for group, verdicts in self._verdicts.items():
            lanes = self._lanes[group]
            alike = self._wanted.groups[group].scan_method, *((name, id(verdicts[name]), lanes[name]) for name in lanes)
            found[group] = known.setdefault(alike, len(known))
        return found

    def _is_first(self, component: str, among: Iterable[int], lacking: DeployReason | None) -> bool:
        if lacking != "missing":
            return False
        profiles = (self.lineup.cohorts[at].profile for at in among)
        return not any(profile is not None and component in profile.by_component for profile in profiles)

    # --- what walks ask -----------------------------------------------------------------------------------------------

    @property
    def limited(self) -> bool:
        """True when the plan is for some clients only: no soak is ended then."""
        return self._wanted.limited

    def expedited(self, component: str) -> bool:
        """Say whether somebody is in a hurry with a component."""
        return component in self._wanted.expedited

    def limits(self, group: str, component: str, wave: Wave) -> Limits:
        """Give what a gate lets pass of a group's clients."""
        return wave.limits.over(self._wanted.policy(group, component).rollout.limits)

    def failures(self, key: Key) -> Mapping[str, str]:
        """Give the clients that failed with a version."""
        return self._observed.failures.get(key, {})

    def troubles(self, key: Key) -> Mapping[str, str]:
        """Give the clients that couldn't be served because of something that is wrong with them."""
        return self._observed.troubles.get(key, {})

    def state(self, cohort: Cohort, key: Key) -> Part:
        """Say what the clients of a cohort are to a rollout: `passed`, `loading`, `pending`, `idle`, or `out` of it."""
        compared = self._comparison.of(cohort)
        situation = self.kinds[cohort.group], id(compared), key
        known = self._states.get(situation)
        if known is None:
            known = self._states[situation] = self._state(cohort, compared, key)
        return known

    def _state(self, cohort: Cohort, compared: Compared, key: Key) -> Part:
        component, version, _group = key
        assert cohort.profile is not None
        for number in compared.numbers:
            difference = self._comparison.differences[number][0]
            release = difference.target.release
            if release.component == component:
                if difference.reason == "layout_changed":
                    return self._arrived(cohort, component)
                down = difference.downgrade and self._is_proven(key)
                if difference.reason == "rolled_back" or down:  # at once or not at all: no wave waits for it
                    return "out"
                verdict = self._verdicts[cohort.group][component]
                return "idle" if verdict.off else "pending"
        installed = cohort.profile.by_component.get(component)
        return self._arrived(cohort, component) if installed is not None and installed.version == version else "out"

    def _arrived(self, cohort: Cohort, component: str) -> Part:
        """Say whether clients that have a version count, or have to load it first."""
        assert cohort.profile is not None
        if self._wanted.policy(cohort.group, component).rollout.wait_loaded is None:
            return "passed"
        installed = cohort.profile.by_component[component]
        return "loading" if not_loaded(self._wanted.components[component], installed) else "passed"
