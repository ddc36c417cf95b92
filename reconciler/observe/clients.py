"""Looking at clients: who answers, with what; and who doesn't, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.guards import Caught
from reconciler.model.question import Asked
from reconciler.model.settings import split
from reconciler.storage.state import Observation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime
    from threading import Event

    from reconciler.client.reach import Reach
    from reconciler.contracts import Executor, Session
    from reconciler.model.client import Client
    from reconciler.model.question import Question


def look(
    clients: Iterable[Client],
    reach: Reach,
    executor: Executor,
    *,
    forks: int,
    stop: Event,
    clock: Callable[[], datetime],
    verify: bool = False,
    keep: bool = False,
    questions: Callable[[str], Mapping[str, Question]] = lambda _group: {},
) -> Iterator[Observation]:
    """Look at clients, `forks` at a time, and give what was seen as it comes.

    `verify` has every file hashed. `keep` leaves connections open for a change that follows. `questions` gives what
    engines of a group are asked, by component.

    Raises:
        LimitError: this machine has no room for more.
    """
    began = clock()

    def observe(client: Client) -> Observation:
        def observation_of(session: Session) -> Observation:
            asked = Asked(questions(client.group), client.vars)
            facts = session.facts(client.install_root, verify=verify, asked=asked)
            profile, settings = split(facts.profile)
            return Observation(
                client=client.name,
                profile=profile,
                free=facts.free,
                error="",
                at=clock(),
                settings=settings,
                machine=facts.machine,
            )

        with Caught() as caught:
            return reach.work(client, observation_of, keep=keep)
        return Observation(client=client.name, profile=None, free=None, error=caught.brief, at=began)

    for _client, observation in executor.run(observe, clients, forks=forks, stop=stop):
        yield observation
