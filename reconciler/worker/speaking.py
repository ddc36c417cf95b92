"""A worker that speaks over two streams of bytes: it gets orders on one, and reports on the other.

* It says first what it is. The controller answers with a setup, and nothing else is believed before it.
* Content that it lacks it asks for (`asking`); private content comes with its order and is held as long as that.
* Both sides say every few seconds that they are there. Where the controller isn't any more, because its end of the
  stream is closed or it is silent for too long, no client is begun: those under way are finished, and then it ends.
* For how many clients more it has room, as others are silent, it says whenever that changes, where the setup asks so.
* What isn't of the protocol ends it, with the reason as its last message.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import time
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Protocol, cast

from reconciler import __version__
from reconciler.errors import DocumentError, ProtocolError, TransportError, UpdoserError
from reconciler.formats.answer_json import error_form, read_error, write_report
from reconciler.formats.batch_json import FORMAT_VERSION, read_batch
from reconciler.formats.frames import PREFACE, Frame, Frames, Kind, frame, json_frame, number_frame
from reconciler.model.batch import Ended, Order
from reconciler.worker.asking import Asking

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from threading import Event

    from reconciler.contracts import Crew, Lender
    from reconciler.model.batch import Halt, Report

ALIVE = 4.0
"""Seconds between two signs of life."""
SILENCE = 30.0
"""Seconds of silence after which the other side is gone, where the setup says nothing else."""
MAX_HELD = 512 * 2**20
"""Bytes of private content that wait for their order."""
_TICK = 0.05
"""Seconds between two looks at what came while clients are worked on."""
_READ = 256 * 2**10
_LOG = logging.getLogger("updoser.worker")


class Ready(Protocol):
    """A worker that knows its setup."""

    def crew(self) -> AbstractContextManager[Lender]:
        """Give what carries orders out."""

    def masked(self, text: str) -> str:
        """Take secrets out of a text."""


@dataclass(frozen=True, slots=True)
class _Gone:
    """The controller went; `error` says why where it did so without leave."""

    error: UpdoserError | None = None


class Speaker:
    """The worker's side."""

    def __init__(self, incoming: int, outgoing: int, prepare: Callable[[Mapping[str, Any], Asking], Ready]) -> None:
        """Take the descriptors of both streams, and what makes a worker of its setup and what asks for content."""
        self._incoming = incoming
        self._out = _Out(outgoing)
        self._prepare = prepare
        self._inbox: SimpleQueue[Frame | _Gone] = SimpleQueue()
        self._heard = time.monotonic()
        self._silence = SILENCE
        self._says_lent = False
        self._private: dict[str, bytes] = {}
        self._asking = Asking(self._out.send)
        self._crew: Crew | None = None

    def run(self, stop: Event, over: Event) -> int:
        """Speak until the controller has no more to say; give the exit status.

        `stop` is set when work is to end, `over` when no content comes any more.
        """
        self._out.send(PREFACE + json_frame(Kind.HELLO, {"updoser": __version__, "formats": FORMAT_VERSION}))
        Thread(target=self._listen, name="listener", daemon=True).start()
        try:
            setup = self._first()
            if setup is None:
                return 0
            ready = self._prepare(setup, self._asking)
            with ready.crew() as crew:
                self._out.send(json_frame(Kind.READY, {}))
                return self._serve(crew, ready, stop, over)
        except UpdoserError as error:
            self._out.send(json_frame(Kind.FAILED, error_form(error)))
            _LOG.error("%s", error)
            return error.exit_code

    def _first(self) -> Mapping[str, Any] | None:
        """Wait for the setup; None where the controller goes without one."""
        said = self._next(ALIVE)
        while said is None or (isinstance(said, Frame) and said.kind is Kind.ALIVE):
            self._keep_up()
            said = self._next(ALIVE)
        if isinstance(said, _Gone):
            if said.error is not None:
                raise said.error
            return None
        if said.kind is not Kind.SETUP:
            raise ProtocolError(f"a message {said.kind.name} came before the setup")
        setup = said.json
        if type(setup) is not dict or setup.get("format_version", "").partition(".")[0] != "1":
            raise DocumentError("the setup that came isn't one that this version of updoser reads")
        silence = setup.get("silence", SILENCE)
        self._says_lent = "lends" in setup
        self._silence = float(silence) if type(silence) in {int, float} and silence > 0 else SILENCE
        return cast("Mapping[str, Any]", setup)

    def _serve(self, crew: Lender, ready: Ready, stop: Event, over: Event) -> int:
        under_way: set[tuple[str, int]] = set()
        lent = 0
        gone: _Gone | None = None
        self._crew = crew
        while True:
            said = self._next(0 if under_way else min(ALIVE, self._silence) / 2)
            while said is not None:
                if isinstance(said, _Gone):
                    gone = gone or said
                    over.set()
                    crew.stop()
                    self._asking.leave(said.error or TransportError("the controller is gone"))
                else:
                    self._take(said, crew, under_way, stop)
                said = self._next(0)
            reports = crew.receive(0 if not under_way else _TICK)
            for report in reports:
                if isinstance(report, Ended):
                    under_way.discard((report.batch, report.attempt))
                self._out.send(frame(Kind.REPORT, write_report(_masked(report, ready))))
            if self._says_lent and (now := crew.lent) != lent:
                lent = now
                self._out.send(number_frame(Kind.LENT, lent))
            if gone is not None and not under_way:
                if gone.error is not None:
                    raise gone.error
                return 0
            self._keep_up()

    def _take(self, said: Frame, crew: Crew, under_way: set[tuple[str, int]], stop: Event) -> None:
        match said.kind:
            case Kind.ORDER:
                batch = read_batch(said.body)
                self._asking.learn(batch)
                private, self._private = self._private, {}
                under_way.add((batch.id, batch.attempt))
                crew.give("", Order(batch, private))
            case Kind.PRIVATE:
                self._hold(said)
            case Kind.HALT:
                crew.halt(_halts(said.json))
            case Kind.STOP:
                stop.set()
                crew.stop()
            case _:
                raise ProtocolError(f"a message {said.kind.name} came, which isn't for a worker at work")

    def _hold(self, said: Frame) -> None:
        sha256, content = said.private
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ProtocolError("private content came with the digest of other content")
        self._private[sha256] = content
        if sum(map(len, self._private.values())) > MAX_HELD:
            raise ProtocolError("more private content came than is held for one order")

    def _next(self, timeout: float) -> Frame | _Gone | None:
        try:
            return self._inbox.get(timeout=timeout) if timeout else self._inbox.get_nowait()
        except Empty:
            return None

    def _keep_up(self) -> None:
        """Say that this side is there, and note when the other one isn't."""
        self._out.be_alive(min(ALIVE, self._silence / 3))
        if time.monotonic() - self._heard > self._silence:
            self._heard = math.inf  # said once
            self._inbox.put(_Gone(TransportError(f"the controller was silent for {self._silence:g} s")))

    def _listen(self) -> None:
        """Take what comes: content at once, all else in its turn."""
        frames = Frames()
        gone = _Gone()
        try:
            while data := os.read(self._incoming, _READ):
                self._heard = max(self._heard, time.monotonic())
                for said in frames.feed(data):
                    self._hear(said)
        except UpdoserError as error:
            gone = _Gone(error)
        except OSError as error:
            gone = _Gone(TransportError(f"the controller can't be heard: {error.strerror}"))
        except Exception as error:  # noqa: BLE001 - nothing else would end the worker
            gone = _Gone(ProtocolError(f"what the controller said can't be dealt with: {error!r}"))
        self._inbox.put(gone)
        if self._crew is not None:  # from this moment on, and not from when the other thread comes to it
            self._crew.stop()

    def _hear(self, said: Frame) -> None:
        match said.kind:
            case Kind.PIECE:
                self._asking.piece(said.number, said.rest)
            case Kind.END:
                self._asking.end(said.number)
            case Kind.NONE:
                self._asking.end(said.number, read_error(Frame(said.kind, said.rest).json))
            case Kind.ALIVE:
                pass
            case _:
                self._inbox.put(said)


class _Out:
    """The stream to the controller, for all threads; once nobody reads it any more, what is said is dropped."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._lock = Lock()
        self._said = time.monotonic()
        self._broken = False

    def send(self, message: bytes) -> None:
        waiting = memoryview(message)
        with self._lock:
            try:
                while waiting and not self._broken:
                    waiting = waiting[os.write(self._number, waiting) :]
            except OSError:
                self._broken = True
            self._said = time.monotonic()

    def be_alive(self, pause: float) -> None:
        if time.monotonic() - self._said >= pause:
            self.send(frame(Kind.ALIVE))


def _halts(document: Any) -> list[Halt]:
    """Read halted rollouts."""
    if type(document) is not list:
        raise ProtocolError("a message HALT came that names no rollouts")
    for entry in document:
        if not (type(entry) is list and len(entry) == 3 and all(type(part) is str for part in entry)):
            raise ProtocolError("a message HALT came that names no rollouts")
    return [(component, version, group) for component, version, group in document]


def _masked(report: Report, ready: Ready) -> Report:
    """Take secrets of this worker out of what a client said and of why something failed."""
    if isinstance(report, Ended):
        return replace(report, lost=ready.masked(report.lost))
    error = report.error
    if error is not None:
        error.message, error.hint = ready.masked(error.message), ready.masked(error.hint)
    steps = tuple(
        replace(done, outcome=replace(done.outcome, message=ready.masked(done.outcome.message)))
        if done.outcome.message
        else done
        for done in report.steps
    )
    return replace(report, steps=steps)
