"""What people ask of a controller in the console.

Whoever shows things has no keys and changes nothing: it writes down who wants what, and why. The controller judges each
request when it looks next, carries it out or refuses it, and says so in it. Requests are kept for good: they are the
record of who did what.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from datetime import datetime

Role = Literal["viewer", "operator", "approver"]
ROLES: tuple[Role, ...] = get_args(Role)
"""What a person may do, each on its own: look; pause, resume, abort and have the controller look; approve."""

RequestKind = Literal[
    "approve", "pause", "resume", "abort", "look", "pause_controller", "resume_controller", "block", "pin"
]
REQUEST_KINDS: tuple[RequestKind, ...] = get_args(RequestKind)
NEEDED: dict[RequestKind, Role] = {kind: "approver" if kind == "approve" else "operator" for kind in REQUEST_KINDS}
"""The role that a request takes."""
REASONED: frozenset[RequestKind] = frozenset(["pause", "resume", "abort", "pause_controller", "block"])
"""What takes a reason: others are going to wonder."""
SEEN: frozenset[RequestKind] = frozenset(["approve", "resume", "abort"])
"""What somebody decides on what they saw of a rollout, and on nothing else: `Request.seen` names it."""

RequestStatus = Literal["waiting", "seconded", "done", "refused"]
"""`seconded`: it waits for a second person, where the spec wants two."""
REQUEST_STATUSES: tuple[RequestStatus, ...] = get_args(RequestStatus)
PROPOSED: frozenset[RequestKind] = frozenset(["block", "pin"])
"""What is no change of anything but a proposal: how the file would say it. `Request.says` has a blank line and the diff
behind its sentence then."""
OPEN: tuple[RequestStatus, ...] = ("waiting", "seconded")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a request is about: a rollout, or (all empty) the controller. `undo`: an abort takes back what has it.

    `until` is the end of a pause of the controller; None: until somebody ends it.
    """

    component: str = ""
    version: str = ""
    group: str = ""
    undo: bool = False
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What somebody wants.

    `seen` names what they saw when they wanted it: the `fingerprint` of a rollout, or the `pause_digest` of a pause.
    `id` is 0 until the state gives one. `says` is what came of it, in a sentence.
    """

    at: datetime
    who: str
    kind: RequestKind
    roles: tuple[Role, ...] = ()
    address: str = ""
    target: Target = field(default_factory=Target)
    reason: str = ""
    seen: str = ""
    status: RequestStatus = "waiting"
    done_at: datetime | None = None
    says: str = ""
    id: int = 0
