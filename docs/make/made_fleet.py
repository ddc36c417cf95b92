"""A made fleet: real commands on clients that are data, with the clock set. Equal calls print the same on any machine.

Examples and captures of what updoser shows are made on it. Nothing is installed and nobody is connected to; all else is
as ever: specs are read, releases downloaded, incrementals made, plans carried out and remembered.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
from contextlib import ExitStack, chdir, redirect_stderr, redirect_stdout
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

from reconciler import cli
from reconciler.present.terminal import Terminal
from reconciler.workspace import Plugins
from tests.fakes import FakeClient, FakeTransport

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

_WHO = {"NAME": "Eva", "EMAIL": "eva@example.org", "DATE": "2026-12-01T08:00:00Z"}
_GIT = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in _WHO.items()}


def _noise(seed: str, size: int) -> bytes:
    blocks = (hashlib.sha256(f"{seed} {number}".encode()).digest() for number in range(size // 32 + 1))
    return b"".join(blocks)[:size]


class _Screen(io.StringIO):
    """A terminal that remembers what was written."""

    def isatty(self) -> bool:
        return True


class MadeFleet:
    """A folder with a spec, clients by their names, and the time that it is there. Commands run in this process."""

    def __init__(self, folder: Path, now: datetime) -> None:
        self.folder = folder
        self.now = now
        self.clients: dict[str, FakeClient] = {}
        self._ids = 0

    def write(self, name: str, text: str) -> None:
        """Write a file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def group(self, name: str, count: int, network: int) -> None:
        """List clients of a group in a CSV file of its name; the first one is labelled as a canary."""
        rows = ["name,address,labels"]
        for number in range(1, count + 1):
            client = f"{name}-{number:0{len(str(count))}}"
            rows.append(f"{client},10.{network}.{number // 256}.{number % 256},{'canary' if number == 1 else ''}")
            self.clients[client] = FakeClient(tools=("zstd",))
        self.write(f"clients/{name}.csv", "\n".join(rows) + "\n")

    def release(self, path: str, size: int, seed: int, more: int = 0) -> None:
        """Put the file of a release into the folder `upstream`: bytes that are like no others, and `more` of them."""
        file = self.folder / "upstream" / path
        file.parent.mkdir(parents=True)
        file.write_bytes(_noise(f"{seed}", size) + _noise(f"{seed} more", more))
        for written in (file, file.parent, file.parent.parent):
            os.utime(written, (self.now.timestamp() - 3600,) * 2)

    def commit(self) -> None:
        """Commit the spec and what lies beside it."""
        environment = {**_GIT, "PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        names = [path.name for path in self.folder.iterdir() if path.name not in {"store", "state.db", "upstream"}]
        git = shutil.which("git") or "git"
        for words in (["init", "-q", "-b", "main"], ["add", *names], ["commit", "-q", "-m", "main"]):
            subprocess.run([git, *words], cwd=self.folder, env=environment, check=True, capture_output=True)

    def run(self, *arguments: str, columns: int = 80, colour: bool = False, code: int = 0) -> str:
        """Run a command, and give what it shows on a terminal; anything but `code` at its end is a mistake here."""
        out, err, transport = _Screen(), io.StringIO(), FakeTransport(self.clients)
        look = {"COLUMNS": str(columns), "TERM": "xterm-256color", "NO_COLOR": "" if colour else "1", "FORCE_COLOR": ""}
        with ExitStack() as stack:
            for patch in (
                mock.patch("reconciler.assembly.utc_now", return_value=self.now),
                mock.patch("reconciler.assembly.new_id", self._new_id),
                mock.patch("reconciler.planning.new_id", self._new_id),
                mock.patch("reconciler.assembly.origin_of", return_value={"user": "eva", "host": "updates"}),
                mock.patch("reconciler.execute.download.AT_ONCE", 1),
                mock.patch("os.urandom", bytes),
                mock.patch("shutil.disk_usage", return_value=SimpleNamespace(free=100 * 2**30)),
                mock.patch.object(Plugins, "transport", return_value=transport),
                mock.patch.dict(os.environ, look),
                chdir(self.folder),
                redirect_stdout(out),
                redirect_stderr(err),
            ):
                stack.enter_context(patch)
            done = cli.run(arguments, Terminal())
        if done != code:
            raise AssertionError(f"updoser {' '.join(arguments)} ended with {done}:\n{out.getvalue()}{err.getvalue()}")
        return out.getvalue()

    def document(self, *arguments: str, code: int = 0) -> Any:
        """Run a command, and give the document of what it shows, as if the fleet's folder were another one."""
        shown = self.folder / "shown.json"
        shown.unlink(missing_ok=True)
        self.run(*arguments, "--json-into", shown.name, code=code)
        return json.loads(shown.read_text(encoding="utf-8").replace(str(self.folder), "/srv/updoser"))

    def _new_id(self, now: datetime) -> str:
        self._ids += 1
        return f"{now:%Y%m%dT%H%M%S}-{self._ids:08x}"
