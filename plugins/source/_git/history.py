"""What commits and tags of a repository say, read from its mirror: who comes after whom, and what is signed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from reconciler.errors import SourceError, printable

from .._verify.material import NotThereError, Signed
from .depot import LacksError
from .objects import parse_commit, parse_tag

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from .depot import Depot
    from .objects import Commit, Tag

MAX_COMMITS = 100_000
MAX_LINE = 200
"""How many commits of a branch are looked at for one that is signed."""
MAX_NESTED = 5
SHOWN = 12
_ARMOURS = {"PGP": b"-----BEGIN PGP", "SSH": b"-----BEGIN SSH"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What a release is made of: a commit, and the name, time, text and signature of it, or of the tag for it."""

    id: str
    """Of the commit."""
    name: str
    tree: str
    made: datetime
    message: str
    payload: bytes
    signature: bytes
    unsigned: str
    """Why there is no signature, in words."""


def read_commit(depot: Depot, id_: str) -> Commit:
    """Read a commit.

    Raises:
        LacksError: it can't be had.
        SourceError: it isn't one that git would write.
    """
    try:
        return parse_commit(depot.read(id_, "commit"))
    except ValueError as error:
        raise SourceError(str(error)) from error


def of_branch(depot: Depot, id_: str) -> Point:
    """Give a commit of a branch as a point.

    Raises:
        SourceError: see `read_commit`.
    """
    commit = read_commit(depot, id_)
    return Point(
        id=id_,
        name=f"the commit {id_[:SHOWN]}",
        tree=commit.tree,
        made=commit.made,
        message=commit.message,
        payload=commit.payload,
        signature=commit.signature,
        unsigned="it isn't signed",
    )


def of_tag(depot: Depot, name: str, id_: str) -> Point:
    """Give a tag as a point. A signature of the commit says nothing of what it is called, so only the tag's own counts.

    Raises:
        SourceError: it is no tag of a commit, was made under another name, or isn't what git would write.
    """
    shown = f"the tag {printable(name)[:100]}"
    tag: Tag | None = None
    target = id_
    for _depth in range(MAX_NESTED):
        if depot.kind(target) != "tag":
            break
        try:
            inner = parse_tag(depot.read(target, "tag"))
        except ValueError as error:
            raise SourceError(str(error)) from error
        tag, target = tag or inner, inner.target
    commit = read_commit(depot, target)
    if tag is not None and tag.name != name:
        raise SourceError(f"{shown} was made as {printable(tag.name)[:100]}, and renamed")
    unsigned = (
        "it isn't signed" if tag else "it is only a name for a commit, and no tag that could be signed (git tag -s)"
    )
    return Point(
        id=target,
        name=shown,
        tree=commit.tree,
        made=(tag.made if tag else None) or commit.made,
        message=tag.message if tag else commit.message,
        payload=tag.payload if tag else b"",
        signature=tag.signature if tag else b"",
        unsigned=unsigned,
    )


def comes_after(depot: Depot, one: str, other: str) -> bool:
    """Say whether all of another commit is in one, as far as the mirror has its history.

    Raises:
        SourceError: there is too much of it.
    """
    seen, waiting = {one}, deque([one])
    while waiting:
        id_ = waiting.popleft()
        if id_ == other:
            return True
        try:
            parents = read_commit(depot, id_).parents
        except LacksError:
            continue
        waiting += [parent for parent in parents if parent not in seen]
        seen.update(parents)
        if len(seen) > MAX_COMMITS:
            raise SourceError(f"more than {MAX_COMMITS} commits came at once")
    return False


def line(depot: Depot, tip: str, before: str) -> Iterator[str]:
    """Give the commits of a branch itself, without those that were merged into it, newest first, to the one before."""
    id_ = tip
    for _number in range(MAX_LINE):
        if id_ == before:
            return
        yield id_
        try:
            parents = read_commit(depot, id_).parents
        except LacksError:
            return
        if not parents or not before:
            return
        id_ = parents[0]


class PointMaterial:
    """The `Material` of a point: it carries its signature in itself."""

    def __init__(self, point: Point, version: str, url: str) -> None:
        self._point = point
        self.name = point.name
        self.version = version
        self.url = url
        self.size = len(point.payload)

    @property
    def path(self) -> Path:
        """There is none."""
        raise SourceError("it isn't a file")

    @property
    def sha256(self) -> str:
        """There is none."""
        raise SourceError("it isn't a file")

    def own_signature(self, kind: Literal["PGP", "SSH"]) -> Signed:
        """See `OwnSignature.own_signature`."""
        point = self._point
        if not point.signature:
            raise NotThereError(point.unsigned)
        if not point.signature.lstrip().startswith(_ARMOURS[kind]):
            raise NotThereError(f"its signature isn't one of {kind}")
        return Signed(point.payload, point.signature, point.made)

    def beside(self, reference: str, limit: int) -> bytes:
        """See `Material.beside`."""
        del limit
        raise SourceError(f"nothing lies beside it in a repository ({reference})")

    def pointer(self, text: str) -> Any:
        """See `Material.pointer`."""
        raise SourceError(f"a repository has no document for {text}")
