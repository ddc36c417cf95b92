"""What happens during a run, as data: for progress on a terminal, for logs, for machines.

Each type of event is a class: its fields are what is particular to it, as JSON scalars, in the order in which they are
written. A field that has a default is left out while it has that. What only comes while a plan is carried out stands in
`model.work_events`, which no look needs to import.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import ClassVar, Literal, Protocol, get_args

Level = Literal["info", "warning", "error"]
LEVELS: tuple[Level, ...] = get_args(Level)
Scalar = str | int | None


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: in words, and how bad it is. `type` names it for machines.

    What is `frequent` comes once for each client or rollout, or before one like it, and is shown to people only when it
    tells of trouble; `of_client` is what comes of a client. What is `progress` is worth a line now and then.
    """

    type: ClassVar[str]
    frequent: ClassVar[bool] = False
    of_client: ClassVar[bool] = False
    progress: ClassVar[bool] = False
    message: str
    level: Level = field(default="info", kw_only=True)

    @property
    def particulars(self) -> dict[str, Scalar]:
        """What its type has beside words and level, and of that what is said."""
        own = [one for one in fields(self) if one.name not in Event.__dataclass_fields__]
        return {one.name: getattr(self, one.name) for one in own if getattr(self, one.name) != one.default}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRead(Event):
    """A source was asked what it offers."""

    type: ClassVar = "source_read"
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LookStarted(Event):
    """So many clients are looked at from now on."""

    type: ClassVar = "look_started"
    clients: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientObserved(Event):
    """A client was looked at."""

    type: ClassVar = "client_observed"
    frequent: ClassVar = True
    of_client: ClassVar = True
    client: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitStarted(Event):
    """Nothing is due: the run waits, until `next_step_at` if that is known."""

    type: ClassVar = "wait_started"
    next_step_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble(Event):
    """Something isn't as it should be, of a source or a component maybe, and the run goes on all the same."""

    type: ClassVar = "warning"
    level: Level = "warning"
    source: str = ""
    component: str = ""


class Emit(Protocol):
    """Takes what happens, from one thread; the run's id and the time are added on the way."""

    def __call__(self, event: Event, /) -> None:
        """Tell an event."""
