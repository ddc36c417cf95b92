"""Content from where several machines have it: read on after cuts, from one place or the next, and verified at its end.

* A stream that breaks off is read on from where it broke, from the next place if there are several. It is given up
  when none gave a byte for TRIES rounds. A place that hasn't got the content isn't asked again.
* What comes is written to a folder of this machine and verified there, before anybody reads a byte of it. Where what
  came is wrong, each place is asked once more by itself: a bad one can't spoil what the others have.
"""

from __future__ import annotations

import random
from contextlib import ExitStack, suppress
from threading import Event
from typing import TYPE_CHECKING, BinaryIO

from reconciler.errors import DamagedError, InterruptedRunError, NoContentError, StoreError
from reconciler.web.stream import CHUNK, ForwardStream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.content.arrivals import Wanted
    from reconciler.content.local import LocalContent
    from reconciler.contracts import ContentPlace

TRIES = 4
"""How often each place is asked without a byte of progress in between."""
PAUSE, LONGEST_PAUSE = 0.5, 8.0


class PlacesStream(ForwardStream):
    """Content on its way from some places, the first of which is asked first. It survives cuts."""

    def __init__(self, places: Sequence[ContentPlace], sha256: str, size: int, stop: Event) -> None:
        """Ask none yet."""
        super().__init__()
        self._places = list(places)
        self._sha256 = sha256
        self._size = size
        self._stop = stop
        self._stack = ExitStack()
        self._stream: BinaryIO | None = None
        self._came = False
        self._tries = 0

    @property
    def _begun(self) -> bool:
        return self._came or self._stream is not None

    def _drop(self) -> None:
        stack, self._stack, self._stream = self._stack, ExitStack(), None
        with suppress(StoreError):  # what broke may break once more when it is let go of
            stack.close()

    def read(self, size: int = -1) -> bytes:
        """Read some bytes, at most `size`; none at the end. Without a size: all that is left.

        Raises:
            NoContentError: no place has it.
            StoreError: it can't be had.
            InterruptedRunError: the run is stopped.
        """
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        while True:
            if self._stop.is_set():
                self._drop()
                raise InterruptedRunError("the run is stopped")
            try:
                return self._some(size)
            except StoreError as error:
                self._again(error)
            except BaseException:
                self._drop()
                raise

    def _some(self, size: int) -> bytes:
        if self._stream is None:
            if not self._places:
                raise NoContentError(f"{self._sha256} isn't anywhere")
            self._stream = self._stack.enter_context(self._places[0].open(self._sha256, self._position))
        data = self._stream.read(size)
        if not data and self._position < self._size:
            raise StoreError(f"{self._sha256} broke off after {self._position} of {self._size} bytes")
        if data:
            self._tries, self._came = 0, True
        self._position += len(data)
        return data

    def _again(self, error: StoreError) -> None:
        """Turn to the next place, after a pause where all were asked; or give up."""
        self._drop()
        if not self._places:
            raise error
        place = self._places.pop(0)
        if isinstance(error, NoContentError):
            if not self._places:
                raise error
            return
        self._places.append(place)
        self._tries += 1
        if self._tries >= TRIES * len(self._places):
            raise error
        turns = self._tries // len(self._places)
        if turns * len(self._places) == self._tries:
            pause = min(PAUSE * 2 ** (turns - 1), LONGEST_PAUSE) * random.uniform(0.5, 1.0)  # noqa: S311
            self._stop.wait(pause)


def bring(wanted: Wanted, places: Sequence[ContentPlace], local: LocalContent, stop: Event | None = None) -> int:
    """Bring content from some places into a folder, verified, and give its size.

    Raises:
        NoContentError: no place has it.
        DamagedError: what came is wrong, from whichever place.
        StoreError: it can't be had, or can't be written.
        InterruptedRunError: the run is stopped.
    """
    stop = stop or Event()
    damaged: DamagedError | None = None
    rounds: list[Sequence[ContentPlace]] = [places, *([place] for place in places)]
    for asked in rounds:
        with PlacesStream(asked, wanted.sha256, wanted.size, stop) as stream:
            try:
                return local.receive(wanted, stream)
            except DamagedError as error:
                damaged = error
            except StoreError:
                if damaged is None:
                    raise
    assert damaged is not None
    raise damaged


def size_in(places: Sequence[ContentPlace], sha256: str) -> int:
    """Give the size of content, as the first place says that has it.

    Raises:
        NoContentError: no place has it.
        StoreError: none that could be asked has it.
    """
    trouble: StoreError = NoContentError(f"{sha256} isn't anywhere")
    for place in places:
        try:
            size = place.size(sha256)
        except StoreError as error:
            trouble = error
            continue
        if size is not None:
            return size
    raise trouble
