"""What a command on a client is fed: some bytes, and then what answers that which it says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._printed import Printed

Reply: TypeAlias = "Callable[[bytes], Iterable[bytes] | None]"


class Input:
    """What a command is fed: some bytes, and then what answers that which it says, if anything does.

    One that says nothing to be answered for half of the time in which it may be silent may wait for the end of its
    input, and gets that.
    """

    def __init__(self, stdin: Iterable[bytes], reply: Reply | None = None, idle: float = 0.0) -> None:
        """Take what is sent first, and what gives the rest; `idle` are the seconds in which it may be silent."""
        self._stdin = iter(stdin)
        self._reply = reply
        self._until = time.monotonic() + idle / 2
        self.waits = False
        """Whether the command has to say something before it is fed any more."""

    def next(self, printed: Printed) -> bytes | None:
        """Give the next bytes; None where there are none any more, or not yet."""
        chunk = next(self._stdin, None)
        if chunk is not None or self._reply is None:
            return chunk
        answer = self._reply(printed.stdout)
        if answer is None and time.monotonic() > self._until:
            answer = ()
        self.waits = answer is None
        if answer is None:
            return None
        self._stdin, self._reply = iter(answer), None
        return next(self._stdin, None)
