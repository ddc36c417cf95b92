"""Time spans as people write them: `90s`, `2m`, `36h`, `7d`, `2w`, and sums such as `1h30m`."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_FORM = re.compile(r"(?:[0-9]{1,9}[smhdw])+")
_PART = re.compile(r"([0-9]{1,9})([smhdw])")
MAX = timedelta(days=3650)


def parse_duration(text: str) -> timedelta:
    """Read a time span of at most ten years.

    Raises:
        ValueError: the text isn't one.
    """
    if not _FORM.fullmatch(text):
        raise ValueError(f"{text!r} is no duration (such as 90s, 2m, 36h or 7d)")
    span = timedelta(seconds=sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text)))
    if span > MAX:
        raise ValueError(f"{text!r} is longer than ten years")
    return span
