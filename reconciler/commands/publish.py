"""The commands that keep the repository for other sites: keys, its root, what it offers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.assembly import at_work
from reconciler.authoring.releases import notes_from
from reconciler.contracts import read_file
from reconciler.errors import RepositoryError, UsageError
from reconciler.present.document import repository_document, staged_document
from reconciler.present.views import REPOSITORY, STAGED
from reconciler.repository.ceremony import describe, rotate, set_up
from reconciler.repository.edition import Edition, current_edition, write_edition
from reconciler.repository.signing import make_key, sign_root
from reconciler.specfile.secrets import MAX_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.desk import Desk
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
        document = repository_document(describe(work))
    desk.terminal.show(document, desk.form, REPOSITORY)
    return 0


def add(desk: Desk, component: str, version: str | None, given: str = "") -> int:
    """Publish a release of the store by hand, whatever the policy says of it; notes that are `given` go with it."""
    notes = notes_from(given)
    with at_work(desk) as work, work.state.lock("publish add"):
        edition = _with(work, component, version, notes)
        describe(work)  # what can't be read is told before anything is written
        write_edition(edition, work)
        document = repository_document(describe(work))
    desk.terminal.show(document, desk.form, REPOSITORY)
    return 0


def _with(work: Workspace, component: str, version: str | None, notes: str) -> Edition:
    """Give what is published now, and all platforms of one version more; the highest that is held, if none is named.

    Notes take the place of those in the store: each later edition is made from what stands there.
    """
    (wanted,) = work.managed(component)
    held = [release for release in work.store.inspect().releases if release.component == component]
    if version is None and held:
        version = max((release.version for release in held), key=wanted.component.version)
    chosen = [release for release in held if release.version == version]
    if not chosen:
        have = ", ".join(sorted({release.version for release in held})) or "nothing of it"
        raise UsageError(f"the store doesn't hold {component} {version or ''}".rstrip(), hint=f"it holds: {have}")
    now = current_edition(work)
    taken_back = next(
        (entry for entry in now.withdrawn if (entry.component, entry.version) == (component, version)), None
    )
    if taken_back is not None:
        raise UsageError(
            f"{component} {version} is withdrawn: {taken_back.reason}", hint="remove it from `withdraw` first"
        )
    if notes:
        chosen = [work.store.annotate(release, notes) for release in chosen]
    releases = {(entry.component, entry.version, entry.platform): entry for entry in (*now.releases, *chosen)}
    return Edition(tuple(releases.values()), now.withdrawn)
