"""Clients: how they are named and reached, and what they have."""

from __future__ import annotations

import hashlib
import json
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from reconciler.model.fingerprint import parts
from reconciler.model.release import ANY_PLATFORM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.network import Family


@dataclass(frozen=True, slots=True)
class Client:
    """A machine of the fleet: how it is named, reached and selected.

    `address` is a host name or a literal address; `port` and `user` are None where the transport's own hold. `vars` are
    free values for templates and hooks: text, never code. `families` are the address families that it is known to
    speak; empty: its address tells.
    """

    name: str
    group: str
    address: str = ""
    _: KW_ONLY
    port: int | None = None
    user: str | None = None
    labels: tuple[str, ...] = ()
    install_root: str = ""
    vars: Mapping[str, str] = field(default_factory=dict)
    families: tuple[Family, ...] = ()


@dataclass(frozen=True, slots=True)
class Demands:
    """What an inventory says of the way to a client that the transport of its group must have, for it has it for all.

    `transport` is the name of one, `keys` are absolute paths of private keys, `jump` names the hosts on the way as
    known_hosts does, `become` says whether root is to be become. Empty, or None: nothing is said.
    """

    transport: str = ""
    keys: tuple[str, ...] = ()
    jump: tuple[str, ...] = ()
    become: bool | None = None


ANY = Demands()
MAX_INSTALLED = 10_000
"""How many components a client may say that it has."""
MAX_EPOCH = 10**9
"""The highest epoch that is believed: who takes clients over needs room above what they say."""


@dataclass(frozen=True, slots=True)
class InventoryEntry:
    """A client as an inventory lists it, before `select` and `labels_from`; `groups` are the inventory's own.

    `demands` are what its group's transport must have. `unfit` says why the client can't be reached as the inventory
    says; it then is refused where it is selected.
    """

    name: str
    address: str = ""
    _: KW_ONLY
    port: int | None = None
    user: str | None = None
    labels: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    vars: Mapping[str, str] = field(default_factory=dict)
    demands: Demands = ANY
    unfit: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Installed:
    """A component on a client.

    `digest` is the content digest of the files that are really there, or empty when they aren't what the client's
    manifest promises; `damage` then says what is wrong. `layout` is the fingerprint of the install targets that were
    last carried out. `previous` is the version that `current` pointed to before, or empty. `kept` are other versions
    that lie there whole, each with its digest: the ones before, and one that was sent early. `loaded` is the version
    that the running engine says it has loaded; where that was asked and isn't known, `unsaid` says why.
    """

    component: str
    version: str
    digest: str
    _: KW_ONLY
    previous: str = ""
    layout: str = ""
    damage: str = ""
    kept: tuple[tuple[str, str], ...] = ()
    loaded: str = ""
    unsaid: str = ""

    @property
    def decides(self) -> Decides:
        """What of it says what it counts as: all that is alike in this, and of one platform, is judged alike."""
        return self.version, self.digest, bool(self.damage), self.loaded, bool(self.unsaid)

    @classmethod
    def of(cls, component: str, decides: Decides) -> Installed:
        """Make one of what decides; the rest of it is empty."""
        version, digest, damaged, loaded, unsaid = decides
        damage, why = "damaged" if damaged else "", "its engine doesn't say" if unsaid else ""
        return cls(component, version, digest, damage=damage, loaded=loaded, unsaid=why)


Decides = tuple[str, str, bool, str, bool]
"""Version, digest, whether it is damaged, the version that is loaded, and whether that isn't known though asked."""


def switched(
    before: Installed | None, component: str, version: str, digest: str, *, layout: str, keep: int
) -> Installed:
    """Give what a client has of a component once it has switched to a version; the next look tells exactly.

    `layout` is the fingerprint of the install targets, `keep` how many versions stay on a client. What its engine has
    loaded is taken to be what it was.
    """
    same = before is not None and before.version == version
    kept: tuple[tuple[str, str], ...] = ()
    if before is not None and keep >= 2:
        kept = before.kept if same else ((before.version, before.digest),) if before.digest else ()
    previous = "" if before is None else before.previous if same else before.version
    loaded, unsaid = (before.loaded, before.unsaid) if before is not None else ("", "")
    return Installed(
        component, version, digest, previous=previous, layout=layout, kept=kept, loaded=loaded, unsaid=unsaid
    )


def made_ready(before: Installed, version: str, digest: str) -> Installed:
    """Give what a client has of a component once a version lies ready there, and isn't switched to."""
    return replace(before, kept=tuple(sorted({*before.kept, (version, digest)})))


_INSTALLED = ("component", "version", "digest", "previous", "layout", "damage", "kept")
_PROFILE = ("platform", "installed", "tools", "lineage", "epoch", "selinux", "unmanaged", "memory")


@dataclass(frozen=True)
class Profile:
    """What one client has: the unit in which a fleet is compared. Clients with equal profiles share a cohort.

    `installed` is sorted by component. `lineage` and `epoch` name the controller that last changed the client; they are
    empty and 0 on a client that updoser never changed. `tools` are the commands that matter for the choice of codecs,
    `memory` is the client's in MiB, rounded down to a power of 2 so that alike machines stay alike (0: not known).
    """

    platform: str = ANY_PLATFORM
    installed: tuple[Installed, ...] = ()
    _: KW_ONLY
    tools: tuple[str, ...] = ()
    lineage: str = ""
    epoch: int = 0
    selinux: bool = False
    unmanaged: tuple[str, ...] = ()
    memory: int = 0

    def is_foreign(self, lineage: str, epoch: int) -> bool:
        """Say whether its clients answer to another controller: of another lineage, or of a later epoch of this one."""
        return bool(self.lineage) and (self.lineage != lineage or self.epoch > epoch)

    @cached_property
    def by_component(self) -> dict[str, Installed]:
        """What is installed, by component."""
        return {entry.component: entry for entry in self.installed}

    def to_json(self) -> str:
        """Give the canonical JSON form, from which `from_json` makes an equal profile."""
        data = parts(self, _PROFILE)
        data["installed"] = [parts(entry, _INSTALLED) for entry in self.installed]
        return json.dumps(data, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str, fingerprint: str = "", shared: dict[Any, Installed] | None = None) -> Profile:
        """Read what `to_json` gave; its fingerprint, where that is known, isn't worked out again.

        What is installed in several profiles alike is made once for all that are read with the same `shared`.
        """
        data: dict[str, Any] = json.loads(text)
        known = {} if shared is None else shared
        data["installed"] = tuple(_read_installed(entry, known) for entry in data["installed"])
        data["tools"] = tuple(data["tools"])
        data["unmanaged"] = tuple(data["unmanaged"])
        profile = cls(**data)
        if fingerprint:
            profile.__dict__["fingerprint"] = fingerprint
        return profile

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of the canonical form: equal for equal profiles, in every process."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def _read_installed(entry: dict[str, Any], shared: dict[Any, Installed]) -> Installed:
    entry["kept"] = tuple((version, digest) for version, digest in entry.get("kept", ()))
    alike = tuple(entry), *entry.values()
    try:
        made = shared.get(alike)
    except TypeError:  # a value that is none of ours: who checks the profile says so
        return Installed(**entry)
    if made is None:
        made = shared[alike] = Installed(**entry)
    return made


@dataclass(frozen=True, slots=True)
class Facts:
    """The answer of a client to one look: its profile and what doesn't belong into it because it always changes.

    `free` is the room below the install root in bytes. `seconds` is what the shell needed, without the network. `user`
    is the number of the user who looked, `apparmor` whether the kernel enforces it. `lacks` names what a change asks of
    tools and those of the client can't do, if that was tried. `machine` is equal for two clients that are one folder of
    one machine, as long as that runs; empty: not known. `unmade` is what can't be made of the install root and a folder
    in it, if that was tried. `mark` is the client's, if it was asked for that (`model.mark`).
    """

    profile: Profile
    free: int
    seconds: float = 0.0
    user: int = 0
    apparmor: bool = False
    lacks: tuple[str, ...] = ()
    machine: str = ""
    unmade: str = ""
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Same:
    """The answer of a client that has the mark which it was asked for: all but the room is as it was."""

    free: int
