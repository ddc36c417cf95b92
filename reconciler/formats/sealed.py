"""Private content on its way to a site: only the site's workers can open it, and only with the batch that it is for.

A site has a key pair (X25519). For each order a new pair is made, and what both sides can work out of it and of the
site's (HKDF-SHA-256) seals the content with ChaCha20-Poly1305. What it is for is sealed along: a seal that was taken
off one order and put on another one is broken.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY_SIZE = 32
_NONCE = bytes(12)  # a key is used once
_INFO = b"updoser private content of an order 1"


def new_key() -> tuple[str, str]:
    """Make a key pair, and give the private and the public key as text."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    private = X25519PrivateKey.generate()
    return _text(private.private_bytes_raw()), _text(private.public_key().public_bytes_raw())


def public_of(private: str) -> str:
    """Give the public key of a private one.

    Raises:
        ValueError: it is none.
    """
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    return _text(X25519PrivateKey.from_private_bytes(key_bytes(private)).public_key().public_bytes_raw())


def key_bytes(text: str) -> bytes:
    """Read a key.

    Raises:
        ValueError: it is none.
    """
    try:
        data = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("it isn't base64") from error
    if len(data) != KEY_SIZE:
        raise ValueError(f"it has {len(data)} bytes, and not {KEY_SIZE}")
    return data


def seal(public: str, private: Mapping[str, bytes], about: str) -> bytes:
    """Seal content for a site; it can be opened as what it is `about` only.

    Raises:
        ValueError: the key is none.
    """
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    theirs, ours = key_bytes(public), X25519PrivateKey.generate()
    mine = ours.public_key().public_bytes_raw()
    key = _key(ours.exchange(X25519PublicKey.from_public_bytes(theirs)), mine + theirs)
    plain = json.dumps({sha256: base64.b64encode(data).decode() for sha256, data in private.items()}).encode()
    return mine + ChaCha20Poly1305(key).encrypt(_NONCE, plain, about.encode())


def unseal(private: str, sealed: bytes, about: str) -> dict[str, bytes]:
    """Open what was sealed for us.

    Raises:
        ValueError: it wasn't, or not for this, or it was changed.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    ours = X25519PrivateKey.from_private_bytes(key_bytes(private))
    theirs, rest = sealed[:KEY_SIZE], sealed[KEY_SIZE:]
    if len(theirs) != KEY_SIZE:
        raise ValueError("it is cut off")
    shared = ours.exchange(X25519PublicKey.from_public_bytes(theirs))
    key = _key(shared, theirs + ours.public_key().public_bytes_raw())
    try:
        found = json.loads(ChaCha20Poly1305(key).decrypt(_NONCE, rest, about.encode()))
    except InvalidTag as error:
        raise ValueError("it isn't sealed for this worker and this batch") from error
    return {str(sha256): base64.b64decode(data) for sha256, data in found.items()}


def _key(shared: bytes, salt: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=KEY_SIZE, salt=salt, info=_INFO).derive(shared)


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode()
