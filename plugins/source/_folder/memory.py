"""What a source remembers of files between two looks: their digests, and by whom they were found to be signed.

Without it every look would read every file, and start a program for each signature. The file is a cache: one that is
damaged is made again, and what it says of a file counts only while the file's stamp is the one that was hashed.
"""

from __future__ import annotations

import json
from dataclasses import astuple
from typing import TYPE_CHECKING, Any, TypeVar

from reconciler.files import write_whole
from reconciler.formats.text import read_json
from reconciler.model.release import SHA256

from .tree import Stamp

if TYPE_CHECKING:
    from logging import Logger
    from pathlib import Path

ValueT = TypeVar("ValueT")

MAX_BYTES = 64 * 2**20
MAX_ENTRIES = 100_000
"""The files used longest ago go first."""
PROVEN_FOR = 86_400
"""Seconds: a key or signature that expires isn't believed much longer."""


class Memory:
    """Digests by path, and times of change that lie ahead. `save` writes what changed; nothing else does."""

    def __init__(self, file: Path, log: Logger) -> None:
        self._file = file
        self._log = log
        self._changed = False
        self._hashed: dict[str, tuple[Stamp, str]] = {}
        self._ahead: dict[str, float] = {}
        self._proven: dict[str, tuple[str, float]] = {}
        try:
            self._hashed, self._ahead, self._proven = _read(file)
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.warning("%s is damaged and made again: %s", file, error)

    def sha256(self, path: str, stamp: Stamp) -> str | None:
        """Give the digest of a file that was hashed when it had this stamp; None when it must be hashed again."""
        known = self._hashed.get(path)
        if known is None or known[0] != stamp:
            return None
        self._hashed[path] = self._hashed.pop(path)
        return known[1]

    def remember(self, path: str, stamp: Stamp, sha256: str) -> None:
        """Keep the digest of a file."""
        self._hashed.pop(path, None)
        self._hashed[path] = stamp, sha256
        self._changed = True

    def proven(self, key: str, now: float) -> str:
        """Give who signed, as it was found out not long ago (s since the epoch); see `_verify.gpg.Proven`."""
        signer, since = self._proven.get(key, ("", 0.0))
        return signer if 0 <= now - since < PROVEN_FOR else ""

    def prove(self, key: str, signer: str, now: float) -> None:
        """Keep who signed, and let go of what doesn't count any more."""
        self._proven = {known: entry for known, entry in self._proven.items() if 0 <= now - entry[1] < PROVEN_FOR}
        self._proven[key] = signer, now
        self._changed = True

    def ahead_since(self, ctime: int, now: float) -> float:
        """Give when a time of change (ns) that lies ahead was first seen (s since the epoch); now, if that is now."""
        if self._ahead.get(str(ctime), now + 1) > now:
            self._ahead[str(ctime)] = now
            self._changed = True
        return self._ahead[str(ctime)]

    def save(self) -> None:
        """Write the memory in one piece, if it changed; when that can't be done, the next look is slower."""
        if not self._changed:
            return
        data = {
            "format": 1,
            "hashed": {path: [*astuple(stamp), sha256] for path, (stamp, sha256) in _newest(self._hashed).items()},
            "ahead": _newest(self._ahead),
            "proven": _newest(self._proven),
        }
        try:
            write_whole(self._file, json.dumps(data, separators=(",", ":")).encode(), mode=0o600)
            self._changed = False
        except OSError as error:
            self._log.warning("%s can't be written: %s", self._file, error)


def _newest(entries: dict[str, ValueT]) -> dict[str, ValueT]:
    return dict(list(entries.items())[-MAX_ENTRIES:])


def _read(file: Path) -> tuple[dict[str, tuple[Stamp, str]], dict[str, float], dict[str, tuple[str, float]]]:
    with file.open("rb") as stream:
        raw = stream.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES} bytes")
    data: Any = read_json(raw)
    match data:
        case {"format": 1, "hashed": dict(hashed)}:
            files = {path: _entry(entry) for path, entry in hashed.items()}
            ahead = {ctime: float(since) for ctime, since in data.get("ahead", {}).items()}
            proven = {_digest(key): (str(signer), float(at)) for key, (signer, at) in data.get("proven", {}).items()}
            return files, ahead, proven
    raise ValueError("it has another form")


def _entry(entry: Any) -> tuple[Stamp, str]:
    if not isinstance(entry, list) or len(entry) != 5 or not all(type(number) is int for number in entry[:4]):
        raise ValueError("it has an entry of another form")
    return Stamp(*entry[:4]), _digest(entry[4])


def _digest(value: Any) -> str:
    if not isinstance(value, str) or not SHA256.fullmatch(value):
        raise ValueError("it has something else in place of a digest")
    return value
