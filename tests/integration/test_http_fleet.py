"""The fleet that takes its rules from the web, as it stands on its page: only hosts are ours."""

from __future__ import annotations

import gzip
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from reconciler.formats.minisign import new_secret_key
from tests.fleet import NO_SOAK, Fleet
from tests.materials import Gpg
from tests.pages import example
from tests.vendor_site import GitHub, tarball

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fleet import Done

pytestmark = pytest.mark.needs("gpg", "gpgv", "gpgconf")
EXAMPLES = Path(__file__).parents[1] / "unit/data/examples"
DAY = datetime.now(UTC).replace(microsecond=0) - timedelta(days=3)


class Vendors:
    """Those whose rules it takes, behind one address."""

    def __init__(self, folder: Path) -> None:
        self.site = GitHub(folder)
        self.gpg = Gpg(folder / "gnupg")
        self.key = self.gpg.new("rules@vendor.example")
        self.work = folder / "build"
        self.work.mkdir()

    def rules(self, version: str, **files: bytes) -> None:
        named = {f"rules/{name}.rules": content for name, content in files.items()}
        self.site.put("open/version.txt", f"{version}\n")
        packed = gzip.compress(tarball({**named, "rules/classification.config": b"c", "rules/LICENSE": b""}), mtime=0)
        self.site.put("open/emerging.rules.tar.gz", packed, DAY)

    def crs(self, version: str, content: bytes, *, signed: bool = True) -> None:
        top = f"coreruleset-{version}"
        files = {f"{top}/rules/a.conf": content, f"{top}/rules/a.data": b"d", f"{top}/crs-setup.conf.example": b"s"}
        place = self.work / f"{top}-minimal.tar.gz"
        place.write_bytes(gzip.compress(tarball({**files, f"{top}/README.md": b""}), mtime=0))
        assets = {place.name: place.read_bytes()}
        if signed:
            assets[f"{place.name}.asc"] = self.gpg.sign(place, self.key).read_bytes()
        self.site.release("coreruleset/coreruleset", f"v{version}", assets)


@pytest.fixture
def vendors(tmp_path: Path) -> Iterator[Vendors]:
    made = Vendors(tmp_path)
    with made.site:
        yield made
    made.gpg.close()


@pytest.fixture
def fleet(vendors: Vendors, tmp_path: Path) -> Fleet:
    text = example("spec:feeds").text
    for host, ours in (
        ("https://rules.emergingthreats.net/open/suricata-7.0.3", f"{vendors.site.url}/open"),
        ("https://api.github.com", vendors.site.url),
        ("https://lists.example", f"{vendors.site.url}/lists"),
    ):
        assert text.count(host) == 1
        text = text.replace(host, ours)
    for name in ("suricata", "site"):
        shutil.copy(EXAMPLES / f"{name}.catalog.yaml", tmp_path)
    (tmp_path / "trust").mkdir()
    vendors.gpg.export(tmp_path / "trust/crs.gpg", vendors.key)
    (tmp_path / "updoser.yaml").write_text(text + yaml.safe_dump({"auto_update": {"rollout": NO_SOAK}}))
    made = Fleet.__new__(Fleet)
    made.folder = tmp_path
    return made


def without_interval(fleet: Fleet) -> None:
    """Have nothing keep the next look from asking."""
    shutil.rmtree(next(fleet.folder.rglob("documents")).parent / "documents")
    for folder in fleet.folder.rglob("documents"):
        shutil.rmtree(folder)


def converges(fleet: Fleet) -> Done:
    done = fleet.apply()
    assert done.code == 0, done.out + done.err
    again = fleet.run("plan", "--detailed-exitcode")
    assert again.code == 0, again.out + again.err
    return done


def test_rules_of_the_web_reach_a_fleet_and_so_do_their_changes(vendors: Vendors, fleet: Fleet) -> None:
    vendors.rules("10512", malware=b"alert 1")
    vendors.crs("4.1.0", b"SecRule 1")
    vendors.site.put("lists/drop.txt", b"192.0.2.0/24\n", DAY)
    plan = fleet.run("plan")
    assert plan.code == 0, plan.out + plan.err
    converges(fleet)
    assert fleet.current("pc-1", "suricata-rules") == {"malware.rules": b"alert 1", "classification.config": b"c"}
    crs = fleet.current("pc-1", "waf-rules")
    assert crs == {"a.conf": b"SecRule 1", "a.data": b"d", "crs-setup.conf.example": b"s"}
    assert fleet.current("pc-1", "block-list") == {"drop.txt": b"192.0.2.0/24\n"}

    vendors.rules("10513", malware=b"alert 1", phishing=b"alert 2")
    vendors.crs("4.2.0", b"SecRule 2", signed=False)  # its signature comes later
    vendors.site.put("lists/drop.txt", b"198.51.100.0/24\n", DAY + timedelta(days=1))
    without_interval(fleet)
    done = fleet.apply()
    assert done.code == 1
    assert "waf-rules 4.2.0: coreruleset-4.2.0-minimal.tar.gz can't be verified" in done.out + done.err
    assert set(fleet.current("pc-1", "suricata-rules")) == {"malware.rules", "phishing.rules", "classification.config"}
    assert fleet.current("pc-1", "block-list") == {"drop.txt": b"198.51.100.0/24\n"}
    assert fleet.current("pc-1", "waf-rules") == crs

    place = vendors.work / "coreruleset-4.2.0-minimal.tar.gz"
    signature = vendors.gpg.sign(place, vendors.key).read_bytes()
    vendors.site.put(f"coreruleset/coreruleset/releases/download/v4.2.0/{place.name}.asc", signature)
    converges(fleet)
    assert fleet.current("pc-1", "waf-rules")["a.conf"] == b"SecRule 2"


def test_a_fixed_version_whose_bytes_change_is_refused(vendors: Vendors, fleet: Fleet) -> None:
    vendors.rules("10512", malware=b"alert 1")
    vendors.crs("4.1.0", b"SecRule 1")
    vendors.site.put("lists/drop.txt", b"192.0.2.0/24\n", DAY)
    converges(fleet)
    vendors.rules("10512", malware=b"alert 2")
    for folder in fleet.folder.rglob("quarantine"):
        shutil.rmtree(folder)
    without_interval(fleet)
    plan = fleet.run("plan")
    assert "suricata-rules 10512" in plan.out
    assert "accept" in plan.out
    fleet.apply()
    assert fleet.current("pc-1", "suricata-rules")["malware.rules"] == b"alert 1"


def test_what_is_too_large_for_a_plan_is_fetched_by_an_apply_and_deployed_by_the_next(
    vendors: Vendors, fleet: Fleet
) -> None:
    spec = (fleet.folder / "updoser.yaml").read_text()
    small = spec.replace("{name: lists, type: http,", "{name: lists, type: http, refresh_limit: 1KB,")
    assert small != spec
    (fleet.folder / "updoser.yaml").write_text(small)
    vendors.rules("10512", malware=b"alert 1")
    vendors.crs("4.1.0", b"SecRule 1")
    vendors.site.put("lists/drop.txt", b"192.0.2.0/24\n" * 500, DAY)
    plan = fleet.run("plan")
    assert "digest unknown until fetched" in plan.out
    done = fleet.apply()
    assert done.code == 0, done.out + done.err
    assert fleet.current("pc-1", "block-list") == {}
    converges(fleet)
    assert fleet.current("pc-1", "block-list") == {"drop.txt": b"192.0.2.0/24\n" * 500}


def test_what_one_server_publishes_as_a_plain_folder_another_takes_with_its_signatures(tmp_path: Path) -> None:
    key = new_secret_key()
    for name in ("hub", "branch"):
        (tmp_path / name).mkdir()
    (tmp_path / "hub/secret").write_text(key.text)
    (tmp_path / "branch/hub.pub").write_text(key.public.text)
    hub = Fleet(
        tmp_path / "hub",
        1,
        repository={"path": str(tmp_path / "web"), "layout": "tree", "minisign": {"file": "secret"}},
    )
    told = {
        "url": "rules/{version}/SHA256SUMS",
        "version": {"listing": "rules/versions.txt", "pattern": "^[0-9]+$"},
        "listed": True,
        "interval": "0s",
    }
    source = {
        "name": "hub",
        "type": "http",
        "url": (tmp_path / "web").as_uri(),
        "verify": [{"minisign": {"key": "hub.pub"}}],
        "components": {"rules": told},
    }
    branch = Fleet(tmp_path / "branch", 1, sources=[source], components={"rules": {}})
    for version, content in (("7", b"seven"), ("8", b"eight")):
        hub.release("rules", version, all_rules=content, more_rules=b"same")
        done = hub.apply()
        assert done.code == 0, done.out + done.err
        converges(branch)
        assert branch.current("c1", "rules") == {"all.rules": content, "more.rules": b"same"}
    sums = next((tmp_path / "web").rglob("8/SHA256SUMS"))
    (sums.parents[1] / "9").mkdir()
    shutil.copytree(sums.parent, sums.parents[1] / "9", dirs_exist_ok=True)  # an old release under a new name
    (sums.parents[1] / "versions.txt").write_text("7\n8\n9\n")
    done = branch.apply()
    assert done.code == 1
    assert "rules 9: SHA256SUMS can't be verified" in done.out + done.err
    assert branch.current("c1", "rules")["all.rules"] == b"eight"
