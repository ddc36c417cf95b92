"""A folder that is carried, signed by its SHA256SUMS, as its page says: only the moments are ours."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.fleet import NO_SOAK, Fleet
from tests.pages import example, marked

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.needs("minisign")


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """Give the fleet of the page, and a key of the real program."""
    made = Fleet.__new__(Fleet)
    object.__setattr__(made, "folder", tmp_path)
    catalog = {"version": 1, "name": "clamav", "components": [
        {"id": "clamav-daily", "name": "ClamAV daily database", "kind": "pattern", "version_scheme": "integer"}
    ]}  # fmt: skip
    (tmp_path / "clamav.catalog.yaml").write_text(yaml.safe_dump(catalog))
    waves = yaml.safe_dump({"auto_update": {"rollout": NO_SOAK}})
    (tmp_path / "updoser.yaml").write_text(example("spec:carried").text + waves)
    (tmp_path / "trust").mkdir()
    (tmp_path / "media/in").mkdir(parents=True)
    run(made, "minisign", "-G", "-W", "-p", "trust/carried.pub", "-s", "carried.key")
    return made


def run(fleet: Fleet, *command: str) -> None:
    subprocess.run(command, cwd=fleet.folder, check=True, capture_output=True, stdin=subprocess.DEVNULL)


def carry(fleet: Fleet, version: str, *, sign: bool = True) -> None:
    """Put a release into the folder by the commands of the page."""
    (fleet.folder / "daily.cld").write_bytes(version.encode() * 100)
    (shown,) = (
        one for one in marked("not run: tests/integration/test_signed_folder.py runs these, with paths of its own")
    )
    add, signing = (line.replace("27450", version) for line in shown.text.splitlines())
    fleet.run(*add.split()[1:])
    if sign:
        subprocess.run(signing.replace("minisign -S", "minisign -S -W"), cwd=fleet.folder, shell=True, check=True)


def test_a_carried_folder_is_believed_by_its_signature_and_never_again_without(fleet: Fleet) -> None:
    carry(fleet, "27450")
    planned = fleet.run("plan", "--diff")
    assert "  clamav-daily 27450  signed by carried (minisign " in planned.out
    assert "not signed" not in planned.out
    assert fleet.apply().code == 0
    assert "No changes" in fleet.run("plan").out
    looked = fleet.run("doctor", "--sources")
    assert looked.code == 0
    assert "key of source carried         ok  minisign " in looked.out

    carry(fleet, "27451", sign=False)
    held = fleet.run("plan")
    assert "27451: SHA256SUMS can't be verified: SHA256SUMS.minisig isn't there" in " ".join(held.out.split())
    assert "0 changes" in held.out

    spec = fleet.folder / "updoser.yaml"
    with_verify = spec.read_text()
    spec.write_text(with_verify.replace("    verify: [{minisign: {key: trust/carried.pub}}]\n", ""))
    fallen = " ".join(fleet.run("plan").out.split())
    assert "sources.carried: what it fetches isn't verified any more" in fallen
    assert (
        "clamav-daily 27451 of source carried is held: it isn't signed, and 27450 of the same source still was"
        in fallen
    )
    assert "verify it as before, or `may_outrank: true` allows it" in fallen
    (fleet.folder / "trust/carried.pub").rename(fleet.folder / "gone.pub")
    spec.write_text(with_verify)
    blind = fleet.run("doctor", "--sources", "carried")
    assert blind.code == 1
    assert "trust/carried.pub can't be read: No such file or directory" in blind.out
