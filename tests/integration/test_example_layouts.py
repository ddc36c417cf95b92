"""Repositories in the layouts of other programs, as their page has them: only hosts are ours."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.clam_files import database
from tests.integration.test_example_sources import converges, site, spec
from tests.pages import example
from tests.servers import nginx

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

    from tests.fleet import Fleet

pytestmark = pytest.mark.needs("nginx", "minisign")


def drop(fleet: Fleet, component: str, version: str, name: str, content: bytes) -> None:
    folder = fleet.folder / "drop" / component / version
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)
    sums = subprocess.run(["sha256sum", name], cwd=folder, check=True, capture_output=True).stdout
    (folder / "SHA256SUMS").write_bytes(sums)


def test_one_server_feeds_freshclam_and_tools_that_fetch_files(tmp_path: Path, stack: ExitStack) -> None:
    hq = site(tmp_path / "hq", spec("layouts"))
    made = ["minisign", "-G", "-W", "-s", "secrets/minisign.key", "-p", "hq.pub"]
    subprocess.run(made, cwd=hq.folder, check=True, capture_output=True)
    drop(hq, "clamav-daily", "27001", "daily.cvd", database(27001))
    drop(hq, "clamav-main", "62", "main.cvd", database(62))
    drop(hq, "suricata-rules", "20261119.1", "all.rules", b"alert one")
    plan = hq.run("plan")
    assert "release in clamav" in plan.out
    assert "release in tree" in plan.out
    converges(hq)
    drop(hq, "suricata-rules", "20261119.2", "all.rules", b"alert two")  # which the page has withdrawn
    converges(hq)
    record = (hq.folder / "mirror/clamav/dns.txt").read_text().split(":")
    assert record[:3] + record[4:] == ["0.0.0", "62", "27001", "0", "90", "0", "0\n"]

    url = stack.enter_context(nginx(tmp_path / "nginx", hq.folder / "mirror/rules"))
    client = tmp_path / "client"
    client.mkdir()
    shutil.copy(hq.folder / "hq.pub", client)
    script = example("script:tree").text.replace("https://updates.hq.example", url)
    done = subprocess.run(["bash", "-eu", "-c", script], cwd=client, capture_output=True, text=True, check=True)
    assert "version:20261119.1" in done.stdout
    assert (client / "all.rules").read_bytes() == b"alert one"

    branch = site(tmp_path / "branch", spec("downstream").replace("https://updates.hq.example", url))
    shutil.copy(hq.folder / "hq.pub", branch.folder / "trust")
    assert "signed by hq (minisign" in converges(branch).out
    manifests = [path for path in (branch.folder / "store/releases").rglob("*.json") if "20261119.1" in str(path)]
    assert len(manifests) == 1

    status = hq.run("publish", "status")
    assert status.code == 0, status.err
    assert f"Repository clamav (clamav) {hq.folder}/mirror/clamav: 2 releases" in status.out
    assert f"Repository tree (tree) {hq.folder}/mirror/rules: 1 release\n" in status.out


def test_a_release_that_is_published_by_hand_takes_the_place_of_another_where_one_is_kept(tmp_path: Path) -> None:
    text = spec("layouts").replace("layout: clamav,", "layout: clamav, publish: manual,")
    hq = site(tmp_path / "hq", text.replace("    minisign: {file: secrets/minisign.key}", "    publish: manual"))
    for version in (27001, 27002):
        drop(hq, "clamav-daily", str(version), "daily.cvd", database(version))
    hq.run("apply", "--auto-approve")
    assert not (hq.folder / "mirror/clamav/daily.cvd").exists()
    done = hq.run("publish", "add", "clamav-daily")
    assert done.code == 0, done.err
    assert "clamav-daily" in done.out
    assert b":27002:" in (hq.folder / "mirror/clamav/daily.cvd").read_bytes()
