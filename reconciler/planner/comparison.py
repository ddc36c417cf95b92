"""What differs on each cohort, worked out once for each distinct situation: clients are many, situations are few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.planner.diff import NOTHING, compare, find_unloaded, find_waiting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.plan import Cohort
    from reconciler.planner.delivery import Delivery, Dispatcher
    from reconciler.planner.desired import Desired
    from reconciler.planner.diff import Difference, Drift
    from reconciler.planner.inputs import Wanted
    from reconciler.planner.targets import First, Waiting


@dataclass(frozen=True, slots=True)
class Compared:
    """What differs on a cohort: numbers of differences, drift, and releases that wait.

    `unloaded` is what is there as it should be, and isn't loaded: nothing is to be done about it.
    """

    numbers: tuple[int, ...]
    drift: tuple[Drift, ...]
    waiting: tuple[Waiting, ...]
    unloaded: tuple[Drift, ...] = ()


class Comparison:
    """Compares cohorts. Differences are numbered by what they say: many distinct profiles have few of them."""

    def __init__(
        self,
        wanted: Wanted,
        desired: Desired,
        dispatcher: Dispatcher,
        forced: Mapping[str, Mapping[str, tuple[First, ...]]],
    ) -> None:
        """Take `forced`: by group, the versions that its clients should get before what is desired."""
        self._desired = desired
        self._dispatcher = dispatcher
        self._components = {group: wanted.of_group(group) for group in wanted.groups}
        self._methods = {group: spec.scan_method for group, spec in wanted.groups.items()}
        self._forced = forced
        self._lanes = {group: tuple(sorted(versions.items())) for group, versions in forced.items()}
        self._compared: dict[tuple[object, ...], Compared] = {}
        self._numbers: dict[tuple[object, ...], int] = {}
        self._without: set[tuple[str, str]] = set()
        self.differences: list[tuple[Difference, Delivery, str]] = []
        """By number: what differs, how the target gets there, and by which way."""

    def of(self, cohort: Cohort) -> Compared:
        """Compare a cohort whose profile is known."""
        assert cohort.profile is not None
        profile, group = cohort.profile, cohort.group
        key = profile.fingerprint, self._methods[group], cohort.route, self._lanes.get(group)
        known = self._compared.get(key)
        if known is None:
            self._note_platform(group, profile.platform)
            components, forced = self._components[group], self._forced.get(group, NOTHING)
            differences, drift = compare(profile, components, self._desired, forced)
            numbers = tuple(
                self._number(entry, self._dispatcher.deliver(entry, profile), cohort.route) for entry in differences
            )
            waiting = tuple(find_waiting(profile, components, self._desired, forced))
            idle = tuple(find_unloaded(profile, components, {entry.target.spec.component.id for entry in differences}))
            known = self._compared[key] = Compared(numbers, tuple(drift), waiting, idle)
        return known

    def version(self, group: str, component: str, platform: str) -> str:
        """Give the version that clients of a group and platform should run; empty when there is none."""
        target = self._desired.target(component, platform, self._forced.get(group, NOTHING).get(component, ()))
        return target.release.version if target else ""

    def problems(self) -> list[str]:
        """Give sentences about platforms that some clients have and no release is for."""
        return [
            f"{component}: no known release is for {platform}; clients of that platform get nothing of it"
            for component, platform in sorted(self._without)
        ]

    def _note_platform(self, group: str, platform: str) -> None:
        """Remember components of which there are releases, and none for this platform."""
        for spec in self._components[group]:
            component = spec.component.id
            if self._desired.target(component, platform) or self._desired.unfetched(component, platform):
                continue
            if self._desired.targets(component):
                self._without.add((component, platform))

    def _number(self, difference: Difference, delivery: Delivery, route: str) -> int:
        key = *what(difference), delivery.path, delivery.why_full, delivery.held, route
        number = self._numbers.setdefault(key, len(self.differences))
        if number == len(self.differences):
            self.differences.append((difference, delivery, route))
        return number


def what(difference: Difference) -> tuple[str, ...]:
    """Say what a difference is about; those that say the same are one change."""
    installed, release = difference.installed, difference.target.release
    have = (installed.version, installed.digest) if installed else ("", "")
    return release.component, *have, release.platform, difference.reason, release.version
