"""OpenSSH's certificates, as far as it matters whether one can be used: for whom, until when, and how it is signed.

A line is `TYPE BASE64 [COMMENT]`. What is encoded are fields, each with its length before it: the type, a nonce, the
public key in as many fields as its kind has, then what an authority says of it.

Source: OpenSSH's PROTOCOL.certkeys.
"""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

MARK = "-cert-v01@openssh.com"
_FIELDS = {
    "ssh-rsa": 2,
    "ssh-ed25519": 1,
    "ecdsa-sha2-nistp256": 2,
    "ecdsa-sha2-nistp384": 2,
    "ecdsa-sha2-nistp521": 2,
    "sk-ssh-ed25519": 2,
    "sk-ecdsa-sha2-nistp256": 3,
}
"""How many fields the public key of each kind has."""
_KINDS: dict[int, Literal["user", "host"]] = {1: "user", 2: "host"}
_LATEST = 253402300799
"""The last second that a datetime can be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What an authority says of a key: for users or hosts of these names, from `begins` on, until `ends` (None: ever).

    No names mean all of them, for a user; `key_id` is what logs show. `signed_by` is the algorithm of the signature.
    """

    kind: Literal["user", "host"]
    key_id: str
    names: tuple[str, ...]
    begins: datetime
    ends: datetime | None
    signed_by: str

    def why_not(self, now: datetime) -> str:
        """Say why it doesn't count now; empty where it does."""
        if now < self.begins:
            return f"counts only from {self.begins:%Y-%m-%d %H:%M} UTC on"
        if self.ends is not None and now >= self.ends:
            return f"ended at {self.ends:%Y-%m-%d %H:%M} UTC"
        return ""


def read_certificate(text: str) -> Certificate:
    """Read the first line of a file.

    Raises:
        ValueError: it is no certificate of OpenSSH; the message says why.
    """
    words = text.split()
    if len(words) < 2 or not words[0].endswith(MARK):
        raise ValueError("it is no certificate of OpenSSH")
    try:
        return _read(base64.b64decode(words[1], validate=True), words[0])
    except (binascii.Error, struct.error, UnicodeDecodeError, IndexError) as error:
        raise ValueError("it is damaged") from error


def _read(data: bytes, name: str) -> Certificate:
    kind, rest = _field(data)
    if kind.decode() != name or name.removesuffix(MARK) not in _FIELDS:
        raise ValueError("it is for a key of a kind that isn't known")
    for _each in range(1 + _FIELDS[name.removesuffix(MARK)]):  # the nonce, and the public key
        _skipped, rest = _field(rest)
    _serial, number = struct.unpack_from(">QI", rest)
    key_id, rest = _field(rest[12:])
    listed, rest = _field(rest)
    begins, ends = struct.unpack_from(">QQ", rest)
    if number not in _KINDS:
        raise ValueError("it is neither for users nor for hosts")
    rest = rest[16:]
    for _each in range(4):  # critical options, extensions, what is reserved, and the authority's key
        _skipped, rest = _field(rest)
    signature, _nothing = _field(rest)
    names = []
    while listed:
        one, listed = _field(listed)
        names.append(one.decode())
    return Certificate(
        kind=_KINDS[number],
        key_id=key_id.decode("utf-8", "replace"),
        names=tuple(names),
        begins=datetime.fromtimestamp(min(begins, _LATEST), UTC),
        ends=None if ends >= _LATEST else datetime.fromtimestamp(ends, UTC),
        signed_by=_field(signature)[0].decode(),
    )


def _field(data: bytes) -> tuple[bytes, bytes]:
    """Read a field that says how long it is; give it and what follows."""
    (size,) = struct.unpack_from(">I", data)
    if size > len(data) - 4:
        raise IndexError
    return data[4 : 4 + size], data[4 + size :]
