"""Shares of counts, as they are written: 69 of 3,000 clients are 2.3 %, and no more than that.

In binary fractions 2.3 * 3000 is less than 69 * 100, so shares are compared and multiplied as exact fractions.
"""

from __future__ import annotations

from fractions import Fraction


def exact(number: float) -> Fraction:
    """Give the decimal fraction that somebody wrote; the number must be finite."""
    return Fraction(str(number))


def of_percent(percent: float | str) -> float:
    """Give the share (1 is all) that is nearest to a percentage.

    Raises:
        ValueError: it isn't a finite number.
    """
    return float(exact(float(percent)) / 100)


def exceeds(part: int, whole: int, percent: float) -> bool:
    """Say whether a part of a whole is more than a percentage."""
    return part * 100 > exact(percent) * whole
