"""Changes a client over one connection: requests, what is sent again in another form, and what is sent early.

* All that a client gets goes in one request over one connection.
* A client that is no longer as planned answers `stale` and what it has. It gets the release all the same if what it has
  is below it, by the scheme of the component; if not, it is left as it is: `skipped`. Settings have no order.
* A client that can't apply an incremental answers `unpatched` and gets the full on the same connection.
* A client that another process is changing now is `stale` too, and left to a later run: that may be a process of ours
  that lost its controller, and it may bring the very release.
* An incremental that failed on DISTRUST clients and worked on none isn't tried on others.
* What is only sent early follows on the same connection, in a request of its own that switches nothing.
* A request that switches nothing by itself, to claim a client or to check it, is sent once and as it is.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from io import BytesIO
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO

from reconciler.errors import BusyError
from reconciler.guards import Caught
from reconciler.model.batch import StepDone
from reconciler.model.deploy import SENT, DeployReport, DeployRequest, Outcome
from reconciler.model.settings import is_setting
from reconciler.model.version import SCHEMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from reconciler.contracts import Session
    from reconciler.errors import UpdoserError
    from reconciler.model.batch import Change, Order, Target
    from reconciler.model.deploy import Purpose, Step
    from reconciler.worker.halts import Halts

SKIPPED = "changed since plan"
DISTRUST = 3
MOVED = "somebody else is changing it now; apply again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What became of a client's steps, the components that were halted, and the error that ended the rest."""

    steps: tuple[StepDone, ...] = ()
    halted: tuple[str, ...] = ()
    bytes_sent: int = 0
    error: UpdoserError | None = None


class Changer:
    """Changes clients, and remembers how incrementals fare. Used by several threads at once."""

    def __init__(self, content: Callable[[str], AbstractContextManager[BinaryIO]]) -> None:
        """Take what opens content by its SHA-256."""
        self._content = content
        self._lock = Lock()
        self._failures: Counter[tuple[str, str, str]] = Counter()
        self._worked: set[tuple[str, str, str]] = set()

    def change(self, task: Change, order: Order, target: Target, halts: Halts, session: Session) -> Changed:
        """Carry out what may still be done of a task with one client.

        Raises:
            UpdoserError: as `contracts.Session.deploy`, where nothing was done yet.
        """
        wanted, batch = (*task.steps, *target.steps), order.batch
        steps, early = halts.rest(wanted, batch), halts.rest(task.early, batch)
        left = tuple(step.component for step in (*wanted, *task.early) if step not in steps and step not in early)
        sender = _Sender(task, order, target, session, self._content)
        if task.purpose != "switch":
            report = sender.send(steps, task.purpose) if steps else DeployReport((), 0)
            done = tuple(map(_done, steps, report.outcomes))
            return Changed(steps=done, halted=left, bytes_sent=report.bytes_sent)
        result = self._deploy(steps, sender, "switch") if steps else Changed()
        if early and result.error is None:
            with Caught() as caught:
                sent = self._deploy(early, sender, "stage")
                result = Changed(
                    steps=(*result.steps, *sent.steps),
                    bytes_sent=result.bytes_sent + sent.bytes_sent,
                    error=sent.error,
                )
            if caught.error is not None:  # what was switched before stays so
                result = replace(result, error=caught.error)
        return replace(result, halted=left)

    def _deploy(self, steps: tuple[Step, ...], sender: _Sender, purpose: Purpose) -> Changed:
        steps = tuple(step.full if self._is_distrusted(step) else step for step in steps)
        try:
            report = sender.send(steps, purpose)
        except BusyError as error:
            return Changed(steps=tuple(map(_done, steps, _busy(steps, error))))
        again: dict[str, Step] = {}
        unpatched: set[str] = set()
        for step, outcome in zip(steps, report.outcomes, strict=True):
            self._learn(step, outcome)
            if outcome.status == "unpatched":
                unpatched.add(step.component)
                again[step.component] = replace(step, kept={}, patched={}, held=False)
            renewed = sender.from_actual(step, outcome) if outcome.status == "stale" else None
            if renewed is not None:
                again[step.component] = renewed
        first = {
            step.component: _done(step, _skipped(outcome))
            for step, outcome in zip(steps, report.outcomes, strict=True)
            if step.component not in again
        }
        if not again:
            return Changed(steps=tuple(first.values()), bytes_sent=report.bytes_sent)
        with Caught() as caught:
            second = sender.send(tuple(again.values()), purpose)
        if isinstance(caught.error, BusyError):
            second = DeployReport(_busy(again.values(), caught.error), 0)
        elif caught.error is not None:
            return Changed(steps=tuple(first.values()), bytes_sent=report.bytes_sent, error=caught.error)
        later = {
            step.component: _done(step, _moved(outcome), fell_back=step.component in unpatched)
            for step, outcome in zip(again.values(), second.outcomes, strict=True)
        }
        done = tuple(later.get(step.component) or first[step.component] for step in steps)
        return Changed(steps=done, bytes_sent=report.bytes_sent + second.bytes_sent)

    def _is_distrusted(self, step: Step) -> bool:
        with self._lock:
            way = _way(step)
            return bool(step.patched) and way not in self._worked and self._failures[way] >= DISTRUST

    def _learn(self, step: Step, outcome: Outcome) -> None:
        """Remember how incrementals fare; one that worked once is trusted from then on."""
        if not step.patched:
            return
        with self._lock:
            if outcome.status in SENT:
                self._worked.add(_way(step))
            elif outcome.status == "unpatched":
                self._failures[_way(step)] += 1


class _Sender:
    """Sends requests for one client."""

    def __init__(
        self,
        task: Change,
        order: Order,
        target: Target,
        session: Session,
        content: Callable[[str], AbstractContextManager[BinaryIO]],
    ) -> None:
        self._task = task
        self._private = order.private
        self._client = target.client
        self._session = session
        self._open = content

    def send(self, steps: tuple[Step, ...], purpose: Purpose) -> DeployReport:
        request = DeployRequest(
            lineage=self._task.lineage,
            epoch=self._task.epoch,
            install_root=self._client.install_root,
            keep=self._task.keep,
            steps=steps,
            purpose=purpose,
            vars=self._client.vars,
        )
        return self._session.deploy(request, self._content)

    def _content(self, sha256: str) -> AbstractContextManager[BinaryIO]:
        return BytesIO(self._private[sha256]) if sha256 in self._private else self._open(sha256)

    def from_actual(self, step: Step, outcome: Outcome) -> Step | None:
        """Give the step from what the client has by now; None when that isn't below the release."""
        if is_setting(step.component):  # what is wanted now is right
            return replace(step, from_version=outcome.version, from_digest=outcome.digest)
        scheme = SCHEMES.get(self._task.schemes.get(step.component, ""))
        if scheme is None:
            return None
        if outcome.version and scheme.accepts(outcome.version) and scheme.accepts(step.to_version):
            same = outcome.version == step.to_version
            if not same and scheme.parse(outcome.version) > scheme.parse(step.to_version):
                return None
        return replace(step, from_version=outcome.version, from_digest=outcome.digest, kept={}, patched={}, held=False)


def _done(step: Step, outcome: Outcome, *, fell_back: bool = False) -> StepDone:
    sent = sum(part.size for part in step.payload) if outcome.status in SENT else 0
    return StepDone(outcome=outcome, from_version=step.from_version, sent=sent, fell_back=fell_back)


def _busy(steps: Iterable[Step], error: BusyError) -> tuple[Outcome, ...]:
    return tuple(Outcome(step.component, "stale", message=error.message) for step in steps)


def _way(step: Step) -> tuple[str, str, str]:
    return step.component, step.from_digest, step.to_digest


def _skipped(outcome: Outcome) -> Outcome:
    """Say of a stale client that it is left as it is."""
    return replace(outcome, status="skipped", message=SKIPPED) if outcome.status == "stale" else outcome


def _moved(outcome: Outcome) -> Outcome:
    """Say of a client that it was changed by somebody else between two requests, moments apart."""
    return replace(outcome, message=outcome.message or MOVED) if outcome.status == "stale" else outcome
