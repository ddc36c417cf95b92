"""Content in a folder that several machines have, such as a share of NFS.

<path>/content/<first two of sha256>/<sha256>    one file for each content, as in a store
<path>/users/<user>                              an empty file for each who uses it
<path>/tmp/                                      files on their way in
"""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from reconciler.contracts import ContentEntry, Context, Traits, WritablePlace
from reconciler.errors import InterruptedRunError, NoContentError, StoreError, own_limit
from reconciler.files import sync_folder, write_whole
from reconciler.model.release import SHA256

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "description": "Content in a folder that several machines have, such as a share of NFS.",
    "properties": {
        "path": {
            "type": "string",
            "minLength": 1,
            "description": "The folder.",
            "examples": ["/srv/updoser-content"],
        }
    },
    "required": ["path"],
    "additionalProperties": False,
}
_OLD = 24 * 3600
_CHUNK = 2**20


class Folder(WritablePlace):
    """The protocol `WritablePlace` of reconciler/contracts.py."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        self._root = context.path(options["path"], StoreError)
        self._stop = context.stop

    def size(self, sha256: str) -> int | None:
        """See `ContentPlace.size`."""
        self._look_for_root()
        with _mapped(self._root):
            try:
                return self._path(sha256).stat().st_size
            except FileNotFoundError:
                return None

    @contextmanager
    def open(self, sha256: str, start: int = 0) -> Iterator[BinaryIO]:
        """See `ContentPlace.open`."""
        self._look_for_root()
        with _mapped(self._root):
            try:
                file = self._path(sha256).open("rb")
            except FileNotFoundError as error:
                raise NoContentError(f"{self._root} has no {sha256}") from error
            with file:
                file.seek(start)
                yield file

    def put(self, sha256: str, file: Path) -> None:
        """See `WritablePlace.put`."""
        path = self._path(sha256)
        self._look_for_root()
        with _mapped(self._root):
            self._clear_old()
            path.parent.mkdir(parents=True, exist_ok=True)
            number, name = tempfile.mkstemp(dir=self._root / "tmp")
            try:
                with os.fdopen(number, "wb") as target, file.open("rb") as source:
                    while chunk := source.read(_CHUNK):
                        target.write(chunk)
                        if self._stop.is_set():
                            raise InterruptedRunError("the run is stopped")
                    target.flush()
                    os.fchmod(target.fileno(), 0o644)
                    os.fsync(target.fileno())
                Path(name).replace(path)
            finally:
                Path(name).unlink(missing_ok=True)
            sync_folder(path.parent)

    def delete(self, sha256: str) -> None:
        """See `WritablePlace.delete`."""
        self._look_for_root()
        with _mapped(self._root):
            self._path(sha256).unlink(missing_ok=True)

    def entries(self) -> Iterator[ContentEntry]:
        """See `WritablePlace.entries`."""
        self._look_for_root()
        with _mapped(self._root):
            for path in (self._root / "content").glob("??/*"):
                if SHA256.fullmatch(path.name) and path.parent.name == path.name[:2]:
                    with suppress(FileNotFoundError):  # somebody let go of it just now
                        yield ContentEntry(path.name, path.stat().st_size)

    def join(self, user: str) -> None:
        """See `WritablePlace.join`."""
        self._look_for_root()
        place = self._root / "users" / user
        with _mapped(self._root):
            if not place.exists():
                place.parent.mkdir(exist_ok=True)
                write_whole(place, b"")

    def users(self) -> Collection[str]:
        """See `WritablePlace.users`."""
        self._look_for_root()
        with _mapped(self._root):
            return {path.name for path in (self._root / "users").glob("[!.]*")}

    def _path(self, sha256: str) -> Path:
        if not SHA256.fullmatch(sha256):
            raise StoreError(f"{sha256!r} is no SHA-256")
        return self._root / "content" / sha256[:2] / sha256

    def _look_for_root(self) -> None:
        """A share that isn't mounted must not look like one that has nothing."""
        with _mapped(self._root):
            if not self._root.is_dir():
                raise StoreError(f"the folder {self._root} isn't there", hint="make it, or mount what it is of")

    def _clear_old(self) -> None:
        """Take away what was left on its way in long ago."""
        folder = self._root / "tmp"
        folder.mkdir(exist_ok=True)
        for left in folder.iterdir():
            with suppress(FileNotFoundError):
                if abs(time.time() - left.stat().st_mtime) > _OLD:
                    left.unlink(missing_ok=True)


@contextmanager
def _mapped(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if own := own_limit(error):
            raise own from error
        raise StoreError(f"{error.filename or root}: {error.strerror or error}") from error


TRAITS = Traits()
PLUGIN = Folder
