"""Commits of git whose files are unpacked for a controller, and where what isn't of the commit is.

    GIT-FOLDER/commits/COMMIT/tree/...       the files
    GIT-FOLDER/commits/COMMIT/commit.json    which commit it is, who signed it, and where relative places start
    GIT-FOLDER/current                       a link to the tree of the commit in force
    GIT-FOLDER/learnt/...                    what was learnt beside files of commits: keys of hosts

A commit's folder is replaced by the next one, so nothing that must last is in it: what updoser writes and what is of
this machine (store, state, keys) starts in the folder that the controller was started in. The note lies beside the
tree, and not in it: nothing that is committed can pass for one.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from reconciler.files import write_whole

COMMITS, TREE = "commits", "tree"
_NOTE = "commit.json"
_MOST = 2**16


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A commit that is unpacked: `signer` is empty where nobody's signature was asked for; `home` is a folder."""

    commit: str
    signer: str
    home: str


def write_note(folder: Path, unpacked: Unpacked) -> None:
    """Note beside a tree what it is: from then on it counts as whole.

    Raises:
        OSError: it can't be written.
    """
    write_whole(folder / _NOTE, json.dumps(asdict(unpacked)).encode())


def note_of(folder: Path) -> Unpacked | None:
    """Give what stands beside a tree; None where nothing does, or nothing that can be read."""
    try:
        with (folder / _NOTE).open("rb") as file:
            values = json.loads(file.read(_MOST))
        found = Unpacked(**values)
    except (OSError, ValueError, TypeError):
        return None
    return found if all(isinstance(value, str) for value in asdict(found).values()) else None


def unpacked_at(file: Path) -> tuple[Path, Unpacked] | None:
    """Give where a file of an unpacked commit really is, and which commit that is; None for other files.

    A link to the commit in force is followed once, so that all is read from one commit while it changes.
    """
    real = Path(os.path.realpath(file))
    found = _found(real)
    return (real, found[1]) if found else None


def tree_of(file: Path) -> Path | None:
    """Give the folder of the commit that a file is of, by its real path; None where it is of none."""
    found = _found(file)
    return found[0] if found else None


def _found(real: Path) -> tuple[Path, Unpacked] | None:
    for tree in reversed(real.parents):  # the outermost: what is committed may look like it, too
        if tree.name == TREE and tree.parent.parent.name == COMMITS:
            note = note_of(tree.parent)
            if note and note.commit == tree.parent.name:
                return tree, note
    return None
