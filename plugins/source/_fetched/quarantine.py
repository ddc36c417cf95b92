"""What a source fetched to learn what it is: kept apart, until it is proven, and offered from here then.

    <folder>/<key>/          what was kept: `files/`, and `facts.json`, which came last
    <folder>/<key>.part/     what is being fetched or judged: `files/`, and `parts.json` with where each one is from
    <folder>/lock            held by whoever writes

* Nothing here is executed, and nothing is believed before the source has verified it: `fetch` brings bytes, the source
  looks at them, and `keep` makes them what the key stands for. What `held` gives are the bytes that were kept: size,
  times and inode are compared, what differs is hashed again, and what isn't as it was is gone.
* A fetch that was killed goes on where it was, if size and validator of the file are still those that it began with,
  and the machine wasn't started anew: what was on its way to the disk then is nobody's word.
* What is fetched while plans are made counts against a limit, `refresh_limit`: of a file whose size is known before
  anything of it is fetched, of others in the midst of it. That a file is too large is remembered, so that it isn't
  begun again with every plan. In `unlimited` nothing counts.
* One process writes at a time; all that changes something waits for that.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from reconciler.errors import InterruptedRunError, SourceError, own_limit
from reconciler.files import sync_folder, write_whole
from reconciler.model.release import file_name_problem
from reconciler.web.stream import ChangedError

from .kept import FACTS, FILES, PART, PARTS, Fetched, read_kept, read_noted, spelled, stamp_of, time_of
from .turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from reconciler.contracts import Context

CHUNK = 2**20
_ROOM = 16 * 2**20
"""Bytes of the disk that are left free."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_AHEAD = timedelta(days=1)
_MANY = 200
"""So many files are brought to the disk all at once."""


class OverLimitError(SourceError):
    """A file is larger than what may still be fetched while a plan is made; `needed` is its size, where it is known."""

    def __init__(self, name: str, needed: int | None) -> None:
        size = "its size isn't known before" if needed is None else f"it has {needed} bytes"
        super().__init__(f"{name} isn't fetched while a plan is made: {size}, and `refresh_limit` is less")
        self.needed = needed


class Stream(Protocol):
    """What a file comes from; where it is resumed it is sought in before it is read."""

    def read(self, size: int = -1, /) -> bytes:
        """Read some bytes; none at the end."""

    def seek(self, offset: int, whence: int = ..., /) -> int:
        """Begin somewhere else than at the start."""

    def close(self) -> None:
        """Let go of it."""


class Quarantine:
    """What one source fetched; used by several threads at once. Nothing is touched before something is written."""

    def __init__(self, folder: Path, context: Context, refresh_limit: int) -> None:
        """Take the folder, and how many bytes may be fetched by this instance while plans are made."""
        self.folder = folder
        self._context = context
        self._left = refresh_limit
        self._free = 0
        self._turn = Turn(folder / "lock", context.stop)

    # --- what is there ------------------------------------------------------------------------------------------------

    def held(self, key: str) -> Fetched | None:
        """Give what was kept under a key; None where there is nothing, or not all of it as it was.

        Raises:
            SourceError: it can't be read.
        """
        with _mapped(self.folder):
            return read_kept(self._place(key), key)

    def all(self) -> list[Fetched]:
        """Give all that is held, by key.

        Raises:
            SourceError: it can't be read.
        """
        with _mapped(self.folder):
            if not self.folder.is_dir():
                return []
            places = sorted(place for place in self.folder.iterdir() if place.is_dir() and place.suffix != PART)
            found = map(read_kept, places)
            return [entry for entry in found if entry is not None]

    # --- what is brought ----------------------------------------------------------------------------------------------

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from writing here; what is done within is done in one turn.

        Raises:
            SourceError: another process doesn't end; or the folder can't be made.
        """
        with _mapped(self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._turn.taken():
            yield

    @contextmanager
    def unlimited(self) -> Iterator[None]:
        """Let what is fetched within count against no limit: it is what a plan said would be fetched."""
        with self.alone():
            self._free += 1
            try:
                yield
            finally:
                self._free -= 1

    def fetch(
        self, key: str, name: str, open_: Callable[[], Stream], *, size: int | None, validator: str = "", limit: int
    ) -> Path:
        """Bring a file of at most `limit` bytes to where it can be judged, and give its path.

        `size` and `validator` are what is known of it before: with a validator, what came before a kill isn't asked for
        again.

        Raises:
            OverLimitError: it may not be fetched now.
            InterruptedRunError: the run is stopped.
            SourceError: it can't be had, or is larger than it may be, or isn't as large as it was to be.
        """
        with self.alone(), _mapped(self.folder):
            if size is not None and size > limit:
                raise SourceError(f"{name} has {size} bytes; at most {limit} may be fetched")
            path = self.place(key, name)
            origin = {"size": size, "validator": validator, "boot": _boot()}
            known = self._origins(key).get(name, {})
            is_same = {word: known.get(word) for word in origin} == origin
            if not (is_same and validator):
                path.unlink(missing_ok=True)
            had = path.stat().st_size if path.exists() else 0
            if size is not None and had > size:
                path.unlink()
                had = 0
            self._allow(name, size, had, known if is_same else {})
            self._note(key, name, {**known, **origin} if is_same else origin)
            if size is not None:
                self._check_room(name, size - had)
            try:
                self._bring(path, open_, name, size, limit)
            except _OverError as error:
                self._note(key, name, {**origin, "over": error.came})
                raise OverLimitError(name, size) from error
            return path

    def place(self, key: str, name: str) -> Path:
        """Give the path of a file that is fetched under a key, or that the source makes itself of what was.

        Raises:
            SourceError: its name is none that a release may hold, or its folder can't be made.
        """
        problem = file_name_problem(name)
        if problem:
            raise SourceError(f"{key} can't be fetched: {problem}")
        with self.alone(), _mapped(self.folder):
            part = self._part(key)
            if not (part / FILES).is_dir():
                (part / FILES).mkdir(mode=0o700, parents=True)
                self._note(key)
            return part / FILES / name

    def keep(self, key: str, facts: Mapping[str, Any]) -> Fetched:
        """Have a key stand for the files that were fetched or made for it, from now on, and for what is noted of them.

        All files that lie there are kept; what isn't to be was removed by then.

        Raises:
            SourceError: it can't be written.
        """
        with self.alone(), _mapped(self.folder):
            part, place = self._part(key), self._place(key)
            paths = sorted((part / FILES).iterdir())
            rows = []
            for path in paths:
                path.chmod(0o600)
                with path.open("rb") as content:
                    digest = hashlib.file_digest(content, "sha256").hexdigest()
                    if len(paths) <= _MANY:
                        os.fsync(content.fileno())
                rows.append([path.name, path.stat().st_size, digest, stamp_of(path)])
            if len(paths) > _MANY:
                os.sync()
            sync_folder(part / FILES)
            kept = {"key": key, "files": rows, "facts": dict(facts), "kept": self._now().isoformat()}
            (part / PARTS).unlink(missing_ok=True)
            write_whole(part / FACTS, json.dumps(kept).encode(), 0o600)
            self._remove(place)
            part.rename(place)
            sync_folder(self.folder)
            found = read_kept(place, key)
        if found is None:
            raise SourceError(f"{key} in {self.folder} changed while it was kept")
        return found

    def drop(self, key: str) -> None:
        """Forget a key: what was kept under it, and what is being fetched.

        Raises:
            SourceError: it can't be removed.
        """
        with self.alone(), _mapped(self.folder):
            self._remove(self._place(key))
            self._remove(self._part(key))

    def sweep(self, keep: Collection[str], older: timedelta) -> None:
        """Remove what is under other keys than these and was kept, or last fetched, longer ago than `older`.

        Raises:
            SourceError: it can't be removed.
        """
        if not self.folder.is_dir():
            return
        with self.alone(), _mapped(self.folder):
            wanted = {path for key in keep for path in (self._place(key), self._part(key))}
            now = self._now()
            for place in self.folder.iterdir():
                if place in wanted or not place.is_dir():
                    continue
                age = now - time_of(place)
                if age >= older or age < -_AHEAD:
                    self._remove(place)

    # --- how ----------------------------------------------------------------------------------------------------------

    def _allow(self, name: str, size: int | None, had: int, known: Mapping[str, Any]) -> None:
        """Refuse what is larger than what may still be fetched.

        Raises:
            OverLimitError: it is.
        """
        if self._free:
            return
        over = known.get("over", 0)
        least = size - had if size is not None else over if isinstance(over, int) else 0
        if least > self._left:
            raise OverLimitError(name, size)

    def _bring(self, path: Path, open_: Callable[[], Stream], name: str, size: int | None, limit: int) -> None:
        """Bring the rest of a file, from its start where another file is at its place now."""
        try:
            try:
                self._copy(path, open_, name, size, limit)
            except ChangedError:
                path.unlink(missing_ok=True)
                self._copy(path, open_, name, size, limit)
        except (ChangedError, OSError):  # a disk that is full has better uses for it
            path.unlink(missing_ok=True)
            raise

    def _copy(self, path: Path, open_: Callable[[], Stream], name: str, size: int | None, limit: int) -> None:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(number, "ab") as handle:
            came = handle.tell()
            if size is not None and came == size:
                return
            stream = open_()
            try:
                if came:
                    stream.seek(came)
                while data := stream.read(CHUNK):
                    if self._context.stop.is_set():
                        raise InterruptedRunError("the run is stopped")
                    came += len(data)
                    if came > (limit if size is None else size):
                        path.unlink(missing_ok=True)
                        most = f"at most {limit} may be fetched" if size is None else f"it was to have {size}"
                        raise SourceError(f"{name} has more than {came - len(data)} bytes; {most}")
                    self._count(len(data), came)
                    handle.write(data)
            finally:
                stream.close()
        if size is not None and came != size:
            path.unlink(missing_ok=True)
            raise SourceError(f"{name} was to have {size} bytes, and has {came}")

    def _count(self, size: int, came: int) -> None:
        self._context.count(size)
        if self._free:
            return
        self._left -= size
        if self._left < 0:
            self._left = 0
            raise _OverError(came)

    def _check_room(self, name: str, needed: int) -> None:
        free = shutil.disk_usage(self.folder).free - _ROOM
        if needed > max(free, 0):
            raise SourceError(
                f"{name} needs {needed} bytes, and {self.folder} has {max(free, 0)} free",
                hint="make room, or move `server.store` to a larger disk",
            )

    def _origins(self, key: str) -> dict[str, dict[str, Any]]:
        """Give where the files that are being fetched under a key are from, by name, as far as it is known."""
        found = (read_noted(self._part(key) / PARTS) or {}).get("files")
        if not isinstance(found, dict):
            return {}
        return {name: origin for name, origin in found.items() if isinstance(origin, dict)}

    def _note(self, key: str, name: str = "", origin: Mapping[str, Any] | None = None) -> None:
        """Write down where a file is from, and that it was worked on under this key."""
        files = {**self._origins(key), **({name: dict(origin)} if origin is not None else {})}
        known = {"at": self._now().isoformat(), "files": files}
        write_whole(self._part(key) / PARTS, json.dumps(known).encode(), 0o600)

    def _remove(self, place: Path) -> None:
        """Remove a folder: it holds nothing from the first moment on."""
        (place / FACTS).unlink(missing_ok=True)
        if place.exists():
            shutil.rmtree(place)

    def _place(self, key: str) -> Path:
        return self.folder / spelled(key)

    def _part(self, key: str) -> Path:
        return self.folder / f"{spelled(key)}{PART}"

    def _now(self) -> datetime:
        return self._context.clock().astimezone(UTC)


class _OverError(Exception):
    """The limit was reached in the midst of a file, of which so many bytes came."""

    def __init__(self, came: int) -> None:
        super().__init__(came)
        self.came = came


def _boot() -> str:
    """Give what tells one start of this machine from others."""
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""


@contextmanager
def _mapped(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise own_limit(error) or SourceError(
            f"{error.filename or folder} can't be used: {error.strerror or error}"
        ) from error
