"""What a worker's process hears beside orders, and says of itself: one thread with a connection of its own.

It reads the stream of its site from the beginning, an hour at most, so that a process that begins later knows what was
halted before. Every few seconds it says that it lives, how many clients it takes at a time, and which batch it has.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.errors import NetworkError

from ...executor._celery.wire import BEAT, GONE, MAX_PAUSE, RESULTS, alive_of, close, drain, queue_of, stream_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from logging import Logger

    import amqp

    from reconciler.model.batch import Halt

    from ...executor._celery.wire import Broker

_PREFETCH = 200
_MAX = 10_000
"""How many batches that were dropped, and how many halts of a controller, are remembered."""
Key = tuple[str, str, int]
"""A batch: the crew that sent it, its id and attempt."""


@dataclass(frozen=True, slots=True)
class _Heard:
    """When a controller was heard of last, and how often it says that it lives."""

    at: float
    every: float


class Control:
    """What holds for batches of a controller. Safe to ask from several threads."""

    def __init__(self, broker: Broker, site: str, name: str, slots: int, log: Logger) -> None:
        """Take the name of this process, and how many clients it takes at a time."""
        self._broker = broker
        self._site = site
        self._name = name
        self._slots = slots
        self._log = log
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._heard: dict[str, _Heard] = {}
        self._halts: dict[str, dict[Halt, None]] = {}  # a controller's own: another one may go on
        self._stopped: dict[str, None] = {}
        self._dropped: dict[Key, None] = {}
        self._over = threading.Event()
        self._now = threading.Event()
        self._thread = threading.Thread(target=self._run, name="updoser_control", daemon=True)
        self._told: Callable[[], None] = _tell_nobody
        self.batch: tuple[str, int] | None = None
        """What the process has in hand."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Say that this process leaves, and end."""
        self._over.set()
        self._thread.join(5)

    @contextmanager
    def telling(self, told: Callable[[], None]) -> Iterator[None]:
        """Have somebody called, in the thread of this, whenever something was heard in the block."""
        self._told = told
        try:
            told()
            yield
        finally:
            self._told = _tell_nobody

    def halts(self, reply: str) -> tuple[Halt, ...]:
        """Give what a controller has halted."""
        with self._lock:
            return tuple(self._halts.get(reply, ()))

    def stopped(self, reply: str) -> bool:
        """Say whether a controller wants nothing more to be begun."""
        with self._lock:
            return reply in self._stopped

    def silent(self, reply: str) -> bool:
        """Say whether a controller hasn't been heard of for too long."""
        with self._lock:
            heard = self._heard.get(reply, _Heard(self._began, BEAT))
            return time.monotonic() - heard.at > GONE * heard.every

    def dropped(self, key: Key) -> bool:
        """Say whether a controller has given up a batch."""
        with self._lock:
            return key in self._dropped

    def _every(self) -> float:
        """Give how often this process says that it lives: as often as the most impatient controller does."""
        now = time.monotonic()
        with self._lock:
            return min((one.every for one in self._heard.values() if now - one.at <= GONE * one.every), default=BEAT)

    def _run(self) -> None:
        pause, said = 0.5, ""
        while not self._over.is_set():
            connection = None
            try:
                connection = self._broker.connect()
                if said:
                    self._log.warning("the broker is there again")
                pause, said = 0.5, ""
                with self._broker.mapped():
                    self._listen(connection)
            except NetworkError as error:
                if not said:
                    self._log.warning("the broker can't be reached, and is tried again: %s", error.message)
                said = error.message
                self._over.wait(pause)
                pause = min(pause * 2, MAX_PAUSE)
            finally:
                close(connection)

    def _listen(self, connection: amqp.Connection) -> None:
        channel, signs = connection.channel(), connection.channel()
        channel.basic_qos(0, _PREFETCH, a_global=False)

        def take(message: amqp.Message) -> None:
            self._take(message.body)
            channel.basic_ack(message.delivery_tag)

        channel.basic_consume(stream_of(self._site), callback=take, arguments={"x-stream-offset": "first"})
        said = 0.0
        while not self._over.is_set():
            if self._now.is_set() or time.monotonic() - said >= self._every():
                self._now.clear()
                self._say(signs)
                said = time.monotonic()
                connection.heartbeat_tick()
            drain(connection)
        self._say(signs, leaves=True)

    def _say(self, channel: amqp.Channel, **more: Any) -> None:
        from amqp import Message

        batches = [self.batch] if self.batch else []
        body = json.dumps({"worker": self._name, "slots": self._slots, "batches": batches, **more})
        message = Message(body.encode(), user_id=queue_of(self._site))
        channel.basic_publish(message, RESULTS, alive_of(self._site))

    def _take(self, body: Any) -> None:
        """Take what a controller says; what can't be understood is no word of one."""
        try:
            said = json.loads(body)
            kind, reply = said["kind"], str(said["from"])[:100]
            every = min(max(float(said.get("every", BEAT)), 1.0), 60.0)
            halted = [(str(one[0]), str(one[1]), str(one[2])) for one in said.get("halted", ())][:_MAX]
            dropped = [(reply, str(one[0]), int(one[1])) for one in said.get("batches", ())][:_MAX]
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            return
        with self._lock:
            self._heard[reply] = _Heard(time.monotonic(), every)
            if kind == "halt":
                self._halts.setdefault(reply, {}).update(dict.fromkeys(halted))
            elif kind in {"stop", "gone"}:
                self._stopped[reply] = None
            elif kind == "drop":
                self._dropped.update(dict.fromkeys(dropped))
            elif kind == "who":
                self._now.set()
            for known in (self._heard, self._halts, self._stopped, self._dropped):
                while len(known) > _MAX:
                    known.pop(next(iter(known)))  # type: ignore[call-overload]
        self._told()


def _tell_nobody() -> None:
    """Tell nobody."""
