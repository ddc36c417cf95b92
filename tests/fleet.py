"""A small fleet in a folder, driven through the command line as a user would."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import yaml

from tests import zygote
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[1]
CATALOG = {
    "version": 1,
    "name": "test",
    "components": [
        {"id": "rules", "name": "Rules", "kind": "pattern", "version_scheme": "integer"},
        {"id": "engine", "name": "Engine", "kind": "engine", "version_scheme": "dotted"},
    ],
}


ONE_WAVE = {"rollout": {"waves": [{"share": "100%"}]}}
"""A policy that keeps nothing back."""
NO_SOAK = {"waves": [{"count": 3, "max_failed": 0}, {"share": "10%"}, {"share": "100%"}]}
"""The waves of a fleet whose test says nothing about them: one apply takes them all."""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Fleet:
    """A folder with a spec, a catalog, a source folder and clients that are folders."""

    before: Sequence[str] = ()
    """What stands before the command: a program that runs it."""

    def __init__(self, folder: Path, clients: int = 3, **spec: object) -> None:
        self.folder = folder
        (folder / "catalog.yaml").write_text(yaml.safe_dump(CATALOG))
        (folder / "upstream").mkdir(exist_ok=True)
        self.spec: dict[str, Any] = {
            "version": 1,
            "catalogs": ["catalog.yaml"],
            "server": {"store": "store", "state": "sqlite:///state.db"},
            "sources": [{"name": "drop", "type": "directory", "path": "upstream", "settle": "0s"}],
            "groups": {
                "all": {
                    "transport": {"type": "local"},
                    "install_root": "clients",
                    "clients": [{"name": f"c{n}", "install_root": f"clients/c{n}"} for n in range(1, clients + 1)],
                }
            },
            **spec,
        }
        self.write()

    def write(self, **changes: object) -> None:
        """Write the spec, with some keys changed; a rollout that isn't given soaks nowhere."""
        self.spec.update(changes)
        policy = {"rollout": NO_SOAK, **self.spec.get("auto_update", {})}
        (self.folder / "updoser.yaml").write_text(yaml.safe_dump({**self.spec, "auto_update": policy}, sort_keys=False))

    def release(self, component: str, version: str, **files: bytes) -> None:
        """Put a release into the source; file names are the keys, with `_` for a dot."""
        folder = self.folder / "upstream" / component / version
        folder.mkdir(parents=True)
        for name, content in files.items():
            (folder / name.replace("_", ".")).write_bytes(content)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start a command."""
        return self.start_telling(subprocess.PIPE, *arguments, **environment)

    def start_telling(self, into: IO[str] | int, /, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start a command whose messages go into a file, as of one that runs for long."""
        return subprocess.Popen(
            [*self.before, sys.executable, "-m", "reconciler", *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=into,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> Done:
        """Run a command to its end."""
        if self.before or not zygote.fits(environment):
            process = self.start(*arguments, **environment)
            out, err = process.communicate(timeout=PATIENCE)
            code = process.returncode
        else:
            code, out, err = zygote.run(arguments, self.folder, {**os.environ, **environment}, timeout=PATIENCE)
        assert "Traceback" not in err, err
        return Done(code, out, err)

    def apply(self, *arguments: str) -> Done:
        """Apply without asking."""
        return self.run("apply", "--auto-approve", *arguments)

    def sql(self, statement: str) -> None:
        """Change the state behind updoser's back."""
        with closing(sqlite3.connect(self.folder / "state.db")) as connection, connection:
            connection.execute(statement)

    def root(self, client: str) -> Path:
        """Give the folder of a client."""
        return self.folder / "clients" / client

    def current(self, client: str, component: str) -> dict[str, bytes]:
        """Give the files in force on a client."""
        folder = self.root(client) / component / "current"
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())} if folder.exists() else {}

    def listing(self) -> dict[str, tuple[float, int]]:
        """Give everything on all clients with its times: equal before and after means that nothing was touched."""
        paths = (self.folder / "clients").rglob("*")
        return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_ino) for path in paths}
