"""The controller's way to a site: one thread with a connection of its own, for all that is sent.

What is to be sent waits in a line until the broker has confirmed it: where the connection breaks, it is sent again over
the next one, and whoever gets it twice has a way to know. The broker is tried again for as long as the crew is open.
"""

from __future__ import annotations

import json
import time
from collections import deque
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from reconciler.errors import NetworkError

from .wire import CONTROL, MAX_PAUSE, SILENCE, close, within

if TYPE_CHECKING:
    from collections.abc import Mapping

    import amqp

    from .wire import Broker

_TICK = 0.5
_PERSISTENT = 2


@dataclass(frozen=True, slots=True)
class Letter:
    """A message on its way: to an exchange under a key, with its body and its properties."""

    exchange: str
    key: str
    body: bytes
    properties: Mapping[str, Any] = field(default_factory=dict)


class Sender:
    """Sends, and says every few seconds that the crew is still there."""

    def __init__(self, broker: Broker, site: str, reply: str) -> None:
        """Take the broker, the site that is written to, and the name of the crew that writes."""
        self._broker = broker
        self._site = site
        self._reply = reply
        self._line: SimpleQueue[Letter | None] = SimpleQueue()
        self._over = Event()
        self._line_ended = False
        self._reached = False
        self._thread = Thread(target=self._run, name=f"updoser_to_{site}", daemon=True)
        self.trouble = ""
        """Why the last message isn't there yet; empty where all is well."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def send(self, letter: Letter) -> None:
        """Have something sent, in its turn."""
        self._line.put(letter)

    def control(self, kind: str, **more: Any) -> None:
        """Tell all workers of the site something."""
        self._line.put(self._word(kind, **more))

    def close(self, patience: float) -> None:
        """Send what waits, as far as that is done within so many seconds, and end; nobody is told who never was."""
        self._line.put(None)
        self._thread.join(patience if self._reached else 0.0)
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        waiting: deque[Letter] = deque()
        pause = 0.5
        while not self._over.is_set():
            connection = None
            try:
                connection = self._broker.connect()
                self._reached = True
                self._send_all(connection, waiting)
                break
            except NetworkError as error:
                self.trouble = error.message
                if not waiting and self._line_ended:
                    break
                self._over.wait(pause)
                pause = min(pause * 2, MAX_PAUSE)
            finally:
                close(connection)

    def _send_all(self, connection: amqp.Connection, waiting: deque[Letter]) -> None:
        """Send all that comes, until the end of the line was sent.

        Raises:
            NetworkError: the connection broke; what isn't confirmed is still `waiting`.
        """
        with self._broker.mapped():
            channel = connection.channel()
            beats = time.monotonic()
            while not self._over.is_set():
                while waiting:
                    _publish(channel, waiting[0])
                    waiting.popleft()
                    self.trouble = ""
                if self._line_ended:
                    return
                if time.monotonic() >= beats:
                    _publish(channel, self._word("beat"))
                    self.trouble = ""
                    beats = time.monotonic() + self._broker.beat
                    connection.heartbeat_tick()
                try:
                    letter = self._line.get(timeout=_TICK)
                except Empty:
                    continue
                if letter is None:
                    self._line_ended = True
                else:
                    waiting.append(letter)

    def _word(self, kind: str, **more: Any) -> Letter:
        said = {"kind": kind, "from": self._reply, "every": self._broker.beat, **more}
        return Letter(CONTROL, self._site, json.dumps(said).encode())


def _publish(channel: amqp.Channel, letter: Letter) -> None:
    from amqp import Message

    message = Message(letter.body, delivery_mode=_PERSISTENT, **letter.properties)
    with within(channel.connection, SILENCE):
        channel.basic_publish_confirm(message, letter.exchange, letter.key, mandatory=True)
