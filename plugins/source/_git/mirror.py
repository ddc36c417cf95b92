"""A repository and its mirror: what releases are made of is read from the mirror, and fetched where that lacks it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar
from urllib.parse import unquote, urlsplit

from reconciler.errors import InterruptedRunError, SourceError, own_limit
from reconciler.web.cooldown import Cooldown
from reconciler.web.files import HttpFiles
from reconciler.web.options import web_options

from .depot import LacksError
from .folder import Folder
from .guard import Guard, PackError
from .objects import object_id
from .remote import Ask, Remote, TooMuchError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from threading import Event

    from reconciler.contracts import Context

    from .depot import Depot
    from .guard import Limits
    from .notes import Notes

ResultT = TypeVar("ResultT")
ALL_HISTORY = 0
_ROOM = 2**16
"""Bytes of a pack that broke off that are left out of account: what was told before it."""


class OverError(SourceError):
    """More would have to be fetched than may be while a plan is made; `first` is the first object that came."""

    def __init__(self, message: str, first: bytes) -> None:
        super().__init__(message)
        self.first = first


class Mirror:
    """See above. `limit` is how many bytes may be fetched by it in one look, and `most` in one go when none counts."""

    def __init__(
        self,
        remote: Remote | Folder,
        depot: Depot,
        pack: Path,
        *,
        limit: int,
        most: int,
        count: Callable[[int], None],
        stop: Event,
    ) -> None:
        """Touch nothing yet; `pack` is where what comes is written first, and `count` is told of it."""
        self.depot = depot
        self.notes: Notes
        self._remote = remote
        self._count = count
        self._stop = stop
        self._free = False
        self._pack = pack
        self._limit = min(limit, most)
        self._most = most
        self._left = self._limit
        self.fetched = False

    def begin(self, notes: Notes, *, free: bool) -> None:
        """Begin a look; in one that is `free` no limit of a refresh counts."""
        self.notes = notes
        self.fetched = False
        self.depot.seen = set()
        self._left = self._most if free else self._limit
        self._free = free
        self.depot.beside = self._remote if isinstance(self._remote, Folder) else None

    def end(self) -> None:
        """Be done with a look."""
        self._pack.unlink(missing_ok=True)
        if isinstance(self._remote, Folder):
            self._remote.close()

    def refs(self, prefix: str, wanted: Callable[[str], bool]) -> dict[str, str]:
        """Give the objects of branches and tags; see `Remote.refs`."""
        if isinstance(self._remote, Folder):
            return self._remote.refs(wanted)
        return self._remote.refs(prefix, wanted)

    def made(self, want: str, haves: Sequence[str], build: Callable[[], ResultT], depth: int = 1) -> ResultT:
        """Build something of an object and what is below it; what the mirror lacks of that is fetched.

        First with a view to what is there: `haves` are commits whose objects aren't sent again. If that isn't enough,
        as the mirror was damaged, say, or other folders are looked at now, then as a whole.

        Raises:
            OverError: that would be more than may be fetched now.
            SourceError: it can't be had.
        """
        try:
            return build()
        except LacksError:
            if isinstance(self._remote, Folder):
                raise
        for own in ([*haves], []) if haves else ([],):
            self.bring(Ask(want, own, depth if own else 1))
            try:
                return build()
            except LacksError:
                continue
        return build()

    def bring(self, ask: Ask) -> None:
        """Fetch an object and what is below it into the mirror.

        Raises:
            OverError: it is more than may be fetched now, or was the last time, and the limit is what it was.
            SourceError: it can't be had.
        """
        assert not isinstance(self._remote, Folder)
        over = self.notes.over.get(ask.want)
        if over is not None and not self._free and self._left <= over[0]:
            raise OverError(self._too_much(ask.want), over[1].encode("latin-1"))
        try:
            with self._pack.open("w+b") as file:
                came = self._fetched(self._remote, ask, file)
        except OSError as error:
            raise own_limit(error) or SourceError(f"{self._pack} can't be written: {error.strerror}") from error
        self.fetched = True
        if came:
            self.depot.take(self._pack, len(ask.want))
        self.notes.over.pop(ask.want, None)

    def _fetched(self, remote: Remote, ask: Ask, file: BinaryIO) -> int:
        """Write a pack; give its size."""
        limit = self._left

        def start() -> None:
            file.seek(0)
            file.truncate()

        def write(data: bytes) -> int:
            if file.tell() + len(data) > limit:
                raise TooMuchError("it is larger than that")
            if self._stop.is_set():
                raise InterruptedRunError("the run is stopped")
            if self._free:
                self._count(len(data))
            return file.write(data)

        try:
            remote.fetch(ask, write, start, limit)
        except TooMuchError as error:
            if self._free or limit >= self._most:
                raise SourceError(
                    f"{ask.want[:12]} and what is below it has more than {limit} bytes, and isn't fetched",
                    hint="raise `max_size` of the source, if that can be",
                ) from error
            first = self._first(file, ask.want)
            if limit == self._limit:  # with the whole of the limit it was too much
                self.notes.over[ask.want] = limit, first.decode("latin-1")
            raise OverError(self._too_much(ask.want), first) from error
        self._left -= file.tell()
        return file.tell()

    def _first(self, file: BinaryIO, want: str) -> bytes:
        """Give the commit that was asked for, if it came before the rest was too much."""
        file.seek(0)
        try:
            content = Guard(file.read(_ROOM * 4), len(want) // 2, self.depot.limits).first()
        except PackError:
            return b""
        return content if object_id("commit", content, len(want)) == want else b""

    def _too_much(self, want: str) -> str:
        return f"{want[:12]} isn't fetched while a plan is made: `refresh_limit` is less than what would come"


def remote_at(url: str, options: Mapping[str, Any], context: Context, limits: Limits) -> Remote | Folder:
    """Give what reads the repository.

    Raises:
        SourceError: nothing here can.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        if context.proxy is not None:
            raise SourceError("a folder isn't reached through a proxy", hint="remove `proxy` from the source")
        return Folder(Path(unquote(parts.path)), limits)
    cooldown = Cooldown(context.work / "cooldown.json", context.clock, context.log)
    return Remote(url, HttpFiles(url, web_options(options), context, cooldown, rests=lambda _status, _url: False))
