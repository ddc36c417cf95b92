"""Of which releases samples are worth taking: sizes of incrementals that aren't made yet are to come of their data.

1. A sample is worth taking of two fulls that are held, where nothing leads from the one to the other yet, and of the
   target by itself where it isn't packed. What isn't downloaded yet can't be sampled.
2. Of the fulls that lack an incremental the newest and the oldest are sampled; what lies between follows from both.

What follows from samples stands in `planner.told`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.model.delta import MIN_NEW
from reconciler.planner.desired import Desired
from reconciler.planner.rollout import halts
from reconciler.planner.stock import Stock
from reconciler.planner.targets import Times

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from reconciler.model.release import ComponentKind, Release
    from reconciler.planner.inputs import Observed, Wanted
    from reconciler.planner.targets import Target


@dataclass(frozen=True, slots=True)
class Pair:
    """Two releases that are held, of which the later is to come of the `before`; None: it is to be packed."""

    before: Release | None
    after: Release
    kind: ComponentKind

    @property
    def key(self) -> tuple[str, str]:
        """Both contents by their digests, as `Observed.samples` has them."""
        return self.before.digest if self.before else "", self.after.digest


def worth_sampling(wanted: Wanted, observed: Observed, now: datetime) -> list[Pair]:
    """List the releases that a plan would like to have samples of, in the order of their worth."""
    if not wanted.duplication.enabled:
        return []
    held: dict[str, list[Release]] = defaultdict(list)
    for release in observed.held:
        held[release.component].append(release)
    components = {name: spec for name, spec in wanted.components.items() if spec.duplicate and held[name]}
    if not components:
        return []
    desired = Desired(
        components,
        observed.held,
        observed.offers,
        observed.withdrawn,
        Times(now, observed.first_seen),
        halts(observed.rollouts.values()),
        observed.past,
        observed.unfetched,
    )
    pairs: list[Pair] = []
    for component in components:
        for target in desired.targets(component):
            if not target.source and target.release.size >= MIN_NEW:
                pairs += _pairs(target, held[component], desired, wanted, observed)
    return sorted(pairs, key=lambda pair: pair.before is None)


def _pairs(
    target: Target, held: Iterable[Release], desired: Desired, wanted: Wanted, observed: Observed
) -> Iterator[Pair]:
    release, kind = target.release, target.spec.component.kind
    fulls = [full for full in held if full.platform == release.platform]
    known = [entry for entry in observed.incrementals if entry.to_digest == release.digest]
    stock = Stock(target, wanted.duplication, fulls, known, (), desired.known[release.component])
    tried = {entry.from_digest for entry in known}
    lacking = [full for full in stock.older_fulls() if full.digest not in tried]
    for before in dict.fromkeys((*lacking[:1], *lacking[-1:])):
        yield Pair(before, release, kind)
    if "" not in tried:
        yield Pair(None, release, kind)
