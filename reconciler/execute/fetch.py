"""Releases whose bytes nobody knows are fetched by their sources, and verified there: the next plan deploys them.

What became known since the plan was made isn't fetched again. One that fails costs nothing else, and is told.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from reconciler.contracts import Fetching
from reconciler.errors import InterruptedRunError, SourceError, StalePlanError, UpdoserError
from reconciler.execute.journal import note
from reconciler.execute.progress import Progress
from reconciler.guards import blaming
from reconciler.model.network import DIRECT
from reconciler.model.work_events import FetchFinished, FetchStarted
from reconciler.present.words import size_text

if TYPE_CHECKING:
    from reconciler.execute.tally import Tally
    from reconciler.model.change import Fetch
    from reconciler.model.plan import Plan
    from reconciler.model.release import Release, ReleaseKey
    from reconciler.workspace import Workspace

AT_ONCE = 8
"""How many releases are fetched at a time; a source may take one after the other."""
DONE = "fetched and verified; the next plan deploys it"


def fetch_all(plan: Plan, work: Workspace, tally: Tally) -> None:
    """Have all be fetched that a plan says, several at a time; one that fails doesn't stop the others.

    A stopped run ends soon, in the middle of a file if need be; what came stays for the next run.

    Raises:
        StateError: the state can't be read, or the journal not written.
    """
    if not plan.fetches:
        return
    known = _known(work)
    sizes = [change.bytes for change in plan.fetches]
    progress = Progress(None if None in sizes else sum(filter(None, sizes)), work.means, what="fetched")
    came: SimpleQueue[tuple[Fetch, Future[Release | None]]] = SimpleQueue()
    with (
        work.plugins.counting(progress.add),
        ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch") as pool,
    ):
        left = 0
        for change in plan.fetches:
            if (change.component, change.to, change.platform) in known:
                _tell(change, work, "known by now")
                continue
            _begin(change, work)
            future = pool.submit(_fetch, change, work)
            future.add_done_callback(lambda done, change=change: came.put((change, done)))  # type: ignore[misc]
            left += 1
        while left:
            progress.tell()
            with suppress(Empty):
                change, future = came.get(timeout=progress.pause)
                left -= 1
                _end(change, future, work, tally)
        progress.tell(last=True)


def _known(work: Workspace) -> set[ReleaseKey]:
    """Give the releases whose bytes the store holds, or a source offered when it was last read."""
    reports = [report for report, _last_success in work.state.source_reports() if not report.error]
    releases = [*work.store.inspect().releases, *(release for report in reports for release in report.releases)]
    return {(release.component, release.version, release.platform) for release in releases}


def _begin(change: Fetch, work: Workspace) -> None:
    where = change.source if change.route == DIRECT else f"{change.source} {change.route}"
    size = "" if change.bytes is None else f" ({size_text(change.bytes)})"
    text = f"{change.component} {change.to} is fetched from {where}{size}"
    work.means.emit(
        FetchStarted(text, source=change.source, component=change.component, version=change.to, bytes=change.bytes or 0)
    )


def _fetch(change: Fetch, work: Workspace) -> Release | None:
    """Fetch a release; None where the run is stopped before.

    Raises:
        InterruptedRunError: the run is stopped.
        UpdoserError: it can't be had.
    """
    if work.means.stop.is_set():
        return None
    with blaming(f"fetching {change.component} {change.to}"):
        spec = next((source for source in work.spec.sources if source.name == change.source), None)
        source = work.plugins.source(spec) if spec is not None else None
        if not isinstance(source, Fetching):
            raise StalePlanError(f"source {change.source} doesn't fetch {change.component} any more")
        release = source.fetch(change.component, change.to, change.platform)
        if (release.component, release.version, release.platform) != (change.component, change.to, change.platform):
            raise SourceError(f"source {change.source} fetched {release.component} {release.version} in its place")
        return release


def _end(change: Fetch, future: Future[Release | None], work: Workspace, tally: Tally) -> None:
    try:
        release = future.result()
    except InterruptedRunError:
        return
    except UpdoserError as error:
        tally.server_failed(change.component, error.brief)
        _tell(change, work, DONE, error.brief)
        return
    if release is not None:
        tally.fetched(release.size)
        _tell(change, work, DONE, size=release.size)


def _tell(change: Fetch, work: Workspace, done: str, failure: str = "", *, size: int = 0) -> None:
    note(change, work, failure, done=done, size=size)
    text = f"{change.component} {change.to}: {failure or done}"
    work.means.emit(
        FetchFinished(
            text,
            level="error" if failure else "info",
            source=change.source,
            component=change.component,
            version=change.to,
            bytes=size,
        )
    )
