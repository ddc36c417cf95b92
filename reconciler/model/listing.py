"""Clients one by one: what each has, how that compares with what it should have, and what is in its way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - the forms of documents ask for the types of fields
from typing import Literal

from reconciler.reasons import ReasonIfAny  # noqa: TC001 - the same

ComponentState = Literal["updated", "pending", "outdated", "ahead", "missing", "damaged", "deferred", "unknown"]
ClientState = Literal[
    "updated", "pending", "outdated", "ahead", "deferred", "unknown", "unreachable", "failed", "held", "quarantined"
]


@dataclass(frozen=True, slots=True)
class ListedComponent:
    """A component on a client: the `version` that was seen there last (empty: none), and the one that is `wanted`.

    What isn't known now is `unknown`, whatever was seen before. `loaded` is what its engine said it has loaded, and
    `unsaid` why that isn't known, where it was asked. An outdated one is so many known releases `behind`; 0: it lacks
    something else.
    """

    id: str
    version: str
    wanted: str
    state: ComponentState
    loaded: str = ""
    unsaid: str = ""
    behind: int = 0


CURRENT: frozenset[ComponentState] = frozenset(["updated", "deferred"])
"""States of the components of a client that is updated in all that it should have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedClient:
    """A client with those of its components that were asked for.

    `state` is the worst that holds of it; `why` says more, in the words of who said it. It was `seen` when it answered
    last, and is failing since `failing_since`, if it is; `failures` counts the runs in a row in which it failed. It is
    left alone `until` then, if it is in quarantine. `reason` is what troubles count it under, if it is in one;
    `address` is the one that it is reached at.
    """

    name: str
    group: str
    labels: tuple[str, ...]
    platform: str
    state: ClientState
    why: str
    seen: datetime | None
    failing_since: datetime | None
    failures: int
    until: datetime | None
    components: tuple[ListedComponent, ...]
    reason: ReasonIfAny = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of clients, in the order of their names. `after` is what the next page begins behind; empty: it is last.

    `limit` and `where` are what was asked for.
    """

    created: datetime
    limit: str
    where: str
    clients: tuple[ListedClient, ...]
    after: str = ""
