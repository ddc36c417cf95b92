"""What happens while a plan is carried out, as data; see `model.events`, where that is which comes with each look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from reconciler.model.events import ClientObserved, Event, LookStarted, SourceRead, Trouble, WaitStarted

if TYPE_CHECKING:
    from reconciler.model.report import ClientOutcome, RunStatus
    from reconciler.model.rollout import RolloutStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """A plan begins to be carried out."""

    type: ClassVar = "run_started"
    plan_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadStarted(Event):
    """A release, or an incremental to it, begins to be downloaded; `bytes` is its size."""

    type: ClassVar = "download_started"
    frequent: ClassVar = True
    component: str
    version: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadProgress(Event):
    """How far all downloads are, in bytes and bytes a second."""

    type: ClassVar = "download_progress"
    progress: ClassVar = True
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
    frequent: ClassVar = True
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
    frequent: ClassVar = True
    of_client: ClassVar = True
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
    frequent: ClassVar = True
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
