"""What goes over the thin line to a site whose clients fetch from a relay, against what would go without one.

The clients are addresses of one sshd on this machine, and so is the relay; bytes to all of them are counted in front of
sshd, both ways: connecting, keys, logging in, looking, filling, sending, answering. What clients fetch goes past that.

    new       clients that never had anything: the script goes to each of them, too
    update    the same clients, to the next release, by an incremental that the store makes
    full      and to one that is sent whole
    again     with nothing to do

The target is 1.05 times the payload, and 20 KB a client. With `--worker` the relay is an executor in place of that: a
worker there reaches the clients, and what is counted is the line to it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from bench_bytes import Relay as Counter
from bench_bytes import behind, release
from measure import ROOT, run, table

sys.path.insert(0, str(ROOT))

from reconciler.worker.setup import SPEAK
from tests.ports import free_port
from tests.sshd import sshd_fleet, sudo_user

if TYPE_CHECKING:
    from tests.sshd import SshFleet

CHANGED = 250_000
FACTOR, EACH = 1.05, 20_000


def write_spec(folder: Path, fleet: SshFleet, way: str, direct: SshFleet) -> Path:
    """Write the spec of a site with one pattern: `way` is empty, `relay`, or `worker`."""
    component = {"id": "pattern", "name": "Pattern", "kind": "pattern", "version_scheme": "dotted", "duplicate": True}
    (folder / "catalog.yaml").write_text(yaml.safe_dump({"version": 1, "name": "bench", "components": [component]}))
    *clients, relay = fleet.addresses
    server: dict[str, object] = {"store": "store", "state": "sqlite:///state.db"}
    if way == "worker":
        server["executor"] = worker(folder, relay, fleet, direct)
    spec = {
        "version": 1,
        "catalogs": ["catalog.yaml"],
        "server": server,
        "sources": [{"name": "drop", "type": "directory", "path": "upstream", "settle": "0s"}],
        "defaults": {"transport": fleet.transport(), "install_root": "/nonexistent"},
        "groups": {"lyon": {"clients": [fleet.client(address) for address in clients]}},
        "auto_update": {"rollout": {"waves": [{"share": "100%"}]}},
        "client_keep": 1,
    }
    if way == "relay":
        store = str(fleet.install_root(relay))
        spec["relays"] = {"lyon": {"host": relay, "serves": "lyon", "store": store, "serve": {"http": free_port()}}}
    file = folder / "updoser.yaml"
    file.write_text(yaml.safe_dump(spec))
    return file


def worker(folder: Path, host: str, fleet: SshFleet, direct: SshFleet) -> dict[str, object]:
    """Give the executor of a worker that reaches clients directly, and is reached over the line."""
    file = folder / "worker.yaml"
    cache = {"folder": str(folder / "cache"), "limit": "1GiB"}
    file.write_text(json.dumps({"version": 1, "transport": direct.transport(), "cache": cache, "forks": 16}))
    command = shlex.join([*SPEAK, "--config", str(file)])
    options = {key: value for key, value in fleet.transport().items() if key != "type"}
    return {"type": "relay", "host": host, "command": command, **options}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--without", action="store_true", help="without a relay, to compare")
    parser.add_argument("--worker", action="store_true", help="with a worker on the relay, which reaches the clients")
    parser.add_argument("--size", type=int, default=4_000_000, help="bytes of a release")
    parser.add_argument("--forks", type=int, default=32)
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        user = stack.enter_context(sudo_user()) if os.getuid() == 0 and not options.worker else ""
        direct = stack.enter_context(sshd_fleet(folder, options.clients + 1, user=user))
        line = Counter(direct.port)
        fleet = behind(direct, line)
        way = "worker" if options.worker else "" if options.without else "relay"
        file = write_spec(folder, fleet, way, direct)
        apply = [sys.executable, "-m", "reconciler", "apply", "--auto-approve", "--forks", str(options.forks)]
        apply += ["-f", str(file)]
        first, final = os.urandom(options.size), os.urandom(options.size)
        second = first[:CHANGED] + os.urandom(CHANGED) + first[2 * CHANGED :]
        rows = []
        for version, name, content in (("1.0", "new", first), ("1.1", "update", second), ("1.2", "full", final)):
            place = folder / version
            place.write_bytes(content)
            release(folder, place)
            sent, seconds = line.taken(lambda: run(apply, cwd=ROOT))
            payload = options.size if name != "update" else patch_size(folder)
            rows.append((name, payload, sent, seconds))
            whole = sum(current(fleet, address) == content for address in fleet.addresses[:-1])
            assert whole == options.clients, f"{whole} clients are whole and current"
        sent, seconds = line.taken(lambda: run(apply, cwd=ROOT))
        rows.append(("again", 0, sent, seconds))
        table(
            ("run", "payload", "over the line", "a client beside 1.05 x payload", "without a relay", "time"),
            [
                (
                    name,
                    f"{payload:,}",
                    f"{sent:,}",
                    f"{(sent - FACTOR * payload) / options.clients:,.0f} ({EACH:,} at most)",
                    f"{payload * options.clients:,}",
                    f"{seconds:.0f} s",
                )
                for name, payload, sent, seconds in rows
            ],
        )


def current(fleet: SshFleet, address: str) -> bytes:
    return (fleet.install_root(address) / "pattern" / "current" / "data.json").read_bytes()


def patch_size(folder: Path) -> int:
    """Give the size of the incremental that the store made."""
    sizes = [path.stat().st_size for path in (folder / "store").rglob("*") if path.is_file()]
    return next(size for size in sizes if CHANGED <= size < CHANGED * 1.1)


if __name__ == "__main__":
    main()
