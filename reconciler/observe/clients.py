"""Looking at clients: who answers, with what; and who doesn't, and why.

A client that still has the mark which it had when it was looked at (`model.mark`) says so, and isn't looked at again.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from reconciler.dispatch.jobs import Job, Made, by_site
from reconciler.errors import ProtocolError
from reconciler.model.batch import Look, Target
from reconciler.model.mark import asked_for, compares, to_remember
from reconciler.model.names import in_parts
from reconciler.model.settings import split
from reconciler.storage.state import Observation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from reconciler.model.batch import Answer
    from reconciler.model.client import Client
    from reconciler.storage.state import State
    from reconciler.workspace import Workspace

_AT_ONCE = 256
"""Clients whose marks are read at once, as their turn comes."""
_UNASKED = ProtocolError("its worker says that it is the same as what nobody compared it with")


def look(
    clients: Iterable[Client], work: Workspace, *, forks: int, verify: bool = False, keep: bool = False
) -> Iterator[Observation]:
    """Look at clients, `forks` at a time, and give what was seen as it comes.

    `verify` has every file hashed. `keep` leaves connections open for a change that follows. Engines of a group are
    asked what the spec has questions about; these have no mark, as it says nothing of what engines say.

    Raises:
        LimitError: this machine has no room for more.
    """
    began = work.means.clock()

    @cache
    def task_of(group: str) -> Look:
        return Look(questions=work.spec.questions(group), verify=verify, keep=keep)

    def make(job: Job[_Known]) -> Made:
        return Made(task=task_of(job.client.group), target=Target(client=job.client, mark=job.about.asked))

    def may_be_same(client: Client) -> bool:
        return not (verify or task_of(client.group).questions)

    streams = [_with_marks(jobs, work.state, began, may_be_same) for jobs in by_site(clients, work.spec.site_of)]
    for job, answer in work.flow(make, forks=forks).answers(*streams):
        seen = _seen(job, answer, began, work.means.clock())
        if seen is not None:
            yield seen


class _Known(NamedTuple):
    """What is remembered of a client's mark, and what it is asked for."""

    remembered: str = ""
    asked: str = ""


def _with_marks(
    jobs: Iterable[Job[None]], state: State, now: datetime, may_be_same: Callable[[Client], bool]
) -> Iterator[Job[_Known]]:
    """Give jobs with what is remembered of marks, read for some at once as their turns come."""
    for some in in_parts(jobs, _AT_ONCE):
        names = [job.client.name for job in some if may_be_same(job.client)]
        marks = state.marks(names) if names else {}
        for job in some:
            known, entry = _Known(), marks.get(job.client.name)
            if entry is not None:
                known = _Known(entry.mark, asked_for(entry.mark, now, entry.fingerprint, entry.settings))
            yield Job(job.client, known)


def _seen(job: Job[_Known], answer: Answer, began: datetime, now: datetime) -> Observation | None:
    """Give what an answer brought; None where the client wasn't looked at. Who fails did since the looks began."""
    name, known, facts, at = job.client.name, job.about, answer.facts, answer.at or now
    same, error = answer.same, answer.error
    if error is None and same is not None and not compares(known.asked):
        error = _UNASKED
    if error is not None:
        return Observation(client=name, profile=None, free=None, error=error.brief, at=began)
    if same is not None:
        return Observation(client=name, profile=None, free=same.free, error="", at=at, same=True)
    if facts is None:
        return None
    profile, settings = split(facts.profile)
    return Observation(
        client=name,
        profile=profile,
        free=facts.free,
        error="",
        at=at,
        settings=settings,
        machine=facts.machine,
        mark=to_remember(facts.mark, known.remembered, now, profile.fingerprint, settings) if facts.mark else None,
    )
