"""Brings the repository for other sites to what a plan says, when all else of the plan is done.

A release with which a client failed in this run isn't published; nor is one that didn't get into the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import RepositoryError, UpdoserError
from reconciler.execute.journal import note
from reconciler.guards import blaming
from reconciler.model.events import PublishFinished
from reconciler.model.offer import Withdrawal
from reconciler.model.report import published_text
from reconciler.repository.edition import Edition, held_releases, parts_of, write_edition

if TYPE_CHECKING:
    from reconciler.execute.tally import Tally
    from reconciler.model.change import Publish
    from reconciler.model.plan import Plan
    from reconciler.model.release import ReleaseKey
    from reconciler.workspace import Workspace


def publish_all(plan: Plan, work: Workspace, tally: Tally) -> None:
    """Publish what a plan says, all in one step; what goes wrong is told and counted, and leaves what was published.

    Raises:
        StoreError, StateError: store or state fail as a whole.
    """
    if not plan.publishes or REPOSITORY in tally.failed_here or work.means.stop.is_set():
        return
    failure = ""
    withheld: set[ReleaseKey] = set()
    try:
        with blaming("publishing", RepositoryError):
            edition, withheld = _edition(plan, work, tally)
            write_edition(edition, work)
    except UpdoserError as error:
        failure = error.brief
        tally.server_failed(REPOSITORY, failure)
    for change in plan.publishes:
        held_back = _key(change) in withheld
        why = failure or (WITHHELD if held_back else "")
        note(change, work, why, done=_done(change), size=change.bytes)
        if not why:
            tally.published()
    if failure or withheld:
        text = failure or f"{WITHHELD}: {', '.join(sorted(f'{key[0]} {key[1]}' for key in withheld))}"
        work.means.emit(PublishFinished(f"publish: {text}", level="error" if failure else "warning"))
    else:
        work.means.emit(PublishFinished(f"published: {', '.join(sorted({_done(one) for one in plan.publishes}))}"))


REPOSITORY = "repository"
"""In place of a component, where publishing as a whole failed: it isn't tried again in the run."""
WITHHELD = "not published: clients failed with it, or it isn't held"


def _done(change: Publish) -> str:
    about = " ".join(filter(None, (change.component, change.to)))
    return {
        "release": published_text(change.component, change.to),
        "incrementals": f"incrementals of {about} published",
        "withdraw": f"{about} withdrawn",
        "restore": f"{about} not withdrawn any more",
        "let go": f"{about} let go of",
        "signatures": "signatures renewed",
    }[change.kind]


def _edition(plan: Plan, work: Workspace, tally: Tally) -> tuple[Edition, set[ReleaseKey]]:
    """Give what is to be offered after a plan, and what of the plan is held back."""
    spec, repository = parts_of(work)
    before = repository.published(work.means.clock(), spec.expires)
    held = held_releases(work)
    withdrawn = {(entry.component, entry.version): entry for entry in before.withdrawn}
    for change in plan.publishes:
        if change.kind == "withdraw":
            withdrawn[change.component, change.to] = Withdrawal(change.component, change.to, change.reason)
        elif change.kind == "restore":
            withdrawn.pop((change.component, change.to), None)
    offered = {(entry.component, entry.version, entry.platform): entry.digest for entry in before.releases}
    withheld: set[ReleaseKey] = set()
    for change in plan.publishes:
        if change.kind == "release":
            key = _key(change)
            if change.component in tally.failed_components or key not in held or held[key].digest != change.to_digest:
                withheld.add(key)
            else:
                offered[key] = change.to_digest
    releases = tuple(
        held[key]
        for key, digest in sorted(offered.items())
        if key in held and held[key].digest == digest and key[:2] not in withdrawn
    )
    return Edition(releases, tuple(sorted(withdrawn.values()))), withheld


def _key(change: Publish) -> ReleaseKey:
    return change.component, change.to, change.platform
