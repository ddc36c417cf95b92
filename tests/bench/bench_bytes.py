"""What goes over SSH for the update of a pattern, both ways and with all that SSH adds, beside other tools.

100 clients run @mdn/browser-compat-data 8.1.6 (20.5 MB) and are to run 8.1.7. Bytes are counted by a relay in front of
sshd: connecting, keys, logging in, looking, sending and answering. The floor is the incremental itself.

    updoser    `updoser apply`, by the incremental that the store makes
    rsync      `rsync -z` of the file over SSH, onto the old one, on some of the clients
    ansible    `copy` of the file, on some of the clients
    pyinfra    `files.put` of the file, on some of the clients
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import selectors
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import yaml
from measure import ROOT, run, table

sys.path.insert(0, str(ROOT))

from tests.real.test_real_files import PATTERN, PATTERNS, fetch
from tests.sshd import sshd_fleet, sudo_user

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sshd import SshFleet

FORKS = 16
OTHERS = 5
"""Clients of the tools that send the whole file."""
CLIENT_COST = 4096
"""Bytes a client that may come to the incremental, at the target of 1.1 times."""


class Relay:
    """Passes connections on to sshd at the address that was called, and counts bytes."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("0.0.0.0", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        self.bytes = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                near, _address = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(near,), daemon=True).start()

    def _pass_on(self, near: socket.socket) -> None:
        far = socket.create_connection((near.getsockname()[0], self._to))
        with near, far, selectors.DefaultSelector() as selector:
            selector.register(near, selectors.EVENT_READ, far)
            selector.register(far, selectors.EVENT_READ, near)
            while selector.get_map():
                for key, _events in selector.select():
                    data = b""
                    with contextlib.suppress(OSError):
                        data = cast("socket.socket", key.fileobj).recv(2**18)
                    with self._lock:
                        self.bytes += len(data)
                    try:
                        if data:
                            key.data.sendall(data)
                            continue
                        key.data.shutdown(socket.SHUT_WR)
                    except OSError:
                        pass
                    selector.unregister(key.fileobj)

    def taken(self, work: Callable[[], object]) -> tuple[int, float]:
        """Give the bytes that passed while some work was done, and its seconds."""
        before, begun = self.bytes, time.perf_counter()
        work()
        seconds = time.perf_counter() - begun
        time.sleep(0.5)  # what is still on its way belongs to it
        return self.bytes - before, seconds


def behind(fleet: SshFleet, relay: Relay) -> SshFleet:
    """Give the fleet as it is reached through the relay."""
    known = fleet.folder / "known_hosts_relay"
    known.write_text(re.sub(rf"\]:{fleet.port} ", f"]:{relay.port} ", fleet.known_hosts.read_text()))
    return replace(fleet, port=relay.port, known_hosts=known)


def spec(fleet: SshFleet, folder: Path) -> Path:
    """Write the spec of a fleet with one pattern."""
    component = {"id": "pattern", "name": "Pattern", "kind": "pattern", "version_scheme": "dotted", "duplicate": True}
    (folder / "catalog.yaml").write_text(yaml.safe_dump({"version": 1, "name": "bench", "components": [component]}))
    file = folder / "updoser.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "version": 1,
                "catalogs": ["catalog.yaml"],
                "server": {"store": "store", "state": "sqlite:///state.db"},
                "sources": [{"name": "drop", "type": "directory", "path": "upstream", "settle": "0s"}],
                "defaults": {"transport": fleet.transport(), "install_root": "/nonexistent"},
                "groups": {"all": {"clients": [fleet.client(address) for address in fleet.addresses]}},
                "client_keep": 1,
            }
        )
    )
    return file


def release(folder: Path, path: Path) -> None:
    """Put a release into the source folder; the file has the same name in all of them."""
    place = folder / "upstream" / "pattern" / path.name
    place.mkdir(parents=True)
    os.link(path, place / "data.json") if path.stat().st_dev == place.stat().st_dev else (
        place / "data.json"
    ).write_bytes(path.read_bytes())


def old_copies(fleet: SshFleet, path: Path, name: str) -> dict[str, Path]:
    """Put the old file on some clients, for a tool; give their addresses and files."""
    found = {}
    for address in fleet.addresses[:OTHERS]:
        folder = fleet.install_root(address).parent / f"{address}-{name}"
        folder.mkdir()
        (folder / "data.json").write_bytes(path.read_bytes())
        subprocess.run(["chown", "-R", fleet.user, folder], check=True)
        found[address] = folder / "data.json"
    return found


def rsync(fleet: SshFleet, old: Path, new: Path) -> Callable[[], object]:
    def work() -> None:
        for address, place in old_copies_.items():
            shell = f"ssh -p {fleet.port} -i {fleet.key} -o UserKnownHostsFile={fleet.known_hosts}"
            run(["rsync", "-zI", "-e", shell, str(new), f"{fleet.user}@{address}:{place}"])

    old_copies_ = old_copies(fleet, old, "rsync")
    return work


def ansible(fleet: SshFleet, folder: Path, old: Path, new: Path) -> Callable[[], object]:
    program = Path(sys.executable).parent / "ansible-playbook"
    places = old_copies(fleet, old, "ansible")
    (folder / "hosts.ini").write_text(
        "[all]\n" + "".join(f"{address} place={place}\n" for address, place in places.items())
    )
    task = {"ansible.builtin.copy": {"src": str(new), "dest": "{{ place }}"}}
    (folder / "play.yaml").write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": [task]}]))
    environment = {
        **os.environ,
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_REMOTE_USER": fleet.user,
        "ANSIBLE_REMOTE_PORT": str(fleet.port),
        "ANSIBLE_PRIVATE_KEY_FILE": str(fleet.key),
        "ANSIBLE_SSH_ARGS": f"-o UserKnownHostsFile={fleet.known_hosts} -o ControlMaster=auto -o ControlPersist=60s",
        "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable,
    }
    return lambda: run([program, "-i", "hosts.ini", "play.yaml"], cwd=folder, env=environment)


def pyinfra(fleet: SshFleet, folder: Path, old: Path, new: Path) -> Callable[[], object]:
    data = {
        "ssh_user": fleet.user,
        "ssh_port": fleet.port,
        "ssh_key": str(fleet.key),
        "ssh_known_hosts_file": str(fleet.known_hosts),
    }
    places = old_copies(fleet, old, "pyinfra")
    hosts = [(address, {**data, "place": str(place)}) for address, place in places.items()]
    (folder / "inventory.py").write_text(f"hosts = {hosts!r}\n")
    (folder / "deploy.py").write_text(
        "from pyinfra import host\nfrom pyinfra.operations import files\n"
        f"files.put(name='put', src={str(new)!r}, dest=host.data.place)\n"
    )
    program = ROOT / ".venv-bench" / "bin" / "pyinfra"
    return lambda: run([program, "-y", "inventory.py", "deploy.py"], cwd=folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="without the other tools")
    options = parser.parse_args()
    old, new = list(fetch(PATTERN, PATTERNS, "data.json").values())[-2:]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        user = stack.enter_context(sudo_user()) if os.getuid() == 0 else ""
        direct = stack.enter_context(sshd_fleet(folder, options.clients, user=user))
        relay = Relay(direct.port)
        fleet = behind(direct, relay)
        file = spec(fleet, folder)
        apply = [sys.executable, "-m", "reconciler", "apply", "--auto-approve", "--forks", str(FORKS), "-f", str(file)]
        release(folder, old)
        run(apply, cwd=ROOT)
        release(folder, new)
        sent, seconds = relay.taken(lambda: run(apply, cwd=ROOT))
        (patch,) = {
            path.stat().st_size
            for path in (folder / "store").rglob("*")
            if path.is_file() and 10_000 < path.stat().st_size < 100_000
        }
        for address in fleet.addresses:
            made = fleet.install_root(address) / "pattern" / "current" / "data.json"
            assert made.read_bytes() == new.read_bytes(), address
        floor = options.clients * (patch + CLIENT_COST)
        each = sent / options.clients
        rows = [
            ("floor: the incremental and 4 KiB a client", options.clients, patch + CLIENT_COST, 0.0),
            ("updoser", options.clients, each, seconds),
        ]
        if not options.quick:
            works = {
                "rsync -z": rsync(fleet, old, new),
                "ansible-core, copy": ansible(fleet, folder, old, new),
                "pyinfra, files.put": pyinfra(fleet, folder, old, new),
            }
            for name, work in works.items():
                taken, seconds = relay.taken(work)
                rows.append((name, OTHERS, taken / OTHERS, seconds))
        print(f"The incremental has {patch:,} bytes; updoser moved {sent / floor:.2f} times the floor\n")
        table(
            ("tool", "clients", "bytes a client, both ways", "of updoser's", "time"),
            [
                (name, str(count), f"{size:,.0f}", f"{size / each:.2f}", f"{seconds:.1f} s" if seconds else "-")
                for name, count, size, seconds in rows
            ],
        )


if __name__ == "__main__":
    main()
