"""Fakes of updoser's own contracts, in memory: they hold what the real ones promise, count calls and inject faults.

    FakeSource     releases that a test gives, whole or damaged on the way
    FakeInventory  entries that a test gives
    FakeClient     a machine: what it has, who controls it, what goes wrong with it, and which commands it ran
    FakeTransport  reaches FakeClients by their name

Each passes the contract suite of its kind in tests/contracts, beside the real ones.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fnmatch import fnmatch
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast

from reconciler.client.protocol import MAX_CONTENT
from reconciler.client.requests import payload, read_request, variables
from reconciler.contracts import Context
from reconciler.errors import (
    AuthenticationError,
    BusyError,
    ClientError,
    OtherControllerError,
    PatchError,
    ProtocolError,
    SecretError,
    SourceError,
    TransportError,
)
from reconciler.formats.defaults import completed
from reconciler.model.client import Facts, Installed, Profile, Same
from reconciler.model.deploy import MACHINE, DeployReport, Outcome
from reconciler.model.mark import MARK
from reconciler.model.offer import SourceReport
from reconciler.model.question import NOTHING_ASKED
from reconciler.model.release import ANY_PLATFORM, Component, Release, ReleaseFile, content_digest
from reconciler.model.version import SCHEMES
from reconciler.network.dial import Dialer
from reconciler.plugins.codec.bsdiff import Bsdiff
from reconciler.plugins.codec.gzip import Gzip
from reconciler.plugins.codec.zstd import Zstd

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import ModuleType

    from reconciler.contracts import Codec, ShellFactory, ToolsTried
    from reconciler.errors import InventoryError
    from reconciler.model.client import Client, InventoryEntry
    from reconciler.model.delta import Incremental, Patch
    from reconciler.model.deploy import ClientCheck, DeployRequest, Hook, OutcomeStatus, Step
    from reconciler.model.network import Proxy
    from reconciler.model.question import Asked
    from reconciler.model.secret import SecretRef

_CONTEXT = cast("Context", None)  # codecs need nothing from outside
CODECS: dict[str, Codec] = {"zstd": Zstd({}, _CONTEXT), "bsdiff": Bsdiff({}, _CONTEXT), "gzip": Gzip({}, _CONTEXT)}
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def make_plugin(plugin: ModuleType, options: Mapping[str, Any], context: Context | None = None) -> Any:
    """Make a plugin of its module as the loader does: with the defaults of its options."""
    return plugin.PLUGIN(completed(options, plugin.OPTIONS), context)


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
        self,
        component: str,
        version: str,
        files: Mapping[str, bytes],
        platform: str = ANY_PLATFORM,
        *,
        attached: Mapping[str, bytes] | None = None,
        **fields: object,
    ) -> Release:
        """Add a release, with what is attached to it, and give it."""
        along = tuple(sorted(describe(name, content) for name, content in (attached or {}).items()))
        release = make_release(component, version, files, platform, attached=along, **fields)
        self._releases[release] = {**files, **(attached or {})}
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
        return SourceReport(self.name, offered, problems=self.problems, incrementals=incrementals)

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

    Without a `current` one, versions were only sent early. `promised` is the manifest. `damaged` names files whose
    bytes changed, and whether only hashing shows it. `before` has the version that each one followed; `unchecked` are
    those whose checks were not finished.
    """

    current: str
    previous: str = ""
    layout: str = ""
    versions: dict[str, dict[str, bytes]] = field(default_factory=dict)
    promised: dict[str, tuple[ReleaseFile, ...]] = field(default_factory=dict)
    damaged: dict[str, bool] = field(default_factory=dict)
    before: dict[str, str] = field(default_factory=dict)
    unchecked: set[str] = field(default_factory=set)

    def copy(self) -> FakeComponent:
        """Give what this component is now, whatever becomes of it."""
        return replace(
            self,
            versions=dict(self.versions),
            promised=dict(self.promised),
            damaged=dict(self.damaged),
            before=dict(self.before),
            unchecked=set(self.unchecked),
        )

    def kept(self) -> tuple[tuple[str, str], ...]:
        """Give the versions that lie there beside the one in force."""
        others = sorted(set(self.promised) - {self.current})
        return tuple((version, content_digest(self.promised[version])) for version in others)

    def prune(self, keep: int) -> None:
        """Keep the version in force and those before it, as many as there are to be."""
        stay, version = {self.current}, self.current
        while len(stay) < keep and self.before.get(version, "") not in {"", *stay}:
            version = self.before[version]
            stay.add(version)
        for version in set(self.versions) - stay:
            del self.versions[version], self.promised[version]

    def installed(self, id_: str, *, verify: bool) -> Installed:
        """Give what a look at the component tells."""
        seen = sorted(name for name, hidden in self.damaged.items() if verify or not hidden)
        if seen:
            damage = f"{seen[0]} changed"
            return Installed(
                id_, self.current, "", previous=self.previous, layout=self.layout, damage=damage, kept=self.kept()
            )
        if self.current in self.unchecked:
            damage = "its checks were not finished"
            return Installed(
                id_, self.current, "", previous=self.previous, layout=self.layout, damage=damage, kept=self.kept()
            )
        digest = content_digest(self.promised[self.current])
        return Installed(
            id_, self.current, digest, previous=self.previous, layout=self.layout, damage="", kept=self.kept()
        )


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that a FakeClient ran.

    `kind` is the phase of a check or which hook it was, `name` the check's name or the hook's text. The others are the
    variables that it was given; `staged` has the files of UPDOSER_STAGED.
    """

    kind: str
    name: str
    component: str
    version: str
    previous: str
    vars: Mapping[str, str]
    staged: Mapping[str, bytes] | None = None


class Waits(Protocol):
    """What a client waits for: an Event, as a rule."""

    def wait(self) -> object:
        """Come back when the client may answer."""


class FakeClient:
    """A machine as a session sees it. A test sets what goes wrong with it, and looks at `components` afterwards.

    `unreachable` and `refuses_login` make connecting fail, `sick` each request, `garbles` each answer. `broken` names
    components whose deploy fails, `full` those for which the disk is full;
    `dies_after` counts the steps after which the connection breaks. A `gate` is waited
    for before each answer, so that a test says who is slow.
    `fails` names checks, and hooks by their text, that fail: with True always, else for these versions. `dies_in` is
    one in whose midst the machine loses its power. `ran` lists all commands that were run. `files` are other files, by
    path.
    `engines` has what an engine has loaded where that isn't what is in force; a text with a blank in it is why nobody
    knows.
    `calls` counts connections, facts, answers that all is the `same`, deploys, reads and steps that changed something.
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
        self.full: set[str] = set()
        self.dies_after: int | None = None
        self.garbles = False
        self.gate: Waits | None = None
        self.calls: Counter[str] = Counter()
        self.requests: list[DeployRequest] = []
        self.lock = Lock()
        self.fails: dict[str, bool | Collection[str]] = {}
        self.dies_in = ""
        self.ran: list[Ran] = []
        self.files: dict[str, bytes] = {}
        self.engines: dict[str, str] = {}

    def said(self, component: str) -> dict[str, Any]:
        """Give what the engine of a component says when it is asked."""
        says = self.engines.get(component, self.version(component))
        return {"unsaid" if " " in says else "loaded": says}

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
        present = [(id_, there) for id_, there in sorted(self.components.items()) if there.current]
        installed = tuple(there.installed(id_, verify=verify) for id_, there in present)
        return Profile(
            self.platform, installed, tools=self.tools, lineage=self.lineage, epoch=self.epoch, memory=self.memory
        )


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
        self.name = name
        self._machine = machine

    def facts(
        self, install_root: str, *, verify: bool = False, tools: ToolsTried = "", asked: Asked = NOTHING_ASKED
    ) -> Facts:
        """Look at the client, whose tools can do all that is asked."""
        del tools
        machine = self._machine
        machine.calls["facts"] += 1
        self._answer(install_root)
        profile = machine.profile(verify=verify)
        installed = tuple(
            replace(entry, **machine.said(entry.component)) if entry.component in asked.questions else entry
            for entry in profile.installed
        )
        return Facts(replace(profile, installed=installed), machine.free)

    def look_again(self, install_root: str, mark: str) -> Facts | Same:
        """Look at the client unless it has that mark, which tells of all that is seen by sizes and times."""
        machine = self._machine
        now = hashlib.sha256(machine.profile().fingerprint.encode()).hexdigest()[:MARK]
        if mark.endswith("?") or mark.rstrip("+") != now:
            return replace(self.facts(install_root), mark=now)
        machine.calls["same"] += 1
        self._answer(install_root)
        return Same(machine.free)

    def deploy(
        self, request: DeployRequest, content: Callable[[str], AbstractContextManager[BinaryIO]]
    ) -> DeployReport:
        """Carry out a request."""
        machine = self._machine
        machine.calls["deploy"] += 1
        machine.requests.append(request)
        self._answer(request.install_root)
        if not machine.lock.acquire(blocking=False):
            raise BusyError(f"{self.name}: another process is changing this client now")
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
            raise TransportError(f"{self.name}: the connection broke")
        if machine.sick:
            raise ClientError(f"{self.name}: {install_root} can't be written")
        if machine.garbles:
            raise ProtocolError(f"{self.name} gave a malformed answer")

    def read(self, install_root: str, paths: Sequence[str]) -> dict[str, bytes | None]:
        """Read files: those of components, and those that a test put there."""
        machine = self._machine
        machine.calls["read"] += 1
        read_request(install_root, paths)
        self._answer(install_root)
        there = dict(machine.files)
        for id_, component in machine.components.items():
            for version, files in component.versions.items():
                for folder in {version, "current"} if version == component.current else {version}:
                    there |= {f"{install_root}/{id_}/{folder}/{name}": content for name, content in files.items()}
        return {path: there[path][:MAX_CONTENT] if path in there else None for path in paths}

    def _deploy(
        self, request: DeployRequest, content: Callable[[str], AbstractContextManager[BinaryIO]]
    ) -> DeployReport:
        machine = self._machine
        if machine.lineage and (machine.lineage != request.lineage or machine.epoch > request.epoch):
            raise OtherControllerError(f"{self.name} answers to another controller: {machine.lineage[:8]}")
        sent = {part.sha256: _receive(part, content) for part in payload(request)}
        if request.purpose != "check":
            machine.lineage, machine.epoch = request.lineage, request.epoch
        outcomes = _Work(self.name, machine, request, sent).carry_out()
        return DeployReport(outcomes, sum(part.size for part in payload(request)))


class _Work:
    """One request that a FakeClient carries out, in the order of the script: see its rules 15 to 17."""

    def __init__(self, name: str, machine: FakeClient, request: DeployRequest, sent: Mapping[str, bytes]) -> None:
        self._name = name
        self._machine = machine
        self._request = request
        self._sent = sent
        self._vars = variables(request.vars)
        self._outcomes: dict[str, Outcome] = {}
        self._was: dict[str, FakeComponent | None] = {}

    def carry_out(self) -> tuple[Outcome, ...]:
        """Give an outcome for each step."""
        steps = self._request.steps
        self._outcomes = {step.component: self._judge(step) for step in steps}
        if self._request.purpose == "check":
            for step in self._steps("changed"):
                self._outcomes[step.component] = replace(self._outcomes[step.component], status="ok")
                self._fail(step, self._checks(step, "switched", "in force"))
            return tuple(self._outcomes.values())
        files = self._prepare()
        for step in self._steps("changed"):
            self._fail(step, self._checks(step, "staged", "before the switch", files[step.component]))
        if self._request.purpose == "stage":
            for step in self._steps("changed"):
                self._place(step, files[step.component])
                self._outcomes[step.component] = replace(self._outcomes[step.component], status="staged")
        else:
            self._switch_all(files)
        return tuple(self._outcomes.values())

    def _steps(self, status: str) -> list[Step]:
        return [step for step in self._request.steps if self._outcomes[step.component].status == status]

    def _judge(self, step: Step) -> Outcome:
        """Say what is to become of a step, with what the client has of the component now."""
        now, purpose = self._now(step), self._request.purpose
        layout = now.layout if purpose == "stage" else step.layout.fingerprint
        status: OutcomeStatus
        message = ""
        if purpose == "check":
            status = "changed" if (now.version, now.digest) == (step.to_version, step.to_digest) else "stale"
        elif (now.version, now.digest, now.layout) == (step.to_version, step.to_digest, layout):
            status = "ok"
        elif (now.version, now.digest) != (step.from_version, step.from_digest):
            status = "stale"
        elif purpose == "stage" and now.version == step.to_version:
            status, message = "failed", f"version {now.version} is in force and damaged: it can't be sent early"
        elif purpose == "stage" and self._lies_there(step):
            status = "staged"
        else:
            status = "changed"
        return Outcome(step.component, status, now.version, now.digest, message)

    def _now(self, step: Step) -> Installed:
        there = self._machine.components.get(step.component)
        nothing = Installed(step.component, "", "")
        return there.installed(step.component, verify=False) if there and there.current else nothing

    def _lies_there(self, step: Step) -> bool:
        there = self._machine.components.get(step.component)
        files = there.versions.get(step.to_version) if there else None
        return files is not None and _digest(files) == step.to_digest

    def _prepare(self) -> dict[str, dict[str, bytes]]:
        """Make the files of all steps; those that fail here are given up."""
        due = self._steps("changed")
        full = sum(file.size for step in due if not step.held for file in step.files) > self._machine.free
        made: dict[str, dict[str, bytes]] = {}
        for step in due:
            now = self._now(step)
            there = self._machine.components.get(step.component)
            versions = there.versions if there else {}
            if step.held and not self._lies_there(step):
                self._give_up(step, "unpatched", f"the version {step.to_version} is not there, or not whole")
                continue
            source = versions.get(step.to_version if step.held else now.version, {})
            try:
                files = {file.name: self._make(step, file, source) for file in step.files}
            except PatchError as error:
                self._give_up(step, "unpatched", error.message)
                continue
            made[step.component] = files
            if full:
                self._give_up(step, "failed", "not enough disk")
            elif _digest(files) != step.to_digest:
                status: OutcomeStatus = "unpatched" if step.patched else "failed"
                self._give_up(step, status, "the files have other bytes than announced")
        return made

    def _make(self, step: Step, file: ReleaseFile, old: Mapping[str, bytes]) -> bytes:
        """Give the bytes of a file: held, kept, patched or sent."""
        if step.held:
            return old.get(file.name, b"")
        if file.name in step.kept:
            return old.get(step.kept[file.name], b"")
        if file.name not in step.patched:
            return self._sent[file.sha256]
        patched = step.patched[file.name]
        content = old.get(patched.base, b"")
        for hop in patched.hops:
            codec = CODECS.get(hop.codec)
            if codec is None or codec.traits.tool not in {"gzip", *self._machine.tools}:
                raise PatchError(f"{self._name} can't apply {hop.codec}")
            content = b"".join(codec.apply(content, self._sent[hop.sha256], hop.result))
        return content

    def _give_up(self, step: Step, status: OutcomeStatus, message: str) -> None:
        now = self._now(step)
        self._outcomes[step.component] = Outcome(step.component, status, now.version, now.digest, message)

    def _fail(self, step: Step, message: str) -> None:
        if message:
            self._give_up(step, "failed", message)

    # --- switching --------------------------------------------------------------------------------------------------

    def _switch_all(self, files: Mapping[str, dict[str, bytes]]) -> None:
        begun = self._steps("changed")
        before = self._hooks("before", begun)
        for step in begun:
            self._fail(step, before.get(step.component, ""))
        for at, step in enumerate(self._request.steps):
            if at == self._machine.dies_after:
                raise TransportError(f"{self._name}: the connection broke")
            if step in self._steps("changed"):
                self._switch(step, files[step.component])
        if before or self._was:
            self._follow()
            for component, message in self._hooks("always", begun).items():
                self._say(component, message)
        for step in self._steps("changed"):
            there = self._machine.components[step.component]
            there.unchecked.clear()
            if step.question is not None:
                said = self._machine.said(step.component)
                self._outcomes[step.component] = replace(self._outcomes[step.component], **said)
            if step.from_version != step.to_version:
                there.prune(self._request.keep)

    def _switch(self, step: Step, files: dict[str, bytes]) -> None:
        machine = self._machine
        self._was[step.component] = there = machine.components.get(step.component)
        if step.component in machine.broken:
            self._give_up(step, "failed", "a target can't be written")
            return
        if step.component in machine.full:
            self._give_up(step, "failed", "not enough disk")
            self._outcomes[step.component] = replace(self._outcomes[step.component], fault=MACHINE)
            return
        machine.calls["changed"] += 1
        there = machine.components[step.component] = there.copy() if there else FakeComponent("")
        if there.current != step.to_version:
            there.before[step.to_version] = there.current
            there.previous, there.current = there.current, step.to_version
        there.layout = step.layout.fingerprint
        there.damaged.clear()
        self._place(step, files)
        for target in step.layout.targets:
            machine.files |= {f"{target.to}/{name}": files[name] for name in files if fnmatch(name, target.files)}
        if step.hooks.after or any(check.phase == "switched" for check in step.checks):
            there.unchecked.add(step.to_version)
        self._outcomes[step.component] = Outcome(step.component, "changed", step.to_version, step.to_digest)

    def _place(self, step: Step, files: dict[str, bytes]) -> None:
        there = self._machine.components.setdefault(step.component, FakeComponent(""))
        there.versions.pop(step.to_version, None)
        there.versions[step.to_version] = files
        there.promised[step.to_version] = step.files

    def _follow(self) -> None:
        """Run what comes after all switches, and take back what isn't good."""
        switched = self._steps("changed")
        after = self._hooks("after", switched)
        back = []
        for step in switched:
            why = after.get(step.component, "")
            if why and step.hooks.after and step.hooks.after.on_failure == "rollback":
                back += [step] if self._go_back(step, why) else []
            else:
                self._say(step.component, why)
        self._again(back)
        for step in self._steps("changed"):
            why = self._checks(step, "switched", "after the switch")
            if why and self._go_back(step, why):
                self._again([step])

    def _go_back(self, step: Step, why: str) -> bool:
        was = self._was[step.component]
        if step.from_version == step.to_version and step.from_digest != step.to_digest:
            self._fail(step, f"{why}; it stays, because what was there before was damaged")
            return False
        if was:
            self._machine.components[step.component] = was
        else:
            del self._machine.components[step.component]
        at = was.current if was else ""
        self._fail(step, f"{why}; it is back at {at}" if at else f"{why}; it is removed again")
        return True

    def _again(self, back: list[Step]) -> None:
        turned = [
            replace(step, from_version=step.to_version, to_version=self._now(step).version)
            for step in back
            if step.hooks.after
        ]
        for component, message in self._hooks("after", turned).items():
            self._say(component, f"once back, {message}" if message else "")

    def _say(self, component: str, message: str) -> None:
        """Add to the message of an outcome."""
        outcome = self._outcomes[component]
        both = "; ".join(text for text in (outcome.message, message) if text)
        self._outcomes[component] = replace(outcome, message=both)

    # --- commands ---------------------------------------------------------------------------------------------------

    def _checks(self, step: Step, phase: str, when: str, staged: Mapping[str, bytes] | None = None) -> str:
        """Run checks until one fails; say how."""
        for check in step.checks:
            if check.phase != phase:
                continue
            if not any(self._runs(phase, check, step, staged) for _ in range(check.retries + 1)):
                return f"check {check.name} failed {when}: exit {not check.expect:d}, expected {check.expect}: no good"
        return ""

    def _hooks(self, kind: str, steps: list[Step]) -> dict[str, str]:
        """Run the hooks of a kind, each text once; give what each component is to be told, or nothing."""
        done: dict[str, bool] = {}
        found: dict[str, str] = {}
        for step in steps:
            hook: Hook | None = getattr(step.hooks, kind)
            if hook is None:
                continue
            if hook.run not in done:
                done[hook.run] = self._runs(kind, hook, step)
            found[step.component] = "" if done[hook.run] else f"hook {kind} failed: exit 1: no good"
        return found

    def _runs(self, kind: str, what: ClientCheck | Hook, step: Step, staged: Mapping[str, bytes] | None = None) -> bool:
        machine = self._machine
        name = getattr(what, "name", what.run)
        machine.ran.append(Ran(kind, name, step.component, step.to_version, step.from_version, self._vars, staged))
        if name == machine.dies_in:
            raise TransportError(f"{self._name}: the connection broke")
        fails = machine.fails.get(name, False)
        return not (fails if isinstance(fails, bool) else step.to_version in fails)


def _digest(files: Mapping[str, bytes]) -> str:
    return content_digest(describe(name, content) for name, content in files.items())


def _receive(file: ReleaseFile, content: Callable[[str], AbstractContextManager[BinaryIO]]) -> bytes:
    with content(file.sha256) as stream:
        return stream.read()
