"""How a release gets to a client: by incrementals, as a packed full, or as the full itself; and why.

1. A release that lies on the client whole, kept from before or sent early, isn't sent.
2. What the client has already of the release, under the same names, is never sent.
3. The cheapest way over incrementals that the client can apply, from within `incrementals` releases, is taken when it
   is clearly cheaper than the full.
4. Otherwise the packed full, when that is clearly smaller than the full, and then the full.
5. A client that has nothing of the component, or damaged files, gets a full. So does one that goes down.

Example: 16.677.00 on a client with zstd, and an incremental of 412 KiB to 16.679.00 in place of 21 MiB: that. A client
without zstd gets the packed full, for that reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.model.delta import CLEARLY, MIN_NEW, NOT_SMALLER
from reconciler.planner.codecs import Camp
from reconciler.planner.deltas import Graph

if TYPE_CHECKING:
    from reconciler.model.client import Installed, Profile
    from reconciler.planner.desired import Desired
    from reconciler.planner.diff import Difference
    from reconciler.planner.duplicate import Duplicator
    from reconciler.planner.stock import Stock

TINY = "too small for a delta"


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one client is sent: names of incrementals, the bytes, whether those are a guess, and why it is a full.

    With `held` it is nothing: the client has the release already.
    """

    path: tuple[str, ...]
    bytes: int
    estimated: bool = False
    why_full: str = ""
    held: bool = False


KEPT = Delivery((), 0, held=True)


class Dispatcher:
    """Chooses deliveries; alike situations are decided once."""

    def __init__(self, desired: Desired, duplicator: Duplicator) -> None:
        self._desired = desired
        self._duplicator = duplicator
        self._graphs: dict[tuple[str, str], Graph] = {}
        self._decided: dict[tuple[object, ...], Delivery] = {}

    def deliver(self, difference: Difference, profile: Profile) -> Delivery:
        """Choose how the clients of a profile get the target of a difference."""
        installed, release = difference.installed, difference.target.release
        have = installed.digest if installed else ""
        if installed is not None and have and (release.version, release.digest) in installed.kept:
            return KEPT
        key = release.component, release.platform, have, difference.reason, profile.tools, profile.memory
        known = self._decided.get(key)
        if known is None:
            known = self._decided[key] = self._decide(difference, camp_of(profile))
        return known

    def _decide(self, difference: Difference, camp: Camp) -> Delivery:
        installed, release = difference.installed, difference.target.release
        before = self._desired.held.get(installed.digest) if installed else None
        shared = sum(file.size for file in before.shared_with(release)) if before else 0
        full = Delivery((), release.size - shared)
        stock = self._duplicator.stock((release.component, release.platform))
        if stock is None or not full.bytes:
            return full
        graph = self._graphs.setdefault(stock.place, Graph(stock.edges))
        usable = stock.usable(self._duplicator.codecs, camp)
        why = ""
        if installed is not None and installed.digest:
            way = graph.cheapest((installed.digest,), release.digest, usable) if stock.near(installed.version) else None
            if way is not None and way.bytes <= CLEARLY * full.bytes:
                return Delivery(way.names, way.bytes, way.estimated)
            why = NOT_SMALLER if way is not None else self._why(stock, installed, camp)
        packed = next((edge for edge in stock.edges if not edge.start and edge.end == release.digest), None)
        if packed is not None and packed.bytes <= CLEARLY * full.bytes:
            return Delivery((packed.name,), packed.bytes, packed.estimated, why)
        return Delivery((), full.bytes, why_full=why)

    def _why(self, stock: Stock, installed: Installed, camp: Camp) -> str:
        refusal = stock.refusal(installed.digest)
        if refusal or stock.target.release.size < MIN_NEW:
            return refusal or TINY
        distance = stock.ladder.distance(installed.version, stock.target.release.version)
        if distance is None:
            return "not an update to a later release"
        if not stock.near(installed.version):
            return f"{distance} releases behind"
        codecs, edges = self._duplicator.codecs, stock.straight(installed.digest)
        reasons = [codecs.why_not(camp, edge.codecs, stock.largest) for edge in edges]
        if not edges and stock.holds(installed.digest):
            spec = stock.target.spec
            reasons.append(codecs.why_none(stock.target.release, spec.component.kind, camp, spec.codec))
        return next(filter(None, reasons), f"no incremental from {installed.version}")


def camp_of(profile: Profile) -> Camp:
    """Give what decides over the codecs that a client can apply."""
    return Camp(frozenset(profile.tools), profile.memory)
