"""The commands that keep the repository for other sites: keys, its root, what it offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.assembly import at_work
from reconciler.authoring.releases import notes_from
from reconciler.errors import RepositoryError, UsageError
from reconciler.observe.mirrors import statuses_of
from reconciler.paths import read_file
from reconciler.planner.mirrors import kept
from reconciler.planner.publish import key_of
from reconciler.present.document import published_document, repository_document, staged_document
from reconciler.present.views import REPOSITORY, STAGED
from reconciler.repository.ceremony import describe, rotate, set_up
from reconciler.repository.edition import (
    Edition,
    current_edition,
    held_releases,
    parts_of,
    write_edition,
    write_mirror,
)
from reconciler.repository.mirror import MirrorFolder
from reconciler.repository.signing import make_key, sign_root
from reconciler.resolving import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from reconciler.desk import Desk
    from reconciler.model.offer import Withdrawal
    from reconciler.model.release import Release
    from reconciler.model.spec import MirrorSpec
    from reconciler.present.terminal import Terminal
    from reconciler.workspace import Workspace


def key(terminal: Terminal, file: Path) -> int:
    """Make a key pair."""
    public = make_key(file)
    terminal.result(f"{public}\n")
    terminal.note(f"{file} is the private key: whoever has it can sign. {public} is for the spec.")
    return 0


def init(desk: Desk) -> int:
    """Set the repository up, as far as signatures allow."""
    with at_work(desk) as work, work.state.lock("publish init"):
        document = repository_document(set_up(work))
    desk.terminal.show(document, desk.form, REPOSITORY)
    return 0


def sign(terminal: Terminal, file: Path, key_file: Path) -> int:
    """Sign a staged root, on any machine."""

    def wrong(why: str) -> RepositoryError:
        return RepositoryError(f"the key {key_file} can't be read: {why}")

    try:
        text = read_file(key_file, MAX_BYTES, wrong)[:MAX_BYTES].decode()
    except UnicodeDecodeError as error:
        raise wrong(str(error)) from error
    document = staged_document(sign_root(file, text, str(key_file)))
    terminal.show(document, "text", STAGED)
    return 0


def turn(desk: Desk, *, force: bool) -> int:
    """Bring other keys, or a longer life, into the root, as far as signatures allow."""
    with at_work(desk) as work, work.state.lock("publish rotate"):
        document = repository_document(rotate(work, force=force))
    desk.terminal.show(document, desk.form, REPOSITORY)
    return 0


def status(desk: Desk) -> int:
    """Show what is published, by whose signatures and for how long."""
    with at_work(desk) as work:
        document = _published(work)
    desk.terminal.show(document, desk.form, REPOSITORY)
    return 0


def add(desk: Desk, component: str, version: str | None, given: str = "") -> int:
    """Publish a release of the store by hand, whatever the policy says of it; notes that are `given` go with it."""
    notes = notes_from(given)
    with at_work(desk) as work, work.state.lock("publish add"):
        mirrors = [mirror for mirror in work.spec.mirrors if mirror.has(component)]
        if not work.spec.mirrors:
            parts_of(work)
        signed = work.spec.repository if work.spec.repository and work.spec.repository.has(component) else None
        chosen = _chosen(work, component, version)
        if signed is None and not mirrors:
            raise UsageError(f"no repository is to have {component}", hint="`components` of each says what it has")
        if signed:
            _check_signed(work, chosen)
        for mirror in mirrors:
            _check_mirror(work, mirror, chosen)
        if notes:
            chosen = [work.store.annotate(release, notes) for release in chosen]
        if signed:
            write_edition(_with(work, chosen), work)
        for mirror in mirrors:
            write_mirror(mirror, _in_mirror(work, mirror, chosen), work)
        document = _published(work)
    desk.terminal.show(document, desk.form, REPOSITORY)
    return 0


def _published(work: Workspace) -> dict[str, Any]:
    """Give the document of all repositories.

    Raises:
        UsageError: there is none.
    """
    signed = describe(work) if work.spec.repository or not work.spec.mirrors else None
    return published_document(signed, statuses_of(work))


def _chosen(work: Workspace, component: str, version: str | None) -> list[Release]:
    """Give all platforms of a version that the store holds; of the highest, if none is named."""
    (wanted,) = work.managed(component)
    held = [release for release in work.store.inspect().releases if release.component == component]
    if version is None and held:
        version = max((release.version for release in held), key=wanted.component.version)
    chosen = [release for release in held if release.version == version]
    if not chosen:
        have = ", ".join(sorted({release.version for release in held})) or "nothing of it"
        raise UsageError(f"the store doesn't hold {component} {version or ''}".rstrip(), hint=f"it holds: {have}")
    return chosen


def _check_signed(work: Workspace, chosen: Sequence[Release]) -> None:
    """Tell what can't be read or published before anything is written."""
    describe(work)
    _refuse_withdrawn(current_edition(work).withdrawn, chosen)


def _check_mirror(work: Workspace, mirror: MirrorSpec, chosen: Sequence[Release]) -> None:
    _refuse_withdrawn(mirror.withdrawn, chosen)
    layout = work.plugins.layout(mirror)
    why = next(filter(None, map(layout.refusal, chosen)), "")
    if why:
        label = f"{chosen[0].component} {chosen[0].version}"
        raise UsageError(f"{label} can't be published in {mirror.name}: {why}")


def _refuse_withdrawn(withdrawn: Iterable[Withdrawal], chosen: Sequence[Release]) -> None:
    names = {(release.component, release.version) for release in chosen}
    taken_back = next((entry for entry in withdrawn if (entry.component, entry.version) in names), None)
    if taken_back is not None:
        raise UsageError(
            f"{taken_back.component} {taken_back.version} is withdrawn: {taken_back.reason}",
            hint="remove it from `withdraw` first",
        )


def _in_mirror(work: Workspace, mirror: MirrorSpec, chosen: Sequence[Release]) -> list[Release]:
    """Give what a mirror is to have: what it has, and the chosen ones, of which its layout keeps as many as it does."""
    there = {key_of(release): release for release in MirrorFolder(mirror.path).releases()}
    held = held_releases(work)
    stays = {key: release for key, release in there.items() if key in held and held[key].digest == release.digest}
    comes = {key_of(release): release for release in chosen}
    return [*kept(work.plugins.layout(mirror).traits.keeps, work.spec.components, stays, comes).values()]


def _with(work: Workspace, chosen: Sequence[Release]) -> Edition:
    """Give what is published now, and all platforms of one version more.

    Notes took the place of those in the store: each later edition is made from what stands there.
    """
    now = current_edition(work)
    releases = {(entry.component, entry.version, entry.platform): entry for entry in (*now.releases, *chosen)}
    return Edition(tuple(releases.values()), now.withdrawn)
