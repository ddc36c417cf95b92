"""Databases of ClamAV as far as mirrors read them: the header and some bytes. Nothing in them is signed."""

from __future__ import annotations


def database(version: int, *, flevel: int = 90, body: bytes = b"COPYING") -> bytes:
    """Give a database with its header of 512 bytes."""
    head = f"ClamAV-VDB:29 Nov 2026 06-00 +0000:{version}:7:{flevel}:X:X:somebody:1795932000"
    return head.encode().ljust(512) + body + str(version).encode()
