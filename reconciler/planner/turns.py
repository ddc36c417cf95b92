"""Whether a client's turn may still be taken: what was decided when it was planned, against what holds by now.

The first rule that fits says why not:

1. A hold takes the client.
2. The time of the change isn't there yet, or is over: a window closed, a blackout began.
3. Its rollout was paused, halted or aborted.

Example: a window closes at 05:00. A client whose turn comes at 05:01 keeps what it has, and the plan of 05:01 says the
same: deferred until the window opens again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.change import Deploy
from reconciler.model.rollout import STOPPED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from reconciler.formats.select import Pattern
    from reconciler.model.change import Settings
    from reconciler.model.client import Client
    from reconciler.model.rollout import Key, RolloutRecord
    from reconciler.model.spec import Hold


def turned_away(
    client: Client,
    change: Deploy | Settings,
    now: datetime,
    records: Mapping[Key, RolloutRecord],
    holds: Iterable[tuple[Pattern, Hold]] = (),
) -> str:
    """Say why a client must not begin with a change any more; empty where it may.

    `records` are the rollouts that stopped; `holds` come with the pattern of their clients.
    """
    for pattern, hold in holds:
        if hold.applies(now.date()) and pattern.matches(client.name, (client.group,), client.labels):
            return hold.text
    begins = change.not_before if isinstance(change, Deploy) else None
    if begins is not None and now < begins:
        return f"its time begins at {begins:%Y-%m-%dT%H:%M:%SZ}"
    if change.not_after is not None and now >= change.not_after:
        return f"its time was over at {change.not_after:%Y-%m-%dT%H:%M:%SZ}"
    if isinstance(change, Deploy):
        for group in (change.group, ""):
            record = records.get((change.component, change.to, group))
            if record is not None and record.status in STOPPED:
                return f"rollout: {record.stopped}"
    return ""
