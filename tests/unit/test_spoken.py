"""A controller at its end of a line to a worker: what it believes of what that lends."""

from __future__ import annotations

from contextlib import nullcontext
from queue import SimpleQueue
from typing import Any

import pytest

from reconciler.contracts import Hands
from reconciler.formats.frames import PREFACE, Frames, Kind, json_frame, number_frame
from reconciler.plugins.executor._spoken.crew import SpokenCrew
from tests.waiting import until


class Wire:
    """A worker that says what a test has it say."""

    def __init__(self) -> None:
        self._says: SimpleQueue[bytes] = SimpleQueue()
        self._frames = Frames()
        self.heard: list[Any] = []
        self.say(PREFACE + json_frame(Kind.HELLO, {"updoser": "0", "formats": "1.0"}))

    def say(self, data: bytes) -> None:
        self._says.put(data)

    def read(self) -> bytes:
        return self._says.get()

    def write(self, data: bytes) -> None:
        self.heard += self._frames.feed(data)

    def finish(self) -> None:
        self.say(b"")

    def end(self, _patience: float) -> str:
        self.say(b"")
        return ""


def crew_of(wire: Wire, lends: int) -> SpokenCrew:
    nobody: Any = nullcontext()
    hands = Hands(threads=lambda _forks: nobody, content=lambda _sha256: nobody, lends=lends)
    return SpokenCrew({"the worker": lambda: wire}, hands, {"silence": 600.0}, forks=3, size=1)


def setup_of(wire: Wire) -> Any:
    until(lambda: wire.heard)
    return wire.heard[0].json


@pytest.mark.parametrize(("said", "more"), [(0, 0), (2, 2), (9, 9), (10, 9), (2**32 - 1, 9)])
def test_a_worker_that_lends_is_given_more_clients_up_to_the_bound(said: int, more: int) -> None:
    wire = Wire()
    with crew_of(wire, lends=4) as crew:
        assert setup_of(wire)["lends"] == 4
        assert crew.room("") == 2 * 3
        wire.say(number_frame(Kind.LENT, said))
        until(lambda: crew.room("") == 2 * 3 + more)


def test_a_worker_that_may_lend_nothing_is_given_no_more_whatever_it_says() -> None:
    wire = Wire()
    with crew_of(wire, lends=1) as crew:
        assert "lends" not in setup_of(wire)
        wire.say(number_frame(Kind.LENT, 5) + json_frame(Kind.READY, {}))
        line: Any = crew._lanes[""].line
        until(lambda: line.ready)
        assert crew.room("") == 2 * 3
