"""How often somebody may try to sign in, by address and altogether; what is remembered of it is bounded."""

from __future__ import annotations

import time
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BY_ADDRESS = 10
ALTOGETHER = 300
SPAN = 300.0
"""Seconds in which so many tries may fail."""
MOST = 1024
"""Addresses that are remembered."""
_ALL = ""


class Tries:
    """Counts what failed. Safe to use from several threads."""

    def __init__(self, watch: Callable[[], float] = time.monotonic) -> None:
        """Count by a watch, in seconds."""
        self._watch = watch
        self._lock = Lock()
        self._failed: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, address: str) -> int:
        """Give in how many seconds somebody may try again; 0: now."""
        with self._lock:
            return max(self._wait(_network(address), BY_ADDRESS), self._wait(_ALL, ALTOGETHER))

    def fail(self, address: str) -> None:
        """Take note that a try failed."""
        with self._lock:
            for key, most in ((_network(address), BY_ADDRESS), (_ALL, ALTOGETHER)):
                self._failed[key] = self._level(key, most) + 1, self._watch()
                self._failed.move_to_end(key)
            while len(self._failed) > MOST:
                self._failed.popitem(last=False)

    def _level(self, key: str, most: int) -> float:
        """Give how many tries count yet: they are forgotten one by one, so many in a span as may fail in it."""
        level, at = self._failed.get(key, (0.0, 0.0))
        return max(level - (self._watch() - at) * most / SPAN, 0.0)

    def _wait(self, key: str, most: int) -> int:
        over = self._level(key, most) - (most - 1)
        return int(over * SPAN / most) + 1 if over > 0 else 0


def _network(address: str) -> str:
    """Give what one party has: an address, or of IPv6 the network of 64 bits."""
    try:
        found = ip_address(address)
    except ValueError:
        return "?"
    return str(found) if not isinstance(found, IPv6Address) else f"{int(found) >> 64:x}"
