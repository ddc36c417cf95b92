"""Who is to be changed: counted by cohorts before anything begins, and read from the state as there is room for it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from reconciler.dispatch.jobs import Job
from reconciler.execute.deploy import Task
from reconciler.guards import Caught, blaming
from reconciler.model.change import Settings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from datetime import datetime

    from reconciler.execute.deploy import Stepper
    from reconciler.execute.tally import Tally
    from reconciler.model.change import Deploy
    from reconciler.model.deploy import Step
    from reconciler.model.plan import Plan
    from reconciler.workspace import Workspace

READ_AT_ONCE = 500
"""Clients that are read from the state in one go."""
Parts = tuple[tuple["Step", ...], tuple["Step", ...]]
"""The steps of a cohort: for now, and those that are sent early."""
_NOTHING: Parts = ((), ())


class WorkList:
    """The clients of a plan that have something to do, with the due changes whose releases are in the store."""

    def __init__(self, plan: Plan, work: Workspace, stepper: Stepper, tally: Tally, sound: Collection[str]) -> None:
        """Make the steps of all cohorts; `sound` are the digests of releases that may be sent.

        `clients` counts those that have something to do, and `bytes` what they are to be sent.
        """
        self._plan = plan
        self._work = work
        self._tally = tally
        now = work.means.clock()
        deploys: dict[str, list[Deploy]] = defaultdict(list)
        for deploy in plan.deploys:
            if deploy.to_digest not in sound:
                tally.give_up(deploy.to_digest)
            elif is_due(deploy, now):
                for cohort in deploy.members:
                    deploys[cohort].append(deploy)
        self._settings = {
            cohort: change for change in plan.settings if is_due(change, now) for cohort in change.members
        }
        self._steps = _steps(deploys, stepper, tally)
        self._changes: dict[str, tuple[Deploy | Settings, ...]] = {
            cohort: (*deploys[cohort], *([self._settings[cohort]] if cohort in self._settings else []))
            for cohort in dict.fromkeys((*self._steps, *self._settings))
        }
        self.clients, self.bytes = self._count()

    def _count(self) -> tuple[int, int]:
        clients = total = 0
        for cohort in self._changes:
            steps = self._steps.get(cohort, _NOTHING)
            size = sum(payload_size(step) for part in steps for step in part)
            for name in self._plan.members[cohort]:
                left = self._left(name, cohort)
                if any(left) or cohort in self._settings:
                    clients += 1
                    same = left[0] is steps[0] and left[1] is steps[1]
                    total += size if same else sum(payload_size(step) for part in left for step in part)
        return clients, total

    def _left(self, name: str, cohort: str) -> Parts:
        """Give what of a cohort's steps wasn't tried with a client: the very same tuples where that is all."""
        due, early = self._steps.get(cohort, _NOTHING)
        if not self._tally.counted(name):
            return due, early
        return self._untried(name, due), self._untried(name, early)

    def _untried(self, name: str, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        left = tuple(step for step in steps if not self._tally.was_tried(name, step.component, step.to_version))
        return steps if len(left) == len(steps) else left

    @property
    def cohorts(self) -> Mapping[str, Parts]:
        """The steps of those cohorts that have some, by their ids."""
        return self._steps

    def streams(self, relay_of: Mapping[str, str]) -> list[tuple[str, Iterator[Job[Task]]]]:
        """Give jobs, a stream for each site and one for those of none; in each place one for each relay.

        With a stream comes the relay that its clients wait for, by `relay_of` their cohort; those that wait for none
        come first.
        """
        places: dict[tuple[str, str], list[str]] = defaultdict(list)
        for cohort, changes in self._changes.items():
            places[relay_of.get(cohort, ""), self._work.spec.site_of(changes[0].group)].append(cohort)
        return [(relay, self._jobs(places[relay, site])) for relay, site in sorted(places)]

    def _jobs(self, cohorts: Iterable[str]) -> Iterator[Job[Task]]:
        profiles = self._work.state.profiles()
        for cohort in cohorts:
            members = self._plan.members[cohort]
            for start in range(0, len(members), READ_AT_ONCE):
                for client, has, fingerprint in self._work.state.working(members[start : start + READ_AT_ONCE]):
                    due, early = self._left(client.name, cohort)
                    settings = has if cohort in self._settings else None
                    if due or early or settings is not None:
                        profile = profiles.get(fingerprint) if fingerprint else None
                        task = Task(client, due, profile, early=early, settings=settings, changes=self._changes[cohort])
                        yield Job(client, task)


def _steps(deploys: Mapping[str, list[Deploy]], stepper: Stepper, tally: Tally) -> dict[str, Parts]:
    """Give the steps by cohort: those for now, and those that are sent early. One that can't be made is told."""
    told: set[str] = set()

    def made(change: Deploy) -> tuple[Step, ...]:
        with Caught() as caught, blaming(f"making the step to {change.component} {change.to}"):
            return stepper.steps((change,))
        if caught.brief not in told:
            tally.server_failed(change.component, caught.brief)
        told.add(caught.brief)
        return ()

    def part(changes: list[Deploy], *, early: bool) -> tuple[Step, ...]:
        return tuple(step for change in changes if change.early is early for step in made(change))

    return {cohort: (part(changes, early=False), part(changes, early=True)) for cohort, changes in deploys.items()}


def is_due(change: Deploy | Settings, now: datetime) -> bool:
    """Say whether a change may be made at a time."""
    begun = isinstance(change, Settings) or change.not_before is None or change.not_before <= now
    return begun and (change.not_after is None or now < change.not_after)


def payload_size(step: Step) -> int:
    """Give how many bytes a client is to be sent for a step."""
    return sum(part.size for part in step.payload)
