"""What samples tell of the size of an incremental that isn't made yet.

1. All codecs find the same changes, so that their sizes hang together: of a file of which a sample has the share `s`,
   and of which a grade has `q` times as much as samples as a rule, a patch has the share `s * (q + (1 - q) * s)`.
   Where all of a file is new no codec is better than another.
2. Where an incremental by another codec is held, it is the sample.
3. What lies between two releases that were sampled has its share of both, by its distance to the target.

Example: 10 % of an engine by a sample. bsdiff has 0.3 of what samples have: 10 % * (0.3 + 0.7 * 0.1) = 3.7 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.model.delta import CodecTraits, Grade, Sample
    from reconciler.model.release import ComponentKind


@dataclass(frozen=True, slots=True)
class Told:
    """What samples tell of one incremental: each with its weight, which are 1 together."""

    samples: tuple[tuple[float, Sample], ...]

    def share(self, size: int, grade: Grade, kind: ComponentKind, traits: Mapping[str, CodecTraits]) -> float | None:
        """Give which share of `size` a patch of a grade should have; None where the samples say nothing of it."""
        total = 0.0
        for weight, sample in self.samples:
            rule = traits[sample.codec].measure_of(kind, sampled=sample.sampled) if sample.codec in traits else 0.0
            if not rule:
                return None
            total += weight * sum(_size(whole, part, grade.ratio / rule) for whole, part in sample.parts)
        return min(total / size, 1.0) if size else None


def _size(whole: int, part: int, rule: float) -> float:
    """Give the size of a patch of a file of `whole` bytes of which a sample has `part`; see rule 3."""
    share = min(part / whole, 1.0) if whole else 0.0
    return whole * min(share * (rule + max(1 - rule, 0.0) * share), 1.0)


def told_of(distance: int, known: Sequence[tuple[int, Sample]]) -> Told | None:
    """Tell of an incremental over so many releases from the samples of others to the same target, by their distances.

    Beyond the last of them it grows in proportion to the distance, and not at all where there is no other.
    """
    ordered = sorted(known, key=lambda entry: entry[0])
    if not ordered:
        return None
    below = [entry for entry in ordered if entry[0] <= distance] or ordered[:1]
    above = [entry for entry in ordered if entry[0] >= distance] or ordered[-1:]
    (near, lower), (far, upper) = below[-1], above[0]
    if near >= far:
        return Told(((1.0, lower),))
    weight = (distance - near) / (far - near)
    return Told(((1 - weight, lower), (weight, upper)))
