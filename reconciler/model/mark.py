"""Marks: what a client says of itself at a look, equal as long as a look would find the same (client/mark.sh).

A client whose mark is still the same needs no look. What is remembered of a client's mark is a text:

    ?                           the next look is to make one
    MARK[+][?] TIME KEY         made at TIME, when the client had what KEY stands for; a `+` is that of the client
                                `?`: it isn't believed yet

* A change may come in the same instant as a mark, and have the same time as one before it: some file systems and tools
  know seconds only. So a mark is believed when a look finds all as it was for the second time, some seconds later.
* It is believed for what the state has of the client when it was made; whatever is written there later ends it.
* Once a day a client is looked at all the same: times are what somebody may have set.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta

MARK = 40
"""Characters of a mark, of those of a SHA-256: 160 bits."""
WANTED = "?"
"""Asks for a mark, where there is none to compare."""
ASKED = re.compile(r"\?|[0-9a-f]{40}\+?\??")
"""What a client may be asked for: to compare a mark, or (`?`) to be looked at and to make one."""
SAID = re.compile(r"[0-9a-f]{40}\+?")
"""A mark as a client says it; with a `+` it has targets or watched folders outside of install_root."""
LASTS = timedelta(hours=24)
SETTLES = timedelta(seconds=5)
"""No clock of files is coarser than 2 seconds (that of FAT)."""
_REMEMBERED = re.compile(r"([0-9a-f]{40}\+?)(\??) ([0-9]{1,10}) ([0-9a-f]{16})")


def compares(asked: str) -> bool:
    """Say whether a client that is asked for this may answer that it is the same."""
    return bool(asked) and not asked.endswith("?")


def asked_for(remembered: str, now: datetime, fingerprint: str | None, settings: str) -> str:
    """Give what to ask a client for; nothing where it is only to be looked at.

    `fingerprint` and `settings` are what the state has of it.
    """
    known = _REMEMBERED.fullmatch(remembered)
    if known is None or known[4] != _key(fingerprint, settings):
        return WANTED if remembered == WANTED else ""
    fresh = timedelta(0) <= _age(known[3], now) <= LASTS  # a clock that was set back says nothing
    return known[1] + known[2] if fresh else f"{known[1]}?"


def to_remember(said: str, before: str, at: datetime, fingerprint: str, settings: str) -> str:
    """Give what to remember of a mark that was said `at` a time with a look; `before` is what was remembered then."""
    key, known = _key(fingerprint, settings), _REMEMBERED.fullmatch(before)
    if known is None or (known[1], known[4]) != (said, key):
        return f"{said}? {_seconds(at)} {key}"
    age = _age(known[3], at)
    if known[2] and timedelta(0) <= age < SETTLES:
        return before
    return f"{said}{known[2] if age < SETTLES else ''} {_seconds(at)} {key}"


def _key(fingerprint: str | None, settings: str) -> str:
    return hashlib.sha256(f"{fingerprint} {settings}".encode()).hexdigest()[:16]


def _seconds(at: datetime) -> int:
    return max(0, int(at.timestamp()))


def _age(since: str, now: datetime) -> timedelta:
    return now - datetime.fromtimestamp(int(since), UTC)
