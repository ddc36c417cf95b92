"""Other ways to bring files to clients over SSH, for a bed of clients that benchmarks share; each gives its cost.

script     a minimal paramiko script: one connection, one tar stream, `sha256sum -c`, one rename for each component.
           It runs in this process: its start isn't counted, that of the others is
connected  paramiko, too: connects, logs in and runs `true`
scp        OpenSSH's, so many at a time; nothing is verified
pyinfra    `files.put` for each file, from the environment of .ci/bench.lock
ansible    `copy` for each file, with pipelining
"""

from __future__ import annotations

import hashlib
import io
import os
import shlex
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import paramiko
import yaml
from measure import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from measure import Cost, Sides

    from tests.sshd import SshFleet

FORKS = 16


@dataclass(frozen=True)
class Bed:
    """Clients of one sshd, and what runs beside them; `folder` is for what tools want to be told."""

    fleet: SshFleet
    sides: Sides
    folder: Path

    def root(self, address: str, name: str) -> str:
        """Give a folder of a client, for one way."""
        return f"{self.fleet.install_root(address)}-{name}"


def script(bed: Bed, files: Mapping[str, Path], name: str) -> Cost:
    """Do the least that could be called a verified deployment."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        sums = ""
        for component, path in files.items():
            tar.add(path, arcname=f"{component}/{path.name}")
            sums += f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {component}/{path.name}\n"
        entry = tarfile.TarInfo("SHA256SUMS")
        entry.size = len(sums)
        tar.addfile(entry, io.BytesIO(sums.encode()))
    payload = archive.getvalue()

    def deploy(client: paramiko.SSHClient, address: str) -> None:
        root = bed.root(address, name)
        stdin, stdout, _stderr = client.exec_command(
            f"mkdir -p {root}/new && cd {root}/new && tar -xf - && sha256sum --quiet -c SHA256SUMS && "
            f"for name in {' '.join(files)}; do mv -T $name ../$name || exit 1; done && echo done"
        )
        stdin.write(payload)
        stdin.channel.shutdown_write()
        assert stdout.read() == b"done\n", address

    return _by_paramiko(bed, deploy)


def connected(bed: Bed) -> Cost:
    """Connect to all clients and have them do nothing."""

    def ask(client: paramiko.SSHClient, address: str) -> None:
        _stdin, stdout, _stderr = client.exec_command("true")
        assert stdout.channel.recv_exit_status() == 0, address

    return _by_paramiko(bed, ask)


def _by_paramiko(bed: Bed, work: Callable[[paramiko.SSHClient, str], None]) -> Cost:
    fleet = bed.fleet
    key = paramiko.Ed25519Key.from_private_key_file(str(fleet.key))

    def one(address: str) -> None:
        with paramiko.SSHClient() as client:
            client.load_host_keys(str(fleet.known_hosts))
            client.connect(
                address, fleet.port, fleet.user, pkey=key, look_for_keys=False, allow_agent=False, compress=False
            )
            work(client, address)

    def all_of_them() -> None:
        with ThreadPoolExecutor(FORKS) as pool:
            list(pool.map(one, fleet.addresses))

    return bed.sides.call(all_of_them)


def scp(bed: Bed, file: Path, name: str, at_once: int) -> Cost:
    """Copy one file to all clients."""
    fleet = bed.fleet
    for address in fleet.addresses:
        _folder(bed, address, name)
    command = shlex.join([
        "scp", "-q", "-i", str(fleet.key), "-P", str(fleet.port),
        "-o", f"UserKnownHostsFile={fleet.known_hosts}", "-o", "BatchMode=yes",
        str(file), f"{fleet.user}@{{}}:{bed.root('{}', name)}/{file.name}",
    ])  # fmt: skip
    targets = shlex.join(fleet.addresses)
    return bed.sides.run(["sh", "-c", f"printf '%s\\n' {targets} | xargs -P {at_once} -I{{}} {command}"])


def _folder(bed: Bed, address: str, name: str) -> None:
    """Make a folder that the user of the clients may write to."""
    folder = Path(bed.root(address, name))
    folder.mkdir()
    folder.chmod(0o777)


def pyinfra(bed: Bed, files: Mapping[str, Path], name: str) -> Cost | None:
    """Put every file with pyinfra; None where it isn't installed."""
    program = ROOT / ".venv-bench" / "bin" / "pyinfra"
    if not program.exists():
        return None
    fleet = bed.fleet
    data = {
        "ssh_user": fleet.user,
        "ssh_port": fleet.port,
        "ssh_key": str(fleet.key),
        "ssh_known_hosts_file": str(fleet.known_hosts),
    }
    hosts = [(address, {**data, "root": bed.root(address, name)}) for address in fleet.addresses]
    (bed.folder / "inventory.py").write_text(f"hosts = {hosts!r}\n")
    puts = "".join(
        f"files.put(name={component!r}, src={str(path)!r}, dest=host.data.root + '/{component}/{component}.dat')\n"
        for component, path in files.items()
    )
    (bed.folder / "deploy.py").write_text(f"from pyinfra import host\nfrom pyinfra.operations import files\n{puts}")
    return bed.sides.run([program, "-y", "--parallel", str(FORKS), "inventory.py", "deploy.py"], cwd=bed.folder)


def ansible(bed: Bed, files: Mapping[str, Path], name: str, addresses: Sequence[str]) -> Cost | None:
    """Copy every file with ansible-core to some of the clients; None where it isn't installed."""
    program = Path(sys.executable).parent / "ansible-playbook"
    if not program.exists():
        return None
    fleet = bed.fleet
    lines = [f"{address} root={bed.root(address, name)}" for address in addresses]
    (bed.folder / "hosts.ini").write_text("[all]\n" + "\n".join(lines) + "\n")
    tasks = [{"ansible.builtin.file": {"path": "{{ root }}/{{ item }}", "state": "directory"}, "loop": list(files)}]
    tasks += [
        {"ansible.builtin.copy": {"src": str(path), "dest": f"{{{{ root }}}}/{component}/{path.name}"}}
        for component, path in files.items()
    ]
    (bed.folder / "play.yaml").write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
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
    return bed.sides.run([program, "-i", "hosts.ini", "play.yaml"], cwd=bed.folder, env=environment)
