"""The root of the repository for other sites, one step at a time: stage one, wait for signatures, take it into use."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING

from reconciler.errors import RepositoryError
from reconciler.model.repository import RepositoryStatus
from reconciler.repository.edition import current_edition, online_signer, parts_of, write_edition
from reconciler.repository.signing import new_root, read_public, says_the_same, staged, write_root

if TYPE_CHECKING:
    from securesystemslib.signer import SSlibKey
    from tuf.api.metadata import Root

    from reconciler.workspace import Workspace

ROTATE_AT = 0.25
"""The share of the root's life that is left when it should be rotated."""


def set_up(work: Workspace) -> RepositoryStatus:
    """Take the next step towards a repository: stage its first root, or take that into use once it is signed.

    Raises:
        RepositoryError: there is a root already, or something can't be read or written.
        UsageError, SecretError, StoreError: see `parts_of`; a key or the store can't be read.
    """
    _spec, repository = parts_of(work)
    if repository.root() is not None and not repository.staged_root.exists():
        raise RepositoryError(
            f"{repository.path} has a root already", hint="`updoser publish rotate` makes the next one"
        )
    return _step(work)


def rotate(work: Workspace, *, force: bool = False) -> RepositoryStatus:
    """Take the next step towards another root: stage one with the keys of the spec, or take it into use.

    Raises:
        RepositoryError: there is no root, it needn't be rotated and isn't forced to, or something can't be written.
        UsageError, SecretError, StoreError: as for `set_up`.
    """
    _spec, repository = parts_of(work)
    root = repository.root()
    if root is None:
        raise RepositoryError(f"{repository.path} has no root yet", hint="`updoser publish init` makes one")
    if not repository.staged_root.exists() and not force and not rotation_due(work, root):
        raise RepositoryError(
            "the root has the keys of the spec and isn't about to expire", hint="--force makes another one all the same"
        )
    return _step(work)


def rotation_due(work: Workspace, root: Root) -> str:
    """Say why the root should be rotated; empty when it needn't.

    Raises:
        RepositoryError, SecretError: a key can't be read.
    """
    spec, _repository = parts_of(work)
    wanted = new_root(_root_keys(work), spec.threshold, online_signer(work).public_key, root.expires)
    if not says_the_same(wanted.signed, root):
        return "the spec names other keys"
    if root.expires - work.means.clock() < spec.expires["root"] * ROTATE_AT:
        return f"it expires on {root.expires:%Y-%m-%d}"
    return ""


def describe(work: Workspace) -> RepositoryStatus:
    """Say how the repository stands.

    Raises:
        UsageError, RepositoryError, SecretError: see `parts_of`; it, or a key, can't be read.
    """
    spec, repository = parts_of(work)
    root = repository.root()
    waiting = None
    if repository.staged_root.exists():
        names = {read_public(work.means.public(place), str(place)).keyid: str(place.value) for place in spec.root_keys}
        found = staged(repository.staged_root, root)
        waiting = replace(
            found,
            signed=tuple(names.get(key, key) for key in found.signed),
            missing=tuple(names.get(key, key) for key in found.missing),
        )
    return RepositoryStatus(
        path=str(repository.path),
        policy=spec.publish,
        roles=repository.roles(),
        published=repository.published(work.means.clock(), spec.expires),
        staged=waiting,
        rotate=rotation_due(work, root) if root is not None and waiting is None else "",
    )


def _step(work: Workspace) -> RepositoryStatus:
    describe(work)  # what can't be read is told before anything is written
    spec, repository = parts_of(work)
    before = repository.root()
    if not repository.staged_root.exists():
        expires = (work.means.clock() + spec.expires["root"]).astimezone(UTC).replace(microsecond=0)
        online = online_signer(work).public_key
        write_root(new_root(_root_keys(work), spec.threshold, online, expires, before), repository.staged_root)
    elif not staged(repository.staged_root, before).needed:
        edition = current_edition(work)
        with repository.take_root(work.means.clock()):
            write_edition(edition, work)
    return describe(work)


def _root_keys(work: Workspace) -> list[SSlibKey]:
    """Read the public keys of the root; they are no secrets, and aren't masked."""
    spec, _repository = parts_of(work)
    return [read_public(work.means.public(reference), str(reference)) for reference in spec.root_keys]
