"""The desired state, checked and resolved: what `spec` builds and everything else reads.

Values are in force as they stand here: `extends`, `vars`, `defaults` and `"*"` are resolved. Secrets stay references.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args

from reconciler.model.controller import ControllerSpec
from reconciler.model.delta import Duplication
from reconciler.model.deploy import Hooks, Layout
from reconciler.model.network import parse_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from reconciler.model.client import Client
    from reconciler.model.console import ConsoleSpec
    from reconciler.model.deploy import CheckPhase, Hook
    from reconciler.model.network import Family, Proxy
    from reconciler.model.notice import NotifierSpec
    from reconciler.model.offer import Withdrawal
    from reconciler.model.policy import AutoUpdate
    from reconciler.model.question import Question
    from reconciler.model.relay import RelaySpec
    from reconciler.model.release import Catalog, Component, ScanMethod
    from reconciler.model.secret import SecretRef

LATEST = "latest"


PluginKind = Literal[
    "source", "transport", "inventory", "codec", "executor", "check", "notifier", "layout", "content", "station"
]


@dataclass(frozen=True, slots=True)
class PluginConfig:
    """A plugin by kind and name, with its options as plain data in which secrets are SecretRef."""

    kind: PluginKind
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentSpec:
    """Where several machines have the store's content: `cache` bytes of it are kept here.

    What nobody needs any more stays for `grace` before it is removed.
    """

    plugin: PluginConfig
    cache: int
    grace: timedelta
    proxy: Proxy | None = None


THREADS = PluginConfig("executor", "threads")
"""What carries out work where nothing else is named."""


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """The server's own places. `store` is absolute; `state` is an SQLAlchemy URL without its password.

    `families` are the address families that it speaks; empty: they are found out. `content` is where several machines
    have the store's content; None: in the store's folder. `executor` carries out work on clients of groups that are at
    no site; `proxy` leads to it, where it is elsewhere.
    """

    store: Path
    state: str
    state_password: SecretRef | None = None
    families: tuple[Family, ...] = ()
    content: ContentSpec | None = None
    executor: PluginConfig = THREADS
    proxy: Proxy | None = None


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """A place that releases come from; `components` limits what it may serve (None: everything).

    `remote` says that asking it means connecting to a host (`host`, where it is known), `signed` that it proves what it
    says with signatures of keys that the spec trusts, `vouches` that it does so for some of its releases.
    `absent_is_error`: a run in which it can't be read ends with an error. `may_outrank` lets a source that isn't signed
    offer higher versions than signed ones.
    """

    name: str
    plugin: PluginConfig
    components: frozenset[str] | None = None
    stale_after: timedelta | None = None
    proxy: Proxy | None = None
    remote: bool = False
    host: str = ""
    signed: bool = False
    vouches: bool = False
    absent_is_error: bool = False
    may_be_absent: bool = False
    may_outrank: bool = False

    def may_serve(self, component: str) -> bool:
        """Say whether the spec lets it serve a component."""
        return self.components is None or component in self.components


@dataclass(frozen=True, slots=True)
class ComponentSpec:
    """What is wanted of a managed component. `version` is `latest` or an exact version: a pin.

    `behind` counts the releases by which `latest` is followed, `min_age` is how old a release must be, and of
    `snapshot` only what was out at the end of that day (UTC) counts. `blocked` gives the reasons by the versions that
    nobody may run. `duplicate` says whether incrementals are made of it, `codec` with which codec (empty: with the one
    that pays). `named`: the spec lists it by its name, and didn't only take all of the catalogs. `loaded` asks running
    engines which version they have loaded; None: nobody asks.
    """

    component: Component
    version: str = LATEST
    _: KW_ONLY
    layout: Layout = Layout()
    duplicate: bool = False
    codec: str = ""
    behind: int = 0
    min_age: timedelta | None = None
    snapshot: date | None = None
    blocked: Mapping[str, str] = field(default_factory=dict)
    hooks: Hooks = Hooks()
    named: bool = True
    loaded: Question | None = None


CheckPlace = Literal["client", "server"]


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """What must hold of a version: before clients switch to it (`staged`) or after (`switched`).

    `component` is the one that it is for; empty: all. It runs on each `client`, or here (`server`): then a staged one
    once for each release, a switched one for each client. `plugin` is of the kind check. `timeout` and `interval` are
    seconds; `retries` are tries after the first.
    """

    name: str
    plugin: PluginConfig
    component: str = ""
    phase: CheckPhase = "staged"
    where: CheckPlace = "client"
    timeout: float = 60.0
    retries: int = 0
    interval: float = 5.0


SettingMethod = Literal["rename", "copy"]


@dataclass(frozen=True, slots=True)
class SettingSpec:
    """A file on clients that is made from a template (absolute here) and put at `path` (absolute there).

    Empty owner, group and mode leave what the client's user and umask give. `validate` is a text for sh with `%s` for
    the file that is to be; `hook` runs when the file changed. `secrets` are those that the template reads, by the name
    that it has for them. `method` is one of those of InstallTarget, but for `link`.
    """

    template: Path
    path: str
    owner: str = ""
    group: str = ""
    mode: str = ""
    validate: str = ""
    hook: Hook | None = None
    method: SettingMethod = "rename"
    secrets: Mapping[str, SecretRef] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Clients that failed so many times in a row are left alone for that long; 0: none ever is."""

    after_failures: int = 0
    span: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class InventorySpec:
    """Where a group's clients are listed, and what the list must look like to be believed.

    `max_shrink` is a share (0.05) of the clients known before, or an absolute number of them as an int.
    """

    plugin: PluginConfig
    select: str = ""
    labels_from: tuple[str, ...] = ()
    min_clients: int = 1
    max_shrink: float | int | None = None


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """Machines that share transport, policy and scan method. `clients` are the ones written in the YAML itself.

    `families` are what its clients speak where nothing else tells. `local`: they are folders of this machine. `jump`
    names the host that the way to them leads over first, if one does, and `hops` all of them as known_hosts does.
    `key_files` are the private keys that its transport names as files, as absolute paths. `port` and `user` are those
    of clients that name none of their own, where the transport has any. `become`: it becomes root on clients (None: it
    doesn't say). `speaks` is what inventories call its transport, where that isn't its name.
    """

    name: str
    transport: PluginConfig
    install_root: str
    scan_method: ScanMethod | None = None
    labels: tuple[str, ...] = ()
    clients: tuple[Client, ...] = ()
    inventory: InventorySpec | None = None
    families: tuple[Family, ...] = ()
    proxy: Proxy | None = None
    jump: str = ""
    local: bool = False
    key_files: tuple[str, ...] = ()
    checks: tuple[CheckSpec, ...] = ()
    settings: tuple[SettingSpec, ...] = ()
    port: int | None = None
    user: str = ""
    hops: tuple[str, ...] = ()
    become: bool | None = None
    speaks: str = ""

    def place(self, client: Client) -> tuple[object, ...]:
        """Give what tells where a client's files are: two clients of one place would be one folder."""
        if self.local:
            return self.transport.name, client.install_root
        address = (client.address or client.name).rstrip(".").lower()
        parsed = parse_address(address) if ":" in address else None
        way = self.speaks or self.transport.name, self.jump, self.proxy.name if self.proxy else ""
        return *way, str(parsed or address), client.port or self.port, client.user or self.user, client.install_root


@dataclass(frozen=True, slots=True)
class SiteSpec:
    """A place whose clients are worked on from there: the groups that it has, and what carries work out.

    `proxy` leads to what carries it out, where there is one on the way. `forks` is how many of its clients are worked
    on at a time, at most; 0: as many as those who work there take.
    """

    name: str
    groups: tuple[str, ...]
    executor: PluginConfig
    proxy: Proxy | None = None
    forks: int = field(default=0, kw_only=True)


PublishWhen = Literal["after_rollout", "downloaded", "manual"]
PUBLISH_WHEN: tuple[PublishWhen, ...] = get_args(PublishWhen)
ROLES = ("root", "targets", "snapshot", "timestamp")
"""The roles of a signed repository (TUF)."""


@dataclass(frozen=True, slots=True)
class RepositorySpec:
    """The signed repository that is published for other sites.

    `path` is absolute. `root_keys` are places of public keys, of which `threshold` must sign; `online_key` is the place
    of the private key that signs all else. `expires` has the lifetime of each role's signatures. `publish` is one of
    PUBLISH_WHEN. `components` are those that it has; None: all.
    """

    path: Path
    publish: PublishWhen
    root_keys: tuple[SecretRef, ...]
    threshold: int
    online_key: SecretRef
    expires: Mapping[str, timedelta]
    withdrawn: tuple[Withdrawal, ...] = ()
    components: frozenset[str] | None = None

    def has(self, component: str) -> bool:
        """Say whether it is to have a component."""
        return self.components is None or component in self.components


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorSpec:
    """A folder of releases for programs that know nothing of updoser, laid out by a plugin of the kind layout.

    `path` is absolute. `publish` is one of PUBLISH_WHEN. `components` are those that it has (None: all), and versions
    that are `withdrawn` vanish from it.
    """

    name: str
    plugin: PluginConfig
    path: Path
    publish: PublishWhen
    components: frozenset[str] | None = None
    withdrawn: tuple[Withdrawal, ...] = ()

    def has(self, component: str) -> bool:
        """Say whether it is to have a component."""
        return self.components is None or component in self.components


@dataclass(frozen=True, slots=True)
class Hold:
    """Clients that are left alone up to and including a day (None: until the entry is removed)."""

    clients: str
    reason: str
    until: date | None = None

    def applies(self, day: date) -> bool:
        """Say whether it is in force on a day."""
        return self.until is None or day <= self.until

    @property
    def over(self) -> datetime | None:
        """When it is over, in UTC; None: never."""
        if self.until is None or self.until == date.max:
            return None
        return datetime.combine(self.until + timedelta(days=1), time(), UTC)

    @property
    def text(self) -> str:
        """The hold as the reason for which a client is left alone."""
        until = f" until {self.until.isoformat()}" if self.until else ""
        return f"hold{until}: {self.reason}"


def passes_on(component: str, repository: RepositorySpec | None, mirrors: Iterable[MirrorSpec]) -> bool:
    """Say whether what is attached to releases of a component is wanted: others get it from here."""
    return (repository is not None and repository.has(component)) or any(mirror.has(component) for mirror in mirrors)


@dataclass(frozen=True, slots=True)
class Spec:
    """The whole desired state.

    `path` is the file that was named, `base` the folder that relative paths of what is read with it start from: files
    that it is made of, programs. `home` is where all start that are written or of this machine; it differs where the
    file is of a `commit` that was unpacked, which `signer` signed. `digest` covers everything that
    decides what is done: the effective values after `extends`, `vars` and `-e`, without comments and layout.
    `effective` is the same as plain data, for showing and for comparing with what was applied last. `policies` has the
    auto-update policy of each (group, component). `variables` are `vars` with those of `-e` on top, for templates of
    settings. `secret_variables` are those of the environment that hold secrets: no program gets them. `tree` is the
    folder of the commit, where the file is of one.
    """

    path: Path
    base: Path
    home: Path
    digest: str
    server: ServerSpec
    catalog: Catalog
    sources: tuple[SourceSpec, ...]
    components: Mapping[str, ComponentSpec]
    groups: Mapping[str, GroupSpec]
    plugin_folders: tuple[Path, ...] = ()
    holds: tuple[Hold, ...] = ()
    client_keep: int = 2
    duplication: Duplication = Duplication()
    repository: RepositorySpec | None = None
    mirrors: tuple[MirrorSpec, ...] = ()
    policies: Mapping[tuple[str, str], AutoUpdate] = field(default_factory=dict)
    quarantine: Quarantine = Quarantine()
    controller: ControllerSpec = field(default_factory=ControllerSpec)
    console: ConsoleSpec | None = None
    notify: tuple[NotifierSpec, ...] = ()
    relays: Mapping[str, RelaySpec] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)
    effective: Mapping[str, Any] = field(default_factory=dict)
    secret_variables: frozenset[str] = frozenset()
    commit: str = ""
    signer: str = ""
    tree: Path | None = None
    sites: Mapping[str, SiteSpec] = field(default_factory=dict)

    def site_of(self, group: str) -> str:
        """Name the site that a group is of; empty where it is of none, and worked on as the server says."""
        return next((site.name for site in self.sites.values() if group in site.groups), "")

    def start_of(self, secret: SecretRef) -> Path:
        """Give the folder that a secret is read from: programs are of the spec, files of this machine."""
        return self.home if secret.kind == "file" else self.base

    def passes_on(self, component: str) -> bool:
        """Say whether what is attached to releases of a component is wanted; see `passes_on`."""
        return passes_on(component, self.repository, self.mirrors)

    def questions(self, group: str) -> dict[str, Question]:
        """Give what engines of a group's clients are asked in a look, by component."""
        method = self.groups[group].scan_method
        asked = {name: spec.loaded for name, spec in self.components.items() if spec.component.for_scan_method(method)}
        return {name: question for name, question in asked.items() if question is not None}

    def public(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Give what programs may get of an environment: without the variables that hold secrets."""
        return {name: value for name, value in environ.items() if name not in self.secret_variables}
