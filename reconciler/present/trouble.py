"""Trouble by its reason: thousands of clients that fail alike are a line, with their number and some examples.

What clients and libraries say has names, addresses and numbers in it. Two sentences are alike when they differ in
nothing else; shown is the first one of them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from reconciler.present.words import number_text

if TYPE_CHECKING:
    from collections.abc import Sequence

EXAMPLES = 3
_PROBLEMS_SHOWN = 12
_OWN = re.compile(r"[0-9a-f]*[0-9][0-9a-f.:]*", re.IGNORECASE)
"""Numbers, addresses, digests."""


def likeness(message: str) -> str:
    """Give what a sentence has in common with those that are alike."""
    return _OWN.sub("#", message)


def brief_list(sentences: Sequence[str]) -> list[str]:
    """Give sentences; of many that are alike, examples and how many more there are."""
    alike: dict[str, list[str]] = defaultdict(list)
    for sentence in sentences:
        who, _colon, what = sentence.partition(": ")
        alike[likeness(what or who)].append(sentence)
    shown = []
    for same in alike.values():
        shown += same[:EXAMPLES] if len(same) > EXAMPLES + 1 else same
        if len(same) > EXAMPLES + 1:
            shown.append(f"... and {number_text(len(same) - EXAMPLES)} more like these")
    more = len(shown) - _PROBLEMS_SHOWN
    return shown if more <= 1 else [*shown[:_PROBLEMS_SHOWN], f"... and {number_text(more)} more; --diff shows all"]
