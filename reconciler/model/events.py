"""What happens during a run, as data: for progress on a terminal, for logs, for machines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

EVENT_TYPES = (
    "run_started",
    "source_read",
    "look_started",
    "client_observed",
    "download_started",
    "download_progress",
    "download_finished",
    "merge_finished",
    "generate_started",
    "generate_finished",
    "deploy_started",
    "client_finished",
    "publish_finished",
    "rollout_moved",
    "check_finished",
    "wait_started",
    "warning",
    "run_finished",
)
Level = Literal["info", "warning", "error"]
LEVELS: tuple[Level, ...] = get_args(Level)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `fields` hold what is particular to the type, as JSON scalars and lists."""

    time: datetime
    run_id: str
    type: str
    level: Level
    message: str
    fields: Mapping[str, Any] = field(default_factory=dict)


class Emit(Protocol):
    """Takes what happens, from one thread; the run's id and the time are added on the way."""

    def __call__(self, kind: str, message: str, *, level: Level = "info", **fields: Any) -> None:
        """Tell an event of one of EVENT_TYPES, at one of LEVELS."""
