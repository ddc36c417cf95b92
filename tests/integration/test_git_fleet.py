"""The fleet that takes its rules from git repositories, as it stands on its page: only hosts are ours."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.fleet import NO_SOAK, Fleet
from tests.gitserver import Repo, git_http
from tests.materials import Gpg
from tests.pages import example

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.needs("git", "gpg", "gpgv", "gpgconf", "ssh-keygen")
EXAMPLES = Path(__file__).parents[1] / "unit/data/examples"


class Vendors:
    """Two repositories: one with tags that GnuPG signed, and one with a branch that an SSH key signs."""

    def __init__(self, folder: Path) -> None:
        self.gpg = Gpg(folder / "gnupg")
        self.fingerprint = self.gpg.new("rules@vendor.example")
        self.crs = Repo(folder / "srv/crs")
        self.crs.git("config", "user.signingkey", self.fingerprint)
        self.lists = Repo(folder / "srv/lists")
        key = folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)], check=True)
        for name, value in {"gpg.format": "ssh", "user.signingkey": str(key)}.items():
            self.lists.git("config", name, value)
        trust = folder / "trust"
        trust.mkdir()
        self.gpg.export(trust / "crs.gpg", self.fingerprint)
        (trust / "allowed_signers").write_text(f"ops@example.org {key.with_suffix('.pub').read_text()}")

    def release(self, version: str, content: bytes, at: str) -> None:
        files = {"rules/a.conf": content, "rules/a.data": b"d", "crs-setup.conf.example": b"s", "tests/t.py": b"t"}
        self.crs.commit(files, at)
        signing = ("-s", "-m", f"CRS {version}", f"v{version}")
        self.crs.git("tag", *signing, at=at, environ={"GNUPGHOME": str(self.gpg.home)})

    def list(self, content: bytes, at: str) -> None:
        self.lists.commit({"lists/drop.txt": content}, at, "Hosts", "-S")


@pytest.fixture
def vendors(tmp_path: Path) -> Iterator[Vendors]:
    made = Vendors(tmp_path)
    yield made
    made.gpg.close()


@pytest.fixture
def fleet(vendors: Vendors, tmp_path: Path) -> Iterator[Fleet]:
    with git_http(tmp_path / "srv/crs") as backend:
        text = example("spec:git").text
        for place, ours in (
            ("https://github.com/coreruleset/coreruleset.git", f"{backend.url}/rules.git"),
            ("file:///media/in/lists.git", vendors.lists.bare.as_uri()),
        ):
            assert text.count(place) == 1
            text = text.replace(place, ours)
        shutil.copy(EXAMPLES / "site.catalog.yaml", tmp_path)
        (tmp_path / "updoser.yaml").write_text(text + yaml.safe_dump({"auto_update": {"rollout": NO_SOAK}}))
        made = Fleet.__new__(Fleet)
        made.folder = tmp_path
        yield made


def converges(fleet: Fleet) -> None:
    done = fleet.apply()
    assert done.code == 0, done.out + done.err
    again = fleet.run("plan", "--detailed-exitcode")
    assert again.code == 0, again.out + again.err


def test_rules_of_repositories_reach_a_fleet_and_so_do_their_changes(vendors: Vendors, fleet: Fleet) -> None:
    vendors.release("4.1.0", b"SecRule 1", "2026-11-20T06:00:00Z")
    vendors.list(b"192.0.2.0/24\n", "2026-11-20T06:00:00Z")
    plan = fleet.run("plan")
    assert "waf-rules  4.1.0" in plan.out or "4.1.0" in plan.out
    assert f"signed by crs (gpg {vendors.fingerprint})" in plan.out
    assert "signed by lists (ssh SHA256:" in plan.out
    converges(fleet)
    crs = fleet.current("pc-1", "waf-rules")
    assert crs == {"a.conf": b"SecRule 1", "a.data": b"d", "crs-setup.conf.example": b"s"}
    assert fleet.current("pc-1", "block-list") == {"drop.txt": b"192.0.2.0/24\n"}

    vendors.release("4.2.0", b"SecRule 2", "2026-11-21T06:00:00Z")
    vendors.list(b"198.51.100.0/24\n", "2026-11-20T18:00:00Z")
    converges(fleet)
    assert fleet.current("pc-1", "waf-rules")["a.conf"] == b"SecRule 2"
    assert fleet.current("pc-1", "block-list") == {"drop.txt": b"198.51.100.0/24\n"}

    vendors.lists.git("reset", "--quiet", "--hard", "HEAD~1")
    vendors.list(b"203.0.113.0/24\n", "2026-11-22T06:00:00Z")
    plan = fleet.run("plan")
    assert "it was rewound (`rewinds: allow` takes it)" in plan.out
    assert fleet.current("pc-1", "block-list") == {"drop.txt": b"198.51.100.0/24\n"}


def test_a_tag_that_moves_is_refused_until_it_is_accepted(vendors: Vendors, fleet: Fleet) -> None:
    vendors.release("4.1.0", b"SecRule 1", "2026-11-20T06:00:00Z")
    vendors.list(b"192.0.2.0/24\n", "2026-11-20T06:00:00Z")
    converges(fleet)
    vendors.crs.git("tag", "-d", "v4.1.0")
    vendors.release("4.1.0", b"SecRule 9", "2026-11-21T06:00:00Z")
    plan = fleet.run("plan")
    assert "updoser release accept" in plan.out + plan.err
    fleet.apply()
    assert fleet.current("pc-1", "waf-rules")["a.conf"] == b"SecRule 1"
