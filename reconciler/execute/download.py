"""Releases come from sources into the store: verified, whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.errors import StalePlanError, StoreError, UpdoserError
from reconciler.model.report import JournalEntry
from reconciler.present.text import size_text

if TYPE_CHECKING:
    from threading import Event

    from reconciler.contracts import Source
    from reconciler.execute.tally import Tally
    from reconciler.model.plan import Download, Plan
    from reconciler.model.release import Release, ReleaseFile
    from reconciler.storage.state import State
    from reconciler.storage.store import Store
    from reconciler.workspace import Workspace

TRIES = 2
"""A file that came damaged is asked for once more: damage on the way is rare and not lasting."""


def download_all(plan: Plan, work: Workspace, tally: Tally) -> None:
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
        work.means.emit("download_started", f"{label} from {download.source}", **fields)
        failure = ""
        try:
            release = find_offer(download, work.state)
            if release is None:
                raise StalePlanError(f"source {download.source} doesn't offer the planned bytes any more")
            source = work.plugins.source(sources[download.source])
            tally.downloaded(fetch(release, source, work.store, work.means.stop))
        except UpdoserError as error:
            failure = error.brief
            tally.download_failed(download.component, failure)
        work.state.journal(
            work.means.run_id,
            [
                JournalEntry(
                    client="",
                    group="",
                    component=download.component,
                    from_version=download.previous,
                    to_version=download.to,
                    outcome="failed" if failure else "changed",
                    message=failure,
                    bytes=download.bytes,
                    at=work.means.clock(),
                )
            ],
        )
        level = "error" if failure else "info"
        work.means.emit("download_finished", f"{label}: {failure or 'held'}", level=level, **fields)


def find_offer(download: Download, state: State) -> Release | None:
    """Give the release that a download means, if its source still offers those bytes."""
    for report, _last_success in state.source_reports():
        if report.source == download.source:
            for release in report.releases:
                if (release.component, release.platform, release.version, release.digest) == (
                    download.component,
                    download.platform,
                    download.to,
                    download.to_digest,
                ):
                    return release
    return None


def fetch(release: Release, source: Source, store: Store, stop: Event) -> int:
    """Bring a release into the store and give the bytes that were fetched; files that the store has aren't fetched.

    A stopped run ends between two files; what was fetched stays and isn't fetched again.

    Raises:
        SourceError: the source can't give a file.
        StoreError: there isn't room, or what came isn't what the source promised.
    """
    lacking = store.lacking(release)
    needed, free = sum(file.size for file in lacking), store.free()
    if needed > free:
        raise StoreError(
            f"the store has {size_text(free)} free and {release.component} {release.version} needs {size_text(needed)}",
            hint="make room, or move `server.store` to a larger disk",
        )
    fetched = 0
    for file in lacking:
        if stop.is_set():
            return fetched
        fetched += _fetch_file(release, file, source, store)
    store.add(release)
    return fetched


def _fetch_file(release: Release, file: ReleaseFile, source: Source, store: Store) -> int:
    for rest in reversed(range(TRIES)):
        try:
            with source.open(release, file) as stream:
                return store.put(file, stream)
        except StoreError:
            if not rest:
                raise
    raise AssertionError
