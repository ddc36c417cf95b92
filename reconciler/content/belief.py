"""Which content of a folder is believed: what was hashed once, and looks as it did then.

* Size, mtime and inode are remembered in `stamps.json`; what differs from that is hashed again, or everything where
  that is asked for.
* What is taken out is hashed once by each process before it is believed: size, mtime and inode don't show bits that
  turned over.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from reconciler.content.arrivals import settle
from reconciler.errors import DamagedError
from reconciler.files import is_sound
from reconciler.formats.text import read_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.content.arrivals import Arrivals, Wanted

Stamp = tuple[int, int, int]


class Belief:
    """What is believed of content, by its digest; `place_of` gives the path of one."""

    def __init__(self, file: Path, place_of: Callable[[str], str], arrivals: Arrivals) -> None:
        """Read nothing yet."""
        self._file = file
        self._place_of = place_of
        self._arrivals = arrivals
        self._fresh: dict[str, Stamp] = {}  # hashed by this process, and not in the file yet
        self._hashing = Lock()

    def take(self, sha256: str) -> None:
        """Believe content that was hashed on its way in.

        Raises:
            OSError: it isn't there.
        """
        self._fresh[sha256] = _stamp(os.lstat(self._place_of(sha256)))

    def look(self, *, verify: bool = False) -> Look:
        """Begin to look at content; `verify` hashes all that is looked at."""
        stamps = self._read()
        kept = {key: stamp for key, stamp in stamps.items() if key not in self._fresh}
        return Look(self, stamps, kept, verify=verify)

    def sound(self, sha256: str) -> Path:
        """Give the place of content that is what its name says; what isn't counts as damaged from then on.

        Raises:
            DamagedError: it has other bytes. OSError: it can't be read.
        """
        path = Path(self._place_of(sha256))
        with self._hashing:
            stamp = _stamp(path.lstat())
            if self._fresh.get(sha256) == stamp:
                return path
            try:
                sound = is_sound(path, sha256)
            except OSError:
                self._forget(sha256)
                raise
            if not sound:
                self._forget(sha256)
                raise DamagedError(f"{path} has other bytes than its name says")
            self._fresh[sha256] = stamp
            return path

    def examine(self, file: Wanted, stamps: dict[str, Stamp], *, verify: bool) -> str:
        """Say what is wrong with content, and correct the stamps by what was found; empty when nothing is.

        Raises:
            OSError: it can't be read.
        """
        place = self._place_of(file.sha256)
        try:
            found = os.lstat(place)
        except FileNotFoundError:
            return f"{place} is missing"
        stamp = _stamp(found)
        if found.st_size != file.size:
            return f"{place} has {found.st_size} bytes, not {file.size}"
        if verify or stamps.get(file.sha256) != stamp:
            if not is_sound(Path(place), file.sha256):
                stamps.pop(file.sha256, None)
                self._fresh.pop(file.sha256, None)
                return f"{place} has other bytes than its name says"
            stamps[file.sha256] = stamp
        return ""

    def write(self, stamps: Mapping[str, Stamp]) -> None:
        """Remember stamps."""
        try:
            with self._arrivals.temporary() as (handle, temporary):
                handle.write(json.dumps(stamps).encode())
                settle(handle, temporary, self._file)
        except OSError:
            return  # a store that can't be written can be read all the same

    def _forget(self, sha256: str) -> None:
        """Have content hashed again whenever somebody looks at it."""
        self._fresh.pop(sha256, None)
        stamps = self._read()
        if stamps.pop(sha256, None) is not None:
            self.write(stamps)

    def _read(self) -> dict[str, Stamp]:
        """Read the stamps, and those of what was written since; without them everything is hashed again."""
        try:
            data = read_json(self._file.read_bytes())
            known = {str(key): (int(size), int(mtime), int(inode)) for key, (size, mtime, inode) in data.items()}
        except (OSError, ValueError, TypeError, AttributeError, OverflowError):
            known = {}
        return {**known, **self._fresh}


class Look:
    """One look at content, which examines each once."""

    def __init__(self, belief: Belief, stamps: dict[str, Stamp], kept: Mapping[str, Stamp], *, verify: bool) -> None:
        """Take what is believed, and what of that is in the file."""
        self._belief = belief
        self._stamps = stamps
        self._kept = kept
        self._verify = verify
        self._health: dict[str, str] = {}

    def trouble(self, file: Wanted) -> str:
        """Say what is wrong with the content of a file; empty when nothing is.

        Raises:
            OSError: it can't be read.
        """
        if file.sha256 not in self._health:
            self._health[file.sha256] = self._belief.examine(file, self._stamps, verify=self._verify)
        return self._health[file.sha256]

    def keep(self) -> None:
        """Remember what was found."""
        if self._stamps != self._kept:
            self._belief.write(self._stamps)


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_size, found.st_mtime_ns, found.st_ino
