"""Takes down what people want, for pages and the API alike: what can be known to be refused isn't even written down.

All else is the controller's to judge, by what it sees then. A request wakes it.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from reconciler.model.request import NEEDED, PROPOSED, REASONED, Request, Target
from reconciler.model.rollout import FIT

if TYPE_CHECKING:
    from reconciler.console.frame import Console, Person
    from reconciler.model.request import RequestKind
    from reconciler.model.rollout import RolloutRecord


class NotAskedError(Exception):
    """Something can't be asked: `status` is for the answer, `why` for people."""

    def __init__(self, status: HTTPStatus, why: str, todo: str = "") -> None:
        self.status = status
        self.why = why
        self.todo = todo
        super().__init__(why)


def check_role(person: Person, kind: RequestKind) -> None:
    """See that a person may ask for something.

    Raises:
        NotAskedError: they may not.
    """
    role = NEEDED[kind]
    if not person.may(role):
        mine = ", ".join(sorted(person.roles)) or "none"
        why = f"That takes the role {role}. You are signed in as {person.who}; your roles: {mine}."
        todo = "`console.roles` of the file says who has which role."
        raise NotAskedError(HTTPStatus.FORBIDDEN, why, todo)


def rollout_of(console: Console, kind: RequestKind, target: Target) -> RolloutRecord | None:
    """Give the rollout that a request is about; None where it is about none.

    Raises:
        NotAskedError: there is no such rollout, or none with which that can be done.
    """
    verb = next((verb for verb in FIT if verb == kind), None)
    if verb is None:
        return None
    record = console.state.rollout((target.component, target.version, target.group))
    if record is None:
        where = f" in group {target.group}" if target.group else ""
        named = f"{target.component} {target.version}".strip() or "that"
        raise NotAskedError(HTTPStatus.NOT_FOUND, f"There is no rollout of {named}{where}.")
    if record.status not in FIT[verb]:
        raise NotAskedError(
            HTTPStatus.CONFLICT, f"There is nothing to {verb}: {record.name} is {record.status} in {record.place}."
        )
    return record


def ask(
    console: Console,
    person: Person,
    kind: RequestKind,
    target: Target,
    *,
    reason: str = "",
    seen: str = "",
    address: str = "",
    key: str = "",
) -> int:
    """Write down what a person wants, and wake the controller; gives the id of the request.

    `key` is what whoever may send the same twice calls it.

    Raises:
        NotAskedError: it would be refused.
        StateError: it can't be written down.
    """
    check_role(person, kind)
    rollout_of(console, kind, target)
    if kind in REASONED and not reason.strip():
        raise NotAskedError(HTTPStatus.BAD_REQUEST, "Say why: others are going to wonder, and it stays in the history.")
    if kind in PROPOSED and not (target.component.strip() and target.version.strip()):
        raise NotAskedError(HTTPStatus.BAD_REQUEST, "Say which version of which component.")
    now = console.clock()
    if target.until is not None and target.until <= now:
        raise NotAskedError(HTTPStatus.BAD_REQUEST, "That end is over already.")
    request = Request(
        at=now,
        who=person.who,
        kind=kind,
        roles=tuple(sorted(person.roles)),
        address=address,
        target=target,
        reason=reason.strip(),
        seen=seen,
    )
    asked = console.state.ask(request, key)
    console.state.ask_controller()
    return asked
