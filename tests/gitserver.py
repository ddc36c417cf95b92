"""Git repositories for tests, made by git itself, and served over http by its own `git http-backend`."""

from __future__ import annotations

import os
import subprocess
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers and body."""
_CLEAN = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


_SETTINGS = """
[user]
	name = Ada
	email = ada@example.org
[gc]
	auto = 0
"""


class Repo:
    """A bare repository, and a work tree beside it in which its commits are made: they needn't be pushed."""

    def __init__(self, folder: Path, *, kind: str = "sha1") -> None:
        self.bare = folder / "rules.git"
        self.work = folder / "work"
        self.work.mkdir(parents=True)
        self._where = {"GIT_DIR": str(self.bare), "GIT_WORK_TREE": str(self.work)}
        run("init", "--quiet", "--bare", "--template=", f"--object-format={kind}", "-b", "main", str(self.bare))
        with (self.bare / "config").open("a") as config:
            config.write(_SETTINGS)

    def git(self, *arguments: str, at: str = "", environ: Mapping[str, str] | None = None) -> str:
        """Run git; `at` is the time of what it makes."""
        times = {"GIT_AUTHOR_DATE": at, "GIT_COMMITTER_DATE": at} if at else {}
        return run(*arguments, folder=self.work, environ={**self._where, **times, **(environ or {})})

    def write(self, files: Mapping[str, bytes | None]) -> None:
        """Write files of the work tree; those of None are removed."""
        for name, content in files.items():
            path = self.work / name
            if content is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)

    def commit(self, files: Mapping[str, bytes | None], at: str, message: str = "Rules", *options: str) -> str:
        """Commit files; give the commit."""
        self.write(files)
        self.git("add", "-A")
        self.git("commit", "--quiet", "--allow-empty", "-m", message, *options, at=at)
        return (self.bare / "refs/heads/main").read_text().strip() if not options else self.git("rev-parse", "HEAD")

    def tag(self, name: str, *options: str, at: str = "2026-11-20T06:00:00Z") -> None:
        """Tag the last commit; with a message in the options it is a tag of its own."""
        self.git("tag", "--force", *options, name, at=at)


def run(*arguments: str, folder: Path | None = None, environ: Mapping[str, str] | None = None) -> str:
    """Run git, which knows nothing of who runs the tests; give what it says."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env={**clean, **_CLEAN, **(environ or {})},
        check=False,
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


@dataclass
class Backend:
    """What the server was asked: method and path, the heads, and the bytes of each answer.

    `twist` gives the answer to a path, mostly by what is `usual`.
    """

    url: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    heads: list[Mapping[str, str]] = field(default_factory=list)
    twist: Callable[[str, Callable[[], Answer]], Answer] = lambda _path, usual: usual()


@contextmanager
def git_http(folder: Path, *, protocol: str = "") -> Iterator[Backend]:
    """Serve the bare repositories of a folder by `git http-backend`; `protocol` overrules what the client wishes."""
    backend = Backend()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

        def _answer(self, body: bytes) -> None:
            backend.asked.append((self.command, self.path))
            backend.heads.append(dict(self.headers.items()))
            status, headers, content = backend.twist(self.path, lambda: self._git(body))
            backend.sent.append(len(content))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(content)

        def _git(self, body: bytes) -> Answer:
            path, _mark, query = self.path.partition("?")
            environ = {
                "PATH": os.environ["PATH"],
                **_CLEAN,
                "GIT_PROJECT_ROOT": str(folder),
                "GIT_HTTP_EXPORT_ALL": "1",
                "REQUEST_METHOD": self.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "GIT_PROTOCOL": protocol or self.headers.get("Git-Protocol", ""),
                "REMOTE_ADDR": "127.0.0.1",
            }
            done = subprocess.run(["git", "http-backend"], env=environ, input=body, check=False, capture_output=True)
            head, _gap, content = done.stdout.partition(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
            return int(headers.pop("Status", "200").split()[0]), headers, content

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_args: object) -> None:
            """Say nothing of clients that hang up."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    backend.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield backend
    finally:
        server.shutdown()
        server.server_close()
