"""How much of what a command is fed may be under way: enough for the line, and no more than sshd is quick with.

sshd grants 2 MiB. What comes faster than its command reads lies in a buffer of sshd, which grows by copying all that is
in it, and into memory that the system has to give it anew: a file of 60 MB costs it a third more than with 1 MiB under
way. But a line is only full with as much under way as it carries from one confirmation to the next. So a near host gets
less ahead, and a far one all that it grants. How far it is shows the time in which it opens a channel: that can be
longer than the line takes, if the host is busy, and never shorter. So nobody is ever waited for in vain.
"""

from __future__ import annotations

NEAR = 1024 * 1024
"""Bytes that are under way to a host next door."""
FASTEST = 125_000_000
"""Bytes a second of a line that must not wait: a gigabit."""
POLL = 0.005
"""Seconds between two looks at whether the client takes more; only when it takes nothing at the moment."""


def ahead(window: int, round_trip: float) -> int:
    """Give the bytes that may be under way, of so many that the host grants; `round_trip` are seconds."""
    line = FASTEST * (max(round_trip, 0.0) + POLL)
    return window if line >= window else min(window, max(NEAR, int(line)))
