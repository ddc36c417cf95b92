"""What all controllers of a state call the same, by whoever found it first: a name that hangs on a moment, say.

Where each found it by itself, the bytes that a lagging server gave to one of them would count as newer than they are.
It lies in the context's memory, and in the work folder as far as that had it before.
"""

from __future__ import annotations

import json
import random
import time
from hashlib import sha256
from threading import Lock
from typing import TYPE_CHECKING

from reconciler.contracts import Remembered
from reconciler.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from logging import Logger

    from reconciler.contracts import Memory

MAX_KEPT = 500
"""How many of one place are remembered, the last ones."""
_TRIES = 50
_PAUSE = 0.005
"""Seconds that are waited at most, for each time that another controller was first."""


class Agreed:
    """Texts by what they are of, apart for each place; used by several threads at once."""

    def __init__(self, memory: Memory, kind: str, log: Logger) -> None:
        """Take the memory, and a word that keeps its entries apart from others'."""
        self._memory = memory
        self._kind = kind
        self._log = log
        self._lock = Lock()
        self._known: dict[str, dict[str, str]] = {}
        self._versions: dict[str, int] = {}
        self._read = False

    def of(self, place: str) -> Mapping[str, str]:
        """Give all that is agreed on at a place, the first first.

        Raises:
            StateError: it can't be read.
        """
        with self._lock:
            if not self._read:
                self._take(self._memory.recall())
                self._read = True
            return dict(self._known.get(self._name(place), {}))

    def first(self, place: str, key: str, make: Callable[[Mapping[str, str]], str]) -> str:
        """Give what a key is called at a place; where nobody has called it anything yet, what `make` makes of the rest.

        Raises:
            SourceError: controllers disagree without end.
            StateError: it can't be read or written.
        """
        if key in (known := self.of(place)):
            return known[key]
        return self._add(place, lambda known: {key: make(known)} if key not in known else {})[key]

    def take_over(self, place: str, entries: Mapping[str, str]) -> None:
        """Agree on what was known of a place before, where nobody else has said otherwise.

        Raises:
            SourceError: controllers disagree without end.
            StateError: it can't be read or written.
        """
        if entries.keys() - self.of(place).keys():
            self._add(place, lambda known: {key: text for key, text in entries.items() if key not in known})

    def _add(self, place: str, more: Callable[[Mapping[str, str]], Mapping[str, str]]) -> Mapping[str, str]:
        name = self._name(place)
        with self._lock:
            self._take(self._memory.recall())
            for lost in range(_TRIES):
                time.sleep(random.uniform(0, _PAUSE * min(lost, 10)))  # noqa: S311 - nobody gains by guessing it
                known = self._known.get(name, {})
                added = more(known)
                if not added:
                    return known
                ours = dict([*known.items(), *added.items()][-MAX_KEPT:])
                wanted = Remembered(self._versions.get(name, 0) + 1, json.dumps(ours))
                kept = self._memory.keep({name: wanted})
                self._take(kept)
                if kept.get(name) == wanted:
                    return ours
        raise SourceError(f"what {place} is called can't be agreed on: another controller changes it all the time")

    def _take(self, entries: Mapping[str, Remembered]) -> None:
        for name, entry in entries.items():
            if not name.startswith(f"{self._kind}/"):
                continue
            try:
                data = json.loads(entry.content)
                self._known[name] = {str(key): str(text) for key, text in data.items()}
            except (ValueError, AttributeError) as error:
                self._log.warning("what is remembered of %s is damaged and passed over: %s", name, error)
                self._known[name] = {}
            self._versions[name] = entry.version

    def _name(self, place: str) -> str:
        return f"{self._kind}/{sha256(place.encode()).hexdigest()[:32]}"
