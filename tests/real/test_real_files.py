"""Files that really evolve, one release after the other, over SSH: an executable, and a large JSON as a pattern."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.draw import MORE
from tests.fleet import Fleet

if TYPE_CHECKING:
    from tests.sshd import SshFleet

pytestmark = [pytest.mark.needs("npm", "sshd", "ssh-keygen", "zstd", "bspatch"), pytest.mark.explore]

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "real"
ENGINE = "@esbuild/linux-x64"
PATTERN = "@mdn/browser-compat-data"
ENGINES = [*(f"0.27.{n}" for n in range(2, 8)), *(f"0.28.{n}" for n in range(3))][: 9 if MORE else 2]
PATTERNS = [*(f"8.0.{n}" for n in range(5, 15)), *(f"8.1.{n}" for n in range(8))][: 18 if MORE else 2]
VENDORS = {"engine": (ENGINE, ENGINES, "bin/esbuild"), "pattern": (PATTERN, PATTERNS, "data.json")}
CLIENTS = 3 if MORE else 2
MERGED = "pattern", 11
"""The release, by its component and number, that the vendor offers as an incremental too: in an exploration."""


def fetch(package: str, versions: list[str], member: str) -> dict[str, Path]:
    """Give one file of each version of a package, by version; what was fetched before isn't fetched again."""
    folder = CACHE / package.replace("/", "-")
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for version in versions:
        path = folder / version
        if not path.exists():
            command = ["npm", "pack", "--json", "--pack-destination", str(folder), f"{package}@{version}"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            if done.returncode:
                reason = f"{package} {version} can't be had from the registry"
                if os.environ.get("CI") == "true":
                    pytest.fail(f"{reason}: {done.stderr[-500:]}", pytrace=False)
                pytest.skip(reason)
            archive = folder / json.loads(done.stdout)[0]["filename"].replace("@", "").replace("/", "-")
            with tarfile.open(archive) as tar:
                stream = tar.extractfile(f"package/{member}")
                assert stream
                part = path.with_suffix(".part")
                part.write_bytes(stream.read())
                part.replace(path)
            archive.unlink()
        found[version] = path
    return found


@pytest.mark.parametrize("component", VENDORS)
def test_real_releases_arrive_byte_by_byte_by_incrementals(ssh_fleet: SshFleet, tmp_path: Path, component: str) -> None:
    due = fetch(*VENDORS[component])
    versions = list(due)
    fleet = Fleet(tmp_path)
    addresses = ssh_fleet.addresses[-CLIENTS:]
    roots = {address: f"{ssh_fleet.install_root(address)}-real-{component}" for address in addresses}
    fleet.spec["defaults"] = {"install_root": "/nonexistent"}
    fleet.spec["groups"] = {
        "all": {
            "transport": ssh_fleet.transport(),
            "clients": [{**ssh_fleet.client(address), "install_root": roots[address]} for address in addresses],
        }
    }
    (fleet.folder / "catalog.yaml").write_text(
        "version: 1\nname: real\ncomponents:\n"
        "  - {id: engine, name: Engine, kind: engine, version_scheme: dotted, duplicate: true}\n"
        "  - {id: pattern, name: Pattern, kind: pattern, version_scheme: dotted, duplicate: true}\n"
    )
    fleet.write()
    for at, (version, path) in enumerate(due.items()):
        merged = (component, at) == MERGED
        for offer in ((), ("--incremental-from", versions[at - 1])) if merged else ((),):
            added = fleet.run("release", "add", component, version, str(path), "--to", "upstream", *offer)
            assert added.code == 0, added.err
        done = fleet.apply("--format", "json")
        assert done.code == 0, done.err
        assert done.json["recap"]["all"]["changed"] == CLIENTS
        assert done.json["fallbacks"] == 0
        assert done.json["merged"] == merged
        assert done.json["bytes_sent"] < CLIENTS * path.stat().st_size * (0.5 if at == 0 else 0.15)
        for root in roots.values():
            assert (Path(root) / component / "current").readlink() == Path(version)
            assert (Path(root) / component / "current" / path.name).read_bytes() == path.read_bytes()
    again = fleet.apply("--verify")
    assert again.code == 0
    assert f"0 changes on 0 of {CLIENTS} clients" in again.out
    left = sorted(path.name for path in (Path(roots[addresses[0]]) / component).iterdir())
    assert left == [*versions[-2:], "current"]
