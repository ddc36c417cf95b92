"""The part of a fleet's facts that is about one component: what a plan of that component alone is made from.

When clients get a release says their policy, their rollout and what they have of that component. Other components are
nothing to it, so clients that differ in these only are alike here: of thousands of situations a few are left for each
group. What is left out decides how a release is supplied to others, or what else is done, never when it arrives.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.planner.imagined import joined, situation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeVar

    from reconciler.model.client import Profile
    from reconciler.model.plan import Cohort
    from reconciler.model.rollout import Key
    from reconciler.planner.inputs import Observed, Wanted

    T = TypeVar("T")


def portion(wanted: Wanted, observed: Observed, component: str) -> tuple[Wanted, Observed]:
    """Give what is wanted and observed of a component that is wanted."""
    part = replace(
        observed,
        held=[release for release in observed.held if release.component == component],
        offers=[offer for offer in observed.offers if offer.release.component == component],
        incrementals=[entry for entry in observed.incrementals if entry.component == component],
        offered=[entry for entry in observed.offered if entry.incremental.component == component],
        cohorts=_cohorts(observed.cohorts, component),
        others=_cohorts(observed.others, component),
        remembered=[offer for offer in observed.remembered if offer.release.component == component],
        rollouts=_about(observed.rollouts, component),
        failures=_about(observed.failures, component),
        troubles=_about(observed.troubles, component),
        published=None,
        mirrors={},
    )
    return replace(wanted, components={component: wanted.components[component]}, repository=None, mirrors=()), part


def _about(records: Mapping[Key, T], component: str) -> dict[Key, T]:
    return {key: record for key, record in records.items() if key[0] == component}


def _cohorts(cohorts: Sequence[Cohort], component: str) -> list[Cohort]:
    profiles: dict[int, Profile] = {}
    alike: dict[tuple[object, ...], list[Cohort]] = defaultdict(list)
    made: dict[Profile, Profile] = {}
    for cohort in cohorts:
        profile = cohort.profile
        if profile is not None:
            known = profiles.get(id(profile))
            if known is None:
                has = profile.by_component.get(component)
                known = replace(profile, installed=(has,) if has else (), unmanaged=())
                known = profiles[id(profile)] = made.setdefault(known, known)
            profile = known
        bare = replace(cohort, profile=profile, settings="")
        alike[id(profile) if profile else None, *situation(bare)].append(bare)
    return [joined(found) for found in alike.values()]
