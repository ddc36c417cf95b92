"""Files that really evolve, one release after the other, over SSH: an executable, and a large JSON as a pattern."""

import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.draw import MORE
from tests.fleet import Fleet

pytestmark = [pytest.mark.needs("npm", "sshd", "ssh-keygen", "zstd", "bspatch"), pytest.mark.explore]

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "real"
ENGINE = "@esbuild/linux-x64"
PATTERN = "@mdn/browser-compat-data"
ENGINES = [*(f"0.27.{n}" for n in range(2, 8)), *(f"0.28.{n}" for n in range(3))][: 9 if MORE else 2]
PATTERNS = [*(f"8.0.{n}" for n in range(5, 15)), *(f"8.1.{n}" for n in range(8))][: 18 if MORE else 3]
CLIENTS = 3 if MORE else 2
MERGED = len(PATTERNS) - 1
"""The release, by its number, that the vendor offers as an incremental too."""


def fetch(package, versions, member):
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
            with tarfile.open(archive) as tar, tar.extractfile(f"package/{member}") as stream:
                part = path.with_suffix(".part")
                part.write_bytes(stream.read())
                part.replace(path)
            archive.unlink()
        found[version] = path
    return found


def offer_incremental(fleet, version, before):
    """Have the vendor offer an incremental of the pattern."""
    files = [str(CACHE / PATTERN.replace("/", "-") / version), "--to", "upstream", "--incremental-from", before]
    added = fleet.run("release", "add", "pattern", version, *files)
    assert added.code == 0, added.err


def test_real_releases_arrive_byte_by_byte_by_incrementals(ssh_fleet, tmp_path):
    engines = fetch(ENGINE, ENGINES, "bin/esbuild")
    patterns = fetch(PATTERN, PATTERNS, "data.json")
    fleet = Fleet(tmp_path)
    addresses = ssh_fleet.addresses[-CLIENTS:]
    roots = {address: f"{ssh_fleet.install_root(address)}-real" for address in addresses}
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
    for at in range(max(len(ENGINES), len(PATTERNS))):
        due = {"engine": engines, "pattern": patterns}
        now = {component: list(paths.items())[min(at, len(paths) - 1)] for component, paths in due.items()}
        for component, (version, path) in now.items():
            added = fleet.run("release", "add", component, version, str(path), "--to", "upstream")
            assert added.code == 0, added.err
        if at == MERGED:
            offer_incremental(fleet, now["pattern"][0], PATTERNS[at - 1])
        done = fleet.apply("--format", "json")
        assert done.code == 0, done.err
        assert done.json["recap"]["all"]["changed"] == CLIENTS
        assert done.json["fallbacks"] == 0
        assert done.json["merged"] == (at == MERGED)
        fulls = CLIENTS * sum(path.stat().st_size for component, (_, path) in now.items() if at < len(due[component]))
        assert done.json["bytes_sent"] < fulls * (0.5 if at == 0 else 0.15)
        for root in roots.values():
            for component, (version, path) in now.items():
                assert (Path(root) / component / "current").readlink() == Path(version)
                assert (Path(root) / component / "current" / path.name).read_bytes() == path.read_bytes()
    again = fleet.apply("--verify")
    assert again.code == 0
    assert f"0 changes on 0 of {CLIENTS} clients" in again.out
    left = sorted(path.name for path in (Path(roots[addresses[0]]) / "pattern").iterdir())
    assert left == [PATTERNS[-2], PATTERNS[-1], "current"]
