"""Adds a run's results up to its report: each client once, under the worst thing that happened to it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from reconciler.errors import TransportError
from reconciler.model.report import RECAP, Failure, Report

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from reconciler.execute.deploy import Result
    from reconciler.model.plan import Plan

_WORST = ("failed", "unreachable", "stale", "skipped", "changed", "ok")


class Tally:
    """Counts results as they come."""

    def __init__(self, groups: Iterable[str]) -> None:
        """Start from zero in these groups."""
        self._recap: dict[str, dict[str, int]] = {group: dict.fromkeys(RECAP, 0) for group in groups}
        self._failed: list[Failure] = []
        self._unreachable: list[Failure] = []
        self.failed_components: set[str] = set()
        self._downloaded = 0
        self._received = 0
        self._sent = 0
        self._saved = 0
        self._not_received = 0
        self._made = Counter[str]()

    def count(self, group: str, outcome: str, clients: int = 1) -> None:
        """Count clients of a group under one outcome of RECAP."""
        self._recap.setdefault(group, dict.fromkeys(RECAP, 0))[outcome] += clients

    def downloaded(self, received: int) -> None:
        """Count a download."""
        self._downloaded += 1
        self._received += received

    def merged(self, saved: int) -> None:
        """Count a merge, and by how many bytes its incrementals are smaller than the full."""
        self._made["merged"] += 1
        self._not_received += max(saved, 0)

    def generated(self) -> None:
        """Count an incremental that was made."""
        self._made["generated"] += 1

    def pruned(self) -> None:
        """Count something that the store let go of."""
        self._made["pruned"] += 1

    def published(self) -> None:
        """Count a change of the repository for other sites."""
        self._made["published"] += 1

    def fell_back(self) -> None:
        """Count a full that was needed because an incremental failed, in the store or on a client."""
        self._made["fallbacks"] += 1

    def server_failed(self, component: str, message: str) -> None:
        """Count a change of the store, or of the repository for other sites, that failed."""
        self._failed.append(Failure("", "", component, message))

    def unreachable(self, client: str, group: str, message: str) -> None:
        """Count a client that didn't answer when it was looked at."""
        self.count(group, "unreachable")
        self._unreachable.append(Failure(client, group, "", message))

    def failed(self, client: str, group: str, message: str) -> None:
        """Count a client that answered, and wrongly."""
        self.count(group, "failed")
        self._failed.append(Failure(client, group, "", message))

    def add(self, result: Result) -> str:
        """Count what became of one client; give the outcome that it is counted under."""
        client = result.task.client
        self._sent += result.bytes_sent
        steps = {step.component: step for step in result.task.steps}
        fulls = 0
        for outcome in result.outcomes:
            if outcome.status == "failed":
                self.failed_components.add(outcome.component)
                self._failed.append(Failure(client.name, client.group, outcome.component, outcome.message))
            elif outcome.status == "changed":
                fulls += sum(file.size for file in steps[outcome.component].files)
                self._made["fallbacks"] += outcome.component in result.fallbacks
        self._saved += max(0, fulls - result.bytes_sent)
        statuses = {outcome.status for outcome in result.outcomes}
        if result.error is not None:
            lost = isinstance(result.error, TransportError)
            if not lost:
                self.failed_components |= set(steps)
            (self._unreachable if lost else self._failed).append(
                Failure(client.name, client.group, "", result.error.brief)
            )
            statuses.add("unreachable" if lost else "failed")
        worst = next(status for status in _WORST if status in statuses)
        self.count(client.group, worst)
        return worst

    def report(self, run_id: str, plan: Plan, started: datetime, ended: datetime, *, interrupted: bool) -> Report:
        """Give the report of the run."""
        return Report(
            run_id=run_id,
            plan_id=plan.plan_id,
            started=started,
            ended=ended,
            recap={group: counts for group, counts in self._recap.items() if any(counts.values())},
            downloaded=self._downloaded,
            failed=tuple(self._failed),
            unreachable=tuple(self._unreachable),
            bytes_received=self._received,
            bytes_sent=self._sent,
            bytes_saved=self._saved,
            bytes_not_received=self._not_received,
            merged=self._made["merged"],
            generated=self._made["generated"],
            pruned=self._made["pruned"],
            published=self._made["published"],
            fallbacks=self._made["fallbacks"],
            interrupted=interrupted,
        )
