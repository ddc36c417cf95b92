"""Incrementals and what is known of the codecs that make them.

An incremental turns all files of release FROM into those of release TO: each file of TO is kept (FROM has the same
bytes, perhaps under another name) or comes from a patch (made by a codec from one file of FROM, or from nothing). An
incremental from nothing is a full that was packed.
"""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING

from reconciler.model.release import COMPONENT_ID, PLATFORM, SHA256, VERSION_NAME, file_name_problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.model.release import ComponentKind

MIN_NEW = 512
"""Files below this size in bytes go whole: the head of a patch would be as large."""
MIN_OLD = 8
"""Nothing can be told from a base below this size in bytes."""
CLEARLY = 0.9
"""An incremental is used when it has at most this share of the bytes of what it replaces."""
NOT_SMALLER = "delta not smaller"
PACKER = "gzip"
"""The codec that makes a file from nothing, for any client."""
MAX_SIZE = 2**40
PROCESS = 2**26
"""Bytes of memory that a process takes that makes patches, beside those."""
CODEC_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True, slots=True, order=True)
class Patch:
    """The bytes that make one file of TO: `size` and `sha256` are the patch's own, `result` is the size of that file.

    `base` names the file of FROM, and is empty when the codec needs none.
    """

    name: str
    size: int
    sha256: str
    codec: str
    base: str = ""
    result: int = 0


@dataclass(frozen=True, slots=True, order=True)
class Kept:
    """A file of TO whose bytes FROM has in the file `base`."""

    name: str
    base: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Incremental:
    """What makes release TO of release FROM; both are named by version and content digest.

    `from_version` and `from_digest` are empty in a packed full. `codec` is the one that was asked for; single patches
    may have another. `refused` says why there are no patches: it was tried, and the full is the better way.
    """

    component: str
    platform: str
    from_version: str
    from_digest: str
    to_version: str
    to_digest: str
    codec: str
    patches: tuple[Patch, ...] = ()
    kept: tuple[Kept, ...] = ()
    refused: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """What plans and people call it: `16.677.00..16.679.00/zstd`."""
        return incremental_name(self.from_version, self.to_version, self.codec)

    @property
    def size(self) -> int:
        """The size of all patches in bytes."""
        return sum(patch.size for patch in self.patches)

    @property
    def codecs(self) -> frozenset[str]:
        """All codecs that are needed to apply it."""
        return frozenset(patch.codec for patch in self.patches)

    def makes(self, names: frozenset[str]) -> bool:
        """Say whether it makes exactly the files of these names, each once."""
        made = [patch.name for patch in self.patches] + [kept.name for kept in self.kept]
        return len(made) == len(names) and set(made) == names


@dataclass(frozen=True, slots=True)
class Chain:
    """How a file of the last release comes of the file `base` of the first: by patches, one after the other.

    Without patches it is that file; with an empty `base` it comes of nothing.
    """

    base: str
    patches: tuple[Patch, ...] = ()


def compose(path: Sequence[Incremental]) -> dict[str, Chain]:
    """Follow each file of the last release back through the incrementals of a path.

    Raises:
        ValueError: the incrementals don't follow each other, or a base isn't made by the one before.
    """
    made: dict[str, Chain] = {}
    for at, incremental in enumerate(path):
        if at and path[at - 1].to_digest != incremental.from_digest:
            raise ValueError(f"{incremental.name} doesn't follow {path[at - 1].name}")
        before = made if at else None
        made = {kept.name: _from(before, kept.base, incremental) for kept in incremental.kept}
        for patch in incremental.patches:
            start = _from(before, patch.base, incremental) if patch.base else Chain("")
            made[patch.name] = Chain(start.base, (*start.patches, patch))
    return made


def _from(before: Mapping[str, Chain] | None, base: str, incremental: Incremental) -> Chain:
    if before is None:
        return Chain(base)
    if base not in before:
        raise ValueError(f"{incremental.name} wants a file {base!r} that isn't made before it")
    return before[base]


def incremental_name(from_version: str, to_version: str, codec: str) -> str:
    """Give the name of an incremental; unique for a component and platform."""
    return f"{from_version}..{to_version}/{codec}"


@dataclass(frozen=True, slots=True)
class Grade:
    """A level of a codec and what it costs for content of some kinds, as measured.

    `ratio` is the size of a patch as a share of the full's, `pace` the CPU seconds for a MiB of the new file, `memory`
    the bytes that making takes beside what the codec says.
    """

    level: int
    kinds: frozenset[ComponentKind]
    ratio: float
    pace: float
    memory: int = 0


@dataclass(frozen=True, slots=True)
class CodecTraits:
    """What a codec needs and costs. `tool` is the command that a client applies its patches with.

    `samples` are levels too poor for clients that tell in a moment how large the patches of the others will be.

    `based` is False for a codec that packs a file by itself. Applying takes `memory_old` times the size of the old file
    and `memory_new` times that of the new one, and `memory` bytes; making takes `making` times both. Files over
    `max_size` bytes aren't given to it.
    """

    name: str
    _: KW_ONLY
    tool: str
    based: bool
    grades: tuple[Grade, ...]
    memory: int
    memory_old: float
    memory_new: float
    making: float
    max_size: int
    samples: tuple[Grade, ...] = ()

    def applying(self, old: int, new: int) -> int:
        """Give the bytes of memory that applying a patch takes."""
        return int(self.memory + self.memory_old * old + self.memory_new * new)

    def making_at(self, level: int, old: int, new: int) -> int:
        """Give the bytes of memory that making a patch at a level takes, in a process of its own."""
        grade = max((grade.memory for grade in self.grades if grade.level == level), default=0)
        return int(self.making * (old + new)) + grade + PROCESS

    def grades_for(self, kind: ComponentKind) -> tuple[Grade, ...]:
        """Give the grades that are worth trying for a kind of component, the fastest first."""
        return tuple(grade for grade in self.grades if kind in grade.kinds)

    def sample_for(self, kind: ComponentKind) -> Grade | None:
        """Give the level that samples are made with for a kind of component; None where the codec has none."""
        return next((grade for grade in self.samples if kind in grade.kinds), None)

    def measure_of(self, kind: ComponentKind, *, sampled: bool) -> float:
        """Give which share of a file its patches have as a rule: those of samples, or the real ones; 0: not known."""
        grades = self.samples if sampled else self.grades
        return next((grade.ratio for grade in grades if kind in grade.kinds), 0.0)


@dataclass(frozen=True, slots=True)
class Sample:
    """What patches told of the size of an incremental: quick ones of parts of its files, or those of another codec.

    `parts` has for each file that isn't kept its size and that of its patch. `codec` made the patches, `sampled` at the
    level that it has for that.
    """

    codec: str
    parts: tuple[tuple[int, int], ...]
    sampled: bool = True


@dataclass(frozen=True, slots=True)
class Duplication:
    """The policy of `duplication` in the spec.

    `incrementals` counts releases: how far back incrementals reach. `keep_fulls` is the number of fulls that stay.
    `levels` and `windows` (the exponent of 2) hold what the spec sets for a codec; else its grades decide. `memory` has
    the bytes that making may take at a time; 0: what the machine has.
    """

    enabled: bool = True
    incrementals: int = 14
    keep_fulls: int = 7
    codecs: tuple[str, ...] = ("zstd", "bsdiff", "gzip")
    levels: Mapping[str, int] = field(default_factory=dict)
    windows: Mapping[str, int] = field(default_factory=dict)
    memory: int = 0


def incremental_problem(incremental: Incremental) -> str:
    """Say what is wrong with an incremental by itself; an empty string when nothing is."""
    if not COMPONENT_ID.fullmatch(incremental.component) or not PLATFORM.fullmatch(incremental.platform):
        return f"{incremental.component!r} for {incremental.platform!r} names no component"
    packed = not incremental.from_version
    if not (packed and not incremental.from_digest) and not (
        VERSION_NAME.fullmatch(incremental.from_version) and SHA256.fullmatch(incremental.from_digest)
    ):
        return f"it comes from {incremental.from_version!r}, which is no release"
    if not VERSION_NAME.fullmatch(incremental.to_version) or not SHA256.fullmatch(incremental.to_digest):
        return f"it leads to {incremental.to_version!r}, which is no release"
    if not CODEC_NAME.fullmatch(incremental.codec):
        return f"{incremental.codec!r} is no codec"
    names = [patch.name for patch in incremental.patches] + [kept.name for kept in incremental.kept]
    if len(set(names)) != len(names) or not (names or incremental.refused):
        return "it has no files, or a file twice"
    bases = [patch.base for patch in incremental.patches if patch.base] + [kept.base for kept in incremental.kept]
    if packed and bases:
        return "it comes from nothing and names files of FROM"
    problem = next(filter(None, map(file_name_problem, (*names, *bases))), "")
    return problem or next(filter(None, map(_patch_problem, incremental.patches)), "")


def _patch_problem(patch: Patch) -> str:
    sizes = (patch.size, patch.result)
    if any(type(size) is not int or not 0 <= size <= MAX_SIZE for size in sizes) or not SHA256.fullmatch(patch.sha256):
        return f"the patch of {patch.name!r} has no size or digest"
    return "" if CODEC_NAME.fullmatch(patch.codec) else f"{patch.codec!r} is no codec"
