"""What a client fetches from relays, good ones and evil ones, on real shells with each tool that gets URLs."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.errors import ClientError
from reconciler.model.deploy import FromRelay
from tests.machine import MORE_SHELLS, SHELLS, Machine, patched, raw, step
from tests.ports import free_port
from tests.relay_server import RelayServer, relay_server
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.model.deploy import Outcome, Step

CONTENT = os.urandom(300_000)
TOOLS = ["curl", "wget", "busybox"]
LONG = int(PATIENCE)
"""Seconds for a relay that gives what it has; on a busy machine it takes a while until it is asked."""


@pytest.fixture(params=MORE_SHELLS)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    return Machine(tmp_path, request.param)


@pytest.fixture
def dash(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def server() -> Iterator[RelayServer]:
    with relay_server() as server:
        yield server


@pytest.fixture(params=TOOLS)
def tool(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    only(tmp_path, monkeypatch, request.param)
    return str(request.param)


def only(folder: Path, monkeypatch: pytest.MonkeyPatch, tool: str) -> None:
    """Have one tool that gets URLs be the only one that works, or none."""
    place = folder / "tools"
    place.mkdir()
    for name in ("curl", "wget"):
        (place / name).write_text("#!/bin/sh\nexit 127\n")
        (place / name).chmod(0o755)
    if tool == "busybox":
        (place / "wget").unlink()
        (place / "wget").symlink_to(shutil.which("busybox") or pytest.skip("there is no busybox"))
    elif tool:
        (place / tool).unlink()
        (place / tool).symlink_to(shutil.which(tool) or pytest.skip(f"there is no {tool}"))
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")


def fetch(machine: Machine, steps: tuple[Step, ...], *urls: str, **more: Any) -> tuple[tuple[Outcome, ...], int]:
    """Have a client fetch all of some steps; give its answer, and the bytes that were sent to it."""
    parts = frozenset(part.sha256 for step in steps for part in step.payload if not step.private)
    relay = FromRelay(urls, parts, **{"patience": LONG, **more})
    report = machine.session.deploy(replace(machine.request(*steps), relay=relay), machine.open)
    return report.outcomes, report.bytes_sent


def release(machine: Machine, server: RelayServer, *contents: bytes) -> Step:
    """Give the step to a release whose files a relay has."""
    server.give(*contents)
    return step(None, machine.release("rules", "1", {f"file {at}": data for at, data in enumerate(contents)}))


@pytest.mark.each_shell
def test_what_a_relay_has_is_fetched_and_not_sent(machine: Machine, server: RelayServer) -> None:
    wanted = release(machine, server, CONTENT, b"small", b"")
    (outcome,), sent = fetch(machine, (wanted,), server.url("good"))
    assert (outcome.status, sent) == ("changed", 0)
    assert machine.current("rules") == {"file 0": CONTENT, "file 1": b"small", "file 2": b""}
    assert machine.leftovers() == []


def test_each_tool_gets_a_release_and_asks_for_each_part_once(dash: Machine, server: RelayServer, tool: str) -> None:
    (outcome,), sent = fetch(dash, (release(dash, server, CONTENT, b"more"),), server.url("good"))
    assert (outcome.status, sent) == ("changed", 0), (tool, outcome)
    assert len(server.asked) == 2


@pytest.mark.parametrize("way", ["good", "whole"])
def test_what_broke_off_is_gone_on_with(dash: Machine, server: RelayServer, tool: str, way: str) -> None:
    (outcome,), _sent = fetch(dash, (release(dash, server, CONTENT),), server.url("cut"), server.url(way))
    assert outcome.status == "changed", (tool, outcome)
    assert dash.current("rules") == {"file 0": CONTENT}


@pytest.mark.parametrize("way", ["wrong", "short", "endless", "slow", "moved", "missing"])
def test_an_evil_relay_gets_nothing_in_and_the_client_says_so(
    dash: Machine, server: RelayServer, tool: str, way: str
) -> None:
    if (tool, way) == ("busybox", "moved"):
        pytest.skip("the wget of busybox follows redirections: what comes is verified")
    before = dash.install("rules", "0", {"file 0": b"before"})
    server.give(CONTENT)
    wanted = step(before, dash.release("rules", "1", {"file 0": CONTENT}))
    (outcome,), _sent = fetch(dash, (wanted,), server.url(way), patience=1 if way == "slow" else LONG)
    assert (outcome.status, outcome.version) == ("unfetched", "0"), (tool, outcome)
    assert server.url(way) in outcome.message
    assert dash.current("rules") == {"file 0": b"before"}
    assert {path.split("/")[1] for path in server.asked} == {way}
    assert dash.leftovers() == []


@pytest.mark.each_shell
@pytest.mark.parametrize("way", ["wrong", "endless", "slow"])
def test_the_next_relay_is_asked_where_one_gives_nothing_good(machine: Machine, server: RelayServer, way: str) -> None:
    urls, patience = (server.url(way), server.url("good")), 6 if way == "slow" else LONG
    (outcome,), sent = fetch(machine, (release(machine, server, CONTENT),), *urls, patience=patience)
    assert (outcome.status, sent) == ("changed", 0)


@pytest.mark.each_shell
def test_a_relay_that_is_gone_is_told_and_the_other_components_arrive(machine: Machine, server: RelayServer) -> None:
    wanted = release(machine, server, CONTENT)
    sent_too = step(None, machine.release("engine", "1", {"a": b"sent", "b": b"as well"}))
    gone = f"http://127.0.0.1:{free_port()}"
    parts = frozenset(part.sha256 for part in wanted.payload)
    request = replace(machine.request(wanted, sent_too), relay=FromRelay((gone,), parts, patience=LONG))
    report = machine.session.deploy(request, machine.open)
    assert [outcome.status for outcome in report.outcomes] == ["unfetched", "changed"]
    assert report.bytes_sent == len(b"sentas well")
    assert machine.current("engine") == {"a": b"sent", "b": b"as well"}
    assert machine.current("rules") == {}


def test_a_relay_that_comes_back_is_waited_for(dash: Machine, server: RelayServer) -> None:
    (outcome,), _sent = fetch(dash, (release(dash, server, CONTENT),), server.url("cut"), wait=60)
    assert outcome.status == "changed"
    assert len(server.asked) == 2


def test_no_second_part_is_asked_of_a_relay_that_gave_nothing(dash: Machine, server: RelayServer) -> None:
    (outcome,), _sent = fetch(dash, (release(dash, server, CONTENT, b"more"),), server.url("missing"))
    assert outcome.status == "unfetched"
    assert len(server.asked) == 1


@pytest.mark.each_shell
@pytest.mark.needs("zstd")
def test_patches_are_fetched_one_by_one(machine: Machine, server: RelayServer) -> None:
    newer = CONTENT[:1000] + b"new" + CONTENT[1000:]
    newest = newer + b"end"
    old = machine.install("rules", "1", {"a": CONTENT, "b": b"b"})
    new = machine.release("rules", "2", {"a": newest, "b": b"b"})
    hops = machine.hop("zstd", CONTENT, newer), machine.hop("zstd", newer, newest)
    way = patched(old, new, "a", "a", *hops, kept={"b"})
    server.give(*(machine.content[hop.sha256] for hop in hops))
    (outcome,), sent = fetch(machine, (way,), server.url("good"))
    assert (outcome.status, sent) == ("changed", 0)
    assert machine.current("rules") == {"a": newest, "b": b"b"}


def test_a_patch_that_no_relay_gives_leaves_the_client_as_it_is(dash: Machine, server: RelayServer) -> None:
    old = dash.install("rules", "1", {"a": CONTENT})
    newer = CONTENT + b"more"
    hop = dash.hop("zstd", CONTENT, newer)
    way = patched(old, dash.release("rules", "2", {"a": newer, "b": b"sent"}), "a", "a", hop)
    parts = frozenset([hop.sha256])
    request = replace(dash.request(way), relay=FromRelay((server.url("missing"),), parts, patience=LONG))
    (outcome,) = dash.session.deploy(request, dash.open).outcomes
    assert (outcome.status, outcome.version) == ("unfetched", "1")


def test_a_client_that_can_get_no_urls_says_so_at_once(
    dash: Machine, server: RelayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(tmp_path, monkeypatch, "")
    (outcome,), _sent = fetch(dash, (release(dash, server, CONTENT),), server.url("good"), wait=600)
    assert (outcome.status, outcome.message) == ("unfetched", "the client has neither curl nor wget")
    assert server.asked == []


def test_what_is_private_is_sent_though_a_relay_is_named_for_it(dash: Machine, server: RelayServer) -> None:
    wanted = replace(release(dash, server, CONTENT), private=True)
    parts = frozenset(part.sha256 for part in wanted.payload)
    request = replace(dash.request(wanted), relay=FromRelay((server.url("good"),), parts, patience=LONG))
    report = dash.session.deploy(request, dash.open)
    assert (report.outcomes[0].status, report.bytes_sent) == ("changed", len(CONTENT))
    assert server.asked == []


def test_a_client_without_proxies_of_its_environment_asks_the_relay_itself(
    dash: Machine, server: RelayServer, tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    (tmp_path / ".wgetrc").write_text("http_proxy = http://127.0.0.1:1\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    (outcome,), _sent = fetch(dash, (release(dash, server, CONTENT),), server.url("good"))
    assert outcome.status == "changed", (tool, outcome)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "line",
    [
        "relay 0 1",
        "relay 0 0 http://a",
        "relay x 1 http://a",
        "relay 0 1 ftp://a",
        "relay 0 1 http://a;id",
        "relay 0 1 http://a http://$(id)",
        "relay 0 1 http://",
        "relay 0 1 -o/etc/passwd",
    ],
)
def test_a_relay_that_is_none_is_refused_before_anything_is_touched(tmp_path: Path, shell: str, line: str) -> None:
    machine = Machine(tmp_path, shell)
    digest = hashlib.sha256(b"x").hexdigest()
    lines = [f"root {machine.root}", "keep 2", "controller lineage 1", line, f"step rules - - 1 {digest} l"]
    header = "\n".join([*lines, f"file fetched 1 {digest} a", "end", ""]).encode()
    done = raw(machine, f"updoser 1 deploy {len(header)}\n".encode() + header)
    assert b"protocol malformed: relay" in done.stdout
    assert not machine.root.exists()


def test_a_part_to_fetch_without_a_relay_is_refused(dash: Machine) -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    lines = [f"root {dash.root}", "keep 2", "controller lineage 1", f"step rules - - 1 {digest} l"]
    header = "\n".join([*lines, f"file fetched 1 {digest} a", "end", ""]).encode()
    done = raw(dash, f"updoser 1 deploy {len(header)}\n".encode() + header)
    assert b"protocol malformed: file fetched" in done.stdout


@pytest.mark.parametrize("url", ["ftp://a", "http://a b", "http://a\nverify", "", "http://a;id"])
def test_a_url_that_no_client_would_take_never_leaves_the_server(dash: Machine, url: str) -> None:
    wanted = step(None, dash.release("rules", "1", {"a": CONTENT}))
    with pytest.raises(ClientError, match="no URLs"):
        fetch(dash, (wanted,), url)
