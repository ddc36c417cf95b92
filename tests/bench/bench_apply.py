"""A fresh deployment of 20 components of 50 KB to clients over SSH, beside other tools, in one run.

The clients are addresses of one sshd on this machine, so server and clients share its cores; ratios are what counts.

    floor      a minimal paramiko script: one connection, one tar stream, `sha256sum -c`, one rename for each component
    updoser    `updoser apply`: looks first, verifies, stages, switches atomically, keeps a manifest and a journal
    pyinfra    `files.put` for each file, from the environment of .ci/bench.lock
    ansible    `copy` for each file, with pipelining, on 20 clients

All use the same number of workers and a folder of their own. updoser runs a second time with nothing to do.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import paramiko
import yaml
from measure import ROOT, run, table

sys.path.insert(0, str(ROOT))

from tests.sshd import sshd_fleet, sudo_user

if TYPE_CHECKING:
    from tests.sshd import SshFleet

COMPONENTS = [f"component-{number:02}" for number in range(20)]
SIZE = 50_000
FORKS = 16
ANSIBLE_CLIENTS = 20


def write_releases(folder: Path) -> dict[str, Path]:
    """Make a release of each component; give its file by component."""
    files = {}
    for name in COMPONENTS:
        path = folder / "upstream" / name / "1.0.0" / f"{name}.dat"
        path.parent.mkdir(parents=True)
        path.write_bytes(os.urandom(SIZE))
        files[name] = path
    return files


def floor(fleet: SshFleet, files: dict[str, Path]) -> float:
    """Do the least that could be called a verified deployment; give its wall clock time."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        sums = ""
        for name, path in files.items():
            tar.add(path, arcname=f"{name}/{path.name}")
            sums += f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}/{path.name}\n"
        entry = tarfile.TarInfo("SHA256SUMS")
        entry.size = len(sums)
        tar.addfile(entry, io.BytesIO(sums.encode()))
    payload = archive.getvalue()
    key = paramiko.Ed25519Key.from_private_key_file(str(fleet.key))

    def deploy(address: str) -> None:
        root = f"{fleet.install_root(address)}-floor"
        with paramiko.SSHClient() as client:
            client.load_host_keys(str(fleet.known_hosts))
            client.connect(
                address, fleet.port, fleet.user, pkey=key, look_for_keys=False, allow_agent=False, compress=False
            )
            stdin, stdout, _stderr = client.exec_command(
                f"mkdir -p {root}/new && cd {root}/new && tar -xf - && sha256sum --quiet -c SHA256SUMS && "
                f"for name in {' '.join(files)}; do mv -T $name ../$name || exit 1; done && echo done"
            )
            stdin.write(payload)
            stdin.channel.shutdown_write()
            assert stdout.read() == b"done\n", address

    begun = time.perf_counter()
    with ThreadPoolExecutor(FORKS) as pool:
        list(pool.map(deploy, fleet.addresses))
    return time.perf_counter() - begun


def updoser(fleet: SshFleet, folder: Path, clients: int, name: str) -> tuple[float, float]:
    """Apply a spec of its own twice; give both wall clock times."""
    components = [{"id": id_, "name": id_, "kind": "pattern", "version_scheme": "dotted"} for id_ in COMPONENTS]
    (folder / "catalog.yaml").write_text(yaml.safe_dump({"version": 1, "name": "bench", "components": components}))
    entries = [
        {**fleet.client(a), "install_root": f"{fleet.install_root(a)}-{name}"} for a in fleet.addresses[:clients]
    ]
    spec = {
        "version": 1,
        "catalogs": ["catalog.yaml"],
        "server": {"store": f"store-{name}", "state": f"sqlite:///state-{name}.db"},
        "sources": [{"name": "drop", "type": "directory", "path": "upstream", "settle": "0s"}],
        "defaults": {"transport": fleet.transport(), "install_root": "/nonexistent"},
        "groups": {"all": {"clients": entries}},
    }
    file = folder / f"updoser-{name}.yaml"
    file.write_text(yaml.safe_dump(spec))
    command = [sys.executable, "-m", "reconciler", "apply", "--auto-approve", "--forks", str(FORKS), "-f", str(file)]
    return run(command, cwd=ROOT).wall, run(command, cwd=ROOT).wall


def pyinfra(fleet: SshFleet, folder: Path, files: dict[str, Path]) -> float | None:
    """Put every file with pyinfra; give the wall clock time, or None where it isn't installed."""
    program = ROOT / ".venv-bench" / "bin" / "pyinfra"
    if not program.exists():
        return None
    data = {
        "ssh_user": fleet.user,
        "ssh_port": fleet.port,
        "ssh_key": str(fleet.key),
        "ssh_known_hosts_file": str(fleet.known_hosts),
    }
    hosts = [(address, {**data, "root": f"{fleet.install_root(address)}-pyinfra"}) for address in fleet.addresses]
    (folder / "inventory.py").write_text(f"hosts = {hosts!r}\n")
    puts = "".join(
        f"files.put(name={name!r}, src={str(path)!r}, dest=host.data.root + '/{name}/{path.name}')\n"
        for name, path in files.items()
    )
    (folder / "deploy.py").write_text(f"from pyinfra import host\nfrom pyinfra.operations import files\n{puts}")
    return run([program, "-y", "--parallel", str(FORKS), "inventory.py", "deploy.py"], cwd=folder).wall


def ansible(fleet: SshFleet, folder: Path, files: dict[str, Path]) -> float | None:
    """Copy every file with ansible-core to ANSIBLE_CLIENTS; give the wall clock time, or None without ansible."""
    program = Path(sys.executable).parent / "ansible-playbook"
    if not program.exists():
        return None
    lines = [f"{address} root={fleet.install_root(address)}-ansible" for address in fleet.addresses[:ANSIBLE_CLIENTS]]
    (folder / "hosts.ini").write_text("[all]\n" + "\n".join(lines) + "\n")
    tasks = [{"ansible.builtin.file": {"path": "{{ root }}/{{ item }}", "state": "directory"}, "loop": list(files)}]
    tasks += [
        {"ansible.builtin.copy": {"src": str(path), "dest": f"{{{{ root }}}}/{name}/{path.name}"}}
        for name, path in files.items()
    ]
    (folder / "play.yaml").write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    environment = {
        **os.environ,
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_FORKS": str(FORKS),
        "ANSIBLE_REMOTE_USER": fleet.user,
        "ANSIBLE_REMOTE_PORT": str(fleet.port),
        "ANSIBLE_PRIVATE_KEY_FILE": str(fleet.key),
        "ANSIBLE_SSH_ARGS": f"-o UserKnownHostsFile={fleet.known_hosts} -o ControlMaster=auto -o ControlPersist=60s",
        "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable,
    }
    return run([program, "-i", "hosts.ini", "play.yaml"], cwd=folder, env=environment).wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--runs", type=int, default=3, help="of floor and updoser; the medians are shown")
    parser.add_argument("--quick", action="store_true", help="without the other tools")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        # A user of its own, where that can be: the login shell of a developer may cost more than the work.
        user = stack.enter_context(sudo_user()) if os.getuid() == 0 else ""
        fleet = stack.enter_context(sshd_fleet(folder, options.clients, user=user))
        files = write_releases(folder)
        floors, applies, nothings = [], [], []
        for number in range(options.runs):
            floors.append(floor(fleet, files))
            first, second = updoser(fleet, folder, options.clients, f"updoser-{number}")
            applies.append(first)
            nothings.append(second)
            subprocess.run(["rm", "-rf", *(f"{fleet.install_root(a)}-floor" for a in fleet.addresses)], check=True)
        rates = {
            "floor: a minimal paramiko script": (options.clients, statistics.median(floors)),
            "updoser, fresh apply": (options.clients, statistics.median(applies)),
            "updoser, nothing to change": (options.clients, statistics.median(nothings)),
        }
        if not options.quick:
            others: dict[str, tuple[int, float | None]] = {"pyinfra": (options.clients, pyinfra(fleet, folder, files))}
            others["ansible-core"] = (min(ANSIBLE_CLIENTS, options.clients), ansible(fleet, folder, files))
            rates.update({name: (count, wall) for name, (count, wall) in others.items() if wall is not None})
        own = options.clients / rates["updoser, fresh apply"][1]
        rows = [
            (name, str(count), f"{seconds:.1f} s", f"{count / seconds:.2f}", f"{own / (count / seconds):.1f}")
            for name, (count, seconds) in rates.items()
        ]
        table(("tool", "clients", "time", "clients/s", "updoser is faster by"), rows)


if __name__ == "__main__":
    main()
