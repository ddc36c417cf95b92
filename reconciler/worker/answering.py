"""Does what a batch asks with one client at a time, and answers for it: an error is that client's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING, BinaryIO

from reconciler.client.pulse import HeardSession, Wait
from reconciler.client.reach import CONNECT_TRIES
from reconciler.contracts import RelaySession
from reconciler.errors import ClientError
from reconciler.guards import Caught
from reconciler.model.batch import Answer, Change, Look, Probe
from reconciler.model.client import Same
from reconciler.model.question import Asked
from reconciler.model.relay import HoldOrder
from reconciler.worker.change import Changer

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from contextlib import AbstractContextManager
    from datetime import datetime

    from reconciler.client.pulse import Pulse
    from reconciler.client.reach import Reach
    from reconciler.contracts import Session
    from reconciler.model.batch import Batch, NotBegun, Order, Read, Target
    from reconciler.worker.fetching import Fetching
    from reconciler.worker.halts import Halts
    from reconciler.worker.lending import Lending

READ_AT_ONCE = 50
"""Files that a session reads in one go; see `contracts.Session.read`."""
_PROBED = Wait("looked at", "probe")


@dataclass(frozen=True, slots=True)
class Turn:
    """A client of an order, whose turn comes.

    `tries` is how often to try to connect; 0: once, and who gives the turn has it come again later.
    """

    order: Order
    target: Target
    tries: int = CONNECT_TRIES


class Answerer:
    """Answers for clients. Used by several threads at once."""

    def __init__(
        self,
        reach: Reach,
        content: Callable[[str], AbstractContextManager[BinaryIO]],
        clock: Callable[[], datetime],
        halts: Halts,
        fetching: Fetching,
        lending: Lending,
    ) -> None:
        """Take the ways to clients, what opens content by its SHA-256, whom not to begin with, and how relays fare.

        `lending` counts those under way.
        """
        self._reach = reach
        self._clock = clock
        self._halts = halts
        self._changer = Changer(content)
        self._fetching = fetching
        self._lending = lending
        self._liked: tuple[Change | None, Hashable] = (None, None)

    def answer(self, turn: Turn) -> Answer | None:
        """Do what is asked with a client, or say why nothing was begun; None where it is to be tried again later.

        Raises:
            LimitError: this machine has no room for more.
        """
        batch, target = turn.order.batch, turn.target
        empty = Answer(batch=batch.id, attempt=batch.attempt, client=target.client.name)
        refusal = self._halts.refusal(batch) or self._nothing_left(turn)
        if refusal:
            return replace(empty, not_begun=refusal, halted=_components(turn) if refusal == "halted" else ())
        pulse = self._lending.begin()
        try:
            return self._answer(turn, empty, pulse)
        finally:
            self._lending.end(pulse)

    def _answer(self, turn: Turn, empty: Answer, pulse: Pulse) -> Answer | None:
        client, keep = turn.target.client, _keeps(turn)
        begun = monotonic()
        answer = empty

        def work(session: Session) -> Answer:
            nonlocal answer
            answer = replace(empty, seconds=monotonic() - begun)
            return self._work(answer, turn, session, pulse)

        with Caught() as caught:
            if turn.tries:
                answer = self._reach.work(client, work, keep=keep, tries=turn.tries, pulse=pulse)
            elif (done := self._reach.work_at_first(client, work, keep=keep, pulse=pulse)) is None:
                return None
            else:
                answer = done
        if caught.error is not None:
            answer = replace(answer, error=caught.error)
        return replace(answer, at=self._clock())

    def _nothing_left(self, turn: Turn) -> NotBegun:
        """Say `halted` of a client of which no step is left."""
        task = turn.order.batch.task
        if not isinstance(task, Change):
            return ""
        wanted = (*task.steps, *turn.target.steps, *task.early)
        return "halted" if wanted and not self._halts.rest(wanted, turn.order.batch) else ""

    def _work(self, answer: Answer, turn: Turn, session: Session, pulse: Pulse) -> Answer:
        """Do it, if there is still time: a connection may have taken long, and so may a place for a change."""
        batch, task = turn.order.batch, turn.order.batch.task
        if isinstance(task, Change):
            heard = HeardSession(session, pulse, self._like(task))
            if task.purpose == "check":
                return self._in_time(answer, batch) or self._change(answer, turn, task, heard)
            waited = self._lending.begin_change(self._halts.stopped, at_once=batch.finishes)
            try:
                late = self._in_time(answer, batch, anew=waited)
                return late or self._change(answer, turn, task, heard)
            finally:
                self._lending.end_change()
        if late := self._in_time(answer, batch):
            return late
        if isinstance(task, Probe):
            root = turn.target.client.install_root
            return pulse.waits(_PROBED, lambda: _probed(answer, task, root, session))
        return self._look(answer, task, turn.target, HeardSession(session, pulse))

    def _in_time(self, answer: Answer, batch: Batch, *, anew: bool = False) -> Answer | None:
        """Say why nothing is begun any more; None where it is. One that waits `anew` isn't under way any longer."""
        refusal = self._halts.refusal(batch) if anew else self._halts.overdue(batch)
        return replace(answer, not_begun=refusal) if refusal else None

    def _like(self, task: Change) -> Hashable:
        """Give by what a change is compared with others: they bring the same releases."""
        known, like = self._liked
        if known is not task:
            like = frozenset((step.component, step.to_version) for step in (*task.steps, *task.early))
            self._liked = task, like
        return like

    def _look(self, answer: Answer, task: Look | Read, target: Target, session: HeardSession) -> Answer:
        root = target.client.install_root
        if isinstance(task, Look):
            if target.mark and not (task.questions or task.verify or task.tools):
                found = session.look_again(root, target.mark)
                return replace(answer, same=found) if isinstance(found, Same) else replace(answer, facts=found)
            asked = Asked(task.questions, target.client.vars)
            return replace(answer, facts=session.facts(root, verify=task.verify, tools=task.tools, asked=asked))
        files: dict[str, bytes | None] = {}
        for start in range(0, len(target.paths), READ_AT_ONCE):
            files |= session.read(root, target.paths[start : start + READ_AT_ONCE])
        return replace(answer, files=files)

    def _change(self, answer: Answer, turn: Turn, task: Change, session: Session) -> Answer:
        """Change a client, which fetches what a relay offers."""
        over = None
        if task.relay is not None:
            session = over = self._fetching.over(turn.order.batch.run_id, task.relay, session)
        done = self._changer.change(task, turn.order, turn.target, self._halts, session)
        return replace(
            answer,
            steps=done.steps,
            halted=done.halted,
            bytes_sent=done.bytes_sent,
            fetched=over.fetched if over is not None else 0,
            unfetched=over.trouble if over is not None else "",
            error=done.error,
        )


def _probed(answer: Answer, task: Probe, root: str, session: Session) -> Answer:
    """Have a client fetch a part of a relay, and say what came of that."""
    if not isinstance(session, RelaySession):
        raise ClientError("its transport can't have it try a relay")
    order = HoldOrder(store=root, probe=task.url, size=task.size, sha256=task.sha256)
    said = session.hold(order, _no_content, lambda _size: None).serving
    if said == "yes":
        return replace(answer, fetched=task.size)
    return replace(answer, unfetched=said.removeprefix("no").strip())


def _no_content(sha256: str) -> AbstractContextManager[BinaryIO]:
    raise AssertionError(sha256)


def _keeps(turn: Turn) -> bool:
    task = turn.order.batch.task
    return (isinstance(task, Look) and task.keep) or (isinstance(task, Change) and task.stay)


def _components(turn: Turn) -> tuple[str, ...]:
    task = turn.order.batch.task
    assert isinstance(task, Change)
    return tuple(step.component for step in (*task.steps, *turn.target.steps, *task.early))
