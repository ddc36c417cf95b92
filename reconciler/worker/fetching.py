"""Clients fetch from their relay what they would be sent, as long as it gives that, whoever works on them.

* What to fetch and where stands in the batch (`model.relay.Offer`). Parts of releases and incrementals that aren't
  small are fetched; settings never are.
* A client whose relay gives nothing gets its bytes on the same connection, or is left as it is until a later run: as
  `then` says. So does one to which nothing is offered.
* Once a client waited for a relay in vain, those after it ask it and don't wait; when it gave nothing to DISTRUST in a
  row, it isn't asked any more. Each worker finds that out for its run; its controller, which hears of all of them,
  offers no more then.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING

from reconciler.client.requests import fetched_bytes
from reconciler.client.session import script_digest
from reconciler.errors import BusyError, LimitError, UpdoserError
from reconciler.model.deploy import MACHINE, DeployReport, FromRelay, Outcome
from reconciler.model.relay import SMALL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from reconciler.contracts import Session
    from reconciler.model.deploy import DeployRequest, Step
    from reconciler.model.relay import Offer
    from reconciler.model.release import ReleaseFile
    from reconciler.reasons import Reason

    Content = Callable[[str], AbstractContextManager[BinaryIO]]

DISTRUST = 3
NO_TOOL = "the client has neither curl nor wget"
"""What a client says that can't ask any relay, which is no relay's fault."""
_REMEMBERED = 100
"""Relays of runs that are remembered by a worker, which may live for long."""


def large_parts(steps: Iterable[Step]) -> Iterator[ReleaseFile]:
    """Give the parts of steps that may be fetched."""
    for step in steps:
        if not step.private:
            yield from (part for part in step.payload if part.size >= SMALL)


@dataclass(slots=True)
class _Fare:
    """How a relay fares: to how many clients in a row it gave nothing, and what was wrong then."""

    silent: int = 0
    trouble: str = ""


class Fetching:
    """Gives sessions in which clients fetch. Used by several threads at once."""

    def __init__(self) -> None:
        """Begin with trust."""
        self._lock = Lock()
        self._fares: OrderedDict[tuple[str, str], _Fare] = OrderedDict()

    def over(self, run_id: str, offer: Offer, session: Session) -> FetchingSession:
        """Give a session over another one, in which a client of a run fetches what is offered."""
        key = run_id, offer.relay
        with self._lock:
            fare = self._fares.setdefault(key, _Fare())
            self._fares.move_to_end(key)
            if len(self._fares) > _REMEMBERED:
                self._fares.popitem(last=False)
        return FetchingSession(self, fare, offer, session)

    def may_ask(self, fare: _Fare, offer: Offer) -> tuple[str, float]:
        """Say why a relay isn't to be asked, empty where it is, and for how long it may be waited for."""
        if not offer.urls:
            return offer.why or "it isn't filled", 0.0
        with self._lock:
            return (fare.trouble if fare.silent >= DISTRUST else ""), (0.0 if fare.silent else offer.wait)

    def learn(self, fare: _Fare, trouble: str) -> None:
        """Remember how a client fared."""
        with self._lock:
            if trouble != NO_TOOL:
                fare.silent = fare.silent + 1 if trouble else 0
                fare.trouble = trouble or fare.trouble


class FetchingSession:
    """The `Session` protocol over another session: what is sent there is fetched here, where it can be.

    `fetched` counts the bytes that the client got so, and `trouble` says why not all.
    """

    def __init__(self, fetching: Fetching, fare: _Fare, offer: Offer, session: Session) -> None:
        """Take a relay's offer, and how it fares."""
        self._fetching = fetching
        self._fare = fare
        self._offer = offer
        self._session = session
        self.facts = session.facts
        self.read = session.read
        self.fetched = 0
        self.trouble = ""

    def deploy(self, request: DeployRequest, content: Content) -> DeployReport:
        """Carry out a request; see `contracts.Session`."""
        large = {part.sha256 for part in large_parts(request.steps)}
        if request.purpose == "check" or not large:
            return self._session.deploy(request, content)
        why, wait = self._fetching.may_ask(self._fare, self._offer)
        if why:
            self.trouble = self.trouble or (why if self._offer.urls else "")
            if self._offer.then == "wait":
                return self._without(request, content, why)
            return self._session.deploy(request, content)
        parts = frozenset(large & self._offer.parts)
        if not parts:
            return self._session.deploy(request, content)
        script = self._offer.parts & {script_digest()}  # that of this worker, which may be of another version
        relay = FromRelay(self._offer.urls, parts | script, wait, self._offer.patience)
        return self._fetch(replace(request, relay=relay), content)

    def _fetch(self, request: DeployRequest, content: Content) -> DeployReport:
        """Have a client fetch what it can; what no relay gave is sent, or left for a later run."""
        report = self._session.deploy(request, content)
        steps = {step.component: step for step in request.steps}
        lacking = {outcome.component: outcome.message for outcome in report.outcomes if outcome.status == "unfetched"}
        sizes = fetched_bytes(request)
        came = sum(
            sizes.get(outcome.component, 0) for outcome in report.outcomes if outcome.status in {"changed", "staged"}
        )
        if came or lacking:
            trouble = next(iter(lacking.values()), "")
            self.fetched += came
            self.trouble = self.trouble or trouble
            self._fetching.learn(self._fare, trouble)
        if not lacking:
            return report
        if self._offer.then == "wait":
            late = {name: self._left(steps[name], why) for name, why in lacking.items()}
            sent = 0
        else:
            late, sent = self._send(replace(request, relay=None, steps=tuple(map(steps.__getitem__, lacking))), content)
        outcomes = tuple(late.get(outcome.component, outcome) for outcome in report.outcomes)
        return DeployReport(outcomes, report.bytes_sent + sent)

    def _send(self, request: DeployRequest, content: Content) -> tuple[dict[str, Outcome], int]:
        """Send what wasn't fetched; what goes wrong with that is no reason to forget what went well before."""
        try:
            report = self._session.deploy(request, content)
        except LimitError:
            raise
        except BusyError as error:
            return {
                step.component: Outcome(step.component, "stale", message=error.message) for step in request.steps
            }, 0
        except UpdoserError as error:
            return {step.component: _failed(step, error.brief, error.reason) for step in request.steps}, 0
        return {outcome.component: outcome for outcome in report.outcomes}, report.bytes_sent

    def _without(self, request: DeployRequest, content: Content, why: str) -> DeployReport:
        """Do what needs no relay; the rest is left for a later run."""
        needs = {step.component for step in request.steps if any(True for _part in large_parts([step]))}
        rest = tuple(step for step in request.steps if step.component not in needs)
        report = self._session.deploy(replace(request, steps=rest), content) if rest else DeployReport((), 0)
        done = {outcome.component: outcome for outcome in report.outcomes}
        done |= {step.component: self._left(step, why) for step in request.steps if step.component in needs}
        return DeployReport(tuple(done[step.component] for step in request.steps), report.bytes_sent)

    def _left(self, step: Step, why: str) -> Outcome:
        name = self._offer.relay
        return _failed(step, f"relay {name} doesn't give it: {why}; it waits for a later run (then: wait)", "relay")


def _failed(step: Step, message: str, reason: Reason) -> Outcome:
    return Outcome(
        component=step.component,
        status="failed",
        version=step.from_version,
        digest=step.from_digest,
        message=message,
        fault=MACHINE,
        reason=reason,
    )
