"""Releases and incrementals come from sources into the store: verified, whole or not at all."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO

from reconciler.errors import StalePlanError, StoreError, UpdoserError
from reconciler.execute.journal import note
from reconciler.model.delta import incremental_name
from reconciler.present.words import size_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from threading import Event

    from reconciler.contracts import Source
    from reconciler.execute.tally import Tally
    from reconciler.model.delta import Incremental, Patch
    from reconciler.model.plan import Download, Merge, Plan
    from reconciler.model.release import Release, ReleaseFile, SourceReport
    from reconciler.storage.state import State
    from reconciler.storage.store import Store
    from reconciler.workspace import Workspace

TRIES = 2
"""A file that came damaged is asked for once more: damage on the way is rare and not lasting."""


def download_all(plan: Plan, offers: Offers, work: Workspace, tally: Tally) -> None:
    """Carry the downloads of a plan out, one after the other; one that fails doesn't stop the others.

    Raises:
        StateError: the journal can't be written.
    """
    sources = {source.name: source for source in work.spec.sources}
    for download in plan.downloads:
        if work.means.stop.is_set():
            return
        fields: dict[str, Any] = {
            "component": download.component,
            "version": download.to,
            "bytes": download.bytes,
        }
        label = f"{download.component} {download.to}"
        if download.kind != "full":
            label = f"{download.component} {download.previous}..{download.to}"
        work.means.emit("download_started", f"{label} from {download.source}", **fields)
        failure = ""
        try:
            source = work.plugins.source(sources[download.source])
            tally.downloaded(_fetch(download, source, offers, work))
        except UpdoserError as error:
            failure = error.brief
            tally.download_failed(download.component, failure)
        note(download, work, failure, size=download.bytes)
        level = "error" if failure else "info"
        work.means.emit("download_finished", f"{label}: {failure or 'held'}", level=level, **fields)


def _fetch(download: Download, source: Source, offers: Offers, work: Workspace) -> int:
    gone = StalePlanError(f"source {download.source} doesn't offer the planned bytes any more")
    if download.kind != "full":
        incremental = offers.incremental(download)
        if incremental is None:
            raise gone
        return fetch_incremental(incremental, source, work.store)
    release = offers.release(download)
    if release is None:
        raise gone
    return fetch(release, source, work.store, work.means.stop)


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

    def incremental(self, download: Download) -> Incremental | None:
        """Give the incremental that a download means, if its source still offers it."""
        name = incremental_name(download.previous, download.to, download.kind)
        return self._incrementals.get(
            (download.source, download.component, download.platform, name, download.to_digest)
        )


def fetch_incremental(incremental: Incremental, source: Source, store: Store) -> int:
    """Bring an incremental into the store and give the bytes that were fetched.

    Raises:
        SourceError: the source can't give a patch.
        StoreError: there isn't room, or what came isn't what the source promised.
    """
    _check_room(f"{incremental.component} {incremental.name}", incremental.size, store)
    fetched = 0
    for patch in incremental.patches:
        if not store.has(patch):
            fetched += _twice(lambda patch=patch: _put(source.open_patch(incremental, patch), patch, store))  # type: ignore[misc]
    store.add_incremental(incremental)
    return fetched


def fetch(release: Release, source: Source, store: Store, stop: Event) -> int:
    """Bring a release into the store and give the bytes that were fetched; files that the store has aren't fetched.

    A stopped run ends between two files; what was fetched stays and isn't fetched again.

    Raises:
        SourceError: the source can't give a file.
        StoreError: there isn't room, or what came isn't what the source promised.
    """
    lacking = store.lacking(release)
    _check_room(f"{release.component} {release.version}", sum(file.size for file in lacking), store)
    fetched = 0
    for file in lacking:
        if stop.is_set():
            return fetched
        fetched += _twice(lambda file=file: _put(source.open(release, file), file, store))  # type: ignore[misc]
    store.add(release)
    return fetched


def _check_room(label: str, needed: int, store: Store) -> None:
    free = store.free()
    if needed > free:
        raise StoreError(
            f"the store has {size_text(free)} free and {label} needs {size_text(needed)}",
            hint="make room, or move `server.store` to a larger disk",
        )


def _put(opened: AbstractContextManager[BinaryIO], file: ReleaseFile | Patch, store: Store) -> int:
    with opened as stream:
        return store.put(file, stream)


def _twice(fetch_one: Callable[[], int]) -> int:
    for rest in reversed(range(TRIES)):
        try:
            return fetch_one()
        except StoreError:
            if not rest:
                raise
    raise AssertionError
