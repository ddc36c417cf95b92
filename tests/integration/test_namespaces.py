"""Hosts that share no address family, in network namespaces of their own, and a proxy that speaks both.

server (one family) --- proxy (both) --- far (the other family): clients over SSH, and a source
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.fleet import CATALOG, ROOT
from tests.servers import program
from tests.sshd import make_key
from tests.tufrepo import Vendor
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.model.network import Family

pytestmark = pytest.mark.needs("ip", "sshd", "nginx", "microsocks")
SERVER, PROXY, FAR = "s", "p", "f"
SSH, WEB, SOCKS = 2222, 8080, 1080


class Net:
    """Three namespaces in a row. `server` and `far` are their addresses, `near` is the proxy's towards the server."""

    def __init__(self, stack: ExitStack, folder: Path, *, server_family: Family) -> None:
        self.folder = folder
        self._name = f"updoser{os.getpid()}{server_family}"
        ipv6, ipv4 = ("fd00:77::2", "fd00:77::1", 64), ("10.77.0.2", "10.77.0.1", 24)
        one, other = (ipv6, ipv4) if server_family == "ipv6" else (ipv4, ipv6)
        self.server, self.near = one[:2]
        self.far, outer = other[:2]
        for space in (SERVER, PROXY, FAR):
            if self._ip("netns", "add", self._name + space):
                pytest.skip("only root may make network namespaces, and not everywhere")
            stack.callback(self._ip, "netns", "del", self._name + space)
            self.run(space, "ip", "link", "set", "lo", "up")
        self._join(SERVER, self.server, self.near, one[2])
        self._join(FAR, self.far, outer, other[2])

    def _join(self, space: str, address: str, at_proxy: str, bits: int) -> None:
        """Lay a wire between the proxy and another."""
        peer = ("type", "veth", "peer", "name", f"to{space}", "netns", self._name + PROXY)
        self._ip("link", "add", "up0", "netns", self._name + space, *peer)
        for place, link, own in ((space, "up0", address), (PROXY, f"to{space}", at_proxy)):
            quick = ["nodad"] if ":" in own else []
            self.run(place, "ip", "address", "add", f"{own}/{bits}", "dev", link, *quick)
            self.run(place, "ip", "link", "set", link, "up")
        self.run(space, "ip", "-6" if ":" in at_proxy else "-4", "route", "add", "default", "via", at_proxy)

    def _ip(self, *arguments: str) -> int:
        return subprocess.run([program("ip"), *arguments], check=False, capture_output=True).returncode

    def run(self, space: str, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        inside = [program("ip"), "netns", "exec", self._name + space, *command]
        return subprocess.run(inside, check=False, capture_output=True, text=True, **options)

    @contextmanager
    def daemon(self, space: str, host: str, port: int, *command: str) -> Iterator[None]:
        log = self.folder / f"{space}-{port}.log"
        inside = [program("ip"), "netns", "exec", self._name + space, *command]
        with log.open("wb") as output:
            process = subprocess.Popen(inside, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        probe = (
            f"import socket, time\nfor n in range({PATIENCE / 0.05:.0f}):\n"
            f" try: socket.create_connection(({host!r}, {port}), 1); break\n"
            " except OSError: time.sleep(0.05)\nelse: raise SystemExit(1)"
        )
        try:
            assert self.run(space, sys.executable, "-c", probe, cwd=ROOT).returncode == 0, log.read_text()
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE)


@pytest.fixture(params=["ipv6", "ipv4"])
def net(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Net]:
    with ExitStack() as stack:
        made = Net(stack, tmp_path, server_family=request.param)
        bracketed = f"[{made.far}]" if ":" in made.far else made.far
        stack.enter_context(made.daemon(FAR, made.far, SSH, *_sshd(tmp_path, bracketed)))
        stack.enter_context(made.daemon(FAR, made.far, WEB, *_nginx(tmp_path, bracketed)))
        stack.enter_context(
            made.daemon(PROXY, made.near, SOCKS, program("microsocks"), "-i", made.near, "-p", str(SOCKS))
        )
        yield made


def _sshd(folder: Path, listen: str) -> tuple[str, ...]:
    key, host = make_key(folder / "key"), make_key(folder / "host")
    public = (folder / "host.pub").read_text().split()[1]
    (folder / "known_hosts").write_text(f"[{listen.strip('[]')}]:{SSH} ssh-ed25519 {public}\n")
    (folder / "sshd_config").write_text(
        f"ListenAddress {listen}:{SSH}\nHostKey {host}\nAuthorizedKeysFile {key}.pub\nStrictModes no\nUsePAM no\n"
        "PermitRootLogin yes\nPidFile none\nUseDNS no\n"
    )
    os.makedirs("/run/sshd", exist_ok=True)  # noqa: PTH103
    return program("sshd"), "-D", "-e", "-f", str(folder / "sshd_config")


def _nginx(folder: Path, listen: str) -> tuple[str, ...]:
    vendor = Vendor(folder / "repo", datetime.now(UTC))
    vendor.add("rules", "7", {"all.rules": b"seven"})
    vendor.sign()
    shutil.copy(vendor.metadata / "1.root.json", folder / "root.json")
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"user root; daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; {temporary} server {{ listen {listen}:{WEB}; root {folder}/repo; }} }}\n"
    )
    return program("nginx"), "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"


def spec(net: Net, *, proxy: bool) -> None:
    near = f"[{net.near}]" if ":" in net.near else net.near
    far = f"[{net.far}]" if ":" in net.far else net.far
    transport = {"type": "ssh", "user": "root", "port": SSH, "known_hosts": "known_hosts", "keys": [{"file": "key"}]}
    source = {"name": "vendor", "type": "tuf", "url": f"http://{far}:{WEB}", "trusted_root": "root.json"}
    group = {
        "transport": transport,
        "install_root": str(net.folder / "client"),
        "clients": [{"name": "far-1", "address": net.far}],
    }
    made = {
        "version": 1,
        "catalogs": ["catalog.yaml"],
        "server": {"store": "store", "state": "sqlite:///state.db"},
        "components": {"rules": {"version": "latest"}},
        "sources": [source | ({"proxy": "bridge"} if proxy else {})],
        "groups": {"far": group | ({"proxy": "bridge"} if proxy else {})},
    }
    if proxy:
        made["proxies"] = {"bridge": {"url": f"socks5h://{near}:{SOCKS}", "families": ["ipv4", "ipv6"]}}
    (net.folder / "catalog.yaml").write_text(yaml.safe_dump(CATALOG))
    (net.folder / "updoser.yaml").write_text(yaml.safe_dump(made))


def updoser(net: Net, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return net.run(
        SERVER, sys.executable, "-m", "reconciler", *arguments, cwd=net.folder, env=environment, timeout=PATIENCE
    )


def test_through_a_proxy_of_both_families_a_server_reaches_sources_and_clients_of_the_other(net: Net) -> None:
    spec(net, proxy=True)
    plan = json.loads(updoser(net, "plan", "--format", "json").stdout)
    assert {change["action"]: change.get("route") for change in plan["changes"]} == {
        "download": "via bridge",
        "deploy": "via bridge",
    }
    done = updoser(net, "apply", "--auto-approve")
    assert done.returncode == 0, done.stderr
    assert (net.folder / "client/rules/current/all.rules").read_bytes() == b"seven"
    again = updoser(net, "plan", "--detailed-exitcode")
    assert again.returncode == 0, again.stdout
    assert "No changes. Every client has what is declared." in again.stdout


def test_without_the_proxy_the_plan_says_why_not_and_counts_the_clients(net: Net) -> None:
    spec(net, proxy=False)
    done = updoser(net, "plan")
    assert done.returncode == 0, done.stderr
    own, other = ("IPv6", "IPv4") if ":" in net.server else ("IPv4", "IPv6")
    assert f"pure {own} server, pure {other} client, no dual-stack proxy" in done.stdout
    assert "unreachable 1" in done.stdout.splitlines()[0]
    assert "can't be reached" in done.stdout  # nor can the source
    applied = updoser(net, "apply", "--auto-approve")
    assert applied.returncode == 4
    assert f"far-1: pure {own} server" in applied.stdout
