"""What a vendor's record says of the versions that there are: by DNS, or as `dns.txt` of a mirror.

    <engine>:<main>:<daily>:<time>:<warning>:<flevel>:<safebrowsing>:<bytecode>

One of another database has a name of its own, and says `<version>:<time>`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BYTES = 4096
PLACES: Mapping[str, int] = {"main": 1, "daily": 2, "bytecode": 7}
TIME = 3
MIN_FIELDS = 8
STALE = 12 * 3600
"""Seconds after which a record of DNS says nothing any more: a cache on the way may be stuck."""
_NUMBER = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class Record:
    """The newest versions by database, and when that was written, in seconds; 0 where it isn't said."""

    versions: Mapping[str, int]
    time: int


def parse_record(text: str) -> Record:
    """Read the record of the vendor's own databases.

    Raises:
        ValueError: it isn't one.
    """
    fields = text.strip().split(":")
    if len(fields) < MIN_FIELDS:
        raise ValueError(f"it has {len(fields)} fields, and not {MIN_FIELDS}")
    versions = {database: fields[at] for database, at in PLACES.items()}
    for field in (*versions.values(), fields[TIME]):
        if not _NUMBER.fullmatch(field):
            raise ValueError(f"{field[:20]!r} is no number")
    return Record({database: int(version) for database, version in versions.items()}, int(fields[TIME]))


def parse_other(database: str, text: str) -> Record:
    """Read the record of another database.

    Raises:
        ValueError: it isn't one.
    """
    version, _, time = text.strip().partition(":")
    if not _NUMBER.fullmatch(version) or not _NUMBER.fullmatch(time):
        raise ValueError("it isn't <version>:<time>")
    return Record({database: int(version)}, int(time))
