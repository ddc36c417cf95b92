"""A worker of one process put together: its ways to clients, its content, and the threads that do the work."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from reconciler.client.reach import KEPT, Reach
from reconciler.client.room import Room
from reconciler.content.contents import CachedContents, FolderContents
from reconciler.content.local import LocalContent
from reconciler.worker.fetching import Fetching
from reconciler.worker.lending import Lending, Usual
from reconciler.worker.pool import Pool
from reconciler.worker.setup import Ways

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path
    from threading import Event

    from reconciler.content.contents import Contents
    from reconciler.contracts import ContentPlace, Lender
    from reconciler.worker.setup import Setup

CACHE = 4 * 2**30
"""Bytes of content that are kept where nothing else is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a worker has beside its setup: `forks` clients at a time, the time, and what says that it is to end.

    `lends` is how many may be under way for each fork in all, with those that say nothing for long; 1: no others.
    `over` is set when no content comes any more. `debug` lets through what nobody expected.
    """

    forks: int
    stop: Event
    over: Event
    clock: Callable[[], datetime]
    lends: int = 1
    debug: bool = False


class Worker:
    """A worker that knows its setup; the `Ready` of `speaking`."""

    def __init__(self, setup: Setup, means: Means, contents: Contents) -> None:
        """Take what it works with."""
        self._means = means
        self._ways = Ways(setup, means.stop, means.clock, debug=means.debug)
        self._contents = contents
        self._fetching, self._usual = Fetching(), Usual()  # a crew may last for one batch

    def masked(self, text: str) -> str:
        """Take secrets that were resolved out of a text."""
        return self._ways.masked(text)

    @contextmanager
    def crew(self) -> Iterator[Lender]:
        """Give the threads that carry orders out; connections that were kept are closed at the end."""
        means, room = self._means, Room()
        kept = room.kept(KEPT)
        reach = Reach(self._ways.transport, means.stop, kept=kept, debug=means.debug)
        most = room.forks(kept)
        forks = min(means.forks, most)
        try:
            with Pool(
                reach,
                self._contents.open,
                forks=forks,
                stop=means.stop,
                clock=means.clock,
                fetching=self._fetching,
                lending=Lending(forks, min(means.lends * forks, most), usual=self._usual),
            ) as pool:
                yield pool
        finally:
            reach.close()


class NearFirst:
    """The `Contents` of a folder that has most, such as the store of the same machine; the rest is from elsewhere."""

    def __init__(self, folder: Path, others: Contents) -> None:
        """Take the folder, in which nothing is changed, and what has the rest."""
        self._local = LocalContent(folder)
        self._folder = FolderContents(folder)
        self._others = others

    def open(self, sha256: str, size: int | None = None) -> AbstractContextManager[BinaryIO]:
        """See `Contents.open`."""
        near = self._local.path(sha256).exists()
        return self._folder.open(sha256, size) if near else self._others.open(sha256, size)


def contents_of(
    cache: Path, limit: int, places: Sequence[ContentPlace], over: Event, near: Path | None = None
) -> Contents:
    """Give the content of a worker: `near` where it lies already, else brought into a cache from places."""
    cached = CachedContents.at(cache, limit, places, over)
    return cached if near is None else NearFirst(near, cached)
