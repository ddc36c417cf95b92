"""Messages between a controller and a worker over two streams of bytes: what they look like on the wire.

    worker                      controller
    PREFACE, HELLO        ->
                          <-    SETUP
    READY                 ->
                          <-    PRIVATE..., ORDER
    WANT                  ->
                          <-    PIECE..., END (or NONE)
    GOT..., LEAVE         ->
    REPORT..., LENT       ->
                          <-    HALT, STOP

Both send ALIVE when they have nothing else to say. A message is a byte for its kind, four for the length of its body
(big-endian), and the body. Who wants content gives its question a number, and content goes in pieces of at most PIECE
bytes, each behind the number that it is for. The one who gets them says GOT for what it took, and no more than WINDOW
bytes are on their way: a halt is never behind more.

What comes is believed only as far as its kind allows: each has a longest body. Whoever speaks to something else than a
worker, such as a login shell that greets, knows by the preface.
"""

from __future__ import annotations

import json
import struct
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from reconciler.errors import ProtocolError, printable
from reconciler.formats.answer_json import MAX_REPORT
from reconciler.formats.batch_json import MAX_BATCH
from reconciler.formats.text import read_json

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFACE = b"updoser worker 1\n"
"""The first bytes of a worker; the number is that of this protocol."""
PIECE = 64 * 2**10
WINDOW = 512 * 2**10
"""Bytes of content that may be on their way."""
MAX_PRIVATE = 16 * 2**20
"""Bytes of one private content."""
DIGEST = 32
MAX_START = 2**63 - 1
_HEAD = struct.Struct("!BI")
_NUMBER = struct.Struct("!I")
_WANT = struct.Struct("!I32sQ")
_SHOWN = 200
_SMALL, _LARGE = 2**20, 64 * 2**20


class Kind(IntEnum):
    """What a message is."""

    HELLO = 1
    """The worker: which version of updoser it is, as JSON."""
    READY = 2
    """The worker: it knows its setup."""
    REPORT = 3
    """The worker: an answer, or the end of a batch (`formats.answer_json`)."""
    WANT = 4
    """The worker: a number for this question, a digest whose content it hasn't, and from which byte on it wants it."""
    GOT = 5
    """The worker: how many bytes of content it took, as a number of four bytes."""
    LEAVE = 6
    """The worker: the number of a question that needs no more answer."""
    FAILED = 7
    """The worker: why it can't go on, as an error in JSON; it ends."""
    LENT = 8
    """The worker: for how many clients more than its forks it has room now, as a number of four bytes.

    It is said only where the setup has `lends`: a controller that says nothing of that doesn't know this message.
    """
    SETUP = 16
    """The controller: what the worker is to be, as JSON."""
    PRIVATE = 17
    """The controller: a digest and private content, for the next order."""
    ORDER = 18
    """The controller: a batch (`formats.batch_json`)."""
    HALT = 19
    """The controller: halted rollouts, as JSON."""
    STOP = 20
    """The controller: no client is begun any more."""
    PIECE = 21
    """The controller: the number of a question, and some content."""
    END = 22
    """The controller: the number of a question whose content came as a whole."""
    NONE = 23
    """The controller: the number of a question, and in JSON the error for which there is no content."""
    ALIVE = 32
    """Both: nothing but that."""


_LONGEST: dict[int, int] = {
    Kind.HELLO: _SMALL,
    Kind.READY: _SMALL,
    Kind.REPORT: MAX_REPORT,
    Kind.WANT: _WANT.size,
    Kind.GOT: _NUMBER.size,
    Kind.LEAVE: _NUMBER.size,
    Kind.FAILED: _SMALL,
    Kind.LENT: _NUMBER.size,
    Kind.SETUP: _LARGE,
    Kind.PRIVATE: DIGEST + MAX_PRIVATE,
    Kind.ORDER: MAX_BATCH,
    Kind.HALT: _LARGE,
    Kind.STOP: 0,
    Kind.PIECE: _NUMBER.size + PIECE,
    Kind.END: _NUMBER.size,
    Kind.NONE: _NUMBER.size + _SMALL,
    Kind.ALIVE: 0,
}


class Frame(NamedTuple):
    """A message."""

    kind: Kind
    body: bytes

    @property
    def number(self) -> int:
        """The number that the body begins with.

        Raises:
            ProtocolError: it is shorter.
        """
        return int(self._unpacked(_NUMBER)[0])

    @property
    def rest(self) -> bytes:
        """What follows the number."""
        return self.body[_NUMBER.size :]

    @property
    def private(self) -> tuple[str, bytes]:
        """The digest that the body begins with, and the content behind it.

        Raises:
            ProtocolError: it is shorter.
        """
        if len(self.body) < DIGEST:
            raise ProtocolError(f"a message {self.kind.name} without a digest came")
        return self.body[:DIGEST].hex(), self.body[DIGEST:]

    @property
    def question(self) -> tuple[int, str, int]:
        """The number of a question, the digest that it is for, and from which byte on.

        Raises:
            ProtocolError: the body is shorter.
        """
        number, digest, start = self._unpacked(_WANT)
        return number, digest.hex(), min(start, MAX_START)

    @property
    def json(self) -> Any:
        """What the body is as JSON.

        Raises:
            ProtocolError: it isn't.
        """
        try:
            return read_json(self.body)
        except ValueError as error:
            raise ProtocolError(f"a message {self.kind.name} came that isn't JSON: {error}") from error

    def _unpacked(self, form: struct.Struct) -> tuple[Any, ...]:
        if len(self.body) < form.size:
            raise ProtocolError(f"a message {self.kind.name} of {len(self.body)} bytes came, which is too short")
        return form.unpack_from(self.body)


def frame(kind: Kind, body: bytes = b"") -> bytes:
    """Write a message.

    Raises:
        ProtocolError: it is longer than its kind may be.
    """
    if len(body) > _LONGEST[kind]:
        raise ProtocolError(f"a message {kind.name} of {len(body)} bytes is more than is taken")
    return _HEAD.pack(kind, len(body)) + body


def json_frame(kind: Kind, value: Any) -> bytes:
    """Write a message of JSON."""
    return frame(kind, json.dumps(value, separators=(",", ":")).encode())


def private_frame(sha256: str, content: bytes) -> bytes:
    """Write private content.

    Raises:
        ProtocolError: it is longer than is taken.
    """
    return frame(Kind.PRIVATE, bytes.fromhex(sha256) + content)


def number_frame(kind: Kind, number: int, rest: bytes = b"") -> bytes:
    """Write a message about a question, or of a number of bytes."""
    return frame(kind, _NUMBER.pack(number) + rest)


def want_frame(number: int, sha256: str, start: int) -> bytes:
    """Write a question for content."""
    return frame(Kind.WANT, _WANT.pack(number, bytes.fromhex(sha256), start))


class Frames:
    """Takes the bytes of a stream as they come, and gives the messages in them."""

    def __init__(self, *, greeting: bool = False) -> None:
        """Begin; with a `greeting` the preface of a worker comes first."""
        self._waiting = bytearray()
        self._greeting = greeting

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take some bytes.

        Raises:
            ProtocolError: they are no messages of this protocol.
        """
        self._waiting += data
        if self._greeting and not self._greeted():
            return
        while len(self._waiting) >= _HEAD.size:
            number, length = _HEAD.unpack_from(self._waiting)
            longest = _LONGEST.get(number)
            if longest is None or length > longest:
                raise ProtocolError(f"no message of a worker's protocol came: kind {number}, {length} bytes")
            end = _HEAD.size + length
            if len(self._waiting) < end:
                return
            body = bytes(memoryview(self._waiting)[_HEAD.size : end])
            del self._waiting[:end]
            yield Frame(Kind(number), body)

    def _greeted(self) -> bool:
        """Say whether the preface came as a whole."""
        came = bytes(self._waiting[: len(PREFACE)])
        if not PREFACE.startswith(came):
            said = printable(bytes(self._waiting[:_SHOWN]).decode("utf-8", "replace")).strip()
            raise ProtocolError(
                f"what was started isn't a worker of this protocol; it says: {said}",
                hint="it must be `updoser worker --stdio`, and what runs before it, such as the login shell's profile, "
                "must print nothing",
            )
        if len(came) < len(PREFACE):
            return False
        del self._waiting[: len(PREFACE)]
        self._greeting = False
        return True
