"""What there is, and by the end of a plan will be, of one component and platform: fulls and edges of the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.change import Download
from reconciler.model.delta import Sample
from reconciler.planner.deltas import Edge, Graph, Ladder
from reconciler.planner.told import Told, told_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from reconciler.model.delta import Duplication, Incremental
    from reconciler.model.offer import OfferedIncremental
    from reconciler.model.release import Release
    from reconciler.planner.codecs import Camp, CodecChoice, Codecs
    from reconciler.planner.deltas import DeltaPath
    from reconciler.planner.targets import Target

LEAST = 2048
"""Bytes that an incremental has even where little changed; an estimate shouldn't promise less."""
Place = tuple[str, str]
"""A component and a platform of releases."""


class Stock:
    """Grows while a plan is made: what is downloaded or generated becomes an edge at once.

    `incrementals` are those that are held, or downloaded by the plan; `edges` also those that are to be made.
    """

    def __init__(
        self,
        target: Target,
        policy: Duplication,
        fulls: Sequence[Release],
        held: Sequence[Incremental],
        offered: Sequence[OfferedIncremental],
        known: Iterable[str],
        samples: Mapping[tuple[str, str], Sample] | None = None,
    ) -> None:
        """Take `known`, the versions that anybody knows of, and `samples` by the contents that they are of."""
        self.target = target
        self.place: Place = target.release.component, target.release.platform
        self.fulls = fulls
        incrementals = [*held, *(entry.incremental for entry in offered)]
        ends = {version for entry in incrementals for version in (entry.from_version, entry.to_version)}
        self.ladder = Ladder(target.spec.component.scheme, ends.union(known))
        self.edges = [_edge(entry) for entry in held if not entry.refused]
        self.largest = max(file.size for file in target.release.files)
        self._policy = policy
        goal = target.release.digest
        self.incrementals = list(held)
        self._tried = {(entry.from_digest, entry.codec): entry.refused for entry in held if entry.to_digest == goal}
        self._sizes = [
            (entry.codec, entry.size, self.ladder.distance(entry.from_version, entry.to_version) or 1)
            for entry in held
            if entry.from_version and entry.patches
        ]
        self._samples = {
            entry.from_digest: _made_of(entry) for entry in held if entry.to_digest == goal and entry.patches
        }
        self._samples |= {before: sample for (before, after), sample in (samples or {}).items() if after == goal}
        have = {entry.name for entry in held if not entry.refused}
        self._offers = {entry.incremental.name: entry for entry in offered if entry.incremental.name not in have}
        self._by_digest = {full.digest: full for full in fulls}

    def full(self, digest: str) -> Release:
        """Give a full that is held."""
        return self._by_digest[digest]

    def holds(self, digest: str) -> bool:
        """Say whether a full is held, by its content."""
        return digest in self._by_digest

    def near(self, version: str) -> bool:
        """Say whether a version is below the target, and by no more releases than incrementals reach."""
        distance = self.ladder.distance(version, self.target.release.version)
        return distance is not None and distance <= self._policy.incrementals

    def older_fulls(self) -> list[Release]:
        """Give the fulls that incrementals start from, the newest first."""
        scheme = self.target.spec.component.scheme
        found = [full for full in self.fulls if full.digest != self.target.release.digest and self.near(full.version)]
        return sorted(found, key=lambda full: scheme.parse(full.version), reverse=True)

    def way_here(self, codecs: Codecs) -> DeltaPath | None:
        """Give the cheapest way for the store itself: what it holds costs nothing."""
        starts = {full.digest for full in self.fulls if self.near(full.version)}
        free = [
            Edge(name=edge.name, start=edge.start, end=edge.end, bytes=0, codecs=edge.codecs) for edge in self.edges
        ]
        offers = [_edge(entry.incremental) for entry in self._offers.values()]
        usable = (edge for edge in (*free, *offers) if edge.start and codecs.knows(edge.codecs))
        return Graph(usable).cheapest(starts, self.target.release.digest, lambda _edge: True)

    def take_offered(self, edge: Edge, downloads: list[Download], reason: str) -> None:
        """Have an offered incremental downloaded; one that is held already is left as it is."""
        offered = self._offers.pop(edge.name, None)
        if offered is None:
            return
        incremental = offered.incremental
        downloads.append(
            Download(
                component=incremental.component,
                previous=incremental.from_version,
                to=incremental.to_version,
                to_digest=incremental.to_digest,
                platform=incremental.platform,
                source=offered.source,
                bytes=incremental.size,
                reason=reason,
                kind=incremental.codec,
            )
        )
        self.incrementals.append(incremental)
        self.edges.append(_edge(incremental))

    def offered_starts(self) -> list[str]:
        """Give the digests from which a source has an incremental straight to the target, from near enough."""
        goal = self.target.release.digest
        found = [entry.incremental for entry in self._offers.values()]
        return list(dict.fromkeys(e.from_digest for e in found if e.to_digest == goal and self.near(e.from_version)))

    def cheapest_offered(self, digest: str) -> Edge | None:
        """Give the smallest incremental that a source has from one content straight to the target."""
        goal = self.target.release.digest
        edges = [
            _edge(entry.incremental)
            for entry in self._offers.values()
            if (entry.incremental.from_digest, entry.incremental.to_digest) == (digest, goal)
        ]
        return min(edges, key=lambda edge: (edge.bytes, edge.name), default=None)

    def straight(self, digest: str) -> list[Edge]:
        """Give the incrementals that lead from one content straight to the target."""
        return [edge for edge in self.edges if (edge.start, edge.end) == (digest, self.target.release.digest)]

    def serves(self, codecs: Codecs, camp: Camp, digest: str) -> bool:
        """Say whether a camp can apply an incremental that leads from one content straight to the target."""
        return any(map(self.usable(codecs, camp), self.straight(digest)))

    def usable(self, codecs: Codecs, camp: Camp) -> Callable[[Edge], bool]:
        """Give what says whether a camp can take an edge."""
        return lambda edge: bool(edge.start) and codecs.can_apply(camp, edge.codecs, self.largest)

    def was_tried(self, digest: str, codec: str) -> bool:
        """Say whether an incremental was made already, or given up because it wasn't smaller."""
        return (digest, codec) in self._tried

    @property
    def is_dense(self) -> bool:
        """Say whether an incremental was given up: what doesn't shrink beside an old file doesn't by itself either."""
        return any(self._tried.values())

    def refusal(self, digest: str) -> str:
        """Say why an incremental from one content to the target was given up; empty when none was."""
        return next((why for (start, _codec), why in self._tried.items() if start == digest and why), "")

    def worth_keeping(self, codecs: Codecs, camps: Iterable[Camp]) -> frozenset[str]:
        """Name the incrementals from near that lead straight to the target, or are on the only way there.

        That doesn't depend on sizes: those of incrementals that aren't made yet are guesses.
        """
        goal = self.target.release.digest
        near = [entry for entry in self.incrementals if not entry.from_version or self.near(entry.from_version)]
        kept = {entry.name for entry in near if entry.to_digest == goal}
        for camp in (codecs.all_tools(), *camps):
            usable = self.usable(codecs, camp)
            reaching = Graph(edge for edge in self.edges if usable(edge)).reaching(goal)
            kept.update(
                entry.name
                for entry in near
                if entry.to_digest in reaching
                and usable(_edge(entry))
                and not self.serves(codecs, camp, entry.from_digest)
            )
        return frozenset(kept)

    def told(self, version: str, digest: str) -> Told | None:
        """Give what samples tell of an incremental from a release, or with no version of the packed full."""
        own = self._samples.get(digest)
        if own is not None or not version:
            return Told(((1.0, own),)) if own is not None else None
        known = [
            (distance, self._samples[full.digest])
            for full in self.fulls
            if full.digest in self._samples
            and (distance := self.ladder.distance(full.version, self.target.release.version)) is not None
        ]
        return told_of(self.ladder.distance(version, self.target.release.version) or 1, known)

    def expected(self, choice: CodecChoice, version: str) -> int:
        """Estimate the size of an incremental: by samples, by the last ones of its codec, or by what is usual."""
        size = self.target.release.size
        if choice.sampled:
            return min(max(int(choice.ratio * size), LEAST), size)
        steps = self.ladder.distance(version, self.target.release.version) or 1
        sizes = [bytes_ / distance for codec, bytes_, distance in self._sizes if codec == choice.codec]
        each = sorted(sizes)[len(sizes) // 2] if sizes and version else choice.ratio * size + LEAST
        return int(min(each * steps, size))


def _edge(incremental: Incremental) -> Edge:
    return Edge(
        name=incremental.name,
        start=incremental.from_digest,
        end=incremental.to_digest,
        bytes=incremental.size,
        codecs=incremental.codecs,
    )


def _made_of(incremental: Incremental) -> Sample:
    parts = tuple((patch.result, patch.size) for patch in incremental.patches)
    return Sample(incremental.codec, parts, sampled=False)
