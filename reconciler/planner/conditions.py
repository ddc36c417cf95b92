"""What somebody may want to know of a fleet: conditions, from what a round of the controller found.

What a condition is `about` names it from its beginning to its end: counts and times stand in its summary only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler.model.notice import Condition
from reconciler.model.roster import clients_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from reconciler.model.notice import Severity
    from reconciler.model.plan import Finding, Plan, RolloutStep
    from reconciler.model.report import ComponentStatus, SourceStatus
    from reconciler.model.repository import RoleStatus

FAILURES = 5
"""Rounds in a row after which that they fail is critical: half an hour."""
EXPIRES_AT = {"root": 0.25}
"""What is left of a signature's lifetime when it is told: for the root, when people renew it."""
EXPIRES_AT_ELSE = 0.4
"""For all else, which is renewed by itself with half of it left."""
SOON = {"root": timedelta(days=30), "timestamp": timedelta(hours=6)}
"""What is left of the signatures of a source when it is told: people renew its root, programs its timestamp."""
SOON_ELSE = timedelta(days=2)
LAST = 3
"""The part of that, 1 in so many, from which on it is critical."""
MAX_SUMMARY = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetFacts:
    """What a round that went well knows. `waits`: releases wait for an apply, as the mode asks for one.

    `roles` are those of the repository for other sites, with the `lifetimes` of their signatures.
    """

    plan: Plan
    components: tuple[ComponentStatus, ...] = ()
    sources: tuple[SourceStatus, ...] = ()
    quarantined: int = 0
    waits: bool = False
    roles: tuple[RoleStatus, ...] = ()
    lifetimes: Mapping[str, timedelta] | None = None


def fleet_conditions(facts: FleetFacts, now: datetime) -> tuple[Condition, ...]:
    """Give what there is to know of the fleet."""
    plan = facts.plan
    found = [
        *_halts(plan.rollouts),
        *_approvals(plan.rollouts),
        *_sources(facts.sources),
        *_signed_sources(facts.sources, now),
        *_signatures(facts.roles, facts.lifetimes or {}, now),
        *_outdated(facts.components),
        *_unknown(plan),
        *_drift(plan.drift),
    ]
    if facts.waits:
        says = "releases wait: `updoser apply` lets them go out"
        found.append(Condition("approval_needed", "", "warning", says))
    return (*found, *_quarantine(facts.quarantined))


def urgent_conditions(steps: Iterable[RolloutStep], quarantined: int) -> tuple[Condition, ...]:
    """Give what can be known while a round goes on: see `URGENT`."""
    return (*_halts(steps), *_quarantine(quarantined))


def _quarantine(clients: int) -> Iterator[Condition]:
    if clients:
        says = f"{_clients(clients)} in quarantine: `updoser status` names them"
        yield Condition("client_quarantined", "", "warning", says)


def controller_conditions(
    failure: str, failures: int, rejected: Iterable[str], unreachable: str = ""
) -> tuple[Condition, ...]:
    """Give what there is to know of the controller: its round failed, so many in a row; the spec is no good.

    `unreachable` says why it isn't known whether there is a newer spec.

    Of what is wrong with the spec only the first line is told: the lines of the file that follow are for nobody else.
    """
    found = [
        Condition("spec_rejected", "", "critical", _short(problem.partition("\n")[0])) for problem in list(rejected)[:1]
    ]
    if unreachable:
        says = f"it isn't known whether there is a newer spec: {unreachable.partition(chr(10))[0]}"
        found.append(Condition("spec_unreachable", "", "warning", _short(says)))
    if failure:
        severity: Severity = "critical" if failures >= FAILURES else "warning"
        found.append(Condition("round_failed", "", severity, _short(f"a round of the controller failed: {failure}")))
    return tuple(found)


def _halts(steps: Iterable[RolloutStep]) -> Iterator[Condition]:
    for step in steps:
        if step.record.status == "halted":
            says = _short(f"{step.record.name} is halted: {step.record.reason}")
            yield Condition("rollout_halted", step.record.name, "critical", says)


def _approvals(steps: Iterable[RolloutStep]) -> Iterator[Condition]:
    for step in steps:
        record = step.record
        if step.awaits_approval:
            wave = f"wave {record.wave + 1} of {len(record.cuts)}"
            says = f"{record.name}: {wave} waits for approval (updoser rollout approve {record.component})"
            yield Condition("approval_needed", f"{record.name} wave {record.wave + 1}", "warning", says)


def _sources(sources: Iterable[SourceStatus]) -> Iterator[Condition]:
    for source in sources:
        if source.stale or source.error:
            since = f"since {source.last_success:%Y-%m-%d %H:%M} UTC" if source.last_success else "and never did"
            why = f": {source.error}" if source.error else ""
            severity: Severity = "critical" if source.stale else "warning"
            yield Condition(
                "source_stale", source.name, severity, _short(f"source {source.name} doesn't answer {since}{why}")
            )


def _signatures(roles: Iterable[RoleStatus], lifetimes: Mapping[str, timedelta], now: datetime) -> Iterator[Condition]:
    for role in roles:
        if role.expires is None or role.role not in lifetimes:
            continue
        limit = lifetimes[role.role] * EXPIRES_AT.get(role.role, EXPIRES_AT_ELSE)
        if role.expires - now < limit:
            severity: Severity = "critical" if role.expires - now < limit / LAST else "warning"
            word = "expire" if role.expires > now else "have expired"
            says = f"the signatures of the repository's {role.role} {word} on {role.expires:%Y-%m-%d %H:%M} UTC"
            yield Condition("signature_expiring", role.role, severity, says)


def _signed_sources(sources: Iterable[SourceStatus], now: datetime) -> Iterator[Condition]:
    """Tell of the signatures of each source that are nearest to their end; how long they were to last nobody says."""
    for source in sources:
        left = {role: (at - now) / SOON.get(role, SOON_ELSE) for role, at in source.expires.items()}
        role = min(left, key=lambda name: left[name], default="")
        if role and left[role] < 1:
            at = source.expires[role]
            severity: Severity = "critical" if left[role] < 1 / LAST else "warning"
            word = "expire" if at > now else "have expired"
            says = f"the signatures of source {source.name} ({role}) {word} on {at:%Y-%m-%d %H:%M} UTC"
            yield Condition("signature_expiring", f"source {source.name}", severity, _short(says))


def _outdated(components: Iterable[ComponentStatus]) -> Iterator[Condition]:
    for one in components:
        if one.outdated:
            says = f"{one.id}: {_clients(one.outdated)} of {one.clients} outdated"
            yield Condition("outdated", one.id, "warning", says, share=one.outdated / one.clients)


def _unknown(plan: Plan) -> Iterator[Condition]:
    clients = sum(plan.clients.values())
    count = clients_of(plan.members, (*plan.unknown, *plan.unreachable))
    if count:
        severity: Severity = "critical" if count >= clients else "warning"
        says = f"nothing is known of {_clients(count)} of {clients}"
        yield Condition("unknown", "", severity, says, share=count / clients)


def drifted(findings: Iterable[Finding]) -> dict[str, int]:
    """Count the clients on which somebody else changed a component, or (empty) settings."""
    counts: dict[str, int] = {}
    for finding in findings:
        counts[finding.component] = counts.get(finding.component, 0) + finding.clients
    return dict(sorted(counts.items()))


def _drift(findings: Iterable[Finding]) -> Iterator[Condition]:
    for component, count in drifted(findings).items():
        says = f"{component or 'settings'}: changed by somebody else on {_clients(count)}"
        yield Condition("drift", component, "warning", says)


def _clients(count: int) -> str:
    return f"{count} client" + ("" if count == 1 else "s")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_SUMMARY else f"{line[: MAX_SUMMARY - 1]}…"
