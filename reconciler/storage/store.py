"""The store: the server's own releases, content-addressed, and believed only as far as the disk bears it out.

    <root>/content/<first two of sha256>/<sha256>            one file for each content, whichever releases have it
    <root>/releases/<component>/<version>/<platform>.json    what a release consists of
    <root>/incrementals/<component>/<from>..<to>/<platform>.<codec>.json    the same of an incremental; `=..<to>` packs
    <root>/stamps.json                                       size, mtime and inode of what was last hashed
    <root>/tmp/                                              files on their way in

* Content is verified while it is written, and renamed to its digest. A release's manifest comes last, when all of its
  content is on the disk.
* A release or incremental counts while all of its content is there as it was written: size, mtime and inode are
  compared, and what differs is hashed again; `verify` hashes everything. What is damaged isn't held: the next plan
  fetches or makes it again.
* What is attached to a release is kept with it as far as it came; where it is missing or damaged, the release is whole.
* What is taken out again is hashed once by each process before it is believed: size, mtime and inode don't show bits
  that turned over. Content that isn't what its name says is an error, and isn't held any more.
* Two processes can write at once: they write the same bytes to the same name. Removing holds a lock against adding.
* A killed writer leaves a file in `tmp`, nothing else.
"""

from __future__ import annotations

import fcntl
import json
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from reconciler.content.arrivals import settle
from reconciler.content.local import LocalContent
from reconciler.content.local import mapped as _mapped
from reconciler.errors import StoreError
from reconciler.files import sync_folder
from reconciler.formats.text import read_json
from reconciler.storage.manifest import incremental_document, read_incremental, read_release, release_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from reconciler.content.arrivals import Readable
    from reconciler.model.delta import Incremental, Patch
    from reconciler.model.release import Release, ReleaseFile

    Content = ReleaseFile | Patch

MAX_MANIFEST = 16 * 1024 * 1024
EntryT = TypeVar("EntryT")


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the store holds, and sentences about what it should hold and doesn't.

    `broken` are incrementals that lost content: they are made again where they are needed, and nobody's problem.
    """

    releases: tuple[Release, ...]
    problems: tuple[str, ...]
    incrementals: tuple[Incremental, ...] = ()
    broken: tuple[Incremental, ...] = ()


class Store:
    """Releases below a folder; nothing is touched before something is written."""

    def __init__(self, root: Path) -> None:
        """Take the folder of the store."""
        self.root = root
        self._releases = root / "releases"
        self._incrementals = root / "incrementals"
        self._content = LocalContent(root)

    def inspect(self, *, verify: bool = False) -> Inspection:
        """List the releases and incrementals that are whole; `verify` hashes every file.

        Raises:
            StoreError: the store can't be read.
        """
        problems: list[str] = []
        with _mapped(self.root):
            look = self._content.look(verify=verify)

            def damage(files: Iterable[Content]) -> str:
                return next(filter(None, map(look.trouble, files)), "")

            releases: list[Release] = []
            incrementals: list[Incremental] = []
            broken: list[Incremental] = []
            for release in self._read_all(self._releases.glob("*/*/*.json"), self._read_release, problems):
                bad = damage(release.files)
                if bad:
                    problems.append(f"store: {release.component} {release.version} is damaged: {bad}")
                else:
                    whole = tuple(file for file in release.attached if not damage([file]))
                    releases.append(replace(release, attached=whole))
            for entry in self._read_all(self._incrementals.glob("*/*/*.json"), self._read_incremental, problems):
                (broken if damage(entry.patches) else incrementals).append(entry)
            look.keep()
        return Inspection(tuple(releases), tuple(problems), tuple(incrementals), tuple(broken))

    def lacking(self, release: Release) -> tuple[ReleaseFile, ...]:
        """Give the files of a release whose content the store hasn't got, each content once.

        Raises:
            StoreError: the store can't be read.
        """
        return self._lacking(release.files)

    def lacking_attached(self, release: Release) -> tuple[ReleaseFile, ...]:
        """Give the files that are attached to a release and whose content the store hasn't got, each content once.

        Raises:
            StoreError: the store can't be read.
        """
        own = {file.sha256 for file in release.files}
        return tuple(file for file in self._lacking(release.attached) if file.sha256 not in own)

    def _lacking(self, files: Iterable[ReleaseFile]) -> tuple[ReleaseFile, ...]:
        with _mapped(self.root):
            look = self._content.look()
            lacking: dict[str, ReleaseFile] = {}
            for file in files:
                if look.trouble(file):
                    lacking.setdefault(file.sha256, file)
            return tuple(lacking.values())

    def has(self, patch: Patch) -> bool:
        """Say whether the store has the content of a patch.

        Raises:
            StoreError: the store can't be read.
        """
        with _mapped(self.root):
            return not self._content.look().trouble(patch)

    def put(self, file: Content, stream: Readable) -> int:
        """Take the content of a file from a stream and give its size; nothing is left of what doesn't fit.

        What came of a large file before its stream broke stays for the next try, if the stream then is seekable.

        Raises:
            DamagedError: it isn't what `file` says.
            StoreError: it can't be written.
        """
        return self._content.receive(file, stream)

    def add(self, release: Release, *, replace: bool = False) -> None:
        """Make a release one that the store holds; its content must be there. What is attached is held as far as it is.

        With `replace` it takes the place of other content under the version, of which nothing is kept.

        Raises:
            StoreError: content is missing, or the version is held with other content.
        """
        lacking = self.lacking(release)
        if lacking:
            raise StoreError(f"{release.component} {release.version} lacks {lacking[0].name!r}")
        release = self._as_came(release)
        path = self._manifest(release)
        with _mapped(self.root), self._exclusive():
            if path.exists():
                try:
                    held = self._read_release(path)
                except ValueError:
                    held = None  # damaged: this one takes its place
                if held is not None and held.digest != release.digest and not replace:
                    raise StoreError(
                        f"{release.component} {release.version} is held with other bytes "
                        f"({held.digest[:12]}, not {release.digest[:12]})",
                        hint="a version never changes; the source must publish a new one",
                    )
                if held is not None and held.digest == release.digest:
                    self._content.sync(release.files)  # some of it may have come again
                    self._attach(held, release.attached)
                    return
            else:
                held = None
            self._content.sync((*release.files, *release.attached))
            self._write_manifest(release_document(release), path)
            if held is not None:
                self._drop_content((*held.files, *held.attached))

    def _as_came(self, release: Release) -> Release:
        """Give a release with those of its attached files that came."""
        missing = {file.sha256 for file in self.lacking_attached(release)}
        return replace(release, attached=tuple(file for file in release.attached if file.sha256 not in missing))

    def _attach(self, held: Release, attached: Iterable[ReleaseFile]) -> None:
        """Have a release that is held hold what came for it, too."""
        new = {file.name: file for file in attached}
        before = {file.name: file for file in held.attached}
        if not new.items() <= before.items():
            self._content.sync(new.values())
            both = replace(held, attached=tuple(sorted({**before, **new}.values())))
            self._write_manifest(release_document(both), self._manifest(held))
            self._drop_content(set(held.attached) - set(both.attached))

    def annotate(self, release: Release, notes: str) -> Release:
        """Give a release that the store holds other notes.

        Raises:
            StoreError: it can't be written.
        """
        noted = replace(release, notes=notes)
        with _mapped(self.root), self._exclusive():
            self._write_manifest(release_document(noted), self._manifest(release))
        return noted

    def add_incremental(self, incremental: Incremental) -> None:
        """Make an incremental one that the store holds, in place of any other of its name; its content must be there.

        Raises:
            StoreError: content is missing, or it can't be written.
        """
        with _mapped(self.root), self._exclusive():
            lacking = [patch.name for patch in incremental.patches if not self._content.path(patch.sha256).exists()]
            if lacking:
                raise StoreError(f"{incremental.component} {incremental.name} lacks the patch of {lacking[0]!r}")
            self._content.sync(incremental.patches)
            self._write_manifest(incremental_document(incremental), self._incremental_path(incremental))

    def remove_incremental(self, incremental: Incremental) -> None:
        """Let go of an incremental, and of its content that nothing else has.

        Raises:
            StoreError: it can't be removed.
        """
        with _mapped(self.root), self._exclusive():
            self._let_go(self._incremental_path(incremental), incremental.patches)

    @contextmanager
    def open(self, sha256: str) -> Iterator[BinaryIO]:
        """Open content by its digest.

        Raises:
            StoreError: it isn't there, or is damaged.
        """
        with self._content.open(sha256) as file:
            yield file

    def path(self, sha256: str) -> Path:
        """Give the place of content by its digest, for whoever reads it in another process.

        Raises:
            StoreError: it is no digest, or its content isn't there or is damaged.
        """
        return self._content.sound(sha256)

    def check(self, files: Iterable[Content]) -> None:
        """Hash the content of files that this process didn't hash yet.

        Raises:
            StoreError: one isn't there, or is damaged.
        """
        for file in files:
            self._content.sound(file.sha256)

    def remove(self, release: Release) -> None:
        """Let go of a release, and of content that no other release has.

        Raises:
            StoreError: it can't be removed.
        """
        with _mapped(self.root), self._exclusive():
            try:
                attached = self._read_release(self._manifest(release)).attached
            except (OSError, ValueError):
                attached = release.attached
            self._let_go(self._manifest(release), (*release.files, *attached))

    def _let_go(self, manifest: Path, files: Iterable[Content]) -> None:
        manifest.unlink(missing_ok=True)
        for folder in (manifest.parent, manifest.parent.parent):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        self._drop_content(files)

    def _drop_content(self, files: Iterable[Content]) -> None:
        """Remove the content of files that no release and no incremental has."""
        ignored: list[str] = []
        used = {
            file.sha256
            for release in self._read_all(self._releases.glob("*/*/*.json"), self._read_release, ignored)
            for file in (*release.files, *release.attached)
        } | {
            patch.sha256
            for entry in self._read_all(self._incrementals.glob("*/*/*.json"), self._read_incremental, ignored)
            for patch in entry.patches
        }
        for file in files:
            if file.sha256 not in used:
                self._content.path(file.sha256).unlink(missing_ok=True)

    def free(self) -> int:
        """Give the room below the store in bytes.

        Raises:
            StoreError: it can't be asked.
        """
        return self._content.free()

    # --- manifests ----------------------------------------------------------------------------------------------------

    def _manifest(self, release: Release) -> Path:
        return self._releases / release.component / release.version / f"{release.platform}.json"

    def _incremental_path(self, incremental: Incremental) -> Path:
        name = f"{incremental.from_version or '='}..{incremental.to_version}"
        file = f"{incremental.platform}.{incremental.codec}.json"
        return self._incrementals / incremental.component / name / file

    def _read_release(self, path: Path) -> Release:
        release = read_release(_document(path))
        if self._manifest(release) != path:
            raise ValueError("it describes another release")
        return release

    def _read_incremental(self, path: Path) -> Incremental:
        incremental = read_incremental(_document(path))
        if self._incremental_path(incremental) != path:
            raise ValueError("it describes another incremental")
        return incremental

    def _read_all(self, paths: Iterable[Path], read: Callable[[Path], EntryT], problems: list[str]) -> Iterator[EntryT]:
        """Read manifests; one that can't be read is a sentence in `problems`."""
        for path in sorted(paths):
            try:
                yield read(path)
            except (OSError, ValueError) as error:
                problems.append(f"store: {path} can't be used: {error}")

    def _write_manifest(self, document: Mapping[str, Any], path: Path) -> None:
        with self._content.arrivals.temporary() as (handle, temporary):
            handle.write(json.dumps(document, indent=1).encode())
            settle(handle, temporary, path)
        sync_folder(path.parent)

    # --- writing ------------------------------------------------------------------------------------------------------

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Keep other processes from adding and removing for the time of the block."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _document(path: Path) -> Any:
    with path.open("rb") as file:
        data = file.read(MAX_MANIFEST + 1)
    if len(data) > MAX_MANIFEST:
        raise ValueError(f"it is larger than {MAX_MANIFEST} bytes")
    return read_json(data)
