"""What we read, write and sign of ClamAV's forms, held against the programs of Debian's ClamAV."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from reconciler.formats.cdiff import apply, parse_cdiff, script_of
from reconciler.formats.clam_signature import signs_sha256
from reconciler.formats.cvd import info_of, read_database, write_cld, write_plain
from tests.clam_engine import engine_environment
from tests.clam_signer import Made, cdiff, make, private_key, script
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = pytest.mark.needs("clamscan", "sigtool", "freshclam")

BAD = b"something that a test calls bad"


def signatures(*names: str) -> bytes:
    return b"".join(b"%s:0:0:%s\n" % (name.encode(), BAD.hex().encode()) for name in names)


def run(*command: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> tuple[int, str]:
    done = subprocess.run(
        command,
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return engine_environment(tmp_path_factory.mktemp("engine"))


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad"
    path.write_bytes(BAD)
    return path


def engine_tool(engine: Mapping[str, str]) -> str:
    found = shutil.which("sigtool", path=engine["PATH"])
    assert found
    return found


def versions() -> tuple[Made, Made]:
    one = make("daily", 1, {"daily.cfg": b"", "daily.ndb": signatures("Test.One")}, full=True)
    return one, make("daily", 2, {"daily.cfg": b"", "daily.ndb": signatures("Test.Two")}, full=False)


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("form", ["cvd", "cld"])
def test_clamav_itself_takes_what_we_sign_and_write_and_refuses_what_was_changed(
    form: str, full: bool, engine: Mapping[str, str], bad: Path, tmp_path: Path
) -> None:
    made = make("daily", 1, {"daily.cfg": b"", "daily.ndb": signatures("Test.One")}, full=full)
    data: bytes = getattr(made, form)
    path = tmp_path / f"daily.{form}"
    path.write_bytes(data)
    code, says = run("clamscan", "--no-summary", "-d", path, bad, env=engine)
    assert (code, "Test.One FOUND" in says) == (1, True), says
    path.write_bytes(data.replace(b"Test.One", b"Test.0ne") if form == "cld" else data[:-9] + b"\0" + data[-8:])
    code, says = run("clamscan", "--no-summary", "-d", path, bad, env=engine)
    assert code == 2, says


def test_clamav_takes_a_cld_that_we_merged_from_a_cdiff_of_ours(
    engine: Mapping[str, str], bad: Path, tmp_path: Path
) -> None:
    one, two = versions()
    members = apply(
        read_database(io.BytesIO(one.cvd)).members, script_of(parse_cdiff(cdiff(2, script(one, two)))), "daily"
    )
    path = tmp_path / "daily.cld"
    path.write_bytes(b"".join(write_cld(members, "daily")))
    code, says = run("sigtool", f"--info={path}", env=engine)
    assert (code, "Version: 2\n" in says, "Verification OK" in says) == (0, True, True), says
    code, says = run("clamscan", "--no-summary", "-d", path, bad, env=engine)
    assert (code, "Test.Two FOUND" in says) == (1, True), says


@pytest.mark.parametrize("full", [True, False])
def test_our_merge_is_that_of_clamav(full: bool, engine: Mapping[str, str], tmp_path: Path) -> None:
    one, two = versions()
    (tmp_path / "daily-2.cdiff").write_bytes(cdiff(2, script(one, two), full=full))
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    for name, content in one.members.items():
        (unpacked / name).write_bytes(content)
    code, says = run(engine_tool(engine), f"--run-cdiff={tmp_path}/daily-2.cdiff", env=engine, cwd=unpacked)
    assert code == 0, says
    assert {path.name: path.read_bytes() for path in unpacked.iterdir()} == two.members


def test_a_database_of_sigtool_is_read_and_loads_again_as_we_write_it(bad: Path, tmp_path: Path) -> None:
    (tmp_path / "COPYING").write_text("Made by a test.\n")
    (tmp_path / "daily.ndb").write_bytes(signatures("Test.One", "Test.Other"))
    build = ["sigtool", "--build=daily.cud", "--unsigned", "--cvd-version=7", "--no-cdiff", "--max-bad-sigs=0"]
    code, says = run(*build, env={**os.environ, "SIGNDUSER": "updoser"}, cwd=tmp_path)
    assert code == 0, says
    with (tmp_path / "daily.cud").open("rb") as stream:
        found = read_database(stream)
    assert (found.header.version, found.header.signatures, found.header.is_signed) == (7, 2, False)
    (tmp_path / "daily.cud").write_bytes(b"".join(write_plain(found, "daily")))
    code, says = run("clamscan", "--no-summary", "-d", tmp_path / "daily.cud", bad)
    assert (code, "FOUND" in says) == (1, True), says


def test_a_signature_of_another_key_is_refused_by_clamav_and_by_us(
    engine: Mapping[str, str], bad: Path, tmp_path: Path
) -> None:
    made = make("daily", 1, {"daily.ndb": signatures("Test.One")}, info_key="cdiff")
    (tmp_path / "daily.cld").write_bytes(made.cld)
    code, says = run("clamscan", "--no-summary", "-d", tmp_path / "daily.cld", bad, env=engine)
    assert code == 2, says
    info = info_of(made.members, "daily")
    assert not signs_sha256(private_key("info").public, info.signature, hashlib.sha256(info.signed).digest())
