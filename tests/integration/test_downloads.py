"""Downloads of a run: several files at a time, interrupted and continued, with progress; one bad file costs its own."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from reconciler.formats.index import content_path
from tests.fleet import Fleet
from tests.servers import nginx, requests
from tests.tufrepo import Vendor
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

pytestmark = pytest.mark.needs("nginx")
BIG = bytes(range(256)) * 4096 * 24  # 24 MiB


@pytest.fixture
def vendor(tmp_path: Path) -> Vendor:
    made = Vendor(tmp_path / "web", datetime.now(UTC))
    made.add("rules", "1", {f"{at}.rules": bytes([at]) * 1000 for at in range(40)})
    made.add("engine", "1.0", {"engine.bin": BIG})
    made.sign()
    return made


def fleet_of(vendor: Vendor, folder: Path, url: str, **more: str) -> Fleet:
    folder.mkdir(exist_ok=True)
    shutil.copy(vendor.metadata / "1.root.json", folder / "root.json")
    source = {"name": "vendor", "type": "tuf", "url": url, "trusted_root": "root.json", **more}
    return Fleet(folder, clients=1, sources=[source])


def test_many_files_come_and_the_second_run_asks_for_none(
    vendor: Vendor, tmp_path: Path, stack: ExitStack[bool | None]
) -> None:
    url = stack.enter_context(nginx(tmp_path / "nginx", vendor.folder))
    fleet = fleet_of(vendor, tmp_path / "site", url)
    done = fleet.apply("--events", "events.jsonl")
    assert done.code == 0, done.err
    assert fleet.current("c1", "engine") == {"engine.bin": BIG}
    assert len(fleet.current("c1", "rules")) == 40
    before = sum("/content/" in line for line in requests(tmp_path / "nginx"))
    assert before == 41
    assert fleet.run("plan", "--detailed-exitcode").code == 0
    assert fleet.apply().code == 0
    assert sum("/content/" in line for line in requests(tmp_path / "nginx")) == before


def test_progress_is_told_with_bytes_rate_and_time_left(
    vendor: Vendor, tmp_path: Path, stack: ExitStack[bool | None]
) -> None:
    url = stack.enter_context(nginx(tmp_path / "nginx", vendor.folder))
    fleet = fleet_of(vendor, tmp_path / "site", url, limit="8MiB/s")
    assert fleet.apply("--events", "events.jsonl").code == 0
    told = [json.loads(line) for line in (fleet.folder / "events.jsonl").read_text().splitlines()]
    told = [event for event in told if event["type"] == "download_progress"]
    assert told
    sizes = [event["bytes"] for event in told]
    assert sizes == sorted(sizes)
    assert {event["total"] for event in told} == {len(BIG) + 40_000}
    assert told[-1]["bytes"] == told[-1]["total"]
    assert re.search(r"downloaded [\d.]+ \w+ of 24\.0 MiB, [\d.]+ \w+/s, .+ left", told[0]["message"])


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_was_stopped_is_continued_where_it_was(
    vendor: Vendor, tmp_path: Path, stack: ExitStack[bool | None], how: signal.Signals
) -> None:
    url = stack.enter_context(nginx(tmp_path / "nginx", vendor.folder))
    fleet = fleet_of(vendor, tmp_path / "site", url, limit="4MiB/s")
    process = fleet.start("apply", "--auto-approve")
    part = fleet.folder / "store/tmp"
    until(lambda: part.exists() and _largest(part) > 4 * 2**20, process)
    process.send_signal(how)
    _out, err = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in err
    assert process.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL)
    assert [path.name for path in part.iterdir()] == [f"{_digest(vendor)}.part"]
    had = next(part.iterdir()).stat().st_size
    if how == signal.SIGKILL:
        (lock,) = re.findall(r"updoser unlock (\S+)", fleet.apply().err) or [""]
        if lock:
            fleet.run("unlock", lock)
    fleet_of(vendor, tmp_path / "site", url)
    done = fleet.apply()
    assert done.code == 0, done.err
    assert fleet.current("c1", "engine") == {"engine.bin": BIG}
    asked = [line for line in requests(tmp_path / "nginx") if _digest(vendor) in line]
    assert any(f'" 206 {len(BIG) - had} ' in line for line in asked), asked
    assert list(part.iterdir()) == []


def test_small_files_that_came_before_a_kill_are_whole_and_only_the_others_are_fetched_afterwards(
    tmp_path: Path, stack: ExitStack[bool | None]
) -> None:
    vendor = Vendor(tmp_path / "web", datetime.now(UTC))
    vendor.add("rules", "1", {f"{at}.rules": at.to_bytes(2) * 5000 for at in range(300)})
    vendor.sign()
    url = stack.enter_context(nginx(tmp_path / "nginx", vendor.folder))
    fleet = fleet_of(vendor, tmp_path / "site", url, limit="512KiB/s")
    process = fleet.start("apply", "--auto-approve")
    content = fleet.folder / "store/content"
    until(lambda: sum(1 for _ in content.glob("*/*")) > 50, process)
    process.kill()
    process.communicate(timeout=PATIENCE)
    there = {path.name for path in content.glob("*/*")}
    assert 50 < len(there) < 300
    assert {hashlib.sha256(path.read_bytes()).hexdigest() for path in content.glob("*/*")} == there
    assert list((fleet.folder / "store").glob("releases/*/*/*.json")) == []
    before = len(_asked_for(tmp_path / "nginx"))
    (lock,) = re.findall(r"updoser unlock (\S+)", fleet.apply().err) or [""]
    if lock:
        fleet.run("unlock", lock)
    done = fleet.apply()
    assert done.code == 0, done.err
    assert len(fleet.current("c1", "rules")) == 300
    assert len(asked := _asked_for(tmp_path / "nginx")[before:]) == 300 - len(there)
    assert not any(name in line for line in asked for name in there)


def _largest(part: Path) -> int:
    """Give the size of the largest part; one that is whole meanwhile goes elsewhere."""
    sizes = [0]
    for path in part.iterdir():
        with suppress(FileNotFoundError):
            sizes.append(path.stat().st_size)
    return max(sizes)


def _asked_for(server: Path) -> list[str]:
    return [line for line in requests(server) if "/content/" in line]


def _digest(vendor: Vendor) -> str:
    (release,) = vendor.releases["engine"]
    return release.files[0].sha256


def test_a_bad_file_costs_its_component_only(vendor: Vendor, tmp_path: Path, stack: ExitStack[bool | None]) -> None:
    (release,) = vendor.releases["rules"]
    place = vendor.folder / content_path(release.files[7].sha256)
    good = place.read_bytes()
    place.write_bytes(b"?" * 1000)
    url = stack.enter_context(nginx(tmp_path / "nginx", vendor.folder))
    fleet = fleet_of(vendor, tmp_path / "site", url)
    done = fleet.apply()
    assert done.code == 1
    assert "has the SHA-256" in done.out
    assert fleet.current("c1", "engine") == {"engine.bin": BIG}
    assert fleet.current("c1", "rules") == {}
    place.write_bytes(good)
    assert fleet.apply().code == 0
    assert len(fleet.current("c1", "rules")) == 40


def test_a_disk_without_room_is_told_before_anything_is_fetched(
    vendor: Vendor, tmp_path: Path, stack: ExitStack[bool | None], small_disk: Path
) -> None:
    url = stack.enter_context(nginx(tmp_path / "nginx", vendor.folder))
    fleet = fleet_of(vendor, tmp_path / "site", url)
    fleet.write(server={"store": str(small_disk / "store"), "state": "sqlite:///state.db"})
    done = fleet.apply()
    assert done.code == 1
    assert "engine 1.0 needs 24.0 MiB" in done.out
    assert not any(_digest(vendor) in line for line in requests(tmp_path / "nginx"))
    assert len(fleet.current("c1", "rules")) == 40


def test_a_source_that_must_be_there_ends_the_run_with_an_error_and_the_rest_is_done(
    vendor: Vendor, tmp_path: Path
) -> None:
    fleet = fleet_of(vendor, tmp_path / "site", "http://127.0.0.1:9", when_absent="error", connect_timeout="1s")
    drop = {"name": "drop", "type": "directory", "path": "upstream", "settle": "0s", "components": ["rules"]}
    fleet.write(sources=[*fleet.spec["sources"], {**drop, "may_outrank": True}])
    fleet.release("rules", "5", all_rules=b"five")
    done = fleet.apply()
    assert done.code == 1
    assert "can't be read, and `when_absent` says `error`: vendor" in done.err
    assert fleet.current("c1", "rules") == {"all.rules": b"five"}


def test_files_from_anyone_make_no_connection(vendor: Vendor, tmp_path: Path, stack: ExitStack[bool | None]) -> None:
    url = stack.enter_context(nginx(tmp_path / "nginx", vendor.folder))
    fleet = fleet_of(vendor, tmp_path / "site", url)
    done = fleet.run("plan", "--no-exec")
    assert done.code == 0
    assert "--no-exec: source vendor isn't asked" in done.out
    assert requests(tmp_path / "nginx") == []


def test_a_source_that_wants_to_be_left_alone_is_shown_in_plan_and_status(
    vendor: Vendor, tmp_path: Path, stack: ExitStack[bool | None]
) -> None:
    rules = "location = /metadata/timestamp.json { add_header Retry-After 3600 always; return 429; }"
    url = stack.enter_context(nginx(tmp_path / "nginx", vendor.folder, server=rules))
    fleet = fleet_of(vendor, tmp_path / "site", url)
    assert "source vendor: it is left alone until 20" in fleet.run("plan").out
    status = fleet.run("status", "--format", "json").json
    assert status["sources"][0]["cooldown_until"] is not None
    asked = len(requests(tmp_path / "nginx"))
    assert "it is left alone until" in fleet.run("plan").out
    assert len(requests(tmp_path / "nginx")) == asked
