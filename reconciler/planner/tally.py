"""Adds the cohorts of a fleet up to deploy changes and findings.

A cohort whose clients are due at moments of their own is taken in the parts that are due alike.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from reconciler.model.plan import Deploy, Finding
from reconciler.planner.diff import compare, find_waiting
from reconciler.planner.timing import due_test, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.model.plan import Cohort
    from reconciler.model.policy import AutoUpdate, Schedule
    from reconciler.planner.delivery import Delivery, Dispatcher
    from reconciler.planner.desired import Desired, Target, Times
    from reconciler.planner.diff import Difference, Drift
    from reconciler.planner.planner import Wanted
    from reconciler.planner.timing import Verdict

    _Moment = tuple[Schedule, datetime]
    _Compared = tuple[list[int], list[Drift], list[tuple[Target, str]]]

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Tally:
    """Adds cohorts up to changes and findings; each distinct profile is compared once, clients are only counted."""

    def __init__(self, wanted: Wanted, desired: Desired, dispatcher: Dispatcher, freeze: str, times: Times) -> None:
        self._wanted = wanted
        self._times = times
        judged: dict[AutoUpdate, Verdict] = {}
        self._verdicts = {
            group: {spec.component.id: self._judge(group, spec.component.id, judged) for spec in wanted.of_group(group)}
            for group in wanted.groups
        }
        # In most fleets no policy keeps anything back: then nothing is asked of single differences or clients.
        self._free = {
            group: all(verdict.word == "due" and verdict.schedule is None for verdict in verdicts.values())
            for group, verdicts in self._verdicts.items()
        }
        self._moments: dict[tuple[str, int], _Moment | None] = {}
        self.members: dict[str, tuple[str, ...]] = {}
        self._clients: dict[str, int] = defaultdict(int)
        self._without: set[tuple[str, str]] = set()
        self._components = {group: wanted.of_group(group) for group in wanted.groups}
        self._order = tuple(wanted.components)
        self._methods = {group: spec.scan_method for group, spec in wanted.groups.items()}
        self._desired = desired
        self._dispatcher = dispatcher
        self._freeze = freeze
        self._compared: dict[tuple[str, str | None, str], _Compared] = {}
        # Differences are numbered once, by what they say: a fleet of many distinct profiles has few of them.
        self._numbers: dict[tuple[object, ...], int] = {}
        self._differences: list[tuple[Difference, Delivery, str]] = []
        self._deploys: dict[str, dict[int, _Count]] = {group: defaultdict(_Count) for group in wanted.groups}
        self._findings: dict[str, dict[tuple[str, ...], _Count]] = defaultdict(dict)

    def add(self, cohort: Cohort) -> None:
        """Count a cohort in; one whose clients are due at moments of their own, in the parts that are due alike."""
        tests = {} if self._free[cohort.group] else self._tests(cohort)
        if not tests:
            self._add(cohort, {})
            return
        parts: dict[tuple[bool, ...], list[str]] = defaultdict(list)
        ask = list(tests.values())
        if len(ask) == 1:
            (only,) = ask
            for name in cohort.members:
                parts[(only(name),)].append(name)
        else:
            for name in cohort.members:
                parts[tuple(test(name) for test in ask)].append(name)
        for answers, names in sorted(parts.items(), reverse=True):
            self._add(replace(cohort, members=tuple(names)), dict(zip(tests, answers, strict=True)))

    def _tests(self, cohort: Cohort) -> dict[_Moment, Callable[[str], bool]]:
        """Give what tells of each client whether it is due, by schedule and by when the release was known."""
        if cohort.profile is None or cohort.hold or cohort.unreachable:
            return {}
        found = {}
        for number in self._compare(cohort)[0]:
            moment = self._moment(cohort.group, number)
            if moment is not None and moment not in found:
                found[moment] = due_test(moment[0], self._times.now, moment[1])
        return found

    def _moment(self, group: str, number: int) -> _Moment | None:
        """Give the schedule of a difference and since when its release is known; None where no schedule decides."""
        key = group, number
        if key not in self._moments:
            release = self._differences[number][0].target.release
            schedule = self._verdicts[group][release.component].schedule
            known = self._times.first_seen.get((release.component, release.version), _LONG_AGO)
            self._moments[key] = (schedule, known) if schedule is not None else None
        return self._moments[key]

    def _judge(self, group: str, component: str, judged: dict[AutoUpdate, Verdict]) -> Verdict:
        """Judge each distinct policy once."""
        policy = self._wanted.policy(group, component)
        if policy not in judged:
            now, wanted = self._times.now, self._wanted
            judged[policy] = judge(policy, now, forced=wanted.forced, limited=wanted.limited)
        return judged[policy]

    def _add(self, cohort: Cohort, due: Mapping[_Moment, bool]) -> None:
        cohort_id = f"c{len(self.members) + 1}"
        self._clients[cohort.group] += len(cohort.members)
        if cohort.unreachable:
            used = self._find("unreachable", cohort, cohort_id, cohort.unreachable)
        elif cohort.profile is None:
            used = self._find("unknown", cohort, cohort_id, cohort.unknown)
        else:
            numbers, drift, waiting = self._compare(cohort)
            used = bool(numbers or drift or waiting)
            for target, why in waiting:
                self._find("deferred", cohort, cohort_id, why, target.release.component, target.release.version)
            for entry in drift:
                self._find("drift", cohort, cohort_id, entry.what, entry.component, entry.version)
            counts, clients, free = self._deploys[cohort.group], len(cohort.members), self._free[cohort.group]
            for number in numbers if cohort.hold or self._freeze else ():
                self._hold(number, cohort, cohort_id)
            for number in () if cohort.hold else numbers:
                if not self._freeze or self._differences[number][0].reason == "missing":
                    if not free and self._waits(number, cohort, cohort_id, due):
                        continue
                    count = counts[number]
                    count.cohorts.append(cohort_id)
                    count.clients += clients
        if used:
            self.members[cohort_id] = cohort.members

    def _compare(self, cohort: Cohort) -> _Compared:
        assert cohort.profile is not None
        key = cohort.profile.fingerprint, self._methods[cohort.group], cohort.route
        if key not in self._compared:
            self._note_platform(cohort.group, cohort.profile.platform)
            differences, drift = compare(cohort.profile, self._components[cohort.group], self._desired)
            numbers = [
                self._number(entry, self._dispatcher.deliver(entry, cohort.profile), cohort.route)
                for entry in differences
            ]
            waiting = list(find_waiting(cohort.profile, self._components[cohort.group], self._desired))
            self._compared[key] = numbers, drift, waiting
        return self._compared[key]

    def _note_platform(self, group: str, platform: str) -> None:
        """Remember components of which there are releases, and none for this platform."""
        for spec in self._components[group]:
            component = spec.component.id
            if self._desired.target(component, platform) is None and self._desired.targets(component):
                self._without.add((component, platform))

    def _number(self, difference: Difference, delivery: Delivery, route: str) -> int:
        key = *_what(difference), delivery.path, delivery.why_full, route
        number = self._numbers.setdefault(key, len(self._differences))
        if number == len(self._differences):
            self._differences.append((difference, delivery, route))
        return number

    def _hold(self, number: int, cohort: Cohort, cohort_id: str) -> None:
        difference, *_how = self._differences[number]
        hold = cohort.hold or (self._freeze if difference.reason != "missing" else "")
        if hold:
            target = difference.target.release
            self._find("held", cohort, cohort_id, hold, target.component, target.version)

    def _waits(self, number: int, cohort: Cohort, cohort_id: str, due: Mapping[_Moment, bool]) -> bool:
        """Say whether the policy keeps a difference back now, and note why."""
        difference = self._differences[number][0]
        release = difference.target.release
        verdict = self._verdicts[cohort.group][release.component]
        word = verdict.word
        moment = self._moment(cohort.group, number)
        if word == "due" and moment is not None and not due[moment]:
            word = "deferred"
        if word != "due":
            self._find(word, cohort, cohort_id, verdict.reason, release.component, release.version)
        return word != "due"

    def _find(
        self, kind: str, cohort: Cohort, cohort_id: str, reason: str, component: str = "", version: str = ""
    ) -> bool:
        key = cohort.group, component, reason, version
        self._findings[kind].setdefault(key, _Count()).add(cohort_id, cohort)
        return True

    def problems(self) -> list[str]:
        """Give sentences about platforms that some clients have and no release is for."""
        return [
            f"{component}: no known release is for {platform}; clients of that platform get nothing of it"
            for component, platform in sorted(self._without)
        ]

    def clients(self) -> dict[str, int]:
        """Give the number of clients that were compared, by group."""
        return dict(sorted(self._clients.items()))

    def deploys(self) -> tuple[Deploy, ...]:
        """Give the deploy changes in the order of the catalog, then by group, version and reason."""
        order = {component: at for at, component in enumerate(self._order)}
        found = [
            (_what(self._differences[number][0]), group, number, count)
            for group, counts in self._deploys.items()
            for number, count in counts.items()
        ]
        ways = {number: (delivery.path, route) for number, (_what, delivery, route) in enumerate(self._differences)}
        found.sort(key=lambda entry: (order[entry[0][0]], entry[1], entry[0], ways[entry[2]]))
        return tuple(
            replace(
                _deploy(group, *self._differences[number], count),
                not_after=self._verdicts[group][what[0]].not_after,
            )
            for what, group, number, count in found
        )

    def findings(self, kind: str) -> tuple[Finding, ...]:
        """Give the findings of a kind, ordered by group, component and reason."""
        return tuple(
            Finding(group, count.clients, tuple(count.cohorts), reason, component, version)
            for (group, component, reason, version), count in sorted(self._findings[kind].items())
        )


def _what(difference: Difference) -> tuple[str, ...]:
    """Say what a difference is about; those that say the same are one change."""
    installed, release = difference.installed, difference.target.release
    have = (installed.version, installed.digest) if installed else ("", "")
    return release.component, *have, release.platform, difference.reason


class _Count:
    """The cohorts to which something applies, and how many clients they have."""

    __slots__ = ("clients", "cohorts")

    def __init__(self) -> None:
        self.cohorts: list[str] = []
        self.clients = 0

    def add(self, cohort_id: str, cohort: Cohort) -> None:
        self.cohorts.append(cohort_id)
        self.clients += len(cohort.members)


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
    )
