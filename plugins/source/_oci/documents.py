"""Small documents of a registry by their digest, kept in a folder: what was read once isn't asked for again.

A document that was damaged meanwhile is taken for none. What isn't used any more is removed after some days: a plan
that was saved may still need it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from reconciler.files import write_whole
from reconciler.formats.oci import digest_of_bytes

if TYPE_CHECKING:
    from logging import Logger
    from pathlib import Path

KEPT = 14 * 24 * 3600.0
_MAX_BYTES = 8 * 2**20


class Documents:
    """The documents in a folder; used by several threads at once."""

    def __init__(self, folder: Path, log: Logger) -> None:
        """Touch nothing yet."""
        self._folder = folder
        self._log = log
        self._used: set[str] = set()

    def get(self, digest: str) -> bytes | None:
        """Give a document; None where it isn't here, or not as it was."""
        self._used.add(_name(digest))
        try:
            with (self._folder / _name(digest)).open("rb") as stream:
                content = stream.read(_MAX_BYTES)
        except OSError:
            return None
        return content if digest_of_bytes(content) == digest else None

    def put(self, content: bytes) -> str:
        """Keep a document, as far as that can be done; give its digest."""
        digest = digest_of_bytes(content)
        if self.get(digest) is None:
            try:
                self._folder.mkdir(mode=0o700, exist_ok=True)
                write_whole(self._folder / _name(digest), content)
            except OSError as error:
                self._log.warning("%s can't be written: %s", self._folder, error)
        return digest

    def sweep(self) -> None:
        """Remove what wasn't used by this instance, and is older than what a saved plan may need."""
        limit = time.time() - KEPT
        try:
            for path in self._folder.iterdir():
                if path.name not in self._used and path.stat().st_mtime < limit:
                    path.unlink(missing_ok=True)
                elif path.name in self._used and path.stat().st_mtime < limit:
                    path.touch()
        except OSError as error:
            self._log.info("%s isn't swept: %s", self._folder, error)


def _name(digest: str) -> str:
    return digest.removeprefix("sha256:")
