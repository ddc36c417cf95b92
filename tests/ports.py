"""Ports for servers that can't be told to take any: nobody else gets one between the question and the server's start.

The kernel gives each connection a port of its own range, and so it does where somebody binds port 0. What it gave and
was closed again, it may give to the next one; a broker takes ten seconds until it listens. So ports are taken from
beside that range, in blocks, each of which belongs to one process until that ends, also where it is killed.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from contextlib import suppress
from pathlib import Path

BLOCK = 40
LOWEST, HIGHEST = 10_000, 65_535
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")

_ours: deque[int] = deque()
"""The ports of our blocks, the one that was given last at the end."""


def free_port(host: str = "127.0.0.1") -> int:
    """Give a port that nobody listens on, and that nobody else is given."""
    for _each in range(len(_ours)):
        port = _ours.popleft()
        _ours.append(port)
        if _is_free(host, port):
            return port
    _take_a_block()
    return free_port(host)


def _is_free(host: str, port: int) -> bool:
    """Tell whether one can listen there on each address."""
    family, everywhere = (socket.AF_INET6, "::") if ":" in host else (socket.AF_INET, "0.0.0.0")
    with socket.socket(family) as probe, suppress(OSError):
        probe.bind((everywhere, port))
        return True
    return False


def _take_a_block() -> None:
    """Have one more block, by a name that only one process can have."""
    begins = _beside_the_kernels(*map(int, _RANGE.read_text().split()))
    first = os.getpid() % len(begins)
    for begin in begins[first:] + begins[:first]:
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            lock.bind(f"\0updoser-tests-port-{begin}")
        except OSError:
            lock.close()
            continue
        lock.detach()  # it stays open until this process ends
        _ours.extendleft(range(begin, begin + BLOCK))
        return
    raise AssertionError("all ports are taken")


def _beside_the_kernels(low: int, high: int) -> list[int]:
    """Give where blocks may begin; where the kernel has all ports, we have some of them, too."""
    beneath = list(range(LOWEST, low - BLOCK, BLOCK))
    above = list(range(high + 1, HIGHEST - BLOCK, BLOCK))
    return beneath + above or list(range(LOWEST, HIGHEST - BLOCK, BLOCK))
