"""What changed in a spec, for those who review a plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SpecChangeKind = Literal["added", "removed", "changed", "reordered", "more"]


@dataclass(frozen=True, slots=True)
class SpecChange:
    """A difference between two specs: the dotted path of what differs, and the sentence that says how.

    `safety`: it takes away something that protects the fleet. `count` is how many differences it stands
    for: with the kind `more` those that aren't listed.
    """

    path: str
    kind: SpecChangeKind
    says: str
    safety: bool = False
    count: int = 1
