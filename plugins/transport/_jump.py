"""The way over other hosts, as ssh -J has it: each with its own host key and login, through the one before.

The connection to the last of them is shared by all clients that are reached over it, and closed when none is in use.
What makes connections, and leads over one, is the transport's own.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from reconciler.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STILL_BROKEN = 3.0
"""Seconds in which a way that couldn't be opened isn't tried again: many clients wait for the same one."""


class JumpHost(Protocol):
    """A host on the way."""

    @property
    def address(self) -> str:
        """Its address."""

    @property
    def port(self) -> int:
        """The port of its SSH."""

    @property
    def name(self) -> str:
        """The host as known_hosts names it."""


HostT = TypeVar("HostT", bound=JumpHost)
LoginT = TypeVar("LoginT")
SocketT = TypeVar("SocketT")


class JumpWay(ABC, Generic[HostT, LoginT, SocketT]):
    """The way over jump hosts. Safe to use from several threads."""

    def __init__(self, hosts: Sequence[HostT]) -> None:
        """Take the hosts in order."""
        self._hosts = hosts
        self._lock = Lock()
        self._users = 0
        self._last: LoginT | None = None
        self._stack = ExitStack()
        self._broken: tuple[float, TransportError] | None = None

    @abstractmethod
    def dial(self, host: HostT) -> SocketT:
        """Open a connection to the first host."""

    @abstractmethod
    def log_in(self, host: HostT, over: SocketT, stack: ExitStack) -> LoginT:
        """Log in at a host; what that takes is closed with the stack."""

    @abstractmethod
    def lives(self, login: LoginT) -> bool:
        """Say whether somebody who is logged in can still be led over."""

    @abstractmethod
    def over(self, login: LoginT, at: HostT, to: tuple[str, int], stack: ExitStack) -> SocketT:
        """Give a connection over a host to another one, its address and port."""

    @contextmanager
    def to(self, host: str, port: int) -> Iterator[SocketT]:
        """Give something like a socket to a host behind the last jump host, for the time of the block.

        Raises:
            TransportError: there is no way; AuthenticationError and HostKeyError say more.
        """
        with self._lock:
            self._users += 1
            try:
                last = self._connected()
            except BaseException:
                self._leave()
                raise
        try:
            with ExitStack() as stack:
                yield self.over(last, self._hosts[-1], (host, port), stack)
        finally:
            with self._lock:
                self._leave()

    def _leave(self) -> None:
        self._users -= 1
        if not self._users:
            self._close()

    def _close(self) -> None:
        stack, self._stack, self._last = self._stack, ExitStack(), None
        stack.close()

    def _connected(self) -> LoginT:
        """Give the login at the last host, a new one if the one before died."""
        if self._last is not None and self.lives(self._last):
            return self._last
        if self._broken is not None and time.monotonic() - self._broken[0] < STILL_BROKEN:
            raise self._broken[1]
        self._close()
        try:
            self._last = self._connect()
        except TransportError as error:
            self._close()
            self._broken = time.monotonic(), error
            raise
        self._broken = None
        return self._last

    def _connect(self) -> LoginT:
        before: tuple[LoginT, HostT] | None = None
        for host in self._hosts:
            try:
                way = self.over(*before, (host.address, host.port), self._stack) if before else self.dial(host)
                login = self.log_in(host, way, self._stack)
            except TransportError as error:
                said = f"jump host {host.name}: {error.message}"
                raise type(error)(said, hint=error.hint, reason="jump") from error
            before = login, host
        assert before is not None
        return before[0]
