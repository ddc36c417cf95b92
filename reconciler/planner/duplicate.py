"""What the store gets, makes and lets go of so that downloads and deployments cost what changed.

For each release that should be held, of components that are duplicated:

1. It isn't held: take the cheapest way from a full that is held over incrementals, held or offered, of at most
   `incrementals` releases, and merge. The full is downloaded when there is no way, or none that is clearly cheaper.
2. Generate an incremental from each other full held, up to `incrementals` releases back, unless there is one that the
   clients can apply. The codec is the one that pays (`codecs`); different clients may need different ones.
3. Download the incrementals that a source has where no full is held to generate from, or where generating would take
   longer than PATIENCE.
4. Pack the full when clients need it whole and that costs less than sending it as it is.
5. Let go, when all else is done: of fulls beyond the newest `keep_fulls`; of incrementals that don't lead to the
   target, unless they are on the only way there from a release within reach. What the spec asks for stays, and what a
   client runs that this plan doesn't change (it is held, or didn't answer), as long as incrementals reach so far back.

Worked example (server at 171, vendor at 175; the documents' own): the fulls 171 169 167 165 163 161 159 are held, the
vendor offers 175 and incrementals to it from 173 171 ... 147. The plan downloads `171..175`, merges it, generates from
169 167 165 163 161 159, lets the full 159 go and downloads the incrementals from 173 157 155 153 151 149 147: over the
WAN 8 incrementals and no full.

Other components are downloaded whole; their fulls are kept by the same number.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.model.change import REPLACED, Download, Generate, Merge, Prune
from reconciler.model.delta import CLEARLY, MIN_NEW, incremental_name
from reconciler.planner.codecs import PATIENCE, Camp, Codecs
from reconciler.planner.deltas import Edge, Graph
from reconciler.planner.stock import Stock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from reconciler.model.delta import CodecTraits, Duplication, Incremental, Sample
    from reconciler.model.offer import OfferedIncremental
    from reconciler.model.release import Release
    from reconciler.planner.codecs import CodecChoice
    from reconciler.planner.desired import Desired
    from reconciler.planner.stock import Place
    from reconciler.planner.targets import Target


def _nested() -> dict[str, Counter[Camp]]:
    return defaultdict(Counter)


@dataclass(slots=True)
class Demand:
    """What the fleet has, by (component, platform of the target).

    `lacking` counts the clients of each camp by the content that they have in place of the target; the empty digest
    stands for nothing, or damaged files. `camps` are those of all clients. `staying` holds each (component, digest)
    that a client has and this plan leaves there.
    """

    lacking: dict[Place, dict[str, Counter[Camp]]] = field(default_factory=lambda: defaultdict(_nested))
    camps: dict[Place, set[Camp]] = field(default_factory=lambda: defaultdict(set))
    staying: set[tuple[str, str]] = field(default_factory=set)

    def add(self, release: Release, digest: str, camp: Camp, clients: int) -> None:
        """Count clients that should run a release."""
        place = release.component, release.platform
        self.camps[place].add(camp)
        if digest != release.digest:
            self.lacking[place][digest][camp] += clients


@dataclass(frozen=True, slots=True)
class Supplies:
    """What the store has and is offered beside releases, and what codecs there are.

    `passes_on` says of a component whether what is attached to its releases is fetched with them. `samples` tell of
    incrementals between two contents, `memory` has the bytes that making them may take (0: not known).
    """

    held: Sequence[Incremental]
    offered: Sequence[OfferedIncremental]
    traits: Mapping[str, CodecTraits]
    policy: Duplication
    passes_on: Callable[[str], bool]
    samples: Mapping[tuple[str, str], Sample] = field(default_factory=dict)
    memory: int = 0


class Duplicator:
    """Decides for the store, one target after the other; keeps the graph over which clients are supplied."""

    def __init__(self, desired: Desired, fulls: Iterable[Release], supplies: Supplies, demand: Demand) -> None:
        self._policy = supplies.policy
        self._known = desired.known
        self._codecs = Codecs(supplies.traits, supplies.policy, supplies.memory)
        self._demand = demand
        self._passes_on = supplies.passes_on
        self._samples = supplies.samples
        self._contents: set[str] = set()
        self._fulls: dict[Place, list[Release]] = defaultdict(list)
        self._held: dict[Place, list[Incremental]] = defaultdict(list)
        self._offered: dict[Place, list[OfferedIncremental]] = defaultdict(list)
        for release in fulls:
            self._fulls[release.component, release.platform].append(release)
            self._contents.update(file.sha256 for file in (*release.files, *release.attached))
        for incremental in supplies.held:
            self._held[incremental.component, incremental.platform].append(incremental)
        for offered in supplies.offered:
            self._offered[offered.incremental.component, offered.incremental.platform].append(offered)
        self._stocks: dict[Place, Stock] = {}
        self.downloads: list[Download] = []
        self.merges: list[Merge] = []
        self.generates: list[Generate] = []
        self.notes: list[str] = []

    def supply(self, target: Target, previous: str) -> None:
        """Decide what the store needs for one target; `previous` is the highest version that it holds."""
        place = target.release.component, target.release.platform
        active = self._policy.enabled and target.spec.duplicate
        if not active:
            if target.source:
                self.downloads.append(self._full(target, previous))
            return
        known = self._known[place[0]]
        stock = Stock(
            target, self._policy, self._fulls[place], self._held[place], self._offered[place], known, self._samples
        )
        self._stocks[place] = stock
        self._fetch(stock, previous)
        self._generate(stock)
        self._download_rest(stock)
        self._pack(stock)

    def stock(self, place: Place) -> Stock | None:
        """Give what there is of a component and platform; None where nothing is duplicated."""
        return self._stocks.get(place)

    @property
    def codecs(self) -> Codecs:
        """The codecs under the policy."""
        return self._codecs

    # --- getting the release ------------------------------------------------------------------------------------------

    def _fetch(self, stock: Stock, previous: str) -> None:
        target, release = stock.target, stock.target.release
        if not target.source:
            return
        way = stock.way_here(self._codecs)
        if target.replaces or way is None or way.bytes > CLEARLY * release.size:
            self.downloads.append(self._full(target, previous))
            return
        start = stock.full(way.edges[0].start)
        for edge in way.edges:
            stock.take_offered(edge, self.downloads, "for a merge")
        reason = "pinned" if target.pinned else "outdated"
        self.merges.append(
            Merge(
                component=release.component,
                previous=start.version,
                from_digest=start.digest,
                to=release.version,
                to_digest=release.digest,
                platform=release.platform,
                path=way.names,
                source=target.source,
                bytes=self._bytes(release),
                reason=reason,
            )
        )

    def _full(self, target: Target, previous: str) -> Download:
        release, behind = target.release, "outdated" if previous else "missing"
        return Download(
            component=release.component,
            previous=previous,
            to=release.version,
            to_digest=release.digest,
            platform=release.platform,
            source=target.source,
            bytes=self._bytes(release),
            reason=REPLACED if target.replaces else "pinned" if target.pinned else behind,
        )

    def _bytes(self, release: Release) -> int:
        """Count what is fetched of a release: contents that the store has don't come again, nor one of them twice."""
        files = (*release.files, *release.attached) if self._passes_on(release.component) else release.files
        return sum({file.sha256: file.size for file in files if file.sha256 not in self._contents}.values())

    # --- incrementals -------------------------------------------------------------------------------------------------

    def _generate(self, stock: Stock) -> None:
        release = stock.target.release
        older = stock.older_fulls()
        if release.size < MIN_NEW or not older:
            return
        self._say(stock)
        for full in older:
            for choice in self._choices(stock, full.version, full.digest):
                offered = stock.cheapest_offered(full.digest)
                if offered is not None and choice.seconds > PATIENCE:
                    stock.take_offered(offered, self.downloads, "cheaper than generating")
                else:
                    self._make(stock, choice, full.version, full.digest, "duplicate")

    def _choices(self, stock: Stock, version: str, digest: str) -> Iterable[CodecChoice]:
        """Choose codecs so that all clients that have a full, or would have it, can take an incremental from it."""
        target, told, found = stock.target, stock.told(version, digest), dict[str, "CodecChoice"]()
        kind, only = target.spec.component.kind, target.spec.codec
        for camp, clients in self._camps(stock, digest):
            if stock.serves(self._codecs, camp, digest):
                continue
            choice = self._codecs.best(target.release, kind, camp, clients, only=only, told=told)
            if choice is None or stock.was_tried(digest, choice.codec):
                continue
            known = found.get(choice.codec)
            if known is None or known.level < choice.level:
                found[choice.codec] = choice
        return found.values()

    def _camps(self, stock: Stock, digest: str) -> list[tuple[Camp, int]]:
        """Give the camps that matter for a full: of those who have it, or else one that stands for the whole fleet."""
        here = self._demand.lacking[stock.place].get(digest)
        if here:
            return sorted(here.items(), key=lambda entry: (-entry[1], sorted(entry[0].tools), entry[0].memory))
        everywhere = self._demand.camps[stock.place]
        if not everywhere:
            return [(self._codecs.all_tools(), 1)]
        tools = frozenset(tool for camp in everywhere for tool in camp.tools)
        most = 0 if any(not camp.memory for camp in everywhere) else max(camp.memory for camp in everywhere)
        return [(Camp(tools, most), 1)]

    def _say(self, stock: Stock) -> None:
        """Say which codecs aren't used, though the spec allows them, as making takes more memory than there is."""
        release, spec = stock.target.release, stock.target.spec
        for codec in self._policy.codecs:
            why = self._codecs.passed_over(codec, release, spec.component.kind) if spec.codec in {"", codec} else ""
            if why:
                self.notes.append(f"{release.component} {release.version}: {why}")

    def _make(self, stock: Stock, choice: CodecChoice, version: str, digest: str, reason: str) -> None:
        release = stock.target.release
        expected = stock.expected(choice, version)
        self.generates.append(
            Generate(
                component=release.component,
                previous=version,
                from_digest=digest,
                to=release.version,
                to_digest=release.digest,
                platform=release.platform,
                codec=choice.codec,
                level=choice.level,
                bytes=expected,
                reason=reason,
            )
        )
        name = incremental_name(version, release.version, choice.codec)
        stock.edges.append(
            Edge(
                name=name,
                start=digest,
                end=release.digest,
                bytes=expected,
                codecs=frozenset({choice.codec}),
                estimated=True,
            )
        )

    def _download_rest(self, stock: Stock) -> None:
        """Take what a source has and nothing here can be made of: one incremental for each version."""
        fulls = {full.digest for full in stock.fulls}
        for digest in stock.offered_starts():
            if digest not in fulls and not stock.straight(digest):
                edge = stock.cheapest_offered(digest)
                if edge is not None:
                    stock.take_offered(edge, self.downloads, "no full to generate from")

    def _pack(self, stock: Stock) -> None:
        """Pack the full for the clients that no incremental reaches, or none that is clearly smaller."""
        release = stock.target.release
        graph = Graph(stock.edges)

        def gets_whole(digest: str, camp: Camp) -> bool:
            way = graph.cheapest((digest,), release.digest, stock.usable(self._codecs, camp)) if digest else None
            return way is None or way.bytes > CLEARLY * release.size

        clients = sum(
            count
            for digest, camps in self._demand.lacking[stock.place].items()
            for camp, count in camps.items()
            if gets_whole(digest, camp)
        )
        if not clients or release.size < MIN_NEW or stock.straight("") or stock.is_dense:
            return
        choice = self._codecs.packed(release, stock.target.spec.component.kind, clients, stock.told("", ""))
        if choice is not None and not stock.was_tried("", choice.codec):
            self._make(stock, choice, "", "", "clients need the full")

    # --- letting go ---------------------------------------------------------------------------------------------------

    def prunes(self, target: Target) -> list[Prune]:
        """List what the store needn't keep of a target's component and platform."""
        stock = self._stocks.get((target.release.component, target.release.platform))
        return [*self._old_fulls(target, stock), *self._old_incrementals(target, stock)]

    def _old_fulls(self, target: Target, stock: Stock | None) -> Iterable[Prune]:
        wanted, component = target.release, target.spec.component
        fulls = [full for full in self._fulls[component.id, wanted.platform] if component.scheme.accepts(full.version)]
        others = [full for full in fulls if full.version != wanted.version]
        others.sort(key=lambda full: component.version(full.version))
        keep = max(self._policy.keep_fulls - 1, 0)
        for full in others[: max(len(others) - keep, 0)]:
            stays = (component.id, full.digest) in self._demand.staying
            if not (stays and (stock is None or stock.near(full.version))):
                yield Prune(
                    component=component.id,
                    previous="",
                    to=full.version,
                    to_digest=full.digest,
                    platform=full.platform,
                    kind="full",
                    bytes=full.size,
                    reason=f"beyond the newest {self._policy.keep_fulls} fulls",
                )

    def _old_incrementals(self, target: Target, stock: Stock | None) -> Iterable[Prune]:
        place = target.release.component, target.release.platform
        kept = stock.worth_keeping(self._codecs, self._demand.camps[place]) if stock else frozenset()
        goal = target.release.digest
        renewed = {edge.name for edge in stock.edges if edge.end == goal} if stock else set()  # others of that name go
        for incremental in stock.incrementals if stock else self._held[place]:
            if incremental.name not in kept and incremental.name not in renewed and not incremental.refused:
                yield Prune(
                    component=incremental.component,
                    previous=incremental.from_version,
                    to=incremental.to_version,
                    to_digest=incremental.to_digest,
                    platform=incremental.platform,
                    kind=incremental.codec,
                    bytes=incremental.size,
                    reason="superseded" if stock else "duplication is off",
                )
