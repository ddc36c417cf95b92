"""Fakes of updoser's own contracts, in memory: they hold what the real ones promise, count calls and inject faults.

    FakeSource     releases that a test gives, whole or damaged on the way
    FakeInventory  entries that a test gives
    FakeClient     a machine: what it has, who controls it, and what goes wrong with it
    FakeTransport  reaches FakeClients by their name

Each passes the contract suite of its kind in tests/contracts, beside the real ones.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO, cast

from reconciler.contracts import Context
from reconciler.errors import (
    AuthenticationError,
    ClientError,
    OtherControllerError,
    PatchError,
    ProtocolError,
    SecretError,
    SourceError,
    TransportError,
)
from reconciler.model.client import DeployReport, Facts, Installed, Outcome, Profile
from reconciler.model.release import (
    ANY_PLATFORM,
    Component,
    Release,
    ReleaseFile,
    SourceReport,
    content_digest,
)
from reconciler.model.version import SCHEMES
from reconciler.network.dial import Dialer
from reconciler.plugins.codec.bsdiff import Bsdiff
from reconciler.plugins.codec.gzip import Gzip
from reconciler.plugins.codec.zstd import Zstd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path
    from threading import Event

    from reconciler.contracts import Codec, ShellFactory
    from reconciler.errors import InventoryError
    from reconciler.model.client import Client, DeployRequest, InventoryEntry, Step
    from reconciler.model.delta import Incremental, Patch
    from reconciler.model.network import Proxy
    from reconciler.model.spec import SecretRef

_CONTEXT = cast("Context", None)  # codecs need nothing from outside
CODECS: dict[str, Codec] = {"zstd": Zstd({}, _CONTEXT), "bsdiff": Bsdiff({}, _CONTEXT), "gzip": Gzip({}, _CONTEXT)}
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def fake_context(
    base: Path,
    *,
    now: datetime = NOW,
    secrets: Mapping[str, str] | None = None,
    shell: ShellFactory | None = None,
    proxy: Proxy | None = None,
) -> Context:
    """Make what a plugin gets from outside: its work folder lies in `base`, secrets are found by their reference."""
    work = base / "work"
    work.mkdir(exist_ok=True)

    def secret(reference: SecretRef) -> str:
        try:
            return (secrets or {})[str(reference.value)]
        except KeyError as error:
            raise SecretError(f"there is no secret {reference}") from error

    def no_shell(*_args: object, **_options: object) -> None:
        raise AssertionError("this context has no shell")

    return Context(
        base=base,
        work=work,
        clock=lambda: now,
        secret=secret,
        log=logging.getLogger("tests"),
        shell=shell or no_shell,  # type: ignore[arg-type]
        dial=Dialer(secret),
        proxy=proxy,
    )


def make_component(id_: str, kind: str = "pattern", scheme: str = "integer", **fields: object) -> Component:
    """Make a component as a catalog would."""
    return Component(id_, id_.replace("-", " ").title(), kind, scheme=SCHEMES[scheme], **fields)  # type: ignore[arg-type]


def make_release(
    component: str, version: str, files: Mapping[str, bytes], platform: str = ANY_PLATFORM, **fields: object
) -> Release:
    """Make a release from the content of its files."""
    described = tuple(sorted(describe(name, content) for name, content in files.items()))
    return Release(component, version, platform, described, **fields)  # type: ignore[arg-type]


def describe(name: str, content: bytes) -> ReleaseFile:
    """Give name, size and digest of a content."""
    return ReleaseFile(name, len(content), hashlib.sha256(content).hexdigest())


class FakeSource:
    """A source whose releases a test adds.

    `error` is raised by `releases`. A file whose name is in `damaged` comes with one bit turned over, `lost` ones can't
    be opened. `calls` counts `releases` and `open`.
    """

    def __init__(self, name: str = "fake") -> None:
        self.name = name
        self.problems: tuple[str, ...] = ()
        self.error: Exception | None = None
        self.damaged: set[str] = set()
        self.lost: set[str] = set()
        self.calls: Counter[str] = Counter()
        self._releases: dict[Release, Mapping[str, bytes]] = {}
        self._incrementals: dict[Incremental, Mapping[str, bytes]] = {}

    def add_incremental(self, incremental: Incremental, patches: Mapping[str, bytes]) -> None:
        """Add an incremental with the content of its patches, by the names of the files that they make."""
        self._incrementals[incremental] = dict(patches)

    def add(
        self, component: str, version: str, files: Mapping[str, bytes], platform: str = ANY_PLATFORM, **fields: object
    ) -> Release:
        """Add a release and give it."""
        release = make_release(component, version, files, platform, **fields)
        self._releases[release] = dict(files)
        return release

    def remove(self, release: Release) -> None:
        """Take a release away, as a vendor does that withdraws one."""
        del self._releases[release]

    def releases(self, components: Mapping[str, Component]) -> SourceReport:
        """List the releases of these components."""
        self.calls["releases"] += 1
        if self.error is not None:
            raise self.error
        offered = tuple(release for release in self._releases if release.component in components)
        incrementals = tuple(entry for entry in self._incrementals if entry.component in components)
        return SourceReport(self.name, offered, self.problems, incrementals=incrementals)

    @contextmanager
    def open_patch(self, incremental: Incremental, patch: Patch) -> Iterator[BinaryIO]:
        """Open a patch of an incremental."""
        self.calls["open_patch"] += 1
        content = self._incrementals.get(incremental, {}).get(patch.name)
        if content is None or patch.name in self.lost:
            raise SourceError(f"{self.name} has no {incremental.name} of {incremental.component}")
        yield io.BytesIO(bytes([content[0] ^ 1]) + content[1:] if patch.name in self.damaged else content)

    @contextmanager
    def open(self, release: Release, file: ReleaseFile) -> Iterator[BinaryIO]:
        """Open a file of a release."""
        self.calls["open"] += 1
        content = self._releases.get(release, {}).get(file.name)
        if content is None or file.name in self.lost:
            raise SourceError(f"{self.name} has no {file.name} of {release.component} {release.version}")
        if file.name in self.damaged:
            content = bytes([content[0] ^ 1]) + content[1:] if content else b"\0"
        yield io.BytesIO(content)


class FakeInventory:
    """An inventory whose entries a test gives; `error` is raised in place of them."""

    def __init__(self, entries: Iterable[InventoryEntry] = ()) -> None:
        self.entries = list(entries)
        self.error: InventoryError | None = None
        self.calls = 0

    def clients(self) -> Iterator[InventoryEntry]:
        """List the entries."""
        self.calls += 1
        if self.error is not None:
            raise self.error
        yield from self.entries


@dataclass
class FakeComponent:
    """A component on a FakeClient: its versions, each with the content of its files, the oldest first.

    `promised` is the manifest. `damaged` names files whose bytes changed, and whether only hashing shows it.
    """

    current: str
    previous: str = ""
    layout: str = ""
    versions: dict[str, dict[str, bytes]] = field(default_factory=dict)
    promised: dict[str, tuple[ReleaseFile, ...]] = field(default_factory=dict)
    damaged: dict[str, bool] = field(default_factory=dict)

    def installed(self, id_: str, *, verify: bool) -> Installed:
        """Give what a look at the component tells."""
        seen = sorted(name for name, hidden in self.damaged.items() if verify or not hidden)
        if seen:
            damage = f"{seen[0]} changed"
            return Installed(id_, self.current, "", self.previous, self.layout, damage)
        digest = content_digest(self.promised[self.current])
        return Installed(id_, self.current, digest, self.previous, self.layout)


class FakeClient:
    """A machine as a session sees it. A test sets what goes wrong with it, and looks at `components` afterwards.

    `unreachable` and `refuses_login` make connecting fail, `sick` each request, `garbles` each answer. `broken` names
    components whose deploy fails; `dies_after` counts the steps after which the connection breaks. A `gate` is waited
    for before each answer, so that a test says who is slow.
    `calls` counts connections, facts, deploys and steps that changed something.
    """

    def __init__(
        self, platform: str = "linux-x86_64", *, free: int = 2**30, tools: tuple[str, ...] = (), memory: int = 0
    ) -> None:
        self.platform = platform
        self.memory = memory
        self.free = free
        self.tools = tools
        self.lineage = ""
        self.epoch = 0
        self.components: dict[str, FakeComponent] = {}
        self.unreachable = False
        self.refuses_login = False
        self.sick = False
        self.broken: set[str] = set()
        self.dies_after: int | None = None
        self.garbles = False
        self.gate: Event | None = None
        self.calls: Counter[str] = Counter()
        self.requests: list[DeployRequest] = []
        self.lock = Lock()

    def damage(self, component: str, name: str, content: bytes, *, hidden: bool = False) -> None:
        """Change a file of the current version behind updoser's back; `hidden` keeps its size and times."""
        there = self.components[component]
        there.versions[there.current][name] = content
        there.damaged[name] = hidden

    def version(self, component: str) -> str:
        """Give the version that is in force, or an empty text."""
        there = self.components.get(component)
        return there.current if there else ""

    def content(self, component: str) -> dict[str, bytes]:
        """Give the files that are in force."""
        there = self.components[component]
        return there.versions[there.current]

    def profile(self, *, verify: bool = False) -> Profile:
        """Give what a look at the client tells."""
        installed = tuple(there.installed(id_, verify=verify) for id_, there in sorted(self.components.items()))
        return Profile(self.platform, installed, self.tools, self.lineage, self.epoch, memory=self.memory)


class FakeTransport:
    """Reaches FakeClients by the names of their clients."""

    def __init__(self, clients: Mapping[str, FakeClient]) -> None:
        self.clients = clients

    @contextmanager
    def connect(self, client: Client) -> Iterator[FakeSession]:
        """Connect to a client."""
        machine = self.clients.get(client.name)
        if machine is None or machine.unreachable:
            raise TransportError(f"{client.name} can't be reached: connection refused")
        machine.calls["connect"] += 1
        if machine.refuses_login:
            raise AuthenticationError(f"{client.name} refused every key")
        yield FakeSession(client.name, machine)


class FakeSession:
    """The `Session` protocol over a FakeClient; one request at a time, as the lock of a real client holds it."""

    def __init__(self, name: str, machine: FakeClient) -> None:
        self._name = name
        self._machine = machine

    def facts(self, install_root: str, *, verify: bool = False) -> Facts:
        """Look at the client."""
        machine = self._machine
        machine.calls["facts"] += 1
        self._answer(install_root)
        return Facts(machine.profile(verify=verify), machine.free)

    def deploy(
        self, request: DeployRequest, content: Callable[[str], AbstractContextManager[BinaryIO]]
    ) -> DeployReport:
        """Carry out a request."""
        machine = self._machine
        machine.calls["deploy"] += 1
        machine.requests.append(request)
        self._answer(request.install_root)
        if not machine.lock.acquire(blocking=False):
            raise ClientError(f"{self._name}: another process is changing this client now")
        try:
            return self._deploy(request, content)
        finally:
            machine.lock.release()

    def _answer(self, install_root: str) -> None:
        """Fail as the client was told to, before it does anything."""
        machine = self._machine
        if machine.gate is not None:
            machine.gate.wait()
        if machine.unreachable:
            raise TransportError(f"{self._name}: the connection broke")
        if machine.sick:
            raise ClientError(f"{self._name}: {install_root} can't be written")
        if machine.garbles:
            raise ProtocolError(f"{self._name} gave a malformed answer")

    def _deploy(
        self, request: DeployRequest, content: Callable[[str], AbstractContextManager[BinaryIO]]
    ) -> DeployReport:
        machine = self._machine
        if machine.lineage and (machine.lineage != request.lineage or machine.epoch > request.epoch):
            raise OtherControllerError(f"{self._name} answers to another controller: {machine.lineage[:8]}")
        sent = {part.sha256: _receive(part, content) for step in request.steps for part in step.payload}
        machine.lineage, machine.epoch = request.lineage, request.epoch
        verdicts = [self._judge(step) for step in request.steps]
        due = [step for step, outcome in zip(request.steps, verdicts, strict=True) if outcome.status == "changed"]
        full = sum(file.size for step in due for file in step.files) > machine.free
        outcomes: list[Outcome] = []
        for step, verdict in zip(request.steps, verdicts, strict=True):
            if len(outcomes) == machine.dies_after:
                raise TransportError(f"{self._name}: the connection broke")
            outcomes.append(self._carry_out(step, sent, request.keep, full=full) if step in due else verdict)
        return DeployReport(tuple(outcomes), sum(file.size for step in request.steps for file in step.payload))

    def _judge(self, step: Step) -> Outcome:
        """Say what is to become of a step, with what the client has of the component now."""
        now = self._now(step)
        if (now.version, now.digest, now.layout) == (step.to_version, step.to_digest, step.layout.fingerprint):
            status = "ok"
        elif (now.version, now.digest) != (step.from_version, step.from_digest):
            status = "stale"
        else:
            status = "changed"
        return Outcome(step.component, status, now.version, now.digest)

    def _now(self, step: Step) -> Installed:
        there = self._machine.components.get(step.component)
        return there.installed(step.component, verify=False) if there else Installed(step.component, "", "")

    def _carry_out(self, step: Step, sent: Mapping[str, bytes], keep: int, *, full: bool) -> Outcome:
        machine, now = self._machine, self._now(step)
        old = machine.components[step.component].versions[now.version] if now.version else {}
        try:
            files = {file.name: self._make(step, file, old, sent) for file in step.files}
        except PatchError as error:
            return Outcome(step.component, "unpatched", now.version, now.digest, error.message)
        trouble = ""
        if full:
            trouble = "not enough disk"
        elif content_digest(describe(name, content) for name, content in files.items()) != step.to_digest:
            if step.patched:
                return Outcome(step.component, "unpatched", now.version, now.digest, "other bytes than announced")
            trouble = "the files aren't what the request promises"
        elif step.component in machine.broken:
            trouble = "a target can't be written"
        if trouble:
            return Outcome(step.component, "failed", now.version, now.digest, trouble)
        self._switch(step, files, keep)
        return Outcome(step.component, "changed", step.to_version, step.to_digest)

    def _make(self, step: Step, file: ReleaseFile, old: Mapping[str, bytes], sent: Mapping[str, bytes]) -> bytes:
        """Give the bytes of a file: kept, patched or sent."""
        if file.name in step.kept:
            return old.get(step.kept[file.name], b"")
        if file.name not in step.patched:
            return sent[file.sha256]
        patched = step.patched[file.name]
        content = old.get(patched.base, b"")
        for hop in patched.hops:
            codec = CODECS.get(hop.codec)
            if codec is None or codec.traits.tool not in {"gzip", *self._machine.tools}:
                raise PatchError(f"{self._name} can't apply {hop.codec}")
            content = b"".join(codec.apply(content, sent[hop.sha256], hop.result))
        return content

    def _switch(self, step: Step, files: dict[str, bytes], keep: int) -> None:
        self._machine.calls["changed"] += 1
        there = self._machine.components.setdefault(step.component, FakeComponent(""))
        if there.current != step.to_version:
            there.previous, there.current = there.current, step.to_version
        there.layout = step.layout.fingerprint
        there.damaged.clear()
        there.versions.pop(step.to_version, None)
        there.versions[step.to_version] = files
        there.promised[step.to_version] = step.files
        for version in list(there.versions)[:-keep]:
            del there.versions[version], there.promised[version]


def _receive(file: ReleaseFile, content: Callable[[str], AbstractContextManager[BinaryIO]]) -> bytes:
    with content(file.sha256) as stream:
        return stream.read()
