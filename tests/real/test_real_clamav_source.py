"""The fleet of docs/clamav.md, with Debian's ClamAV: from a vendor's mirror to a clamd that has it loaded."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from reconciler.formats.clam_signature import keys_from
from tests.clam_engine import FINGERPRINTS, engine_environment, wrapper
from tests.clam_mirror import ClamVendor, write_keys
from tests.fleet import NO_SOAK, Fleet
from tests.pages import ROOT, example, with_catalog
from tests.servers import nginx, requests
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import ExitStack

    from tests.fleet import Done

pytestmark = pytest.mark.needs("clamscan", "sigtool", "clamd", "clamdscan", "nginx")

EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS" + b"-TEST-FILE!$H+H*"
"""The string that scanners agree to detect, in parts: nothing is to find it in this file."""
URL = "http://clamav-mirror.example"
READS = "to: /var/lib/clamav, method: rename, owner: clamav, group: clamav"


def daily(version: int) -> dict[str, bytes]:
    line = b"Eicar-Test-%d:0:0:%s\n" % (version, EICAR.hex().encode())
    return {"daily.cfg": b"", "daily.ndb": line + b"Other-Test:0:0:0102030405060708\n" * 200}


class Site:
    """A server with the spec of the page, a mirror, and a machine with a clamd that trusts the keys of tests."""

    def __init__(self, folder: Path, machine: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.machine = machine
        self.environment = environment
        self.databases = machine / "databases"
        self.databases.mkdir()
        self.vendor = ClamVendor(folder / "mirror")
        write_keys(folder / "trust" / "clamav-keys.yaml")
        self.fleet = Fleet.__new__(Fleet)
        self.fleet.folder = folder
        self.log = machine / "log"
        self.log.touch()

    def publish_all(self) -> None:
        self.vendor.publish("main", 62, {"main.ndb": b"Main-Test:0:0:1112131415161718\n"})
        self.vendor.publish("bytecode", 3, {"bytecode.ndb": b"Code-Test:0:0:2122232425262728\n"})
        self.vendor.publish("daily", 1, daily(1))

    def write(self, mark: str, url: str = URL) -> None:
        """Write the spec of the page; clamd reads in another folder here, and is of nobody's."""
        text = example(f"spec:{mark}").text.replace(URL, url)
        text = with_catalog(text, self.folder, {READS: f"to: {self.databases}, method: rename"})
        (self.folder / "updoser.yaml").write_text(text + yaml.safe_dump({"auto_update": {"rollout": NO_SOAK}}))

    def run(self, *arguments: str) -> Done:
        return self.fleet.run(*arguments, PATH=self.environment["PATH"])

    def applies(self) -> str:
        done = self.run("apply", "--auto-approve")
        assert done.code == 0, done.err + done.out
        return done.out

    def reloads(self) -> int:
        return self.log.read_text().count("Reading databases from")

    def start(self) -> subprocess.Popen[bytes]:
        (self.databases / "site.ndb").write_bytes(b"Site-Own-1:0:0:0807060504030201\n")
        (self.databases / "daily.cvd").write_bytes(self.vendor.newest["daily"].cvd)
        config = self.machine / "clamd.conf"
        config.write_text(
            f"LocalSocket {self.machine}/socket\nLogFile {self.log}\nDatabaseDirectory {self.databases}\n"
            "SelfCheck 0\nMaxThreads 2\nForeground yes\nConcurrentDatabaseReload no\n"
        )
        program = shutil.copy(
            shutil.which("clamd") or "", self.machine / "daemon"
        )  # one that no AppArmor profile is for
        process = subprocess.Popen([program, "--config-file", config], env=self.environment, stdout=subprocess.DEVNULL)
        until((self.machine / "socket").exists, process)
        return process


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return engine_environment(tmp_path_factory.mktemp("engine"))


@pytest.fixture
def site(tmp_path: Path, engine: Mapping[str, str], stack: ExitStack) -> Site:
    machine = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clamd-")))  # a short path for its socket
    machine.chmod(0o755)
    programs, library = machine / "bin", engine["LD_LIBRARY_PATH"]
    programs.mkdir()
    for name, option in (("clamdscan", f"--config-file={machine}/clamd.conf"), ("clamconf", f"-c {machine}")):
        wrapper(programs / name, f'LD_LIBRARY_PATH="{library}" exec {shutil.which(name)} {option} "$@"')
    return Site(tmp_path, machine, {**engine, "PATH": f"{programs}:{engine['PATH']}"})


@pytest.fixture
def clamd(site: Site) -> Iterator[None]:
    site.publish_all()
    process = site.start()
    yield
    process.terminate()
    process.wait(PATIENCE)


@pytest.mark.usefixtures("clamd")
def test_the_fleet_of_the_page_runs_with_what_a_private_mirror_has(site: Site, stack: ExitStack) -> None:
    url = stack.enter_context(nginx(site.folder / "nginx", site.vendor.folder))
    site.write("clamav", url)
    before = site.reloads()
    site.applies()
    assert site.reloads() == before + 1
    assert sorted(path.name for path in site.databases.iterdir()) == [
        "bytecode.cld", "daily.cld", "main.cld", "site.ndb",
    ]  # fmt: skip
    assert (site.databases / "daily.cld").read_bytes() == site.vendor.newest["daily"].cld
    status = site.run("status", "--format", "json").json
    assert {one["id"]: one["updated"] for one in status["components"]} == {
        "clamav-bytecode": 1, "clamav-daily": 1, "clamav-main": 1,
    }  # fmt: skip

    # the next day: an increment
    site.vendor.publish("daily", 2, daily(2))
    asked = len(requests(site.folder / "nginx"))
    assert "signed by clamav (clamsign " in site.run("plan").out
    site.applies()
    assert {line.split('"')[1].split()[1] for line in requests(site.folder / "nginx")[asked:]} == {
        "/dns.txt", "/daily-2.cdiff", "/daily-2.cdiff.sign",
    }  # fmt: skip
    assert (site.databases / "daily.cld").read_bytes() == site.vendor.newest["daily"].cld
    assert site.reloads() == before + 2
    assert "0 changes on 0 of 1 client" in site.applies()

    # one that doesn't find the test file stays where it is
    site.vendor.publish("daily", 3, {**daily(3), "daily.ndb": b"Other-Test:0:0:0102030405060708\n"})
    done = site.run("apply", "--auto-approve")
    assert (done.code, "detects failed before the switch" in done.out + done.err) == (3, True)
    assert site.reloads() == before + 2


def test_the_site_behind_a_gap_takes_what_a_medium_brings(site: Site) -> None:
    medium = site.folder / "media" / "clamav"
    medium.parent.mkdir()
    site.write("clamav-medium")
    site.publish_all()
    shutil.copytree(site.vendor.folder, medium)
    site.applies()
    site.vendor.publish("daily", 2, daily(2))
    for name in ("daily-2.cdiff", "dns.txt"):
        shutil.copy(site.vendor.folder / name, medium)
    site.applies()
    (file,) = site.fleet.current("srv-1", "clamav-daily").values()
    assert file == site.vendor.newest["daily"].cld


def test_the_keys_of_the_vendor_are_found_in_an_installed_clamav(tmp_path: Path) -> None:
    (command,) = [one for one in _shell_blocks() if "clamav-keys.yaml" in one]
    done = subprocess.run(["sh", "-ec", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: Any = keys_from(yaml.safe_load((tmp_path / "trust" / "clamav-keys.yaml").read_text()))
    assert {getattr(found, use).fingerprint: use for use in FINGERPRINTS.values()} == FINGERPRINTS


def _shell_blocks() -> list[str]:
    page = (ROOT / "docs" / "clamav.md").read_text(encoding="utf-8")
    return [block.partition("\n```")[0] for block in page.split("```sh\n")[1:]]


@pytest.mark.parametrize("preset", ["debian", "redhat"])
def test_the_check_of_memory_lets_pass_who_loads_in_place_and_who_has_room(site: Site, preset: str) -> None:
    catalog = yaml.safe_load((ROOT / "plugins/catalog/clamav.yaml").read_text())
    (main,) = [one["presets"][preset] for one in catalog["components"] if one["id"] == "clamav-main"]
    (memory,) = [one["run"] for one in main["checks"] if one["name"] == "memory"]
    config = site.machine / "clamd.conf"
    for reload, needed, passes in (("no", "1500000", True), ("yes", "1", True), ("yes", "999999999999", False)):
        config.write_text(f"LocalSocket /nowhere\nConcurrentDatabaseReload {reload}\n")
        command = memory.replace("1500000", needed).replace("/etc/clamd.d/scan.conf", str(config))
        environment = {**os.environ, "PATH": site.environment["PATH"]}
        assert (subprocess.run(["sh", "-c", command], env=environment, check=False).returncode == 0) == passes
