"""How a controller keeps a fleet current by itself, and what it says of itself to others."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, get_args

ControllerMode = Literal["apply", "approve", "observe"]
MODES: tuple[ControllerMode, ...] = get_args(ControllerMode)
ControllerPhase = Literal["starting", "waiting to lead", "looking", "changing", "sleeping", "stopped"]
PHASES: tuple[ControllerPhase, ...] = get_args(ControllerPhase)

Verify = Literal["none", "head", "tag", "all"]
"""Whose signatures must be good before a commit is taken as the spec: see `updoser run --verify`."""
VERIFY: tuple[Verify, ...] = get_args(Verify)


@dataclass(frozen=True, slots=True)
class Retention:
    """How long the state remembers what nothing goes by any more."""

    plans: timedelta = timedelta(days=30)
    runs: timedelta = timedelta(days=400)
    samples: timedelta = timedelta(days=730)


@dataclass(frozen=True, slots=True)
class ControllerSpec:
    """How often a controller looks, and what it may do.

    Sources and rollouts are looked at each `interval`, which is made longer or shorter by up to `jitter` (a share);
    clients each `look`. In `apply` it carries out what is due; in `approve` only what belongs to releases that somebody
    let go out; in `observe` nothing.
    """

    mode: ControllerMode = "apply"
    interval: timedelta = timedelta(minutes=5)
    jitter: float = 0.1
    look: timedelta = timedelta(minutes=30)
    retention: Retention = field(default_factory=Retention)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A person wants a controller to change nothing; `until` is None where it lasts until somebody says otherwise."""

    who: str
    reason: str
    since: datetime
    until: datetime | None = None


def pause_digest(pause: Pause) -> str:
    """Give what names a pause, so that nobody ends one that they didn't see."""
    said = (pause.who, pause.reason, pause.since.timestamp(), pause.until and pause.until.timestamp())
    return hashlib.sha256(repr(said).encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerReport:
    """What the controller that leads says of itself: since when it is in a phase, and when it looks again.

    `trouble` is why its last round failed, and `failures` how many did in a row. `commit` is that of the spec in force,
    and `signer` whose signature it has, where it comes from git. `rejected` says why a later spec isn't in force;
    `verified` is when nothing was wrong last with what there was to be read.
    """

    who: str
    phase: ControllerPhase
    mode: ControllerMode
    since: datetime
    looked: datetime | None = None
    next_at: datetime | None = None
    trouble: str = ""
    failures: int = 0
    commit: str = ""
    signer: str = ""
    rejected: str = ""
    verified: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress:
    """How far a run was `at` a time: so many of the `clients` of its step are finished; some failed or weren't reached.

    `step` is what is done now, in the words of the bar that a terminal shows; one that changes no clients has none.
    `sent` are the bytes of the whole run.
    """

    run_id: str
    command: str
    started: datetime
    step: str = ""
    clients: int = 0
    finished: int = 0
    failed: int = 0
    unreachable: int = 0
    sent: int = 0
    at: datetime | None = None


def status_text(said: ControllerReport) -> str:
    """Give what a controller does now, in a sentence."""
    until = f" until {said.next_at:%Y-%m-%d %H:%M:%S} UTC" if said.phase == "sleeping" and said.next_at else ""
    trouble = f"; failures in a row: {said.failures}, the last one: {said.trouble}" if said.trouble else ""
    return f"{said.phase}{until}{trouble}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerStatus:
    """What a state knows of its controller: what that said last, whether it is there still, and who paused it.

    `waiting` counts what people asked of it that nothing came of yet.
    """

    report: ControllerReport
    alive: bool
    pause: Pause | None = None
    waiting: int = 0
