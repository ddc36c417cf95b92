"""Jump hosts of the openssh transport: an ssh at each, over the one before."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.errors import TransportError
from reconciler.formats.known_hosts import host_name

from ._jump import JumpWay
from ._openssh_master import Master, prohibited
from ._openssh_mux import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import ExitStack


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """A host on the way, who logs in there, and the files of keys of its own."""

    address: str
    port: int
    user: str
    keys: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The host as known_hosts names it."""
        return host_name(self.address, self.port)


class Hops(JumpWay[Hop, Master, socket.socket]):
    """The way over jump hosts. Safe to use from several threads."""

    def __init__(
        self,
        hops: Sequence[Hop],
        dial: Callable[[str, int], socket.socket],
        log_in: Callable[[Hop, socket.socket], Master],
        timeout: float,
    ) -> None:
        """Take the hosts in order; `dial` opens a connection to the first, `log_in` an ssh over one that is open."""
        super().__init__(hops)
        self._dial = dial
        self._log_in = log_in
        self._timeout = timeout

    def dial(self, host: Hop) -> socket.socket:
        """Open a connection to the first host."""
        return self._dial(host.address, host.port)

    def log_in(self, host: Hop, over: socket.socket, stack: ExitStack) -> Master:
        """Have an ssh log in."""
        master = self._log_in(host, over)
        stack.callback(master.close)
        return master

    def lives(self, login: Master) -> bool:
        """Say whether an ssh is there."""
        return login.alive

    def over(self, login: Master, at: Hop, to: tuple[str, int], stack: ExitStack) -> socket.socket:
        """Give a connection that an ssh leads to another host."""
        try:
            return login.way_to(*to, self._timeout, stack)
        except RefusedError as error:
            # The host tells a client that isn't there from one that it doesn't lead to; no answer at all is its own.
            said = f"jump host {at.name} has no way to {host_name(*to)}: {error}"
            raise TransportError(said, reason="jump" if prohibited(error) else "silent") from error
