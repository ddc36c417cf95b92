"""Which artifact each release is that was offered: a plan that was saved is carried out without another look.

What wasn't offered for some weeks is forgotten.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING, Any

from reconciler.formats.oci import DIGEST, TAG
from reconciler.remembered import recall, remember

if TYPE_CHECKING:
    from collections.abc import Callable
    from logging import Logger
    from pathlib import Path

    from reconciler.model.release import ReleaseKey

MAX_BYTES = 16 * 2**20
KEPT = timedelta(days=14)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """An artifact that is a release: what its `tag` stood for (`top`), and the manifest of the release's platform.

    The tag is empty where the options name the digest. `key` is that of the quarantine, empty where its files are
    layers as they are. `attached` are digests of documents, by the names that they go along under.
    """

    component: str
    version: str
    platform: str
    repository: str
    tag: str
    top: str
    manifest: str
    key: str = ""
    attached: dict[str, str] = field(default_factory=dict)
    at: str = ""


class Record:
    """What was offered, in a file; used by several threads at once."""

    def __init__(self, file: Path, clock: Callable[[], datetime], log: Logger) -> None:
        """Read nothing yet."""
        self._file = file
        self._clock = clock
        self._log = log
        self._lock = Lock()
        self._known: dict[ReleaseKey, Offered] | None = None

    def get(self, key: ReleaseKey) -> Offered | None:
        """Give what a release is; None where it wasn't offered."""
        with self._lock:
            return self._entries().get(key)

    def keys(self) -> set[str]:
        """Give the keys of the quarantine that are in use."""
        with self._lock:
            return {entry.key for entry in self._entries().values() if entry.key}

    def add(self, entry: Offered) -> None:
        """Remember a release; `save` writes it down."""
        with self._lock:
            now = self._clock().astimezone(UTC).isoformat()
            self._entries()[entry.component, entry.version, entry.platform] = replace(entry, at=now)

    def save(self) -> None:
        """Write down what is known and not too old, as far as that can be done: also what others wrote meanwhile."""
        with self._lock:
            limit = self._clock() - KEPT
            self._known = {**self._read(), **self._entries()}
            entries = [asdict(entry) for entry in self._known.values() if datetime.fromisoformat(entry.at) > limit]
            remember(self._file, entries, self._log)

    def _entries(self) -> dict[ReleaseKey, Offered]:
        if self._known is None:
            self._known = self._read()
        return self._known

    def _read(self) -> dict[ReleaseKey, Offered]:
        found: dict[ReleaseKey, Offered] = {}

        def learn(entries: Any) -> None:
            for data in entries:
                entry = Offered(**data)
                if _is_sound(entry):
                    found[entry.component, entry.version, entry.platform] = entry

        recall(self._file, MAX_BYTES, self._log, learn)
        return found


def _is_sound(entry: Offered) -> bool:
    texts: list[Any] = [entry.component, entry.version, entry.platform, entry.repository, entry.key, entry.at]
    return bool(
        all(type(text) is str for text in texts)
        and DIGEST.fullmatch(entry.top)
        and DIGEST.fullmatch(entry.manifest)
        and (not entry.tag or TAG.fullmatch(entry.tag))
        and datetime.fromisoformat(entry.at).tzinfo
    )
