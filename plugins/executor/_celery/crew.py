"""The crew of a site: its workers are there, and this is what the controller knows of them.

* A window: as many clients are given as twice the site's workers have room for at a time, and no more than the site is
  limited to. Their signs of life say how much that is, and which batches they have.
* What a site answers counts for what that site was given, and for nothing else.
* A batch is lost where it ended its workers again and again, where its time is over, where nobody at the site has it
  though the queue is empty, and where the site has been down for a while. Workers are told not to begin with it then.
* Answers are acknowledged when the next ones are asked for: what came before has been dealt with by then.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any

from reconciler.errors import UpdoserError, printable
from reconciler.model.batch import Answer, Ended

from .orders import order_letter
from .receiver import Receiver
from .sender import Sender
from .wire import GONE, MISSED, queue_of, unpacked

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from threading import Event
    from typing import Self

    from reconciler.contracts import Hands
    from reconciler.model.batch import Batch, Halt, Order, Report

    from .receiver import Mail
    from .signing import Signer
    from .wire import Broker

AWAY = 120.0
"""Seconds that the broker may be away: it takes a while to start."""
SLACK = 90.0
"""Seconds beyond its budget in which a worker must have said that a batch is over."""
CLOSING = 20.0
"""Seconds in which the last words are sent and acknowledged."""
TIMES = 2

Key = tuple[str, int]


@dataclass(slots=True)
class _Given:
    """A batch that the site has: which of its clients aren't answered for, since when, and when somebody had it."""

    clients: set[str]
    since: float
    seen: float = 0.0
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = len(self.clients)


@dataclass(frozen=True, slots=True)
class _Worker:
    """What a worker said of itself last."""

    at: float
    slots: int
    batches: tuple[Key, ...] = ()


class SiteCrew:
    """The `Crew` protocol of reconciler/contracts.py."""

    def __init__(
        self, broker: Broker, hands: Hands, signer: Signer, *, seal_key: str, batch: int, budget: float, stop: Event
    ) -> None:
        """Take what is needed to reach the site that the hands are for."""
        self._hands = hands
        self._site = hands.site
        self._signer = signer
        self._seal_key = seal_key
        self._batch = min(batch, hands.limit or batch)
        self._budget = budget
        self._run_stop = stop
        self._said_stop = False
        self._reply = secrets.token_hex(8)
        self._beat = broker.beat
        self._silence, self._gone = MISSED * broker.beat, GONE * broker.beat
        self._sender = Sender(broker, self._site, self._reply)
        self._receiver = Receiver(broker, self._site, self._reply, alive=self._hear, listens=self._ask)
        self._given: dict[Key, _Given] = {}
        self._halted: set[Halt] = set()
        self._later: list[Report] = []
        self._dealt: list[Mail] = []
        self._lock = Lock()
        self._workers: dict[str, _Worker] = {}
        self._had: dict[Key, float] = {}
        self._opened = self._alive_at = time.monotonic()
        self._heard = False
        self._checked = 0.0

    def __enter__(self) -> Self:
        """Begin to listen and to speak."""
        self._receiver.start()
        self._sender.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Have nothing begun any more, and wait for what is under way."""
        self.stop()
        while self._given:
            self.receive(1.0)
        self._acknowledge()
        self._sender.control("gone")
        self._sender.close(CLOSING)
        self._receiver.close(CLOSING)

    def lane(self, client: str) -> str:  # noqa: ARG002 - its workers are all alike
        """Name the only lane."""
        return ""

    def room(self, lane: str) -> int:  # noqa: ARG002 - there is one
        """Say for how many clients more there is room in the window."""
        with self._lock:
            slots = sum(worker.slots for worker in self._living())
        window = min(TIMES * slots, self._hands.limit or TIMES * slots)
        return window - sum(len(given.clients) for given in self._given.values())

    @property
    def size(self) -> int:
        """How many clients a batch should have."""
        return self._batch

    def refusal(self, lane: str) -> str:  # noqa: ARG002 - there is one
        """Say that the site has no worker, or that the way to it is broken; it takes a while to be sure of that."""
        with self._lock:
            living = bool(self._living())
        trouble = self._receiver.trouble or self._sender.trouble
        if living and not trouble:
            return ""
        patience = (AWAY if trouble else self._silence) if self._heard else TIMES * self._beat
        if time.monotonic() - max(self._opened, self._receiver.since) < patience:
            return ""
        return f"site {self._site}: {trouble}" if trouble else f"site {self._site} has no worker"

    def give(self, lane: str, order: Order) -> None:  # noqa: ARG002 - there is one
        """Send a batch to the site."""
        batch = order.batch
        if not batch.targets:
            self._later.append(Ended(batch.id, batch.attempt))
            return
        names = {target.client.name for target in batch.targets}
        if self._said_stop and not batch.finishes:
            self._later += [_stopped(batch, name) for name in sorted(names)]
            self._later.append(Ended(batch.id, batch.attempt))
            return
        try:
            letter = order_letter(
                order,
                self._hands.encode(order),
                site=self._site,
                reply=self._reply,
                signer=self._signer,
                seal_key=self._seal_key,
                budget=self._budget,
                halted=self._halted,
            )
        except UpdoserError as error:
            self._later.append(Ended(batch.id, batch.attempt, error.message))
            return
        now = time.monotonic()
        self._given[batch.id, batch.attempt] = _Given(names, now, now)
        self._sender.send(letter)

    def halt(self, halted: Collection[Halt]) -> None:
        """Tell all workers of the site."""
        if halted:
            self._halted |= set(halted)
            self._sender.control("halt", halted=[list(halt) for halt in halted])

    def receive(self, timeout: float) -> Sequence[Report]:
        """Give what came since the last call; what that call gave counts as dealt with."""
        self._acknowledge()
        if self._run_stop.is_set():
            self.stop()
        reports, self._later = self._later, []
        for mail in self._receiver.take(0.0 if reports else timeout):
            self._dealt.append(mail)
            reports += self._read(mail)
        return [*reports, *self._lost()]

    def stop(self) -> None:
        """Tell all workers of the site to begin no client of ours any more."""
        if not self._said_stop:
            self._said_stop = True
            self._sender.control("stop")

    # --- what comes ---------------------------------------------------------------------------------------------------

    def _acknowledge(self) -> None:
        for mail in self._dealt:
            self._receiver.acknowledge(mail)
        self._dealt.clear()

    def _read(self, mail: Mail) -> list[Report]:
        if mail.kind == "dead":
            return self._dead(mail.headers)
        if mail.sender != queue_of(self._site):
            return []  # another site's worker, or somebody whom the broker doesn't vouch for
        try:
            reports = [self._hands.decode(line) for line in unpacked(mail.body).splitlines()]
        except (UpdoserError, ValueError):
            return []  # its batch is given again when its time is over
        return [report for report in reports if self._counts(report)]

    def _counts(self, report: Report) -> bool:
        """Say whether it is of a batch that the site has, and comes for the first time."""
        key = report.batch, report.attempt
        given = self._given.get(key)
        if given is None:
            return False
        given.seen = time.monotonic()
        if isinstance(report, Answer):
            known = report.client in given.clients
            given.clients.discard(report.client)
            return known
        del self._given[key]
        return True

    def _dead(self, headers: Mapping[str, Any]) -> list[Report]:
        attempt = headers.get("attempt")
        key = str(headers.get("batch", "")), attempt if isinstance(attempt, int) else 0
        if self._given.pop(key, None) is None:
            return []
        return [Ended(*key, f"it ended its worker at the site {self._site} again and again")]

    def _ask(self) -> None:
        """Ask who is there, as soon as the answers to that are heard; called from the receiver's thread."""
        self._sender.control("who")

    def _hear(self, sender: str, body: bytes) -> None:
        """Take a sign of life; called from the receiver's thread."""
        if sender != queue_of(self._site):
            return
        try:
            said = json.loads(body)
            name, slots = printable(str(said["worker"]))[:100], min(_whole(said["slots"]), 10_000)
            batches = tuple((str(one[0]), _whole(one[1])) for one in said.get("batches", ()))
            leaves = said.get("leaves") is True
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            return
        now = time.monotonic()
        with self._lock:
            self._alive_at, self._heard = now, True
            if leaves:
                self._workers.pop(name, None)
            else:
                self._workers[name] = _Worker(now, slots, batches)
            self._had.update(dict.fromkeys(batches, now))

    def _living(self) -> list[_Worker]:
        """Give the workers that were heard of lately, and forget the others."""
        oldest = time.monotonic() - self._silence
        self._workers = {name: worker for name, worker in self._workers.items() if worker.at >= oldest}
        return list(self._workers.values())

    # --- what doesn't come --------------------------------------------------------------------------------------------

    def _lost(self) -> list[Report]:
        """Give up what nothing will come of."""
        now = time.monotonic()
        if now - self._checked < 1.0:
            return []
        self._checked = now
        with self._lock:
            had, self._had = self._had, {}
        for key, at in had.items():
            if key in self._given:
                self._given[key].seen = at
        lost = {key: why for key, given in self._given.items() if (why := self._why_lost(given, now))}
        for key in lost:
            del self._given[key]
        if lost:
            self._sender.control("drop", batches=[list(key) for key in lost])
        return [Ended(*key, why) for key, why in lost.items()]

    def _why_lost(self, given: _Given, now: float) -> str:
        if (refusal := self.refusal("")) and now - max(self._alive_at, self._opened) >= self._gone:
            return refusal
        if self._said_stop and refusal:
            return refusal  # nobody will say more, and nothing of it is begun
        if self._receiver.trouble or self._sender.trouble:
            return ""
        if self._receiver.waiting == 0 and min(now - given.seen, now - self._receiver.since) >= self._gone:
            return f"nobody at the site {self._site} has it"
        if now - given.seen >= self._budget + SLACK and now - given.since >= 2 * (self._budget + SLACK):
            return f"the site {self._site} isn't through with it in time"
        return ""


def _stopped(batch: Batch, client: str) -> Answer:
    return Answer(batch=batch.id, attempt=batch.attempt, client=client, not_begun="stopped")


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no number")
    return value
