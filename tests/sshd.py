"""A fleet on loopback: one real sshd that answers on many addresses, each of which is a client with its own folder.

- 127.0.2.1 and on: well-behaved clients, as many as were asked for
- HANGS: answers logins, and then nothing
- DIES: reads the beginning of a request, and hangs up
- NOISY: prints a greeting before everything
- OTHER_KEY: shows another host key than known_hosts has (on a port of its own)
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.model.secret import SecretRef
from reconciler.plugins.transport import openssh, ssh
from tests.ports import free_port
from tests.servers import wait_for
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HANGS, DIES, NOISY, OTHER_KEY = "127.0.1.1", "127.0.1.2", "127.0.1.3", "127.0.1.4"
MODULES = {"ssh": ssh, "openssh": openssh}
by_both = pytest.mark.parametrize("kind", list(MODULES))
"""For what holds of both transports that reach clients over SSH."""
DIES_AFTER = 60_000
"""Bytes of a request after which the client that dies does so: beyond the script, within the payload."""


@dataclass(frozen=True)
class SshFleet:
    """Where the fleet is and how to get in. `folder` holds keys, known_hosts and the clients' folders."""

    folder: Path
    port: int
    user: str
    addresses: tuple[str, ...]
    key: Path
    known_hosts: Path
    host_keys: dict[str, str] = field(default_factory=dict)
    other_port: int = 0

    def install_root(self, address: str) -> Path:
        """Give the folder in which the client at an address keeps its files."""
        return self.folder / "clients" / address

    def options(self, **more: object) -> dict[str, object]:
        """Give options as the ssh transport gets them, with the secret `key`."""
        return {
            "user": self.user,
            "port": self.port,
            "keys": [SecretRef("env", "key")],
            "known_hosts": str(self.known_hosts),
            **more,
        }

    def options_of(self, kind: str, **more: object) -> dict[str, object]:
        """Give options as the transport of a kind gets them: openssh has files in place of secrets."""
        keys = [SecretRef("env", "key")] if kind == "ssh" else [{"file": str(self.key)}]
        return self.options(**{"keys": keys, **more})

    def transport(self, **more: object) -> dict[str, object]:
        """Give a transport of the spec that gets in."""
        return {
            "type": "ssh",
            "user": self.user,
            "port": self.port,
            "keys": [{"file": str(self.key)}],
            "known_hosts": str(self.known_hosts),
            **more,
        }

    def client(self, address: str, **more: object) -> dict[str, object]:
        """Give a client of the spec."""
        port = {"port": self.other_port} if address == OTHER_KEY else {}
        return {"name": address, "address": address, "install_root": str(self.install_root(address)), **port, **more}


def sign_key(authority: Path, key: Path, *names: str, host: bool = False, valid: str = "", algorithm: str = "") -> Path:
    """Have an authority sign a key for some names; give the certificate, which lies beside the key."""
    more = [*(["-h"] if host else []), *(["-V", valid] if valid else []), *(["-t", algorithm] if algorithm else [])]
    command = ["ssh-keygen", "-q", "-s", str(authority), "-I", "test", *more, "-n", ",".join(names), f"{key}.pub"]
    subprocess.run(command, check=True, capture_output=True)
    return Path(f"{key}-cert.pub")


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """Make a key pair, of a size that is made at once."""
    size = ["-b", "2048"] if kind == "rsa" else []
    command = ["ssh-keygen", "-q", "-t", kind, *size, "-N", passphrase, "-f", str(path), "-C", "test"]
    subprocess.run(command, check=True, capture_output=True)
    return path


@contextmanager
def sshd_fleet(
    folder: Path,
    count: int = 20,
    *,
    user: str = "",
    authorized: str = "",
    settings: str = "",
    authority: Path | None = None,
    algorithm: str = "",
    environment: Mapping[str, str] | None = None,
) -> Iterator[SshFleet]:
    """Run an sshd for the time of the block; `user` may log in (by default the one who runs the tests).

    `authorized` are further public keys that are let in; `settings` are lines of its configuration that replace others.
    An `authority` signs its host key for all addresses but the last one, and lets in whom it signs; it signs
    by an `algorithm`, or else by that of its key. `environment` are variables of its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    addresses = tuple(f"127.0.{2 + at // 250}.{1 + at % 250}" for at in range(count))
    key = make_key(folder / "key")
    host_keys = {kind: make_key(folder / f"host_{kind}", kind) for kind in ("ed25519", "ecdsa", "rsa")}
    other = make_key(folder / "host_other")
    if authority is not None:
        certificate = sign_key(authority, host_keys["ed25519"], *addresses[:-1], host=True, algorithm=algorithm)
        settings += f"HostCertificate {certificate}\nTrustedUserCAKeys {authority}.pub\n"
    allowed = folder / "authorized_keys"
    allowed.write_text(Path(f"{key}.pub").read_text() + authorized)
    port, other_port = free_port(), free_port()
    user = user or pwd.getpwuid(os.getuid()).pw_name
    public = {kind: Path(f"{path}.pub").read_text().split()[1] for kind, path in host_keys.items()}
    known_hosts = folder / "known_hosts"
    places = [*((address, port) for address in (*addresses, HANGS, DIES, NOISY)), (OTHER_KEY, other_port)]
    known_hosts.write_text(
        "".join(f"[{address}]:{at} ssh-ed25519 {public['ed25519']}\n" for address, at in places), encoding="utf-8"
    )
    fleet = SshFleet(folder, port, user, addresses, key, known_hosts, public, other_port)
    (folder / "clients").mkdir(exist_ok=True)
    _give(folder / "clients", user)
    main = _config(allowed, list(host_keys.values()), "0.0.0.0", port, settings) + _BEHAVIOURS
    stranger = _config(allowed, [other], OTHER_KEY, other_port)
    with (
        _daemon(folder / "main", main, "127.0.0.1", port, environment),
        _daemon(folder / "other", stranger, OTHER_KEY, other_port),
    ):
        yield fleet


_BEHAVIOURS = f"""\
Match LocalAddress {HANGS}
    ForceCommand sleep 600
Match LocalAddress {DIES}
    ForceCommand head -c {DIES_AFTER} >/dev/null; kill -9 $PPID
Match LocalAddress {NOISY}
    ForceCommand echo "Welcome to this machine"; eval "$SSH_ORIGINAL_COMMAND"
"""


def _config(allowed: Path, keys: list[Path], address: str, port: int, settings: str = "") -> str:
    lines = [
        f"ListenAddress {address}:{port}",
        *(f"HostKey {key}" for key in keys),
        f"AuthorizedKeysFile {allowed}",
        "Subsystem sftp internal-sftp",
        "StrictModes no",
        "UsePAM no",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitRootLogin yes",
        "MaxStartups 1000",
        "MaxSessions 100",
        "PrintMotd no",
        "UseDNS no",
        "LogLevel ERROR",
        "PidFile none",
    ]
    own = {line.split()[0] for line in settings.splitlines()}
    return "\n".join([*(line for line in lines if line.split()[0] not in own), settings])


@contextmanager
def _daemon(
    folder: Path, config: str, address: str, port: int, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    (folder / "sshd_config").write_text(config, encoding="utf-8")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    log = (folder / "log").open("wb")
    program = shutil.which("sshd")
    assert program is not None
    process = subprocess.Popen(
        [program, "-D", "-e", "-f", str(folder / "sshd_config")],
        stderr=log,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
    )
    try:
        wait_for(address, port, process, folder / "log")
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)
        log.close()


def _give(folder: Path, user: str) -> None:
    entry = pwd.getpwnam(user)
    if os.getuid() == 0 and entry.pw_uid != 0:
        os.chown(folder, entry.pw_uid, entry.pw_gid)


@contextmanager
def sudo_user() -> Iterator[str]:
    """Give a user who may become root without a password, made for the time of the block; needs root."""
    name = f"updoser-{os.getpid()}"
    subprocess.run(
        ["useradd", "--create-home", "--shell", "/bin/sh", "--password", "*", name], check=True, capture_output=True
    )
    rule = Path("/etc/sudoers.d") / name
    try:
        rule.write_text(f"{name} ALL=(root) NOPASSWD: ALL\n", encoding="utf-8")
        rule.chmod(0o440)
        yield name
    finally:
        rule.unlink(missing_ok=True)
        subprocess.run(["pkill", "-KILL", "-u", name], check=False, capture_output=True)
        subprocess.run(["userdel", "--remove", "--force", name], check=False, capture_output=True)
