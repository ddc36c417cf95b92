"""Versions of what has none: when an artifact that a tag stands for came out, and which it is.

It came out when its annotation says, unless that can't be so: before what the tag stood for earlier, or still to come.
Then it is the time at which it was first seen. What a digest was called is kept for all controllers of the state, so
that it is called the same in the next run and by each of them, and an artifact that comes back has the version that it
had: a registry that lags behind takes nobody back.
"""

from __future__ import annotations

from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Any

from reconciler.model.version import dated_version
from reconciler.remembered import recall

from .._agreed import Agreed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.contracts import Context

MAX_BYTES = 4 * 2**20


class Dates:
    """When artifacts came out; used by several threads at once."""

    def __init__(self, file: Path, context: Context) -> None:
        """Take the file in which this was kept before all controllers shared it; read nothing yet."""
        self._file = file
        self._context = context
        self._agreed = Agreed(context.memory, "oci-dates", context.log)
        self._lock = Lock()
        self._before: Mapping[str, Mapping[str, str]] | None = None

    def version(self, place: str, sha256: str, made: datetime | None) -> str:
        """Give the version of what stands at a place (a tag of a repository) now; `made` is when it says it was.

        Raises:
            SourceError, StateError: what it is called can't be agreed on.
        """
        self._take_over(place)
        now = self._context.clock()

        def moment(known: Mapping[str, str]) -> str:
            last = max(map(_moment, known.values()), default=None)
            fits = made is not None and made <= now and (last is None or made > last)
            return (made if fits and made is not None else now).astimezone(UTC).isoformat()

        return dated_version(_moment(self._agreed.first(place, sha256, moment)), sha256)

    def _take_over(self, place: str) -> None:
        with self._lock:
            if self._before is None:
                self._before = recall(self._file, MAX_BYTES, self._context.log, _read) or {}
        if place in self._before:
            self._agreed.take_over(place, self._before[place])


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _read(data: Any) -> dict[str, dict[str, str]]:
    return {
        str(place): {str(sha256): _moment(moment).isoformat() for sha256, moment in moments.items()}
        for place, moments in data.items()
    }
