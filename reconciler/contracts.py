"""What every kind of plugin promises. Implementations live in `plugins/`; the core imports only this.

A plugin module states `OPTIONS`, a JSON Schema (2020-12) of its options, and `PLUGIN`, which the loader calls as
`PLUGIN(options, context)`. `OPTIONS` is merged into the validation of the spec. Options arrive validated, relative
paths untouched (they start from `context.base`) and secrets as `SecretRef`. What has a `default` in `OPTIONS`, at
whatever depth, is always there, for `TRAITS` too: a plugin states it nowhere else.

It states `TRAITS` too: what the plugin does, as `Traits`, or a function that gives them for options where these decide
it. The core goes by that and never by names. A plugin that doesn't say isn't made where a file may be from anyone.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol, runtime_checkable

from reconciler.errors import NetworkError, PluginError, UpdoserError
from reconciler.model.question import NOTHING_ASKED
from reconciler.model.secret import SecretRef
from reconciler.paths import path_from
from reconciler.paths import read_file as read_file  # noqa: PLC0414 - plugins of others have it from here

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from logging import Logger
    from socket import socket

    from reconciler.model.batch import Batch, Halt, Order, Report
    from reconciler.model.batch import ToolsTried as ToolsTried  # noqa: PLC0414 - who implements Session has it from here
    from reconciler.model.client import Client, Facts, InventoryEntry, Same
    from reconciler.model.delta import CodecTraits, Incremental, Patch
    from reconciler.model.deploy import DeployReport, DeployRequest
    from reconciler.model.mirror import LayoutTraits, Placed
    from reconciler.model.network import AnyFamily, Proxy
    from reconciler.model.notice import Message
    from reconciler.model.offer import SourceReport
    from reconciler.model.question import Asked
    from reconciler.model.relay import Held, HoldOrder, ServeOrder
    from reconciler.model.release import Component, Release, ReleaseFile


@dataclass(frozen=True, slots=True)
class Traits:
    """What a plugin does with its options.

    `programs`: it starts programs on this machine, or has them started. `network`: it connects to hosts, or looks their
    names up. A source has `url`, where it asks, and is `signed` when it proves what it says with signatures of keys
    that its options trust; it `vouches` where it does so for some of its releases, and says for which. Clients of a
    transport are `local` when they are folders of this machine; the way to them leads over the host `jump` first, and
    to the `port` and as the `user` where a client names none of its own. `hops` are all hosts on that way, named as
    known_hosts does (`formats.known_hosts`), `keys` the files of private keys as the options name them. `become` says
    whether it works as root there by becoming it; None doesn't say, and is neither for a client whose inventory asks
    for one of them. `speaks` is what inventories call the way to its clients, where that isn't the plugin's name. What
    an executor carries can be read by others on the way where it is `unsealed`: it gets nothing that has secrets in it.
    Workers of one that `outlives` this process go on without it, and may answer a later one.
    """

    programs: bool = False
    network: bool = False
    url: str = ""
    signed: bool = False
    vouches: bool = False
    local: bool = False
    jump: str = ""
    port: int | None = None
    user: str = ""
    hops: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    become: bool | None = None
    speaks: str = ""
    unsealed: bool = False
    outlives: bool = False


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command on a client ended: its exit status and what it printed, cut at the pipe's limit."""

    status: int
    stdout: bytes
    stderr: bytes


class Pipe(Protocol):
    """A way to run one command on a client with a byte stream as its standard input."""

    def run(self, command: str, stdin: Iterable[bytes], *, timeout: float, patience: float = 0.0) -> Completed:
        """Run `command` with the client's login shell, feed it `stdin`, and read its output while writing.

        `patience` are seconds for checks and hooks, on top of `timeout` and of the pipe's own limit for a command; it
        is left out where there are none. A limit on silence stays: a client says every five seconds that it waits. Once
        the context's `stop` is set, a client that is silent is given up within ten seconds.

        A command that ends before it has read everything isn't an error of the pipe. Output beyond 1 MiB (stderr:
        64 KiB) is read and dropped.

        Raises:
            ProtocolError: the command prints without end.
            TransportError: the connection broke, or `timeout` and `patience` passed.
        """


@runtime_checkable
class TalkingPipe(Pipe, Protocol):
    """A pipe on which a command can be answered. One that can't takes two commands where this one takes one."""

    def talk(
        self,
        command: str,
        stdin: Iterable[bytes],
        reply: Callable[[bytes], Iterable[bytes] | None],
        *,
        timeout: float,
        patience: float = 0.0,
    ) -> Completed:
        """Run a command as `run` does. Once `stdin` is sent, `reply` is called with what the command printed by then.

        It is called again as more is printed, and every second or so, until it gives what else is to be sent; the input
        ends behind that. It ends as well before a command that says nothing would be given up.
        """


@dataclass(frozen=True, slots=True)
class Become:
    """How a session gets the rights it needs: `sudo` without a password and a terminal.

    `command` names the one fixed wrapper that sudoers allows, a copy of the client script; empty: `sudo sh`.
    """

    method: Literal["sudo"] = "sudo"
    command: str = ""


class ShellFactory(Protocol):
    """Makes a Session from a pipe: the context hands it to transports that reach a POSIX shell."""

    def __call__(self, pipe: Pipe, *, shell: str = "sh", become: Become | None = None) -> Session:
        """Give the session that speaks the client protocol over `pipe`."""


class Dial(Protocol):
    """Opens TCP connections."""

    def __call__(
        self, host: str, port: int, *, proxy: Proxy | None = None, family: AnyFamily = "any", timeout: float = 10.0
    ) -> socket:
        """Connect to a host, through `proxy` unless that isn't for it; all of that within `timeout` seconds.

        `family` is `ipv4`, `ipv6` or `any`; behind a proxy it restricts how the proxy is reached.

        Raises:
            NetworkError: there is no way, or nobody answers; NoAddressError, where the host has none of that family.
            SecretError: the proxy's credentials can't be resolved.
        """


def _no_dial(host: str, port: int, **_options: object) -> socket:
    raise NetworkError(f"{host}:{port} can't be reached: this context has no network")


def _no_templates(_text: str, _values: Mapping[str, Any]) -> str:
    raise PluginError("templates can't be rendered here: this context has none")


def _no_wire(_what: object) -> Any:
    raise PluginError("batches can't leave this process: there is no form for them here")


def _count_nothing(_size: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """A text that a plugin remembers, and its version: a number that only grows."""

    version: int
    content: str


class Memory(Protocol):
    """What a plugin must not be talked out of, kept where all controllers of one state have it.

    For what protects from going back, and for little: what can be found out again lies in the work folder. Used by
    several threads, and by several controllers at once.
    """

    def recall(self) -> Mapping[str, Remembered]:
        """Give all that this plugin remembers, by name.

        Raises:
            StateError: it can't be read.
        """

    def keep(self, entries: Mapping[str, Remembered]) -> Mapping[str, Remembered]:
        """Keep entries whose version is higher than what is kept, all in one step; give what is kept of them now.

        Raises:
            StateError: it can't be written.
        """


class OwnMemory:
    """The `Memory` of a plugin that has no state: it lasts as long as the plugin."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._kept: dict[str, Remembered] = {}
        self._lock = Lock()

    def recall(self) -> Mapping[str, Remembered]:
        """See `Memory.recall`."""
        with self._lock:
            return dict(self._kept)

    def keep(self, entries: Mapping[str, Remembered]) -> Mapping[str, Remembered]:
        """See `Memory.keep`."""
        with self._lock:
            for name, entry in entries.items():
                if name not in self._kept or self._kept[name].version < entry.version:
                    self._kept[name] = entry
            return {name: self._kept[name] for name in entries}


LEARNT = "learnt"
"""The folder, beside those of commits, of what was learnt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a plugin gets beside its options: everything that it needs from outside, and nothing else.

    `base` is the folder that relative paths start from, `work` a folder for the plugin's own files (it exists), `clock`
    gives the time in UTC, `secret` resolves a reference to its value or raises SecretError. `dial` opens connections;
    `proxy` is the one that the spec names for this source or group. `render` makes a text of a template, in the
    sandbox of settings, or raises PluginError. `stop` is set when the run is to end: what may be waited for in vain
    isn't waited for any longer then. `environ` has no variable that holds a secret of the spec: see `environment`.
    `home`, where it is given, is where relative paths start of what `base` hasn't. `tree` is the folder of the commit
    that `base` is of, where it is of one: see `lasting`. `count` is told of bytes that come while a source fetches.
    `memory` is shared with all controllers of the state, which `work` isn't.
    """

    base: Path
    work: Path
    clock: Callable[[], datetime]
    secret: Callable[[SecretRef], str]
    log: Logger
    shell: ShellFactory
    dial: Dial = _no_dial
    proxy: Proxy | None = None
    render: Callable[[str, Mapping[str, Any]], str] = _no_templates
    stop: Event = field(default_factory=Event)
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    home: Path | None = None
    tree: Path | None = None
    count: Callable[[int], None] = _count_nothing
    memory: Memory = field(default_factory=OwnMemory)

    def environment(self, names: Sequence[str] = ()) -> dict[str, str]:
        """Give the environment of a program that a plugin starts; of secrets it has those of these variables only.

        Raises:
            SecretError: one of them isn't set.
        """
        return {**self.environ, **{name: self.secret(SecretRef("env", name)) for name in names}}

    def path(self, text: str, wrong: type[UpdoserError] = PluginError) -> Path:
        """Give the path that a text of the options means; see `path_from`."""
        path = path_from(self.base, text, wrong)
        return path if self.home is None or os.path.lexists(path) else path_from(self.home, text, wrong)

    def lasting(self, path: Path) -> Path:
        """Give the file for what is learnt beside what stands in a file: that itself, where it isn't of a commit.

        The folder of a commit is replaced by the next one, so what is learnt lies beside all of them.
        """
        inside = Path(os.path.normpath(path))
        if self.tree is None or not inside.is_relative_to(self.tree):
            return path
        return self.tree.parents[2] / LEARNT / inside.relative_to(self.tree)


@runtime_checkable
class Source(Protocol):
    """Where releases come from."""

    def releases(self, components: Mapping[str, Component]) -> SourceReport:
        """List what the source offers of these components (by id); releases it holds back stand in `problems`.

        Raises:
            SourceError: the source as a whole can't be read.
        """

    def open(self, release: Release, file: ReleaseFile) -> AbstractContextManager[BinaryIO]:
        """Open one file of a release that `releases` listed, or one that is attached to it.

        The reader verifies size and digest; the source needn't.

        Where the stream is seekable, a reader that has the beginning already seeks behind it before it reads.

        Raises:
            SourceError: the file can't be read.
        """

    def open_patch(self, incremental: Incremental, patch: Patch) -> AbstractContextManager[BinaryIO]:
        """Open one patch of an incremental that `releases` listed; as for `open`.

        Raises:
            SourceError: the patch can't be read.
        """


@runtime_checkable
class Fetching(Protocol):
    """A source that has releases whose bytes nobody knows before they are fetched: it lists them as `unfetched`.

    While it is read it fetches into its work folder what is small enough, verifies that, and lists it with exact
    digests. What is larger is fetched by an apply whose plan says so, and deployed by the plan after that.
    """

    def fetch(self, component: str, version: str, platform: str) -> Release:
        """Fetch and verify a release that `releases` listed as unfetched; from then on `releases` lists it as given.

        Bytes that come are told to the context's `count`. It may be called before `releases` is, by several threads,
        and for what was fetched meanwhile. What came before it was killed needn't come again.

        Raises:
            InterruptedRunError: the context's `stop` was set.
            SourceError: it can't be had, or isn't what it should be.
        """


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A key whose signatures a source believes, and where the operator gave it: a file, as the options name it.

    `fingerprint` is what people compare: the id of a key of minisign, the fingerprint of one of OpenPGP, the key id of
    TUF, the SHA-256 of what has no name of its own. `about` are words beside it. `problem` says why it can't be used.
    """

    place: str
    scheme: str
    fingerprint: str = ""
    problem: str = ""
    about: str = ""


@runtime_checkable
class Trusting(Protocol):
    """A source that can say which keys it trusts."""

    def trusted(self) -> Sequence[TrustedKey]:
        """List the keys, those that can't be read too; nothing is connected to.

        Raises:
            SourceError: that can't be said.
        """


@dataclass(frozen=True, slots=True)
class ContentEntry:
    """Content that lies somewhere: its SHA-256 in hexadecimal, and its size in bytes as that place says it."""

    sha256: str
    size: int


@runtime_checkable
class ContentPlace(Protocol):
    """Where several machines have content, each by its SHA-256. Used by several threads at once.

    Who reads verifies size and digest, and goes on from where a stream broke: the place needn't do either. Content
    never changes, so nothing is locked, and nothing hangs on a condition of a write.
    """

    def size(self, sha256: str) -> int | None:
        """Give the size of content in bytes; None where it isn't there.

        Raises:
            StoreError: that can't be said.
        """

    def open(self, sha256: str, start: int = 0) -> AbstractContextManager[BinaryIO]:
        """Open content, to be read from its byte `start` on.

        Raises, here or when it is read:
            NoContentError: it isn't there.
            StoreError: it can't be had.
            InterruptedRunError: the context's `stop` was set.
        """


@runtime_checkable
class WritablePlace(ContentPlace, Protocol):
    """A place that content can be brought to, as well. Whoever uses it says so, so that none lets go of another's."""

    def put(self, sha256: str, file: Path) -> None:
        """Bring the content of a file there, which is verified; what is there of it already is written over.

        It is there as a whole when this returns, and nobody sees a part of it before.

        Raises:
            StoreError: it can't be brought there.
            InterruptedRunError: the context's `stop` was set.
        """

    def delete(self, sha256: str) -> None:
        """Remove content; what isn't there is gone already.

        Raises:
            StoreError: it can't be removed.
        """

    def entries(self) -> Iterator[ContentEntry]:
        """List all content that is there, in any order.

        Raises:
            StoreError: it can't be listed.
        """

    def join(self, user: str) -> None:
        """Have somebody be one of the users: a short name of letters and digits, which may be one already.

        Raises:
            StoreError: it can't be written down.
        """

    def users(self) -> Collection[str]:
        """Give all who joined.

        Raises:
            StoreError: they can't be listed.
        """


@runtime_checkable
class Codec(Protocol):
    """Makes patches and applies them. Both hold whole files in memory; `traits` says how much."""

    traits: CodecTraits

    def make(self, old: bytes, new: bytes, *, level: int, window: int = 0) -> bytes:
        """Give the patch that makes `new` of `old`; `window` is the exponent of 2, 0 covers both files.

        Raises:
            PatchError: these files are too large for the codec.
        """

    def check(self, patch: bytes, size: int) -> None:
        """Look at a patch's head before it goes to clients: what it says of the result must be `size`.

        Raises:
            PatchError: it isn't a patch of this codec, or it makes a file of another size.
        """

    def apply(self, old: bytes, patch: bytes, size: int) -> Iterator[bytes]:
        """Give the new file in pieces, never more than `size` bytes of it, whatever the patch says.

        Raises:
            PatchError: the patch is damaged, is for other bytes, or makes a file of another size.
        """


@runtime_checkable
class Inventory(Protocol):
    """Where clients are listed."""

    def clients(self) -> Iterable[InventoryEntry]:
        """List all clients, each name once.

        Raises:
            InventoryError: the list can't be had, or an entry is malformed (the message names the place).
        """


@dataclass(frozen=True, slots=True)
class Subject:
    """What a check on the server is about. Empty texts are what it isn't about.

    `folder` holds the release's files under their names, for a staged check. `vars` are those of the client.
    """

    component: str
    version: str
    folder: str = ""
    client: str = ""
    address: str = ""
    vars: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found: good or not, and a line about it."""

    good: bool
    message: str = ""


@runtime_checkable
class Check(Protocol):
    """Says whether a version is good: before or after clients switch to it, or between two waves of a rollout."""

    def on_client(self) -> tuple[str, int]:
        """Give what a client runs for it: a text for sh, and the exit status that means good.

        Raises:
            PluginError: this check is for the server only.
        """

    def on_server(self, subject: Subject, *, timeout: float, stop: Event) -> CheckResult:
        """Find out here, within `timeout` seconds. A check that can't be carried out isn't good."""


class Session(Protocol):
    """One connection to one client."""

    def facts(
        self, install_root: str, *, verify: bool = False, tools: ToolsTried = "", asked: Asked = NOTHING_ASKED
    ) -> Facts:
        """Look at the client in one round trip. `verify` hashes every file; else sizes and times are believed.

        `tools` has what a change asks of the client tried: for `files`, or also for the `commands` of checks and hooks.
        `asked` are questions to its engines, of which those are put whose components are installed.

        Raises:
            ClientError: the client answered that it can't (its message says why).
            ProtocolError: the answer is malformed or cut short.
            TransportError: the connection broke or timed out.
        """

    def deploy(
        self, request: DeployRequest, content: Callable[[str], AbstractContextManager[BinaryIO]]
    ) -> DeployReport:
        """Carry out a request in one exec; `content` opens the store's file of a SHA-256.

        Raises:
            OtherControllerError: the client answers to another lineage or a higher epoch; it touched nothing.
            ClientError, ProtocolError, TransportError: as for `facts`; the client finished or undid the step it was in.
        """

    def read(self, install_root: str, paths: Sequence[str]) -> dict[str, bytes | None]:
        """Read at most 50 files with the rights of this session: the first 64 KiB of each, by their absolute paths.

        None where there is no plain file. Links are followed only where `install` made them: another one could lead to
        what not everybody may see.

        Raises:
            ClientError: a path isn't absolute and plain, or there are too many; or as for `facts`.
            ProtocolError, TransportError: as for `facts`.
        """


@runtime_checkable
class MarkingSession(Session, Protocol):
    """A session whose client can say that nothing changed since it was looked at; others are looked at each time."""

    def look_again(self, install_root: str, mark: str) -> Facts | Same:
        """Look at the client unless it has that mark, in one round trip; what comes then are the facts and its mark.

        What is asked for is a mark, or to make one: see `model.mark.ASKED`. A client that can make none says none.

        Raises:
            ClientError, ProtocolError, TransportError: as for `facts`.
        """


@runtime_checkable
class RelaySession(Session, Protocol):
    """A session that can also work on a relay, or try one from a client; one that is no shell may lack it."""

    def hold(
        self,
        order: HoldOrder,
        content: Callable[[str], AbstractContextManager[BinaryIO]],
        pace: Callable[[int], None],
    ) -> Held:
        """Fill a relay, or look at it, in one exec, and give what it has then.

        `pace` is told the size of each piece before it is sent, and may wait.

        Raises:
            BusyError: another process is filling it.
            ClientError, ProtocolError, TransportError: as for `facts`; what arrived whole stays.
        """

    def serve(self, order: ServeOrder, beats: Iterable[None]) -> None:
        """Have a folder served by HTTP until `beats` end, of which one comes every few seconds.

        Raises:
            ClientError, ProtocolError, TransportError: as for `facts`; nothing is served any more.
        """


@runtime_checkable
class Transport(Protocol):
    """A way to reach clients of a group."""

    def connect(self, client: Client) -> AbstractContextManager[Session]:
        """Connect to a client.

        Raises:
            TransportError: it can't be reached; AuthenticationError and HostKeyError say more.
        """


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of something that a plugin needs of this machine, in words; and what to do about it.

    `what` names it in a word or two, as in `certificate`.
    """

    what: str
    level: Literal["ok", "warn", "fail"]
    text: str
    fix: str = ""


@runtime_checkable
class Examined(Protocol):
    """A transport that needs something of this machine, such as a program, and can say whether it is there."""

    def examine(self) -> Sequence[Finding]:
        """Look at it; no client is connected to."""


@runtime_checkable
class Crew(Protocol):
    """Workers that carry batches out (`model.batch`), wherever they are. Used from one thread.

    It has lanes, each a line of clients that one worker works on; a client is always of the same lane, so that a
    connection which a look left open is there for the change that follows.
    """

    def lane(self, client: str) -> str:
        """Name the lane of a client; a crew of one worker, or of workers that are all alike, has the lane `""`."""

    def room(self, lane: str) -> int:
        """Say for how many clients more there is room in a lane now; what is given beyond it waits there."""

    @property
    def size(self) -> int:
        """How many clients a batch should have; a first wave's have one, whatever this says."""

    def refusal(self, lane: str) -> str:
        """Say why nobody works in a lane now, as in `site lyon has no worker`; empty where somebody does."""

    def give(self, lane: str, order: Order) -> None:
        """Have a batch carried out. It returns at once; what becomes of it is received."""

    def halt(self, halted: Collection[Halt]) -> None:
        """Let no client begin with a step of these rollouts any more, from at most five seconds on.

        That holds for what this crew is given, and ends with it: another one may be told nothing of the kind.
        """

    def receive(self, timeout: float) -> Sequence[Report]:
        """Give what was reported since the last call; wait up to `timeout` seconds where that is nothing.

        Each client of a batch is answered for once, unless its worker or the way to it breaks: an answer may come twice
        then, or never, and `Ended` says so as soon as it is known.

        Raises:
            LimitError: this machine has no room for more. All else was reported by then; nothing is said of the client
                on which that was found.
            PluginError: the crew is broken as a whole.
        """

    def stop(self) -> None:
        """Begin no client any more: those under way are finished and reported, the rest is `stopped`."""


@runtime_checkable
class Lender(Crew, Protocol):
    """A crew in which a client that says nothing lends its place to another one."""

    @property
    def lent(self) -> int:
        """How many clients more than its forks it may have under way now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """What an executor gets to work with.

    `threads` gives a crew of threads in this process, of at most so many. `speak` is the program of a worker that
    speaks over its standard streams, as arguments; `setup` is what it is told first: a document without secrets, from
    which it knows the transports of groups as this process does. `encode` and `decode` are the forms of what goes
    over a wire: of an order's batch (its private content goes beside it), and of a report. `content` opens what a batch
    names by digest. `site` is the one that the work is for; empty: none. At most `limit` of its clients may be under
    way at a time, by the word of people; 0: they said nothing. Clients that say nothing for long may be under way
    beside as many as there are forks: `lends` for each fork in all; 1: none.
    """

    threads: Callable[[int], AbstractContextManager[Crew]]
    content: Callable[[str], AbstractContextManager[BinaryIO]]
    speak: Sequence[str] = ()
    setup: Mapping[str, Any] = field(default_factory=dict)
    encode: Callable[[Order], bytes] = _no_wire
    decode: Callable[[bytes], Report] = _no_wire
    site: str = ""
    limit: int = 0
    lends: int = 1


@runtime_checkable
class Executor(Protocol):
    """What carries batches out for a run."""

    def open(self, hands: Hands, forks: int) -> AbstractContextManager[Crew]:
        """Have workers ready for as long as the block lasts, which work on at most `forks` clients at a time.

        Leaving the block begins nothing any more, and waits for what is under way.

        Raises:
            PluginError: there are none to be had.
        """


@runtime_checkable
class Provisioned(Protocol):
    """An executor whose sites need something that updoser doesn't set up by itself."""

    def definitions(self, sites: Sequence[str]) -> str:
        """Give what is to be set up for these sites, all of this executor's options but for what is the site's own.

        Raises:
            PluginError: it can't say.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Labour:
    """What a station gets to work with at its site: what carries batches out, and their forms on a wire.

    `threads` gives a crew of at most so many threads in the process that calls it; `forks` is how many it should have,
    and `processes` how many such processes there should be, each with as many. `read` and `write` are the forms of a
    batch that comes, and of a report that goes.
    """

    site: str
    threads: Callable[[int], AbstractContextManager[Crew]]
    read: Callable[[bytes], Batch]
    write: Callable[[Report], bytes]
    forks: int
    processes: int


@runtime_checkable
class Station(Protocol):
    """How the workers of a site get orders: the other side of an executor, in a program of its own."""

    def serve(self, labour: Labour) -> None:
        """Carry out what comes, until a signal (SIGTERM, SIGINT) ends it; what was begun with a client is finished.

        Raises:
            PluginError: it can't begin.
        """


@runtime_checkable
class Notifier(Protocol):
    """Tells people, or machines that wake them."""

    def send(self, message: Message, *, timeout: float) -> None:
        """Deliver a message within `timeout` seconds; one that was maybe delivered comes again, under the same id.

        Raises:
            NotifierError: it isn't delivered; it is tried again later.
            SecretError: what it needs to know can't be resolved.
        """


@runtime_checkable
class Layout(Protocol):
    """How a folder of releases is laid out for programs that know nothing of updoser.

    It says what is to lie where, and the core writes it: files whole or not at all, in their turns, and takes away what
    isn't named any more.
    """

    traits: LayoutTraits

    def refusal(self, release: Release) -> str:
        """Say why a release can't lie in such a folder; empty when it can."""

    def place(self, releases: Sequence[Release], others: Sequence[Release], there: Collection[str]) -> Sequence[Placed]:
        """Say what files the folder is to have for these releases; nothing is read for it, and the order is no matter.

        `others` are releases that the store holds, and the folder isn't to have: what is attached to them may be passed
        on. `there` are the paths of files that it has by an earlier call.

        Raises:
            RepositoryError: these releases can't lie in one folder.
        """


class PluginModule(Protocol):
    """The shape of a plugin module; one without `TRAITS` does whatever it does."""

    @property
    def OPTIONS(self) -> Mapping[str, Any]:  # noqa: N802 - a constant of the module
        """The JSON Schema of its options."""

    @property
    def TRAITS(self) -> Traits | Callable[[Mapping[str, Any]], Traits]:  # noqa: N802 - the same
        """What it does, or gives that for options."""

    @property
    def PLUGIN(self) -> Callable[[Mapping[str, Any], Context], Any]:  # noqa: N802 - the same
        """What makes an instance."""
