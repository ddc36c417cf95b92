"""What is asked of a client in one exchange, and what it answers: layouts, checks, hooks, steps, outcomes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, get_args

from reconciler.model.fingerprint import parts
from reconciler.model.release import ReleaseFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.question import Question
    from reconciler.reasons import Reason


InstallMethod = Literal["rename", "copy", "link"]


@dataclass(frozen=True, slots=True)
class InstallTarget:
    """Where files of a release must end up, beside `<install_root>/<component>/current`.

    `files` is a glob over the release's file names, `to` an absolute folder that exists. Methods: `rename` writes
    beside and renames over; `copy` writes into the existing file (for daemons that hold its inode); `link` makes a
    symbolic link to `current/<file>`. Empty owner, group and mode leave what the script's umask and user give.
    """

    files: str
    to: str
    method: InstallMethod = "rename"
    owner: str = ""
    group: str = ""
    mode: str = ""


Unmanaged = Literal["keep", "report"]
SelinuxLabels = Literal["none", "restore"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything beside the content that a switch of one component carries out."""

    targets: tuple[InstallTarget, ...] = ()
    replaces: tuple[str, ...] = ()
    unmanaged: Unmanaged = "keep"
    selinux: SelinuxLabels = "none"

    @property
    def fingerprint(self) -> str:
        """Equal for equal layouts, in every process; a client remembers it in its manifest."""
        return _fingerprint(self)


_TARGET = ("files", "to", "method", "owner", "group", "mode")
_LAYOUT = ("targets", "replaces", "unmanaged", "selinux")


@lru_cache(maxsize=10_000)
def _fingerprint(layout: Layout) -> str:
    data = parts(layout, _LAYOUT)
    data["targets"] = [parts(target, _TARGET) for target in layout.targets]
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


CheckPhase = Literal["staged", "switched"]
PHASES: tuple[CheckPhase, ...] = get_args(CheckPhase)


@dataclass(frozen=True, slots=True)
class ClientCheck:
    """A command that says on the client whether a version is good: before the switch (`staged`) or after (`switched`).

    `run` is a text for sh; it is good when it exits with `expect`. `timeout` and `interval` are seconds; `retries` are
    tries after the first.
    """

    name: str
    phase: CheckPhase
    run: str
    _: KW_ONLY
    expect: int = 0
    timeout: float = 60.0
    retries: int = 0
    interval: float = 5.0


OnHookFailure = Literal["rollback", "keep"]


@dataclass(frozen=True, slots=True)
class Hook:
    """A command around a switch; `run` is a text for sh, `timeout` seconds.

    `on_failure`: `rollback` takes the switch back, `keep` leaves it and the outcome says so.
    """

    run: str
    timeout: float = 60.0
    on_failure: OnHookFailure = "rollback"


@dataclass(frozen=True, slots=True)
class Hooks:
    """What is run before a switch, after it, and at the end whatever happened."""

    before: Hook | None = None
    after: Hook | None = None
    always: Hook | None = None


@dataclass(frozen=True, slots=True)
class PatchHop:
    """One patch on the way from a file of FROM to one of TO: its own size and digest, and the size of its result."""

    codec: str
    size: int
    sha256: str
    result: int


@dataclass(frozen=True, slots=True)
class Patched:
    """How a client makes a file: `hops` one after the other, from the file `base` of FROM (empty: from nothing)."""

    base: str
    hops: tuple[PatchHop, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One component of a deploy request.

    The client carries it out only when it has `from_version` with `from_digest` (both empty: nothing of the component);
    else it answers `stale`. `files` are all files of the release TO. Those in `kept` aren't sent: the client copies
    them from the file of FROM that is named there, which must have the same digest. Of those in `patched` only the
    patches are sent; when one can't be applied, the client answers `unpatched`. With `held` all files of TO lie on the
    client as a version that was kept or sent early: nothing is sent, they are hashed again, and when they aren't what
    they should be the client answers `unpatched`, too. What is `private` lies below install_root where only its owner
    can read it. With a `question`, who switched says what its engine has loaded then.
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
    question: Question | None = None

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
class FromRelay:
    """What of a request the client fetches: `parts` are digests of payload, which lie below each of `urls`.

    The script that a client runs may be one of the parts, for who hasn't got it. All hosts are asked in their order,
    and again for `wait` seconds. One that is silent for `patience` seconds, or slow, is given up.
    """

    urls: tuple[str, ...]
    parts: frozenset[str]
    wait: float = 0.0
    patience: float = 60.0


Purpose = Literal["switch", "stage", "check"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployRequest:
    """All that one client is to change in one exchange. `keep` counts the versions that stay, the new one included.

    `purpose`: `switch`; `stage`, which receives, verifies and runs staged checks, and leaves the version ready without
    switching; or `check`, which changes nothing and runs the switched checks of the versions in force. `vars` are given
    to checks and hooks, as `UPDOSER_VAR_` and the name in capitals. What comes from a `relay` isn't sent; of what is
    private nothing ever does.
    """

    lineage: str
    epoch: int
    install_root: str
    keep: int
    steps: tuple[Step, ...]
    purpose: Purpose = "switch"
    vars: Mapping[str, str] = field(default_factory=dict)
    relay: FromRelay | None = None


ClientStatus = Literal["changed", "ok", "stale", "unpatched", "unfetched", "staged", "failed"]
OUTCOMES: tuple[ClientStatus, ...] = get_args(ClientStatus)
OutcomeStatus = Literal[ClientStatus, "skipped"]
WELL: frozenset[OutcomeStatus] = frozenset(["changed", "ok"])
"""Of a client that has TO."""
SENT: frozenset[OutcomeStatus] = frozenset(["changed", "staged"])
"""Of a client that received what is new to it."""
MISSED: frozenset[OutcomeStatus] = frozenset(["stale", "skipped"])
"""Of a client that had neither FROM nor TO."""
Fault = Literal["release", "machine", "contention"]
RELEASE: Final = "release"
MACHINE: Final = "machine"
CONTENTION: Final = "contention"


FAULTS: Mapping[str, Fault] = {
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
_REASONS: Mapping[str, Reason] = {
    "check": "check",
    "hook": "hook",
    "bytes": "bytes",
    "disk": "disk",
    "unwritable": "folder",
    "unreadable": "folder",
    "insecure": "folder",
    "damaged": "damaged",
    "protocol": "protocol",
    "cut": "connection",
    "tools": "tools",
    "locked": "busy",
}


def reason_by_code(code: str) -> Reason:
    """Give the reason under which a failure is counted that a client gave this code."""
    return _REASONS.get(code, "client")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one step.

    `status` is one of OUTCOMES: `changed` (TO is switched to), `ok` (it was there already), `stale` (the client has
    neither FROM nor TO: `version` and `digest` say what; nothing was touched), `unpatched` (a patch could not be
    applied or gave other bytes: nothing was touched), `unfetched` (no relay gave what was to be fetched: nothing was
    touched), `staged` (TO lies ready, and passed its staged checks), `failed`
    (`message` says why, `fault` what that is about, `reason` what it is counted under; the client has what it had
    before: `version` and `digest`). A run that leaves a stale client as it is says `skipped`; no client does. `loaded`
    and `unsaid` are those of `Installed`, where a client that switched was asked.
    """

    component: str
    status: OutcomeStatus
    version: str = ""
    digest: str = ""
    message: str = ""
    fault: Fault = RELEASE
    reason: Reason = "client"
    loaded: str = ""
    unsaid: str = ""


@dataclass(frozen=True, slots=True)
class DeployReport:
    """The outcomes of a request, one for each step and in its order, and the payload bytes that were sent."""

    outcomes: tuple[Outcome, ...]
    bytes_sent: int
