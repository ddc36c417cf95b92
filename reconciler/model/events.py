"""What happens during a run, as data: for progress on a terminal, for logs, for machines.

Each type of event is a class: its fields are what is particular to it, as JSON scalars, in the order in which they are
written. A field that has a default is left out while it has that.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, get_args

if TYPE_CHECKING:
    from reconciler.model.report import ClientOutcome, RunStatus
    from reconciler.model.rollout import RolloutStatus

Level = Literal["info", "warning", "error"]
LEVELS: tuple[Level, ...] = get_args(Level)
Scalar = str | int | None


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: in words, and how bad it is. `type` names it for machines."""

    type: ClassVar[str]
    message: str
    level: Level = field(default="info", kw_only=True)

    @property
    def particulars(self) -> dict[str, Scalar]:
        """What its type has beside words and level, and of that what is said."""
        own = [one for one in fields(self) if one.name not in Event.__dataclass_fields__]
        return {one.name: getattr(self, one.name) for one in own if getattr(self, one.name) != one.default}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """A plan begins to be carried out."""

    type: ClassVar = "run_started"
    plan_id: str


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
    client: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadStarted(Event):
    """A release, or an incremental to it, begins to be downloaded; `bytes` is its size."""

    type: ClassVar = "download_started"
    component: str
    version: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadProgress(Event):
    """How far all downloads are, in bytes and bytes a second."""

    type: ClassVar = "download_progress"
    bytes: int
    total: int
    rate: int
    seconds_left: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadFinished(Event):
    """A download ended, well or not; `bytes` is its size."""

    type: ClassVar = "download_finished"
    component: str
    version: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchStarted(Event):
    """A source begins to fetch a release whose bytes nobody knows; `bytes` is its size, 0 where that isn't known."""

    type: ClassVar = "fetch_started"
    source: str
    component: str
    version: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchFinished(Event):
    """A source fetched a release and verified it, or didn't; `bytes` is the size that it has."""

    type: ClassVar = "fetch_finished"
    source: str
    component: str
    version: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeFinished(Event):
    """A release was made of incrementals, or not."""

    type: ClassVar = "merge_finished"
    component: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateStarted(Event):
    """So many incrementals are made from now on."""

    type: ClassVar = "generate_started"
    incrementals: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateFinished(Event):
    """An incremental was made, or not."""

    type: ClassVar = "generate_finished"
    component: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployStarted(Event):
    """So many clients are changed from now on; `bytes` is what they are sent, as far as that is known by then."""

    type: ClassVar = "deploy_started"
    clients: int
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayFilled(Event):
    """A host of a relay has what its clients need; `bytes` were sent for that."""

    type: ClassVar = "relay_filled"
    relay: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientFinished(Event):
    """What became of a client; `bytes` were sent to it."""

    type: ClassVar = "client_finished"
    client: str
    outcome: ClientOutcome
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishFinished(Event):
    """The repository for other sites was brought up to date, or not."""

    type: ClassVar = "publish_finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutMoved(Event):
    """A rollout got further, or stopped."""

    type: ClassVar = "rollout_moved"
    component: str
    version: str
    group: str
    status: RolloutStatus
    wave: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFinished(Event):
    """A check here, or a gate, gave its answer for a component; or all checks on one client gave theirs."""

    type: ClassVar = "check_finished"
    component: str = ""
    check: str = ""
    client: str = ""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    """A run ended."""

    type: ClassVar = "run_finished"
    status: RunStatus


EVENTS: tuple[type[Event], ...] = (
    *(RunStarted, SourceRead, LookStarted, ClientObserved, DownloadStarted, DownloadProgress, DownloadFinished),
    *(FetchStarted, FetchFinished, MergeFinished, GenerateStarted, GenerateFinished, DeployStarted),
    *(RelayFilled, ClientFinished, PublishFinished, RolloutMoved, CheckFinished, WaitStarted, Trouble, RunFinished),
)
EVENT_TYPES = tuple(event.type for event in EVENTS)


class Emit(Protocol):
    """Takes what happens, from one thread; the run's id and the time are added on the way."""

    def __call__(self, event: Event, /) -> None:
        """Tell an event."""
