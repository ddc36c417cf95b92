"""What hostile sources do: web servers that break each rule of HTTP, proxies, signed nonsense, and odd folders.

Each table has, by what is odd, what does it and a pattern of what users are told; None where nothing needs to be told.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.tufrepo import Vendor

DIGITS = b"9" * 5000
PIECE = b"x" * 65536
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
EVERY = 0.02
"""Seconds between two bytes that drip."""


class Wire:
    """One connection of somebody to a hostile server."""

    def __init__(self, connection: socket.socket, stop: threading.Event) -> None:
        self._connection = connection
        self._stop = stop

    def send(self, data: bytes) -> bool:
        """Send; False when the other side has gone, or the test is over."""
        try:
            self._connection.sendall(data)
        except OSError:
            return False
        return not self._stop.is_set()

    def wait(self, seconds: float = 3600.0) -> bool:
        """Let time pass; True when the test is over."""
        return self._stop.wait(seconds)

    def head(self) -> bytes:
        """Read the head of a request; empty when there is none."""
        data = b""
        with suppress(OSError):
            while not data.endswith(b"\r\n\r\n") and (more := self._connection.recv(1)):
                data += more
        return data


class Server:
    """A server on loopback that does what `serve` does with each connection."""

    def __init__(self, serve: Callable[[Wire], None]) -> None:
        self._serve = serve
        self._stop = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_args: object) -> None:
        self._stop.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(connection,), daemon=True).start()

    def _carry(self, connection: socket.socket) -> None:
        with connection:
            self._serve(Wire(connection, self._stop))


def web(folder: Path, at: str, behave: Callable[[Wire, bytes], None]) -> Callable[[Wire], None]:
    """Serve a folder honestly, but for paths that have `at` in them."""

    def serve(wire: Wire) -> None:
        while head := wire.head():
            path = head.split(b" ", 2)[1].decode().lstrip("/")
            place = folder / path
            content = place.read_bytes() if place.is_file() else None
            if at in path and content is not None:
                behave(wire, content)
                return
            status = b"200 OK" if content is not None else b"404 Not Found"
            body = content or b""
            if not wire.send(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)):
                return

    return serve


def says(data: bytes) -> Callable[[Wire, bytes], None]:
    def serve(wire: Wire, _content: bytes) -> None:
        wire.send(data)

    return serve


def sends(head: bytes, change: Callable[[bytes], bytes] = bytes) -> Callable[[Wire, bytes], None]:
    """Answer with a head, and the content after a change; nothing is asked again on a connection that is going away."""

    def serve(wire: Wire, content: bytes) -> None:
        wire.send(OK + b"Connection: close\r\n" + head + b"\r\n" + change(content))

    return serve


def floods(head: bytes, piece: bytes = PIECE) -> Callable[[Wire, bytes], None]:
    def behave(wire: Wire, _content: bytes) -> None:
        going = wire.send(head)
        while going:
            going = wire.send(piece)

    return behave


def drips(head: bytes, piece: bytes = b"x") -> Callable[[Wire, bytes], None]:
    def behave(wire: Wire, _content: bytes) -> None:
        going = wire.send(head)
        while going and not wire.wait(EVERY):
            going = wire.send(piece)

    return behave


def waits(head: bytes = b"") -> Callable[[Wire, bytes], None]:
    def behave(wire: Wire, _content: bytes) -> None:
        wire.send(head)
        wire.wait()

    return behave


def leads(location: bytes, more: bytes = b"Content-Length: 0\r\n") -> Callable[[Wire, bytes], None]:
    return says(b"HTTP/1.1 302 Found\r\n" + more + b"Location: " + location + b"\r\n\r\n")


def status(line: bytes, *headers: bytes) -> Callable[[Wire, bytes], None]:
    return says(b"HTTP/1.1 " + line + b"\r\n" + b"".join(header + b"\r\n" for header in headers) + b"\r\n")


def _part(at: bytes) -> Callable[[Wire, bytes], None]:
    return status(b"206 Partial Content", b"Content-Range: bytes %s-%s/*" % (at, at), b"Content-Length: 0")


HTTP: dict[str, tuple[Callable[[Wire, bytes], None], str | None]] = {
    # --- silence and drips
    "nothing is said": (waits(), "timed out|wasn't"),
    "half of a head, and silence": (waits(OK), "timed out|wasn't"),
    "a head, and silence": (waits(OK + b"Content-Length: 9\r\n\r\n"), "timed out|wasn't"),
    "a head that drips": (drips(OK + b"X: "), "the head of the answer wasn't complete"),
    "a status that drips": (drips(b"HTTP/1.1 200 "), "the head of the answer wasn't complete"),
    "lines of a head that drip": (
        drips(OK, b"X: y\r\n"),
        "wasn't complete|100 headers",
    ),
    "promises to go on that drip": (
        drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        "the head of the answer wasn't complete",
    ),
    "a chunk's size that drips": (drips(CHUNKED, b"0"), "the next piece of the answer wasn't there"),
    "lines behind the last chunk that drip": (drips(CHUNKED + b"0\r\n", b"X: y\r\n"), "the next piece of the answer"),
    "the body of a redirect that drips": (
        drips(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 60000\r\n\r\n"),
        "HTTP 404|isn't followed|timed out",
    ),
    "the body of a refusal that drips": (
        drips(b"HTTP/1.1 404 Not Found\r\nContent-Length: 60000\r\n\r\n"),
        "HTTP 404",
    ),
    "a body that drips": (drips(OK + b"Content-Length: 100000\r\n\r\n{"), "at less than|wasn't complete|more than"),
    # --- floods
    "a head without end": (floods(OK, b"X: " + b"y" * 1000 + b"\r\n"), "100 headers"),
    "a line of a head without end": (floods(OK + b"X: "), "header line"),
    "a status without end": (floods(b"HTTP/1.1 200 "), "status line|BadStatusLine|line"),
    "promises to go on without end": (
        floods(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 500),
        "the head of the answer wasn't complete",
    ),
    "a chunk's size without end": (floods(CHUNKED, b"0" * 65536), "chunk size"),
    "lines behind the last chunk without end": (
        floods(CHUNKED + b"0\r\n", b"X: y\r\n" * 1000),
        "the next piece of the answer wasn't there",
    ),
    "a body without end": (floods(OK + b"Connection: close\r\n\r\n{"), "cut off|more than"),
    "chunks without end": (floods(CHUNKED + b"1\r\n{\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n"), "cut off|more than"),
    "a redirect whose body has no end": (
        floods(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", PIECE),
        "HTTP 404|isn't followed",
    ),
    "zeros packed by a thousand": (
        sends(b"Content-Encoding: gzip\r\nContent-Length: 20\r\n", lambda _content: b"\x1f\x8b" + b"\0" * 18),
        "packed|should have|has the SHA-256",
    ),
    # --- redirects
    "a redirect to half an address": (leads(b"http://[::1"), "no address"),
    "a redirect to a port that is none": (leads(b"http://127.0.0.1:99999999/x"), "no address"),
    "a redirect to a port of 5,000 digits": (leads(b"http://127.0.0.1:" + DIGITS + b"/x"), "no address"),
    "a redirect to a port of letters": (leads(b"http://127.0.0.1:ssh/x"), "no address"),
    "a redirect to a file": (leads(b"file:///etc/passwd"), "isn't followed"),
    "a redirect to a program": (leads(b"javascript:alert(1)"), "isn't followed"),
    "a redirect to nowhere": (leads(b""), "."),
    "a redirect to itself": (leads(b"?again"), "."),
    "a redirect to no host": (leads(b"http:///x"), "."),
    "a redirect to control bytes": (leads(b"http://127.0.0.1:1/\x00\x01\x1b[2J"), "."),
    "a redirect to a host of 60,000 bytes": (leads(b"http://" + b"a" * 60_000 + b"/x"), "."),
    "a redirect to a host in other letters": (leads("http://ⓔⓧ..ample/x".encode()), "."),
    "a redirect without a place": (status(b"302 Found", b"Content-Length: 0"), "."),
    "a redirect whose length has 5,000 digits": (
        leads(b"file:///x", b"Content-Length: " + DIGITS + b"\r\n"),
        "isn't followed",
    ),
    # --- numbers
    "a length of 5,000 digits": (sends(b"Content-Length: " + DIGITS + b"\r\n"), None),
    "a length below nothing": (sends(b"Content-Length: -1\r\n"), None),
    "two lengths": (sends(b"Content-Length: 1\r\nContent-Length: 2\r\n"), "."),
    "a length that is longer than what comes": (sends(b"Content-Length: 999999\r\n"), "."),
    "a chunk of all there is": (says(CHUNKED + b"ffffffffffffffff\r\n{"), "."),
    "a chunk of less than nothing": (says(CHUNKED + b"-5\r\n{"), "."),
    "a chunk that is no number": (says(CHUNKED + b"zz\r\n{"), "."),
    "a part that is out of all numbers": (
        status(
            b"206 Partial Content", b"Content-Range: bytes 99999999999999999-99999999999999999/*", b"Content-Length: 0"
        ),
        "another part",
    ),
    "a part of 5,000 digits": (_part(DIGITS), "another part"),
    "wait until a date that overflows": (
        status(b"429 No", b"Retry-After: Fri, 31 Dec 99999999999999999999 23:59:59 GMT", b"Content-Length: 0"),
        "left alone until",
    ),
    "wait until the year 9999": (
        status(b"503 No", b"Retry-After: Fri, 31 Dec 9999 23:59:59 -2359", b"Content-Length: 0"),
        "left alone until",
    ),
    "wait 5,000 digits of seconds": (status(b"429 No", b"Retry-After: " + DIGITS, b"Content-Length: 0"), "left alone"),
    "wait with a zone that is none": (
        status(b"503 No", b"Retry-After: Fri, 31 Dec 2026 23:59:59 +99999999", b"Content-Length: 0"),
        "left alone|HTTP 503",
    ),
    # --- no HTTP
    "it hangs up": (lambda _wire, _content: None, "."),
    "it hangs up in its head": (says(OK + b"Content-Le"), "."),
    "it hangs up in a body": (sends(b"Content-Length: 100000\r\n", lambda content: content[:20]), "."),
    "it hangs up in a chunk": (says(CHUNKED + b"1000\r\n{"), "."),
    "it greets as SSH": (says(b"SSH-2.0-OpenSSH_9.2\r\n"), "."),
    "bytes of any kind": (says(bytes(range(256)) * 40), "."),
    "a status of 999": (status(b"999 Hm", b"Content-Length: 0"), "HTTP 999"),
    "a status of letters": (status(b"two hundred"), "."),
    "it switches to another protocol": (status(b"101 Switching", b"Upgrade: h2c"), "HTTP 101"),
    "nothing has changed": (status(b"304 Not Modified"), "HTTP 304"),
    "no content": (status(b"204 No Content"), "HTTP 204"),
    # --- refusals
    "it isn't there": (status(b"404 Not Found", b"Content-Length: 0"), "HTTP 404"),
    "it isn't allowed": (status(b"403 Forbidden", b"Content-Length: 0"), "HTTP 403"),
    "it wants a password": (status(b"401 Unauthorized", b"Content-Length: 0"), "credentials"),
    "it wants the proxy's password": (status(b"407 Proxy", b"Content-Length: 0"), "credentials"),
    "it broke": (status(b"500 Oops", b"Content-Length: 0"), "HTTP 500"),
    # --- other content
    "nothing": (sends(b"Content-Length: 0\r\n", lambda _content: b""), "."),
    "a page": (says(OK + b"Content-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"), "page|should have"),
    "other bytes": (sends(b"", lambda content: content.replace(b"e", b"f") + b"f"), "."),
    "60,000 brackets": (sends(b"", lambda _content: b'{"signed":' + b"[" * 60_000), "."),
    "a null": (sends(b"Content-Length: 4\r\n", lambda _content: b"null"), "."),
}
"""What a web server answers, for metadata or a file."""

PROXY: dict[str, tuple[Callable[[Wire, bytes], None], str | None]] = {
    "an answer that drips": (drips(b"HTTP/1.1 200 OK\r\nX: "), "the head of the answer wasn't complete"),
    "lines of an answer that drip": (drips(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), "wasn't complete|100 headers"),
    "lines of an answer without end": (
        floods(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 500),
        "wasn't complete|100 headers",
    ),
    "an answer without end": (floods(b"HTTP/1.1 200 OK\r\nX: "), "line"),
    "silence": (waits(), "timed out|wasn't complete"),
    "bytes of any kind": (says(bytes(range(256)) * 40), "."),
    "a status of 5,000 digits": (says(b"HTTP/1.1 " + DIGITS + b" OK\r\n\r\n"), "."),
    "it hangs up": (lambda _wire, _content: None, "."),
    "a tunnel to bytes that aren't TLS": (says(b"HTTP/1.1 200 OK\r\n\r\n" + b"hello" * 100), "."),
}
"""What a proxy answers when it is asked for a tunnel (CONNECT)."""

SOCKS: dict[str, tuple[Callable[[Wire, bytes], None], str | None]] = {
    "an answer that drips": (drips(b"\x05\x00\x05\x00\x00\x03\xff", b"x"), "."),
    "a method that nobody offered": (says(b"\x05\x77"), "."),
    "an address that doesn't end": (waits(b"\x05\x00\x05\x00\x00\x03\xff"), "didn't answer in time|timed out"),
    "bytes of any kind": (says(bytes(range(256))), "."),
    "silence": (waits(), "didn't answer in time|timed out"),
    "it hangs up": (lambda _wire, _content: None, "."),
}
"""What a SOCKS proxy answers."""


# --- repositories that sign what nobody should ------------------------------------------------------------------------


def _document(vendor: Vendor) -> tuple[str, dict[str, Any]]:
    """Give the component of a repository, and its index."""
    (component,) = vendor.indexes
    return component, vendor.document(component)


def _release(**changes: Any) -> Callable[[Vendor], None]:
    def change(vendor: Vendor) -> None:
        component, document = _document(vendor)
        document["releases"][-1].update(changes)
        vendor.set_index(component, document)
        vendor.sign()

    return change


def _index(content: bytes) -> Callable[[Vendor], None]:
    def change(vendor: Vendor) -> None:
        vendor.set_index(_document(vendor)[0], content)
        vendor.sign()

    return change


def _to(target: str) -> Callable[[Path], None]:
    return lambda place: place.symlink_to(target)


def _to_itself(place: Path) -> None:
    place.symlink_to(place)


def _nonsense_next(vendor: Vendor) -> None:
    (vendor.metadata / "2.root.json").write_bytes(b'{"signed":' + b"[" * 60_000)


def _metadata(name: str, content: bytes) -> Callable[[Vendor], None]:
    def change(vendor: Vendor) -> None:
        for place in vendor.metadata.glob(name):
            place.write_bytes(content)

    return change


def _in_place(name: str, make: Callable[[Path], None]) -> Callable[[Vendor], None]:
    def change(vendor: Vendor) -> None:
        for place in list(vendor.metadata.glob(name)):
            place.unlink()
            make(place)

    return change


def _file(**changes: Any) -> Callable[[Vendor], None]:
    def change(vendor: Vendor) -> None:
        component, document = _document(vendor)
        document["releases"][-1]["files"][0].update(changes)
        vendor.set_index(component, document)
        vendor.sign()

    return change


SIGNED: dict[str, tuple[Callable[[Vendor], None], str | None]] = {
    "an index of 60,000 brackets": (_index(b"[" * 60_000), "no JSON"),
    "an index of 60,000 braces": (_index(b'{"a":' * 60_000), "it isn't JSON"),
    "an index of nothing": (_index(b""), "."),
    "an index of null": (_index(b"null"), "."),
    "an index of a number of 5,000 digits": (_index(b"1" * 5000), "no JSON"),
    "an index that isn't UTF-8": (_index(b'{"\xff": 1}'), "."),
    "an index with a lone surrogate": (
        _index(b'{"format_version": "1.0", "component": "\\ud800", "releases": []}'),
        ".",
    ),
    "a release of year 1": (_release(released="0001-01-01T00:00:00+23:59"), "years 1970"),
    "a release of year 9999": (_release(released="9999-12-31T23:59:59-23:59"), "years 1970"),
    "a release of no time": (_release(released="yesterday"), "isn't a time"),
    "a release of a number": (_release(released=10**18), "."),
    "a version of 5,000 digits": (_release(version="9" * 5000), "no version"),
    "a version that leads elsewhere": (_release(version="../../x"), "no version"),
    "notes of a megabyte": (_release(notes="x" * 10**6), "notes"),
    "no files": (_release(files=[]), "no files"),
    "files that are a number": (_release(files=7), "files"),
    "a size of 5,000 digits": (_file(size=int(b"9" * 4000)), "."),
    "a size below nothing": (_file(size=-1), "."),
    "a size that is none": (_file(size=1e300), "."),
    "a size that is true": (_file(size=True), "."),
    "a digest of other letters": (_file(sha256="z" * 64), "."),
    "a name that leads elsewhere": (_file(name="../../etc/passwd"), "slash"),
    "a name with a line end": (_file(name="a\nb"), "control"),
    "a name that is a list": (_file(name=[[]]), "."),
    "a timestamp of 60,000 brackets": (_metadata("timestamp.json", b'{"signed":' + b"[" * 60_000), "."),
    "a timestamp of 60,000 braces": (_metadata("timestamp.json", b'{"a":' * 60_000), "."),
    "a timestamp of null": (_metadata("timestamp.json", b"{}"), "."),
    "a timestamp of a list": (_metadata("timestamp.json", b'{"signed": [], "signatures": {}}'), "."),
    "a timestamp of odd signatures": (
        _metadata("timestamp.json", b'{"signed": {"_type": "timestamp"}, "signatures": [1]}'),
        ".",
    ),
    "targets of 60,000 brackets": (_metadata("*.targets.json", b'{"signed":' + b"[" * 60_000), "."),
    "a snapshot of nothing": (_metadata("*.snapshot.json", b""), "."),
    "a root that comes next and is nonsense": (
        _nonsense_next,
        ".",
    ),
    "a timestamp that is a pipe": (_in_place("timestamp.json", os.mkfifo), "no file"),
    "a timestamp that is a folder": (_in_place("timestamp.json", os.mkdir), "is no file"),
    "a timestamp that is a device": (
        _in_place("timestamp.json", _to("/dev/zero")),
        "no file",
    ),
    "a timestamp that leads to itself": (
        _in_place("timestamp.json", _to_itself),
        "can't be read",
    ),
}
"""What a repository holds, in a folder."""


# --- folders ----------------------------------------------------------------------------------------------------------


def _a_file(place: Path) -> None:
    place.write_bytes(b"x")


def _beside(name: str, content: bytes) -> Callable[[Path], None]:
    def make(release: Path) -> None:
        (release / name).write_bytes(content)

    return make


def _made(name: str, make: Callable[[Path], None]) -> Callable[[Path], None]:
    def change(release: Path) -> None:
        with suppress(FileNotFoundError):
            (release / name).unlink()
        make(release / name)

    return change


def _sparse(place: Path) -> None:
    with place.open("wb") as file:
        file.truncate(17 * 2**30)


def _incremental(content: bytes) -> Callable[[Path], None]:
    def change(release: Path) -> None:
        folder = release.parent / "incrementals" / "1..2"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "incremental.json").write_bytes(content)

    return change


def _socket(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        number = os.open(place.parent, os.O_RDONLY)  # the path of a socket has 108 bytes
        try:
            bound.bind(f"/proc/self/fd/{number}/{place.name}")
        finally:
            os.close(number)


def _instead(make: Callable[[Path], None]) -> Callable[[Path], None]:
    """Put something in place of the release's folder."""

    def change(release: Path) -> None:
        for file in release.iterdir():
            file.unlink()
        release.rmdir()
        make(release)

    return change


def _named(name: str) -> Callable[[Path], None]:
    return _instead(lambda place: place.with_name(name).mkdir())


FOLDER: dict[str, tuple[Callable[[Path], None], str | None]] = {
    "release.yaml of 60,000 brackets": (_beside("release.yaml", b"[" * 60_000), "isn't a mapping"),
    "release.yaml of 30,000 braces": (_beside("release.yaml", b"notes: " + b"{a: " * 15_000), "wants a text"),
    "release.yaml of keys in keys": (_beside("release.yaml", b"? " * 30_000), "."),
    "release.yaml of dashes": (_beside("release.yaml", b"- " * 30_000), "isn't a mapping"),
    "release.yaml of aliases": (_beside("release.yaml", b"notes: &a [*a,*a]"), "wants a text"),
    "release.yaml of a tag": (_beside("release.yaml", b"notes: !!python/object/apply:os.system [id]"), "wants a text"),
    "release.yaml of year 1": (_beside("release.yaml", b"released: '0001-01-01T00:00:00+23:59'"), "years 1970"),
    "release.yaml of year 9999": (_beside("release.yaml", b"released: '9999-12-31T23:59:59-23:59'"), "years 1970"),
    "release.yaml of a number for a time": (_beside("release.yaml", b"released: 99999999999999999999"), "wants a text"),
    "release.yaml of 5,000 digits": (_beside("release.yaml", b"notes: " + DIGITS), "wants a text"),
    "release.yaml of bytes": (_beside("release.yaml", bytes(range(128, 256))), "UTF-8"),
    "release.yaml of control characters": (_beside("release.yaml", b"notes: \x1b[2J"), "."),
    "release.yaml of a megabyte": (_beside("release.yaml", b"#" * 10**6), "larger than"),
    "release.yaml that is a folder": (_made("release.yaml", os.mkdir), "a folder"),
    "release.yaml that is a pipe": (_made("release.yaml", os.mkfifo), "special file"),
    "release.yaml that is a device": (_made("release.yaml", _to("/dev/zero")), "leads out"),
    "release.yaml that leads to itself": (_made("release.yaml", _to_itself), "links"),
    "release.yaml for another platform": (_beside("release.yaml", b"platform: ../../x"), "platform"),
    "sums of five megabytes": (_beside("SHA256SUMS", b"x" * 5 * 2**20), "larger than"),
    "sums of bytes": (_beside("SHA256SUMS", bytes(range(256))), "isn't a digest"),
    "sums of other files": (_beside("SHA256SUMS", b"0" * 64 + b"  /etc/passwd\n"), "."),
    "sums of other digests": (_beside("SHA256SUMS", b"0" * 64 + b"  data\n"), "SHA256SUMS says"),
    "incremental.json of 60,000 brackets": (_incremental(b"[" * 60_000), "isn't JSON"),
    "incremental.json of 60,000 braces": (_incremental(b'{"a":' * 60_000), "isn't JSON"),
    "incremental.json of 5,000 digits": (_incremental(DIGITS), "isn't JSON"),
    "incremental.json of null": (_incremental(b"null"), "."),
    "incremental.json of bytes": (_incremental(bytes(range(256))), "isn't JSON"),
    "a name with a line end": (_beside("a\nb", b"x"), "control bytes"),
    "a name that isn't UTF-8": (_beside(os.fsdecode(b"a\xff\xfe"), b"x"), "control bytes|UTF-8"),
    "a name that clears the screen": (_beside("a\x1b[2J", b"x"), "control bytes"),
    "a name that turns letters round": (_beside("a\u202etxt.exe", b"x"), None),
    "a name of 255 bytes": (_beside("n" * 255, b"x"), None),
    "a name that looks like an option": (_beside("-rf", b"x"), "begins with"),
    "a folder in a release": (_made("more", os.mkdir), "a folder"),
    "a pipe in a release": (_made("more", os.mkfifo), "special file"),
    "a socket in a release": (_made("more", _socket), "special file"),
    "a link to a device": (_made("data", _to("/dev/zero")), "leads out"),
    "a link to a secret": (_made("data", _to("/etc/passwd")), "leads out"),
    "a link to itself": (_made("data", _to_itself), "links"),
    "a link to nothing": (_made("data", _to("gone")), "no such file"),
    "a file of 17 GiB": (_made("data", _sparse), "more than"),
    "a file in place of a version": (_instead(_a_file), "a file stands where"),
    "a link in place of a version": (_instead(_to("/etc")), "leads out"),
    "a link to itself in place of a version": (_instead(_to_itself), "links"),
    "a pipe in place of a version": (_instead(os.mkfifo), "a file stands where"),
    "an empty version": (_instead(os.mkdir), "no files"),
    "a version of 250 digits": (_instead(lambda place: place.with_name("9" * 250).mkdir()), "."),
    "a version of odd letters": (_instead(lambda place: place.with_name("²\u202e\x1b[2J").mkdir()), "not a version"),
    "a platform that is none": (
        _instead(lambda place: place.with_name(f"{place.name}@../x".replace("/", "-")).mkdir()),
        "platform",
    ),
}
"""What lies in the folder of a release, in place of it, or beside it."""
