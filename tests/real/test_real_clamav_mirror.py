"""A mirror of ours, fed by a vendor's: Debian's freshclam follows it by increments, and so does a source of ours."""

from __future__ import annotations

import getpass
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.plugins.source import clamav
from tests.clam_engine import engine_environment
from tests.clam_mirror import ClamVendor, write_keys
from tests.clam_signer import Authority
from tests.fakes import fake_context, make_component, make_plugin
from tests.fleet import Fleet
from tests.servers import nginx, requests
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

pytestmark = pytest.mark.needs("freshclam", "sigtool", "nginx")
KEYS = [{"clamsign": {"keys": "trust/keys.yaml"}}]


def daily(version: int) -> dict[str, bytes]:
    lines = [b"Test.Bad-%d:0:0:%032x\n" % (n, n * 7919 + 1) for n in range(300 + version)]
    return {"daily.cfg": b"", "daily.ndb": b"".join(lines)}


class Freshclam:
    """A client that follows a mirror."""

    def __init__(self, folder: Path, url: str) -> None:
        self.databases = folder / "databases"
        self.databases.mkdir()
        self._config = folder / "freshclam.conf"
        self._config.write_text(
            f"DatabaseMirror {url}\nDatabaseDirectory {self.databases}\nDatabaseOwner {getpass.getuser()}\n"
            "TestDatabases no\nDNSDatabaseInfo disabled\nMaxAttempts 1\n"
        )
        self._environment = engine_environment(folder / "engine")

    def run(self) -> str:
        command = ["freshclam", f"--config-file={self._config}", "--stdout", "--no-dns"]
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def test_what_a_vendor_publishes_is_passed_on_as_freshclam_wants_it(tmp_path: Path, stack: ExitStack) -> None:
    vendor = ClamVendor(tmp_path / "vendor", Authority())
    write_keys(tmp_path / "trust" / "keys.yaml")
    vendor.publish("main", 62, {"main.ndb": b"Main-Test:0:0:1112131415161718\n"})
    vendor.publish("bytecode", 3, {"bytecode.ndb": b"Code-Test:0:0:2122232425262728\n"})
    vendor.publish("daily", 1, daily(1))
    source = {"name": "clamav", "type": "clamav", "url": "vendor", "form": "cvd", "verify": KEYS}
    fleet = Fleet(tmp_path, 1, catalogs=["clamav"], sources=[source], repository={"path": "public", "layout": "clamav"})
    assert fleet.apply().code == 0
    url = stack.enter_context(nginx(tmp_path / "nginx", tmp_path / "public"))
    client = Freshclam(tmp_path, url)
    client.run()
    assert (client.databases / "daily.cvd").read_bytes() == vendor.newest["daily"].cvd

    vendor.publish("daily", 2, daily(2))
    done = fleet.apply()
    assert done.code == 0, done.err
    public = sorted(path.name for path in (tmp_path / "public").iterdir() if path.name.startswith("daily"))
    assert public == ["daily-2.cdiff", "daily-2.cdiff.sign", "daily-2.cvd.sign", "daily.cvd"]
    asked = len(requests(tmp_path / "nginx"))
    assert "daily.cld updated (version: 2," in client.run()
    assert any("GET /daily-2.cdiff " in line for line in requests(tmp_path / "nginx")[asked:])

    context: Any = fake_context(tmp_path)
    component = make_component("clamav-daily", scheme="integer")
    here = make_plugin(clamav, {"url": url, "discovery": "dns.txt", "verify": KEYS}, context)
    (release,) = here.releases({component.id: component}).releases
    with here.open(release, release.files[0]) as stream:
        assert stream.read() == vendor.newest["daily"].cld
