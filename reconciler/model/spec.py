"""The desired state, checked and resolved: what `spec` builds and everything else reads.

Values are in force as they stand here: `extends`, `vars`, `defaults` and `"*"` are resolved. Secrets stay references.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.model.client import Layout
from reconciler.model.delta import Duplication

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, timedelta
    from pathlib import Path

    from reconciler.model.client import Client
    from reconciler.model.release import Catalog, Component

LATEST = "latest"


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret is, never what it is: an environment variable, a file, or the output of a program."""

    kind: str
    """`env`, `file` or `command`."""
    value: str | tuple[str, ...]

    def __str__(self) -> str:
        shown = self.value if isinstance(self.value, str) else " ".join(self.value)
        return f"{{{self.kind}: {shown}}}"


@dataclass(frozen=True, slots=True)
class PluginConfig:
    """A plugin by kind and name, with its options as plain data in which secrets are SecretRef."""

    kind: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """The server's own places. `store` is absolute; `state` is an SQLAlchemy URL without its password."""

    store: Path
    state: str
    state_password: SecretRef | None = None


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """A place that releases come from; `components` limits what it may serve (None: everything)."""

    name: str
    plugin: PluginConfig
    components: frozenset[str] | None = None
    stale_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class ComponentSpec:
    """What is wanted of a managed component. `version` is `latest` or an exact version: a pin.

    `duplicate` says whether incrementals are made of it, `codec` with which codec (empty: with the one that pays).
    """

    component: Component
    version: str = LATEST
    layout: Layout = Layout()
    duplicate: bool = False
    codec: str = ""


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
    """Machines that share transport, policy and scan method. `clients` are the ones written in the YAML itself."""

    name: str
    transport: PluginConfig
    install_root: str
    scan_method: str | None = None
    labels: tuple[str, ...] = ()
    clients: tuple[Client, ...] = ()
    inventory: InventorySpec | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """Clients that are left alone up to and including a day (None: until the entry is removed)."""

    clients: str
    reason: str
    until: date | None = None


@dataclass(frozen=True, slots=True)
class Spec:
    """The whole desired state.

    `path` is the file that was named, `base` the folder that relative paths start from. `digest` covers everything that
    decides what is done: the effective values after `extends`, `vars` and `-e`, without comments and layout.
    `effective` is the same as plain data, for showing and for comparing with what was applied last.
    """

    path: Path
    base: Path
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
    effective: Mapping[str, Any] = field(default_factory=dict)
