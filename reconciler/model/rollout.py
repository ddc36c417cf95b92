"""A release's way through the fleet, as it is remembered between two applies.

A client's place in a rollout follows from its name, so it is the same in every run; what is stored are the cut-points
of the waves, worked out when the rollout started. Clients that join later fall into place.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass, replace
from datetime import datetime  # noqa: TC003 - the forms of documents ask for the types of fields
from typing import TYPE_CHECKING, Literal, get_args

from reconciler.model.fingerprint import in_turn, parts, spelled

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

RolloutStatus = Literal["running", "paused", "stalled", "halted", "aborted", "superseded", "done"]
STATUSES: tuple[RolloutStatus, ...] = get_args(RolloutStatus)
UNFIT: frozenset[RolloutStatus] = frozenset(["halted", "aborted"])
"""What a version with such a rollout is to all clients: nothing that they could get."""
UNDER_WAY: frozenset[RolloutStatus] = frozenset(["running", "paused"])
AT_WORK: frozenset[RolloutStatus] = frozenset(["running", "stalled"])
"""What clients are changed for now."""
OPEN = UNDER_WAY | AT_WORK
"""What goes on some day: `stalled` is one whose clients are in trouble of their own. It goes on by itself when they are
fine, and keeps no newer release waiting."""
STOPPED: frozenset[RolloutStatus] = frozenset(["paused", "halted", "aborted"])
"""What goes on only when somebody resumes it."""
UNSETTLED: frozenset[RolloutStatus] = OPEN.union(STOPPED - {"aborted"})
"""What may go on or be given up."""

Verb = Literal["approve", "pause", "resume", "abort"]
FIT: Mapping[Verb, frozenset[RolloutStatus]] = {
    "approve": UNDER_WAY,
    "pause": AT_WORK,
    "resume": STOPPED,
    "abort": UNSETTLED,
}
"""What a rollout must be for that to be done with it."""

Undo = Literal["", "wave", "all"]
UNDOS: tuple[Undo, ...] = get_args(Undo)
"""What goes back after a halt, beside who failed."""

Key = tuple[str, str, str]
"""Component, version and group of a rollout; the group is empty where it goes through the whole fleet."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Who is in a wave and in none before it: those that a pattern selects, those up to a position, or these names.

    `instead` are clients of later waves that stand in for some that are in trouble of their own.
    """

    select: str = ""
    upto: int = -1
    names: tuple[str, ...] = ()
    instead: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Approval:
    """Somebody let a wave open."""

    wave: int
    who: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A rollout came into a status or a wave; `reason` is as it was written then."""

    status: RolloutStatus
    wave: int
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRecord:
    """A rollout. Waves count from 1; `wave` is the one that is open, since `opened`.

    `passed` is when its gate was passed and its soak began; `cleared`: what is asked at the end of the soak was good.
    `first`: no client had any version when it began, so nothing soaks. `reason` says why it isn't running. `undo` says
    what goes back after a halt: nothing (empty), the clients of the open `wave`, or `all`. `structure` is the
    fingerprint of the waves that the cut-points were made for, `sizes` how many clients each of them had then.
    `catches_up`: it was done once, and goes through those who came late; `had` says then how many clients of the open
    wave had the version when that opened, by group: they say nothing about the others.
    """

    component: str
    version: str
    group: str
    status: RolloutStatus
    cuts: tuple[Cut, ...]
    sizes: tuple[int, ...]
    structure: str
    started: datetime
    opened: datetime
    wave: int = 1
    passed: datetime | None = None
    cleared: bool = False
    first: bool = False
    reason: str = ""
    undo: Undo = ""
    approved: tuple[Approval, ...] = ()
    catches_up: bool = False
    had: tuple[tuple[str, int], ...] = ()

    @property
    def key(self) -> Key:
        """What names it."""
        return self.component, self.version, self.group

    @property
    def name(self) -> str:
        """The rollout for people: `virus-pattern 16.679.00`, with its group where it isn't for the whole fleet."""
        return f"{self.component} {self.version}" + (f" ({self.group})" if self.group else "")

    @property
    def place(self) -> str:
        """The open wave for people."""
        return f"wave {self.wave} of {len(self.cuts)}"

    @property
    def stopped(self) -> str:
        """Where and why one that isn't running stopped."""
        return f"{self.status} in {self.place}: {self.reason}"

    @property
    def fingerprint(self) -> str:
        """Equal for equal records, in every process."""
        data = parts(self, _RECORD)
        data["cuts"] = in_turn(spelled("Cut", parts(cut, _CUT)) for cut in self.cuts)
        data["approved"] = in_turn(spelled("Approval", parts(entry, _APPROVAL)) for entry in self.approved)
        return hashlib.sha256(spelled("RolloutRecord", data).encode()).hexdigest()[:16]

    def cut(self, now: datetime) -> RolloutRecord:
        """Give the same with no moment later than now: a clock that was ahead wrote it, and no soak ends by that."""
        passed = None if self.passed is None else min(self.passed, now)
        return replace(self, started=min(self.started, now), opened=min(self.opened, now), passed=passed)

    @property
    def over(self) -> bool:
        """True when it never goes on: who failed in it matters no more."""
        return self.status not in UNSETTLED

    def proved(self) -> RolloutRecord:
        """Give the same once all that is asked at the end of the soak was good; who stopped it meanwhile counts."""
        return replace(self, cleared=True) if self.status in AT_WORK else self

    @property
    def last(self) -> bool:
        """True when the last wave is open."""
        return self.wave >= len(self.cuts)


_CUT = ("select", "upto", "names", "instead")
_APPROVAL = ("wave", "who", "at")
_RECORD = (
    *("component", "version", "group", "status", "cuts", "sizes", "structure", "started", "opened", "wave", "passed"),
    *("cleared", "first", "reason", "undo", "approved", "catches_up", "had"),
)


def key_among(keys: Container[Key], component: str, version: str, group: str) -> Key | None:
    """Give the one of some rollouts that a change of clients of a group belongs to; None where it has none."""
    own, fleet = (component, version, group), (component, version, "")
    return own if own in keys else fleet if fleet in keys else None


def position(name: str) -> int:
    """Give a client's place in the order of every rollout: from 0 to 2**32 - 1, spread evenly."""
    return zlib.crc32(name.encode())


def positions(names: Iterable[str]) -> list[int]:
    """Give the places of many clients."""
    crc = zlib.crc32
    return [crc(name.encode()) for name in names]


def positions_within(text: str, between: str) -> Iterable[int]:
    """Give the places of clients whose names stand in one text: the same, in half the time."""
    return map(zlib.crc32, text.encode().split(between.encode()))


def with_word(place: int, word: bytes) -> int:
    """Give what `position` gives of a client's name with a word behind it: its place is enough to know."""
    return zlib.crc32(word, place)
