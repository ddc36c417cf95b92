"""The link that `serve` shows where it listens on loopback: whoever can read what it says is the one who started it.

It is good once, and for ten minutes. A GET never uses it up: programs that show what is behind a link open it, too.
"""

from __future__ import annotations

import secrets
import time
from hmac import compare_digest
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LASTS = 600.0
"""Seconds for which a link is good."""
_BYTES = 32


class Link:
    """The one link that is good, if one is. Safe to use from several threads."""

    def __init__(self, watch: Callable[[], float] = time.monotonic) -> None:
        """Know none yet; `watch` counts seconds."""
        self._watch = watch
        self._lock = Lock()
        self._secret = ""
        self._until = 0.0

    def renew(self) -> str:
        """Make one; whatever was before is good no more."""
        with self._lock:
            self._secret = secrets.token_urlsafe(_BYTES)
            self._until = self._watch() + LASTS
            return self._secret

    def is_good(self, shown: str) -> bool:
        """Say whether somebody shows the link; it stays good."""
        with self._lock:
            return self._fits(shown)

    def use(self, shown: str) -> bool:
        """Say whether somebody shows the link, which is then used up."""
        with self._lock:
            fits = self._fits(shown)
            if fits:
                self._secret = ""
            return fits

    def _fits(self, shown: str) -> bool:
        is_it = compare_digest(self._secret.encode(), shown.encode("utf-8", "replace"))
        return is_it and bool(self._secret) and self._watch() < self._until
