"""Time to protection: how long it took from when a release was offered until most of a fleet had it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime  # noqa: TC003 - what is read back is checked by the types of fields
from typing import Literal, get_args

Milestone = Literal["half", "most", "nearly"]
MILESTONES: tuple[Milestone, ...] = get_args(Milestone)
PERCENT: dict[Milestone, int] = {"half": 50, "most": 95, "nearly": 99}
"""The share of the clients that should have a release, at which each milestone is reached."""


@dataclass(frozen=True, slots=True)
class Protection:
    """When so many of the clients that should have a version had it; None: not yet.

    It was offered first at `began`. `loads`: clients were counted once their engines had loaded it.
    """

    component: str
    version: str
    began: datetime
    loads: bool = False
    half: datetime | None = None
    most: datetime | None = None
    nearly: datetime | None = None

    def at(self, milestone: Milestone) -> datetime | None:
        """Give when a milestone was reached."""
        found: datetime | None = getattr(self, milestone)
        return found

    def seconds(self, milestone: Milestone) -> int | None:
        """Give how long that took; a clock that was set back makes it no less than nothing."""
        at = self.at(milestone)
        return None if at is None else max(0, int((at - self.began).total_seconds()))

    @property
    def over(self) -> bool:
        """True when there is nothing more to reach."""
        return all(self.at(milestone) is not None for milestone in MILESTONES)

    def reach(self, having: int, clients: int, now: datetime) -> Protection:
        """Give it with the milestones that are reached when so many of these clients have the version.

        What was reached stays so: clients that join later, or lose what they had, take nothing back.
        """
        reached = {
            milestone: now
            for milestone, percent in PERCENT.items()
            if self.at(milestone) is None and clients and having * 100 >= percent * clients
        }
        return replace(self, **reached)  # type: ignore[arg-type]
