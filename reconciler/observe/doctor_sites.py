"""The doctor's look at sites: whether somebody works there now.

It comes after the look at clients, for which the crews of their sites were opened already: what is known then is said
at once. Nobody waits long for a site that says nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.guards import Caught
from reconciler.model.report import Diagnosis
from reconciler.present.words import count_text
from reconciler.reasons import REASONS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from reconciler.workspace import Workspace

PATIENCE = 30.0
"""Seconds that a site has to show that somebody works there: more than workers and executors need to be sure."""


def examine_sites(work: Workspace, groups: Collection[str], *, forks: int) -> Iterator[Diagnosis]:
    """Say of each site of these groups whether somebody works there; `forks` as for the look at clients."""
    work.crews.ready(forks)
    for site in work.spec.sites.values():
        if not set(site.groups).intersection(groups):
            continue
        what, why = f"site {site.name} ({site.executor.name})", ""
        with Caught() as caught:
            why = work.crews.wait_for(site.name, PATIENCE, work.means.stop)
        if caught.error is not None:
            why = caught.error.message
        if why:
            todo = (caught.error and caught.error.hint) or REASONS["worker"].todo
            yield Diagnosis("", what, "fail", " ".join(why.split()), fix=f"{todo}: docs/sites.md")
        else:
            yield Diagnosis("", what, "ok", f"somebody works there, for {count_text(len(site.groups), 'group')}")
