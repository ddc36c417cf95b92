"""What clients are judged by, as the controller wrote it down: for those who show clients and have no spec.

It is the snapshot `facts`. What the state itself tells (rollouts, who it is) isn't in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from reconciler.formats.select import parse
from reconciler.model.spec import Hold
from reconciler.model.version import SCHEMES
from reconciler.storage.judging import Ground

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from reconciler.model.version import VersionScheme
    from reconciler.storage.judging import Behind

MAX_NAMED = 10_000
"""Names that are written down, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What of the spec and of the last look says how clients count.

    `groups` are the components of each group, in the order of the catalog; `schemes` how versions are read. `doubles`
    are the names of each machine that has several (None: too many to write down). `gone` are clients that an inventory
    doesn't list any more, `moved` the groups of those that are listed in another one now: until something is carried
    out the state has them where they were. They are empty where there are more than `MAX_NAMED`.
    """

    groups: Mapping[str, Sequence[str]]
    schemes: Mapping[str, VersionScheme]
    holds: Sequence[Hold]
    quarantine: timedelta
    lineage: str
    epoch: int
    doubles: Sequence[Sequence[str]] | None = ()
    gone: frozenset[str] = frozenset()
    moved: Mapping[str, str]

    def ground(self, now: datetime, failed: Mapping[str, Sequence[Behind]]) -> Ground:
        """Give what clients are judged by at a time."""
        today = now.date()
        return Ground(
            now=now,
            lineage=self.lineage,
            epoch=self.epoch,
            groups=self.groups,
            schemes=self.schemes,
            holds=[(parse(hold.clients), hold.text) for hold in self.holds if hold.applies(today)],
            quarantine=self.quarantine,
            failed=failed,
        )


def facts_document(facts: Facts) -> dict[str, Any]:
    """Write facts down; groups that get the same components share one list."""
    kinds = list(dict.fromkeys(tuple(components) for components in facts.groups.values()))
    numbers = {kind: at for at, kind in enumerate(kinds)}
    return {
        "kinds": kinds,
        "groups": {group: numbers[tuple(components)] for group, components in facts.groups.items()},
        "schemes": {component: scheme.name for component, scheme in facts.schemes.items()},
        "holds": [
            {"clients": hold.clients, "reason": hold.reason, "until": hold.until.isoformat() if hold.until else None}
            for hold in facts.holds
        ],
        "quarantine": facts.quarantine.total_seconds(),
        "lineage": facts.lineage,
        "epoch": facts.epoch,
        "doubles": facts.doubles,
        "gone": sorted(facts.gone),
        "moved": dict(facts.moved),
    }


def read_facts(document: Any) -> Facts:
    """Read what `facts_document` wrote."""
    kinds = [tuple(kind) for kind in document["kinds"]]
    return Facts(
        groups={group: kinds[number] for group, number in document["groups"].items()},
        schemes={component: SCHEMES[name] for component, name in document["schemes"].items()},
        holds=[_hold(**entry) for entry in document["holds"]],
        quarantine=timedelta(seconds=document["quarantine"]),
        lineage=document["lineage"],
        epoch=document["epoch"],
        doubles=document["doubles"],
        gone=frozenset(document["gone"]),
        moved=document["moved"],
    )


def _hold(*, clients: str, reason: str, until: str | None) -> Hold:
    return Hold(clients, reason, date.fromisoformat(until) if until else None)
