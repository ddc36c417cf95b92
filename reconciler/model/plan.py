"""A plan: everything that one apply will do, as data, with the members of its cohorts standing once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.model.network import DIRECT
from reconciler.model.release import ANY_PLATFORM

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from reconciler.model.client import Profile
    from reconciler.model.rollout import Key, RolloutRecord

NEVER_SEEN = "not looked at yet"
"""Why nothing is known of a client that no look was at: it may be on, and lack everything."""
REPLACED = "other bytes"
"""The reason of a download that takes the place of what the store holds under the version."""
DEPLOY_REASONS = (
    *("missing", "outdated", "pinned", "blocked", "withdrawn", "rolled_back", "digest_mismatch", "layout_changed"),
)


@dataclass(frozen=True, slots=True)
class Cohort:
    """Clients of one group with the same profile and the same planner-relevant overrides: the unit of the diff.

    `profile` is None for clients that nothing is known of; `unknown` then says why, or `unreachable`, if there is no
    way to them; they don't answer since `since`. `hold` is the reason for which they are left alone. `selected` are the
    patterns of waves that select them. `settings` says what is to be done about their settings, or nothing. `members`
    are client names, sorted.
    """

    group: str
    members: tuple[str, ...]
    profile: Profile | None = None
    unknown: str = ""
    hold: str = ""
    route: str = DIRECT
    unreachable: str = ""
    since: datetime | None = None
    selected: frozenset[str] = frozenset()
    settings: str = ""


@dataclass(frozen=True, slots=True)
class Download:
    """A release, or an incremental to it, goes from a source into the store.

    `kind` is `full`, and `previous` then the highest version held before; or the name of the incremental's codec, and
    `previous` the version FROM. `route` is `direct`, or `via` and the name of the proxy that leads to the source.
    """

    component: str
    previous: str
    to: str
    to_digest: str
    platform: str
    source: str
    bytes: int
    reason: str
    kind: str = "full"
    route: str = DIRECT


@dataclass(frozen=True, slots=True)
class Merge:
    """A release is made in the store, from `previous` that is held and the incrementals of `path`.

    When the result isn't the release, byte by byte, the full is downloaded from `source` (empty: from nowhere): at most
    `bytes`.
    """

    component: str
    previous: str
    from_digest: str
    to: str
    to_digest: str
    platform: str
    path: tuple[str, ...]
    source: str
    bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class Generate:
    """An incremental is made in the store with a codec, from `previous` (empty: from nothing, a packed full).

    `bytes` is what it is expected to have.
    """

    component: str
    previous: str
    from_digest: str
    to: str
    to_digest: str
    platform: str
    codec: str
    level: int
    bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class Prune:
    """A full, or an incremental of the codec that `kind` names, leaves the store. `bytes` is its size."""

    component: str
    previous: str
    to: str
    to_digest: str
    platform: str
    kind: str
    bytes: int
    reason: str


PUBLISH_KINDS = ("release", "incrementals", "withdraw", "restore", "let go", "signatures")


@dataclass(frozen=True, slots=True)
class Publish:
    """The repository for other sites changes, once all else is done.

    `kind` says how: a `release` is added, and only if no client failed with it in this run; `incrementals` of a
    component are other ones now; a version is taken back (`withdraw`), that is undone (`restore`), or it isn't held any
    more (`let go`); `signatures` are renewed. `component` and `to` are empty where it is about no single one. `bytes`
    are what is added.
    """

    component: str
    previous: str
    to: str
    to_digest: str
    platform: str
    kind: str
    bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class Deploy:
    """A release goes to clients. `bytes` and `bytes_full` are for each client; `members` names cohorts of the plan.

    `path` lists the incrementals in the order of their use and `fallback` what replaces them when they fail, with at
    most `bytes_full` bytes; an empty path means that the full itself is sent, and `why_full` may say why. `bytes` are
    `estimated` while an incremental of the path isn't made yet. With `held` the clients have the release as a version
    that they kept or got early: nothing is sent. With `early` it is sent and verified, and not switched to. `wave` is
    the open one of the release's rollout; 0: it has none.
    """

    component: str
    group: str
    from_version: str
    from_digest: str
    to: str
    to_digest: str
    platform: str
    reason: str
    clients: int
    members: tuple[str, ...]
    bytes: int
    bytes_full: int
    path: tuple[str, ...] = ()
    fallback: str = "full"
    route: str = DIRECT
    wave: int = 0
    not_before: datetime | None = None
    not_after: datetime | None = None
    downgrade: bool = False
    estimated: bool = False
    why_full: str = ""
    held: bool = False
    early: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """Files made from templates go to clients of a group; `reason` is one of SETTINGS_REASONS."""

    group: str
    reason: str
    clients: int
    members: tuple[str, ...]
    not_after: datetime | None = None


SETTINGS_REASONS = ("missing", "changed", "damaged")


@dataclass(frozen=True, slots=True)
class Proof:
    """Something is asked before the next wave of a rollout opens; when the answer is bad, the rollout halts.

    `kind`: `recheck` runs the switched checks again on the clients of all waves up to `wave`; `gate` asks the program
    that is the `number`th (from 0) of the policy.
    """

    component: str
    version: str
    group: str
    wave: int
    kind: str
    number: int = 0
    clients: int = 0
    members: tuple[str, ...] = ()

    @property
    def key(self) -> Key:
        """What names its rollout."""
        return self.component, self.version, self.group


PROOF_KINDS = ("recheck", "gate")


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
    those attempted; what is then undone is `undo`. `stuck`: it never goes on unless somebody acts.
    """

    record: RolloutRecord
    new: bool
    says: str
    counts: WaveCounts = WaveCounts()
    next_at: datetime | None = None
    at_once: int = 0
    max_failed: int | None = None
    max_fail_percentage: float | None = None
    undo: str = ""
    before: str = ""
    stuck: bool = False


Change = Download | Merge | Generate | Deploy | Settings | Prune | Publish | Proof


@dataclass(frozen=True, slots=True)
class Finding:
    """Clients to whom something applies that is no change: drift, a hold, an answer that did not come.

    `component` and `version` are empty where the finding is about the clients as a whole.
    """

    group: str
    clients: int
    members: tuple[str, ...]
    reason: str
    component: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Basis:
    """What a plan is made from and refused without: see `StalePlanError`."""

    lineage: str
    epoch: int
    serial: int
    spec_digest: str
    catalog_digest: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The difference between the desired state and what is there, and what will be done about it.

    `partial` says that a limit or target left something out. `gone` are clients that left the inventory since the last
    look. `problems` are sentences about sources: releases held back, sources that did not answer; `excused` are those
    of them after which nothing needs to be done. `unmet` names what is declared and can't be had, `unread` the sources
    that can't be read and should be; each has a sentence. `notes` are others, about what is as it may be and yet worth
    a look: a pattern that takes nobody. `claims` are clients that know an earlier epoch of this controller: they are
    told of the later one, so that who has the earlier state is refused. `members` maps the id of each cohort that
    something refers to, to its clients; `clients` counts all clients that were compared by group.
    """

    plan_id: str
    created: datetime
    basis: Basis
    downloads: tuple[Download, ...] = ()
    merges: tuple[Merge, ...] = ()
    generates: tuple[Generate, ...] = ()
    prunes: tuple[Prune, ...] = ()
    deploys: tuple[Deploy, ...] = ()
    publishes: tuple[Publish, ...] = ()
    settings: tuple[Settings, ...] = ()
    proofs: tuple[Proof, ...] = ()
    rollouts: tuple[RolloutStep, ...] = ()
    drift: tuple[Finding, ...] = ()
    held: tuple[Finding, ...] = ()
    deferred: tuple[Finding, ...] = ()
    unknown: tuple[Finding, ...] = ()
    unreachable: tuple[Finding, ...] = ()
    gone: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    excused: tuple[str, ...] = ()
    unmet: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    members: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    clients: Mapping[str, int] = field(default_factory=dict)
    partial: bool = False
    platforms: tuple[str, ...] = (ANY_PLATFORM,)
    notes: tuple[str, ...] = ()
    claims: tuple[Finding, ...] = ()

    @property
    def arriving(self) -> tuple[Download | Merge, ...]:
        """The changes that bring a release into the store."""
        return (*(download for download in self.downloads if download.kind == "full"), *self.merges)

    @property
    def empty(self) -> bool:
        """True when nothing is due: what is held, deferred or unknown doesn't count."""
        on_server = (self.downloads, self.merges, self.generates, self.prunes, self.publishes)
        return not any((*on_server, self.deploys, self.settings, self.proofs, self.claims))

    @property
    def moves(self) -> bool:
        """True when a rollout gets further, even if nothing else is to be done."""
        return any(step.new for step in self.rollouts)

    @property
    def faults(self) -> tuple[str, ...]:
        """The problems for which something isn't as declared."""
        return tuple(problem for problem in self.problems if problem not in set(self.excused))

    @property
    def blind(self) -> bool:
        """True when nothing is known of any client, though there are some."""
        dark = {cohort for finding in (*self.unknown, *self.unreachable) for cohort in finding.members}
        clients = sum(self.clients.values())
        return clients > 0 and sum(len(self.members[cohort]) for cohort in dark) >= clients

    @property
    def as_declared(self) -> bool:
        """True when nothing is in the way of what is declared; what is held, deferred or due doesn't count."""
        return not (self.faults or self.blind or self.halted)

    def only(self, approved: Collection[tuple[str, str]]) -> Plan:
        """Give the part of the plan that is about these (component, version), and what goes back from others.

        Housekeeping of the store and the repository stays.
        """
        deploys = tuple(
            deploy
            for deploy in self.deploys
            if deploy.reason == "rolled_back" or (deploy.component, deploy.to) in approved
        )
        goals = {(deploy.component, deploy.to) for deploy in deploys} | set(approved)
        return replace(
            self,
            deploys=deploys,
            downloads=tuple(change for change in self.downloads if (change.component, change.to) in goals),
            merges=tuple(change for change in self.merges if (change.component, change.to) in goals),
            generates=tuple(change for change in self.generates if (change.component, change.to) in goals),
            settings=(),
            claims=(),
            proofs=tuple(proof for proof in self.proofs if (proof.component, proof.version) in approved),
            rollouts=tuple(step for step in self.rollouts if step.record.key[:2] in approved),
        )

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
