"""Keys of a repository, and its root: who may sign what. All keys are ed25519, in PEM.

The keys of the root stay offline, so a new root is a file that travels: it is staged beside the repository, each holder
of a key adds a signature on a machine of his own, and when there are enough it is taken into use. A root that replaces
another needs enough signatures of the old keys and enough of the new ones.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.exceptions import RepositoryError as TufError
from tuf.api.metadata import Metadata, Root
from tuf.api.serialization import DeserializationError
from tuf.api.serialization.json import JSONSerializer

from reconciler.errors import RepositoryError
from reconciler.files import write_whole
from reconciler.model.repository import StagedRoot
from reconciler.paths import read_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

MAX_ROOT = 512_000
_ONLINE = ("targets", "snapshot", "timestamp")


def make_key(path: Path) -> Path:
    """Write a new private key, for its owner only, and the public one to `<path>.pub`; give that path.

    Raises:
        RepositoryError: one of them is there already, or can't be written; then neither is made.
    """
    public = path.with_name(f"{path.name}.pub")
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with ExitStack() as undo, _key_errors():
        for file, content, mode in (
            (path, private, 0o600),
            (public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644),
        ):
            number = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
            undo.callback(file.unlink, missing_ok=True)  # half a pair is no use
            with os.fdopen(number, "wb") as handle:
                handle.write(content)
        undo.pop_all()
    return public


@contextmanager
def _key_errors() -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise RepositoryError(f"{error.filename} is there already", hint="name another file") from error
    except OSError as error:
        raise RepositoryError(f"{error.filename or 'the key'} can't be written: {error.strerror}") from error


def read_private(text: str, name: str) -> CryptoSigner:
    """Read a private key.

    Raises:
        RepositoryError: it isn't an ed25519 key in PEM without a passphrase.
    """
    try:
        key = load_pem_private_key(text.encode() + b"\n", None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise RepositoryError(f"{name} is no private key in PEM without a passphrase", hint=_MAKE) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise RepositoryError(f"{name} is no ed25519 key", hint=_MAKE)
    return CryptoSigner(key)


def read_public(text: str, name: str) -> SSlibKey:
    """Read a public key.

    Raises:
        RepositoryError: it isn't an ed25519 key in PEM.
    """
    try:
        key = load_pem_public_key(text.encode() + b"\n")
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RepositoryError(f"{name} is no public key in PEM", hint=_MAKE) from error
    if not isinstance(key, Ed25519PublicKey):
        raise RepositoryError(f"{name} is no ed25519 key", hint=_MAKE)
    return SSlibKey.from_crypto(key)


_MAKE = "`updoser publish key FILE` makes one"


def new_root(
    keys: Sequence[SSlibKey], threshold: int, online: SSlibKey, expires: datetime, before: Root | None = None
) -> Metadata[Root]:
    """Make a root without signatures; its version follows that of `before`."""
    root = Root(version=before.version + 1 if before else 1, expires=expires, consistent_snapshot=True)
    for key in keys:
        root.add_key(key, Root.type)
    root.roles[Root.type].threshold = threshold
    for role in _ONLINE:
        root.add_key(online, role)
    return Metadata(root)


def says_the_same(one: Root, other: Root) -> bool:
    """Say whether two roots trust the same keys in the same way."""
    return all(
        one.roles[role].threshold == other.roles[role].threshold
        and set(one.roles[role].keyids) == set(other.roles[role].keyids)
        for role in (Root.type, *_ONLINE)
    )


def read_root(path: Path) -> Metadata[Root]:
    """Read a root, without any judgement of its signatures.

    Raises:
        RepositoryError: it isn't one, or can't be read.
    """
    content = read_file(path, MAX_ROOT, lambda why: RepositoryError(f"{path} can't be read: {why}"))
    try:
        metadata = Metadata.from_bytes(content[:MAX_ROOT])
    except DeserializationError as error:
        raise RepositoryError(f"{path} is no root of a repository") from error
    if not isinstance(metadata.signed, Root):
        raise RepositoryError(f"{path} is no root of a repository")
    return metadata


def write_root(metadata: Metadata[Root], path: Path) -> None:
    """Write a root.

    Raises:
        RepositoryError: it can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, metadata.to_bytes(JSONSerializer()), keep=True)
    except OSError as error:
        raise RepositoryError(f"{error.filename or path} can't be written: {error.strerror}") from error


def sign_root(path: Path, key: str, name: str, before: Root | None = None) -> StagedRoot:
    """Add a signature to a root that waits for some.

    Raises:
        RepositoryError: the file is no root, or neither it nor the one before knows the key.
    """
    metadata, signer = read_root(path), read_private(key, name)
    known = {*metadata.signed.roles[Root.type].keyids, *(before.roles[Root.type].keyids if before else ())}
    if signer.public_key.keyid not in known and metadata.signed.version == 1:
        raise RepositoryError(
            f"{path} doesn't know the key {name}",
            hint="name its public key under `keys: root:` of the repository, and begin again",
        )
    metadata.sign(signer, append=True)
    write_root(metadata, path)
    return staged(path, before)


def staged(path: Path, before: Root | None = None) -> StagedRoot:
    """Say whose signatures a root has and lacks; `before` is the root that it follows, where that is at hand.

    Raises:
        RepositoryError: it isn't a root.
    """
    metadata = read_root(path)
    signed: set[str] = set()
    missing: set[str] = set()
    needed = 0
    for judge in (metadata.signed, before):
        if judge is not None:
            verdict = judge.get_verification_result(Root.type, metadata.signed_bytes, metadata.signatures)
            signed |= set(verdict.signed)
            missing |= set(verdict.unsigned)
            needed = max(needed, verdict.missing)
    return StagedRoot(
        path=str(path),
        version=metadata.signed.version,
        signed=tuple(sorted(signed)),
        missing=tuple(sorted(missing)),
        needed=needed,
    )


def check_successor(metadata: Metadata[Root], before: Root | None) -> None:
    """Refuse a root that isn't fit to be taken into use.

    Raises:
        RepositoryError: signatures are missing, or its version doesn't follow.
    """
    wanted = before.version + 1 if before else 1
    if metadata.signed.version != wanted:
        raise RepositoryError(f"the root has the version {metadata.signed.version}, and {wanted} is next")
    try:
        for judge in (metadata.signed, before):
            if judge is not None:
                judge.verify_delegate(Root.type, metadata.signed_bytes, metadata.signatures)
    except TufError as error:
        raise RepositoryError(f"the root isn't signed by enough keys: {error}") from error
