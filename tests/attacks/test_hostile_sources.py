"""Many sources are hostile, one isn't: who else is hurt, does the run end, and what are users told of each."""

from __future__ import annotations

import logging
import re
import resource
import shutil
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from reconciler.errors import NetworkError
from reconciler.model.network import Proxy
from reconciler.network.dial import Dialer
from reconciler.plugins.source import directory, tuf
from reconciler.web import pace, stream, timed
from tests.attacks.hostile_source import FOLDER, HTTP, PROXY, SIGNED, SOCKS, Server, web
from tests.attacks.siege import siege
from tests.fakes import NOW, fake_context, make_plugin
from tests.tufrepo import Vendor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.attacks.hostile_source import Wire
    from tests.attacks.siege import Siege

SHORT = 3.0
"""Seconds that stand for the limits of time of one answer; that of a file is twice as long."""
GROWTH = 256 * 2**20
"""Bytes that all of them together may cost, with the servers, which are in this process, too."""


@pytest.fixture(autouse=True)
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.client.reach.PAUSE", 0)
    monkeypatch.setattr(stream, "TRIES", 1)
    monkeypatch.setattr(timed, "LIMIT", SHORT)
    monkeypatch.setattr(pace.Floor, "SPAN", SHORT)


@pytest.fixture
def besieged(tmp_path: Path) -> Iterator[Siege]:
    with siege(tmp_path / "siege") as made:
        yield made


Kind = TypeVar("Kind")


def _behave_after_head(behave: Callable[[Wire, bytes], None], wire: Wire) -> None:
    behave(wire, wire.head())


def attack(besieged: Siege, hostile: dict[str, Any], words: Mapping[str, str | None]) -> None:
    """Let one run meet all hostile sources and the honest one, and look at what became of it, and what was told.

    Both have the source or what is expected to be told of it, by the name of the source.
    """
    besieged.surround(hostile)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = besieged.apply()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert besieged.spared, "what the honest source offers has come to all"
    assert {failure.client for failure in report.failed} <= {""}, "no client is blamed"
    failed = {failure.component: failure.message for failure in report.failed}
    assert set(failed) <= set(hostile)
    wrong = {}
    for name, pattern in words.items():
        offered = besieged.report_of(name)
        said = "\n".join(filter(None, [offered.error, *offered.problems, failed.get(name, "")]))
        odd = not said.replace("\n", "").isprintable() or "fault of updoser" in said or "plugin" in said
        if odd or (pattern is not None and not re.search(pattern, said)):
            wrong[name] = said
    assert wrong == {}
    assert grown < GROWTH


def table(kinds: Mapping[str, Kind]) -> dict[str, Kind]:
    """Give names that components can have, and what belongs to each; they say what is odd."""
    return {re.sub(r"[^a-z0-9]+", "-", name.lower())[:60].strip("-"): kind for name, kind in kinds.items()}


def vendor_of(folder: Path, component: str) -> Vendor:
    made = Vendor(folder / "repo", NOW)
    made.add(component, "1", {"data": component.encode()})
    made.sign()
    return made


def reading(folder: Path, vendor: Vendor, url: str, *, proxy: Proxy | None = None) -> Any:
    """Give a signed source as a run has it."""
    shutil.copy(vendor.metadata / "1.root.json", folder / "root.json")
    times = {"connect_timeout": f"{SHORT:.0f}s", "read_timeout": f"{SHORT:.0f}s", "timeout": f"{2 * SHORT:.0f}s"}
    return make_plugin(tuf, {"url": url, "trusted_root": "root.json", **times}, fake_context(folder, proxy=proxy))


def words_of(kinds: Mapping[str, tuple[object, str | None]]) -> dict[str, str | None]:
    return {name: words for name, (_behave, words) in kinds.items()}


@pytest.mark.parametrize("at", ["timestamp.json", "content/"])
def test_hostile_web_servers_hurt_nobody_else(
    besieged: Siege, tmp_path: Path, caplog: pytest.LogCaptureFixture, at: str
) -> None:
    kinds = table(HTTP)
    hostile = {}
    with ExitStack() as servers:
        for name, (behave, _words) in kinds.items():
            vendor = vendor_of(tmp_path / name, name)
            server = servers.enter_context(Server(web(vendor.folder, at, behave)))
            hostile[name] = reading(tmp_path / name, vendor, f"http://127.0.0.1:{server.port}")
        attack(besieged, hostile, words_of(kinds))
    shown = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert shown == [], "libraries warn of odd heads with a traceback, and that would go to stderr"


def test_hostile_proxies_hurt_nobody_else(besieged: Siege, tmp_path: Path) -> None:
    kinds = table(PROXY)
    hostile = {}
    with ExitStack() as servers:
        for name, (behave, _words) in kinds.items():
            vendor = vendor_of(tmp_path / name, name)
            server = servers.enter_context(Server(partial(_behave_after_head, behave)))
            proxy = Proxy("evil", "http", "127.0.0.1", server.port)
            hostile[name] = reading(tmp_path / name, vendor, "https://updates.example/repo", proxy=proxy)
        attack(besieged, hostile, words_of(kinds))


@pytest.mark.parametrize("name", PROXY.keys() - {"a tunnel to bytes that aren't TLS"})
def test_a_hostile_proxy_keeps_no_connection_waiting(name: str) -> None:
    behave, _words = PROXY[name]
    with Server(lambda wire: behave(wire, wire.head())) as server:
        proxy = Proxy("evil", "http", "127.0.0.1", server.port)
        with pytest.raises(NetworkError, match="evil"):
            Dialer(str)("client.example", 22, proxy=proxy, timeout=1)


@pytest.mark.parametrize("name", SOCKS)
def test_a_hostile_socks_proxy_keeps_no_connection_waiting(name: str) -> None:
    behave, words = SOCKS[name]
    with Server(lambda wire: behave(wire, b"")) as server:
        proxy = Proxy("evil", "socks5h", "127.0.0.1", server.port)
        with pytest.raises(NetworkError, match=words):
            Dialer(str)("client.example", 22, proxy=proxy, timeout=1)


def test_repositories_with_odd_content_hurt_nobody_else(besieged: Siege, tmp_path: Path) -> None:
    kinds = table(SIGNED)
    hostile = {}
    for name, (change, _words) in kinds.items():
        vendor = vendor_of(tmp_path / name, name)
        change(vendor)
        hostile[name] = reading(tmp_path / name, vendor, vendor.folder.as_uri())
    attack(besieged, hostile, words_of(kinds))


def test_odd_folders_cost_their_own_releases_only(besieged: Siege, tmp_path: Path) -> None:
    kinds = table(FOLDER)
    hostile = {}
    for name, (change, _words) in kinds.items():
        for version in ("1", "2"):
            place = tmp_path / name / "drop" / name / version
            place.mkdir(parents=True)
            (place / "data").write_bytes(version.encode())
        change(place)
        hostile[name] = make_plugin(directory, {"path": "drop", "settle": "0s"}, fake_context(tmp_path / name))
    attack(besieged, hostile, words_of(kinds))
    for name in kinds:
        assert "1" in {release.version for release in besieged.report_of(name).releases}, f"{name}: others are offered"
