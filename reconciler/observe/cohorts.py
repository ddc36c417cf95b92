"""A fleet's rows in the state become cohorts: clients of one group in the same situation.

Rows are many, situations are few: what is the same for many rows is worked out once.

* A client that did not answer when it was looked at last is in a cohort without a profile, by the kind of its error.
* So is one whose manifest names another controller: what it has isn't ours to compare.
* One to which there is no way isn't looked at; its cohort says why.
* A hold applies up to and including its day, in UTC.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.errors import OtherControllerError, UsageError
from reconciler.model.network import UNREACHABLE
from reconciler.model.plan import Cohort
from reconciler.model.select import parse

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from reconciler.model.client import Profile
    from reconciler.model.select import Pattern
    from reconciler.model.spec import Hold
    from reconciler.storage.fleet import Row
    from reconciler.storage.state import Identity

Situation = tuple[str, str | None, str, str, str]
"""What clients of one cohort have in common: group, fingerprint, error, route, hold."""
NEVER_SEEN = "not looked at yet"
FAILED_SET = "failed"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which clients a command is about: all, or those that `--limit` selects."""

    pattern: Pattern | None = None

    @classmethod
    def parse(cls, limit: str, failed: Collection[str]) -> Choice:
        """Read `--limit`; `failed` are the clients behind `@failed`.

        Raises:
            UsageError: it isn't a pattern.
        """
        if not limit:
            return cls()
        try:
            return cls(parse(limit, {FAILED_SET: failed}))
        except ValueError as error:
            raise UsageError(f"--limit: {error}") from error

    def takes(self, name: str, group: str, labels: Collection[str]) -> bool:
        """Say whether a client is chosen."""
        return self.pattern is None or self.pattern.matches(name, (group,), labels)


def gather_cohorts(
    rows: Iterable[Row],
    profiles: Mapping[str, Profile],
    *,
    choice: Choice,
    holds: Iterable[Hold],
    identity: Identity,
    now: datetime,
) -> list[Cohort]:
    """Group the rows (name, group, labels, fingerprint, error, route) of a fleet; see the module's rules."""
    foreign = {key for key, profile in profiles.items() if is_foreign(profile, identity)}
    active = [
        (parse(hold.clients), _hold_text(hold)) for hold in holds if hold.until is None or now.date() <= hold.until
    ]
    members: dict[Situation, list[str]] = defaultdict(list)
    if choice.pattern is None and not active:
        for name, group, _labels, fingerprint, error, route in rows:
            members[group, fingerprint, error, route, ""].append(name)
    else:
        labels_of: dict[str, tuple[str, ...]] = {}
        for name, group, text, fingerprint, error, route in rows:
            labels = labels_of.get(text)
            if labels is None:
                labels = labels_of[text] = tuple(json.loads(text))
            if choice.takes(name, group, labels):
                hold = next((why for pattern, why in active if pattern.matches(name, (group,), labels)), "")
                members[group, fingerprint, error, route, hold].append(name)
    return _cohorts(members, profiles, foreign)


def _cohorts(
    members: Mapping[Situation, list[str]],
    profiles: Mapping[str, Profile],
    foreign: Collection[str],
) -> list[Cohort]:
    unknown: dict[tuple[str, str], list[str]] = defaultdict(list)
    cut_off: dict[tuple[str, str], list[str]] = defaultdict(list)
    cohorts = []
    for (group, fingerprint, error, route, hold), names in members.items():
        profile = profiles.get(fingerprint) if fingerprint else None
        if route.startswith(UNREACHABLE):
            cut_off[group, route.removeprefix(UNREACHABLE)] += names
        elif error:
            unknown[group, error.partition(":")[0]] += names
        elif profile is None:
            unknown[group, NEVER_SEEN] += names
        elif fingerprint in foreign:
            unknown[group, OtherControllerError.label] += names
        else:
            cohorts.append(Cohort(group, tuple(sorted(names)), profile, hold=hold, route=route))
    cohorts += [Cohort(group, tuple(sorted(names)), unreachable=why) for (group, why), names in cut_off.items()]
    cohorts += [Cohort(group, tuple(sorted(names)), unknown=why) for (group, why), names in unknown.items()]
    return cohorts


def is_foreign(profile: Profile, identity: Identity) -> bool:
    """Say whether a client answers to another controller: another lineage, or a later epoch of this one."""
    if not profile.lineage:
        return False
    return profile.lineage != identity.lineage or profile.epoch > identity.epoch


def _hold_text(hold: Hold) -> str:
    until = f" until {hold.until.isoformat()}" if hold.until else ""
    return f"hold{until}: {hold.reason}"
