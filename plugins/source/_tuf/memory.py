"""What was verified of a repository, kept where all controllers of a state have it: none of them can be told less.

The client of python-tuf holds what a repository says to what lies in its folder. Before each look that folder gets what
another controller verified since; after it, all get what was found. What protects from going back is remembered: the
roots, the timestamp and the snapshot. All else is named by these, with its version.

It hangs on the root that the spec names. Where that was replaced, what was verified from the one before still counts,
as far as it can be verified from the new one.
"""

from __future__ import annotations

import json
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from reconciler.contracts import Remembered
from reconciler.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from reconciler.contracts import Context

MAX_BYTES = 8 * 2**20
_ROLES = ("timestamp.json", "snapshot.json")
_ROOT = re.compile(r"root_history/([1-9][0-9]{0,8})\.root\.json")


class Verified:
    """The memory of one repository, whose metadata lies in a folder."""

    def __init__(self, context: Context, metadata: Path, root: bytes, *, beside: str = "") -> None:
        """Take the folder, and the root that the spec names; `beside` keeps several of one source apart."""
        self._context = context
        self._metadata = metadata
        self._space = f"tuf{beside}/{sha256(root).hexdigest()[:16]}/"
        self._all = f"tuf{beside}/"

    def bring(self) -> None:
        """Bring into the folder what others verified since, and tell them what lies there.

        Raises:
            StateError: it can't be read or written.
            OSError: the folder can't be written.
        """
        known = self._recalled()
        for name, entry in known.items():
            if _version(self._read(name)) < entry.version:
                place = self._metadata / name
                place.parent.mkdir(parents=True, exist_ok=True)
                write_whole(place, entry.content.encode())
        self.tell()

    def tell(self) -> None:
        """Tell all controllers what lies in the folder, where that is newer than what they know.

        Raises:
            StateError: it can't be written.
        """
        here = {name: Remembered(_version(text), text) for name in self._names() if (text := self._read(name))}
        known = self._context.memory.recall()
        newer = {
            f"{self._space}{name}": entry
            for name, entry in here.items()
            if entry.version > known.get(f"{self._space}{name}", _NOTHING).version
        }
        if newer:
            self._context.memory.keep(newer)

    def _recalled(self) -> Mapping[str, Remembered]:
        """Give what is remembered by the name of its file: from this root, or the newest from another one."""
        own: dict[str, Remembered] = {}
        others: dict[str, Remembered] = {}
        for whole, entry in self._context.memory.recall().items():
            if not whole.startswith(self._all):
                continue
            name = whole.removeprefix(self._all).partition("/")[2]
            if not (name in _ROLES or _ROOT.fullmatch(name)) or _version(entry.content) != entry.version:
                continue
            if whole.startswith(self._space):
                own[name] = entry
            elif others.get(name, _NOTHING).version < entry.version:
                others[name] = entry
        return {**others, **own}

    def _names(self) -> Iterator[str]:
        yield from _ROLES
        for path in sorted((self._metadata / "root_history").glob("*.root.json")):
            name = f"root_history/{path.name}"
            if _ROOT.fullmatch(name):
                yield name

    def _read(self, name: str) -> str:
        return _text(self._metadata / name)


def version_of(path: Path) -> int:
    """Give the version that a file of metadata says of itself; 0 where it is none."""
    return _version(_text(path))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        return data.decode() if len(data) <= MAX_BYTES else ""
    except (OSError, UnicodeDecodeError):
        return ""


_NOTHING = Remembered(0, "")


def _version(text: str) -> int:
    """Give the version that metadata says of itself; 0 where it is none."""
    try:
        found: Any = json.loads(text)["signed"]["version"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return 0
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 < found < 2**31 else 0
