"""A client in a folder, driven by the real script on real shells."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest

from reconciler.client.requests import deploy_request
from reconciler.client.session import ShellSession, client_script
from reconciler.model.deploy import DeployRequest, InstallTarget, Layout, Patched, PatchHop, Step
from reconciler.plugins.transport.local import LocalPipe
from tests.draw import spread
from tests.fakes import CODECS, make_release
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from reconciler.model.client import Installed, Profile
    from reconciler.model.deploy import InstallMethod, Outcome
    from reconciler.model.release import Release

SHELLS = ["dash", "bash", pytest.param("busybox sh", marks=pytest.mark.needs("busybox"))]
MORE_SHELLS = [*SHELLS, pytest.param("mksh", marks=pytest.mark.needs("mksh"))]
"""With one that has no `printf` of its own, and so can't write manifests of more than 128 KiB."""


class Machine:
    """A client in a folder, and releases to bring to it."""

    def __init__(self, folder: Path, shell: str = "dash") -> None:
        self.root = folder / "root"
        self.folder = folder
        self.shell = shell
        self.session = ShellSession(LocalPipe(), shell=shell)
        self.content: dict[str, bytes] = {}

    def release(self, component: str, version: str, files: Mapping[str, bytes]) -> Release:
        for data in files.values():
            self.content[hashlib.sha256(data).hexdigest()] = data
        return make_release(component, version, files)

    def hop(self, codec: str, old: bytes, new: bytes, patch: bytes | None = None) -> PatchHop:
        """Make a patch; another one can stand in for it."""
        if patch is None:
            patch = CODECS[codec].make(old, new, level=9)
        digest = hashlib.sha256(patch).hexdigest()
        self.content[digest] = patch
        return PatchHop(codec, len(patch), digest, len(new))

    @contextmanager
    def open(self, sha256: str) -> Iterator[BinaryIO]:
        yield io.BytesIO(self.content[sha256])

    def request(self, *steps: Step, lineage: str = "lineage", epoch: int = 1, keep: int = 2) -> DeployRequest:
        return DeployRequest(lineage=lineage, epoch=epoch, install_root=str(self.root), keep=keep, steps=steps)

    def deploy(self, *steps: Step, **more: Any) -> tuple[Outcome, ...]:
        return self.session.deploy(self.request(*steps, **more), self.open).outcomes

    def facts(self, **more: Any) -> Profile:
        return self.session.facts(str(self.root), **more).profile

    def install(
        self, component: str, version: str, files: Mapping[str, bytes], layout: Layout | None = None
    ) -> Release:
        """Bring a release to the client from whatever it has."""
        have = self.facts().by_component.get(component)
        release = self.release(component, version, files)
        (outcome,) = self.deploy(step(have, release, layout))
        assert outcome.status == "changed", outcome
        return release

    def current(self, component: str) -> dict[str, bytes]:
        folder = self.root / component / "current"
        return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}

    def listing(self) -> dict[str, tuple[int, ...]]:
        """Give everything below the root, and all that would show that something touched it."""
        found: dict[str, tuple[int, ...]] = {}
        for path in [self.root, *self.root.rglob("*")]:
            info = path.lstat()
            found[str(path)] = (info.st_ino, info.st_mode, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
        return found

    def leftovers(self) -> list[str]:
        """Give what should not be in .updoser between two runs."""
        return sorted(
            p.name
            for p in (self.root / ".updoser").iterdir()
            if p.name not in {"controller", "manifests", "script", "look"}
        )


def kill_at_any_moment(killed: Callable[[int, str], bool], count: Path, few: int, ways: Sequence[str] = ("",)) -> int:
    """Kill runs at calls of their tools, `few` in each way, evenly spread over all calls that a whole run makes.

    `killed(at, way)` has a run killed at that call, which the file `count` counts down to, and says whether it was.
    """
    never = 10_000
    assert not killed(never, ways[0])
    calls = never - int(count.read_text())
    kills = [killed(at, way) for at, way in spread(product(range(1, calls + 1), ways), few * len(ways))]
    assert sum(kills) > len(kills) / 2, "not each call counts: some are made at once, and a pipe may be read in parts"
    return calls


def slow_clock(machine: Machine, monkeypatch: pytest.MonkeyPatch, begun: Path, begins: int = 0) -> None:
    """Have nobody on the machine sleep before a file is there: what is to be late has begun by then.

    Who sleeps `begins` seconds has begun.
    """
    tools = machine.folder / "clock"
    tools.mkdir()
    (tools / "sleep").write_text(
        f'#!/bin/sh\n[ "$1" != {begins} ] || : >{begun}\n'
        f'until test -e {begun}; do /bin/sleep 0.02; done\nexec /bin/sleep "$@"\n'
    )
    (tools / "sleep").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")


def rot(root: Path, component: str, version: str, name: str) -> None:
    """Change the bytes of a file as a dying disk does: nothing that its folder tells of it changes."""
    path = root / component / version / name
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    manifest = root / ".updoser/manifests" / f"{component}@{version}"
    short = f"{component}/{version}/{name}"
    look = ["stat", "-c", "%f %u %g %i %s %y|%z|%n", "--", short]
    zone = {**os.environ, "TZ": "UTC0", "LC_ALL": "C"}
    stamp = subprocess.run(look, cwd=root, env=zone, check=True, capture_output=True, text=True).stdout.strip()
    lines = manifest.read_text().splitlines()
    told = [f"{' '.join(line.split(' ')[:3])} {stamp}" if line.endswith(f"|{short}") else line for line in lines]
    manifest.write_text("\n".join([*told, ""]))


def step(
    before: Release | Installed | None, after: Release, layout: Layout | None = None, kept: Iterable[str] = ()
) -> Step:
    return Step(
        component=after.component,
        from_version=before.version if before else "",
        from_digest=before.digest if before else "",
        to_version=after.version,
        to_digest=after.digest,
        files=after.files,
        kept={name: name for name in kept},
        layout=layout or Layout(),
    )


def patched(before: Release | Installed, after: Release, name: str, base: str, *hops: PatchHop, **more: Any) -> Step:
    """Give the step that makes one file by patches."""
    return replace(step(before, after, **more), patched={name: Patched(base, hops)})


def into(folder: Path | str, method: InstallMethod = "rename", files: str = "*", **more: Any) -> InstallTarget:
    return InstallTarget(files, str(folder), method, **more)


def raw(machine: Machine, data: bytes) -> subprocess.CompletedProcess[bytes]:
    """Run the script on some bytes of a request."""
    command = machine.shell.split()
    return subprocess.run(
        [*command, "-c", client_script().decode()], input=data, capture_output=True, timeout=PATIENCE, check=False
    )


def request_bytes(machine: Machine, *steps: Step) -> bytes:
    return b"".join(deploy_request(machine.request(*steps), machine.open))
