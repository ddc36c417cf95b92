"""Releases and incrementals come from sources into the store: verified, whole or not at all.

Files that are attached to a release come with it where it is passed on to others. One that can't be had is told, and
costs nothing else.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from threading import Event, Lock
from typing import TYPE_CHECKING, BinaryIO

from reconciler.errors import InterruptedRunError, RepositoryError, StalePlanError, StoreError, UpdoserError
from reconciler.execute.journal import note
from reconciler.execute.progress import Progress, Watched
from reconciler.guards import blaming
from reconciler.model.change import REPLACED
from reconciler.model.delta import Incremental, Patch, incremental_name
from reconciler.model.events import Trouble
from reconciler.model.names import in_parts
from reconciler.model.network import DIRECT
from reconciler.model.release import Release, ReleaseFile
from reconciler.model.work_events import DownloadFinished, DownloadStarted
from reconciler.present.words import size_text
from reconciler.repository.edition import folder_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future
    from contextlib import AbstractContextManager

    from reconciler.contracts import Source
    from reconciler.execute.tally import Tally
    from reconciler.model.change import Download, Merge
    from reconciler.model.events import Level
    from reconciler.model.offer import SourceReport
    from reconciler.model.plan import Plan
    from reconciler.storage.state import State
    from reconciler.storage.store import Store
    from reconciler.workspace import Workspace

    Part = ReleaseFile | Patch

AT_ONCE = 8
"""How many files are on their way at a time."""
WRITTEN_AT_ONCE = 20
"""Downloads of which is written down in one transaction what became of them: each waits for the disk."""
TRIES = 2
"""A file that came damaged is asked for once more: damage on the way is rare and not lasting."""


def download_all(plan: Plan, offers: Offers, work: Workspace, tally: Tally) -> None:
    """Carry the downloads of a plan out, several files at a time; one that fails doesn't stop the others.

    A stopped run ends soon, in the middle of a file if need be; what came of a large one stays for the next run.

    Raises:
        StateError: the journal can't be written.
    """
    orders = list(_orders(plan.downloads, offers, work, tally))
    progress = Progress(sum(part.size for order in orders for part in order.parts), work.means)
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="download") as pool:
        came = _Came()
        for order in orders:
            for part in order.parts:
                future = pool.submit(_get, order, part, work, progress)
                future.add_done_callback(partial(came.put, order))
        for some in in_parts((order for order in orders if not order.parts), WRITTEN_AT_ONCE):
            _finish(some, work, tally)
        left = sum(order.left for order in orders)
        while left:
            progress.tell()
            ended: list[Order] = []
            for order, future in came.some(progress.pause):
                left -= 1
                order.take(future)
                if not order.left:
                    ended.append(order)
                if len(ended) == WRITTEN_AT_ONCE:
                    _finish(ended, work, tally)
                    ended.clear()
            _finish(ended, work, tally)
        progress.tell(last=True)


class _Came:
    """What came. Who waits is woken for what ends an order: woken for each of many files, it would hold up the rest."""

    def __init__(self) -> None:
        self._news = Event()
        self._all: deque[tuple[Order, Future[int]]] = deque()
        self._lock = Lock()

    def put(self, order: Order, future: Future[int]) -> None:
        """Take what became of one part."""
        self._all.append((order, future))
        with self._lock:
            order.coming -= 1
            ends = not order.coming
        if ends or future.exception() is not None:
            self._news.set()

    def some(self, longest: float) -> Iterator[tuple[Order, Future[int]]]:
        """Give what came, after a while at the latest."""
        self._news.wait(longest)
        self._news.clear()
        while self._all:
            yield self._all.popleft()


class Order:
    """One download under way: which files are still to come, what came, and what went wrong first."""

    def __init__(
        self,
        download: Download,
        thing: Release | Incremental,
        source: Source,
        parts: Sequence[Part],
        attached: Sequence[Part] = (),
    ) -> None:
        self.download = download
        self.thing = thing
        self.parts = (*parts, *attached)
        self.attached = frozenset(attached)
        self.left = self.coming = len(self.parts)
        self.received = 0
        self.failure = ""
        self.stopped = False
        self._source = source

    @property
    def label(self) -> str:
        """What people call it: `virus-pattern 16.679.00`, or `… 16.677.00..16.679.00` for an incremental."""
        return _label(self.download)

    def open(self, part: Part) -> AbstractContextManager[BinaryIO]:
        """Open a part at its source; see `contracts.Source`."""
        if isinstance(self.thing, Incremental):
            assert isinstance(part, Patch)
            return self._source.open_patch(self.thing, part)
        assert isinstance(part, ReleaseFile)
        return self._source.open(self.thing, part)

    def take(self, future: Future[int]) -> None:
        """Count a part that came, or didn't."""
        self.left -= 1
        try:
            self.received += future.result()
        except InterruptedRunError:
            self.stopped = True
        except UpdoserError as error:
            self.failure = self.failure or error.brief


def _label(download: Download) -> str:
    version = download.to if download.kind == "full" else f"{download.previous}..{download.to}"
    return f"{download.component} {version}"


def _orders(downloads: Iterable[Download], offers: Offers, work: Workspace, tally: Tally) -> Iterator[Order]:
    """Give the downloads that can be begun; for the others it is written down why not."""
    sources = {source.name: source for source in work.spec.sources}
    free = work.store.free()
    for download in downloads:
        if work.means.stop.is_set():
            return
        where = download.source if download.route == DIRECT else f"{download.source} {download.route}"
        work.means.emit(
            DownloadStarted(
                f"{_label(download)} from {where}",
                component=download.component,
                version=download.to,
                bytes=download.bytes,
            )
        )
        try:
            with blaming(f"beginning with {_label(download)}"):
                thing: Release | Incremental | None = (
                    offers.release(download) if download.kind == "full" else offers.incremental(download)
                )
                if thing is None or download.source not in sources:
                    raise StalePlanError(f"source {download.source} doesn't offer the planned bytes any more")
                order = Order(
                    download=download,
                    thing=thing,
                    source=work.plugins.source(sources[download.source]),
                    parts=_lacking(thing, work.store),
                    attached=lacking_attached(thing, work) if isinstance(thing, Release) else (),
                )
                needed = sum(part.size for part in order.parts)
                check_room(_label(download), needed, free)
        except UpdoserError as error:
            note(download, work, error.brief, size=download.bytes)
            _tell(download, error.brief, work, tally)
        else:
            free -= needed
            yield order


def _lacking(thing: Release | Incremental, store: Store) -> Sequence[Part]:
    if isinstance(thing, Release):
        return store.lacking(thing)
    lacking = {patch.sha256: patch for patch in thing.patches if not store.has(patch)}
    return tuple(lacking.values())


def _get(order: Order, part: Part, work: Workspace, progress: Progress) -> int:
    """Bring one file of a download into the store and give its size.

    Raises:
        InterruptedRunError: the run is stopped.
        SourceError, StoreError, SecretError: it can't be had.
    """
    if order.failure:
        return 0
    if part in order.attached:
        return _bring_attached(part, partial(order.open, part), work, order.thing, progress.add)
    with blaming(f"downloading {order.label}"):
        return _bring(part, partial(order.open, part), work, progress.add)


def _bring_attached(
    file: Part,
    open_file: Callable[[], AbstractContextManager[BinaryIO]],
    work: Workspace,
    owner: Release | Incremental,
    count: Callable[[int], None],
) -> int:
    """Bring a file that is attached to a release into the store, if it can be had; what keeps it away is told.

    Raises:
        InterruptedRunError: the run is stopped.
    """
    try:
        with blaming(f"downloading {file.name} of {owner.component}"):
            return _bring(file, open_file, work, count)
    except InterruptedRunError:
        raise
    except UpdoserError as error:
        text = f"{owner.component}: {file.name} isn't passed on: {error.message}"
        work.means.emit(Trouble(text, component=owner.component))
        return 0


def lacking_attached(release: Release, work: Workspace) -> Sequence[ReleaseFile]:
    """Give what is attached to a release, is passed on to others, and isn't in the store yet.

    Raises:
        StoreError: the store can't be read.
    """
    return work.store.lacking_attached(release) if work.spec.passes_on(release.component) else ()


def fetch_attached(release: Release, source: Source, work: Workspace) -> int:
    """Bring what is attached to a release into the store, as far as it can be had; give the bytes that were fetched.

    Raises:
        InterruptedRunError: the run is stopped.
        StoreError: the store can't be read.
    """
    return sum(
        _bring_attached(file, partial(source.open, release, file), work, release, _ignore)
        for file in lacking_attached(release, work)
    )


def _bring(
    part: Part, open_part: Callable[[], AbstractContextManager[BinaryIO]], work: Workspace, count: Callable[[int], None]
) -> int:
    """Bring one file into the store, once more if it came damaged; see `_get`."""
    for rest in reversed(range(TRIES)):
        with open_part() as stream:
            watched = Watched(stream, work.means.stop, count)
            try:
                return work.store.put(part, watched)
            except StoreError:
                watched.take_back()
                if not rest:
                    raise
    raise AssertionError


def _finish(orders: Iterable[Order], work: Workspace, tally: Tally) -> None:
    """Make what came things that the store holds, and write down what became of all of them at once.

    Raises:
        StateError: it can't be written down.
    """
    ended = [order for order in orders if order.failure or not order.stopped]
    if not ended:
        return
    for order in ended:
        _take_in(order, work, tally)
    work.state.whole(partial(_write_down, ended, work))
    for order in ended:
        _tell(order.download, order.failure, work, tally)


def _take_in(order: Order, work: Workspace, tally: Tally) -> None:
    """Make what came a thing that the store holds."""
    if order.failure:
        return
    try:
        with blaming(f"keeping {order.label}"):
            if isinstance(order.thing, Release):
                _hold(order.thing, work, replace=order.download.reason == REPLACED)
            else:
                work.store.add_incremental(order.thing)
        tally.downloaded(order.received)
    except UpdoserError as error:
        order.failure = error.brief


def _write_down(orders: Iterable[Order], work: Workspace) -> None:
    """Remember what versions stand for, and note what became of downloads and who vouches for what came."""
    for order in orders:
        done = ""
        if isinstance(order.thing, Release):
            if not order.failure:
                _remember(order.thing, work)
            done = order.thing.signed.text if order.thing.signed else ""
        note(order.download, work, order.failure, done=done, size=order.download.bytes)


def _tell(download: Download, failure: str, work: Workspace, tally: Tally) -> None:
    """Tell what became of a download."""
    if failure:
        tally.server_failed(download.component, failure)
    level: Level = "error" if failure else "info"
    text = f"{_label(download)}: {failure or 'in the store'}"
    work.means.emit(
        DownloadFinished(text, level=level, component=download.component, version=download.to, bytes=download.bytes)
    )


class Offers:
    """What sources offered when they were last asked, by what changes name; read from the state once, when asked for.

    Raises, at the first question:
        StateError: the state can't be read.
    """

    def __init__(self, state: State) -> None:
        """Read nothing yet."""
        self._state = state

    @cached_property
    def _releases(self) -> dict[tuple[str, ...], Release]:
        return {
            (report.source, release.component, release.platform, release.version, release.digest): release
            for report in self._reports
            for release in report.releases
        }

    @cached_property
    def _incrementals(self) -> dict[tuple[str, ...], Incremental]:
        return {
            (report.source, entry.component, entry.platform, entry.name, entry.to_digest): entry
            for report in self._reports
            for entry in report.incrementals
        }

    @cached_property
    def _reports(self) -> list[SourceReport]:
        return [report for report, _last_success in self._state.source_reports()]

    def release(self, change: Download | Merge) -> Release | None:
        """Give the full that a change means, if its source still offers those bytes."""
        key = change.source, change.component, change.platform, change.to, change.to_digest
        return self._releases.get(key)

    def attaching(self, release: Release) -> list[tuple[str, Release]]:
        """Give the sources that offer a release with the same bytes and attach files to it, with what each offers."""
        wanted = release.component, release.platform, release.version, release.digest
        return [(key[0], offered) for key, offered in self._releases.items() if key[1:] == wanted and offered.attached]

    def sources_of(self, release: Release) -> set[str]:
        """Give the sources that offer a release with the same bytes."""
        wanted = release.component, release.platform, release.version, release.digest
        return {source for source, *key in self._releases if tuple(key) == wanted}

    def incremental(self, download: Download) -> Incremental | None:
        """Give the incremental that a download means, if its source still offers it."""
        name = incremental_name(download.previous, download.to, download.kind)
        return self._incrementals.get(
            (download.source, download.component, download.platform, name, download.to_digest)
        )


def fetch(release: Release, source: Source, work: Workspace) -> int:
    """Bring one release into the store and give the bytes that were fetched; what the store has isn't fetched.

    Raises:
        InterruptedRunError: the run is stopped.
        SourceError, SecretError: the source can't give a file.
        StoreError: there isn't room, or what came isn't what the source promised.
    """
    lacking = work.store.lacking(release)
    label = f"{release.component} {release.version}"
    check_room(label, sum(file.size for file in lacking), work.store.free())
    fetched = sum(_bring(file, partial(source.open, release, file), work, _ignore) for file in lacking)
    fetched += fetch_attached(release, source, work)
    _hold(release, work)
    _remember(release, work)
    return fetched


def _remember(release: Release, work: Workspace) -> None:
    """Remember that this is what the version of a release stands for."""
    work.state.record_content((release.component, release.version, release.platform), release.digest)


def _hold(release: Release, work: Workspace, *, replace: bool = False) -> None:
    """Have the store hold a release.

    What came in place of content that was damaged takes that place in the repository, too.

    Raises:
        StoreError, StateError: it can't be kept.
    """
    work.store.add(release, replace=replace)
    repository = folder_of(work)
    if repository is not None:
        try:
            lacking = {file.sha256 for file in work.store.lacking_attached(release)}
            files = (*release.files, *(file for file in release.attached if file.sha256 not in lacking))
            repository.mend(files, work.store.local)
        except RepositoryError as error:
            work.means.emit(Trouble(error.message, component=release.component))


def _ignore(_size: int) -> None:
    """Count nothing."""


def check_room(label: str, needed: int, free: int) -> None:
    """Refuse what the disk has no room for; both in bytes.

    Raises:
        StoreError: there isn't room.
    """
    if needed > free:
        raise StoreError(
            f"the store has {size_text(max(free, 0))} free and {label} needs {size_text(needed)}",
            hint="make room, or move `server.store` to a larger disk",
        )
