"""Which releases are to be fetched, as nobody knows their bytes before: those that somebody would get, if they were.

* A release is fetched when it is what clients of a platform of the fleet should run by all rules of `desired`, and
  only its bytes keep it from being that. Nothing is deployed of it by the same plan: that goes by exact digests.
* What waits (`min_age`, a rollout that comes first), is blocked, withdrawn or outranked by what is there isn't fetched.
  Nor is what each client has already, or something newer in its place, where no other site waits for it.
* Until it is fetched, the release before it stays in force.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.change import Fetch
from reconciler.model.network import DIRECT
from reconciler.model.release import ANY_PLATFORM

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from reconciler.model.spec import ComponentSpec
    from reconciler.planner.desired import Desired
    from reconciler.planner.inputs import Observed, Wanted
    from reconciler.planner.targets import First, Target


def plan_fetches(
    wanted: Wanted,
    observed: Observed,
    desired: Desired,
    components: Iterable[ComponentSpec],
    platforms: Collection[str],
    forced: Mapping[str, Mapping[str, tuple[First, ...]]],
) -> tuple[Fetch, ...]:
    """Give what is to be fetched of components that some group gets, for the platforms of the fleet, each once."""
    own = {platform for platform in platforms if platform != ANY_PLATFORM}
    asking = sorted(own if own and wanted.repository is None else platforms)
    found: dict[tuple[str, str], Fetch] = {}
    for spec in components if observed.unfetched else ():
        component = spec.component.id
        groups = [group for group in wanted.groups if spec in wanted.of_group(group)]
        firsts = {forced.get(group, {}).get(component, ()) for group in groups} or {()}
        for platform in asking:
            target = desired.unfetched(component, platform)
            if target is None or all(desired.waits_for(first, component, platform) for first in firsts):
                continue
            if wanted.repository is not None or _is_lacked(target, groups, platform, observed, desired):
                found.setdefault((component, target.release.platform), _fetch(target, desired, observed))
    return tuple(found.values())


def _is_lacked(target: Target, groups: Collection[str], platform: str, observed: Observed, desired: Desired) -> bool:
    """Say whether some client would get a release: one lacks it, or nothing is known of one, or there are none."""
    component, anybody = target.spec.component, False
    for cohort in (*observed.cohorts, *observed.others):
        if cohort.group not in groups or (cohort.profile and cohort.profile.platform != platform):
            continue
        anybody = True
        installed = cohort.profile.by_component.get(component.id) if cohort.profile else None
        if installed is None or installed.damage or not component.scheme.accepts(installed.version):
            return True
        version = component.version(installed.version)
        if version < target.version or (target.pinned and version != target.version):
            return True
        if (component.id, installed.version) in desired.refused:
            return True
    return not anybody


def _fetch(target: Target, desired: Desired, observed: Observed) -> Fetch:
    release = target.release
    held = desired.newest_held.get((release.component, release.platform))
    return Fetch(
        component=release.component,
        previous=held.text if held else "",
        to=release.version,
        platform=release.platform,
        source=target.source,
        bytes=target.unfetched.size if target.unfetched else None,
        reason="pinned" if target.pinned else "outdated" if held else "missing",
        route=observed.source_routes.get(target.source, DIRECT),
        signed=target.signed,
    )
