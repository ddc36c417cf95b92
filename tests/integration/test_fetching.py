"""Releases whose bytes nobody knows are fetched by one apply, and deployed by the next: with a plugin of one's own."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.present.document import report_document
from tests.fakes import FakeClient, FakeTransport
from tests.fetching import FakeFetchingSource
from tests.fleet import ONE_WAVE, Fleet
from tests.integration.test_converge import one_round, write_spec
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from pathlib import Path

BIG = bytes(range(256)) * 2000
PLUGIN = '''
"""The newest release of a vendor who says no digests, from a folder that stands for his web server."""

import time
from dataclasses import replace
from datetime import timedelta

from reconciler.contracts import Traits
from reconciler.errors import SourceError
from reconciler.formats.size import parse_size
from reconciler.model.offer import SourceReport, Unfetched
from reconciler.model.release import Release, ReleaseFile
from reconciler.plugins.source._fetched.options import REFRESH_LIMIT
from reconciler.plugins.source._fetched.quarantine import OverLimitError, Quarantine

OPTIONS = {"type": "object", "properties": {"path": {"type": "string"}, **REFRESH_LIMIT}, "required": ["path"]}


class Slow:
    def __init__(self, path, stall, stop):
        self._stream, self._stall, self._stop = path.open("rb"), stall, stop

    def read(self, size=-1):
        while self._stream.tell() >= 200_000 and self._stall.exists():
            (self._stall.parent / "stalled").touch()
            if self._stop.wait(0.05):
                break
        return self._stream.read(50_000)

    def seek(self, offset, whence=0):
        with (self._stall.parent / "resumed").open("a") as log:
            log.write(f"{offset}\\n")
        return self._stream.seek(offset)

    def close(self):
        self._stream.close()


class Mystery:
    def __init__(self, options, context):
        self._path, self._stop = context.path(options["path"], SourceError), context.stop
        limit = parse_size((self._path / "limit").read_text())
        self._quarantine = Quarantine(context.work / "quarantine", context, limit)

    def releases(self, components):
        report = SourceReport("mystery")
        for component in sorted(components):
            if not (self._path / component).is_dir():
                continue
            version = (self._path / component / "latest").read_text().strip()
            size = (self._path / component / version).stat().st_size
            with self._quarantine.alone():
                try:
                    release = self._known(component, version) or self._fetch(component, version)
                    report = replace(report, releases=(*report.releases, release))
                except OverLimitError as error:
                    entry = Unfetched(component, version, size=size, why=error.message)
                    report = replace(report, unfetched=(*report.unfetched, entry))
                self._quarantine.sweep({f"{component}/{version}"}, timedelta())
        return report

    def fetch(self, component, version, platform):
        with self._quarantine.unlimited():
            return self._known(component, version) or self._fetch(component, version)

    def _known(self, component, version):
        found = self._quarantine.held(f"{component}/{version}")
        return found and self._release(component, version, found)

    def _fetch(self, component, version):
        (self._path / "asked").open("a").write("x")
        key, path = f"{component}/{version}", self._path / component / version
        size = path.stat().st_size
        stall = self._path / "stall"
        place = self._quarantine.fetch(
            key, "data", lambda: Slow(path, stall, self._stop), size=size, validator=f"v{version}", limit=10**9
        )
        if place.read_bytes()[:4] == b"evil":
            self._quarantine.drop(key)
            raise SourceError(f"{component} {version}: its signature is wrong")
        return self._release(component, version, self._quarantine.keep(key, {}))

    def _release(self, component, version, found):
        files = tuple(ReleaseFile(file.name, file.size, file.sha256) for file in found.files.values())
        return Release(component, version, "any", files)

    def open(self, release, file):
        return self._quarantine.held(f"{release.component}/{release.version}").open(file.name)

    def open_patch(self, incremental, patch):
        raise SourceError("there are no incrementals")


TRAITS = Traits()
PLUGIN = Mystery
'''


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    folder = tmp_path / "own/source"
    folder.mkdir(parents=True)
    (folder / "mystery.py").write_text(PLUGIN)
    drop = {"name": "drop", "type": "directory", "path": "upstream", "settle": "0s", "components": ["engine"]}
    vendor = {"name": "vendor", "type": "mystery", "path": "vendor", "components": ["rules"]}
    made = Fleet(tmp_path, clients=2, plugins=["own"], auto_update=ONE_WAVE, sources=[vendor, drop])
    publish(made, "1", BIG)
    (tmp_path / "vendor/limit").write_text("1KiB")
    return made


def publish(fleet: Fleet, version: str, content: bytes) -> None:
    folder = fleet.folder / "vendor/rules"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / version).write_bytes(content)
    (folder / "latest").write_text(version)


def test_a_release_over_the_limit_is_fetched_by_one_apply_and_deployed_by_the_next(fleet: Fleet) -> None:
    planned = fleet.run("plan")
    assert "1 release to fetch (500.0 KiB)" in planned.out
    assert "from vendor, digest unknown until fetched" in planned.out
    assert "Deploy" not in planned.out
    why = fleet.run("why", "c1", "rules").out
    assert "the next apply fetches 1 from vendor (500.0 KiB), and one after that deploys it" in why
    assert "1 is to be fetched from vendor: nobody knows its bytes" in fleet.run("status", "--no-refresh").out

    first = fleet.apply("--events", "events.jsonl", "--format", "json")
    assert (first.code, first.json["fetched"], first.json["failed"]) == (0, 1, [])
    assert fleet.current("c1", "rules") == {}
    told = [json.loads(line) for line in (fleet.folder / "events.jsonl").read_text().splitlines()]
    told = [event for event in told if event["type"].startswith("fetch")]
    assert [event["type"] for event in told] == ["fetch_started", "fetch_finished"]
    assert told[1]["message"] == "rules 1: fetched and verified; the next plan deploys it"
    assert "fetched and verified" in fleet.run("history", "--component", "rules").out
    asked = (fleet.folder / "vendor/asked").read_text()

    second = fleet.apply()
    assert second.code == 0
    assert fleet.current("c1", "rules") == {"data": BIG}
    before = fleet.listing()
    last = fleet.run("plan", "--detailed-exitcode")
    assert (last.code, "No changes" in last.out) == (0, True)
    assert fleet.listing() == before
    assert (fleet.folder / "vendor/asked").read_text() == asked


def test_what_is_small_enough_is_known_at_once(fleet: Fleet) -> None:
    (fleet.folder / "vendor/limit").write_text("1MiB")
    assert fleet.apply().code == 0
    assert fleet.current("c2", "rules") == {"data": BIG}


def test_a_fetch_that_fails_costs_nothing_else(fleet: Fleet) -> None:
    publish(fleet, "2", b"evil" * 1000)
    fleet.release("engine", "1.0", engine_bin=b"good")
    done = fleet.apply()
    assert done.code == 1
    assert "rules 2: its signature is wrong" in done.out
    assert fleet.current("c1", "engine") == {"engine.bin": b"good"}
    publish(fleet, "3", b"good" * 1000)
    assert "Fetched for the next plan: 1 release." in fleet.apply().out
    assert fleet.apply().code == 0
    assert fleet.current("c1", "rules") == {"data": b"good" * 1000}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_fetch_that_was_stopped_is_continued_where_it_was(fleet: Fleet, how: signal.Signals) -> None:
    vendor = fleet.folder / "vendor"
    (vendor / "stall").touch()
    process = fleet.start("apply", "--auto-approve")
    until((vendor / "stalled").exists, process)
    process.send_signal(how)
    _out, err = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in err
    assert process.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL)
    (vendor / "stall").unlink()
    again = fleet.apply()
    if how == signal.SIGKILL and "updoser unlock" in again.err:
        fleet.run("unlock", again.err.split("updoser unlock ")[1].split()[0].rstrip("`"))
        again = fleet.apply()
    assert again.code == 0, again.err
    assert (vendor / "resumed").read_text().split()[-1] == "200000"
    assert fleet.apply().code == 0
    assert fleet.current("c1", "rules") == {"data": BIG}


def test_a_plan_file_whose_release_became_known_meanwhile_fetches_nothing(fleet: Fleet) -> None:
    assert fleet.run("plan", "--out", "plan.json").code == 0
    (fleet.folder / "vendor/limit").write_text("1MiB")
    assert fleet.run("plan").code == 0  # looks, and knows
    asked = (fleet.folder / "vendor/asked").read_text()
    done = fleet.run("apply", "plan.json", "--format", "json")
    assert (done.code, done.json.get("fetched", 0)) == (0, 0)
    assert (fleet.folder / "vendor/asked").read_text() == asked
    assert fleet.current("c1", "rules") == {}


# --- without processes ------------------------------------------------------------------------------------------------


def rounds(folder: Path, source: FakeFetchingSource, clients: dict[str, FakeClient]) -> Any:
    spec = write_spec(folder, {"rules": ["smart", "conventional"]}, [None], {})
    return one_round(folder, spec, source, FakeTransport(clients))


def test_each_round_fetches_what_only_became_the_newest_then(tmp_path: Path) -> None:
    clients = {f"c0-{n}": FakeClient() for n in range(2)}
    source = FakeFetchingSource()
    source.add_unfetched("rules", "1", {"data": b"one"}, size=3)
    first, report, second = rounds(tmp_path, source, clients)
    assert [change.to for change in first.fetches] == ["1"]
    assert (report.fetched, report.bytes_received) == (1, 3)
    assert report_document(report)["fetched"] == 1
    assert [change.to for change in second.deploys] == ["1"]
    source.add_unfetched("rules", "2", {"data": b"two"})
    first, report, second = rounds(tmp_path, source, clients)
    assert ([change.to for change in first.deploys], [change.to for change in first.fetches]) == (["1"], ["2"])
    assert {change.component: change.bytes for change in first.fetches} == {"rules": None}
    first, report, second = rounds(tmp_path, source, clients)
    assert {change.to for change in first.deploys} == {"2"}
    assert (first.fetches, report.fetched, second.fetches) == ((), 0, ())
    assert source.fetched == [("rules", "1", "any"), ("rules", "2", "any")]


def test_a_source_that_fetches_another_release_than_the_planned_one_is_not_believed(tmp_path: Path) -> None:
    class Mixed(FakeFetchingSource):
        def fetch(self, component: str, version: str, platform: str) -> Any:
            return super().fetch(component, str(int(version) - 1), platform)

    source = Mixed()
    for version in ("1", "2"):
        source.add_unfetched("rules", version, {"data": version.encode()})
    _first, report, _second = rounds(tmp_path, source, {f"c0-{n}": FakeClient() for n in range(2)})
    assert report.fetched == 0
    assert "fetched rules 1 in its place" in report.failed[0].message
