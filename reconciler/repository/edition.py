"""What the repository for other sites offers, and is to offer: read from it, and signed and written to it.

Each command asks whether there is one, and most specs have none: what reads and writes it is imported where it is used.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from securesystemslib.signer import CryptoSigner

    from reconciler.model.offer import Withdrawal
    from reconciler.model.release import Release, ReleaseKey
    from reconciler.model.spec import MirrorSpec, RepositorySpec
    from reconciler.repository.folder import Repository
    from reconciler.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Edition:
    """What a repository is to offer: releases of the store, and versions that are withdrawn."""

    releases: tuple[Release, ...] = ()
    withdrawn: tuple[Withdrawal, ...] = ()


def folder_of(work: Workspace) -> Repository | None:
    """Give the repository's folder; None where the spec has none."""
    if work.spec.repository is None:
        return None
    from reconciler.repository.folder import Repository

    return Repository(work.spec.repository.path)


def parts_of(work: Workspace) -> tuple[RepositorySpec, Repository]:
    """Give the repository and what the spec says of it.

    Raises:
        UsageError: the spec has none.
    """
    spec, repository = work.spec.repository, folder_of(work)
    if spec is None or repository is None:
        raise UsageError(
            f"{work.spec.path} has no `repository`", hint="say there where to publish, and whose keys sign"
        )
    return spec, repository


def held_releases(work: Workspace) -> dict[ReleaseKey, Release]:
    """Give the releases of the store by component, version and platform.

    Raises:
        StoreError: it can't be read.
    """
    return {(entry.component, entry.version, entry.platform): entry for entry in work.store.inspect().releases}


def current_edition(work: Workspace) -> Edition:
    """Give what the repository offers now, as far as the store still holds it.

    Raises:
        RepositoryError, StoreError: repository or store can't be read.
    """
    spec, repository = parts_of(work)
    before = repository.published(work.means.clock(), spec.expires)
    held = held_releases(work)
    kept = (held.get((entry.component, entry.version, entry.platform)) for entry in before.releases)
    return Edition(tuple(entry for entry in kept if entry is not None), before.withdrawn)


def write_edition(edition: Edition, work: Workspace) -> None:
    """Sign and write what is to be offered, with the incrementals that the store has to it.

    Raises:
        RepositoryError: it can't be signed or written; what was published stays.
        SecretError, StoreError: the online key, or the store, can't be read.
    """
    from reconciler.formats.index import index_document

    spec, repository = parts_of(work)
    goals = {release.digest for release in edition.releases}
    incrementals = [
        entry
        for entry in work.store.inspect().incrementals
        if entry.to_digest in goals and entry.from_version and not entry.refused
    ]
    patches = [patch for entry in incrementals for patch in entry.patches]
    files = [file for release in edition.releases for file in (*release.files, *release.attached)]
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
    repository.write(indexes, [*files, *patches], work.store.local, online_signer(work), spec.expires, now)


def write_mirror(spec: MirrorSpec, releases: Sequence[Release], work: Workspace) -> None:
    """Bring a mirror to these releases.

    Raises:
        RepositoryError: its layout can't have them, or something can't be written; what was published stays.
        SecretError, StoreError: a key of its layout, or the store, can't be read.
    """
    from reconciler.repository.mirror import MirrorFolder, placed_in

    folder = MirrorFolder(spec.path)
    held = work.store.inspect().releases
    placed = placed_in(spec, releases, held, work.plugins.layout(spec), folder.there(), work.spec.catalog)
    folder.write(placed, releases, lambda file: work.store.open(file.sha256), work.means.clock())


def online_signer(work: Workspace) -> CryptoSigner:
    """Resolve the key that signs everything but the root.

    Raises:
        SecretError, RepositoryError: it can't be read, or is no key.
    """
    from reconciler.repository.signing import read_private

    spec, _repository = parts_of(work)
    reference = spec.online_key
    return read_private(work.means.secret(reference), f"keys.online {reference}")


def _bytes(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
