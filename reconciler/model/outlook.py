"""What follows from a plan if nothing fails: the steps of the run that carries it out, and what comes later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - the forms of documents ask for the types of fields


@dataclass(frozen=True, slots=True)
class WaveOpen:
    """A wave that is open in a step: the `wave`th of `waves` of a rollout (`group` empty: of the whole fleet)."""

    component: str
    version: str
    group: str
    wave: int
    waves: int


@dataclass(frozen=True, slots=True)
class WaveStep:
    """One step of a run in which clients change: the `step`th, from 1.

    In a plan `clients` are to change, in a report they did; `bytes` are sent to all of them. They are `estimated` where
    an incremental isn't made yet, and where settings go out, of which nobody knows the size before.
    """

    step: int
    clients: int
    bytes: int
    estimated: bool = False
    rollouts: tuple[WaveOpen, ...] = ()


@dataclass(frozen=True, slots=True)
class Later:
    """A release that `clients` still lack when the run ends, and why.

    `at` is when that is over by the time alone, for the first of them; None: time alone brings nothing. `waits`:
    somebody must act before it goes on.
    """

    component: str
    version: str
    group: str
    clients: int
    reason: str
    at: datetime | None = None
    waits: bool = False


@dataclass(frozen=True, slots=True)
class Arrival:
    """When half, 95 % and all of its clients have a release, if nothing fails; None: never, and `never` says why."""

    component: str
    version: str
    group: str
    half: datetime | None = None
    most: datetime | None = None
    all: datetime | None = None
    never: str = ""


@dataclass(frozen=True, slots=True)
class Outlook:
    """The whole run of a plan: what it does in each of its steps, and what is left when it ends.

    `clients` and `bytes` are those of all steps, each client counted once. `more`: further steps may follow those that
    are told. `arrivals` are those of releases that don't reach all of their clients in this run; none where looking
    ahead would take long.
    """

    steps: tuple[WaveStep, ...] = ()
    clients: int = 0
    bytes: int = 0
    estimated: bool = False
    more: bool = False
    later: tuple[Later, ...] = ()
    arrivals: tuple[Arrival, ...] = ()
