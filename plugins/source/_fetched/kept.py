"""What was kept in quarantine, as it is found there: believed only as far as the disk bears it out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from reconciler.errors import SourceError
from reconciler.files import is_sound
from reconciler.formats.text import read_json
from reconciler.model.release import file_name_problem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from io import BufferedReader
    from pathlib import Path

MAX_KEY = 180
FILES, FACTS, PARTS, PART = "files", "facts.json", "parts.json", ".part"
_MAX_FACTS = 16 * 2**20
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """A file that was kept, and where it lies."""

    name: str
    size: int
    sha256: str
    path: Path


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was fetched and proven: its files by name, and what the source noted of it."""

    key: str
    files: Mapping[str, FetchedFile]
    facts: Mapping[str, Any] = field(default_factory=dict)
    kept: datetime = _LONG_AGO

    def open(self, name: str) -> BufferedReader:
        """Open a file.

        Raises:
            SourceError: it isn't there any more.
        """
        try:
            return self.files[name].path.open("rb")
        except (KeyError, OSError) as error:
            raise SourceError(f"{name} of {self.key} isn't in quarantine any more; plan again") from error


def read_kept(place: Path, key: str | None = None) -> Fetched | None:
    """Give what is kept in a folder, under a key; None where that isn't so, or not all of it is as it was.

    Raises:
        OSError: it can't be read.
    """
    data = read_noted(place / FACTS)
    try:
        if data is None or (key is not None and data["key"] != key) or place.name != spelled(data["key"]):
            return None
        files = {row[0]: FetchedFile(row[0], row[1], row[2], place / FILES / row[0]) for row in data["files"]}
        stamps = {row[0]: row[3] for row in data["files"]}
        if any(file_name_problem(name) for name in files):
            return None
        for file in files.values():
            if stamp_of(file.path) != stamps[file.name] and not _is_sound(file):
                return None
        return Fetched(data["key"], files, data["facts"], datetime.fromisoformat(data["kept"]))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, FileNotFoundError):
        return None  # damaged: it is fetched again


def spelled(key: str) -> str:
    """Give the name of a folder for any text: none leads elsewhere, hides, or is another one's."""
    name = quote(key, safe="")
    if name.startswith("."):
        name = name.replace(".", "%2E")
    if name == "lock" or name.endswith(PART):
        name = f"{name}%"
    if 0 < len(name) <= MAX_KEY:
        return name
    return f"{name[:80]}%{hashlib.sha256(key.encode()).hexdigest()}"


def stamp_of(path: Path) -> list[int]:
    """Give what changes when a file is written: size, times of content and inode in nanoseconds, and its number."""
    found = path.lstat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _is_sound(file: FetchedFile) -> bool:
    return file.path.lstat().st_size == file.size and is_sound(file.path, file.sha256)


def time_of(place: Path) -> datetime:
    """Give when something was kept, or last fetched; long ago where nothing says so."""
    found = read_noted(place / FACTS) or read_noted(place / PARTS) or {}
    try:
        at = datetime.fromisoformat(found.get("kept") or found["at"])
    except (ValueError, TypeError, KeyError):
        return _LONG_AGO
    return at if at.tzinfo else _LONG_AGO


def read_noted(path: Path) -> dict[str, Any] | None:
    """Read what was noted; None where nothing is, or nothing that can be read."""
    try:
        with path.open("rb") as stream:
            data = read_json(stream.read(_MAX_FACTS))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None
