"""What a source remembers of a repository from one look to the next, in a file of its work folder.

All of it can be found out again: a file that is damaged, or of other options, is as good as none.

* `tip`: the commit of the branch that was taken last, and `refused` the one that wasn't, as it doesn't come after it.
* `given`: by component and what of the repository it is, the commits of a branch that releases were made of, in order.
* `over`: what was too much to be fetched while a plan is made, with the limit that it broke, and the commit itself,
  if it came before that (bytes as text).
* `files`: what releases are made of, by folder and selection: neither ever changes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.model.release import SHA256, ReleaseFile
from reconciler.remembered import recall, remember

from .objects import OBJECT_ID
from .tree import Found

if TYPE_CHECKING:
    from logging import Logger
    from pathlib import Path

MAX_BYTES = 64 * 2**20


@dataclass
class Notes:
    """See above. `about` says of which repository and branch they are."""

    about: str = ""
    tip: str = ""
    refused: str = ""
    given: dict[str, list[str]] = field(default_factory=dict)
    over: dict[str, tuple[int, str]] = field(default_factory=dict)
    files: dict[str, Found] = field(default_factory=dict)


def read_notes(path: Path, about: str, log: Logger) -> Notes:
    """Read what is remembered about a repository; nothing where nothing is, or it is about another one."""
    found = recall(path, MAX_BYTES, log, lambda data: _notes(data) if data["about"] == about else None)
    return found or Notes(about)


def write_notes(path: Path, notes: Notes, log: Logger) -> None:
    """Remember it, as far as that can be written."""
    files = {
        key: [[[file.name, file.size, file.sha256, id_] for file, id_ in found.files], list(found.folders)]
        for key, found in notes.files.items()
    }
    remember(path, {**asdict(notes), "files": files}, log)


def _notes(data: Any) -> Notes:
    return Notes(
        about=data["about"],
        tip=_id(data["tip"]),
        refused=_id(data["refused"]),
        given={str(name): [_id(id_) for id_ in ids] for name, ids in data["given"].items()},
        over={_id(id_): (int(limit), str(first)) for id_, (limit, first) in data["over"].items()},
        files={str(key): _found(found) for key, found in data["files"].items()},
    )


def _found(data: Any) -> Found:
    rows, folders = data
    return Found(
        tuple((ReleaseFile(str(name), int(size), _sha256(digest)), _id(id_)) for name, size, digest, id_ in rows),
        tuple(_id(folder) for folder in folders),
    )


def _id(text: Any) -> str:
    if text and not OBJECT_ID.fullmatch(text):
        raise ValueError(f"{text!r:.60} isn't the name of an object")
    return str(text)


def _sha256(text: Any) -> str:
    if not SHA256.fullmatch(text):
        raise ValueError(f"{text!r:.60} isn't a SHA-256")
    return str(text)
