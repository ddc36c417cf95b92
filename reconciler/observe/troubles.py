"""What is the matter with clients that can't be reached or fail: counted by reason, each client once.

Why one can't be reached is known from the last look at it; how one failed, from the journal. Only of a few examples
the messages are read: a fleet that is off as a whole is counted by its cohorts.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.model.deploy import MACHINE
from reconciler.model.plan import NEVER_SEEN
from reconciler.model.report import Failure, Quarantined, Troubled
from reconciler.reasons import REASONS, reason_of
from reconciler.storage.judging import lacks

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from reconciler.model.plan import Cohort
    from reconciler.reasons import Reason
    from reconciler.workspace import Workspace

EXAMPLES = 3
_ORDER = {reason: at for at, reason in enumerate(REASONS)}


def find_troubles(work: Workspace, cohorts: Iterable[Cohort]) -> tuple[Troubled, ...]:
    """Give the troubles of the clients of cohorts, those of the most clients first.

    Raises:
        StateError: the state can't be read.
    """
    cohorts = tuple(cohorts)
    found = [*_unreached(work, cohorts), *_failing(work, cohorts)]
    return tuple(sorted(found, key=lambda each: (-each.clients, _ORDER[each.reason])))


def left_alone(work: Workspace, now: datetime) -> tuple[Quarantined, ...]:
    """Give the clients in quarantine, each with what it said when it failed last.

    Raises:
        StateError: the state can't be read.
    """
    found = work.state.quarantined(now, work.spec.quarantine.span)
    said = work.state.last_failures([entry.client for entry in found if not entry.message])
    return tuple(
        replace(entry, message=said[entry.client].message) if entry.client in said else entry for entry in found
    )


def _unreached(work: Workspace, cohorts: Iterable[Cohort]) -> Iterable[Troubled]:
    dark: dict[Reason, list[Cohort]] = defaultdict(list)
    for cohort in cohorts:
        if cohort.unreachable:
            dark["no_way"].append(cohort)
        elif cohort.unknown and cohort.unknown != NEVER_SEEN:
            dark[reason_of(cohort.unknown)].append(cohort)
    first = {
        reason: heapq.nsmallest(
            EXAMPLES,
            (
                (name, group, cohort)
                for cohort in alike
                for group, members in cohort.parts()
                for name in heapq.nsmallest(EXAMPLES, members)
            ),
            key=_name,
        )
        for reason, alike in dark.items()
    }
    said = work.state.lines_of([name for named in first.values() for name, *_rest in named])
    for reason, alike in dark.items():
        examples = (
            Failure(
                client=name,
                group=group,
                component="",
                message=cohort.unreachable or (said[name].error if name in said else "") or cohort.unknown,
                fault=MACHINE,
                reason=reason,
            )
            for name, group, cohort in first[reason]
        )
        groups = sorted({group for cohort in alike for group, _count in cohort.by_group})
        yield Troubled(reason, sum(len(cohort.members) for cohort in alike), tuple(groups), tuple(examples))


def _name(entry: tuple[str, str, Cohort]) -> str:
    return entry[0]


def _failing(work: Workspace, cohorts: Iterable[Cohort]) -> Iterable[Troubled]:
    failing, in_rollouts = work.state.failing(), work.state.failed_in_rollouts(work.spec.components)
    last = {**work.state.last_failures(in_rollouts.keys() - failing.keys()), **failing}
    concerned = frozenset(failing.keys() | in_rollouts.keys())
    alike: dict[Reason, list[Failure]] = defaultdict(list)
    for cohort in cohorts if failing or in_rollouts else ():
        if cohort.profile is None or cohort.unreachable:
            continue
        for group, members in cohort.parts():
            for name in concerned.intersection(members):
                behind = any(
                    lacks(work.spec.components[component].component.scheme, cohort.profile, component, version)
                    for component, version, _said in in_rollouts.get(name, ())
                )
                if (name in failing or behind) and name in last:
                    said = last[name]
                    alike[said.reason].append(Failure(name, group, said.component, said.message, reason=said.reason))
    for reason, failed in alike.items():
        examples = heapq.nsmallest(EXAMPLES, failed, key=lambda failure: failure.client)
        groups = sorted({failure.group for failure in failed})
        yield Troubled(reason, len(failed), tuple(groups), tuple(examples))
