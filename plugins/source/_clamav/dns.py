"""One question to a resolver: the TXT record of a name (RFC 1035). What answers is believed if it fits the question.

A stub, as the system has one: the name servers of /etc/resolv.conf in their order, by UDP, and by TCP where the answer
was cut. An answer counts when it comes from where the question went, has its number, and repeats it; aliases (CNAME)
within the answer are followed.
"""

from __future__ import annotations

import re
import secrets
import socket
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from reconciler.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from threading import Event

RESOLV_CONF = Path("/etc/resolv.conf")
PORT = 53
TIMEOUT = 3.0
"""Seconds for one attempt."""
ATTEMPTS = 2
MAX_SERVERS = 3
TXT, CNAME, INTERNET = 16, 5, 1
_MAX_ANSWERS = 64
_MAX_JUMPS = 32
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_HEAD = struct.Struct("!6H")
_RECORD = struct.Struct("!HHIH")
_RESPONSE, _CUT, _CODE, _RECURSE = 0x8000, 0x0200, 0x000F, 0x0100
_MEANS = {2: "the server failed", 3: "there is no such name", 5: "the server refused"}


class Server(NamedTuple):
    """A name server."""

    host: str
    port: int = PORT


class _OddError(Exception):
    """An answer that isn't one to the question."""


def system_servers(file: Path = RESOLV_CONF) -> list[Server]:
    """Give the name servers of this machine; its own where none is named, as resolvers do."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")[: 64 * 1024]
    except OSError:
        text = ""
    words = [line.split() for line in text.splitlines()]
    found = [Server(line[1]) for line in words if len(line) > 1 and line[0] == "nameserver"]
    return found[:MAX_SERVERS] or [Server("127.0.0.1")]


def parse_server(text: str) -> Server:
    """Read `192.0.2.1`, `192.0.2.1:5353`, `[2001:db8::1]:53` or a name.

    Raises:
        ValueError: it is none.
    """
    match = re.fullmatch(
        r"(?:\[([0-9A-Fa-f:.%]+)\]|([^\[\]:\s]+))(?::([0-9]{1,5}))?|([0-9A-Fa-f:.%]*:[0-9A-Fa-f:.%]*)", text
    )
    if not match or int(match[3] or PORT) not in range(1, 65536):
        raise ValueError(f"{text!r} is no name server")
    return Server(match[1] or match[2] or match[4], int(match[3] or PORT))


def text_record(name: str, servers: Sequence[Server], stop: Event, timeout: float = TIMEOUT) -> str:
    """Give the text of the one TXT record of a name.

    Raises:
        SourceError: nobody knows it, or what answers doesn't fit.
    """
    question = _question(name)
    why = ""
    for _ in range(ATTEMPTS):
        for server in servers:
            if stop.is_set():
                raise SourceError("the run is stopped")
            number = secrets.randbelow(2**16)
            try:
                return _asked(server, number, question, name, timeout)
            except (OSError, UnicodeError, _OddError) as error:  # a name that no server can have is a UnicodeError
                why = f"{server.host}: {getattr(error, 'strerror', None) or str(error) or 'no answer'}"
    raise SourceError(f"the TXT record of {name} can't be had ({why})")


def _question(name: str) -> bytes:
    labels = name.rstrip(".").split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise SourceError(f"{name!r} is no name that DNS knows")
    packed = b"".join(bytes([len(label)]) + label.encode() for label in labels)
    return packed + b"\0" + struct.pack("!2H", TXT, INTERNET)


def _asked(server: Server, number: int, question: bytes, name: str, timeout: float) -> str:
    request = _HEAD.pack(number, _RECURSE, 1, 0, 0, 0) + question
    answer = _by_udp(server, request, number, timeout)
    if _HEAD.unpack_from(answer)[1] & _CUT:
        answer = _by_tcp(server, request, timeout)
    return _text(answer, number, question, name)


def _by_udp(server: Server, request: bytes, number: int, timeout: float) -> bytes:
    family, kind, protocol, _name, address = socket.getaddrinfo(*server, type=socket.SOCK_DGRAM)[0]
    deadline = time.monotonic() + timeout
    with socket.socket(family, kind, protocol) as wire:
        wire.connect(address)  # so that the system drops what comes from elsewhere
        wire.send(request)
        while (left := deadline - time.monotonic()) > 0:
            wire.settimeout(left)
            answer = wire.recv(4096)
            if len(answer) >= _HEAD.size and _HEAD.unpack_from(answer)[0] == number:
                return answer
    raise _OddError("no answer")


def _by_tcp(server: Server, request: bytes, timeout: float) -> bytes:
    deadline = time.monotonic() + timeout
    with socket.create_connection((server.host, server.port), timeout) as wire:
        wire.sendall(struct.pack("!H", len(request)) + request)
        data = b""
        while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
            wire.settimeout(max(deadline - time.monotonic(), 0.001))
            more = wire.recv(4096)
            if not more:
                raise _OddError("the answer is cut off")
            data += more
    return data[2 : 2 + int.from_bytes(data[:2], "big")]


def _text(answer: bytes, number: int, question: bytes, name: str) -> str:
    """Give the text of an answer that fits the question."""
    try:
        told, flags, questions, answers, _authorities, _more = _HEAD.unpack_from(answer)
        at = _HEAD.size
        if told != number or not flags & _RESPONSE or questions != 1:
            raise _OddError("its answer is to no question of ours")
        asked, at = _name(answer, at)
        if (asked, answer[at : at + 4]) != (name.rstrip(".").lower(), question[-4:]):
            raise _OddError("its answer is to another question")
        if flags & _CODE:
            code = flags & _CODE
            raise _OddError(_MEANS.get(code, f"it answered with the code {code}"))
        at += 4
        texts = []
        wanted = asked
        for _ in range(min(answers, _MAX_ANSWERS)):
            owner, at = _name(answer, at)
            kind, group, _lives, size = _RECORD.unpack_from(answer, at)
            at += _RECORD.size
            data = answer[at : at + size]
            if len(data) < size:
                raise _OddError("the answer is cut off")
            if group == INTERNET and owner == wanted and kind == CNAME:
                wanted, _end = _name(answer, at)
            elif group == INTERNET and owner == wanted and kind == TXT:
                texts.append(_strings(data))
            at += size
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise _OddError("its answer is malformed") from error
    if len(texts) != 1:
        raise _OddError(f"it has {len(texts)} such records, and not one")
    return texts[0]


def _strings(data: bytes) -> str:
    """Join the strings of a TXT record."""
    parts, at = [], 0
    while at < len(data):
        size = data[at]
        if at + 1 + size > len(data):
            raise _OddError("its answer is malformed")
        parts.append(data[at + 1 : at + 1 + size])
        at += 1 + size
    return b"".join(parts).decode("ascii")


def _name(answer: bytes, at: int) -> tuple[str, int]:
    """Read a name, whose end may stand earlier in the answer; give it and the place behind it."""
    labels: list[str] = []
    end = 0
    for _ in range(_MAX_JUMPS + 128):
        size = answer[at]
        if size >= 0xC0:
            end = end or at + 2
            target = (size & 0x3F) << 8 | answer[at + 1]
            if target >= at:
                raise _OddError("its answer is malformed")
            at = target
        elif size >= 0x40:
            raise _OddError("its answer is malformed")
        elif size:
            labels.append(answer[at + 1 : at + 1 + size].decode("ascii").lower())
            at += 1 + size
        else:
            return ".".join(labels), end or at + 1
    raise _OddError("its answer is malformed")
