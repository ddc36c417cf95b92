"""A plan: everything that one apply will do, as data, with the members of its cohorts standing once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003 - the forms of documents ask for the types of fields
from dataclasses import dataclass, field, replace
from datetime import datetime  # noqa: TC003 - the same
from typing import TYPE_CHECKING, Literal

from reconciler.model.attribution import Attribution  # noqa: TC001 - the same
from reconciler.model.change import KINDS, Change, Changes, ClientChange, StoreChange
from reconciler.model.leaving import FleetMove, Leaving  # noqa: TC001 - the same
from reconciler.model.names import Names, Picked, Run
from reconciler.model.network import DIRECT
from reconciler.model.outlook import Outlook, WaveOpen
from reconciler.model.provenance import Provenance  # noqa: TC001 - the same
from reconciler.model.relay import RelayUse  # noqa: TC001 - the same
from reconciler.model.release import ANY_PLATFORM
from reconciler.model.rollout import AT_WORK, RolloutRecord, Undo
from reconciler.model.roster import clients_of
from reconciler.model.site import SiteStanding  # noqa: TC001 - the same
from reconciler.model.spec_change import SpecChange  # noqa: TC001 - the same
from reconciler.model.way_back import WayBack  # noqa: TC001 - the same

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from reconciler.model.change import SettingsReason, Subject
    from reconciler.model.client import Profile

NEVER_SEEN = "not looked at yet"
"""Why nothing is known of a client that no look was at: it may be on, and lack everything."""


@dataclass(frozen=True, slots=True)
class Cohort:
    """Clients with the same profile and the same planner-relevant overrides: the unit of the diff.

    They are of one group, or of several in which everything is decided alike (`planner.likes`): `group` is the first of
    `groups` then, and `counts` has how many clients each has; both are empty where there is one group only. `like` is
    the first of all groups that it could have clients of, where that isn't `group`. `members` are client names, by
    group, then sorted.

    `profile` is None for clients that nothing is known of; `unknown` then says why, or `unreachable`, if there is no
    way to them; they don't answer since `since`. `hold` is the reason for which they are left alone, which is over by
    the time alone at `free_at` (None: it isn't). `selected` are the patterns of waves that select them. `settings` says
    what is to be done about their settings, or nothing.
    """

    group: str
    members: Sequence[str]
    profile: Profile | None = None
    unknown: str = ""
    hold: str = ""
    route: str = DIRECT
    unreachable: str = ""
    since: datetime | None = None
    selected: frozenset[str] = frozenset()
    settings: SettingsReason | Literal[""] = ""
    free_at: datetime | None = None
    groups: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    like: str = ""

    @property
    def by_group(self) -> Iterable[tuple[str, int]]:
        """Its groups, each with how many clients it has."""
        return zip(self.groups, self.counts, strict=True) if self.groups else ((self.group, len(self.members)),)

    def parts(self) -> Iterator[tuple[str, Sequence[str]]]:
        """Give its clients by group."""
        if not self.groups:
            yield self.group, self.members
            return
        assert isinstance(self.members, (Names, Picked))
        for number, group in enumerate(self.groups):
            yield group, Run(self.members, number)


@dataclass(frozen=True, slots=True)
class WaveCounts:
    """How far the open wave of a rollout is, in clients.

    `planned` count for its gate: those that `passed`, `failed`, are `pending`, became `unreachable` since it opened, or
    are `hindered` by something that is wrong with them, not with the release. `off` were off already then, and at the
    `unknown` nobody looked yet.
    """

    planned: int = 0
    passed: int = 0
    failed: int = 0
    pending: int = 0
    unreachable: int = 0
    off: int = 0
    hindered: int = 0
    unknown: int = 0

    @property
    def asleep(self) -> bool:
        """True when there are clients, and none that could be tried."""
        tried = self.passed + self.failed + self.pending + self.unknown
        return not tried and self.off + self.unreachable + self.hindered > 0


@dataclass(frozen=True, slots=True)
class RolloutStep:
    """Where a rollout is when the plan is carried out: `record` is what the state remembers from then on.

    `new`: that differs from what it remembers now, whose fingerprint is `before`. `says` is for people; `next_at` is
    when the next step is due, if time alone makes it so. While the wave's clients change, the rollout halts once more
    than `max_failed` of them failed, or, at the end of each `at_once` (0: all), more than `max_fail_percentage` of
    those attempted; what is then undone is `undo`. `stuck`: it never goes on unless somebody acts;
    `awaits_approval`: its next wave opens once somebody approves it.
    """

    record: RolloutRecord
    new: bool
    says: str
    counts: WaveCounts = WaveCounts()
    next_at: datetime | None = None
    at_once: int = 0
    max_failed: int | None = None
    max_fail_percentage: float | None = None
    undo: Undo = ""
    before: str = ""
    stuck: bool = False
    awaits_approval: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """Clients to whom something applies that is no change: drift, a hold, an answer that did not come.

    `component` and `version` are empty where the finding is about the clients as a whole. `at` is when that is over by
    the time alone, where it is for all of them at once.
    """

    group: str
    clients: int
    members: Sequence[str]
    reason: str
    component: str = ""
    version: str = ""
    at: datetime | None = None


FINDINGS = ("drift", "held", "deferred", "unknown", "unreachable", "pending")
"""Where a plan has its findings, the claims apart."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What a plan is made from and refused without: see `StalePlanError`."""

    lineage: str
    epoch: int
    serial: int
    spec_digest: str
    catalog_digest: str


@dataclass(frozen=True, slots=True)
class Plan(Changes):
    """The difference between the desired state and what is there, and what will be done about it.

    `partial` says that a limit or target left something out; `limit` is the pattern of that limit. `gone` are clients
    that left the inventory since the last look. `problems` are sentences about sources: releases held back, sources
    that did not answer; `excused` are those of them after which nothing needs to be done. `unmet` names what is
    declared and can't be had, `unread` the sources that can't be read and should be; each has a sentence. `notes` are
    others, about what is as it may be and yet worth a look: a pattern that takes nobody. `claims` are clients that know
    an earlier epoch of this controller: they are told of the later one, so that who has the earlier state is refused.
    `members` maps the id of each cohort that something refers to, to its clients; `clients` counts all clients that
    were compared by group. `spec_changes` tell what changed in the spec since it was applied last; `against_base` what
    comes of the spec and what would come of another one, too, where it was compared with one. `ways_back`: what clients
    keep of what they have now. `provenance`: where its releases come from. `leaving`: what isn't managed any more,
    and on how many clients (`leaving_clients`) something leaves with this plan; `fleet_moves`: who came and left. `run`
    is the run that carries it out, with the steps that follow from it; None where nothing can, or nobody looked.
    `relays`: what clients fetch at their sites. `sites`: which groups are worked on from where, and which are down.
    `spec_commit` is the commit that the spec was unpacked from, and `signer` who signed it, where that was asked for.
    """

    plan_id: str
    created: datetime
    basis: Basis
    partial: bool = False
    limit: str = ""
    clients: Mapping[str, int] = field(default_factory=dict)
    rollouts: tuple[RolloutStep, ...] = ()
    drift: tuple[Finding, ...] = ()
    pending: tuple[Finding, ...] = ()
    held: tuple[Finding, ...] = ()
    deferred: tuple[Finding, ...] = ()
    unknown: tuple[Finding, ...] = ()
    unreachable: tuple[Finding, ...] = ()
    claims: tuple[Finding, ...] = ()
    gone: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    excused: tuple[str, ...] = ()
    unmet: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    platforms: tuple[str, ...] = (ANY_PLATFORM,)
    spec_changes: tuple[SpecChange, ...] = ()
    against_base: tuple[Attribution, ...] = ()
    ways_back: tuple[WayBack, ...] = ()
    provenance: tuple[Provenance, ...] = ()
    leaving: tuple[Leaving, ...] = ()
    leaving_clients: int = 0
    fleet_moves: tuple[FleetMove, ...] = ()
    relays: tuple[RelayUse, ...] = ()
    sites: tuple[SiteStanding, ...] = ()
    spec_commit: str = ""
    signer: str = ""
    members: Mapping[str, Sequence[str]] = field(default_factory=dict)
    run: Outlook | None = None

    @property
    def empty(self) -> bool:
        """True when nothing is due: what is held, deferred or unknown doesn't count."""
        return not any(self.of(kind) for kind in KINDS) and not self.claims

    @property
    def moves(self) -> bool:
        """True when a rollout gets further, even if nothing else is to be done."""
        return any(step.new for step in self.rollouts)

    @property
    def due(self) -> bool:
        """True when an apply has something to do: a change, or a rollout that gets further."""
        return self.moves or not self.empty

    @property
    def subjects(self) -> frozenset[Subject]:
        """The (component, version) that are approved with the plan: the steps of their rollouts follow in one run."""
        return frozenset((deploy.component, deploy.to) for deploy in self.deploys).union(
            step.record.key[:2] for step in self.rollouts
        )

    @property
    def faults(self) -> tuple[str, ...]:
        """The problems for which something isn't as declared."""
        return tuple(problem for problem in self.problems if problem not in set(self.excused))

    @property
    def blind(self) -> bool:
        """True when nothing is known of any client, though there are some."""
        clients = sum(self.clients.values())
        return clients > 0 and clients_of(self.members, (*self.unknown, *self.unreachable)) >= clients

    @property
    def as_declared(self) -> bool:
        """True when nothing is in the way of what is declared; what is held, deferred or due doesn't count."""
        return not (self.faults or self.blind or self.halted)

    @property
    def waves_open(self) -> tuple[WaveOpen, ...]:
        """The waves that are open in this step, of releases that its clients get."""
        goes = {(deploy.component, deploy.to) for deploy in self.deploys if deploy.wave}
        return tuple(
            WaveOpen(*step.record.key, step.record.wave, len(step.record.cuts))
            for step in self.rollouts
            if step.record.key[:2] in goes and step.record.status in AT_WORK
        )

    def untried(self, is_new: Callable[[Change], bool]) -> Plan:
        """Give the plan without the changes, but for those of clients, that a run tried already."""
        kept = {
            kind.place: tuple(change for change in self.of(kind) if is_new(change))
            for kind in KINDS
            if not issubclass(kind, ClientChange)
        }
        return replace(self, **kept)  # type: ignore[arg-type]

    def only(self, approved: Collection[Subject]) -> Plan:
        """Give the part of the plan that is about these (component, version), and what goes back from others.

        Housekeeping of the store and the repository stays.
        """
        back = {deploy for deploy in self.deploys if deploy.reason == "rolled_back"}
        goals = {deploy.about for deploy in back} | set(approved)

        def stays(change: Change) -> bool:
            server = isinstance(change, StoreChange)
            return server if change.about is None else change in back or change.about in (goals if server else approved)

        kept = {kind.place: tuple(change for change in self.of(kind) if stays(change)) for kind in KINDS}
        rollouts = tuple(step for step in self.rollouts if step.record.key[:2] in approved)
        return replace(self, **kept, claims=(), rollouts=rollouts)  # type: ignore[arg-type]

    @property
    def nothing(self) -> Plan:
        """The plan without anything that could be carried out: what is known and what is found stays."""
        return replace(self, **{kind.place: () for kind in KINDS}, claims=(), rollouts=())  # type: ignore[arg-type]

    @property
    def halted(self) -> tuple[RolloutStep, ...]:
        """The rollouts that are halted."""
        return tuple(step for step in self.rollouts if step.record.status == "halted")

    @property
    def stuck(self) -> tuple[RolloutStep, ...]:
        """The rollouts that never go on unless somebody acts."""
        return tuple(step for step in self.rollouts if step.stuck)

    @property
    def next_step_at(self) -> datetime | None:
        """When the next step of a rollout is due by the time alone; None when none is."""
        return min((step.next_at for step in self.rollouts if step.next_at is not None), default=None)
