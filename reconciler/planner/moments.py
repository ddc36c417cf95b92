"""When what a plan defers becomes due by the time alone.

Soaks, windows, blackouts, occurrences of schedules and the age of releases say so themselves (`Finding.at`); within an
occurrence each client has a moment of its own. What waits for somebody, or for clients that don't answer, has none.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from reconciler.model.names import places_of
from reconciler.planner.planner import judge_all
from reconciler.planner.timing import next_turn

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.model.plan import Finding, Plan
    from reconciler.planner.inputs import Wanted


class Moments:
    """Tells of what a plan defers when that is over."""

    def __init__(self, wanted: Wanted, plan: Plan, now: datetime) -> None:
        self._plan = plan
        self._now = now
        self._verdicts = judge_all(wanted, now)

    def of(self, finding: Finding) -> datetime | None:
        """Give when the first clients of a finding are due; None where time alone doesn't make them so."""
        verdict = self._verdicts.get(finding.group, {}).get(finding.component)
        if finding.at is not None or verdict is None or verdict.schedule is None or verdict.reason != finding.reason:
            return finding.at
        members = self._plan.members
        places = chain.from_iterable(places_of(members[one]) for one in finding.members)
        return next_turn(verdict.schedule, self._now, places)

    def next(self) -> datetime | None:
        """Give the first moment after now at which something becomes due."""
        found = [self.of(finding) for finding in (*self._plan.deferred, *self._plan.held)]
        found += [step.next_at for step in self._plan.rollouts]
        return min((moment for moment in found if moment is not None and moment > self._now), default=None)
