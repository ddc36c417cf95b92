"""What leaves management, and who comes to the fleet and leaves it, for those who review a plan."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import nsmallest
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Iterable

LeavingReason = Literal["not_listed", "not_for_group", "settings"]
LEAVING_REASONS: tuple[LeavingReason, ...] = get_args(LeavingReason)
MoveKind = Literal["group_new", "group_gone", "clients_new", "clients_gone", "clients_moved"]
MOVE_KINDS: tuple[MoveKind, ...] = get_args(MoveKind)
NAMED = 3
"""How many clients are named."""


def first_names(names: Iterable[str]) -> tuple[str, ...]:
    """Give the first of some clients, in the order of their names."""
    return tuple(nsmallest(NAMED, names))


@dataclass(frozen=True, slots=True)
class Leaving:
    """What clients of a group have from us and nothing manages any more: it stays there as it is.

    `component` is empty for files of settings. `reason` says why: the spec doesn't list the component (`not_listed`),
    clients of the group's scan method don't get it (`not_for_group`), or the group's settings don't have the file.
    `now`: it was managed when the spec was applied last, so that it is this change that lets go of it.
    """

    component: str
    group: str
    reason: LeavingReason
    clients: int
    names: tuple[str, ...]
    now: bool


@dataclass(frozen=True, slots=True)
class FleetMove:
    """Clients of a group that came, left or moved since something was carried out last.

    `before` is the group that they moved from. Of a new group `clients` are all that it has, of one that is gone those
    that are gone with it.
    """

    kind: MoveKind
    group: str
    before: str
    clients: int
    names: tuple[str, ...]
