"""The mirror of a repository in a source's work folder: a bare one, with the objects that its releases are made of.

An object is what its name says, or it isn't there: each is checked when it is read, so a mirror that a power cut or
somebody's hand damaged is a smaller one, and what it lacks is fetched again. What others have (a folder on a medium) is
kept when it was read and proved to be what its name says.
"""

from __future__ import annotations

import mmap
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from reconciler.errors import SourceError, UpdoserError, own_limit, words_of

from .guard import Guard, PackError
from .objects import object_id

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from .guard import Limits
    from .objects import Kind

FORMATS = {40: "sha1", 64: "sha256"}
"""How a repository is called by the length of its objects' names."""


class Objects(Protocol):
    """Where objects can be had by their names."""

    def get(self, name: str) -> tuple[Kind, bytes] | None:
        """Give an object's kind and bytes; None where it isn't there. Nothing says that they are what the name says."""


class LacksError(SourceError):
    """An object is nowhere to be had."""


class Depot:
    """A mirror in a folder, made when something is first kept; `seen` are the objects that were read from it."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        """Touch nothing yet."""
        self.folder = folder
        self.limits = limits
        self.beside: Objects | None = None
        self.seen: set[str] = set()
        self._stores: dict[int, Any] = {}

    def has(self, name: str) -> bool:
        """Say whether an object is in the mirror itself, and sound."""
        return self._own(name) is not None

    def kind(self, name: str) -> Kind:
        """Give the kind of an object.

        Raises:
            LacksError: it can't be had.
        """
        return self._found(name)[0]

    def read(self, name: str, kind: Kind) -> bytes:
        """Give the bytes of an object.

        Raises:
            LacksError: it can't be had.
            SourceError: it is of another kind.
        """
        found, content = self._found(name)
        if found != kind:
            raise SourceError(f"the object {name[:12]} is a {found} where a {kind} belongs")
        return content

    def _found(self, name: str) -> tuple[Kind, bytes]:
        found = self._own(name)
        if found is None and self.beside is not None:
            found = self.beside.get(name)
            if found is not None:
                if object_id(found[0], found[1], len(name)) != name:
                    raise SourceError(f"what lies there as {name[:12]} are other bytes than that name says")
                self._put(name, *found)
        if found is None:
            raise LacksError(f"the object {name[:12]} can't be had")
        self.seen.add(name)
        return found

    def take(self, pack: Path, length: int) -> None:
        """Take all objects of a pack, each under the name that its bytes have; `length` is that of a name.

        Raises:
            SourceError: it isn't a whole pack, breaks a limit, or can't be kept. LimitError: there is no room for it.
        """
        from dulwich.object_format import get_object_format
        from dulwich.pack import PackData, PackInflater

        with self._mapped():
            with pack.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                try:
                    Guard(content, length // 2, self.limits).check()
                except PackError as error:
                    raise SourceError(f"what the server packed {error}") from error
            store = self._store(length)
            with PackData(pack, get_object_format(FORMATS[length])) as data:
                inflater: Any = PackInflater
                for made in inflater.for_pack_data(data):
                    name = made.id.decode()
                    if not self.has(name):
                        self._place(name).unlink(missing_ok=True)  # one that is damaged would stay as it is
                        store.add_object(made)

    def sweep(self, kept: Collection[str]) -> None:
        """Remove all objects but these."""
        for folder in (self.folder / "objects").glob("[0-9a-f][0-9a-f]"):
            for path in folder.iterdir():
                if folder.name + path.name not in kept:
                    path.unlink(missing_ok=True)

    def _place(self, name: str) -> Path:
        return self.folder / "objects" / name[:2] / name[2:]

    def _own(self, name: str) -> tuple[Kind, bytes] | None:
        if not self._place(name).is_file():
            return None
        try:
            made = self._store(len(name))[name.encode()]
            kind, content = made.type_name.decode(), made.as_raw_string()
        except Exception as error:  # whatever stands there
            if own := own_limit(error):
                raise own from error
            return None
        return (kind, content) if object_id(kind, content, len(name)) == name else None

    def _put(self, name: str, kind: Kind, content: bytes) -> None:
        from dulwich.object_format import get_object_format
        from dulwich.objects import ShaFile, object_class

        with self._mapped():
            self._place(name).unlink(missing_ok=True)
            class_ = object_class(kind.encode())
            assert class_ is not None
            made = ShaFile.from_raw_string(
                class_.type_num, content, object_format=get_object_format(FORMATS[len(name)])
            )
            self._store(len(name)).add_object(made)

    def _store(self, length: int) -> Any:
        """Give dulwich's store of objects whose names are so long."""
        if length not in self._stores:
            from dulwich.object_format import get_object_format
            from dulwich.object_store import DiskObjectStore
            from dulwich.repo import Repo

            with self._mapped():
                if not (self.folder / "HEAD").exists() or not (self.folder / "objects").is_dir():
                    shutil.rmtree(self.folder, ignore_errors=True)
                    self.folder.mkdir(parents=True)
                    Repo.init_bare(self.folder, object_format=FORMATS[length]).close()
                store = DiskObjectStore(
                    self.folder / "objects",
                    loose_compression_level=1,
                    loose_object_size_limit=self.limits.one,
                    object_format=get_object_format(FORMATS[length]),
                )
            self._stores[length] = store
        return self._stores[length]

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except UpdoserError:
            raise
        except OSError as error:
            raise own_limit(error) or SourceError(
                f"its mirror in {self.folder} can't be written: {error.strerror}"
            ) from error
        except Exception as error:  # whatever a pack has
            raise own_limit(error) or SourceError(f"what came can't be read: {words_of(error)}") from error
