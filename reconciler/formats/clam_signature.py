"""The signatures within ClamAV's files: three RSA keys, two ways.

* A container (`cvd`) is signed over the MD5 of all behind its header, without padding.
* A cdiff and `.info` are signed over SHA-256, with PSS, in a way of ClamAV's own: the block has 2048 bits for keys of
  2047, too, and only its first bit is cleared. A library's check of PSS clears two for such a key, as RFC 8017 says,
  and so refuses about half of all genuine signatures. So the block is decoded here.

A signature is a number written in base 64, its least significant digit first. Keys are the operator's: each is known by
its fingerprint, the SHA-256 of its modulus in decimal. ClamAV's libclamav/dsig.c is what these rules are from.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Use = Literal["container", "cdiff", "info"]
ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/"
MAX_DIGITS = 400
BLOCK = 256
"""Bytes of what is signed with PSS."""
SALT = 32
MD5_BITS = (1000, 1100)
"""Of a modulus that signs containers."""
PSS_BITS = (2041, 2048)
_VALUES = {character: value for value, character in enumerate(ALPHABET)}
_DECIMAL = re.compile(r"[1-9][0-9]{0,999}")


@dataclass(frozen=True, slots=True)
class ClamKey:
    """A public RSA key."""

    modulus: int
    exponent: int

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the modulus, written in decimal."""
        return hashlib.sha256(str(self.modulus).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ClamKeys:
    """The keys for containers, cdiffs and `.info`; None where none is trusted for that."""

    container: ClamKey | None = None
    cdiff: ClamKey | None = None
    info: ClamKey | None = None


def keys_from(data: Any) -> ClamKeys:
    """Read keys from plain data: for each use `{modulus: "<decimal>", exponent: <number>}`.

    Raises:
        ValueError: they aren't keys; the message says which.
    """
    uses = [one.name for one in fields(ClamKeys)]
    if not isinstance(data, dict) or not data or set(data) - set(uses):
        raise ValueError(f"it isn't a mapping of {', '.join(uses)} to keys")
    keys = ClamKeys(**{use: _key(use, value) for use, value in data.items()})
    if keys.info is None:
        raise ValueError("it has no key for info, which alone proves each member of a database")
    return keys


def _key(use: str, value: Any) -> ClamKey:
    if not isinstance(value, dict) or set(value) != {"modulus", "exponent"}:
        raise ValueError(f"the key for {use} isn't a mapping of modulus and exponent")
    for part, number in value.items():
        if isinstance(number, bool) or not _DECIMAL.fullmatch(str(number)):
            raise ValueError(f"the {part} of the key for {use} is no number in decimal digits")
    key = ClamKey(int(value["modulus"]), int(value["exponent"]))
    least, most = MD5_BITS if use == "container" else PSS_BITS
    if not least <= key.modulus.bit_length() <= most or not key.modulus % 2:
        raise ValueError(
            f"the modulus of the key for {use} has {key.modulus.bit_length()} bits, and {least} to {most} are usual"
        )
    if not 2 < key.exponent < 2**32 or not key.exponent % 2:
        raise ValueError(f"the exponent of the key for {use} is none")
    return key


def numbers_of(keys: ClamKeys) -> Mapping[str, Mapping[str, str | int]]:
    """Give keys as `keys_from` reads them."""
    named = {one.name: getattr(keys, one.name) for one in fields(ClamKeys)}
    return {use: {"modulus": str(key.modulus), "exponent": key.exponent} for use, key in named.items() if key}


def number_of(text: str) -> int:
    """Read the number of a signature.

    Raises:
        ValueError: it isn't one.
    """
    if not 0 < len(text) <= MAX_DIGITS or any(character not in _VALUES for character in text):
        raise ValueError("its signature is no number in ClamAV's base 64")
    return sum(_VALUES[character] << 6 * place for place, character in enumerate(text))


def text_of(number: int) -> str:
    """Write the number of a signature."""
    digits = []
    while number:
        digits.append(ALPHABET[number & 63])
        number >>= 6
    return "".join(digits) or ALPHABET[0]


def signs_md5(key: ClamKey, signature: str, digest: bytes) -> bool:
    """Say whether a signature of a container is of this MD5.

    Raises:
        ValueError: it is no signature.
    """
    number = number_of(signature)
    return number < key.modulus and pow(number, key.exponent, key.modulus) == int.from_bytes(digest, "big")


def signs_sha256(key: ClamKey, signature: str, digest: bytes) -> bool:
    """Say whether a signature of a cdiff or of `.info` is of this SHA-256.

    Raises:
        ValueError: it is no signature.
    """
    number = number_of(signature)
    if number >= key.modulus:
        return False
    block = pow(number, key.exponent, key.modulus).to_bytes(BLOCK, "big")
    masked, proof, trailer = block[: -len(digest) - 1], block[-len(digest) - 1 : -1], block[-1]
    data = bytearray(a ^ b for a, b in zip(masked, mask(proof, len(masked)), strict=True))
    data[0] &= 0x7F
    filled, salt = data[: -SALT - 1], data[-SALT:]
    well_formed = trailer == 0xBC and not any(filled) and data[-SALT - 1] == 1
    expected = hashlib.sha256(bytes(8) + digest + salt).digest()
    return hmac.compare_digest(proof, expected) and well_formed


def mask(seed: bytes, length: int) -> bytes:
    """Give the mask that a seed stands for: MGF1 with SHA-256 (RFC 8017, B.2.1)."""
    turns = range(-(-length // 32))
    return b"".join(hashlib.sha256(seed + turn.to_bytes(4, "big")).digest() for turn in turns)[:length]
