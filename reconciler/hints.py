"""The suggestions in messages: what was probably meant, and what there is."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_LISTED = 20
MAX_COMPARED = 5000


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Give `did you mean x?` when one of the known words is near; an empty string otherwise."""
    folded = {name.lower().replace("-", "_"): name for name in list(known)[:MAX_COMPARED] if name != word}
    near = get_close_matches(word[:100].lower().replace("-", "_"), folded, n=1, cutoff=0.6)
    return f"did you mean `{folded[near[0]]}`?" if near else ""


def listing(known: Iterable[str], intro: str = "there is") -> str:
    """Give `there is: a, b, c`, cut where it gets long; an empty string when there is nothing."""
    names = sorted(known)
    if not names:
        return ""
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return f"{intro}: {', '.join(names[:MAX_LISTED])}{more}"


def suggestion(word: str, known: Iterable[str], intro: str = "there is") -> str:
    """Give the near word, or else the list of what there is."""
    names = list(known)
    return did_you_mean(word, names) or listing(names, intro)
