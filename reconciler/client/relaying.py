"""What a relay is sent by the client script's grammar, and what it answers: read as bytes from a stranger.

    hold    store FOLDER, then `drop`, `held`, `take OFFSET SIZE SHA256`, `probe URL [SIZE SHA256]` and `tools`; the
            payload of what it takes
    serve   store FOLDER, listen ADDRESS PORT; then `beat`, now and then, for as long as it is to serve

It answers `relay` with lines of what is there: `has` and `part` with sizes, `bad`, `free`, `server`, `probe` and
`unserved`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO

from reconciler.client.protocol import answer_lines, clean
from reconciler.client.requests import CLOSING, exactly, framed
from reconciler.errors import ClientError, ProtocolError
from reconciler.model.relay import RELAY_URL, Held
from reconciler.model.release import SHA256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from reconciler.contracts import Completed
    from reconciler.model.relay import HoldOrder, ServeOrder

MAX_PARTS = 100_000
"""How many parts a relay may say that it has."""
BEAT = b"beat\n"
_ENTRY = re.compile(r"([0-9]{1,15}) ([0-9a-f]{64})")
_ADDRESS = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def hold_request(
    order: HoldOrder, content: Callable[[str], AbstractContextManager[BinaryIO]], pace: Callable[[int], None]
) -> Iterator[bytes]:
    """Give the request that fills a relay, or only looks at it, in pieces; `pace` is told the size of each before it.

    Raises:
        StoreError, ClientError: as for `deploy_request`.
    """
    takes = [(order.begun.get(sha256, 0), size, sha256) for sha256, size in sorted(order.take.items())]
    lines = [
        f"store {order.store}",
        *(f"drop {sha256}" for sha256 in sorted(order.drop)),
        *(f"held {sha256}" for sha256 in sorted(order.held)),
        *(f"take {begun} {size} {sha256}" for begun, size, sha256 in takes),
    ]
    if order.probe:
        if not RELAY_URL.fullmatch(order.probe):
            raise ClientError(f"no URL that a client can fetch from: {order.probe}")
        lines.append(f"probe {order.probe}{f' {order.size} {order.sha256}' if order.sha256 else ''}")
    if order.tools:
        lines.append("tools")
    yield framed("hold", lines)
    for begun, size, sha256 in takes:
        with content(sha256) as stream:
            stream.seek(begun)
            for piece in exactly(stream, size - begun, sha256):
                pace(len(piece))
                yield piece
    if order.changes:
        yield CLOSING


def serve_request(order: ServeOrder, beats: Iterable[None]) -> Iterator[bytes]:
    """Give the request that has a folder served until `beats` end.

    Raises:
        ClientError: the address is none.
    """
    if not _ADDRESS.fullmatch(order.address):
        raise ClientError(f"no address that a server can listen on: {order.address!r}")
    yield framed("serve", [f"store {order.store}", f"listen {order.address} {order.port}"])
    for _beat in beats:
        yield BEAT


def read_held(done: Completed) -> Held:
    """Read what a relay says that it has.

    Raises:
        ClientError: it says that it can't.
        ProtocolError: the answer is malformed or cut short.
    """
    free, serving, server, unserved = 0, "", False, False
    parts: dict[str, int] = {}
    begun: dict[str, int] = {}
    bad: set[str] = set()
    for line in answer_lines(done, "relay"):
        word, _, rest = line.partition(" ")
        entry = _ENTRY.fullmatch(rest)
        if word == "has" and entry:
            parts[entry[2]] = int(entry[1])
        elif word == "part" and entry:
            begun[entry[2]] = int(entry[1])
        elif word == "bad" and SHA256.fullmatch(rest):
            bad.add(rest)
        elif word == "free" and rest.isdecimal() and len(rest) <= 15:
            free = int(rest) * 1024
        elif line == "server":
            server = True
        elif line == "unserved":
            unserved = True
        elif word == "probe" and rest.partition(" ")[0] in {"yes", "no"}:
            serving = clean(rest)
        else:
            raise ProtocolError(f"the relay's answer has a line that no relay writes: {clean(line)!r}")
        if len(parts) + len(begun) + len(bad) > MAX_PARTS:
            raise ProtocolError(f"the relay says that it has more than {MAX_PARTS} parts")
    return Held(
        free=free,
        parts=parts,
        begun=begun,
        bad=frozenset(bad),
        serving=serving,
        server=server,
        unserved=unserved,
    )
