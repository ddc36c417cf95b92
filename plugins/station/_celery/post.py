"""What a worker's process reports: confirmed by the broker before anything else is done with the batch."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from reconciler.errors import NetworkError

from ...executor._celery.wire import MAX_PAUSE, RESULTS, SILENCE, answers_of, close, packed, queue_of, within

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from logging import Logger

    import amqp

    from reconciler.model.batch import Report

    from ...executor._celery.wire import Broker

_PERSISTENT = 2


class Post:
    """Publishes reports, over a connection that is made anew where it breaks. Used from one thread."""

    def __init__(self, broker: Broker, site: str, write: Callable[[Report], bytes], log: Logger) -> None:
        """Take the broker and the form of a report."""
        self._broker = broker
        self._user = queue_of(site)
        self._write = write
        self._log = log
        self._connection: amqp.Connection | None = None
        self._channel: amqp.Channel | None = None
        self._never = threading.Event()

    def send(self, reply: str, reports: Sequence[Report]) -> None:
        """Publish reports; return when the broker has them, however long that takes."""
        if not reports:
            return
        from amqp import Message

        body = packed(b"\n".join(self._write(report) for report in reports))
        pause = 0.2
        while True:
            try:
                with self._broker.mapped():
                    message = Message(body, user_id=self._user, delivery_mode=_PERSISTENT)
                    channel = self._open()
                    with within(channel.connection, SILENCE):
                        channel.basic_publish_confirm(message, RESULTS, answers_of(reply))
            except NetworkError as error:
                self._log.info("a report waits for the broker: %s", error.message)
                self.close()
                self._never.wait(pause)
                pause = min(pause * 2, MAX_PAUSE)
            else:
                return

    def close(self) -> None:
        """Give the connection up."""
        close(self._connection)
        self._connection = self._channel = None

    def _open(self) -> amqp.Channel:
        if self._channel is None:
            self._connection = self._broker.connect()
            self._channel = self._connection.channel()
        return self._channel
