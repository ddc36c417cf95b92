"""What a run did and how the fleet stands: the results that commands end with."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - the forms of documents ask for the types of fields
from dataclasses import dataclass, field
from datetime import datetime  # noqa: TC003 - the same
from typing import Literal, get_args

from reconciler.model.controller import ControllerStatus  # noqa: TC001 - the same
from reconciler.model.deploy import RELEASE, Fault, OutcomeStatus
from reconciler.model.notice import Known  # noqa: TC001 - the same
from reconciler.model.outlook import WaveStep  # noqa: TC001 - the same
from reconciler.model.plan import RolloutStep  # noqa: TC001 - the same
from reconciler.model.protection import Protection  # noqa: TC001 - the same
from reconciler.model.relay import RelayStatus  # noqa: TC001 - the same
from reconciler.model.rollout import RolloutStatus
from reconciler.model.site import SiteStanding  # noqa: TC001 - the same
from reconciler.reasons import Reason, ReasonIfAny  # noqa: TC001 - the same

ClientOutcome = Literal["ok", "changed", "failed", "unreachable", "stale", "skipped", "not_attempted"]
RECAP: tuple[ClientOutcome, ...] = get_args(ClientOutcome)
LOST: frozenset[ClientOutcome] = frozenset(["failed", "unreachable"])
RunStatus = Literal["running", "done", "failed", "interrupted", "broken off"]
PlanStatus = Literal["new", "running", "done", "superseded"]
DoctorLevel = Literal["ok", "warn", "fail"]
JournalOutcome = Literal[OutcomeStatus, "held", "accepted", "remark", RolloutStatus]


MAX_LAG = 3
"""How many releases a client may be behind and is still counted by how many."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A client, or with an empty client a download, that did not end as planned, and why.

    `fault` is what that is about: see `model.deploy.FAULTS`. Failures are counted by their `reason`.
    """

    client: str
    group: str
    component: str
    message: str
    fault: Fault = RELEASE
    reason: Reason = "client"


@dataclass(frozen=True, slots=True)
class Held:
    """Clients of a group that weren't changed as planned, because something came between: `reason` says what.

    `component` and `version` are empty where it is about settings.
    """

    group: str
    component: str
    version: str
    reason: str
    clients: int


@dataclass(frozen=True, slots=True)
class Report:
    """The end of an apply. `recap` counts each client of a group once, under the worst thing that happened to it.

    `bytes_saved` counts against sending fulls, `bytes_not_received` against downloading them. `fallbacks` counts fulls
    that were needed because an incremental failed. `rollouts` are those of the plan, as they are now; `next_step_at` is
    when the next step of one is due, if there is one. `held` are changes that weren't begun. `steps` are those in which
    clients were to change, with what became of that. `fetched` are releases that the next plan can deploy.
    """

    run_id: str
    plan_id: str
    started: datetime
    ended: datetime
    recap: Mapping[str, Mapping[ClientOutcome, int]]
    downloaded: int = 0
    failed: tuple[Failure, ...] = ()
    unreachable: tuple[Failure, ...] = ()
    held: tuple[Held, ...] = ()
    bytes_received: int = 0
    bytes_sent: int = 0
    bytes_saved: int = 0
    bytes_not_received: int = 0
    merged: int = 0
    generated: int = 0
    pruned: int = 0
    published: int = 0
    fallbacks: int = 0
    interrupted: bool = False
    rollouts: tuple[RolloutStep, ...] = ()
    next_step_at: datetime | None = None
    steps: tuple[WaveStep, ...] = ()
    fetched: int = 0

    def total(self, outcome: ClientOutcome) -> int:
        """Add one column of the recap up over all groups."""
        return sum(counts.get(outcome, 0) for counts in self.recap.values())


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """How far a fleet or group is with one component; what a "client updates" dashboard shows.

    `latest_held` is the highest version in the store, or the pin. `age` counts the
    seconds since that version was released at `released_at` (first seen, where the source doesn't say), both None when
    nothing is held.
    `versions` counts clients by the version they run, the newest first; `missing` stands for none. `deferred` are those
    of the updated from which the policy keeps a newer release back for now, and `kept_back` says why the highest
    version that is offered goes to nobody. `wanted` is the highest version that clients should run, and `target_reason`
    says by which rule. `lags` counts those of the outdated that lack so many releases only, up to MAX_LAG: they are
    updated where so many still count as that. `name` and `kind` are as the catalog has them. `pending` are those that
    would be updated if their engines had loaded what is installed. `protection` is how fast most had the release.
    """

    id: str
    latest_held: str
    latest_offered: str
    updated: int
    outdated: int
    ahead: int
    unknown: int
    versions: Mapping[str, int] = field(default_factory=dict)
    age: int | None = None
    deferred: int = 0
    kept_back: str = ""
    released_at: datetime | None = None
    name: str = ""
    kind: str = ""
    wanted: str = ""
    target_reason: str = ""
    lags: Mapping[int, int] = field(default_factory=dict)
    pending: int = 0
    protection: Protection | None = None

    @property
    def clients(self) -> int:
        """All clients that should have the component."""
        return self.updated + self.outdated + self.ahead + self.unknown + self.pending

    @property
    def rate(self) -> float:
        """The share of clients that are updated, 0 to 1; 1 where no client should have the component."""
        return self.updated / self.clients if self.clients else 1.0


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """How a source did when it was last asked. `stale` says that it has been silent for longer than the spec allows.

    `expires` is when its signatures expire, by the role that they are of. `signed`: all that it offers is.
    """

    name: str
    last_success: datetime | None
    error: str = ""
    stale: bool = False
    cooldown_until: datetime | None = None
    expires: Mapping[str, datetime] = field(default_factory=dict)
    signed: bool = True


@dataclass(frozen=True, slots=True)
class WithdrawnStatus:
    """A version that a source took back, and how many clients still run it."""

    component: str
    version: str
    reason: str
    source: str
    clients: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes that were received from sources and sent to clients, and what fulls would have added to each."""

    received: int = 0
    not_received: int = 0
    sent: int = 0
    saved: int = 0

    def __add__(self, other: Traffic) -> Traffic:
        """Add what something else received and sent."""
        return Traffic(
            self.received + other.received,
            self.not_received + other.not_received,
            self.sent + other.sent,
            self.saved + other.saved,
        )


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A client that failed so many times in a row that it is left alone; `message` is what it said last."""

    client: str
    group: str
    until: datetime
    failures: int
    message: str


@dataclass(frozen=True, slots=True)
class Troubled:
    """Clients that are in trouble for one reason: how many, of which groups, and a few of them with what they said."""

    reason: Reason
    clients: int
    groups: tuple[str, ...] = ()
    examples: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class Status:
    """How the whole fleet stands. `as_of` is when its clients were last looked at; `traffic` is that of all runs.

    `rollouts` are those of a plan made now; what is over isn't shown. `troubles` are those of clients that can't be
    reached or fail, each client once. `controller` is None where there never was one. `current` are the clients that
    are updated in all that they should have, `unknown` those of which nothing is known now.
    `drifted` counts clients on which somebody else changed a component, or (empty) settings. `repository` is when the
    signatures of the repository for other sites expire, by role. `sites` are those of the groups, and how they are.
    """

    created: datetime
    as_of: datetime | None
    clients: int
    components: tuple[ComponentStatus, ...]
    groups: Mapping[str, tuple[ComponentStatus, ...]]
    sources: tuple[SourceStatus, ...] = ()
    traffic: Traffic = Traffic()
    withdrawn: tuple[WithdrawnStatus, ...] = ()
    rollouts: tuple[RolloutStep, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()
    troubles: tuple[Troubled, ...] = ()
    conditions: tuple[Known, ...] = ()
    controller: ControllerStatus | None = None
    current: int = 0
    unknown: int = 0
    drifted: Mapping[str, int] = field(default_factory=dict)
    repository: Mapping[str, datetime] = field(default_factory=dict)
    relays: tuple[RelayStatus, ...] = ()
    sites: tuple[SiteStanding, ...] = ()


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that the doctor looked at: `level` is `ok`, `warn` or `fail`; `fix` is the line that mends it."""

    client: str
    what: str
    level: DoctorLevel
    finding: str
    fix: str = ""


def published_text(component: str, version: str) -> str:
    """Give the message by which the journal knows a release that was published; earlier runs wrote it, so it stays."""
    return f"{component} {version} published"


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """One outcome, written down as it happens; an empty client stands for the store, or for a whole rollout.

    `outcome` is one of the outcomes of a step, `held` where that wasn't begun, or `failed` for a client as a whole
    (then without a component); `reason` is what a failure is counted under.
    """

    client: str = ""
    group: str = ""
    component: str = ""
    from_version: str = ""
    to_version: str = ""
    outcome: JournalOutcome
    message: str = ""
    bytes: int = 0
    at: datetime
    reason: ReasonIfAny = ""


RunPart = Literal["claim", "download", "merge", "generate", "prove", "clients", "fetch", "prune", "publish"]
"""What a run does one after the other, for each step of its rollouts anew."""


@dataclass(frozen=True, slots=True)
class RunStep:
    """One part of a run, which had something to do: when it began, and how long it took."""

    step: RunPart
    started: datetime
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run in the history. `status`: running, done, failed, interrupted, or broken off when its process died.

    `origin` says who ran it and where: `user`, `host`, `ci`, `job`, `actor`, `commit`, `ref`, `spec_commit`, as far as
    they were known. `steps` are known once it ended.
    """

    run_id: str
    plan_id: str
    command: str
    started: datetime
    ended: datetime | None
    status: RunStatus
    recap: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    traffic: Traffic = Traffic()
    origin: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[RunStep, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """What of the journal is asked for; empty: whatever it is. `version` is where a client came from, or went to."""

    run_id: str = ""
    client: str = ""
    component: str = ""
    version: str = ""
    since: datetime | None = None

    @property
    def entries(self) -> bool:
        """True when outcomes are asked for, rather than runs."""
        return bool(self.client or self.component or self.version)
