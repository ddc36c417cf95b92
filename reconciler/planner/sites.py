"""Which groups of a plan or a status are at a site, and which sites are down, from the last look at their clients."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from reconciler.model.site import SiteStanding
from reconciler.reasons import reason_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.model.plan import Cohort
    from reconciler.model.spec import SiteSpec


def site_standings(sites: Mapping[str, SiteSpec], cohorts: Iterable[Cohort]) -> tuple[SiteStanding, ...]:
    """Give the sites that these clients are at, in the order of the spec; nothing where it has none."""
    if not sites:
        return ()
    clients: Counter[str] = Counter()
    idle: Counter[str] = Counter()
    for cohort in cohorts:
        nobody = bool(cohort.unknown) and reason_of(cohort.unknown) == "worker"
        for group, count in cohort.by_group:
            clients[group] += count
            idle[group] += count if nobody else 0
    found = []
    for site in sites.values():
        groups = tuple(group for group in site.groups if clients[group])
        if groups:
            found.append(
                SiteStanding(
                    site=site.name,
                    groups=groups,
                    clients=sum(clients[group] for group in groups),
                    no_worker=sum(idle[group] for group in groups),
                )
            )
    return tuple(found)
