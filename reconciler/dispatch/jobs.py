"""Jobs, which are work on one client each, and streams of them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from reconciler.dispatch.crews import Place
    from reconciler.model.batch import Target, Task
    from reconciler.model.client import Client

AboutT = TypeVar("AboutT")
AHEAD = 1000
"""Jobs of a stream that are read ahead while their places have no room, for the sake of places that have."""


@dataclass(frozen=True, slots=True)
class Job(Generic[AboutT]):
    """Work on one client; `about` is what its giver knows of it.

    One that `finishes` what was begun before is done whatever was halted or stopped.
    """

    client: Client
    about: AboutT
    finishes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a job is by now. Jobs with the same task, as an object, and the same `until` share a batch.

    `private` travels beside it; one that is to be `alone` shares none.
    """

    task: Task
    target: Target
    private: Mapping[str, bytes] = field(default_factory=dict)
    until: datetime | None = None
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Stream(Generic[AboutT]):
    """Jobs of which none is begun before they are `ready`, as when what they wait for has come about."""

    jobs: Iterable[Job[AboutT]]
    ready: Callable[[], bool] = lambda: True


class Line(Generic[AboutT]):
    """A stream of jobs, and those of it that wait for room at their place."""

    def __init__(self, jobs: Iterable[Job[AboutT]] | Stream[AboutT]) -> None:
        stream = jobs if isinstance(jobs, Stream) else Stream(jobs)
        self._jobs = iter(stream.jobs)
        self._ready = stream.ready
        self._waiting: dict[Place, deque[Job[AboutT]]] = {}
        self._ahead = 0
        self.over = False

    def next(
        self, place_of: Callable[[Client], Place], has_room: Callable[[Place], bool]
    ) -> tuple[Job[AboutT], Place] | None:
        """Give a job for which there is room."""
        if not self._ready():
            return None
        for place, waiting in self._waiting.items():
            if waiting and has_room(place):
                self._ahead -= 1
                return waiting.popleft(), place
        while self._ahead < AHEAD and (not self._ahead or any(map(has_room, self._waiting))):
            job = next(self._jobs, None)
            if job is None:
                self.over = not self._ahead
                return None
            place = place_of(job.client)
            if has_room(place):
                self._waiting.setdefault(place, deque())  # it is known, though nobody waits for it
                return job, place
            self._waiting.setdefault(place, deque()).append(job)
            self._ahead += 1
        return None


def by_site(clients: Iterable[Client], site_of: Callable[[str], str]) -> list[Iterator[Job[None]]]:
    """Give a stream of jobs for each site, and one for all clients of none."""
    found: dict[str, list[Client]] = {}
    for client in clients:
        found.setdefault(site_of(client.group), []).append(client)
    return [(Job(client, None) for client in of_site) for of_site in found.values()]
