"""Batches: work on clients as data, which any process can carry out that reaches them.

A batch is for clients of one group that get the same; what is one client's own stands in its target. It names content
by digest and holds none, no secret and no path of the machine that made it: where its worker runs, the worker's own
keys, known hosts and content are used. Rendered settings have secrets in them; they travel beside a batch, in an
`Order`, and are never written down.

A worker answers once for each client, as soon as it is through with it, and at last says that the batch is over. It
begins no client after `until`, nor any step of a rollout that was halted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from reconciler.errors import UpdoserError
    from reconciler.model.client import Client, Facts, Same
    from reconciler.model.deploy import Outcome, Purpose, Step
    from reconciler.model.question import Question
    from reconciler.model.relay import Offer

ToolsTried = Literal["", "files", "commands"]
"""What is tried of a client's tools: nothing, what changes of files need, or also what checks and hooks do."""
Halt = tuple[str, str, str]
"""A rollout that goes no further: component, version, and group; an empty group means all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Clients are looked at, as `contracts.Session.facts` does; `questions` are by component.

    With `keep` their connections stay open for a change that follows, as many as the worker has room for.
    """

    questions: Mapping[str, Question] = field(default_factory=dict)
    verify: bool = False
    tools: ToolsTried = ""
    keep: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Clients are changed by a request of these steps, as `contracts.Session.deploy` does, and then sent `early` ones.

    `keep` counts the versions that stay on a client. `schemes` are the version schemes of components, by name: a client
    that has something else by now gets the release all the same, if what it has is below it. With `stay` connections
    are left open for what follows. What a `relay` offers is fetched there, by clients of any worker.
    """

    lineage: str
    epoch: int
    keep: int
    steps: tuple[Step, ...] = ()
    early: tuple[Step, ...] = ()
    purpose: Purpose = "switch"
    schemes: Mapping[str, str] = field(default_factory=dict)
    stay: bool = False
    relay: Offer | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """Files of clients are read, as `contracts.Session.read` does; which ones stands in each target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Clients try whether they get one part from a relay: that of `size` bytes and `sha256`, below `url`.

    They keep nothing of it. What an answer has `fetched`, or why it is `unfetched`, is that; a client with nothing to
    fetch by says neither.
    """

    url: str
    size: int
    sha256: str


Task = Look | Change | Read | Probe


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One client of a batch, and its own: `steps` of settings, beside those of the task, and `paths` to read.

    A look asks it for its `mark`, see `model.mark`.
    """

    client: Client
    steps: tuple[Step, ...] = ()
    paths: tuple[str, ...] = ()
    mark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Work on some clients of one group. No other batch of its run has its id.

    `attempt` counts how often it was given to somebody, from 1; `fence` is that of the run's lock when it was made:
    an answer counts only with both as they are then. No client is begun after `until`. A batch that `finishes` what was
    begun before, such as to take a bad release back, is carried out although its worker stops or rollouts were halted.
    """

    id: str
    run_id: str
    group: str
    task: Task
    targets: tuple[Target, ...]
    attempt: int = 1
    fence: int = 0
    until: datetime | None = None
    finishes: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """A batch and what travels beside it: `private` content by its SHA-256, which has secrets in it."""

    batch: Batch
    private: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDone:
    """What became of one step: the client's outcome, from which version it went, and the payload bytes it was sent.

    `fell_back` where it got the full because an incremental failed there.
    """

    outcome: Outcome
    from_version: str = ""
    sent: int = 0
    fell_back: bool = False


NotBegun = Literal["", "halted", "late", "stopped"]
"""Why nothing was done with a client: its steps are of halted rollouts, `until` was over, or the worker stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of one client of a batch: what its task brought, and the error that ended the rest.

    A change brings `steps`, a look `facts`, or `same` where the client has the mark that it was asked for, a read
    `files` by path. `halted` are components that were left because their rollout was halted. Of what a relay offers it
    `fetched` so many bytes; `unfetched` says why not all of it.
    `seconds` passed until the client was connected; `at` is when it was through, by the worker's clock.
    """

    batch: str
    attempt: int
    client: str
    not_begun: NotBegun = ""
    steps: tuple[StepDone, ...] = ()
    halted: tuple[str, ...] = ()
    facts: Facts | None = None
    same: Same | None = None
    files: Mapping[str, bytes | None] = field(default_factory=dict)
    bytes_sent: int = 0
    fetched: int = 0
    unfetched: str = ""
    error: UpdoserError | None = None
    seconds: float = 0.0
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A batch is over: each of its clients was answered for, or `lost` says why its worker can't say of the rest."""

    batch: str
    attempt: int
    lost: str = ""


Report = Answer | Ended
