"""The boundary of each part: whatever is raised in it becomes an error of ours, which says what broke.

`blaming` is the one way to that. It stands where the work on one part begins, such as a source, release, file or key,
so that the work on the others goes on; and around every call of a plugin, by what `guarded` puts in its place. A plugin
is called by many and can be anybody's: who calls it needs to expect the errors of its contract only.

What a caller of a plugin raises itself, in the block that reads a stream, passes as it is. So does what ends the
process.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Self, cast

from reconciler.contracts import ContentEntry, TrustedKey, Trusting, WritablePlace
from reconciler.errors import (
    REPORT_IT,
    FaultError,
    InventoryError,
    LimitError,
    NotifierError,
    PatchError,
    PluginError,
    RepositoryError,
    SourceError,
    StoreError,
    UpdoserError,
    own_limit,
    words_of,
)
from reconciler.model.release import Release

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path
    from threading import Event
    from types import TracebackType

    from reconciler.contracts import (
        Check,
        CheckResult,
        Codec,
        ContentPlace,
        Crew,
        Executor,
        Hands,
        Inventory,
        Layout,
        Notifier,
        Source,
        Subject,
    )
    from reconciler.model.batch import Halt, Order, Report
    from reconciler.model.client import InventoryEntry
    from reconciler.model.delta import CodecTraits, Incremental, Patch
    from reconciler.model.mirror import OpenFile, Placed
    from reconciler.model.notice import Message
    from reconciler.model.offer import SourceReport
    from reconciler.model.release import Component, ReleaseFile

_LOG = logging.getLogger("updoser")


@contextmanager
def blaming(what: str, wrong: type[UpdoserError] = FaultError) -> Iterator[None]:
    """Map whatever the block raises to an error that begins with `what`; errors of ours pass as they are.

    Where it came from is logged for those who look for it.

    Raises:
        LimitError: this machine has no room for more.
        UpdoserError, as `wrong`: anything else.
    """
    try:
        yield
    except UpdoserError:
        raise
    except Exception as error:
        _LOG.debug("%s", what, exc_info=error)
        if own := own_limit(error):
            raise own from error
        hint = REPORT_IT if wrong is FaultError else ""
        raise wrong(f"{what}: {words_of(error)}", hint=hint) from error


class Caught:
    """Takes an error of ours out of the work on one part, so that the work on the others goes on.

        with Caught() as caught:
            ...
        if caught.error is not None:
            ...

    A limit of this machine is no part's error: it passes, and so does what isn't ours.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.error: UpdoserError | None = None

    def __enter__(self) -> Self:
        """Begin the work."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """End the work: take its error, if it has one that isn't to pass."""
        if not isinstance(error, UpdoserError) or isinstance(error, LimitError):
            return False
        self.error = error
        return True

    @property
    def brief(self) -> str:
        """The error in one line; empty where there is none."""
        return "" if self.error is None else self.error.brief


def guarded(kind: str, name: str, plugin: Any) -> Any:
    """Give what stands in place of a plugin of a kind; transports have `client.guard`."""
    guard = _GUARDS.get(kind)
    return plugin if guard is None else guard(plugin, f"the {kind} plugin {name} broke")


class _Source:
    """A source that raises SourceError, whatever it is by itself."""

    def __init__(self, source: Source, what: str) -> None:
        self._source = source
        self._blaming = partial(blaming, what, SourceError)

    def releases(self, components: Mapping[str, Component]) -> SourceReport:
        with self._blaming():
            return self._source.releases(components)

    def open(self, release: Release, file: ReleaseFile) -> AbstractContextManager[BinaryIO]:
        return _Opened(lambda: self._source.open(release, file), self._blaming)

    def open_patch(self, incremental: Incremental, patch: Patch) -> AbstractContextManager[BinaryIO]:
        return _Opened(lambda: self._source.open_patch(incremental, patch), self._blaming)

    def trusted(self) -> Sequence[TrustedKey]:
        """Give the keys that it trusts; none where it says nothing of that."""
        with self._blaming():
            found = tuple(self._source.trusted()) if isinstance(self._source, Trusting) else ()
            if not all(isinstance(key, TrustedKey) for key in found):
                raise TypeError("it trusts what are no keys")
            return found


class _FetchingSource(_Source):
    """A source that fetches."""

    _source: Any

    def fetch(self, component: str, version: str, platform: str) -> Release:
        with self._blaming():
            found = self._source.fetch(component, version, platform)
            if not isinstance(found, Release):
                raise TypeError(f"it fetched a {type(found).__name__} in place of a release")
            return found


def _any_source(source: Source, what: str) -> _Source:
    fetches = callable(getattr(source, "fetch", None))
    return _FetchingSource(source, what) if fetches else _Source(source, what)


class _Opened:
    """A stream that a source opens: its ways in and out are guarded, and all that is read."""

    def __init__(
        self,
        make: Callable[[], AbstractContextManager[BinaryIO]],
        guard: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._make = make
        self._guard = guard

    def __enter__(self) -> BinaryIO:
        with self._guard():
            self._inner = self._make()
            return cast("BinaryIO", _Stream(self._inner.__enter__(), self._guard))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._guard():
            try:
                self._inner.__exit__(kind, error, trace)
            except Exception as raised:
                if raised is not error:
                    raise


class _Stream:
    """The part of a stream that the store reads."""

    def __init__(self, stream: BinaryIO, guard: Callable[[], AbstractContextManager[None]]) -> None:
        self._stream = stream
        self._guard = guard

    def read(self, size: int = -1, /) -> bytes:
        with self._guard():
            data = self._stream.read(size)
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(f"it read a {type(data).__name__} in place of bytes")
            return data

    def seekable(self) -> bool:
        with self._guard():
            return self._stream.seekable()

    def seek(self, offset: int, /) -> int:
        with self._guard():
            return self._stream.seek(offset)


class _Inventory:
    """An inventory that raises InventoryError."""

    def __init__(self, inventory: Inventory, what: str) -> None:
        self._inventory = inventory
        self._what = what

    def clients(self) -> Iterator[InventoryEntry]:
        with blaming(self._what, InventoryError):
            yield from self._inventory.clients()


class _Codec:
    """A codec that raises PatchError."""

    def __init__(self, codec: Codec, what: str) -> None:
        self._codec = codec
        self._blaming = partial(blaming, what, PatchError)

    @property
    def traits(self) -> CodecTraits:
        with self._blaming():
            return self._codec.traits

    def make(self, old: bytes, new: bytes, *, level: int, window: int = 0) -> bytes:
        with self._blaming():
            return self._codec.make(old, new, level=level, window=window)

    def check(self, patch: bytes, size: int) -> None:
        with self._blaming():
            self._codec.check(patch, size)

    def apply(self, old: bytes, patch: bytes, size: int) -> Iterator[bytes]:
        with self._blaming():
            yield from self._codec.apply(old, patch, size)


class _Check:
    """A check that raises PluginError."""

    def __init__(self, check: Check, what: str) -> None:
        self._check = check
        self._blaming = partial(blaming, what, PluginError)

    def on_client(self) -> tuple[str, int]:
        with self._blaming():
            run, expect = self._check.on_client()
            return run, expect

    def on_server(self, subject: Subject, *, timeout: float, stop: Event) -> CheckResult:
        with self._blaming():
            return self._check.on_server(subject, timeout=timeout, stop=stop)


class _Executor:
    """An executor that raises PluginError, and whose crews do so, too."""

    def __init__(self, executor: Executor, what: str) -> None:
        self._executor = executor
        self._blaming = partial(blaming, what, PluginError)

    @contextmanager
    def open(self, hands: Hands, forks: int) -> Iterator[Crew]:
        with self._blaming():
            opened = self._executor.open(hands, forks)
            crew = opened.__enter__()
        try:
            yield _Crew(crew, self._blaming)
        finally:
            with self._blaming():
                opened.__exit__(None, None, None)


class _Crew:
    """A crew that raises PluginError; what its threads raise of themselves passes, where it is to (`Caught`)."""

    def __init__(self, crew: Crew, guard: Callable[[], AbstractContextManager[None]]) -> None:
        self._crew = crew
        self._guard = guard

    def lane(self, client: str) -> str:
        with self._guard():
            return str(self._crew.lane(client))

    def room(self, lane: str) -> int:
        with self._guard():
            return int(self._crew.room(lane))

    @property
    def size(self) -> int:
        with self._guard():
            return int(self._crew.size)

    def refusal(self, lane: str) -> str:
        with self._guard():
            return str(self._crew.refusal(lane))

    def give(self, lane: str, order: Order) -> None:
        with self._guard():
            self._crew.give(lane, order)

    def halt(self, halted: Collection[Halt]) -> None:
        with self._guard():
            self._crew.halt(halted)

    def receive(self, timeout: float) -> Sequence[Report]:
        with self._guard():
            reports = list(self._crew.receive(timeout))
            from reconciler.model.batch import Answer, Ended  # where nobody works, nobody makes them

            for report in reports:
                if not isinstance(report, (Answer, Ended)):
                    raise TypeError(f"it reported a {type(report).__name__}")
            return reports

    def stop(self) -> None:
        with self._guard():
            self._crew.stop()


class _Notifier:
    """A notifier that raises NotifierError."""

    def __init__(self, notifier: Notifier, what: str) -> None:
        self._notifier = notifier
        self._blaming = partial(blaming, what, NotifierError)

    def send(self, message: Message, *, timeout: float) -> None:
        with self._blaming():
            self._notifier.send(message, timeout=timeout)


class _Layout:
    """A layout that raises RepositoryError, and that makes files so, too."""

    def __init__(self, layout: Layout, what: str) -> None:
        self._layout = layout
        self._blaming = partial(blaming, what, RepositoryError)
        self.traits = layout.traits

    def refusal(self, release: Release) -> str:
        with self._blaming():
            return self._layout.refusal(release)

    def place(self, releases: Sequence[Release], others: Sequence[Release], there: Collection[str]) -> Sequence[Placed]:
        with self._blaming():
            return [self._guarded(placed) for placed in self._layout.place(releases, others, there)]

    def _guarded(self, placed: Placed) -> Placed:
        if not callable(placed.content):
            return placed
        make = placed.content

        def made(open_file: OpenFile, at: datetime) -> bytes:
            with self._blaming():
                return make(open_file, at)

        return replace(placed, content=made)


class _Place:
    """A place of content that raises StoreError, whatever it is by itself."""

    def __init__(self, place: ContentPlace, what: str) -> None:
        self._place = place
        self._blaming = partial(blaming, what, StoreError)

    def size(self, sha256: str) -> int | None:
        with self._blaming():
            size: Any = self._place.size(sha256)
            if size is not None and not (isinstance(size, int) and size >= 0):
                raise TypeError(f"it gave {size!r} in place of a size")
            return None if size is None else int(size)

    def open(self, sha256: str, start: int = 0) -> AbstractContextManager[BinaryIO]:
        return _Opened(lambda: self._place.open(sha256, start), self._blaming)


class _WritablePlace(_Place):
    """A place of content that may be written."""

    _place: Any

    def put(self, sha256: str, file: Path) -> None:
        with self._blaming():
            self._place.put(sha256, file)

    def delete(self, sha256: str) -> None:
        with self._blaming():
            self._place.delete(sha256)

    def entries(self) -> Iterator[ContentEntry]:
        with self._blaming():
            for entry in self._place.entries():
                if not isinstance(entry, ContentEntry):
                    raise TypeError(f"it listed a {type(entry).__name__} in place of an entry")
                yield entry

    def join(self, user: str) -> None:
        with self._blaming():
            self._place.join(user)

    def users(self) -> Collection[str]:
        with self._blaming():
            return {str(user) for user in self._place.users()}


def _any_place(place: ContentPlace, what: str) -> _Place:
    return _WritablePlace(place, what) if isinstance(place, WritablePlace) else _Place(place, what)


_GUARDS: Mapping[str, Callable[[Any, str], Any]] = {
    "source": _any_source,
    "inventory": _Inventory,
    "codec": _Codec,
    "check": _Check,
    "executor": _Executor,
    "notifier": _Notifier,
    "layout": _Layout,
    "content": _any_place,
}
