"""A connection that a program can be given: one that goes through TLS is carried over by a thread of ours.

A program that has the descriptor of such a connection would write around the encryption.
"""

from __future__ import annotations

import select
import socket
import ssl
from contextlib import suppress
from threading import Thread

_CHUNK = 64 * 1024


def plain(connection: socket.socket) -> socket.socket:
    """Give the connection itself, or what stands for it where it goes through TLS (a proxy of the scheme https)."""
    if not isinstance(connection, ssl.SSLSocket):
        connection.setblocking(True)  # a program takes it as it is
        return connection
    ours, theirs = socket.socketpair()
    Thread(target=_carry, args=(connection, ours), name="ssh through TLS", daemon=True).start()
    return theirs


def _carry(tls: ssl.SSLSocket, ours: socket.socket) -> None:
    """Carry both ways until one of them ends; then the other one does. What waits for one end is read no further."""
    turns = ((tls, ours), (ours, tls))
    waiting = {tls: b"", ours: b""}
    poll = select.poll()
    with tls, ours, suppress(OSError):  # who hangs up ends both
        tls.setblocking(False)
        ours.setblocking(False)
        while True:
            for source, target in turns:
                if not waiting[target]:
                    found = _read(source)
                    if found is None:
                        return
                    waiting[target] = found
                if waiting[target]:
                    waiting[target] = waiting[target][_write(target, waiting[target]) :]
            for end, other in turns:
                reads, writes = select.POLLIN * (not waiting[other]), select.POLLOUT * bool(waiting[end])
                poll.register(end, reads | writes)
            if waiting[ours] or not tls.pending():
                poll.poll()


def _read(source: socket.socket) -> bytes | None:
    """Give what is there now; None at the end."""
    try:
        return source.recv(_CHUNK) or None
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return b""


def _write(target: socket.socket, data: bytes) -> int:
    try:
        return target.send(data)
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return 0
