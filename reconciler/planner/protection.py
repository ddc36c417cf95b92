"""Counts how many of the clients that should have a release have it, or a later one, and what is reached by that.

* A client should have a version when what it should run is no lower: a version that is blocked or was withdrawn is
  nobody's any more, and what is never reached stays so. Clients that nothing is known of should have all their group
  gets: who is off isn't protected.
* A client has a version when it runs that or a higher one, undamaged; where engines are asked, once that is loaded.
* A release is followed from when it was first offered. One that most had already when it was first counted, and that
  is known for longer, isn't: nobody knows when they got it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from reconciler.model.protection import Protection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from reconciler.model.client import Installed, Profile
    from reconciler.model.plan import Cohort
    from reconciler.model.spec import ComponentSpec
    from reconciler.model.version import Version
    from reconciler.planner.inputs import Observed, Wanted
    from reconciler.planner.ruler import Ruler

    _Has = tuple[str, str]
    """The platform of clients, and the version that they run with; both empty where nothing is known of them."""


def advance(
    wanted: Wanted,
    observed: Observed,
    ruler: Ruler,
    known: Mapping[tuple[str, str], Protection],
    *,
    since: datetime,
    now: datetime,
) -> list[Protection]:
    """Give what is new of the protection by releases, those that are new included.

    `known` is what is remembered by (component, version). What was offered before `since` and isn't among that was
    there before anybody counted.
    """
    followed = {
        spec.component.id: [one for one in _followed(spec, observed, ruler, known) if not one.over]
        for spec in wanted.components.values()
    }
    open_ = {component: releases for component, releases in followed.items() if releases}
    counted = _count(wanted, (*observed.cohorts, *observed.others), open_) if open_ else {}
    found = []
    for component, releases in open_.items():
        spec = wanted.components[component]
        for one in releases:
            clients, having = _covered(spec, one.version, counted[component], ruler)
            reached = one.reach(having, clients, now)
            is_new = (component, one.version) not in known
            if is_new and one.began < since and reached.half is not None:
                continue
            if is_new or reached != one:
                found.append(reached)
    return found


def _followed(
    spec: ComponentSpec, observed: Observed, ruler: Ruler, known: Mapping[tuple[str, str], Protection]
) -> Iterator[Protection]:
    """Give the releases of a component that are remembered and those that are wanted by now."""
    component = spec.component.id
    platforms = {cohort.profile.platform for cohort in observed.cohorts if cohort.profile is not None}
    versions = {version for name, version in known if name == component}
    versions |= {ruler.wanted(component, platform) for platform in platforms} - {""}
    for version in sorted(versions):
        began = observed.first_seen.get((component, version))
        if (component, version) in known:
            yield known[component, version]
        elif began is not None:
            yield Protection(component, version, began, spec.loaded is not None)


def _count(wanted: Wanted, cohorts: Iterable[Cohort], components: Iterable[str]) -> dict[str, Counter[_Has]]:
    """Count clients by what they run with, for each of some components."""
    listed = list(components)
    gets = {group: [spec for spec in wanted.of_group(group) if spec.component.id in listed] for group in wanted.groups}
    found: dict[str, Counter[_Has]] = defaultdict(Counter)
    for cohort in cohorts:
        for spec in gets.get(cohort.group, ()):
            found[spec.component.id][_has(spec, cohort.profile)] += len(cohort.members)
    return found


def _has(spec: ComponentSpec, profile: Profile | None) -> _Has:
    if profile is None:
        return "", ""
    return profile.platform, _runs(spec, profile.by_component.get(spec.component.id))


def _runs(spec: ComponentSpec, installed: Installed | None) -> str:
    if installed is None or installed.damage:
        return ""
    return installed.version if spec.loaded is None else installed.loaded


def _covered(spec: ComponentSpec, version: str, counted: Counter[_Has], ruler: Ruler) -> tuple[int, int]:
    """Give how many clients should have a version, and how many of them do."""
    clients = having = 0
    least = _read(spec, version)
    for (platform, runs), count in counted.items():
        goal = _read(spec, ruler.wanted(spec.component.id, platform)) if platform else least
        if least is None or goal is None or goal < least:
            continue
        clients += count
        has = _read(spec, runs)
        having += count if has is not None and has >= least else 0
    return clients, having


def _read(spec: ComponentSpec, text: str) -> Version | None:
    return spec.component.version(text) if spec.component.scheme.accepts(text) else None
