"""Fills the hosts of a relay with the parts that its clients need, and has them served while a run lasts.

* What a host has is asked first; what it says is hashed there, and what broke off is gone on with.
* What nobody needs any more goes first; what only a later step of the fleet may need stays while the disk's limit has
  room for it.
* A host that has other bytes than it should gets them once more, and then isn't used.
* All hosts of a relay are filled before its clients' turn comes; one is enough for it to be used.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from typing import TYPE_CHECKING, cast

from reconciler.client.reach import expecting
from reconciler.errors import ClientError, InterruptedRunError, UpdoserError
from reconciler.model.client import Client
from reconciler.model.relay import HoldOrder, RelaySeen, ServeOrder
from reconciler.present.words import size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from typing import BinaryIO

    from reconciler.client.reach import Reach
    from reconciler.contracts import RelaySession
    from reconciler.model.relay import Held, RelaySpec

BEAT = 5.0
"""Seconds between two signs to a web server that the run lasts."""
READY_TRIES = 40
READY_PAUSE = 0.5
"""How often, and after how many seconds, a web server that was started is asked for."""
LISTENING_TRIES = 10
"""How often one that runs may give nothing: on a busy machine it takes its time until it listens."""
_SLICE = 0.2


@dataclass(frozen=True, slots=True)
class Filled:
    """A host that has all parts, and the bytes that were sent for that."""

    host: str
    url: str
    sent: int
    held: Held


class Filler:
    """Fills hosts; used by a thread for each relay."""

    def __init__(
        self,
        reach: Reach,
        content: Callable[[str], AbstractContextManager[BinaryIO]],
        ends: Sequence[Event],
        clock: Callable[[], datetime],
    ) -> None:
        """Take what reaches relays by their names, what opens the store's content, and what ends the work."""
        self._reach = reach
        self._content = content
        self._ends = ends
        self._clock = clock

    @property
    def stopped(self) -> bool:
        """True once the work is to end."""
        return any(end.is_set() for end in self._ends)

    def fill(self, relay: RelaySpec, host: str, parts: Mapping[str, int], useful: Collection[str]) -> Filled:
        """Bring all parts to a host, and leave those there that are `useful` while there is room.

        Raises:
            ClientError: there is no room, or what it has are other bytes than it got.
            UpdoserError: it can't be reached, or can't do it.
            InterruptedRunError: the run was stopped.
        """
        needed = sum(parts.values())
        if relay.disk and needed > relay.disk:
            raise ClientError(
                f"its clients need {size_text(needed)}, and its limit is {size_text(relay.disk)}",
                hint="raise `limit.disk` of the relay, or have it serve fewer clients",
                reason="disk",
            )
        held, sent = self._hold(relay, host, HoldOrder(store=relay.store)), 0
        for _again in range(2):
            order = order_for(relay, held, parts, useful)
            held, sent = self._hold(relay, host, order), sent + order.bytes
            if not held.bad.intersection(parts):
                break
        lacking = parts.keys() - held.parts.keys()
        if lacking:
            raise ClientError(f"it has other bytes than it got, of {len(lacking)} parts", reason="bytes")
        return Filled(host, relay.base(host), sent, held)

    def look(self, relay: RelaySpec, host: str) -> Held:
        """Ask what a host has, and whether it can be served, or is.

        Raises:
            UpdoserError: it can't be reached, or can't do it.
        """
        order = HoldOrder(store=relay.store, probe=relay.base(host) if relay.url else "", tools=bool(relay.http))
        return self._hold(relay, host, order)

    def probe(self, relay: RelaySpec, host: str) -> Held:
        """Ask what a host has, and whether it is served.

        Raises:
            UpdoserError: it can't be reached, or can't do it.
        """
        return self._hold(relay, host, HoldOrder(store=relay.store, probe=relay.base(host)))

    @contextmanager
    def serving(self, relay: RelaySpec, host: str) -> Iterator[Held]:
        """Have the parts of a host served for the time of the block.

        Raises:
            ClientError: they don't come out of its web server.
            UpdoserError: it can't be reached, or can't do it.
        """
        if not relay.http:
            yield _well(self.probe(relay, host))
            return
        over = Event()
        server = _Server(self, relay, host, over)
        server.start()
        try:
            yield _well(server.ready())
        finally:
            over.set()
            server.join()

    def serve(self, relay: RelaySpec, host: str, over: Event) -> None:
        """Have a host served until `over` is set or the run stops; see `contracts.RelaySession`."""
        order = ServeOrder(relay.store, host, relay.http)

        def beats() -> Iterator[None]:
            yield
            while not over.wait(BEAT):
                yield

        self._reach.work(client_of(relay, host), lambda session: cast("RelaySession", session).serve(order, beats()))

    def _hold(self, relay: RelaySpec, host: str, order: HoldOrder) -> Held:
        pace = _Pace(relay.rate, self)
        pace(0)
        return self._reach.work(
            client_of(relay, host), lambda session: cast("RelaySession", session).hold(order, self._content, pace)
        )

    def wait(self, seconds: float) -> bool:
        """Wait; say whether the work is to end."""
        until = time.monotonic() + seconds
        while not self.stopped and (left := until - time.monotonic()) > 0:
            self._ends[0].wait(min(left, _SLICE))
        return self.stopped

    def seen(self, relay: RelaySpec, host: str, held: Held | None, error: str = "") -> RelaySeen:
        """Give what is to be remembered of a host."""
        return RelaySeen(relay.name, host, at=self._clock() if held is not None else None, held=held, error=error)


def client_of(relay: RelaySpec, host: str) -> Client:
    """Give a host as a transport reaches it."""
    return Client(host, relay.name, host, install_root=relay.store)


def order_for(relay: RelaySpec, held: Held, parts: Mapping[str, int], useful: Collection[str]) -> HoldOrder:
    """Say what a host is to do so that it has all parts, from what it has."""
    whole = {sha256 for sha256, size in parts.items() if held.parts.get(sha256) == size}
    take = {sha256: size for sha256, size in parts.items() if sha256 not in whole}
    stays = {sha256 for sha256 in held.parts if sha256 not in parts and sha256 in useful}
    room = relay.disk - sum(parts.values()) if relay.disk else None
    for sha256 in sorted(stays):
        if room is not None:
            room -= held.parts[sha256]
            if room < 0:
                stays.remove(sha256)
    there = held.parts.keys() | held.begun.keys()
    return HoldOrder(
        store=relay.store,
        drop=frozenset(there - parts.keys() - stays),
        held=frozenset(whole),
        take=take,
        begun={sha256: held.begun[sha256] for sha256 in take if 0 < held.begun.get(sha256, 0) <= take[sha256]},
    )


def _well(held: Held) -> Held:
    """Give what a host has, if its parts come out of its web server as far as it can tell.

    Raises:
        ClientError: they don't.
    """
    if held.serving.startswith("no"):
        raise ClientError(
            f"its web server doesn't give its parts: {held.serving.removeprefix('no').strip()}",
            hint="see that `serve` of the relay leads to the folder `store`, and that others may read that",
        )
    return held


class _Server(Thread):
    """Has a host served, and knows why it isn't."""

    def __init__(self, filler: Filler, relay: RelaySpec, host: str, over: Event) -> None:
        super().__init__(daemon=True, name=f"relay {relay.name}")
        self._filler, self._relay, self._host, self._over = filler, relay, host, over
        self._error: UpdoserError | None = None

    def run(self) -> None:
        try:
            with expecting():
                self._filler.serve(self._relay, self._host, self._over)
        except UpdoserError as error:
            self._error = error

    def ready(self) -> Held:
        """Wait until it is served.

        Raises:
            UpdoserError: it isn't.
        """
        in_vain = 0
        for _try in range(READY_TRIES):
            if self._error is not None:
                raise self._error
            held = self._filler.probe(self._relay, self._host)
            in_vain += held.server and held.serving.startswith("no")
            if held.server and (not held.serving.startswith("no") or in_vain >= LISTENING_TRIES):
                return held
            if self._filler.wait(READY_PAUSE):
                break
        raise ClientError("its web server doesn't start")


class _Pace:
    """Lets so many bytes a second through, and none once the work is to end."""

    def __init__(self, rate: int, filler: Filler) -> None:
        self._rate = rate
        self._filler = filler
        self._due = time.monotonic()

    def __call__(self, size: int) -> None:
        now = time.monotonic()
        if self._rate:
            self._due = max(self._due, now) + size / self._rate
        if self._filler.wait(self._due - now):
            raise InterruptedRunError("the run was stopped")
