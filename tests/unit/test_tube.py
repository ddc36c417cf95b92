"""A channel as the socket of another connection: nothing is sent on it once it is closed, whichever thread is late."""

from threading import Barrier, Thread
from typing import Any

import pytest

from reconciler.plugins.transport._ssh_jump import Tube


class Channel:
    """Writes down what is sent and when it is closed."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def send(self, data: Any) -> Any:
        self.said.append(data)
        return len(data)

    def close(self) -> None:
        self.said.append("closed")


def test_nothing_is_sent_after_it_is_closed_and_it_is_closed_once() -> None:
    for _ in range(50):
        channel, start = Channel(), Barrier(4)
        tube = Tube(channel)

        def send(tube: Any = tube, start: Any = start) -> None:
            start.wait()
            for _ in range(20):
                try:
                    tube.send(b"x")
                except EOFError:
                    return

        def close(tube: Any = tube, start: Any = start) -> None:
            start.wait()
            tube.close()

        threads = [Thread(target=work) for work in (send, send, close, close)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert channel.said.count("closed") == 1
        assert channel.said[-1] == "closed"
        with pytest.raises(EOFError):
            tube.send(b"late")
