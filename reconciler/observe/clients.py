"""Looking at clients: who answers, with what; and who doesn't, and why."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from reconciler.dispatch.jobs import Job, Made, by_site
from reconciler.model.batch import Look, Target
from reconciler.model.settings import split
from reconciler.storage.state import Observation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reconciler.model.client import Client
    from reconciler.workspace import Workspace


def look(
    clients: Iterable[Client], work: Workspace, *, forks: int, verify: bool = False, keep: bool = False
) -> Iterator[Observation]:
    """Look at clients, `forks` at a time, and give what was seen as it comes.

    `verify` has every file hashed. `keep` leaves connections open for a change that follows. Engines of a group are
    asked what the spec has questions about.

    Raises:
        LimitError: this machine has no room for more.
    """
    began = work.means.clock()

    @cache
    def task_of(group: str) -> Look:
        return Look(questions=work.spec.questions(group), verify=verify, keep=keep)

    def make(job: Job[None]) -> Made:
        return Made(task=task_of(job.client.group), target=Target(client=job.client))

    flow = work.flow(make, forks=forks)
    for job, answer in flow.answers(*by_site(clients, work.spec.site_of)):
        name = job.client.name
        if answer.error is not None:
            yield Observation(client=name, profile=None, free=None, error=answer.error.brief, at=began)
        elif answer.facts is not None:
            profile, settings = split(answer.facts.profile)
            yield Observation(
                client=name,
                profile=profile,
                free=answer.facts.free,
                error="",
                at=answer.at or work.means.clock(),
                settings=settings,
                machine=answer.facts.machine,
            )
