"""What one connection costs the controller: CPU of `ssh` as updoser has it, beside paramiko's own client.

One after the other, so that nothing but the connection is measured: what threads cost that wait for each other isn't in
it. `true` is a command that does nothing, `1 MB` one that takes so much; the least of some rounds is shown.

    .venv/bin/python tests/bench/bench_connection.py [--clients 15] [--rounds 4]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paramiko
from measure import ROOT, table

sys.path.insert(0, str(ROOT))

from reconciler.model.client import Client
from reconciler.plugins.transport import ssh
from tests.fakes import fake_context, make_plugin
from tests.sshd import sshd_fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.sshd import SshFleet

TAKE = "cat >/dev/null"
PIECE = 256 * 1024
DATA = os.urandom(1_000_000)


def scripted(fleet: SshFleet, address: str, data: bytes, execs: int) -> None:
    """Do it as a script of a few lines does."""
    key = paramiko.Ed25519Key.from_private_key_file(str(fleet.key))
    with paramiko.SSHClient() as client:
        client.load_host_keys(str(fleet.known_hosts))
        client.connect(address, fleet.port, fleet.user, pkey=key, look_for_keys=False, allow_agent=False)
        for _ in range(execs):
            stdin, stdout, _stderr = client.exec_command(TAKE)
            stdin.write(data)
            stdin.channel.shutdown_write()
            stdout.read()


def ours(transport: Any, address: str, data: bytes, execs: int) -> None:
    """Do it as an apply does."""
    with transport.connect(Client(address, "g", address, install_root="/r")) as pipe:
        for _ in range(execs):
            pipe.run(TAKE, [data[start : start + PIECE] for start in range(0, len(data), PIECE)], timeout=60.0)


@contextmanager
def fleet_and_transport(folder: Path, clients: int) -> Iterator[tuple[SshFleet, Any]]:
    """Give clients, and what reaches them and gives the pipe itself as a session."""
    with sshd_fleet(folder / "sshd", clients) as fleet:
        context = fake_context(folder, secrets={"key": fleet.key.read_text(encoding="utf-8")})
        bare: Any = lambda pipe, **_options: pipe  # noqa: E731
        yield fleet, make_plugin(ssh, fleet.options(), replace(context, shell=bare))


def least(do: Callable[[str], None], addresses: Sequence[str], rounds: int) -> float:
    """Give the milliseconds of CPU for each, in the best round."""
    found = []
    for _ in range(rounds):
        begun = time.process_time()
        for address in addresses:
            do(address)
        found.append((time.process_time() - begun) / len(addresses) * 1000)
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name, fleet_and_transport(Path(name), options.clients) as (fleet, transport):
        for what, data, execs in (("`true`", b"", 1), ("`true`, three times", b"", 3), ("1 MB", DATA, 1)):
            plain = least(lambda at: scripted(fleet, at, data, execs), fleet.addresses, options.rounds)  # noqa: B023
            own = least(lambda at: ours(transport, at, data, execs), fleet.addresses, options.rounds)  # noqa: B023
            rows.append([what, f"{plain:.1f} ms", f"{own:.1f} ms", f"{own / plain:.2f}"])
    table(["what is run", "paramiko's SSHClient", "updoser's ssh", "of it"], rows)


if __name__ == "__main__":
    main()
