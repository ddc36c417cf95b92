"""Brings the repository for other sites to what a plan says, when all else of the plan is done.

A release with which a client failed in this run isn't published; nor is one that didn't get into the store.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.errors import RepositoryError, UpdoserError, UsageError
from reconciler.execute.journal import note
from reconciler.formats.index import index_document
from reconciler.guards import blaming
from reconciler.model.offer import Withdrawal
from reconciler.storage.signing import read_private

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

    from reconciler.execute.tally import Tally
    from reconciler.model.plan import Plan, Publish
    from reconciler.model.release import Release
    from reconciler.model.spec import RepositorySpec
    from reconciler.storage.repository import Repository
    from reconciler.workspace import Workspace

Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Edition:
    """What a repository is to offer: releases of the store, and versions that are withdrawn."""

    releases: tuple[Release, ...] = ()
    withdrawn: tuple[Withdrawal, ...] = ()


def parts_of(work: Workspace) -> tuple[RepositorySpec, Repository]:
    """Give the repository and what the spec says of it.

    Raises:
        UsageError: the spec has none.
    """
    spec, repository = work.spec.repository, work.repository
    if spec is None or repository is None:
        raise UsageError(
            f"{work.spec.path} has no `repository`", hint="say there where to publish, and whose keys sign"
        )
    return spec, repository


def _held(work: Workspace) -> dict[Key, Release]:
    return {(entry.component, entry.version, entry.platform): entry for entry in work.store.inspect().releases}


def publish_all(plan: Plan, work: Workspace, tally: Tally) -> None:
    """Publish what a plan says, all in one step; what goes wrong is told and counted, and leaves what was published.

    Raises:
        StoreError, StateError: store or state fail as a whole.
    """
    if not plan.publishes or REPOSITORY in tally.failed_here or work.means.stop.is_set():
        return
    failure = ""
    withheld: set[Key] = set()
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
        work.means.emit("publish_finished", f"publish: {text}", level="error" if failure else "warning")
    else:
        work.means.emit("publish_finished", f"published: {', '.join(sorted({_done(one) for one in plan.publishes}))}")


REPOSITORY = "repository"
"""In place of a component, where publishing as a whole failed: it isn't tried again in the run."""
WITHHELD = "not published: clients failed with it, or it isn't held"


def _done(change: Publish) -> str:
    about = " ".join(filter(None, (change.component, change.to)))
    return {
        "release": f"{about} published",
        "incrementals": f"incrementals of {about} published",
        "withdraw": f"{about} withdrawn",
        "restore": f"{about} not withdrawn any more",
        "let go": f"{about} let go of",
        "signatures": "signatures renewed",
    }[change.kind]


def _edition(plan: Plan, work: Workspace, tally: Tally) -> tuple[Edition, set[Key]]:
    """Give what is to be offered after a plan, and what of the plan is held back."""
    spec, repository = parts_of(work)
    before = repository.published(work.means.clock(), spec.expires)
    held = _held(work)
    withdrawn = {(entry.component, entry.version): entry for entry in before.withdrawn}
    for change in plan.publishes:
        if change.kind == "withdraw":
            withdrawn[change.component, change.to] = Withdrawal(change.component, change.to, change.reason)
        elif change.kind == "restore":
            withdrawn.pop((change.component, change.to), None)
    offered = {(entry.component, entry.version, entry.platform): entry.digest for entry in before.releases}
    withheld: set[Key] = set()
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


def _key(change: Publish) -> Key:
    return change.component, change.to, change.platform


def current_edition(work: Workspace) -> Edition:
    """Give what the repository offers now, as far as the store still holds it.

    Raises:
        RepositoryError, StoreError: repository or store can't be read.
    """
    spec, repository = parts_of(work)
    before = repository.published(work.means.clock(), spec.expires)
    held = _held(work)
    kept = (held.get((entry.component, entry.version, entry.platform)) for entry in before.releases)
    return Edition(tuple(entry for entry in kept if entry is not None), before.withdrawn)


def write_edition(edition: Edition, work: Workspace) -> None:
    """Sign and write what is to be offered, with the incrementals that the store has to it.

    Raises:
        RepositoryError: it can't be signed or written; what was published stays.
        SecretError, StoreError: the online key, or the store, can't be read.
    """
    spec, repository = parts_of(work)
    goals = {release.digest for release in edition.releases}
    incrementals = [
        entry
        for entry in work.store.inspect().incrementals
        if entry.to_digest in goals and entry.from_version and not entry.refused
    ]
    patches = [patch for entry in incrementals for patch in entry.patches]
    files = [file for release in edition.releases for file in release.files]
    components = {entry.component for entry in edition.releases} | {entry.component for entry in edition.withdrawn}
    indexes = {
        component: _bytes(
            index_document(
                component,
                [entry for entry in edition.releases if entry.component == component],
                [entry for entry in incrementals if entry.component == component],
                [entry for entry in edition.withdrawn if entry.component == component],
            )
        )
        for component in components
    }
    now = work.means.clock()
    repository.write(indexes, [*files, *patches], work.store.path, online_signer(work), spec.expires, now)


def online_signer(work: Workspace) -> CryptoSigner:
    """Resolve the key that signs everything but the root.

    Raises:
        SecretError, RepositoryError: it can't be read, or is no key.
    """
    spec, _repository = parts_of(work)
    reference = spec.online_key
    return read_private(work.means.secret(reference), f"keys.online {reference}")


def _bytes(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
