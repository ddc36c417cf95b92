"""Versions of what has none: when an artifact that a tag stands for came out, and which it is.

It came out when its annotation says, unless that can't be so: before what the tag stood for earlier, or still to come.
Then it is the time at which it was first seen. What a digest was called is kept, so that it is called the same in the
next run, and an artifact that comes back has the version that it had: a registry that lags behind takes nobody back.
"""

from __future__ import annotations

from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Any

from reconciler.model.version import dated_version
from reconciler.remembered import recall, remember

if TYPE_CHECKING:
    from collections.abc import Callable
    from logging import Logger
    from pathlib import Path

MAX_BYTES = 4 * 2**20
MAX_KEPT = 500
"""How many of one tag are remembered, the last ones."""


class Dates:
    """When artifacts came out, in a file; used by several threads at once."""

    def __init__(self, file: Path, clock: Callable[[], datetime], log: Logger) -> None:
        """Read nothing yet."""
        self._file = file
        self._clock = clock
        self._log = log
        self._lock = Lock()

    def version(self, place: str, sha256: str, made: datetime | None) -> str:
        """Give the version of what stands at a place (a tag of a repository) now; `made` is when it says it was."""
        with self._lock:
            known = self._read()
            moments = known.setdefault(place, {})
            if sha256 not in moments:
                now = self._clock()
                last = max(moments.values(), default=None)
                fits = made is not None and made <= now and (last is None or made > last)
                moments[sha256] = made if fits and made is not None else now
                known[place] = dict(list(moments.items())[-MAX_KEPT:])
                self._write(known)
            return dated_version(moments[sha256], sha256)

    def _read(self) -> dict[str, dict[str, datetime]]:
        def moments_of(data: Any) -> dict[str, dict[str, datetime]]:
            return {
                place: {sha256: datetime.fromisoformat(moment).astimezone(UTC) for sha256, moment in moments.items()}
                for place, moments in data.items()
            }

        return recall(self._file, MAX_BYTES, self._log, moments_of) or {}

    def _write(self, known: dict[str, dict[str, datetime]]) -> None:
        data = {
            place: {sha256: moment.astimezone(UTC).isoformat() for sha256, moment in moments.items()}
            for place, moments in known.items()
        }
        remember(self._file, data, self._log)
