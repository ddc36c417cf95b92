"""What is needed of OpenPGP to hand it to `gpgv`: armour taken off, and the fingerprints of a keyring.

Sources: RFC 4880 and RFC 9580, sections on ASCII armor, packet syntax and public keys. Nothing is verified here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNATURE, PUBLIC_KEY, USER_ID = 2, 6, 13
"""Kinds of packets."""
_BEGIN, _END, _DASHES = b"-----BEGIN PGP ", b"-----END PGP ", b"-----"
_CRC_START, _CRC_POLYNOMIAL = 0xB704CE, 0x1864CFB
_MAX_PACKETS = 100_000
_KEYBOX = b"KBXf"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A primary key of a keyring: its fingerprint in capital hexadecimal digits, and the first user id that it has."""

    fingerprint: str
    user: str = ""


def binary(content: bytes, what: str) -> bytes:
    """Give content without armour; what has none stays as it is. `what` is the kind of block, such as `SIGNATURE`.

    Raises:
        ValueError: the armour is damaged, or is of another kind.
    """
    if content[:1] and content[0] & 0x80:
        return content
    return b"".join(_blocks(content, what.encode()))


def _blocks(content: bytes, what: bytes) -> Iterator[bytes]:
    """Give the content of each armoured block; what stands around them counts for nothing."""
    begin, end = _BEGIN + what + _DASHES, _END + what + _DASHES
    lines = [line.rstrip(b" \t\r") for line in content.split(b"\n")]
    found, place = False, 0
    while place < len(lines):
        line, place = lines[place], place + 1
        if not line.startswith(_BEGIN):
            continue
        if line != begin:
            raise ValueError(f"it is another block of PGP than {what.decode()}: {line.decode('ascii', 'replace')[:60]}")
        try:
            stop = lines.index(end, place)
        except ValueError as error:
            raise ValueError("its armour has no end") from error
        yield _dearmoured(lines[place:stop])
        found, place = True, stop + 1
    if not found:
        raise ValueError(f"it has no block {begin.decode()}")


def _dearmoured(lines: list[bytes]) -> bytes:
    """Decode the lines between the first and the last of a block: headers, an empty line, base64, a checksum."""
    try:
        body = lines[lines.index(b"") + 1 :]
    except ValueError as error:
        raise ValueError("its armour has no empty line before the content") from error
    checksum = body.pop()[1:] if body and body[-1].startswith(b"=") and len(body[-1]) == 5 else None
    try:
        data = base64.b64decode(b"".join(body), validate=True)
        stated = None if checksum is None else base64.b64decode(checksum, validate=True)
    except binascii.Error as error:
        raise ValueError("its armour isn't base64") from error
    if stated is not None and stated != _crc24(data).to_bytes(3, "big"):
        raise ValueError("the checksum of its armour is wrong: it is damaged")
    return data


def _crc24(data: bytes) -> int:
    crc, table = _CRC_START, _crc24_table()
    for byte in data:
        crc = (crc << 8 & 0xFFFFFF) ^ table[crc >> 16 ^ byte]
    return crc


@cache
def _crc24_table() -> list[int]:
    """Give what each byte adds to a checksum."""
    table = []
    for byte in range(256):
        crc = byte << 16
        for _bit in range(8):
            crc = crc << 1 ^ (_CRC_POLYNOMIAL if crc & 0x800000 else 0)
        table.append(crc)
    return table


def certificates(content: bytes) -> list[Certificate]:
    """List the primary keys of a binary keyring.

    Raises:
        ValueError: it is none, or has no key.
    """
    if content[8:12] == _KEYBOX:
        raise ValueError("it is a keybox; `gpg --export > FILE` writes a keyring of it")
    found: list[Certificate] = []
    for kind, body in packets(content):
        if kind == PUBLIC_KEY:
            found.append(Certificate(_fingerprint(body)))
        elif kind == USER_ID and found and not found[-1].user:
            found[-1] = Certificate(found[-1].fingerprint, body.decode("utf-8", "replace"))
    if not found:
        raise ValueError("it has no public key")
    return found


def packets(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Give the packets of binary OpenPGP: each its kind and its body.

    Raises:
        ValueError: it isn't OpenPGP, or ends too early.
    """
    place, count = 0, 0
    while place < len(content):
        head, count = content[place], count + 1
        if not head & 0x80 or count > _MAX_PACKETS:
            raise ValueError("it isn't OpenPGP")
        try:
            kind, start, size = _new(content, place) if head & 0x40 else _old(content, place)
        except IndexError as error:
            raise ValueError("it ends too early") from error
        if start + size > len(content):
            raise ValueError("it ends too early")
        yield kind, content[start : start + size]
        place = start + size


def _old(content: bytes, place: int) -> tuple[int, int, int]:
    """Read an old head: kind, where the body begins, and its size."""
    head = content[place]
    width = 1 << (head & 3)
    if width == 8:
        raise ValueError("it has a packet without a size")
    start = place + 1 + width
    if start > len(content):
        raise IndexError
    return head >> 2 & 0xF, start, int.from_bytes(content[place + 1 : start], "big")


def _new(content: bytes, place: int) -> tuple[int, int, int]:
    """Read a new head; see `_old`."""
    head, first = content[place], content[place + 1]
    if first < 192:
        return head & 0x3F, place + 2, first
    if first < 224:
        return head & 0x3F, place + 3, ((first - 192) << 8) + content[place + 2] + 192
    if first < 255:
        raise ValueError("it has a packet in parts")
    if place + 6 > len(content):
        raise IndexError
    return head & 0x3F, place + 6, int.from_bytes(content[place + 2 : place + 6], "big")


def _fingerprint(body: bytes) -> str:
    """Give the fingerprint of a public key, by the rules of its version."""
    version = body[0] if body else 0
    if version == 4 and len(body) < 2**16:
        return hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body, usedforsecurity=False).hexdigest().upper()
    if version in {5, 6}:
        lead = b"\x9a" if version == 5 else b"\x9b"
        return hashlib.sha256(lead + len(body).to_bytes(4, "big") + body).hexdigest().upper()
    raise ValueError(f"it has a key of version {version}, which nothing is verified with any more")
