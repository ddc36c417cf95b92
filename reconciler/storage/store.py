"""The store: the server's own releases, content-addressed, and believed only as far as the disk bears it out.

    <root>/content/<first two of sha256>/<sha256>            one file for each content, whichever releases have it
    <root>/releases/, <root>/incrementals/                   what they consist of: see `manifests`
    <root>/stamps.json                                       size, mtime and inode of what was last hashed
    <root>/tmp/                                              files on their way in

Where several machines share the content it lies elsewhere, the manifests are in the state, and `content/` is a cache:
see `content.shared`.

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

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO

from reconciler.content.local import LocalContent, mapped
from reconciler.errors import StoreError
from reconciler.model.release import Release
from reconciler.storage.manifests import FolderManifests, StateManifests

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from reconciler.content.arrivals import Readable
    from reconciler.content.shared import SharedContent
    from reconciler.model.delta import Incremental, Patch
    from reconciler.model.release import ReleaseFile
    from reconciler.storage.manifests import Manifests

    Content = ReleaseFile | Patch


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

    def __init__(
        self,
        root: Path,
        *,
        content: LocalContent | SharedContent | None = None,
        manifests: Manifests | None = None,
    ) -> None:
        """Take the folder of the store, and its content and manifests where they are elsewhere."""
        self.root = root
        self._local = local = LocalContent(root)
        self._content = content or local
        self._manifests = manifests or FolderManifests(root, local.arrivals)

    def inspect(self, *, verify: bool = False) -> Inspection:
        """List the releases and incrementals that are whole; `verify` hashes every file.

        Raises:
            StoreError: the store can't be read.
        """
        problems: list[str] = []
        with mapped(self.root):
            look = self._content.look(verify=verify)

            def damage(files: Iterable[Content]) -> str:
                return next(filter(None, map(look.trouble, files)), "")

            releases: list[Release] = []
            incrementals: list[Incremental] = []
            broken: list[Incremental] = []
            for release in self._manifests.releases(problems):
                bad = damage(release.files)
                if bad:
                    problems.append(f"store: {release.component} {release.version} is damaged: {bad}")
                else:
                    whole = tuple(file for file in release.attached if not damage([file]))
                    releases.append(replace(release, attached=whole))
            for entry in self._manifests.incrementals(problems):
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
        with mapped(self.root):
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
        with mapped(self.root):
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
        with mapped(self.root), self._manifests.exclusive():
            held = self._manifests.held(release)  # what is damaged is replaced
            if held is not None and held.digest != release.digest and not replace:
                raise StoreError(
                    f"{release.component} {release.version} is held with other bytes "
                    f"({held.digest[:12]}, not {release.digest[:12]})",
                    hint="a version never changes; the source must publish a new one",
                )
            if held is not None and held.digest == release.digest:
                self._content.secure(release.files)  # some of it may have come again
                self._attach(held, release.attached)
                return
            self._content.secure((*release.files, *release.attached))
            self._manifests.write(release)
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
            self._content.secure(new.values())
            both = replace(held, attached=tuple(sorted({**before, **new}.values())))
            self._manifests.write(both)
            self._drop_content(set(held.attached) - set(both.attached))

    def annotate(self, release: Release, notes: str) -> Release:
        """Give a release that the store holds other notes.

        Raises:
            StoreError: it can't be written.
        """
        noted = replace(release, notes=notes)
        with mapped(self.root), self._manifests.exclusive():
            self._manifests.write(noted)
        return noted

    def add_incremental(self, incremental: Incremental) -> None:
        """Make an incremental one that the store holds, in place of any other of its name; its content must be there.

        Raises:
            StoreError: content is missing, or it can't be written.
        """
        with mapped(self.root), self._manifests.exclusive():
            lacking = [patch.name for patch in incremental.patches if not self._content.has(patch.sha256)]
            if lacking:
                raise StoreError(f"{incremental.component} {incremental.name} lacks the patch of {lacking[0]!r}")
            self._content.secure(incremental.patches)
            self._manifests.write(incremental)

    def remove_incremental(self, incremental: Incremental) -> None:
        """Let go of an incremental, and of its content that nothing else has.

        Raises:
            StoreError: it can't be removed.
        """
        with mapped(self.root), self._manifests.exclusive():
            self._let_go(incremental, incremental.patches)

    @contextmanager
    def open(self, sha256: str) -> Iterator[BinaryIO]:
        """Open content by its digest.

        Raises:
            StoreError: it isn't there, or is damaged.
        """
        with self._content.open(sha256) as file:
            yield file

    def glance(self, sha256: str) -> BinaryIO:
        """Open content as it lies on this machine, without a look at whether it is what its name says.

        Raises:
            StoreError: it is no digest.
            OSError: it isn't on this machine, or can't be read.
        """
        return self._local.path(sha256).open("rb")

    def local(self, sha256: str) -> AbstractContextManager[Path]:
        """Give a path of content by its digest for the time of the block, for whoever reads it in another process.

        Raises:
            StoreError: it is no digest, or its content isn't there or is damaged.
        """
        return self._content.local(sha256)

    def pinned(self, digests: Iterable[str]) -> AbstractContextManager[None]:
        """Have content stay on this machine for the time of the block, once it was read."""
        return self._content.pinned(digests)

    def has_content(self, sha256: str) -> bool:
        """Say whether content can be had here, by its digest: from this machine, or from where several share it.

        Raises:
            StoreError: that can't be said.
        """
        with mapped(self.root):
            return self._content.has(sha256)

    def check(self, files: Iterable[Content]) -> None:
        """Hash the content of files that this process didn't hash yet.

        Raises:
            StoreError: one isn't there, or is damaged.
        """
        for file in files:
            self._content.check(file.sha256)

    def remove(self, release: Release) -> None:
        """Let go of a release, and of content that no other release has.

        Raises:
            StoreError: it can't be removed.
        """
        with mapped(self.root), self._manifests.exclusive():
            held = self._manifests.held(release)
            self._let_go(release, (*release.files, *(held or release).attached))

    def move_in(self) -> int:
        """Bring what the folder of the store held, before its content was shared, to where it is now; give how much.

        Raises:
            StoreError, StateError: that can't be done.
        """
        if not isinstance(self._manifests, StateManifests):
            return 0
        with mapped(self.root), self._manifests.exclusive():
            things = self._manifests.to_move_in()
            look = self._content.look() if things else None
            moved = 0
            for thing in things:
                files = (*thing.files, *thing.attached) if isinstance(thing, Release) else thing.patches
                if look is not None and not any(look.trouble(file) for file in files):
                    self._content.secure(files)
                    self._manifests.write(thing)
                    moved += 1
            return moved

    def sweep(self) -> str:
        """Remove content that was let go of a while ago from where several share it; say why it stays, if it does.

        Raises:
            StoreError, StateError: that can't be done.
        """
        with mapped(self.root):
            return self._content.sweep(self._used())

    def _let_go(self, thing: Release | Incremental, files: Iterable[Content]) -> None:
        self._manifests.remove(thing)
        self._drop_content(files)

    def _drop_content(self, files: Iterable[Content]) -> None:
        """Let go of the content of files that no release and no incremental has."""
        self._content.drop({file.sha256 for file in files} - self._used())

    def _used(self) -> set[str]:
        ignored: list[str] = []
        return {
            file.sha256 for release in self._manifests.releases(ignored) for file in (*release.files, *release.attached)
        } | {patch.sha256 for entry in self._manifests.incrementals(ignored) for patch in entry.patches}

    def free(self) -> int:
        """Give the room below the store in bytes.

        Raises:
            StoreError: it can't be asked.
        """
        return self._content.free()
