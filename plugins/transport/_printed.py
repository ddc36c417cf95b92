"""What a command on a client prints: the beginning is kept, and one that prints without end is not listened to."""

from __future__ import annotations

from reconciler.errors import ProtocolError

MAX_OUTPUT = 1024 * 1024
MAX_ERRORS = 64 * 1024
MAX_PRINTED = 8 * 1024 * 1024
"""Bytes of both together: no client has so much to say."""
GRACE = 7.0
"""Seconds for which a client may be silent once the run is to end: who is at work says every five that it is there."""


class Printed:
    """The beginning of both outputs of a command."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._kept = bytearray(), bytearray()
        self._room = MAX_PRINTED

    def take(self, chunk: bytes, *, error: bool = False) -> None:
        """Add to one of them.

        Raises:
            ProtocolError: it is too much.
        """
        kept, limit = self._kept[error], (MAX_ERRORS if error else MAX_OUTPUT)
        kept += chunk[: limit - len(kept)]
        self._room -= len(chunk)
        if self._room < 0:
            raise ProtocolError(
                f"the client prints without end: more than {MAX_PRINTED // 1024**2} MiB",
                hint="look at what its login shell and the commands in its profile print",
            )

    @property
    def stdout(self) -> bytes:
        """What is kept of the output."""
        return bytes(self._kept[0])

    @property
    def stderr(self) -> bytes:
        """What is kept of the errors."""
        return bytes(self._kept[1])
