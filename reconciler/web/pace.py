"""How fast bytes come: not faster than the spec allows, and not slower than makes sense."""

from __future__ import annotations

import re
import time
from threading import Lock

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMG]i?)?B/s")
_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
RATE_PATTERN = r"^[0-9]+(\.[0-9]+)?\s*([KMG]i?)?B/s$"


def parse_rate(text: str) -> float:
    """Read a rate such as `10MiB/s`, in bytes a second.

    Raises:
        ValueError: it isn't one.
    """
    match = _RATE.fullmatch(text)
    if match is None or not float(match[1]):
        raise ValueError(f"`{text}` isn't a rate such as 10MiB/s")
    return float(match[1]) * _UNITS[match[2] or ""]


class Limit:
    """Keeps several threads together below a rate, with bursts of a quarter of a second."""

    def __init__(self, rate: float) -> None:
        """Take bytes a second; 0 is no limit."""
        self._rate = rate
        self._lock = Lock()
        self._free_at = 0.0

    @property
    def piece(self) -> int:
        """How many bytes to take at most at a time; 0 for any number."""
        return max(int(self._rate / 4), 1) if self._rate else 0

    def spend(self, size: int) -> None:
        """Wait until so many bytes may have come."""
        if not self._rate:
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now - 0.25) + size / self._rate
            pause = self._free_at - now
        if pause > 0:
            time.sleep(pause)


class Floor:
    """Notices bytes that trickle: fewer than `LEAST` a second over `SPAN` seconds."""

    LEAST = 256
    SPAN = 30.0

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._size = 0

    def count(self, size: int) -> bool:
        """Count bytes that came; True when they come too slowly."""
        self._size += size
        span = time.monotonic() - self._since
        if span < self.SPAN:
            return False
        slow = self._size < self.LEAST * span
        self._since, self._size = time.monotonic(), 0
        return slow
