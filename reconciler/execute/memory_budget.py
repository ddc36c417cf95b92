"""How many patches are made at a time: as many as there are cores, and memory for, so that nothing is swapped.

* A job begins when what it takes fits beside those that run. The largest that fits is next: small ones fill what large
  ones leave. None waits for ever: each takes its turn when what runs has ended.
* One that takes more than there is runs alone, and that is said. What the spec doesn't allow isn't planned at all.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.formats.counts import number_text
from reconciler.formats.size import size_text
from reconciler.machine import free_memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class MemoryBudget:
    """The bytes of memory that making patches may take, and how many at a time are worth it."""

    memory: int
    cores: int

    @classmethod
    def of(cls, allowed: int) -> MemoryBudget:
        """Give that of this machine: what is free, and at most what is allowed (0: all of that)."""
        free = free_memory()
        return cls(min(allowed, free) if allowed else free, os.cpu_count() or 1)

    def next(self, waiting: Sequence[int], running: Iterable[int]) -> int | None:
        """Give the place of what is to begin now, of jobs by what they take in bytes; None: wait until one ends."""
        taken = list(running)
        if not waiting or len(taken) >= self.cores:
            return None
        left = self.memory - sum(taken)
        fitting = [at for at, need in enumerate(waiting) if need <= left or not taken]
        return max(fitting, key=lambda at: waiting[at], default=None)

    def says(self, needs: Sequence[int]) -> str:
        """Say how few run at a time for want of memory; empty where there is enough for as many as there are cores."""
        wanted = min(self.cores, len(needs))
        most = sorted(needs, reverse=True)[:wanted]
        if sum(most) <= self.memory:
            return ""
        alone = sum(1 for need in needs if need > self.memory)
        if alone:
            takes = f"takes {size_text(most[0])}" if alone == 1 else f"take up to {size_text(most[0])}"
            one = "one patch" if alone == 1 else f"{number_text(alone)} patches"
            return (
                f"{one} {takes} of memory, and {size_text(self.memory)} may be used: nothing else is made beside that"
            )
        return f"fewer than {wanted} patches are made at a time, as {size_text(self.memory)} of memory may be used"
