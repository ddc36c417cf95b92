"""A client in a folder, driven by the real script on real shells."""

import hashlib
import io
import os
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from itertools import product

import pytest

from reconciler.client.requests import deploy_request
from reconciler.client.session import ShellSession, client_script
from reconciler.model.deploy import DeployRequest, InstallTarget, Layout, Patched, PatchHop, Step
from reconciler.plugins.transport.local import LocalPipe
from tests.draw import spread
from tests.fakes import CODECS, make_release
from tests.waiting import PATIENCE

SHELLS = ["dash", "bash", pytest.param("busybox sh", marks=pytest.mark.needs("busybox"))]
MORE_SHELLS = [*SHELLS, pytest.param("mksh", marks=pytest.mark.needs("mksh"))]
"""With one that has no `printf` of its own, and so can't write manifests of more than 128 KiB."""


class Machine:
    """A client in a folder, and releases to bring to it."""

    def __init__(self, folder, shell="dash"):
        self.root = folder / "root"
        self.folder = folder
        self.shell = shell
        self.session = ShellSession(LocalPipe(), shell=shell)
        self.content = {}

    def release(self, component, version, files):
        for data in files.values():
            self.content[hashlib.sha256(data).hexdigest()] = data
        return make_release(component, version, files)

    def hop(self, codec, old, new, patch=None):
        """Make a patch; another one can stand in for it."""
        if patch is None:
            patch = CODECS[codec].make(old, new, level=9)
        digest = hashlib.sha256(patch).hexdigest()
        self.content[digest] = patch
        return PatchHop(codec, len(patch), digest, len(new))

    @contextmanager
    def open(self, sha256):
        yield io.BytesIO(self.content[sha256])

    def request(self, *steps, lineage="lineage", epoch=1, keep=2):
        return DeployRequest(lineage=lineage, epoch=epoch, install_root=str(self.root), keep=keep, steps=steps)

    def deploy(self, *steps, **more):
        return self.session.deploy(self.request(*steps, **more), self.open).outcomes

    def facts(self, **more):
        return self.session.facts(str(self.root), **more).profile

    def install(self, component, version, files, layout=None):
        """Bring a release to the client from whatever it has."""
        have = self.facts().by_component.get(component)
        release = self.release(component, version, files)
        (outcome,) = self.deploy(step(have, release, layout))
        assert outcome.status == "changed", outcome
        return release

    def current(self, component):
        folder = self.root / component / "current"
        return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}

    def listing(self):
        """Give everything below the root, and all that would show that something touched it."""
        found = {}
        for path in [self.root, *self.root.rglob("*")]:
            info = path.lstat()
            found[str(path)] = (info.st_ino, info.st_mode, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
        return found

    def leftovers(self):
        """Give what should not be in .updoser between two runs."""
        return sorted(
            p.name for p in (self.root / ".updoser").iterdir() if p.name not in {"controller", "manifests", "script"}
        )


def kill_at_any_moment(killed, count, few, ways=("",)):
    """Kill runs at calls of their tools, `few` in each way, evenly spread over all calls that a whole run makes.

    `killed(at, way)` has a run killed at that call, which the file `count` counts down to, and says whether it was.
    """
    never = 10_000
    assert not killed(never, ways[0])
    calls = never - int(count.read_text())
    kills = [killed(at, way) for at, way in spread(product(range(1, calls + 1), ways), few * len(ways))]
    assert sum(kills) > len(kills) / 2, "not each call counts: some are made at once, and a pipe may be read in parts"
    return calls


def rot(root, component, version, name):
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


def step(before, after, layout=None, kept=()):
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


def patched(before, after, name, base, *hops, **more):
    """Give the step that makes one file by patches."""
    return replace(step(before, after, **more), patched={name: Patched(base, hops)})


def into(folder, method="rename", files="*", **more):
    return InstallTarget(files, str(folder), method, **more)


def raw(machine, data):
    """Run the script on some bytes of a request."""
    command = machine.shell.split()
    return subprocess.run(
        [*command, "-c", client_script().decode()], input=data, capture_output=True, timeout=PATIENCE, check=False
    )


def request_bytes(machine, *steps):
    return b"".join(deploy_request(machine.request(*steps), machine.open))
