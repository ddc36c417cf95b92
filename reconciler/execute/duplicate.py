"""Component duplication in the store: merge what was downloaded, make incrementals, let go of what isn't needed.

* A merge counts when each file has the size and SHA-256 that the source promises of the full. If not, what was
  downloaded for it is thrown away, that is said, and the full is downloaded.
* An incremental that isn't clearly smaller than what it replaces is written down as such, and not tried again.
* Nothing is pruned while the release that replaces it isn't there, or of a component of which generating failed.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import PatchError, StalePlanError, StoreError, UpdoserError
from reconciler.execute.download import fetch, fetch_attached
from reconciler.execute.journal import note
from reconciler.execute.memory_budget import MemoryBudget
from reconciler.execute.patchwork import Draft, Job, Made, Recipe, draft, make_patches
from reconciler.guards import blaming
from reconciler.model.delta import CLEARLY, NOT_SMALLER, Incremental, Patch, compose, incremental_name
from reconciler.model.events import Trouble
from reconciler.model.work_events import GenerateFinished, GenerateStarted, MergeFinished
from reconciler.present.words import count_text, size_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.execute.download import Offers
    from reconciler.execute.tally import Tally
    from reconciler.model.change import Generate, Merge, Prune
    from reconciler.model.delta import Chain
    from reconciler.model.events import Level
    from reconciler.model.plan import Plan
    from reconciler.model.release import Release, ReleaseFile
    from reconciler.storage.store import Inspection
    from reconciler.workspace import Workspace

NOTHING = Draft((), (), {}, 0)
_PREFIX = "generate-"
Key = tuple[str, str, str]
"""Component, platform, and the name of an incremental or the digest of a full."""


def merge_all(plan: Plan, offers: Offers, work: Workspace, tally: Tally) -> None:
    """Carry the merges of a plan out; one that fails falls back to its full, and never stops the others.

    Raises:
        StateError: the journal can't be written.
    """
    for merge in plan.merges:
        if work.means.stop.is_set():
            return
        label = f"{merge.component} {merge.to}"
        try:
            with blaming(f"merging {label}", PatchError):
                received = _merge(merge, offers, work)
        except (PatchError, StoreError) as error:
            text = f"{label}: the merge failed, the full is downloaded: {error.message}"
            work.means.emit(Trouble(text))
            _discard(merge, work)
            _fall_back(merge, offers, work, tally)
            continue
        except UpdoserError as error:
            _note(merge, work, tally, error.brief)
            continue
        work.state.record_content((merge.component, merge.to, merge.platform), merge.to_digest)
        tally.merged(merge.bytes - received)
        _note(merge, work, tally, "")


def _merge(merge: Merge, offers: Offers, work: Workspace) -> int:
    """Make a release of one that is held; give the size of the incrementals."""
    inspection = work.store.inspect()
    goal = offers.release(merge)
    before = next((release for release in inspection.releases if release.digest == merge.from_digest), None)
    path = _path(merge, inspection.incrementals)
    if goal is None:
        raise StalePlanError(f"source {merge.source} doesn't offer the planned bytes any more")
    if before is None or path is None:
        raise PatchError(f"{merge.previous}, or an incremental from it, isn't there any more")
    chains = compose(path)
    old = {file.name: file for file in before.files}
    for file in goal.files:
        if file.name not in chains:
            raise PatchError(f"the incrementals don't make the file {file.name!r}")
        _make_file(file, chains[file.name], old, work)
    spec = next((spec for spec in work.spec.sources if spec.name == merge.source), None)
    if spec is not None and goal.attached:
        fetch_attached(goal, work.plugins.source(spec), work)
    work.store.add(goal)
    return sum(incremental.size for incremental in path)


def _make_file(file: ReleaseFile, chain: Chain, old: Mapping[str, ReleaseFile], work: Workspace) -> None:
    if chain.base and chain.base not in old:
        raise PatchError(f"{file.name!r} is made of {chain.base!r}, which isn't in the release before")
    if not chain.patches:
        if old[chain.base].sha256 != file.sha256:
            raise PatchError(f"{file.name!r} isn't what {chain.base!r} was")
        return
    content = _read(old[chain.base], work) if chain.base else b""
    for patch in chain.patches:
        codec = work.plugins.codec(patch.codec)
        content = b"".join(codec.apply(content, _read(patch, work), patch.result))
    work.store.put(file, io.BytesIO(content))


def _read(file: ReleaseFile | Patch, work: Workspace) -> bytes:
    with work.store.open(file.sha256) as stream:
        return stream.read()


def _path(merge: Merge, held: Iterable[Incremental]) -> list[Incremental] | None:
    known = {
        entry.name: entry for entry in held if (entry.component, entry.platform) == (merge.component, merge.platform)
    }
    path = [known.get(name) for name in merge.path]
    return None if None in path else [entry for entry in path if entry is not None]


def _discard(merge: Merge, work: Workspace) -> None:
    for entry in _path(merge, work.store.inspect().incrementals) or ():
        work.store.remove_incremental(entry)


def _fall_back(merge: Merge, offers: Offers, work: Workspace, tally: Tally) -> None:
    """Download the full in place of a merge, within the bytes that the plan allows."""
    try:
        goal = offers.release(merge)
        source = next((source for source in work.spec.sources if source.name == merge.source), None)
        if goal is None or source is None:
            raise StalePlanError(f"source {merge.source or '(none)'} doesn't offer the full")
        with blaming(f"fetching from {source.name}"):
            tally.downloaded(fetch(goal, work.plugins.source(source), work))
        tally.fell_back()
    except UpdoserError as error:
        _note(merge, work, tally, error.brief)
        return
    _note(merge, work, tally, "", "the merge failed: the full was downloaded")


def _note(merge: Merge, work: Workspace, tally: Tally, failure: str, done: str = "merged") -> None:
    if failure:
        tally.server_failed(merge.component, failure)
    note(merge, work, failure, done=done)
    what = failure or done
    level: Level = "error" if failure else "info"
    work.means.emit(MergeFinished(f"{merge.component} {merge.to}: {what}", level=level, component=merge.component))


# --- making incrementals ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Making:
    """An incremental on its way: what is planned, and what its jobs gave so far."""

    order: Generate
    draft: Draft
    patches: list[tuple[Patch, Path]] = field(default_factory=list)
    failure: str = ""

    @property
    def finished(self) -> bool:
        return bool(self.failure) or len(self.patches) == len(self.draft.jobs)


def generate_all(orders: Sequence[Generate], work: Workspace, tally: Tally) -> set[str]:
    """Make incrementals to releases that are held; give the components of which that failed for one.

    Raises:
        StateError: the journal can't be written.
    """
    if not orders or work.means.stop.is_set():
        return set()
    work.means.emit(GenerateStarted(f"making {count_text(len(orders), 'incremental')}", incrementals=len(orders)))
    failed: set[str] = set()
    with ExitStack() as needed:
        folder = needed.enter_context(tempfile.TemporaryDirectory(dir=_work_folder(work), prefix=_PREFIX))
        makings, jobs = _prepare(orders, work, Path(folder), needed)
        by_patch = {path: making for making in makings for path in making.draft.files}
        for making in makings:
            if making.finished:
                _finish(making, work, tally, failed)
        budget = MemoryBudget.of(work.spec.duplication.memory)
        crowded = budget.says([job.memory for job in jobs])
        if crowded:
            work.means.emit(Trouble(crowded, level="info"))
        for made in make_patches(jobs, work.spec.plugin_folders, work.means.stop, budget):
            making = by_patch[made.job.patch]
            if not making.finished:
                _take(making, made)
                if making.finished:
                    _finish(making, work, tally, failed)
    return failed


def _work_folder(work: Workspace) -> Path:
    folder = work.spec.server.store / "work"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{_PREFIX}*"):  # of a run that was killed; there is one run at a time
            shutil.rmtree(left, ignore_errors=True)
    except OSError as error:
        raise StoreError(f"{folder} can't be made: {error.strerror}") from error
    return folder


def _prepare(
    orders: Sequence[Generate], work: Workspace, folder: Path, needed: ExitStack
) -> tuple[list[_Making], list[Job]]:
    """Work out which patches are to be made; files that can't be looked at fail their incremental only.

    The content that they are made of stays on this machine until `needed` is closed.
    """

    def at(file: ReleaseFile) -> Path:
        return needed.enter_context(work.store.local(file.sha256))

    held = {(release.component, release.digest): release for release in work.store.inspect().releases}
    makings = []
    for number, order in enumerate(orders):
        goal = held.get((order.component, order.to_digest))
        before = held.get((order.component, order.from_digest)) if order.from_digest else None
        if goal is None:
            continue
        if order.from_digest and before is None:
            makings.append(_Making(order, NOTHING, failure=f"the store doesn't hold {order.previous}"))
            continue
        place = folder / str(number)
        try:
            with blaming(f"preparing {order.component} {order.to}"):
                place.mkdir()
                making = draft(
                    before.files if before else (),
                    goal.files,
                    Recipe(order.codec, order.level, work.spec.duplication.windows.get(order.codec, 0)),
                    place,
                    old_at=at,
                    new_at=at,
                    codec_of=work.plugins.codec,
                )
        except UpdoserError as error:
            makings.append(_Making(order, NOTHING, failure=error.message))
        else:
            makings.append(_Making(order, making))
    return makings, [job for making in makings for job in making.draft.jobs]


def _take(making: _Making, made: Made) -> None:
    if made.error:
        making.failure = made.error
    else:
        making.patches.append((making.draft.patch(made), made.job.patch))


def _finish(making: _Making, work: Workspace, tally: Tally, failed: set[str]) -> None:
    """Put an incremental into the store, or write down that the full is the better way."""
    order = making.order
    failure, done = making.failure, f"{'made' if order.previous else 'packed'} with {order.codec}"
    size = sum(patch.size for patch, _path in making.patches)
    if not failure:
        refused = NOT_SMALLER if size > CLEARLY * making.draft.full else ""
        try:
            if not refused:
                for patch, path in making.patches:
                    with blaming(f"keeping a patch of {order.component} {order.to}"), path.open("rb") as stream:
                        work.store.put(patch, stream)
            work.store.add_incremental(_incremental(making, refused))
            if not refused:
                tally.generated()
            done = refused or f"{done}, {size_text(size)}"
        except UpdoserError as error:
            failure = error.message
    if failure:
        failed.add(order.component)
        tally.server_failed(order.component, f"no incremental from {order.previous or 'nothing'}: {failure}")
    note(order, work, failure, done=done, size=size)
    level: Level = "error" if failure else "info"
    label = f"{order.component} {order.previous}{' -> ' if order.previous else ''}{order.to}"
    work.means.emit(GenerateFinished(f"{label}: {failure or done}", level=level, component=order.component))


def _incremental(making: _Making, refused: str) -> Incremental:
    order = making.order
    return Incremental(
        component=order.component,
        platform=order.platform,
        from_version=order.previous,
        from_digest=order.from_digest,
        to_version=order.to,
        to_digest=order.to_digest,
        codec=order.codec,
        patches=() if refused else tuple(sorted(patch for patch, _path in making.patches)),
        kept=() if refused else tuple(sorted(making.draft.kept)),
        refused=refused,
    )


# --- letting go -------------------------------------------------------------------------------------------------------


def prune_all(plan: Plan, work: Workspace, tally: Tally, failed: set[str]) -> None:
    """Let go of what a plan says, where what replaces it is there; of the components in `failed` all stays.

    Raises:
        StateError: the journal can't be written.
    """
    if plan.empty or work.means.stop.is_set():
        return
    inspection = work.store.inspect()
    fulls = {(release.component, release.platform, release.digest): release for release in inspection.releases}
    incrementals = {(entry.component, entry.platform, entry.name): entry for entry in inspection.incrementals}
    lacking = {
        (change.component, change.platform)
        for change in plan.arriving
        if (change.component, change.platform, change.to_digest) not in fulls
    }
    for prune in plan.prunes:
        if (prune.component, prune.platform) in lacking or prune.component in failed:
            continue
        failure = _prune(prune, fulls, incrementals, work)
        if not failure:
            tally.pruned()
        what = "full pruned" if prune.kind == "full" else f"{prune.kind} incremental pruned"
        note(prune, work, failure, done=what)
    _tidy(work.store.inspect() if plan.prunes else inspection, work)


def _tidy(inspection: Inspection, work: Workspace) -> None:
    """Drop what is no content: incrementals that lost theirs, and notes about ones that weren't smaller than a full."""
    held = {release.digest for release in inspection.releases}
    stale = (entry for entry in inspection.incrementals if entry.refused and entry.to_digest not in held)
    for entry in (*inspection.broken, *stale):
        with suppress(StoreError):
            work.store.remove_incremental(entry)
    try:
        stays = work.store.sweep()
    except StoreError as error:  # it is tried again by the next apply
        stays = error.message
    if stays:
        work.means.emit(Trouble(f"the store's content: {stays}"))


def _prune(
    prune: Prune,
    fulls: Mapping[Key, Release],
    incrementals: Mapping[Key, Incremental],
    work: Workspace,
) -> str:
    try:
        with blaming(f"pruning {prune.component}"):
            if prune.kind == "full":
                release = fulls.get((prune.component, prune.platform, prune.to_digest))
                if release is not None:
                    work.store.remove(release)
            else:
                name = incremental_name(prune.previous, prune.to, prune.kind)
                entry = incrementals.get((prune.component, prune.platform, name))
                if entry is not None:
                    work.store.remove_incremental(entry)
    except UpdoserError as error:
        return error.brief
    return ""
