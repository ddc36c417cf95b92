"""Archives of others made into files of a release: tar, also packed with gzip, xz, bzip2 or zstd, and zip.

Nothing of an archive decides where anything is written: files come into a folder of ours, which is new, under names
that a release may have, with our own mode. What isn't a file and would be taken is an error, and what two programs
could read in two ways is refused (`archives`). Bytes are counted as they come out, so what an archive says of its sizes
is never believed. It is all or nothing: an archive that is refused leaves no file.

A file that is packed and no archive (`feed.json.gz`) is one file, under its name without that ending.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, cast

from reconciler.errors import SourceError, own_limit
from reconciler.formats.packed import CHUNK, ArchiveError, Budget, packing, unpacked
from reconciler.model.release import ReleaseFile

from .archives import BLOCK, Member, is_zip, tar_members, zip_members
from .selection import SELECTION, Names, Selection, shown_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

MAX_FILES = 10_000
SHOWN = 5
_ENDINGS = (".gz", ".xz", ".bz2", ".zst")
_SIZES = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
SIZE_PATTERN = "^[1-9][0-9]{0,11}(KiB|MiB|GiB)?$"

UNPACK: Mapping[str, Any] = {
    "x-section": "unpack",
    "type": "object",
    "description": "Take files out of an archive: tar (also with gzip, xz, bzip2 or zstd) or zip.",
    "additionalProperties": False,
    "properties": {
        **SELECTION,
        "max_size": {
            "type": "string",
            "pattern": SIZE_PATTERN,
            "x-says": "a size such as 512MiB",
            "default": "1GiB",
            "description": "The most that may come out of it, counted as it comes.",
            "examples": ["512MiB"],
        },
    },
    "examples": [{"strip": 1, "include": ["*.rules"]}],
}
"""The schema of the option `unpack`."""


@dataclass(frozen=True, slots=True)
class Unpacking:
    """What is taken out of an archive, and how much that may be in bytes."""

    selection: Selection
    max_size: int

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Unpacking:
        """Read the option `unpack`, complete with its defaults."""
        return cls(Selection.of(options), size_of(options["max_size"]))


def size_of(text: str) -> int:
    """Read a size of the form SIZE_PATTERN, in bytes."""
    digits = text.rstrip("KMGiB")
    return int(digits) * _SIZES[text[len(digits) :]]


def unpack(archive: Path, unpacking: Unpacking, folder: Path, *, name: str = "") -> tuple[ReleaseFile, ...]:
    """Take an archive's files out into a folder, which is made and mustn't be there; give them sorted by their names.

    `name` is what the archive is called where it comes from (its path's, if that is left out).

    Raises:
        SourceError: it is damaged, hostile or too large, has nothing that is taken, or can't be read or written.
    """
    name = name or archive.name
    try:
        folder.mkdir(mode=0o700)
        try:
            with archive.open("rb") as stream:
                return _taken(stream, unpacking, folder, name)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    except ArchiveError as error:
        raise SourceError(f"{shown_path(name)} can't be unpacked: {error}") from error
    except OSError as error:
        if own := own_limit(error):
            raise own from error
        raise SourceError(f"{shown_path(name)} can't be unpacked: {error.strerror or error}") from error


def _taken(stream: BinaryIO, unpacking: Unpacking, folder: Path, name: str) -> tuple[ReleaseFile, ...]:
    selection, names = unpacking.selection, Names()
    found: list[ReleaseFile] = []
    others: list[str] = []
    for member in _members(stream, Budget(unpacking.max_size), folder, name):
        own = selection.name_of(member.name) if member.kind != "folder" or _climbs(member.name) else None
        if own is None:
            others += [member.name] if len(others) < SHOWN and member.kind == "file" else []
            continue
        if member.kind != "file":
            what = "a link" if member.kind == "link" else "a device or another special file"
            raise SourceError(
                f"{shown_path(name)}: {shown_path(member.name)} in it is {what}; a release has files only",
                hint="leave it out with `include` or `exclude`, if it isn't needed",
            )
        names.take(own, member.name)
        if len(found) == MAX_FILES:
            raise SourceError(f"{shown_path(name)}: more than {MAX_FILES} files of it would be taken")
        found.append(_written(member, folder / own))
    if not found:
        there = f"; it has {', '.join(map(shown_path, others))}" if others else ""
        raise SourceError(
            f"{shown_path(name)}: nothing in it is taken{there}", hint="correct `strip`, `include` and `exclude`"
        )
    return tuple(sorted(found))


def _climbs(path: str) -> bool:
    """Say whether a folder is more than a folder: one that leads out of the archive is worth an error."""
    return ".." in path or path.startswith(("/", "\\"))


def _members(stream: BinaryIO, budget: Budget, folder: Path, name: str) -> Iterator[Member]:
    first = stream.read(BLOCK)
    stream.seek(0)
    if is_zip(first):
        yield from zip_members(stream, budget)
        return
    packed = bool(packing(first))
    if packed and _single(name):
        alone = name.rpartition(".")[0].rpartition("/")[2]
        yield Member(alone, "file", lambda: unpacked(stream, budget))
        return
    with TemporaryFile(dir=folder) as plain:  # tells members apart only where it can be sought in
        for piece in unpacked(stream, budget):
            plain.write(piece)
        plain.seek(0)
        yield from tar_members(cast("BinaryIO", plain))


def _single(name: str) -> bool:
    """Say whether a name is that of one packed file, and not of an archive."""
    inner, ending = os.path.splitext(name.lower())  # noqa: PTH122 - it is a name, no path
    return ending in _ENDINGS and not inner.endswith(".tar")


def _written(member: Member, path: Path) -> ReleaseFile:
    digest, size = hashlib.sha256(), 0
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(number, "wb", buffering=CHUNK) as handle:
        for piece in member.content():
            digest.update(piece)
            size += len(piece)
            handle.write(piece)
    return ReleaseFile(path.name, size, digest.hexdigest())
