"""The files of a release: what a commit has below a folder, byte for byte as git keeps it.

Nothing of git's attributes counts: no filters, no line ends, no substitutions. So the same commit makes the same bytes
everywhere. What isn't a file and would be taken is an error, as half of a release would be worse than none.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from reconciler.errors import SourceError
from reconciler.model.release import ReleaseFile

from .._fetched.selection import Names, shown_path
from .objects import FOLDER, LINK, SUBMODULE, parse_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._fetched.selection import Selection
    from .depot import Depot
    from .objects import Entry

MAX_FILES = 10_000
MAX_ENTRIES = 200_000
"""How much of a repository is looked through for one release."""
MAX_DEPTH = 64
_POINTER = b"version https://git-lfs.github.com/spec/"
_KINDS = {LINK: "a link", SUBMODULE: "a submodule"}
_HINT = "leave it out with `include` or `exclude`, if it isn't needed"


class Found(NamedTuple):
    """The files of a release with the objects that they are, and the folders that were read for them."""

    files: tuple[tuple[ReleaseFile, str], ...]
    folders: tuple[str, ...]


def files_of(depot: Depot, root: str, path: str, selection: Selection, max_size: int) -> Found:
    """Give the files that a release has, sorted by name; `root` is the folder of a commit, `path` a folder in it.

    Raises:
        LacksError: an object can't be had.
        SourceError: it has no such folder or file, has what a release can't have, or too much of it.
    """
    read: list[str] = []
    found: list[tuple[ReleaseFile, str]] = []
    names = Names()
    size = 0
    for place, entry in _below(depot, root, path, read):
        own = selection.name_of(place)
        if own is None:
            continue
        shown = shown_path(f"{path}/{place}" if path else place)
        if not entry.is_file:
            what = _KINDS.get(entry.mode, "of a kind that isn't known")
            raise SourceError(f"{shown} is {what}; a release has files only", hint=_HINT)
        content = depot.read(entry.id, "blob")
        if content.startswith(_POINTER):
            raise SourceError(
                f"{shown} is only a pointer of Git LFS: the file itself isn't in the repository", hint=_HINT
            )
        names.take(own, place)
        size += len(content)
        if size > max_size:
            raise SourceError(f"its files have more than {max_size} bytes", hint="raise `max_size`, or take fewer")
        if len(found) == MAX_FILES:
            raise SourceError(f"more than {MAX_FILES} files of it would be taken", hint="take fewer with `include`")
        found.append((ReleaseFile(own, len(content), hashlib.sha256(content).hexdigest()), entry.id))
    if not found:
        raise SourceError(
            f"it has no file {f'in {shown_path(path)} ' if path else ''}that is taken",
            hint="correct `path`, `include` and `exclude`",
        )
    return Found(tuple(sorted(found)), tuple(read))


def _below(depot: Depot, root: str, path: str, read: list[str]) -> Iterator[tuple[str, Entry]]:
    """Give all below a folder but folders, with their paths from there; what was read for that is added to `read`."""
    folder = root
    for part in path.split("/") if path else ():
        read.append(folder)
        entry = next((own for own in parse_folder(depot, folder) if own.name == part), None)
        if entry is None or entry.mode != FOLDER:
            raise SourceError(f"it has no folder {shown_path(path)}", hint="correct `path`")
        folder = entry.id
    waiting = [("", folder, 0)]
    seen = 0
    while waiting:
        place, folder, depth = waiting.pop()
        read.append(folder)
        for entry in parse_folder(depot, folder):
            seen += 1
            if seen > MAX_ENTRIES or depth > MAX_DEPTH:
                raise SourceError("it has too many files, or folders too deep, to look through them")
            if entry.mode == FOLDER:
                if not entry.name.startswith("."):
                    waiting.append((f"{place}{entry.name}/", entry.id, depth + 1))
            else:
                yield f"{place}{entry.name}", entry


def parse_folder(depot: Depot, name: str) -> list[Entry]:
    """Read a folder of a commit.

    Raises:
        LacksError: it can't be had.
        SourceError: it isn't one that git would write.
    """
    try:
        return parse_tree(depot.read(name, "tree"), len(name))
    except ValueError as error:
        raise SourceError(str(error)) from error
