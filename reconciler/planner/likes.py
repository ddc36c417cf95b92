"""Groups in which everything is decided alike: what is so for a client of one is so for the same client of another.

They have one scan method, so their clients get the same components, and one policy for each of these. A group that goes
by rollouts of its own (`scope: group`), or still has one, is like no other.

Example: a hundred branches that differ in how they are reached. Their clients with the same versions are one cohort,
and what each branch gets is counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.planner.inputs import ALWAYS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from reconciler.model.policy import AutoUpdate
    from reconciler.model.spec import ComponentSpec, GroupSpec


def likes(
    groups: Mapping[str, GroupSpec],
    components: Mapping[str, ComponentSpec],
    policies: Mapping[tuple[str, str], AutoUpdate],
    alone: Collection[str] = (),
) -> dict[str, str]:
    """Give for each group the first of those that are like it; those that stand `alone` are like nobody."""
    numbers: dict[AutoUpdate, int] = {}
    known: dict[int, int] = {}  # most policies are the same object, and to compare them takes longer

    def number(policy: AutoUpdate) -> int:
        if id(policy) not in known:
            known[id(policy)] = numbers.setdefault(policy, len(numbers))
        return known[id(policy)]

    first: dict[object, str] = {}
    found = {}
    for name in sorted(groups):
        method = groups[name].scan_method
        its = [policies.get((name, one), ALWAYS) for one in components]
        by_itself = name in alone or any(policy.rollout.scope == "group" for policy in its)
        key = name if by_itself else (method, *map(number, its))
        found[name] = first.setdefault(key, name)
    return found
