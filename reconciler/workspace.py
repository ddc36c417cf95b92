"""What a command works with: the store, the state and the plugins that a spec names, opened and closed together."""

from __future__ import annotations

import json
import logging
import os
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, cast

from reconciler import plugin_loader
from reconciler.client.reach import KEPT, Reach
from reconciler.client.room import Bounded, Room
from reconciler.contracts import Context, Hands, Trusting
from reconciler.errors import PluginError, UpdoserError, UsageError
from reconciler.guards import guarded
from reconciler.hints import suggestion
from reconciler.model.delta import PACKER
from reconciler.model.events import Trouble
from reconciler.model.spec import PluginConfig
from reconciler.present.terminal import debugging
from reconciler.storage.memory import StateMemory
from reconciler.storage.roll import Roll
from reconciler.storage.state import State
from reconciler.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path
    from socket import socket

    from reconciler.client.guard import GuardedTransport
    from reconciler.contracts import (
        Check,
        Codec,
        ContentPlace,
        Crew,
        Executor,
        Inventory,
        Layout,
        Notifier,
        Session,
        Source,
        Traits,
        Transport,
        TrustedKey,
    )
    from reconciler.dispatch.crews import Crews
    from reconciler.dispatch.flow import Flow
    from reconciler.dispatch.jobs import AboutT, Job, Made
    from reconciler.model.delta import CodecTraits
    from reconciler.model.events import Emit
    from reconciler.model.network import Proxy
    from reconciler.model.notice import NotifierSpec
    from reconciler.model.relay import RelaySpec
    from reconciler.model.secret import SecretRef
    from reconciler.model.spec import ComponentSpec, ContentSpec, GroupSpec, MirrorSpec, SourceSpec, Spec
    from reconciler.storage.memory import Memories


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What comes from outside of the spec: the time, secrets, a way to stop, and who is told what happens.

    `run_id` names the run, should this become one: in the history, and in all of its events. `public` resolves a
    reference to what is no secret, and isn't masked. `work` is the folder in which plugins keep files of their own;
    None: below the store. A `confined` run may be of a file from anyone: it makes only plugins that say of themselves
    that they neither run programs nor connect to hosts. `origin` says who runs it and where (`desk.origin_of`).
    `render` is what plugins get to make texts of templates.
    """

    run_id: str
    clock: Callable[[], datetime]
    secret: Callable[[SecretRef], str]
    emit: Emit
    stop: Event
    public: Callable[[SecretRef], str]
    work: Path | None = None
    confined: bool = False
    origin: Mapping[str, str] = field(default_factory=dict)
    render: Callable[[str, Mapping[str, Any]], str] | None = None


class Plugins:
    """The plugins of a spec, each made when it is first asked for. Safe to ask from several threads."""

    def __init__(self, spec: Spec, means: Means) -> None:
        """Make nothing yet."""
        self._spec = spec
        self._means = means
        self._room = Room()
        self.kept = self._room.kept(KEPT)
        """How many connections may be kept open."""
        self.most = self._room.forks(self.kept)
        """How many clients may be worked on at once: this machine has no room for more."""
        self._made: dict[tuple[str, str], object] = {}
        self._lock = Lock()
        self._count: Callable[[int], None] = _count_nothing
        self._memories: Memories | None = None

    def remember_in(self, memories: Memories) -> None:
        """Have plugins that are made from now on remember in a state what they mustn't be talked out of."""
        self._memories = memories

    def source(self, source: SourceSpec) -> Source:
        """Give a source."""
        return cast("Source", self._make(source.plugin, source.name, source.proxy))

    def trusted(self, source: SourceSpec) -> Sequence[TrustedKey]:
        """Give the keys that a source trusts; none where it says nothing of that.

        Raises:
            PluginError: it can't be made, or may not be.
            SourceError: it can't say.
        """
        found = self.source(source)
        return found.trusted() if isinstance(found, Trusting) else ()

    def room(self, source: SourceSpec) -> Path:
        """Give the work folder of a source, which may not be there."""
        return self._work_of(source.plugin, source.name)

    def content(self, content: ContentSpec) -> ContentPlace:
        """Give the place of the store's content."""
        return cast("ContentPlace", self._make(content.plugin, "", content.proxy))

    def inventory(self, group: GroupSpec) -> Inventory | None:
        """Give a group's inventory; None where all of its clients stand in the spec."""
        return cast("Inventory", self._make(group.inventory.plugin, group.name)) if group.inventory else None

    def transport(self, group: str) -> Transport:
        """Give the transport of a group, by the group's name."""
        spec = self._spec.groups[group]
        return cast("Transport", self._make(spec.transport, group, spec.proxy))

    def relay(self, relay: RelaySpec) -> Transport:
        """Give what reaches the hosts of a relay."""
        return cast("Transport", self._make(relay.transport, f"relay {relay.name}", relay.proxy))

    def layout(self, mirror: MirrorSpec) -> Layout:
        """Give the layout of a mirror."""
        return cast("Layout", self._make(mirror.plugin, mirror.name))

    def notifier(self, notifier: NotifierSpec) -> Notifier:
        """Give a notifier."""
        return cast("Notifier", self._make(notifier.plugin, notifier.name, notifier.proxy))

    def codec(self, name: str) -> Codec:
        """Give a codec."""
        return cast("Codec", self._make(PluginConfig("codec", name), name))

    def codec_traits(self) -> dict[str, CodecTraits]:
        """Give what is known of the codecs that the spec allows, and of the one that packs files without a base.

        Those that may not be made in this run are left out, and so are those that break, which is said.
        """
        found = {}
        for config in self.codecs:
            try:
                if not self.refusal(config):
                    found[config.name] = self.codec(config.name).traits
            except UpdoserError as error:
                self._means.emit(Trouble(f"the codec {config.name} isn't used: {error.message}"))
        return found

    @property
    def codecs(self) -> list[PluginConfig]:
        """The codecs that the spec allows, and the one that packs files without a base."""
        return [PluginConfig("codec", name) for name in dict.fromkeys((*self._spec.duplication.codecs, PACKER))]

    def check(self, config: PluginConfig) -> Check:
        """Give a check; equal ones are the same."""
        return cast("Check", self._make(config, json.dumps([config.name, config.options], sort_keys=True, default=str)))

    def _came(self, size: int) -> None:
        self._count(size)  # whoever counts now: a plugin is made once

    @contextmanager
    def counting(self, count: Callable[[int], None]) -> Iterator[None]:
        """Have bytes that sources fetch by themselves be counted in the block."""
        before, self._count = self._count, count
        try:
            yield
        finally:
            self._count = before

    @property
    def executor(self) -> Executor:
        """What works on clients of no site, on as many at once as this machine has room for."""
        return self._bounded

    def executor_of(self, site: str) -> Executor:
        """Give what works on the clients of a site; of none, where the name is empty."""
        if not site:
            return self.executor
        spec = self._spec.sites[site]
        return cast("Executor", self._make(spec.executor, f"site {site}", spec.proxy))

    def outlives(self, site: str) -> bool:
        """Say whether workers of a site go on without this process."""
        does = self._does(site)
        return does is not None and does.outlives

    def afar(self, site: str) -> bool:
        """Say whether workers of a site are on other machines, to which content goes once for all clients."""
        does = self._does(site)
        return does is not None and does.network

    def _does(self, site: str) -> Traits | None:
        config = self._spec.sites[site].executor if site else self._spec.server.executor
        return plugin_loader.traits(config.kind, config.name, config.options, self._spec.plugin_folders)

    @cached_property
    def _bounded(self) -> Bounded:

        def tell(forks: int) -> None:
            text = f"--forks {forks} is more than the {self._room.limit} files that may be open here have room for: "
            self._means.emit(Trouble(f"{text}{self.most} at a time (ulimit -n raises it)"))

        server = self._spec.server
        return Bounded(cast("Executor", self._make(server.executor, "", server.proxy)), self.most, tell)

    def refusal(self, config: PluginConfig) -> str:
        """Say why a plugin may not be made in this run; empty when it may.

        Raises:
            PluginError: there is no such plugin, or its TRAITS are none.
        """
        if not self._means.confined:
            return ""
        does = plugin_loader.traits(config.kind, config.name, config.options, self._spec.plugin_folders)
        if does is None:
            return f"the {config.kind} plugin {config.name} doesn't say what it does"
        return "it runs programs" if does.programs else "it connects to hosts" if does.network else ""

    def _make(self, config: PluginConfig, owner: str, proxy: Proxy | None = None) -> object:
        key = config.kind, owner
        with self._lock:
            if key not in self._made:
                refusal = self.refusal(config)
                if refusal:
                    raise PluginError(f"{config.kind} {owner or config.name} isn't used: {refusal}")
                context = replace(self._context(config, owner), proxy=proxy)
                folders = self._spec.plugin_folders
                made = plugin_loader.load(config.kind, config.name, config.options, context, folders)
                self._made[key] = guarded(config.kind, config.name, made)
            return self._made[key]

    def _work_of(self, config: PluginConfig, owner: str) -> Path:
        place = config.name if config.kind == "check" else owner or config.name
        return (self._means.work or self._spec.server.store / "work") / config.kind / place

    def _context(self, config: PluginConfig, owner: str) -> Context:
        work = self._work_of(config, owner)
        try:
            work.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UpdoserError(f"{work} can't be made: {error.strerror}") from error
        more: dict[str, Any] = {"render": self._means.render} if self._means.render else {}
        if self._memories is not None:
            more["memory"] = StateMemory(self._memories, f"{config.kind} {owner or config.name}")
        return Context(
            base=self._spec.base,
            home=self._spec.home,
            tree=self._spec.tree,
            work=work,
            clock=self._means.clock,
            secret=self._means.secret,
            log=logging.getLogger(f"updoser.{config.kind}.{config.name}"),
            shell=_shell,
            dial=partial(_dial, self._means.secret),
            stop=self._means.stop,
            environ=self._spec.public(os.environ),
            count=self._came,
            **more,
        )


def _count_nothing(_size: int) -> None:
    """Tell nobody."""


def _dial(secret: Callable[[SecretRef], str], host: str, port: int, **options: Any) -> socket:
    """Open a connection; imported late, as only plugins that reach other hosts need it."""
    from reconciler.network.dial import Dialer

    return Dialer(secret)(host, port, **options)


def _shell(*args: object, **options: object) -> Session:
    """Give a session over a pipe; imported late, as only transports with a shell need it."""
    from reconciler.client.session import shell_session

    return shell_session(*args, **options)  # type: ignore[arg-type]


def _guarded(transport: Transport) -> GuardedTransport:
    """Have nothing that a transport gives be believed unseen; imported late, as only a look at clients needs it."""
    from reconciler.client.guard import GuardedTransport

    return GuardedTransport(transport, debug=debugging())


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """All that observing and executing need.

    `means` holds what isn't of the spec; `notes` say what was left out while opening, and why; `roll` is the fleet as
    this command sees it. `reach` reaches clients, `relay_reach` the hosts of relays.
    """

    spec: Spec
    store: Store
    state: State
    plugins: Plugins
    reach: Reach
    means: Means
    notes: tuple[str, ...] = ()
    opened: list[Crews] = field(default_factory=list)
    roll: Roll = field(init=False)
    relay_reach: Reach = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "roll", Roll(self.state))
        object.__setattr__(
            self, "relay_reach", Reach(self._relay_transport, self.means.stop, kept=0, debug=debugging())
        )

    def _relay_transport(self, name: str) -> GuardedTransport:
        return _guarded(self.plugins.relay(self.spec.relays[name]))

    @property
    def crews(self) -> Crews:
        """What works on clients: opened when the first one's turn comes, and closed with the workspace."""
        if not self.opened:
            self.opened.append(self._no_crews())
        return self.opened[0]

    def flow(
        self,
        make: Callable[[Job[AboutT]], Made | None],
        *,
        forks: int,
        settle: Callable[[bool], None] = lambda _now: None,
    ) -> Flow[AboutT]:
        """Give what has work on clients done, on `forks` at a time; see `Flow`."""
        from reconciler.dispatch.flow import Flow

        self.crews.ready(forks)
        return Flow(self.crews, make, stop=self.means.stop, settle=settle)

    def close(self) -> None:
        """Close the crews, and then the connections that were kept."""
        for crews in self.opened:
            crews.close()
        self.reach.close()

    def _no_crews(self) -> Crews:
        from reconciler.dispatch.crews import CrewMaker, Crews
        from reconciler.dispatch.ledger import Ledger

        means, plugins = self.means, self.plugins
        site_of = lru_cache(maxsize=None)(self.spec.site_of)
        ledger = Ledger(means.run_id, means.clock, self.state, fence=lambda: self.state.held_fence)
        return Crews(CrewMaker(opens=self._crew, site_of=site_of, outlives=lru_cache(plugins.outlives)), ledger)

    def _crew(self, site: str, forks: int) -> AbstractContextManager[Crew]:
        from reconciler.formats.answer_json import read_report
        from reconciler.formats.batch_json import write_batch
        from reconciler.worker.lending import Lending, lends_of
        from reconciler.worker.pool import Pool
        from reconciler.worker.setup import SPEAK, setup_of

        folder = self.spec.server.store
        limit = self.spec.sites[site].forks if site else 0
        lends = 1 if limit else lends_of(forks)  # people who say how many of a site mean it

        def threads(most: int) -> AbstractContextManager[Crew]:
            means = self.means
            return Pool(
                self.reach,
                self.store.open,
                forks=most,
                stop=means.stop,
                clock=means.clock,
                lending=Lending(most, min(lends * most, self.plugins.most)),
            )

        hands = Hands(
            threads=threads,
            speak=SPEAK,
            setup={"worker": setup_of(self.spec, self.means.work or folder / "work"), "content": str(folder)},
            encode=lambda order: write_batch(order.batch),
            decode=read_report,
            content=self.store.open,
            site=site,
            limit=limit,
            lends=lends,
        )
        return self.plugins.executor_of(site).open(hands, limit or forks)

    def managed(self, *names: str, option: str = "") -> list[ComponentSpec]:
        """Give what the spec wants of some components; `option` is the one that names them, if one does.

        Raises:
            UsageError: the spec doesn't manage one of them.
        """
        components = self.spec.components
        unknown = [name for name in names if name not in components]
        if unknown:
            listed = ", ".join(unknown)
            hint = suggestion(unknown[0], components, "managed are") or "no component is managed"
            where = f"{option} {listed}: " if option else ""
            raise UsageError(f"{where}no managed component is called {listed}", hint=hint)
        return [components[name] for name in names]


@contextmanager
def open_workspace(spec: Spec, means: Means, *, state: State | None = None) -> Iterator[Workspace]:
    """Open what a spec names; connections and the state are closed at the end. `state` replaces the one of the spec.

    Raises:
        StateError: the state can't be opened.
        SecretError: its password can't be resolved.
    """
    plugins = Plugins(spec, means)

    def transport_of(group: str) -> GuardedTransport:
        return _guarded(plugins.transport(group))

    reach = Reach(transport_of, means.stop, kept=plugins.kept, debug=debugging())
    with state or open_state(spec, means) as opened:
        plugins.remember_in(opened)
        work = Workspace(
            spec=spec,
            store=_store(spec, plugins, opened, means),
            state=opened,
            plugins=plugins,
            reach=reach,
            means=means,
        )
        try:
            yield work
        finally:
            work.close()


def _store(spec: Spec, plugins: Plugins, state: State, means: Means) -> Store:
    """Give the store of a spec; where several machines share its content, that is connected to when it is needed."""
    content = spec.server.content
    if content is None:
        return Store(spec.server.store)
    from reconciler.storage.sharing import shared_store

    def place() -> ContentPlace | None:
        return None if plugins.refusal(content.plugin) else plugins.content(content)

    return shared_store(spec.server.store, state, place, cache=content.cache, grace=content.grace, stop=means.stop)


def open_state(spec: Spec, means: Means) -> State:
    """Open the state that a spec names.

    Raises:
        StateError: it can't be opened.
        SecretError: its password can't be resolved.
    """
    reference = spec.server.state_password
    password = means.secret(reference) if reference else None
    return State.open(spec.server.state, password=password, clock=means.clock)
