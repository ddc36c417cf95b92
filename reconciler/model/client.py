"""Clients, what they have, and what is asked of and answered by them in one exchange."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from reconciler.model.release import ANY_PLATFORM, ReleaseFile

if TYPE_CHECKING:
    from collections.abc import Mapping


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
    port: int | None = None
    user: str | None = None
    labels: tuple[str, ...] = ()
    install_root: str = ""
    vars: Mapping[str, str] = field(default_factory=dict)
    families: tuple[str, ...] = ()


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
    that lie there whole, each with its digest: the ones before, and one that was sent early.
    """

    component: str
    version: str
    digest: str
    previous: str = ""
    layout: str = ""
    damage: str = ""
    kept: tuple[tuple[str, str], ...] = ()


_INSTALLED_FIELDS = tuple(entry.name for entry in fields(Installed))


@dataclass(frozen=True)
class Profile:
    """What one client has: the unit in which a fleet is compared. Clients with equal profiles share a cohort.

    `installed` is sorted by component. `lineage` and `epoch` name the controller that last changed the client; they are
    empty and 0 on a client that updoser never changed. `tools` are the commands that matter for the choice of codecs,
    `memory` is the client's in MiB, rounded down to a power of 2 so that alike machines stay alike (0: not known).
    """

    platform: str = ANY_PLATFORM
    installed: tuple[Installed, ...] = ()
    tools: tuple[str, ...] = ()
    lineage: str = ""
    epoch: int = 0
    selinux: bool = False
    unmanaged: tuple[str, ...] = ()
    memory: int = 0

    @cached_property
    def by_component(self) -> dict[str, Installed]:
        """What is installed, by component."""
        return {entry.component: entry for entry in self.installed}

    def to_json(self) -> str:
        """Give the canonical JSON form, from which `from_json` makes an equal profile."""
        data = {
            "platform": self.platform,
            "installed": [{name: getattr(entry, name) for name in _INSTALLED_FIELDS} for entry in self.installed],
            "tools": self.tools,
            "lineage": self.lineage,
            "epoch": self.epoch,
            "selinux": self.selinux,
            "unmanaged": self.unmanaged,
            "memory": self.memory,
        }
        return json.dumps(data, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str, fingerprint: str = "") -> Profile:
        """Read what `to_json` gave; its fingerprint, where that is known, isn't worked out again."""
        data: dict[str, Any] = json.loads(text)
        for entry in data["installed"]:
            entry["kept"] = tuple((version, digest) for version, digest in entry.get("kept", ()))
        data["installed"] = tuple(Installed(**entry) for entry in data["installed"])
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


@dataclass(frozen=True, slots=True)
class Facts:
    """The answer of a client to one look: its profile and what doesn't belong into it because it always changes.

    `free` is the room below the install root in bytes. `seconds` is what the shell needed, without the network. `user`
    is the number of the user who looked, `apparmor` whether the kernel enforces it. `lacks` names what a change asks of
    tools and those of the client can't do, if that was tried. `machine` is equal for two clients that are one folder of
    one machine, as long as that runs; empty: not known. `unmade` is what can't be made of the install root and a folder
    in it, if that was tried.
    """

    profile: Profile
    free: int
    seconds: float = 0.0
    user: int = 0
    apparmor: bool = False
    lacks: tuple[str, ...] = ()
    machine: str = ""
    unmade: str = ""


@dataclass(frozen=True, slots=True)
class InstallTarget:
    """Where files of a release must end up, beside `<install_root>/<component>/current`.

    `files` is a glob over the release's file names, `to` an absolute folder that exists. Methods: `rename` writes
    beside and renames over; `copy` writes into the existing file (for daemons that hold its inode); `link` makes a
    symbolic link to `current/<file>`. Empty owner, group and mode leave what the script's umask and user give.
    """

    files: str
    to: str
    method: str = "rename"
    owner: str = ""
    group: str = ""
    mode: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything beside the content that a switch of one component carries out."""

    targets: tuple[InstallTarget, ...] = ()
    replaces: tuple[str, ...] = ()
    unmanaged: str = "keep"
    selinux: str = "none"

    @property
    def fingerprint(self) -> str:
        """Equal for equal layouts, in every process; a client remembers it in its manifest."""
        return _fingerprint(self)


@lru_cache(maxsize=10_000)
def _fingerprint(layout: Layout) -> str:
    return hashlib.sha256(json.dumps(asdict(layout), sort_keys=True).encode()).hexdigest()[:16]


PHASES = ("staged", "switched")


@dataclass(frozen=True, slots=True)
class ClientCheck:
    """A command that says on the client whether a version is good: before the switch (`staged`) or after (`switched`).

    `run` is a text for sh; it is good when it exits with `expect`. `timeout` and `interval` are seconds; `retries` are
    tries after the first.
    """

    name: str
    phase: str
    run: str
    expect: int = 0
    timeout: float = 60.0
    retries: int = 0
    interval: float = 5.0


@dataclass(frozen=True, slots=True)
class Hook:
    """A command around a switch; `run` is a text for sh, `timeout` seconds.

    `on_failure`: `rollback` takes the switch back, `keep` leaves it and the outcome says so.
    """

    run: str
    timeout: float = 60.0
    on_failure: str = "rollback"


@dataclass(frozen=True, slots=True)
class Hooks:
    """What is run before a switch, after it, and at the end whatever happened."""

    before: Hook | None = None
    after: Hook | None = None
    always: Hook | None = None


@dataclass(frozen=True, slots=True)
class Hop:
    """One patch on the way from a file of FROM to one of TO: its own size and digest, and the size of its result."""

    codec: str
    size: int
    sha256: str
    result: int


@dataclass(frozen=True, slots=True)
class Patched:
    """How a client makes a file: `hops` one after the other, from the file `base` of FROM (empty: from nothing)."""

    base: str
    hops: tuple[Hop, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One component of a deploy request.

    The client carries it out only when it has `from_version` with `from_digest` (both empty: nothing of the component);
    else it answers `stale`. `files` are all files of the release TO. Those in `kept` aren't sent: the client copies
    them from the file of FROM that is named there, which must have the same digest. Of those in `patched` only the
    patches are sent; when one can't be applied, the client answers `unpatched`. With `held` all files of TO lie on the
    client as a version that was kept or sent early: nothing is sent, they are hashed again, and when they aren't what
    they should be the client answers `unpatched`, too. What is `private` lies below install_root where only its owner
    can read it.
    """

    component: str
    from_version: str
    from_digest: str
    to_version: str
    to_digest: str
    files: tuple[ReleaseFile, ...]
    kept: Mapping[str, str] = field(default_factory=dict)
    layout: Layout = Layout()
    patched: Mapping[str, Patched] = field(default_factory=dict)
    held: bool = False
    checks: tuple[ClientCheck, ...] = ()
    hooks: Hooks = Hooks()
    private: bool = False

    @property
    def payload(self) -> tuple[ReleaseFile, ...]:
        """What is sent, in the order in which it is sent: files that are neither kept nor patched, and patches."""
        if self.held:
            return ()
        return tuple(part for file in self.files if file.name not in self.kept for part in self._parts(file))

    def _parts(self, file: ReleaseFile) -> tuple[ReleaseFile, ...]:
        patched = self.patched.get(file.name)
        if patched is None:
            return (file,)
        return tuple(ReleaseFile(file.name, hop.size, hop.sha256) for hop in patched.hops)

    @property
    def full(self) -> Step:
        """The same step without any patch: the fallback when one can't be applied."""
        return replace(self, patched={}, held=False)


@dataclass(frozen=True, slots=True)
class DeployRequest:
    """All that one client is to change in one exchange. `keep` counts the versions that stay, the new one included.

    `purpose`: `switch`; `stage`, which receives, verifies and runs staged checks, and leaves the version ready without
    switching; or `check`, which changes nothing and runs the switched checks of the versions in force. `vars` are given
    to checks and hooks, as `UPDOSER_VAR_` and the name in capitals.
    """

    lineage: str
    epoch: int
    install_root: str
    keep: int
    steps: tuple[Step, ...]
    purpose: str = "switch"
    vars: Mapping[str, str] = field(default_factory=dict)


OUTCOMES = ("changed", "ok", "stale", "unpatched", "staged", "failed")

RELEASE, MACHINE, CONTENTION = "release", "machine", "contention"
FAULTS = {
    "check": RELEASE,
    "hook": RELEASE,
    "bytes": RELEASE,
    "disk": MACHINE,
    "unwritable": MACHINE,
    "unreadable": MACHINE,
    "insecure": MACHINE,
    "damaged": MACHINE,
    "protocol": MACHINE,
    "cut": MACHINE,
    "tools": MACHINE,
    "locked": CONTENTION,
}
"""What a failure is about, by the code that a client gives it. Only a fault of the release says something about it and
counts against it; a lost connection, and whatever else ends a request as a whole, is one of the machine or its way."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one step.

    `status` is one of OUTCOMES: `changed` (TO is switched to), `ok` (it was there already), `stale` (the client has
    neither FROM nor TO: `version` and `digest` say what; nothing was touched), `unpatched` (a patch could not be
    applied or gave other bytes: nothing was touched), `staged` (TO lies ready, and passed its staged checks), `failed`
    (`message` says why, `fault` what that is about; the client has what it had before: `version` and `digest`).
    """

    component: str
    status: str
    version: str = ""
    digest: str = ""
    message: str = ""
    fault: str = RELEASE


@dataclass(frozen=True, slots=True)
class DeployReport:
    """The outcomes of a request, one for each step and in its order, and the payload bytes that were sent."""

    outcomes: tuple[Outcome, ...]
    bytes_sent: int
