"""Downloads from nginx on loopback, beside curl and wget; and reading a large signed repository.

* 1 GiB: `updoser apply` of a store without clients, beside `curl | tee FILE | sha256sum`. Both ends on the same cores
  and disk; both bring what they wrote to the disk before they end (curl's side by `sync FILE`).
* 2,000 files of 10 KB, beside `wget --input-file` and one `curl` for all of them, on one connection and on eight.
  These verify nothing and bring nothing to the disk.
* Metadata of 20 components x 40 releases x 15 incrementals: all of it new, and nothing new.

Each is run RUNS times, after one run that isn't counted; medians are printed. What updoser needs to start and to open
its store is in its time.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from measure import ROOT, Cost, median, run, table

sys.path.insert(0, str(ROOT))

import yaml

from reconciler.formats.index import content_path
from reconciler.model.delta import Incremental, Patch
from reconciler.model.release import Release, ReleaseFile
from reconciler.plugins.source import tuf
from tests.fakes import fake_context, make_component, make_plugin
from tests.servers import nginx
from tests.tufrepo import Vendor

if TYPE_CHECKING:
    from collections.abc import Sequence

RUNS = 3
UPDOSER = [sys.executable, "-m", "reconciler"]
COMPONENTS, RELEASES, INCREMENTALS = 20, 40, 15


def spec(folder: Path, url: str) -> None:
    """Write a spec that only downloads."""
    made = {
        "version": 1,
        "catalogs": ["catalog.yaml"],
        "server": {"store": "store", "state": "sqlite:///state.db"},
        "sources": [{"name": "vendor", "type": "tuf", "url": url, "trusted_root": "root.json"}],
    }
    catalog = {
        "version": 1,
        "name": "bench",
        "components": [{"id": "data", "name": "Data", "kind": "pattern", "version_scheme": "integer"}],
    }
    (folder / "catalog.yaml").write_text(yaml.safe_dump(catalog))
    (folder / "updoser.yaml").write_text(yaml.safe_dump(made))


def measured(folder: Path, command: list[str], *, fresh: Sequence[str]) -> Cost:
    """Run a command some times, each time with a clean slate; give the medians."""
    costs = []
    for _ in range(RUNS + 1):
        for name in fresh:
            path = folder / name
            shutil.rmtree(path, ignore_errors=True)
            path.unlink(missing_ok=True)
        costs.append(run(command, cwd=folder, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "LC_ALL": "C"}))
    return median(costs[1:])


FRESH = ("store", "state.db", "state.db-wal", "state.db-shm")


def one_file(folder: Path, size: int) -> None:
    """Download one file of `size` bytes."""
    web = folder / "web"
    vendor = Vendor(web, datetime.now(UTC))
    digest = hashlib.sha256()
    piece = hashlib.shake_128(b"bench").digest(2**20)
    place = web / "file"
    with place.open("wb") as file:
        for at in range(size // 2**20):
            block = at.to_bytes(8) + piece[8:]
            digest.update(block)
            file.write(block)
    name = digest.hexdigest()
    (web / content_path(name)).parent.mkdir(parents=True)
    place.rename(web / content_path(name))
    offer(vendor, [ReleaseFile("data.bin", size, name)])
    shutil.copy(vendor.metadata / "1.root.json", folder / "root.json")
    with nginx(folder / "nginx", web) as url:
        spec(folder, url)
        shell = f"curl -sS --fail {url}/{content_path(name)} | tee out | sha256sum && sync out"
        peer = measured(folder, ["sh", "-c", shell], fresh=("out",))
        ours = measured(folder, [*UPDOSER, "apply", "--auto-approve"], fresh=FRESH)
        start = measured(folder, [*UPDOSER, "plan", "--no-refresh"], fresh=())
    rows = [
        ("curl \\| tee \\| sha256sum", *row(peer, size, peer)),
        ("updoser apply", *row(ours, size, peer)),
    ]
    print(f"\n{size / 2**30:g} GiB from nginx on loopback (starting and a plan alone: {start.wall:.2f} s)\n")
    table(("tool", "time", "MiB/s", "of curl's rate", "CPU", "memory"), rows)


def row(cost: Cost, size: int, peer: Cost) -> tuple[str, str, str, str, str]:
    """Give the figures of a download."""
    rate = size / 2**20 / cost.wall
    return (
        f"{cost.wall:.2f} s",
        f"{rate:.0f}",
        f"{peer.wall / cost.wall:.2f}",
        f"{cost.cpu:.1f} s",
        f"{cost.memory:.0f} MiB",
    )


def offer(vendor: Vendor, files: list[ReleaseFile]) -> None:
    """Sign a release of files whose content lies there already."""
    release = Release("data", "1", "any", tuple(sorted(files)))
    vendor.releases["data"] = [release]
    vendor.set_index("data", vendor.document("data"))
    vendor.sign()


def small_files(folder: Path, count: int, size: int = 10_000) -> None:
    """Download many small files."""
    web = folder / "web"
    vendor = Vendor(web, datetime.now(UTC))
    files = []
    for at in range(count):
        content = hashlib.shake_128(at.to_bytes(8)).digest(size)
        files.append(ReleaseFile(f"file-{at:05}", size, vendor.put(content)))
    offer(vendor, files)
    shutil.copy(vendor.metadata / "1.root.json", folder / "root.json")
    with nginx(folder / "nginx", web) as url:
        spec(folder, url)
        urls = [f"{url}/{content_path(file.sha256)}" for file in files]
        (folder / "urls").write_text("\n".join(urls))
        lines = [f'url = "{link}"\noutput = "out/{at}"' for at, link in enumerate(urls)]
        (folder / "curl").write_text("\n".join(lines))
        wget = ["wget", "-q", "--input-file", "urls", "--directory-prefix", "out"]
        curl = "mkdir out && curl -sS {} --config curl"
        one, eight = (["sh", "-c", curl.format(how)] for how in ("", "--parallel --parallel-max 8"))
        apply = [*UPDOSER, "apply", "--auto-approve"]
        costs = {
            "wget --input-file": measured(folder, wget, fresh=("out",)),
            "curl": measured(folder, one, fresh=("out",)),
            "curl --parallel --parallel-max 8": measured(folder, eight, fresh=("out",)),
            "updoser apply, each file hashed and synced": measured(folder, apply, fresh=FRESH),
            "updoser apply, nothing to fetch": measured(folder, apply, fresh=()),
        }
    peer = costs["curl --parallel --parallel-max 8"]
    print(f"\n{count} files of {size} bytes\n")
    table(
        ("tool", "time", "of curl's", "files/s", "CPU", "memory"),
        [
            (
                name,
                f"{cost.wall:.2f} s",
                f"{cost.wall / peer.wall:.1f}",
                f"{count / cost.wall:.0f}",
                f"{cost.cpu:.1f} s",
                f"{cost.memory:.0f} MiB",
            )
            for name, cost in costs.items()
        ],
    )


def metadata(folder: Path) -> None:
    """Read a large repository: all of it new, and nothing new."""
    vendor = Vendor(folder / "web", datetime.now(UTC))
    components = {}
    for number in range(COMPONENTS):
        name = f"component-{number:02}"
        components[name] = make_component(name, scheme="integer")
        releases = [_release(name, version) for version in range(1, RELEASES + 1)]
        incrementals = [
            _incremental(releases[at - back], releases[at])
            for at in range(RELEASES)
            for back in range(1, INCREMENTALS + 1)
            if at >= back
        ]
        vendor.releases[name] = releases
        vendor.set_index(name, vendor.document(name, incrementals=incrementals))
    vendor.sign()
    shutil.copy(vendor.metadata / "1.root.json", folder / "root.json")
    size = sum(len(content) for content in vendor.indexes.values())
    times: dict[str, list[float]] = {"all of it is new": [], "nothing is new": []}
    with nginx(folder / "nginx", folder / "web") as url:
        for _ in range(RUNS + 1):
            shutil.rmtree(folder / "work", ignore_errors=True)
            for found in times.values():
                begun = time.perf_counter()
                source = make_plugin(
                    tuf, {"url": url, "trusted_root": "root.json"}, fake_context(folder, now=datetime.now(UTC))
                )
                report = source.releases(components)
                found.append(time.perf_counter() - begun)
    counted = (
        f"{len(report.releases)} releases, {len(report.incrementals)} incrementals, {size / 2**20:.1f} MiB of indexes"
    )
    print(f"\nReading the metadata of {COMPONENTS} components: {counted}\n")
    table(("what changed", "time"), [(what, f"{sorted(found[1:])[RUNS // 2]:.2f} s") for what, found in times.items()])


def _release(name: str, version: int) -> Release:
    digest = hashlib.sha256(f"{name} {version}".encode()).hexdigest()
    return Release(name, str(version), "any", (ReleaseFile(f"{name}.dat", 20_000_000, digest),))


def _incremental(before: Release, after: Release) -> Incremental:
    digest = hashlib.sha256(f"{before.version}..{after.version}".encode()).hexdigest()
    (file,) = after.files
    patch = Patch(file.name, 20_000, digest, "zstd", file.name, file.size)
    return Incremental(
        component=after.component,
        platform="any",
        from_version=before.version,
        from_digest=before.digest,
        to_version=after.version,
        to_digest=after.digest,
        codec="zstd",
        patches=(patch,),
    )


def main() -> None:
    """Run all three."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="MiB of the large file")
    parser.add_argument("--files", type=int, default=2000, help="number of small files")
    options = parser.parse_args()
    with ExitStack() as stack:
        for work, *arguments in ((one_file, options.size * 2**20), (small_files, options.files), (metadata,)):
            work(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="updoser-bench-"))), *arguments)


if __name__ == "__main__":
    main()
