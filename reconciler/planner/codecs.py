"""Which codec and level make an incremental: bytes times clients against CPU once.

Each grade of a codec has a price in seconds: the CPU to make the patch, and the time to send it to all of the clients
that will take it at UPLINK. The cheapest wins. An engine of 11 MB, with the grades' numbers:

    clients   zstd 12          zstd 19          bsdiff           chosen
          1   0.4 + 1.2        6.5 + 0.9        5.5 + 0.5        zstd 12
        100   0.4 + 120        6.5 + 87         5.5 + 49         bsdiff
     10 000   0.4 + 12000      6.5 + 8700       5.5 + 4900       bsdiff

Where samples tell of the releases at hand (`planner.told`), sizes are theirs.

A codec is eligible when the spec allows it, the clients have its tool and the memory to apply it, the file isn't too
large for it, and making the patch doesn't take more memory than the server may use. Packing a full is weighed the same
way against sending it as it is.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from reconciler.model.delta import CodecTraits, Duplication, Grade
    from reconciler.model.release import ComponentKind, Release
    from reconciler.planner.told import Told

UPLINK = 2**20
"""Bytes a second: the server's line to its clients. It is a thin one: bytes matter more than CPU seconds."""
MEMORY_SHARE = 0.5
"""How much of a client's memory applying a patch may take: it has other work to do."""
PATIENCE = 120.0
"""CPU seconds: where generating would take longer, an incremental that a vendor has is downloaded instead."""
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Camp:
    """Clients that can apply the same: their tools, and their memory in MiB (0: not known)."""

    tools: frozenset[str]
    memory: int = 0


@dataclass(frozen=True, slots=True)
class CodecChoice:
    """A codec at a level, what making takes in CPU seconds, and the size as a share of the full.

    `sampled`: the share comes of the releases at hand.
    """

    codec: str
    level: int
    seconds: float
    ratio: float
    _: KW_ONLY
    sampled: bool = False


class Codecs:
    """The codecs that there are, under the policy of the spec."""

    def __init__(self, traits: Mapping[str, CodecTraits], policy: Duplication, memory: int = 0) -> None:
        """Take the bytes of memory that making patches may take, too; 0: not known."""
        self._traits = traits
        self._memory = memory
        self._allowed = [traits[name] for name in policy.codecs if name in traits]
        self._policy = policy

    def can_apply(self, camp: Camp, codecs: Collection[str], largest: int) -> bool:
        """Say whether clients can apply patches of these codecs to files of up to `largest` bytes."""
        return all(self._fits(camp, self._traits.get(codec), largest) for codec in codecs)

    def why_not(self, camp: Camp, codecs: Collection[str], largest: int) -> str:
        """Say why clients can't apply patches of these codecs; empty when they can."""
        for name in sorted(codecs):
            traits = self._traits.get(name)
            if traits is None:
                return f"the codec {name} isn't allowed"
            if not self._fits(Camp(camp.tools), traits, largest):
                return f"the client has no {traits.tool}"
            if not self._fits(camp, traits, largest):
                need = traits.applying(largest, largest) // _MIB
                return f"{traits.tool} would take {need} of the client's {camp.memory} MiB of memory"
        return ""

    def knows(self, codecs: Collection[str]) -> bool:
        """Say whether all of these codecs are at hand here, for a merge."""
        return all(codec in self._traits for codec in codecs)

    def all_tools(self) -> Camp:
        """Give a camp that can apply everything: where no client is known, nothing is ruled out."""
        return Camp(frozenset(traits.tool for traits in self._traits.values()))

    def best(
        self,
        release: Release,
        kind: ComponentKind,
        camp: Camp,
        clients: int,
        *,
        only: str = "",
        told: Told | None = None,
    ) -> CodecChoice | None:
        """Choose what makes an incremental to a release for so many clients of a camp; None when nothing can.

        `only` is the codec that the spec wants, `told` what samples tell.
        """
        size, largest = release.size, _largest(release)
        choices = [
            choice
            for traits in self._allowed
            if traits.based and only in {"", traits.name} and largest <= traits.max_size
            if self._fits(camp, traits, largest)
            for choice in self._choices(traits, kind, release, told)
        ]
        return min(choices, key=lambda choice: _price(choice, size, clients), default=None)

    def why_none(self, release: Release, kind: ComponentKind, camp: Camp, only: str = "") -> str:
        """Say why nothing makes an incremental that clients can apply; empty where something does."""
        largest, reasons = _largest(release), []
        for traits in self._allowed:
            if not traits.based or only not in {"", traits.name} or not traits.grades_for(kind):
                continue
            why = self.passed_over(traits.name, release, kind) or self.why_not(camp, (traits.name,), largest)
            if largest > traits.max_size:
                why = f"{traits.name} takes files of at most {traits.max_size // _MIB} MiB"
            if not why:
                return ""
            reasons.append(why)
        return "; ".join(reasons)

    def passed_over(self, codec: str, release: Release, kind: ComponentKind) -> str:
        """Say that making patches with a codec takes more memory than the server may use; empty where it doesn't."""
        traits, largest = self._traits.get(codec), _largest(release)
        if traits is None or largest > traits.max_size:
            return ""
        needs = [traits.making_at(level, largest, largest) for level in self._levels(traits, kind)]
        if not needs or not self._memory or min(needs) <= self._memory:
            return ""
        need, may = -(-min(needs) // _MIB), self._memory // _MIB
        return f"making it with {codec} would take {need} MiB of memory, and the server may use {may} MiB"

    def packed(
        self, release: Release, kind: ComponentKind, clients: int, told: Told | None = None
    ) -> CodecChoice | None:
        """Choose how to pack a full for so many clients; None when sending it as it is costs less."""
        size, largest = release.size, _largest(release)
        choices: list[CodecChoice] = [
            choice
            for traits in self._allowed
            if not traits.based and largest <= traits.max_size
            for choice in self._choices(traits, kind, release, told)
        ]
        best = min(choices, key=lambda choice: _price(choice, size, clients), default=None)
        if best is None or _price(best, size, clients) >= size * clients / UPLINK:
            return None
        return best

    def _fits(self, camp: Camp, traits: CodecTraits | None, largest: int) -> bool:
        if traits is None or (traits.based and traits.tool not in camp.tools):
            return False
        return not camp.memory or traits.applying(largest, largest) <= camp.memory * _MIB * MEMORY_SHARE

    def _choices(
        self, traits: CodecTraits, kind: ComponentKind, release: Release, told: Told | None
    ) -> Iterable[CodecChoice]:
        size, largest = release.size, _largest(release)
        for level, grade in self._levels(traits, kind).items():
            if not self._memory or traits.making_at(level, largest, largest) <= self._memory:
                share = told.share(size, grade, kind, self._traits) if told else None
                seconds = grade.pace * size / _MIB
                yield CodecChoice(
                    traits.name, level, seconds, grade.ratio if share is None else share, sampled=share is not None
                )

    def _levels(self, traits: CodecTraits, kind: ComponentKind) -> dict[int, Grade]:
        """Give the levels to choose among, and the grade that tells of each: where the spec fixes one, the nearest."""
        grades = traits.grades_for(kind)
        level = self._policy.levels.get(traits.name)
        if level is not None and grades:
            return {level: _nearest(grades, level)}
        return {grade.level: grade for grade in grades}


def _largest(release: Release) -> int:
    return max(file.size for file in release.files)


def _nearest(grades: Iterable[Grade], level: int) -> Grade:
    return min(grades, key=lambda grade: abs(grade.level - level))


def _price(choice: CodecChoice, size: int, clients: int) -> float:
    return choice.seconds + choice.ratio * size * max(clients, 1) / UPLINK
