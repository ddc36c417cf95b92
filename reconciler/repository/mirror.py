"""A mirror: a folder of releases in a layout of other programs, for any web server, and the record of what is in it.

    <path>/…              files as the layout places them, and those of others, which nobody here touches
    <path>.mirror.json    beside it, so that nobody is served it: the releases in it, and each file that we wrote

* A file comes under a name of its own (`.new-…`), is brought to the disk and renamed: whoever reads a path has the old
  bytes or the new ones, whole, and who began with the old ones can read on. Nothing is written in place.
* Files come in the turns that the layout gives them, so that what names others comes after them. What isn't wanted any
  more goes when all else is there, those of the last turn first.
* The record says what is ours before it is written, so that what a killed run left is taken away or taken up by the
  next one. Where the record is lost, what lies there as it should stays, and the rest is written anew.
* Files are copies, verified on their way out of the store: their time is that of their publication, by which readers
  see that they are new, and what happens to them happens to nothing else.
* What lies there is believed by size, time and inode, and hashed where these differ.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.errors import RepositoryError
from reconciler.files import is_sound, sync_folder, write_whole
from reconciler.formats.text import read_json
from reconciler.model.mirror import Placed, path_problem
from reconciler.model.release import SHA256, ReleaseFile
from reconciler.storage.manifest import read_release, release_document

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from typing import BinaryIO

    from reconciler.contracts import Layout
    from reconciler.model.mirror import OpenFile
    from reconciler.model.release import Catalog, Release
    from reconciler.model.spec import MirrorSpec

FORMAT_VERSION = "1.0"
TEMPORARY = ".new-"
CHUNK = 2**20
MODE = 0o644

Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Lying:
    """A file that we wrote, or are about to (no `sha256`): what it says it is, and how it was when it lay there."""

    says: str = ""
    sha256: str = ""
    stamp: Stamp = (0, 0, 0)
    turn: int = 0


@dataclass(slots=True)
class _Record:
    releases: tuple[Release, ...] = ()
    files: dict[str, _Lying] = field(default_factory=dict)


def placed_in(
    spec: MirrorSpec,
    releases: Sequence[Release],
    held: Sequence[Release],
    layout: Layout,
    there: Collection[str],
    catalog: Catalog,
) -> Sequence[Placed]:
    """Give what a mirror is to hold for its releases, with what the store has attached to them by now.

    The layout gets releases by component, the lowest version first.

    Raises:
        RepositoryError: its layout can't have them in one folder.
    """
    keys = {(release.component, release.version, release.platform): release.digest for release in releases}
    in_store = {(release.component, release.version, release.platform): release for release in held}
    current = [
        in_store[key] if key in in_store and in_store[key].digest == digest else release
        for release, (key, digest) in zip(releases, keys.items(), strict=True)
    ]
    others = [release for key, release in in_store.items() if key not in keys and spec.has(release.component)]
    return layout.place(_sorted(current, catalog), _sorted(others, catalog), there)


def _sorted(releases: Iterable[Release], catalog: Catalog) -> list[Release]:
    def order(release: Release) -> tuple[Any, ...]:
        component = catalog.components.get(release.component)
        known = component is not None and component.scheme.accepts(release.version)
        version = component.version(release.version) if component is not None and known else release.version
        return release.component, known, version, release.platform

    return sorted(releases, key=order)


class MirrorFolder:
    """The folder of a mirror; nothing is touched before something is written."""

    def __init__(self, path: Path) -> None:
        """Take the folder."""
        self.path = path
        self._record_path = path.with_name(f"{path.name}.mirror.json")

    # --- reading ------------------------------------------------------------------------------------------------------

    def releases(self) -> tuple[Release, ...]:
        """Give the releases in it.

        Raises:
            RepositoryError: the record can't be read.
        """
        return self._read().releases

    def there(self) -> frozenset[str]:
        """Give the paths of what we wrote and what is there.

        Raises:
            RepositoryError: the record can't be read.
        """
        return frozenset(path for path in self._read().files if os.path.lexists(self.path / path))

    def differs(self, placed: Sequence[Placed]) -> str:
        """Say what isn't as it is to be; empty when all is.

        Raises:
            RepositoryError: the folder or its record can't be read, or something can't be placed so.
        """
        wanted = _checked(placed)
        record = self._read()
        with self._mapped("read"):
            for path, one in wanted.items():
                if not self._is_right(one, record.files.get(path)):
                    lies = os.path.lexists(self.path / path)
                    return f"{path} {'is another one' if lies else 'is missing'}"
        over = sorted(path for path in record.files if path not in wanted and os.path.lexists(self.path / path))
        return f"{over[0]} goes" if over else ""

    def _is_right(self, one: Placed, known: _Lying | None) -> bool:
        """Say whether what is to lie somewhere does."""
        place = self.path / one.path
        try:
            found = place.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        if one.content is None:
            return known is not None
        if known is not None and known.says != one.says and known.sha256:
            return False
        if known is not None and known.sha256 and _stamp(found) == known.stamp:
            return True
        sha256 = one.content.sha256 if isinstance(one.content, ReleaseFile) else known.sha256 if known else ""
        return bool(sha256) and place.is_file() and not place.is_symlink() and is_sound(place, sha256)

    def _read(self) -> _Record:
        try:
            data = read_json(self._record_path.read_bytes())
            return _Record(
                tuple(map(read_release, data["releases"])),
                {path: _lying(entry) for path, entry in data["files"].items() if not path_problem(path)},
            )
        except FileNotFoundError:
            return _Record()
        except OSError as error:
            raise RepositoryError(f"{self._record_path} can't be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RepositoryError(
                f"{self._record_path} isn't what was written: {error}",
                hint=f"remove it: what lies in {self.path} as it should stays, the rest is written anew",
            ) from error

    # --- writing ------------------------------------------------------------------------------------------------------

    def write(self, placed: Sequence[Placed], releases: Sequence[Release], open_file: OpenFile, now: datetime) -> int:
        """Bring the folder to what is placed, for these releases; give the bytes that were written.

        Raises:
            RepositoryError: something can't be placed so, made, or written; what was there can be read.
            StoreError: the store's content is damaged.
        """
        wanted = _checked(placed)
        record = self._read()
        with self._mapped("written"):
            self.path.mkdir(parents=True, exist_ok=True)
            self._tidy({path.parent for path in map(Path, (*record.files, *wanted))})
            stale = [one for path, one in wanted.items() if not self._is_right(one, record.files.get(path))]
            lost = next((one.path for one in stale if one.content is None), "")
            if lost:
                raise RepositoryError(f"{self.path / lost} was to stay and isn't there any more")
            for one in (*(one for path, one in wanted.items() if path not in record.files), *stale):
                record.files[one.path] = _Lying(turn=one.turn)
            self._keep(record)
            written = 0
            for one in sorted(stale, key=lambda one: (one.turn, one.path)):
                written += self._put(one, open_file, now)
            over = record.files.keys() - wanted.keys()
            for path in sorted(over, key=lambda path: (-record.files[path].turn, path)):
                self._drop(path)
            stale_paths = {one.path for one in stale}
            lying = {path: self._lying(one, record, path in stale_paths) for path, one in wanted.items()}
            self._keep(_Record(tuple(releases), lying))
            return written

    def _put(self, one: Placed, open_file: OpenFile, now: datetime) -> int:
        """Write a file under a name of its own, and rename it when all of it is on the disk."""
        place = self.path / one.path
        place.parent.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(prefix=TEMPORARY, dir=place.parent)
        temporary = Path(name)
        try:
            with os.fdopen(number, "wb") as handle:
                if isinstance(one.content, ReleaseFile):
                    size = _copy(one.content, open_file, handle)
                else:
                    assert one.content is not None
                    size = handle.write(one.content(open_file, now))
                handle.flush()
                os.fchmod(handle.fileno(), MODE)
                os.fsync(handle.fileno())
            temporary.replace(place)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(place.parent)
        return size

    def _drop(self, path: str) -> None:
        """Take a file of ours away, and the folders that nothing is left in."""
        place = self.path / path
        if place.is_dir() and not place.is_symlink():
            return  # somebody put one in its place
        place.unlink(missing_ok=True)
        for folder in place.parents:
            if folder == self.path:
                return
            with suppress(OSError):
                folder.rmdir()

    def _tidy(self, folders: Iterable[Path]) -> None:
        """Take away what a killed run left of files on their way."""
        for folder in folders:
            for left in (self.path / folder).glob(f"{TEMPORARY}*"):
                left.unlink(missing_ok=True)

    def _lying(self, one: Placed, record: _Record, is_new: bool) -> _Lying:
        known = record.files[one.path]
        place = self.path / one.path
        if one.content is None:
            return known
        if isinstance(one.content, ReleaseFile):
            sha256 = one.content.sha256
        elif is_new:
            sha256 = hashlib.sha256(place.read_bytes()).hexdigest()
        else:
            sha256 = known.sha256
        return _Lying(one.says, sha256, _stamp(place.lstat()), one.turn)

    def _keep(self, record: _Record) -> None:
        document = {
            "format_version": FORMAT_VERSION,
            "releases": [release_document(release) for release in record.releases],
            "files": {
                path: {"says": lying.says, "sha256": lying.sha256, "stamp": lying.stamp, "turn": lying.turn}
                for path, lying in sorted(record.files.items())
            },
        }
        write_whole(self._record_path, json.dumps(document, indent=1).encode())

    @contextmanager
    def _mapped(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            place = error.filename or self.path
            rest = "; what is published stays" if what == "written" else ""
            raise RepositoryError(f"{place} can't be {what}: {error.strerror}{rest}") from error


def _checked(placed: Sequence[Placed]) -> dict[str, Placed]:
    """Give what is placed by its path, if it can lie so.

    Raises:
        RepositoryError: it can't.
    """
    found: dict[str, Placed] = {}
    folders: set[str] = set()
    for one in placed:
        problem = path_problem(one.path)
        if problem:
            raise RepositoryError(f"the layout places a file that can't be: {problem}")
        if one.path in found:
            raise RepositoryError(f"the layout places {one.path} twice")
        found[one.path] = one
        folders.update(str(folder) for folder in Path(one.path).parents)
    both = sorted(folders & found.keys())
    if both:
        raise RepositoryError(f"the layout places {both[0]} as a file and as a folder")
    return found


def _copy(file: ReleaseFile, open_file: OpenFile, handle: BinaryIO) -> int:
    digest = hashlib.sha256()
    size = 0
    with open_file(file) as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            size += handle.write(chunk)
    if digest.hexdigest() != file.sha256:
        raise RepositoryError(f"{file.name} in the store has other bytes than it should")
    return size


def _lying(entry: Mapping[str, Any]) -> _Lying:
    size, time, inode = map(int, entry["stamp"])
    sha256 = str(entry["sha256"])
    if sha256 and not SHA256.fullmatch(sha256):
        raise ValueError("it has a digest that is none")
    return _Lying(str(entry["says"]), sha256, (size, time, inode), int(entry["turn"]))


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_size, found.st_mtime_ns, found.st_ino
