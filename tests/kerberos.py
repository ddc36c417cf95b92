"""A realm of Kerberos for tests: a real KDC on loopback, whose database, keytabs and tickets lie in a folder.

Nothing of the machine's own realm is read or written, and no name is looked up: hosts are addresses, and have
principals of these names. The KDC speaks TCP only, so that one free port is all that it needs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.ports import free_port
from tests.servers import program, running
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

REALM = "UPDOSER.TEST"
PRINCIPAL = f"fleet@{REALM}"
_CLIENT = f"""\
[libdefaults]
    default_realm = {REALM}
    dns_lookup_kdc = false
    dns_lookup_realm = false
    dns_canonicalize_hostname = false
    qualify_shortname = ""
    rdns = false
    kdc_timesync = 0
    udp_preference_limit = 1
    forwardable = true
    k5login_directory = {{folder}}/k5login
[realms]
    {REALM} = {{{{
        kdc = 127.0.0.1:{{port}}
    }}}}
"""
_SERVER = f"""\
[kdcdefaults]
    kdc_listen = ""
    kdc_tcp_listen = 127.0.0.1:{{port}}
[realms]
    {REALM} = {{{{
        database_name = {{folder}}/principal
        key_stash_file = {{folder}}/stash
        acl_file = {{folder}}/acl
        max_life = 10h
        supported_enctypes = aes256-cts:normal
    }}}}
[logging]
    kdc = FILE:{{folder}}/kdc.log
"""


@dataclass(frozen=True)
class Realm:
    """A realm that is served. `environment` is what its clients need, `of_hosts` what an sshd needs."""

    folder: Path
    port: int

    @property
    def environment(self) -> dict[str, str]:
        """Give the variables by which programs find the realm, and where their tickets lie."""
        return {"KRB5_CONFIG": str(self.folder / "krb5.conf"), "KRB5CCNAME": f"FILE:{self.folder}/tickets"}

    @property
    def of_hosts(self) -> dict[str, str]:
        """Give the variables of a server that has the keys of hosts."""
        return {**self.environment, "KRB5_KTNAME": f"FILE:{self.folder}/hosts.keytab"}

    def admit(self, user: str, *principals: str) -> None:
        """Have hosts let these principals in as a user, and no others."""
        (self.folder / "k5login").mkdir(exist_ok=True)
        (self.folder / "k5login" / user).write_text("".join(f"{one}\n" for one in principals))

    def log_in(self, *options: str) -> None:
        """Get a ticket by the keytab of PRINCIPAL."""
        self._run("kinit", *options, "-k", "-t", str(self.folder / "user.keytab"), PRINCIPAL)

    def log_out(self) -> None:
        """Throw the tickets away."""
        self._run("kdestroy", "-q")

    def expire(self) -> None:
        """Have a ticket that has ended."""
        self.log_in("-l", "1s")
        ended = time.time() + 2
        until(lambda: time.time() > ended)

    def write(self, port: int) -> None:
        """Say that the KDC is at a port."""
        (self.folder / "krb5.conf").write_text(_CLIENT.format(folder=self.folder, port=port))

    def administer(self, *commands: str) -> None:
        """Change the database."""
        self._run("kadmin.local", "-r", REALM, stdin="".join(f"{one}\n" for one in commands))

    @property
    def _env(self) -> dict[str, str]:
        return {**os.environ, **self.environment, "KRB5_KDC_PROFILE": str(self.folder / "kdc.conf")}

    def _run(self, *command: str, stdin: str = "") -> None:
        done = subprocess.run(
            command, env=self._env, input=stdin, text=True, capture_output=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, done.stderr

    @contextmanager
    def served(self) -> Iterator[None]:
        """Run the KDC for the time of the block."""
        self._run("kdb5_util", "create", "-s", "-W", "-r", REALM, "-P", "master")
        kdc = [program("env"), *(f"{name}={value}" for name, value in self._env.items()), program("krb5kdc")]
        command = [*kdc, "-n", "-r", REALM, "-P", str(self.folder / "kdc.pid")]
        with running(command, "127.0.0.1", self.port, self.folder / "log"):
            yield


@contextmanager
def realm(folder: Path, hosts: Sequence[str]) -> Iterator[Realm]:
    """Serve a realm for the time of the block: `hosts` and PRINCIPAL have a keytab each."""
    folder.mkdir(parents=True)
    found = Realm(folder, free_port())
    found.write(found.port)
    (folder / "kdc.conf").write_text(_SERVER.format(folder=folder, port=found.port))
    assert shutil.which("kadmin.local")
    with found.served():
        names = [f"host/{host}" for host in hosts]
        found.administer(
            *(f"addprinc -randkey {name}" for name in (*names, PRINCIPAL)),
            *(f"ktadd -k {folder}/hosts.keytab {name}" for name in names),
            f"ktadd -k {folder}/user.keytab {PRINCIPAL}",
        )
        yield found
