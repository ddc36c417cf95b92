"""Real servers on loopback for tests: nginx, squid, microsocks, a private authority, and a wire that breaks."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from tests.ports import free_port
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import Message


def wait_for(host: str, port: int, process: subprocess.Popen[Any] | None = None, log: Path | None = None) -> None:
    """Wait until somebody listens."""

    def listens() -> bool:
        with suppress(OSError):
            socket.create_connection((host, port), 1).close()
            return True
        return False

    try:
        until(listens, process)
    except AssertionError:
        said = log.read_text() if log is not None and log.exists() else ""
        raise RuntimeError(f"nobody listens on {host}:{port}: {said}") from None


def program(name: str) -> str:
    """Give the path of a program that the test needs."""
    found = shutil.which(name)
    assert found is not None, name
    return found


@contextmanager
def running(command: list[str], host: str, port: int, log: Path) -> Iterator[None]:
    """Run a daemon in the foreground for the time of the block."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        wait_for(host, port, process, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


@contextmanager
def nginx(
    folder: Path,
    root: Path,
    *,
    host: str = "127.0.0.1",
    rules: str = "",
    tls: str = "",
    server: str = "",
    http: str = "",
) -> Iterator[str]:
    """Serve a folder; give the URL. `rules` stand in the location, `server` and `tls` in the server, `http` outside."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port(host)
    listen = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    user = "user root;" if os.getuid() == 0 else ""
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"""{user} daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log {folder}/access.log; sendfile on; default_type application/octet-stream;
    {temporary}
    {http}
    server {{
        listen {listen}{" ssl" if tls else ""}; {tls} {server}
        location / {{ root {root}; {rules} }}
    }}
}}
""",
        encoding="utf-8",
    )
    command = [program("nginx"), "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
    with running(command, host, port, folder / "log"):
        yield f"http{'s' if tls else ''}://{listen}"


def requests(folder: Path) -> list[str]:
    """Give the lines that nginx, or squid, wrote down."""
    log = folder / "access.log"
    return log.read_text().splitlines() if log.exists() else []


def logged(folder: Path, words: str) -> bool:
    """Wait until a line with these words is written down, and say so; squid does it only when a tunnel is closed."""
    return until(lambda: any(words in line for line in requests(folder)))


@contextmanager
def squid(
    folder: Path, *, user: str = "", password: str = "", tls: tuple[Path, Path] | None = None, host: str = "127.0.0.1"
) -> Iterator[int]:
    """Run a proxy; with a user it wants basic authentication, with `tls` it is spoken with over TLS. Gives its port.

    `folder` becomes a link to where its files are: it gives up root for a user who can't enter the folders of tests.
    """
    place = Path(tempfile.mkdtemp(prefix="squid-"))
    place.chmod(0o755)
    folder.symlink_to(place)
    port = free_port(host)
    at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    listen = f"http_port {at}"
    if tls:
        pair = [shutil.copy(path, place / path.name) for path in tls]
        listen = f"https_port {at} tls-cert={pair[0]} tls-key={pair[1]}"
    access = "http_access allow all"
    if user:
        checker = place / "checker"
        checker.write_text(
            "#!/bin/sh\nwhile read -r name word; do\n"
            f'if [ "$name $word" = "{user} {password}" ]; then echo OK; else echo ERR; fi\ndone\n'
        )
        checker.chmod(0o755)
        access = f"""auth_param basic program {checker}
auth_param basic children 2
auth_param basic realm test
acl known proxy_auth REQUIRED
http_access allow known
http_access deny all"""
    config = place / "squid.conf"
    config.write_text(
        f"""{listen}
{access}
cache deny all
access_log stdio:{place}/access.log
cache_log {place}/cache.log
pid_filename {place}/pid
coredump_dir {place}
shutdown_lifetime 0 seconds
logfile_rotate 0
pinger_enable off
""",
        encoding="utf-8",
    )
    if os.getuid() == 0:
        for path in (place, *place.iterdir()):
            shutil.chown(path, "proxy", "proxy")
    command = [program("squid"), "--foreground", "-n", f"t{port}", "-f", str(config)]
    try:
        with running(command, host, port, place / "out.log"):
            yield port
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def microsocks(folder: Path, *, user: str = "", password: str = "", host: str = "127.0.0.1") -> Iterator[int]:
    """Run a SOCKS 5 proxy and give its port."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port(host)
    login = ["-u", user, "-P", password] if user else []
    with running([program("microsocks"), "-i", host, "-p", str(port), *login], host, port, folder / "socks.log"):
        yield port


class Authority:
    """A private authority that signs certificates."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.certificate = folder / "ca.pem"
        self._key = folder / "ca.key"
        self._openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", "/CN=test authority", "-keyout", str(self._key), "-out", str(self.certificate),
        )  # fmt: skip

    def sign(self, name: str, *addresses: str, kind: Literal["ec", "rsa"] = "ec") -> tuple[Path, Path]:
        """Give certificate and key for a name and addresses."""
        how = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "ec" else ["rsa:2048"]
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        names = ",".join([f"DNS:{name}", *(f"IP:{address}" for address in addresses)])
        self._openssl(
            "req", "-x509", "-newkey", *how, "-nodes", "-days", "2",
            "-subj", f"/CN={name}", "-addext", f"subjectAltName={names}", "-CA", str(self.certificate),
            "-CAkey", str(self._key), "-addext", "basicConstraints=critical,CA:FALSE",
            "-keyout", str(key), "-out", str(certificate),
        )  # fmt: skip
        key.chmod(0o644)
        return certificate, key

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class Odd:
    """A web server over a folder whose answers a test changes: `twist(path, asked, content)` gives one in their place.

    `asked` are the headers of the request, `content` is the file, or None where there is none. A twist gives status,
    headers and body, or None for the usual answer, which knows ranges. `seen` has the path and range of each request,
    `asked` its method and headers; each connection has a number, `connection`, which twists may go by.
    """

    def __init__(
        self,
        folder: Path,
        twist: Callable[..., tuple[int, dict[str, str], bytes] | None] = lambda *_args: None,
        *,
        protocol: str = "HTTP/1.1",
    ) -> None:
        self.seen: list[tuple[str, str]] = []
        self.asked: list[tuple[str, Message]] = []
        self.connection = 0
        odd = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = protocol

            def setup(self) -> None:
                super().setup()
                odd.connection += 1

            def do_GET(self) -> None:
                odd.asked.append((self.command, self.headers))
                odd.seen.append((self.path, self.headers.get("Range", "")))
                place = folder / self.path.partition("?")[0].lstrip("/")
                content = place.read_bytes() if place.is_file() else None
                status, headers, body = twist(self.path, self.headers, content) or self.usual(content)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD" and status != 304:
                    with suppress(OSError):
                        self.wfile.write(body)

            do_HEAD = do_GET  # noqa: N815 - as the library calls it

            def usual(self, content: bytes | None) -> tuple[int, dict[str, str], bytes]:
                if content is None:
                    return 404, {}, b""
                begin = int(self.headers.get("Range", "bytes=0-")[6:-1])
                if not begin:
                    return 200, {}, content
                return part(content, begin)

            def log_message(self, *_args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_args: None  # type: ignore[method-assign] # who asks may leave at any time
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_args: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def part(content: bytes, begin: int, end: int | None = None) -> tuple[int, dict[str, str], bytes]:
    """Give the answer of a server that has a part of a file."""
    body = content[begin:end]
    return 206, {"Content-Range": f"bytes {begin}-{begin + len(body) - 1}/{len(content)}"}, body


class _Listener:
    """Takes connections on loopback, each of which `_carry` serves in a thread of its own."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            client, _address = self._listener.accept()
            threading.Thread(target=self._serve_one, args=(client,), daemon=True).start()

    def _serve_one(self, client: socket.socket) -> None:
        with suppress(OSError):  # either side may be gone by now, as its test is over
            self._carry(client)

    def _carry(self, client: socket.socket) -> None:
        raise NotImplementedError


class Wire(_Listener):
    """A wire to a server that cuts each connection after some bytes of its answer, or lets them trickle."""

    def __init__(self, port: int, *, cut_after: int = 0, trickle: float = 0.0, to: str = "127.0.0.1") -> None:
        self._to = (to, port)
        self._cut_after = cut_after
        self._trickle = trickle
        self.cuts = 0
        super().__init__()

    def _carry(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._to) as server:
            threading.Thread(target=_pump, args=(client, server), daemon=True).start()
            carried = 0
            with suppress(OSError):
                while data := server.recv(64 if self._trickle else 16384):
                    if self._cut_after and carried + len(data) > self._cut_after:
                        client.sendall(data[: self._cut_after - carried])
                        self.cuts += 1
                        client.shutdown(socket.SHUT_RDWR)
                        return
                    client.sendall(data)
                    carried += len(data)
                    time.sleep(self._trickle)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(16384):
            target.sendall(data)


class Socks4(_Listener):
    """A SOCKS 4 server, as small as it can be (no package of Debian's speaks only that)."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []
        super().__init__()

    def _carry(self, client: socket.socket) -> None:
        with client:
            head = client.recv(8, socket.MSG_WAITALL)
            while client.recv(1) not in {b"\0", b""}:
                pass
            port, address = int.from_bytes(head[2:4]), socket.inet_ntoa(head[4:8])
            self.seen.append((address, port))
            with socket.create_connection((address, port)) as server:
                client.sendall(b"\0\x5a" + head[2:8])
                threading.Thread(target=_pump, args=(client, server), daemon=True).start()
                _pump(server, client)
