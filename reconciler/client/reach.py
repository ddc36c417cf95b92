"""Reaching clients: connections that are tried once more, and kept for the step that follows.

A run looks at its clients first and changes them then. A connection costs more than either, so up to KEPT of them stay
open in between. One that died meanwhile is noticed when it is used; the work is then done again over a new one, which
is safe: facts change nothing, and a deploy request that was carried out already answers `ok`.

* A server that hangs up before it greets has too many logins under way, which are ours as a rule: it is tried again,
  after a pause that differs from client to client, and by one client at a time.
* A limit of this machine is no client's: what was kept open is closed, and the work is done again a little later. It
  ends the run when that doesn't help.
* A client is waited for while it is connected to (`pulse`); pauses before another try are ours.
* What nobody expected is an error of that client alone.
"""

from __future__ import annotations

import random
from contextlib import ExitStack, contextmanager
from functools import partial
from threading import Event, Lock
from typing import TYPE_CHECKING, TypeVar

from reconciler.client.pulse import REACHED, Pulse
from reconciler.errors import (
    REPORT_IT,
    AuthenticationError,
    FaultError,
    HostKeyError,
    HungUpError,
    LimitError,
    TransportError,
    UpdoserError,
    own_limit,
    words_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reconciler.contracts import Session, Transport
    from reconciler.model.client import Client

ResultT = TypeVar("ResultT")

KEPT = 128
CONNECT_TRIES = 2
PAUSE = 1.0
"""Seconds between two tries to connect; a stopped run doesn't wait."""
GREETING_PAUSES = (0.5, 1, 2, 4, 4, 4)
"""How many PAUSEs, about, before a server that hung up before it greeted is tried again."""
ROOM_PAUSES = (1, 4, 16)
"""How many PAUSEs before work for which this machine had no room is done again."""


class _UnreachedError(TransportError):
    """A first try to connect failed."""


class Reach:
    """Gives each client's work a session. Safe to use from several threads, one thread at a time for one client."""

    def __init__(
        self, transport_of: Callable[[str], Transport], stop: Event, *, kept: int = KEPT, debug: bool = False
    ) -> None:
        """Take `transport_of`, which gives the transport of a group by its name.

        `debug` lets what nobody expected through, with all that it tells.
        """
        self._transport_of = transport_of
        self._stop = stop
        self._debug = debug
        self._again = Lock()
        self._room = kept
        self._open: dict[str, tuple[Session, ExitStack]] = {}
        self._lock = Lock()

    def work_at_first(
        self, client: Client, do: Callable[[Session], ResultT], *, keep: bool = False, pulse: Pulse | None = None
    ) -> ResultT | None:
        """Do the same, and try to connect once: None where that failed, and another try may not.

        Who tries again does so when others had their turn (`work` with one try): a client that is off is waited for as
        long as any takes.

        Raises:
            UpdoserError: as `work`.
        """
        try:
            return self.work(client, do, keep=keep, tries=0, pulse=pulse)
        except _UnreachedError:
            return None

    def work(
        self,
        client: Client,
        do: Callable[[Session], ResultT],
        *,
        keep: bool = False,
        tries: int = CONNECT_TRIES,
        pulse: Pulse | None = None,
    ) -> ResultT:
        """Call `do` with a session of the client; `keep` leaves the connection open for the next call.

        `pulse` is told while the client is waited for, and of a machine without room.

        Raises:
            TransportError: the client can't be reached, or the connection broke while it worked.
            LimitError: this machine has no room for the work, and had none a while later.
            FaultError: what nobody expected.
            UpdoserError: what `do` raises.
        """
        pulse = pulse or Pulse()
        for pause in ROOM_PAUSES:
            try:
                return self._work(client, do, pulse, keep=keep, tries=tries)
            except LimitError:
                pulse.crowded()
                self.close()
                if self._stop.wait(PAUSE * pause):
                    raise
        return self._work(client, do, pulse, keep=keep, tries=tries)

    def _work(
        self, client: Client, do: Callable[[Session], ResultT], pulse: Pulse, *, keep: bool, tries: int
    ) -> ResultT:
        with expecting(debug=self._debug):
            return self._over_either(client, do, pulse, keep=keep, tries=tries)

    def _over_either(
        self, client: Client, do: Callable[[Session], ResultT], pulse: Pulse, *, keep: bool, tries: int
    ) -> ResultT:
        """Work over the connection that was kept, or over a new one."""
        with self._lock:
            session, stack = self._open.pop(client.name, (None, None))
        if session is not None and stack is not None:
            try:
                return self._do(client, session, stack, do, keep=keep)
            except TransportError:
                if self._stop.is_set():
                    raise
        stack = ExitStack()
        session = self._connect(client, stack, pulse, tries)
        return self._do(client, session, stack, do, keep=keep)

    def close(self) -> None:
        """Close the connections that were kept."""
        with self._lock:
            kept, self._open = list(self._open.values()), {}
        for _session, stack in kept:
            stack.close()

    def _connect(self, client: Client, stack: ExitStack, pulse: Pulse, tries: int) -> Session:
        try:
            return self._try_to_connect(client, stack, pulse, tries)
        except HungUpError as error:
            last = error
        for pause in GREETING_PAUSES:
            if self._stop.wait(PAUSE * pause * random.uniform(0.5, 1.5)):  # noqa: S311 - nobody gains by guessing it
                break
            with self._again:
                if self._stop.is_set():
                    break
                try:
                    return self._try_to_connect(client, stack, pulse, tries)
                except HungUpError as error:
                    last = error
        raise last

    def _try_to_connect(self, client: Client, stack: ExitStack, pulse: Pulse, tries: int) -> Session:
        """Connect, tried so often; with no `tries` once, and then somebody else tries again."""
        for rest in reversed(range(tries or 1)):
            try:
                connected = self._transport_of(client.group).connect(client)
                return pulse.waits(REACHED, partial(stack.enter_context, connected))
            except (AuthenticationError, HostKeyError, HungUpError):
                raise
            except TransportError as error:
                if not tries and not self._stop.is_set():
                    raise _UnreachedError(error.message) from error
                if not rest or self._stop.wait(PAUSE):
                    raise
        raise AssertionError

    def _do(
        self, client: Client, session: Session, stack: ExitStack, do: Callable[[Session], ResultT], *, keep: bool
    ) -> ResultT:
        with stack:
            result = do(session)
            if keep and len(self._open) < self._room:
                with self._lock:
                    self._open[client.name] = session, stack.pop_all()
            return result


@contextmanager
def expecting(*, debug: bool = False) -> Iterator[None]:
    """Map what nobody expected of the work on one client; `debug` lets it through.

    It isn't `guards.blaming`: work on a client is plain calls in a thread of a pool, so even SystemExit and
    GeneratorExit are that client's. There they end the process, or a stream that nobody reads any more, and must pass.

    Raises:
        LimitError: this machine has no room for more.
        FaultError: something else; it says what, and where it came from.
    """
    try:
        yield
    except UpdoserError:
        raise
    except (Exception, SystemExit, GeneratorExit) as error:
        if own := own_limit(error):
            raise own from error
        if debug:
            raise
        raise FaultError(words_of(error), hint=REPORT_IT) from error
