"""Why a client has what it has: what is asked for, what is there, what is in the way, and what comes next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - the forms of documents ask for the types of fields
from typing import Literal

from reconciler.model.listing import ComponentState
from reconciler.model.protection import Protection  # noqa: TC001 - the same
from reconciler.model.provenance import Provenance  # noqa: TC001 - the same

StandingState = Literal[ComponentState, "unmanaged"]
"""How what a client has compares with what it should have; unmanaged: nothing asks for it any more, and it stays."""
Coming = Literal["nothing", "due", "sent_early", "held", "deferred", "blind"]
"""What an apply now would do about a component: nothing, as all is well; change it; send it before its time; or not
touch it, because somebody or something holds it, its time hasn't come, or the client isn't known."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A value of the spec, and the line that says so: `path` is dotted, `where` is `file:line` or `default`."""

    path: str
    value: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """An outcome of a run, as the journal has it. `component` is empty where it is about the client as a whole."""

    run_id: str
    at: datetime
    component: str
    from_version: str
    to_version: str
    outcome: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPlace:
    """The rollout that decides over a component, and the wave that the client is in (0: in none of it).

    `open_wave` is the one that is open, of `waves`; `says` is where it is, `next_at` when its next step is due, if
    time alone makes it so.
    """

    version: str
    group: str
    status: str
    own_wave: int
    open_wave: int
    waves: int
    says: str
    next_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentStanding:
    """How a client stands with a component.

    `wanted` is what the policy lets through by now, `to` what an apply now would bring. `reasons` say what is in the
    way, in the words of the plan; `next` says what comes and when. `release` is what is known of the one that comes or
    is wanted, if anything is. `loaded` is what its engine says it has loaded, and `unsaid` why that isn't known.
    `protection` is how fast the fleet got what is wanted.
    """

    id: str
    version: str
    wanted: str
    state: StandingState
    damage: str
    previous: str
    asked: tuple[Asked, ...]
    coming: Coming
    to: str
    reasons: tuple[str, ...]
    rollouts: tuple[RolloutPlace, ...]
    next: str
    happened: tuple[Happened, ...]
    release: Provenance | None = None
    loaded: str = ""
    unsaid: str = ""
    protection: Protection | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingStanding:
    """How a client stands with a file of its settings: `id` is what the history calls it.

    `path` and `template` are empty where nothing asks for the file any more. `version` is the fingerprint of what is
    there, `wanted` that of what should be. `trouble` says why that isn't known. `asked` are the lines that ask for the
    file, `reads` those that the values come from which its template reads.
    """

    id: str
    path: str
    template: str
    version: str
    wanted: str
    state: StandingState
    trouble: str
    asked: tuple[Asked, ...]
    reads: tuple[Asked, ...]
    coming: Coming
    next: str
    happened: tuple[Happened, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientStanding:
    """How a client stands: `reasons` keep everything from it, `happened` is about it as a whole.

    `site` is where it is worked on from; empty: by the server, as that says.
    """

    created: datetime
    name: str
    group: str
    labels: tuple[str, ...]
    platform: str
    seen: datetime | None
    failing_since: datetime | None
    reasons: tuple[str, ...]
    holds: tuple[Asked, ...]
    components: tuple[ComponentStanding, ...]
    settings: tuple[SettingStanding, ...]
    happened: tuple[Happened, ...]
    site: str = ""
