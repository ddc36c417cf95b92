"""A vendor of ClamAV databases and what its mirrors have: files in a folder, signed with the keys of tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from reconciler.formats.clam_signature import numbers_of
from tests.clam_signer import KEYS, Authority, Made, cdiff, make, script

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PLACES = {"main": 1, "daily": 2, "bytecode": 7}


def write_keys(file: Path) -> Path:
    """Write the file of keys that an operator has."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(dict(numbers_of(KEYS))))
    return file


class ClamVendor:
    """What was published, by database; and a folder that a server, or a source, has for a mirror."""

    def __init__(self, folder: Path, authority: Authority | None = None) -> None:
        self.folder = folder
        self.authority = authority
        self.newest: dict[str, Made] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def publish(self, database: str, version: int, contents: Mapping[str, bytes], **more: Any) -> Made:
        """Publish a version: the whole file, the increment from the one before, signatures, and then the record."""
        made = make(database, version, contents, **more)
        before = self.newest.get(database)
        if before is not None:
            self.put(f"{database}-{version}.cdiff", cdiff(version, script(before, made)))
        self.newest[database] = made
        self.put_whole(made)
        self.write_record()
        return made

    def put_whole(self, made: Made) -> None:
        self.put(f"{made.database}.cvd", made.cvd)
        if self.authority is not None:
            name = f"{made.database}-{made.header.version}.cvd.sign"
            (self.folder / name).write_bytes(self.authority.sign(made.cvd))

    def put(self, name: str, data: bytes) -> None:
        (self.folder / name).write_bytes(data)
        if self.authority is not None and name.endswith(".cdiff"):
            (self.folder / f"{name}.sign").write_bytes(self.authority.sign(data))

    def record(self, time: int = 1_796_000_000) -> str:
        fields = ["1.4.6", "0", "0", str(time), "1", "90", "0", "0"]
        for database, at in PLACES.items():
            if database in self.newest:
                fields[at] = str(self.newest[database].header.version)
        return ":".join(fields)

    def write_record(self) -> None:
        (self.folder / "dns.txt").write_text(self.record() + "\n")
