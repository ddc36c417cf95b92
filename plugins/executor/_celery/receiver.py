"""What comes from a site: one thread with a connection of its own, made anew for as long as the crew is open.

Answers lie in a queue of the crew, which the broker keeps for an hour without it. They are acknowledged when the crew
says so, and come again after a break where it hadn't yet. Signs of life go to a queue that is gone with the connection:
what they said is old by then.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Literal

from reconciler.errors import NetworkError

from .wire import DEAD, MAX_BODY, MAX_PAUSE, RESULTS, SILENCE, alive_of, answers_of, close, drain, queue_of, within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import amqp

    from .wire import Broker

KEPT_MS = 3_600_000
"""How long the broker keeps answers for a crew that is away."""
PREFETCH = 200
SERVES = 30.0
"""Seconds in which a broker begins to serve a queue that it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A message as it came: its body, who sent it by the broker's word, and its headers.

    `tag` is what it is acknowledged by, over the connection of that `number`.
    """

    kind: Literal["answers", "dead"]
    body: bytes
    sender: str
    headers: Mapping[str, Any]
    tag: int
    number: int


class Receiver:
    """Receives, and acknowledges what was dealt with."""

    def __init__(
        self,
        broker: Broker,
        site: str,
        reply: str,
        *,
        alive: Callable[[str, bytes], None],
        listens: Callable[[], None],
    ) -> None:
        """Take the broker, the site, and the name of the crew.

        `alive` is told of signs of life: their sender and body. `listens` is called whenever these begin to be heard.
        """
        self._broker = broker
        self._site = site
        self._reply = reply
        self._alive = alive
        self._listens = listens
        self._mail: SimpleQueue[Mail] = SimpleQueue()
        self._done: SimpleQueue[Mail] = SimpleQueue()
        self._over = Event()
        self._number = self._queue = 0
        self._thread = Thread(target=self._run, name=f"updoser_from_{site}", daemon=True)
        self.trouble = ""
        """Why nothing is heard now; empty where the broker is connected."""
        self.since = time.monotonic()
        """Since when it is as it is."""
        self.ready = Event()
        """Set once the queue of the crew is there."""
        self.waiting = -1
        """How many orders waited in the site's queue when that was asked last; -1: nobody knows."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def take(self, timeout: float) -> Iterator[Mail]:
        """Give what came; wait up to so many seconds for the first of it."""
        while True:
            try:
                yield self._mail.get(timeout=timeout) if timeout > 0 else self._mail.get_nowait()
            except Empty:
                return
            timeout = 0.0

    def acknowledge(self, mail: Mail) -> None:
        """Let the broker forget a message."""
        self._done.put(mail)

    def close(self, patience: float) -> None:
        """Acknowledge what waits for it, take the queue away, and end within so many seconds."""
        self._over.set()
        self._thread.join(patience)

    def _run(self) -> None:
        pause = 0.5
        while not self._over.is_set():
            connection = None
            try:
                connection = self._broker.connect()
                with self._broker.mapped():
                    self._listen(connection)
            except NetworkError as error:
                if not self.trouble:
                    self.since = time.monotonic()
                    pause = 0.5
                self.trouble = error.message
                self._over.wait(pause)
                pause = min(pause * 2, MAX_PAUSE)
            finally:
                close(connection)

    def _listen(self, connection: amqp.Connection) -> None:
        self._number += 1
        number, channel = self._number, connection.channel()
        with within(connection, SILENCE):
            queue = self._declare(channel)
            channel.basic_qos(0, PREFETCH, a_global=False)
            signs = channel.queue_declare(f"{queue}.alive.{number}", exclusive=True, auto_delete=True).queue
            channel.queue_bind(signs, RESULTS, alive_of(self._site))
            channel.basic_consume(signs, no_ack=True, callback=self._hear)
        try:
            with within(connection, SERVES):
                channel.basic_consume(queue, callback=lambda message: self._take(message, number))
        except TimeoutError:
            self._queue += 1  # see _declare
            raise
        self.trouble, self.since = "", time.monotonic()
        self.ready.set()
        self._listens()
        asked = 0.0
        while not self._over.is_set():
            drain(connection)
            self._acknowledge_all(channel, number)
            if time.monotonic() - asked >= self._broker.beat:
                asked = time.monotonic()
                connection.heartbeat_tick()
                with within(connection, SILENCE):
                    self.waiting = channel.queue_declare(queue_of(self._site), passive=True).message_count
        self._acknowledge_all(channel, number)
        with within(connection, SILENCE):
            channel.queue_delete(queue)

    def _declare(self, channel: amqp.Channel) -> str:
        """Have the queue of the crew be there, and give its name.

        A broker that was cut off a moment after it declared a quorum queue may have the queue, but not its log, and
        then never serves it (RabbitMQ 3.10). Another one takes its place; no answer waits for the dead one to store it.
        What lay in that is lost, and its batches are given again.
        """
        key = answers_of(self._reply)
        names = [key, *(f"{key}.{number}" for number in range(1, self._queue + 1))]
        waiting = {"x-match": "all", "reply": self._reply}
        for name in names[:-1]:
            channel.queue_unbind(name, RESULTS, key)
            channel.queue_unbind(name, DEAD, "", arguments=waiting)
        lasting = {"x-queue-type": "quorum", "x-expires": KEPT_MS}
        channel.queue_declare(names[-1], durable=True, auto_delete=False, arguments=lasting)
        channel.queue_bind(names[-1], RESULTS, key)
        channel.queue_bind(names[-1], DEAD, "", arguments=waiting)
        return names[-1]

    def _take(self, message: amqp.Message, number: int) -> None:
        properties, way = message.properties, message.delivery_info
        headers = properties.get("application_headers") or {}
        body = message.body if isinstance(message.body, bytes) else str(message.body).encode()
        kind: Literal["answers", "dead"] = "dead" if way["exchange"] == DEAD else "answers"
        sender = str(properties.get("user_id", ""))
        self._mail.put(
            Mail(
                kind=kind,
                body=body if len(body) <= MAX_BODY else b"",
                sender=sender,
                headers=headers,
                tag=way["delivery_tag"],
                number=number,
            )
        )

    def _hear(self, message: amqp.Message) -> None:
        body = message.body if isinstance(message.body, bytes) else str(message.body).encode()
        self._alive(str(message.properties.get("user_id", "")), body)

    def _acknowledge_all(self, channel: amqp.Channel, number: int) -> None:
        while True:
            try:
                mail = self._done.get_nowait()
            except Empty:
                return
            if mail.number == number:  # what came over a connection that is gone comes again
                channel.basic_ack(mail.tag)
