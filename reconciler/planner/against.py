"""Compares a plan with the one that a base spec gives for the same facts.

Compared is what each client gets, and what is done on the server: cohorts and counts hang on the spec themselves.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from reconciler.model.attribution import BY, Attribution
from reconciler.model.change import KINDS, FleetChange

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from reconciler.model.attribution import By
    from reconciler.model.change import Change
    from reconciler.model.plan import Plan

    What = tuple[str, ...]
    """The action, and all that makes it another one."""

_APART = ("component", "version", "previous", "to", "platform", "kind", "early")
_TURNS = {kind.action: turn for turn, kind in enumerate(KINDS)}


def against(base: Plan, made: Plan, rewritten: Collection[str] = ()) -> tuple[Attribution, ...]:
    """Say what of a plan comes of its spec and what would come anyway, and what only the base would do.

    `rewritten` are the clients for which the two specs want other settings: those are by the change.
    """
    before, after = dict(_parts(base)), dict(_parts(made))
    counts: Counter[tuple[By, str, str, str, str]] = Counter()
    for (what, client), about in after.items():
        again = (what, client) in before and not (what[0] == "settings" and client in rewritten)
        counts["anyway" if again else "change", what[0], *about] += bool(client)
    for (what, client), about in before.items():
        if (what, client) not in after:
            counts["no longer", what[0], *about] += bool(client)
    found = (Attribution(*key, clients) for key, clients in counts.items())
    return tuple(sorted(found, key=lambda it: (BY.index(it.by), _TURNS[it.action], it.component, it.version, it.group)))


def _parts(plan: Plan) -> Iterator[tuple[tuple[What, str], tuple[str, str, str]]]:
    """Give what is done to each client (empty: on the server), and component, version and group that it is about."""
    for change in plan.changes:
        about = (_of(change, "component"), _of(change, "to") or _of(change, "version"), _of(change, "group"))
        what = (change.action, *(_of(change, name) for name in _APART))
        members = change.members if isinstance(change, FleetChange) else ()
        clients = [client for cohort in members for client in plan.members[cohort]]
        for client in clients or [""]:
            yield (what, client), about


def _of(change: Change, name: str) -> str:
    return str(getattr(change, name, "") or "")
