"""What clients have from us and nothing manages any more: nobody takes it away, and nobody keeps it current.

* A component that the spec doesn't list, or that clients of the group's scan method don't get.
* Files of settings that the group had when the spec was applied last, and has no more.

What was managed then leaves with this plan; all else left before. A client that moved since was managed as its former
group says. Cohorts are looked at, clients only counted.

Example: a spec that doesn't list virus-pattern any more, and 6 clients of branch that have it: virus-pattern stays
on 6 clients, and it leaves now. Once that is applied it still stays there, and doesn't leave again.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.model.leaving import NAMED, Leaving, first_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.model.leaving import LeavingReason
    from reconciler.model.plan import Cohort
    from reconciler.model.release import ScanMethod
    from reconciler.planner.inputs import Observed, Wanted

    _Left = tuple[str, LeavingReason, bool]
    _Once = tuple[bool, ScanMethod | None]
    _How = tuple[Wanted, "Before | None"]


@dataclass(frozen=True, slots=True)
class Before:
    """What the spec managed when it was applied last.

    `components` are ids (None: all that there were), `groups` has their scan methods, and `settings` the ids of the
    files of their settings.
    """

    components: frozenset[str] | None = None
    groups: Mapping[str, ScanMethod | None] = field(default_factory=dict)
    settings: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def lists(self, component: str) -> bool:
        """Say whether it listed a component."""
        return self.components is None or component in self.components


def leaving(
    wanted: Wanted,
    observed: Observed,
    before: Before | None = None,
    settings: Mapping[str, Sequence[str]] | None = None,
    moved: Mapping[str, Mapping[str, str]] | None = None,
) -> tuple[tuple[Leaving, ...], int]:
    """Give what isn't managed any more, and how many clients something of it leaves with this plan, each counted once.

    `settings` are the clients, by group, that have files which their group has no more, and `moved` the former groups
    of those that came from another one, by group and name. Of a plan for some clients or components nothing is said:
    what it leaves out isn't let go of.
    """
    if wanted.partial:
        return (), 0
    counts: dict[tuple[str, str, LeavingReason, bool], _Count] = defaultdict(_Count)
    looked: dict[tuple[object, ...], list[_Left]] = {}
    letting_go: list[Sequence[str]] = []
    for cohort in observed.cohorts:
        if cohort.profile is None:
            continue
        method = wanted.groups[cohort.group].scan_method
        unmoved = not any((moved or {}).get(group) for group, _count in cohort.by_group)
        ways = {_once(group, before) for group, _count in cohort.by_group} if unmoved else set()
        if len(ways) == 1 and not _of(cohort, method, min(ways), looked, (wanted, before)):
            continue
        for group, members in cohort.parts():
            for former, some in _by_former(group, members, (moved or {}).get(group)).items():
                left = _of(cohort, method, _once(former, before), looked, (wanted, before))
                for component, reason, now in left:
                    counts[component, group, reason, now].add(some)
                if any(now for _component, _reason, now in left):
                    letting_go.append(some)
    for group, names in (settings or {}).items():
        counts["", group, "settings", True].add(sorted(names))
        letting_go.append(names)
    found = (Leaving(*key[:3], count.clients, count.names, now=key[3]) for key, count in sorted(counts.items()))
    return tuple(found), _clients(letting_go, apart=not settings)


@dataclass(slots=True)
class _Count:
    clients: int = 0
    names: tuple[str, ...] = ()

    def add(self, names: Sequence[str]) -> None:
        """Count clients, which are sorted by their names."""
        self.clients += len(names)
        self.names = first_names((*self.names, *names[:NAMED]))


def _by_former(group: str, members: Sequence[str], moved: Mapping[str, str] | None) -> dict[str, Sequence[str]]:
    """Give the clients of a group, sorted, by the group that they were in before."""
    if not moved:
        return {group: members}
    found: dict[str, list[str]] = defaultdict(list)
    for name in members:
        found[moved.get(name, group)].append(name)
    return dict(found)


def _of(
    cohort: Cohort, method: ScanMethod | None, once: _Once, looked: dict[tuple[object, ...], list[_Left]], how: _How
) -> list[_Left]:
    """Give what of a cohort nothing manages; of alike ones that is found once."""
    assert cohort.profile is not None
    key = cohort.profile.fingerprint, method, once
    if key not in looked:
        has = (entry.component for entry in cohort.profile.installed)
        looked[key] = [left for component in has for left in _left(component, method, once, *how)]
    return looked[key]


def _once(former: str, before: Before | None) -> _Once:
    """Give whether a group was there when the spec was applied last, and its scan method then."""
    there = before is not None and former in before.groups
    return there, before.groups[former] if before is not None and there else None


def _left(component: str, method: ScanMethod | None, once: _Once, wanted: Wanted, before: Before | None) -> list[_Left]:
    """Say whether nothing manages a component on clients of a group, why, and whether something did before.

    `method` is the scan method of the group that they are in, `once` tells of the one that they were in then.
    """
    spec = wanted.components.get(component)
    known = before is not None and before.lists(component) and once[0]
    if spec is None:
        return [(component, "not_listed", known)]
    if spec.component.for_scan_method(method):
        return []
    return [(component, "not_for_group", known and spec.component.for_scan_method(once[1]))]


def _clients(several: Sequence[Sequence[str]], *, apart: bool) -> int:
    """Count clients, each once; the members of cohorts are `apart` from each other anyway."""
    return sum(map(len, several)) if apart else len(set().union(*several))
