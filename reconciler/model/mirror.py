"""A folder of releases for programs that know nothing of updoser: what a layout puts into it, and what it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, BinaryIO

from reconciler.model.release import ReleaseFile, file_name_problem

if TYPE_CHECKING:
    from reconciler.model.release import Release, ReleaseKey

MAX_PATH = 1000

OpenFile = Callable[[ReleaseFile], AbstractContextManager[BinaryIO]]
"""Opens the content of a file of a release, as the store has it."""
Made = Callable[[OpenFile, datetime], bytes]
"""Makes the bytes of a file from what the store has, at the time of publication."""


@dataclass(frozen=True, slots=True)
class LayoutTraits:
    """What the core needs to know of a layout.

    `keeps` is how many releases of a component for a platform lie in it at a time; 0: all that there are. `forward`
    says, as half a sentence, what its readers do when a release takes the place of a higher one; empty: they follow.
    """

    keeps: int = 0
    forward: str = ""


@dataclass(frozen=True, slots=True)
class Placed:
    """A file of a layout: where it is to lie (`a/b`), what is in it, and what that depends on.

    `content` is a file of a release, what makes its bytes, or None: as it lies there already. `mark` tells one content
    from another where it is made: while it stays the same, nothing is made again; it is never a secret. What is of a
    higher `turn` is written when all of the lower ones is there, so that what names files comes after them.
    """

    path: str
    content: ReleaseFile | Made | None
    mark: str = ""
    turn: int = 0

    @property
    def says(self) -> str:
        """What tells its content from another one."""
        return f"sha256:{self.content.sha256}" if isinstance(self.content, ReleaseFile) else f"made:{self.mark}"


def path_problem(path: str) -> str:
    """Say why a layout may not put a file there; empty when it may."""
    if len(path.encode("utf-8", "surrogateescape")) > MAX_PATH:
        return f"a path is longer than {MAX_PATH} bytes"
    return next(filter(None, map(file_name_problem, path.split("/"))), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """A mirror as it is: the releases in it, and what would be other files now though its releases stay (`renew`).

    `refused` says why releases can't lie in it, by what names them. `problem` is why it can't be read, or be written.
    """

    releases: tuple[Release, ...] = ()
    traits: LayoutTraits = LayoutTraits()
    refused: Mapping[ReleaseKey, str] = field(default_factory=dict)
    renew: str = ""
    problem: str = ""
