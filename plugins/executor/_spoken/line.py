"""The controller's end of one line to a worker, whatever carries the bytes: a pipe to a process, or a channel of SSH.

* Orders, halts and signs of life go ahead of content, of which no more is on its way than the worker can take at once.
* Content is given only where a batch on this line names it.
* A worker that says something else than the protocol allows, answers for what it wasn't given, goes, or is silent for
  too long, is lost: its line is closed, and its batches are over, with the reason. What came before counts.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from reconciler.errors import LimitError, ProtocolError, StoreError, UpdoserError, words_of
from reconciler.formats.answer_json import error_form, read_error
from reconciler.formats.frames import (
    PIECE,
    WINDOW,
    Frames,
    Kind,
    frame,
    json_frame,
    number_frame,
    private_frame,
)
from reconciler.model.batch import Answer, Ended

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from queue import SimpleQueue

    from reconciler.contracts import Hands
    from reconciler.formats.frames import Frame
    from reconciler.model.batch import Batch, Halt, Order, Report

ALIVE = 4.0
"""Seconds between two signs of life."""
MAX_QUESTIONS = 4_096
"""Contents that a worker may wait for at a time."""
FAREWELL = 10.0
"""Seconds that a worker may need to go when nothing is left to do."""
_SERVED = 8
"""Contents that are read at a time."""


class Wire(Protocol):
    """What carries bytes to a worker and from it."""

    def read(self) -> bytes:
        """Give some bytes as soon as there are any; none at the end."""

    def write(self, data: bytes) -> None:
        """Send bytes.

        Raises:
            OSError: nobody takes them any more.
        """

    def finish(self) -> None:
        """Say that no more is sent."""

    def end(self, patience: float) -> str:
        """Wait for the worker to be gone, and end it after that; give what it said at last, if anything."""


class Line:
    """One worker. Used from one thread; two of its own listen and talk."""

    def __init__(
        self,
        name: str,
        connect: Callable[[], Wire],
        *,
        hands: Hands,
        reports: SimpleQueue[Report | UpdoserError],
        setup: Mapping[str, Any],
    ) -> None:
        """Begin to connect. Reports go to `reports`, as does what ends the work as a whole; `setup` is said first."""
        self._name = name
        self._connect = connect
        self._hands = hands
        self._reports = reports
        self._setup = setup
        self._silence = float(setup["silence"])
        self._changed = threading.Condition()
        self._wire: Wire | None = None
        self._heard = time.monotonic()
        self._control: deque[bytes] = deque()
        self._pieces: deque[tuple[int, bytes]] = deque()
        self._on_way = 0
        self._questions: set[int] = set()
        self._served = threading.Semaphore(_SERVED)
        self._named: set[str] = set()
        self._left: dict[tuple[str, int], set[str]] = {}
        self._closing = self._losing = False
        self.ready = False
        self.lent = 0
        """How many clients more than its forks the worker says that it has room for."""
        self.lost = ""
        """Why the worker is lost; empty while it isn't."""
        self._threads: list[threading.Thread] = []
        self._begin(self._listen, "listens")

    @property
    def under_way(self) -> int:
        """How many clients it has that weren't answered for."""
        with self._changed:
            return sum(map(len, self._left.values()))

    def give(self, order: Order) -> None:
        """Have a batch carried out; a worker that is lost meanwhile says so of it."""
        batch = order.batch
        messages = [private_frame(sha256, content) for sha256, content in order.private.items()]
        messages.append(frame(Kind.ORDER, self._hands.encode(order)))
        with self._changed:
            if not self.lost:
                self._left[batch.id, batch.attempt] = {target.client.name for target in batch.targets}
                self._named.update(_digests(batch))
                self._control.extend(messages)
                self._changed.notify_all()
                return
        self._reports.put(Ended(batch.id, batch.attempt, self.lost))

    def halt(self, halted: Collection[Halt]) -> None:
        """Let no client begin with a step of these rollouts any more."""
        self._say(json_frame(Kind.HALT, sorted(halted)))

    def stop(self) -> None:
        """Begin no client any more."""
        self._say(frame(Kind.STOP))

    def look(self) -> None:
        """Notice a worker that is silent."""
        if not self.lost and time.monotonic() - self._heard > self._silence:
            self._lose(f"{self._name} was silent for {self._silence:g} s")

    def close(self) -> None:
        """Let the worker go; what it has under way is lost."""
        with self._changed:
            self._closing = True
            wire = self._wire
            self._changed.notify_all()
        if wire is not None and not self._losing:
            with suppress(OSError):
                wire.finish()
            wire.end(FAREWELL)
        self._lose(f"{self._name} was let go")
        for thread in list(self._threads):
            thread.join(FAREWELL)

    def _begin(self, work: Callable[..., None], what: str, *args: object) -> None:
        thread = threading.Thread(target=work, args=args, name=f"{self._name} {what}", daemon=True)
        self._threads = [known for known in self._threads if known.is_alive()]
        thread.start()
        self._threads.append(thread)

    def _say(self, message: bytes) -> None:
        with self._changed:
            self._control.append(message)
            self._changed.notify_all()

    # --- listening --------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        try:
            wire = self._connect()
            with self._changed:
                self._wire, self._heard = wire, time.monotonic()
                over = self._closing or self._losing
            if over:
                wire.end(0.0)
                return
            frames = Frames(greeting=True)
            while data := wire.read():
                self._heard = time.monotonic()
                for said in frames.feed(data):
                    self._hear(said)
            self._lose(f"{self._name} ended", tell=True)
        except LimitError as error:
            self._reports.put(error)
            self._lose(error.message)
        except UpdoserError as error:
            self._lose(f"{self._name}: {error.message}", hint=error.hint)
        except Exception as error:  # noqa: BLE001 - whatever it said, or the way to it broke
            self._lose(f"{self._name}: {words_of(error)}", tell=True)

    def _hear(self, said: Frame) -> None:
        match said.kind:
            case Kind.REPORT:
                self._take(self._hands.decode(said.body))
            case Kind.GOT:
                with self._changed:
                    self._on_way = max(self._on_way - said.number, 0)
                    self._changed.notify_all()
            case Kind.WANT:
                self._want(*said.question)
            case Kind.LEAVE:
                with self._changed:
                    self._questions.discard(said.number)
            case Kind.LENT:
                self.lent = said.number
            case Kind.HELLO:
                self._greet(said.json)
            case Kind.READY:
                self.ready = True
            case Kind.FAILED:
                raise read_error(said.json)
            case Kind.ALIVE:
                pass
            case _:
                raise ProtocolError(f"it says {said.kind.name}, which only a controller does")

    def _greet(self, hello: Any) -> None:
        form = hello.get("formats", "") if isinstance(hello, dict) else ""
        if not isinstance(form, str) or form.partition(".")[0] != "1":
            version = hello.get("updoser", "unknown") if isinstance(hello, dict) else "unknown"
            raise ProtocolError(
                f"it speaks of batches in the form {form!r:.20}, and this version of updoser in 1.x",
                hint=f"its version of updoser is {version!s:.40}: install the same there as here",
            )
        with self._changed:
            self._control.appendleft(json_frame(Kind.SETUP, self._setup))
        self._begin(self._talk, "talks")

    def _take(self, report: Report) -> None:
        key = report.batch, report.attempt
        with self._changed:
            left = self._left.get(key)
            if isinstance(report, Answer):
                if left is None or report.client not in left:
                    raise ProtocolError(f"it answers for {report.client}, which it doesn't work on")
                left.discard(report.client)
            elif left is None:
                raise ProtocolError("it ends a batch that it hasn't")
            else:
                del self._left[key]
                if left and not report.lost:
                    report = Ended(report.batch, report.attempt, f"{self._name} said nothing of {len(left)} clients")
            self._reports.put(report)

    # --- talking ----------------------------------------------------------------------------------------------------

    def _talk(self) -> None:
        assert self._wire is not None
        pause = min(ALIVE, self._silence / 3)
        try:
            while True:
                with self._changed:
                    if not (self._control or self._pieces or self._closing or self._losing):
                        self._changed.wait(pause)
                    if self._losing or self._closing:
                        return
                    message = self._control.popleft() if self._control else self._next_piece()
                self._wire.write(message or frame(Kind.ALIVE))
        except Exception as error:  # noqa: BLE001 - the way to it broke, whatever that says
            self._lose(f"{self._name} takes nothing any more: {words_of(error)}", tell=True)

    def _next_piece(self) -> bytes:
        return self._pieces.popleft()[1] if self._pieces else b""

    def _want(self, number: int, sha256: str, start: int) -> None:
        with self._changed:
            self._questions.add(number)
            if sha256 not in self._named or len(self._questions) > MAX_QUESTIONS:
                raise ProtocolError(f"it asks for {sha256}, which no batch of it names")
        self._begin(self._serve, "is given content", number, sha256, start)

    def _serve(self, number: int, sha256: str, start: int) -> None:
        """Give content, as fast as it is taken."""
        with self._served:
            try:
                with self._hands.content(sha256) as stream:
                    stream.seek(start)
                    while data := stream.read(PIECE):
                        if not self._put(number, data):
                            return
                end = number_frame(Kind.END, number)
            except UpdoserError as error:
                end = _none(number, error)
            except Exception as error:  # noqa: BLE001 - whatever a stream of content raises
                end = _none(number, StoreError(f"the content {sha256} can't be read: {words_of(error)}"))
        with self._changed:
            self._questions.discard(number)
            self._pieces.append((number, end))
            self._changed.notify_all()

    def _put(self, number: int, data: bytes) -> bool:
        """Send a piece when there is room for it; say whether it is still wanted."""
        with self._changed:
            while self._on_way + len(data) > WINDOW and not self._is_over(number):
                self._changed.wait(1.0)
            if self._is_over(number):
                return False
            self._on_way += len(data)
            self._pieces.append((number, number_frame(Kind.PIECE, number, data)))
            self._changed.notify_all()
            return True

    def _is_over(self, number: int) -> bool:
        return self._losing or self._closing or number not in self._questions

    def _lose(self, why: str, *, tell: bool = False, hint: str = "") -> None:
        """Give the worker up; with `tell`, what it said at last is told as well."""
        with self._changed:
            if self._losing:
                return
            self._losing = True
            wire = self._wire
            self._changed.notify_all()
        said = wire.end(1.0 if tell else 0.0) if wire is not None else ""
        more = f": {said}" if said and tell else f" ({hint})" if hint else ""
        with self._changed:
            self.lost = f"{why}{more}"
            left, self._left = self._left, {}
        for batch, attempt in left:
            self._reports.put(Ended(batch, attempt, self.lost))


def _none(number: int, error: UpdoserError) -> bytes:
    return number_frame(Kind.NONE, number, json.dumps(error_form(error)).encode())


def _digests(batch: Batch) -> set[str]:
    """Give the digests of the content that a batch names."""
    task = batch.task
    shared = (*getattr(task, "steps", ()), *getattr(task, "early", ()))
    own = (step for target in batch.targets for step in target.steps if not step.private)
    found: set[str] = set()
    for step in (*shared, *own):
        found.update(file.sha256 for file in step.files)
        found.update(part.sha256 for part in step.payload)
    return found
