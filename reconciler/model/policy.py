"""When, in which order and how far releases go out to clients: the policy in force for one group and component."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from datetime import time as clock_time
from typing import TYPE_CHECKING, Literal, get_args

from reconciler.model.share import exact

if TYPE_CHECKING:
    from datetime import date, tzinfo

    from reconciler.model.rollout import Undo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EVERY_DAY = frozenset(range(7))
Trigger = Literal["download", "schedule", "seen", "manual"]
TRIGGERS: tuple[Trigger, ...] = get_args(Trigger)
MIDNIGHT = clock_time()


@dataclass(frozen=True, slots=True)
class Schedule:
    """Times at which clients get what is new, each client at a moment of its own within `spread` of them.

    With `interval` they come that far apart, counted from 1970-01-01 in UTC; without, at `at` of the `days` (0 is
    Monday) in `zone`.
    """

    interval: timedelta | None = None
    days: frozenset[int] = EVERY_DAY
    at: clock_time = MIDNIGHT
    spread: timedelta = timedelta(hours=1)
    zone: tzinfo = UTC


@dataclass(frozen=True, slots=True)
class Window:
    """A time of the day, on some days, in which clients may change. One that ends before it begins ends on the next."""

    start: clock_time
    end: clock_time
    days: frozenset[int] = EVERY_DAY
    zone: tzinfo = UTC


@dataclass(frozen=True, slots=True)
class Blackout:
    """Days, the last one included, on which no client changes."""

    first: date
    last: date
    reason: str
    zone: tzinfo = UTC
    spares: frozenset[str] = frozenset()
    """What goes out all the same: `expedite`."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a gate lets pass. None: nothing is said here.

    `min_attempted` and `max_failed` are clients; `max_fail_percentage` is of those that were attempted and
    `max_unreachable_percentage` of those that were planned: it is for trouble of machines, of which a lost connection
    and a full disk are both. A maximum must be exceeded.
    """

    min_attempted: int | None = None
    max_failed: int | None = None
    max_fail_percentage: float | None = None
    max_unreachable_percentage: float | None = None

    def over(self, other: Limits) -> Limits:
        """Give these limits, and those of `other` where these say nothing."""
        said = {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}
        return replace(other, **said)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """A slice of a rollout: who is in it, and what must be between it and the next.

    Exactly one of `select` (a pattern), `share` (0 to 1) and `count` says who; shares and counts are cumulative. With
    `apart` the counted clients are of different groups as long as there are such. With `prefer` (a pattern) they are of
    different groups or fewer, those first that it takes, and never all that answer. `soak` is how long to wait once the
    wave is through, `at_once` how many clients change between two looks at the gate (0: all). With `approve` the wave
    opens only when somebody approved it.
    """

    select: str = ""
    share: float | None = None
    count: int | None = None
    apart: bool = False
    prefer: str = ""
    soak: timedelta = timedelta()
    at_once: int = 0
    approve: bool = False
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class CatchUp:
    """How many clients may come to a version at once whose rollout is done: so many, or a `share` (0 to 1) of all."""

    clients: int = 3
    share: float = 0.05

    def of(self, clients: int) -> int:
        """Give how many of these may; the larger of both counts."""
        return max(self.clients, int(exact(self.share) * clients))


@dataclass(frozen=True, slots=True)
class Gate:
    """A program that is asked between two waves: a check plugin with its options as canonical JSON, and seconds."""

    type: str
    options: str
    timeout: float = 60.0


CANARY = "label=canary"
DEFAULT_WAVES = (
    Wave(
        count=3,
        apart=True,
        prefer=CANARY,
        soak=timedelta(minutes=30),
        limits=Limits(min_attempted=1, max_failed=0),
    ),
    Wave(share=0.1),
    Wave(share=1.0),
)
"""Without a word in the spec: up to three clients, each of another group, and half an hour; then 10 %, then all."""
DEFAULT_LIMITS = Limits(max_fail_percentage=2.0, max_unreachable_percentage=15.0)
Scope = Literal["fleet", "group"]
Newer = Literal["queue", "supersede", "finish"]
AfterBreach = Literal["halt", "rollback"]
RollbackScope = Literal["client", "wave", "all"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
NEWER: tuple[Newer, ...] = get_args(Newer)
ON_FAILURE: tuple[AfterBreach, ...] = get_args(AfterBreach)
ROLLBACK_SCOPES: tuple[RollbackScope, ...] = get_args(RollbackScope)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """How a release goes through the fleet, or (`scope: group`) through each group by itself.

    `newer` says what becomes of it when a newer release comes: it is carried through first (`queue`), only its wave is
    (`finish`), or it ends there and then (`supersede`). `on_failure` is what follows when a gate doesn't let it pass:
    it stops (`halt`), or what has it goes back, too (`rollback`): only who failed (`client`), the failed `wave`, or
    `all`. With `recheck` the switched checks run on all earlier waves when a soak ends. A group's own limits are in its
    own policy; they hold for its clients. More clients than `catch_up` that come late go by waves of their own. With
    `wait_loaded` a client counts once its engine has loaded the release, and as failed when it hasn't for so long.
    """

    scope: Scope = "fleet"
    waves: tuple[Wave, ...] = DEFAULT_WAVES
    limits: Limits = DEFAULT_LIMITS
    gates: tuple[Gate, ...] = ()
    recheck: bool = False
    newer: Newer = "queue"
    on_failure: AfterBreach = "halt"
    rollback_scope: RollbackScope = "wave"
    catch_up: CatchUp = CatchUp()
    wait_loaded: timedelta | None = None

    @property
    def undo(self) -> Undo:
        """What goes back after a halt beside who failed: nothing (empty), the `wave`, or `all`."""
        if self.on_failure != "rollback" or self.rollback_scope == "client":
            return ""
        return self.rollback_scope


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoUpdate:
    """The policy. With `enabled` off, releases are downloaded and duplicated, and no client gets them.

    With the trigger `seen` a client gets at once what was known when it came back, or was new; all else comes by the
    schedule, if there is one. With `early`, what waits for its time is sent to clients and verified there before, and
    only switched to in time.
    """

    enabled: bool = True
    trigger: Trigger = "download"
    schedule: Schedule | None = None
    windows: tuple[Window, ...] = ()
    blackouts: tuple[Blackout, ...] = ()
    early: bool = False
    rollout: Rollout = Rollout()
