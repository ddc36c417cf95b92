"""The signed repository for other sites, as a folder that any web server can serve or a medium can carry.

    <path>/metadata/    N.root.json, N.targets.json, N.snapshot.json, timestamp.json: The Update Framework's
    <path>/targets/     index/<sha256>.<component>.json
    <path>/content/     <first two of sha256>/<sha256>: links to the store's files, or copies

Content comes first, then indexes, then targets and snapshot under names of their own, and the timestamp last, in one
step: whoever reads sees one state or the next, whole. What an older state names stays for a while, for readers that are
on their way. A run that was killed leaves files that nothing names, and that the next run takes away or uses.

The version of the timestamp is the time in seconds: even when metadata was lost, the next one is higher.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.errors import RepositoryError
from reconciler.files import is_sound, sync_folder, write_whole
from reconciler.formats.index import CONTENT, FOLDER, content_path, index_path, parse_index
from reconciler.model.repository import Published, RoleStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime, timedelta

    from securesystemslib.signer import CryptoSigner
    from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

    from reconciler.formats.index import Index
    from reconciler.model.delta import Patch
    from reconciler.model.release import ReleaseFile

    LocalOf = Callable[[str], AbstractContextManager[Path]]

STATES_KEPT = 5
"""How many states back files stay that the newest doesn't name any more."""
AGE_KEPT = 24 * 3600
"""And for how many seconds at least."""
RENEW_AT = 0.5
"""The share of a signature's life that is left when it is renewed."""


class Repository:
    """A repository in a folder; nothing is touched before something is written."""

    def __init__(self, path: Path) -> None:
        """Take the folder."""
        self.path = path
        self._metadata = path / "metadata"
        self._targets = path / "targets"

    @property
    def staged_root(self) -> Path:
        """Where a root waits for signatures: beside the repository, so that nobody is served it."""
        return self.path.with_name(f"{self.path.name}.root.json")

    # --- reading ------------------------------------------------------------------------------------------------------

    def root(self) -> Root | None:
        """Give the root in use; None before there is one.

        Raises:
            RepositoryError: it can't be read.
        """
        from reconciler.repository.signing import read_root

        newest = max(self._versions("root"), default=0)
        return read_root(self._metadata / f"{newest}.root.json").signed if newest else None

    def published(self, now: datetime, expires: Mapping[str, timedelta]) -> Published:
        """Say what is offered, and whether signatures should be renewed.

        Raises:
            RepositoryError: the folder or its root can't be read; other damage is a reason to sign anew.
        """
        root = self.root()
        if root is None:
            return Published()
        try:
            state = self._state()
        except ValueError as error:
            return Published(ready=True, renew=f"its metadata is damaged: {error}")
        if state is None:
            return Published(ready=True, renew="nothing is signed yet")
        whole: list[Index] = []
        damage = ""
        for name in state.targets.signed.targets:
            try:
                whole.append(self._index(name, state.targets.signed))
            except ValueError as error:
                damage = damage or str(error)
        return Published(
            ready=True,
            releases=tuple(entry for index in whole for entry in index[0]),
            incrementals=tuple(entry for index in whole for entry in index[1]),
            withdrawn=tuple(entry for index in whole for entry in index[2]),
            renew=damage or state.renew(root, now, expires),
        )

    def roles(self) -> tuple[RoleStatus, ...]:
        """Give version and expiry of each role.

        Raises:
            RepositoryError: the root can't be read.
        """
        root = self.root()
        found = [RoleStatus("root", root.version, root.expires) if root else RoleStatus("root", 0, None)]
        try:
            state = self._state()
        except ValueError:
            state = None
        for role in ("targets", "snapshot", "timestamp"):
            signed = getattr(state, role).signed if state else None
            found.append(RoleStatus(role, signed.version if signed else 0, signed.expires if signed else None))
        return tuple(found)

    def _versions(self, role: str) -> list[int]:
        """List the versions of a role's metadata that are there."""
        names = (path.name.partition(".") for path in self._metadata.glob(f"*.{role}.json"))
        return [int(number) for number, _dot, rest in names if number.isdecimal() and rest == f"{role}.json"]

    def _state(self) -> _State | None:
        """Read the newest state; None when there is none.

        Raises:
            ValueError: it is damaged.
        """
        from tuf.api.exceptions import RepositoryError as TufError
        from tuf.api.metadata import Metadata

        place = self._metadata / "timestamp.json"
        if not place.exists():
            return None
        try:
            timestamp: Metadata[Timestamp] = Metadata.from_bytes(place.read_bytes())
            number = timestamp.signed.snapshot_meta.version
            snapshot: Metadata[Snapshot] = Metadata.from_bytes(
                (self._metadata / f"{number}.snapshot.json").read_bytes()
            )
            number = snapshot.signed.meta["targets.json"].version
            targets: Metadata[Targets] = Metadata.from_bytes((self._metadata / f"{number}.targets.json").read_bytes())
            if not all(file.hashes["sha256"] for file in targets.signed.targets.values()):
                raise ValueError("a target has no digest")
            return _State(timestamp, snapshot, targets)
        except (OSError, TufError, KeyError, AttributeError) as error:
            raise ValueError(str(getattr(error, "strerror", None) or error)) from error

    def _index(self, name: str, targets: Targets) -> Index:
        """Read an index that targets names.

        Raises:
            ValueError: it is damaged, or something that it names isn't there.
        """
        file = targets.targets[name]
        component = name.removeprefix(f"{FOLDER}/").removesuffix(".json")
        place = self._index_place(component, file.hashes["sha256"])
        try:
            content = place.read_bytes()
            if hashlib.sha256(content).hexdigest() != file.hashes["sha256"]:
                raise ValueError(f"{place} has other bytes than were signed")
            index = parse_index(content, component)
            lost = next((sha256 for sha256, size in _contents(index) if not self._has(sha256, size)), "")
        except OSError as error:
            raise ValueError(f"{place} can't be read: {error.strerror}") from error
        if lost:
            raise ValueError(f"{self.path / content_path(lost)} isn't as it was published")
        return index

    def _index_place(self, component: str, sha256: str) -> Path:
        return self._targets / FOLDER / f"{sha256}.{component}.json"

    def _has(self, sha256: str, size: int) -> bool:
        try:
            return (self.path / content_path(sha256)).stat().st_size == size
        except FileNotFoundError:
            return False

    # --- writing ------------------------------------------------------------------------------------------------------

    @contextmanager
    def take_root(self, now: datetime) -> Iterator[Root]:
        """Take the staged root into use for a block that writes what its keys sign; when that fails, it waits again.

        A root that a run took which died before its end is taken once more.

        Raises:
            RepositoryError: there is none, or not enough keys signed it.
        """
        from reconciler.repository.signing import check_successor, read_root, write_root

        metadata, before = read_root(self.staged_root), self.root()
        place = self._metadata / f"{metadata.signed.version}.root.json"
        is_new = before != metadata.signed
        if is_new:
            check_successor(metadata, before)
            if metadata.signed.is_expired(now):
                raise RepositoryError(f"{self.staged_root} has expired", hint="begin again")
            write_root(metadata, place)
        try:
            yield metadata.signed
        except Exception:
            if is_new:
                place.unlink(missing_ok=True)
            raise
        with self._mapped():
            self.staged_root.unlink(missing_ok=True)

    def write(
        self,
        indexes: Mapping[str, bytes],
        contents: Iterable[ReleaseFile | Patch],
        content_at: LocalOf,
        signer: CryptoSigner,
        expires: Mapping[str, timedelta],
        now: datetime,
    ) -> None:
        """Publish a state: indexes by component, and the contents that they name, which `content_at` finds.

        Raises:
            RepositoryError: the key isn't the one that the root names, or something can't be written; what was
                published before stays in force.
        """
        root = self.root()
        if root is None or signer.public_key.keyid not in root.roles["timestamp"].keyids:
            raise RepositoryError(
                f"the root of {self.path} doesn't know the online key",
                hint="`updoser publish rotate` makes a root that does",
            )
        with self._mapped():
            for folder in (self.path, self._metadata, self._targets / FOLDER, self.path / CONTENT):
                folder.mkdir(parents=True, exist_ok=True)
            for file in contents:
                self._add_content(file, content_at)
            for component, content in indexes.items():
                place = self._index_place(component, hashlib.sha256(content).hexdigest())
                if not place.exists() or place.read_bytes() != content:
                    write_whole(place, content)
            self._sign(indexes, signer, expires, now.astimezone(UTC).replace(microsecond=0))
            with suppress(OSError):  # it is published by now; what stays is tidied away another time
                self._tidy()

    def _add_content(self, file: ReleaseFile | Patch, content_at: LocalOf) -> None:
        """Link a file of the store, or copy it where that can't be done."""
        if not self._has(file.sha256, file.size):
            self._put_content(file, content_at)

    def mend(self, contents: Iterable[ReleaseFile], content_at: LocalOf) -> None:
        """Publish content of the store anew where what was published has rotted: it does with what it links to.

        Raises:
            RepositoryError: it can't be read or written.
            StoreError: the store's own is damaged.
        """
        with self._mapped():
            for file in contents:
                place = self.path / content_path(file.sha256)
                if not place.is_file():
                    continue
                with content_at(file.sha256) as own:
                    is_own = place.samefile(own)
                if not is_own and not is_sound(place, file.sha256):
                    self._put_content(file, content_at)

    def _put_content(self, file: ReleaseFile | Patch, content_at: LocalOf) -> None:
        place = self.path / content_path(file.sha256)
        place.parent.mkdir(exist_ok=True)
        number, name = tempfile.mkstemp(prefix=".new-", dir=place.parent)
        os.close(number)
        temporary = Path(name)
        try:
            temporary.unlink()
            with content_at(file.sha256) as own:
                try:
                    os.link(own, temporary)
                except OSError:
                    shutil.copyfile(own, temporary)
                    temporary.chmod(0o644)
                    with temporary.open("rb") as handle:
                        os.fsync(handle.fileno())
            temporary.replace(place)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(place.parent)

    def _sign(
        self, indexes: Mapping[str, bytes], signer: CryptoSigner, expires: Mapping[str, timedelta], now: datetime
    ) -> None:
        from tuf.api.metadata import Metadata, MetaFile, Snapshot, TargetFile, Targets, Timestamp

        files = {
            index_path(component): TargetFile.from_data(index_path(component), content, ["sha256"])
            for component, content in sorted(indexes.items())
        }
        number = max(self._versions("targets"), default=0) + 1
        targets = Targets(version=number, expires=now + expires["targets"], targets=files)
        self._write(Metadata(targets), f"{number}.targets.json", signer)
        at = max(self._versions("snapshot"), default=0) + 1
        snapshot = Snapshot(version=at, expires=now + expires["snapshot"], meta={"targets.json": MetaFile(number)})
        self._write(Metadata(snapshot), f"{at}.snapshot.json", signer)
        second = max(int(now.timestamp()), self._timestamp_version() + 1)
        timestamp = Timestamp(version=second, expires=now + expires["timestamp"], snapshot_meta=MetaFile(at))
        self._write(Metadata(timestamp), "timestamp.json", signer)

    def _timestamp_version(self) -> int:
        try:
            state = self._state()
        except ValueError:
            return 0
        return state.timestamp.signed.version if state else 0

    def _write(self, metadata: Metadata[Any], name: str, signer: CryptoSigner) -> None:
        metadata.sign(signer)
        write_whole(self._metadata / name, metadata.to_bytes())

    def _tidy(self) -> None:
        """Take away what no state of the last ones names, once it is old enough that nobody is reading it."""
        from tuf.api.exceptions import RepositoryError as TufError
        from tuf.api.metadata import Metadata

        kept = sorted(self._versions("targets"))[-STATES_KEPT:]
        names, digests = set[str](), set[str]()
        for number in kept:
            try:
                targets: Targets = Metadata.from_bytes((self._metadata / f"{number}.targets.json").read_bytes()).signed  # type: ignore[assignment]
            except (OSError, TufError):
                continue
            for name, file in targets.targets.items():
                component = name.removeprefix(f"{FOLDER}/").removesuffix(".json")
                place = self._index_place(component, file.hashes["sha256"])
                names.add(place.name)
                try:
                    digests |= {sha256 for sha256, _size in _contents(parse_index(place.read_bytes(), component))}
                except (OSError, ValueError):
                    continue
        for path in (*self._targets.glob(f"{FOLDER}/*"), *self.path.glob(f"{CONTENT}/*/*")):
            if path.name not in names and path.name not in digests:
                self._drop(path)
        for role in ("targets", "snapshot"):
            for number in sorted(self._versions(role))[:-STATES_KEPT]:
                self._drop(self._metadata / f"{number}.{role}.json")

    def _drop(self, path: Path) -> None:
        with_links = path.lstat()
        if abs(time.time() - max(with_links.st_mtime, with_links.st_ctime)) > AGE_KEPT:  # one far ahead is old, too
            path.unlink(missing_ok=True)

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            place = error.filename or self.path
            raise RepositoryError(f"{place} can't be written: {error.strerror}; nothing new is published") from error


class _State:
    """The metadata of one state."""

    def __init__(
        self, timestamp: Metadata[Timestamp], snapshot: Metadata[Snapshot], targets: Metadata[Targets]
    ) -> None:
        self.timestamp = timestamp
        self.snapshot = snapshot
        self.targets = targets

    def renew(self, root: Root, now: datetime, expires: Mapping[str, timedelta]) -> str:
        """Say why it should be signed anew; empty when it needn't."""
        from tuf.api.exceptions import RepositoryError as TufError

        for role in ("timestamp", "snapshot", "targets"):
            metadata = getattr(self, role)
            try:
                root.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
            except TufError:
                return "the root names another key"
            if metadata.signed.expires - now < expires[role] * RENEW_AT:
                return f"the {role} expires on {metadata.signed.expires:%Y-%m-%d}"
            if metadata.signed.expires - now > expires[role] * (1 + RENEW_AT):
                return f"the {role} expires on {metadata.signed.expires:%Y-%m-%d}, later than it should"
        return ""


def _contents(index: Index) -> list[tuple[str, int]]:
    """List the contents that an index names, by digest and size."""
    releases, incrementals, _withdrawn = index
    files = [(file.sha256, file.size) for release in releases for file in (*release.files, *release.attached)]
    return files + [(patch.sha256, patch.size) for entry in incrementals for patch in entry.patches]
