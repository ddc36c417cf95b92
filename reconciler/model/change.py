"""Changes: what a plan may do, one class for each kind.

A kind is declared here (its fields, its place in `Changes` and its turn in KINDS) and in `present/kinds.py` (its form
in documents and its rows). What is done with each kind follows from that: it is counted, written, read and shown.
"""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - the forms of documents ask for the types of fields
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - the same
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar, get_args

from reconciler.model.network import DIRECT

if TYPE_CHECKING:
    from reconciler.model.rollout import Key

    Subject = tuple[str, str]
    """Component and version."""

REPLACED = "other bytes"
"""The reason of a download that takes the place of what the store holds under the version."""
DeployReason = Literal[
    "missing", "outdated", "pinned", "blocked", "withdrawn", "rolled_back", "digest_mismatch", "layout_changed"
]
DEPLOY_REASONS: tuple[DeployReason, ...] = get_args(DeployReason)
SettingsReason = Literal["missing", "changed", "damaged"]
SETTINGS_REASONS: tuple[SettingsReason, ...] = get_args(SettingsReason)
PublishKind = Literal["release", "incrementals", "attached", "withdraw", "restore", "let go", "signatures", "files"]
PUBLISH_KINDS: tuple[PublishKind, ...] = get_args(PublishKind)
ProofKind = Literal["recheck", "gate"]
PROOF_KINDS: tuple[ProofKind, ...] = get_args(ProofKind)


class Change:
    """Something that a plan does: `action` names its kind in documents, `place` is where a plan has that kind."""

    __slots__ = ()
    action: ClassVar[str]
    place: ClassVar[str]

    @property
    def about(self) -> Subject | None:
        """The component and version for which it is done; None where it is for none."""
        return None

    @property
    def traffic(self) -> int:
        """The bytes that it moves in all."""
        return 0


class StoreChange(Change):
    """It is done on the server, to the store or the repository; `bytes` come or go."""

    __slots__ = ()
    bytes: int

    @property
    def traffic(self) -> int:
        """The bytes that it moves in all."""
        return self.bytes


class SupplyChange(StoreChange):
    """It brings a release, or an incremental to it, into the store."""

    __slots__ = ()
    component: str
    to: str

    @property
    def about(self) -> Subject | None:
        """The component and version for which it is done."""
        return self.component, self.to


class FleetChange(Change):
    """It is about clients: `members` names cohorts of the plan, `clients` counts theirs."""

    __slots__ = ()
    clients: int
    members: Sequence[str]


class ClientChange(FleetChange):
    """Each of its clients is changed by itself, in one exchange with all else that it gets, and has an own outcome."""

    __slots__ = ()
    group: str

    @property
    def subject(self) -> str:
        """What of a client it changes: a plan changes that once."""
        return self.action


@dataclass(frozen=True, slots=True)
class Download(SupplyChange):
    """A release, or an incremental to it, goes from a source into the store.

    `kind` is `full`, and `previous` then the highest version held before; or the name of the incremental's codec, and
    `previous` the version FROM. `route` is `direct`, or `via` and the name of the proxy that leads to the source.
    """

    action: ClassVar = "download"
    place: ClassVar = "downloads"
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
class Merge(SupplyChange):
    """A release is made in the store, from `previous` that is held and the incrementals of `path`.

    When the result isn't the release, byte by byte, the full is downloaded from `source` (empty: from nowhere): at most
    `bytes`.
    """

    action: ClassVar = "merge"
    place: ClassVar = "merges"
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
class Generate(SupplyChange):
    """An incremental is made in the store with a codec, from `previous` (empty: from nothing, a packed full).

    `bytes` is what it is expected to have.
    """

    action: ClassVar = "generate"
    place: ClassVar = "generates"
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
class Fetch(Change):
    """A source fetches a release whose bytes nobody knows before, and verifies it; the next plan can deploy it.

    `bytes` is its size; None where that isn't known, either. `previous` is the highest version that the store holds,
    and `route` leads to the source, as for a download. `signed` says whether the source proves it by a signature; None
    where that isn't known before.
    """

    action: ClassVar = "fetch"
    place: ClassVar = "fetches"
    component: str
    previous: str
    to: str
    platform: str
    source: str
    bytes: int | None
    reason: str
    route: str = DIRECT
    signed: bool | None = None

    @property
    def traffic(self) -> int:
        """The bytes that it moves in all, as far as they are known."""
        return self.bytes or 0


@dataclass(frozen=True, slots=True)
class Prune(StoreChange):
    """A full, or an incremental of the codec that `kind` names, leaves the store. `bytes` is its size."""

    action: ClassVar = "prune"
    place: ClassVar = "prunes"
    component: str
    previous: str
    to: str
    to_digest: str
    platform: str
    kind: str
    bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class Publish(StoreChange):
    """The repository for other sites changes, once all else is done.

    `kind` says how: a `release` is added, and only if no client failed with it in this run; `incrementals` of a
    component are other ones now, or what is `attached` to a release; a version is taken back (`withdraw`), that is
    undone (`restore`), or it isn't held any more (`let go`); `signatures` are renewed, or `files` of a layout are
    written anew. `component` and `to` are empty where it is about no single one. `bytes` are what is added.
    `repository` is the name of a mirror in another layout; empty: it is the signed repository.
    """

    PASSING_ON: ClassVar[frozenset[PublishKind]] = frozenset({"release", "attached"})
    """Kinds that bring bytes of one release to others."""
    action: ClassVar = "publish"
    place: ClassVar = "publishes"
    component: str
    previous: str
    to: str
    to_digest: str
    platform: str
    kind: PublishKind
    bytes: int
    reason: str
    repository: str = ""


@dataclass(frozen=True, slots=True)
class Deploy(ClientChange):
    """A release goes to clients. `bytes` and `bytes_full` are for each client; `members` names cohorts of the plan.

    `path` lists the incrementals in the order of their use and `fallback` what replaces them when they fail, with at
    most `bytes_full` bytes; an empty path means that the full itself is sent, and `why_full` may say why. `bytes` are
    `estimated` while an incremental of the path isn't made yet. With `held` the clients have the release as a version
    that they kept or got early: nothing is sent. With `early` it is sent and verified, and not switched to. `wave` is
    the open one of the release's rollout; 0: it has none.
    """

    action: ClassVar = "deploy"
    place: ClassVar = "deploys"
    component: str
    group: str
    from_version: str
    from_digest: str
    to: str
    to_digest: str
    platform: str
    reason: DeployReason
    clients: int
    members: Sequence[str]
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

    @property
    def subject(self) -> str:
        """The component."""
        return self.component

    @property
    def traffic(self) -> int:
        """The bytes that it moves in all."""
        return self.bytes * self.clients

    @property
    def about(self) -> Subject | None:
        """The component and version for which it is done."""
        return self.component, self.to


@dataclass(frozen=True, slots=True)
class Settings(ClientChange):
    """Files made from templates go to clients of a group; `reason` is one of SETTINGS_REASONS."""

    action: ClassVar = "settings"
    place: ClassVar = "settings"
    group: str
    reason: SettingsReason
    clients: int
    members: Sequence[str]
    not_after: datetime | None = None


@dataclass(frozen=True, slots=True)
class Proof(FleetChange):
    """Something is asked before the next wave of a rollout opens; when the answer is bad, the rollout halts.

    `kind`: `recheck` runs the switched checks again on the clients of all waves up to `wave`; `gate` asks the program
    that is the `number`th (from 0) of the policy.
    """

    action: ClassVar = "proof"
    place: ClassVar = "proofs"
    component: str
    version: str
    group: str
    wave: int
    kind: ProofKind
    number: int = 0
    clients: int = 0
    members: Sequence[str] = ()

    @property
    def key(self) -> Key:
        """What names its rollout."""
        return self.component, self.version, self.group

    @property
    def about(self) -> Subject | None:
        """The component and version for which it is done."""
        return self.component, self.version


_Kind = TypeVar("_Kind", bound=Change)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a plan does, by kind."""

    downloads: tuple[Download, ...] = ()
    merges: tuple[Merge, ...] = ()
    generates: tuple[Generate, ...] = ()
    proofs: tuple[Proof, ...] = ()
    deploys: tuple[Deploy, ...] = ()
    settings: tuple[Settings, ...] = ()
    fetches: tuple[Fetch, ...] = ()
    prunes: tuple[Prune, ...] = ()
    publishes: tuple[Publish, ...] = ()

    def of(self, kind: type[_Kind]) -> tuple[_Kind, ...]:
        """Give the changes of a kind."""
        changes: tuple[_Kind, ...] = getattr(self, kind.place)
        return changes

    @property
    def changes(self) -> tuple[Change, ...]:
        """All changes, in the order in which they are carried out."""
        return tuple(change for kind in KINDS for change in self.of(kind))

    @property
    def for_clients(self) -> tuple[ClientChange, ...]:
        """The changes that each client gets by itself."""
        return tuple(change for change in self.changes if isinstance(change, ClientChange))

    @property
    def arriving(self) -> tuple[Download | Merge, ...]:
        """The changes that bring a release into the store."""
        return (*(download for download in self.downloads if download.kind == "full"), *self.merges)


KINDS: tuple[type[Change], ...] = (Download, Merge, Generate, Proof, Deploy, Settings, Fetch, Prune, Publish)
"""All kinds of changes, in the order in which they are carried out."""
