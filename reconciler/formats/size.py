"""Amounts of bytes as people write them, `64MiB`, `2GB`, `512KiB`, `0B`, and as they read them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SIZE_PATTERN = r"^[0-9]{1,6}([.][0-9]{1,3})?\s?([KMGT]i?)?B$"
_FORM = re.compile(r"([0-9]{1,6}(?:[.][0-9]{1,3})?)\s?([KMGT]i?)?B")
_SHOWN = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_UNITS: Mapping[str, int] = {
    "": 1,
    **{f"{unit}{i}": (1024 if i else 1000) ** at for at, unit in enumerate("KMGT", 1) for i in ("", "i")},
}


def parse_size(text: str) -> int:
    """Read a number of bytes.

    Raises:
        ValueError: the text isn't one.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no size (such as 64MiB or 2GB)")
    return round(float(match[1]) * _UNITS[match[2] or ""])


def size_text(size: float) -> str:
    """Write a number of bytes as people read it: `716 B`, `20.5 MiB`."""
    unit = 0
    while size >= 1024 and unit < len(_SHOWN) - 1:
        size /= 1024
        unit += 1
    return f"{size:.0f} {_SHOWN[unit]}" if unit == 0 else f"{size:.1f} {_SHOWN[unit]}"
