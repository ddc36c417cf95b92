"""What a store holds, as documents: in files beside its content, or in the state where several machines share that.

<root>/releases/<component>/<version>/<platform>.json    what a release consists of
<root>/incrementals/<component>/<from>..<to>/<platform>.<codec>.json    the same of an incremental; `=..<to>` packs
"""

from __future__ import annotations

import fcntl
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from reconciler.content.arrivals import settle
from reconciler.files import sync_folder
from reconciler.formats.text import read_json
from reconciler.model.release import Release
from reconciler.storage.manifest import incremental_document, read_incremental, read_release, release_document
from reconciler.storage.shelf import ManifestKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from reconciler.content.arrivals import Arrivals
    from reconciler.model.delta import Incremental
    from reconciler.storage.shelf import Shelf

MAX_MANIFEST = 16 * 1024 * 1024
EntryT = TypeVar("EntryT")


class Manifests(Protocol):
    """What a store holds; a manifest that can't be read is a sentence in `problems`."""

    def releases(self, problems: list[str]) -> Iterator[Release]:
        """Read those of releases."""

    def incrementals(self, problems: list[str]) -> Iterator[Incremental]:
        """Read those of incrementals."""

    def held(self, release: Release) -> Release | None:
        """Give what is held under the version of a release; None where that is nothing, or can't be read."""

    def write(self, thing: Release | Incremental) -> None:
        """Have a release or an incremental be held, in place of what is of its name."""

    def remove(self, thing: Release | Incremental) -> None:
        """Have it not be held."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Keep other processes of this machine from adding and removing for the time of the block."""


class FolderManifests:
    """The `Manifests` of a folder; nothing is touched before the first is written."""

    def __init__(self, root: Path, arrivals: Arrivals) -> None:
        """Take the folder, and by which way files come into it."""
        self._root = root
        self._releases = root / "releases"
        self._incrementals = root / "incrementals"
        self._arrivals = arrivals

    def releases(self, problems: list[str]) -> Iterator[Release]:
        """See `Manifests.releases`."""
        return _read_all(self._releases.glob("*/*/*.json"), self._read_release, problems)

    def incrementals(self, problems: list[str]) -> Iterator[Incremental]:
        """See `Manifests.incrementals`."""
        return _read_all(self._incrementals.glob("*/*/*.json"), self._read_incremental, problems)

    def held(self, release: Release) -> Release | None:
        """See `Manifests.held`."""
        try:
            return self._read_release(self._path(release))
        except (FileNotFoundError, ValueError):
            return None

    def write(self, thing: Release | Incremental) -> None:
        """See `Manifests.write`."""
        path, document = self._path(thing), _document_of(thing)
        with self._arrivals.temporary() as (handle, temporary):
            handle.write(json.dumps(document, indent=1).encode())
            settle(handle, temporary, path)
        sync_folder(path.parent)

    def remove(self, thing: Release | Incremental) -> None:
        """See `Manifests.remove`."""
        path = self._path(thing)
        path.unlink(missing_ok=True)
        for folder in (path.parent, path.parent.parent):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """See `Manifests.exclusive`."""
        with exclusive(self._root):
            yield

    def _path(self, thing: Release | Incremental) -> Path:
        if isinstance(thing, Release):
            return self._releases / thing.component / thing.version / f"{thing.platform}.json"
        name = f"{thing.from_version or '='}..{thing.to_version}"
        return self._incrementals / thing.component / name / f"{thing.platform}.{thing.codec}.json"

    def _read_release(self, path: Path) -> Release:
        release = read_release(read_document(path))
        if self._path(release) != path:
            raise ValueError("it describes another release")
        return release

    def _read_incremental(self, path: Path) -> Incremental:
        incremental = read_incremental(read_document(path))
        if self._path(incremental) != path:
            raise ValueError("it describes another incremental")
        return incremental


class StateManifests:
    """The `Manifests` of a state: whoever has the state knows what the store holds, and no file is beside it.

    What the folder of a store held before is held as well, until `move_in` takes it over.
    """

    def __init__(self, shelf: Shelf, root: Path, before: FolderManifests) -> None:
        """Take the state, the folder of the store, and the manifests that may be in it."""
        self._shelf = shelf
        self._root = root
        self._before = before

    def releases(self, problems: list[str]) -> Iterator[Release]:
        """See `Manifests.releases`."""
        known: set[ManifestKey] = set()
        for entry in _read_all(self._shelf.manifests("release"), _kept(read_release), problems):
            known.add(_key(entry))
            yield entry
        yield from (entry for entry in self._before.releases(problems) if _key(entry) not in known)

    def incrementals(self, problems: list[str]) -> Iterator[Incremental]:
        """See `Manifests.incrementals`."""
        known: set[ManifestKey] = set()
        for entry in _read_all(self._shelf.manifests("incremental"), _kept(read_incremental), problems):
            known.add(_key(entry))
            yield entry
        yield from (entry for entry in self._before.incrementals(problems) if _key(entry) not in known)

    def held(self, release: Release) -> Release | None:
        """See `Manifests.held`."""
        text = self._shelf.manifest(_key(release))
        if text is None:
            return self._before.held(release)
        try:
            return _kept(read_release)((_key(release), text))
        except ValueError:
            return None

    def write(self, thing: Release | Incremental) -> None:
        """See `Manifests.write`."""
        self._shelf.keep_manifest(_key(thing), json.dumps(_document_of(thing)), _digests(thing))
        self._before.remove(thing)

    def remove(self, thing: Release | Incremental) -> None:
        """See `Manifests.remove`."""
        self._shelf.drop_manifest(_key(thing))
        self._before.remove(thing)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """See `Manifests.exclusive`. Between machines it is the lock of the run."""
        with exclusive(self._root):
            yield

    def to_move_in(self) -> list[Release | Incremental]:
        """Give what the folder of the store held before, and the state doesn't know."""
        ignored: list[str] = []
        there: list[Release | Incremental] = [*self._before.releases(ignored), *self._before.incrementals(ignored)]
        return [thing for thing in there if self._shelf.manifest(_key(thing)) is None]


@contextmanager
def exclusive(root: Path) -> Iterator[None]:
    """Hold the lock of a store's folder."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _read_all(places: Iterable[Any], read: Callable[[Any], EntryT], problems: list[str]) -> Iterator[EntryT]:
    for place in sorted(places):
        try:
            yield read(place)
        except (OSError, ValueError) as error:
            shown = place[0] if isinstance(place, tuple) else place
            problems.append(f"store: {shown} can't be used: {error}")


def read_document(path: Path) -> Any:
    """Read a manifest.

    Raises:
        ValueError: it is no JSON, or too large.
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        data = file.read(MAX_MANIFEST + 1)
    if len(data) > MAX_MANIFEST:
        raise ValueError(f"it is larger than {MAX_MANIFEST} bytes")
    return read_json(data)


def _kept(read: Callable[[Mapping[str, Any]], EntryT]) -> Callable[[tuple[ManifestKey, str]], EntryT]:
    """Give what reads a manifest that the state keeps."""

    def reads(row: tuple[ManifestKey, str]) -> EntryT:
        entry = read(read_json(row[1].encode()))
        if _key(entry) != row[0]:
            raise ValueError("it describes something else")
        return entry

    return reads


def _document_of(thing: Release | Incremental) -> dict[str, Any]:
    return release_document(thing) if isinstance(thing, Release) else incremental_document(thing)


def _digests(thing: Release | Incremental) -> set[str]:
    files = (*thing.files, *thing.attached) if isinstance(thing, Release) else thing.patches
    return {file.sha256 for file in files}


def _key(thing: Any) -> ManifestKey:
    if isinstance(thing, Release):
        return ManifestKey(kind="release", component=thing.component, name=thing.version, platform=thing.platform)
    return ManifestKey(
        kind="incremental",
        component=thing.component,
        name=f"{thing.from_version or '='}..{thing.to_version}",
        platform=thing.platform,
        codec=thing.codec,
    )
