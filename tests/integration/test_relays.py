"""Clients that fetch from a relay, from the spec to their files: with web servers that are good, bad, or go away."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from reconciler.client.session import client_script, script_digest
from reconciler.formats.size import size_text
from tests.fleet import CATALOG, ONE_WAVE, Fleet
from tests.ports import free_port
from tests.relay_server import relay_server
from tests.servers import nginx, requests

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


LARGE = os.urandom(200_000)
NOTHING = "Plan: 0 downloads (0 B), 0 changes on 0 of"


@contextmanager
def site(folder: Path, clients: int = 5, **relay: Any) -> Iterator[Fleet]:
    """Give a fleet whose clients are behind a relay with an nginx, unless `serve` says something else."""
    store = folder / "relay"
    store.mkdir()
    with nginx(folder / "nginx", store) as url:
        said = {"host": "127.0.0.1", "serves": "group=all", "store": str(store), "serve": {"url": url}, "wait": "0s"}
        relays = {"lyon": {**said, "transport": {"type": "local"}, **relay}}
        made = Fleet(folder, clients, relays=relays, auto_update=ONE_WAVE)
        made.release("rules", "1", rules_txt=LARGE, small_txt=b"small")
        for number in range(1, clients + 1):  # they were changed before, long ago
            kept = folder / f"clients/c{number}/.updoser"
            kept.mkdir(mode=0o700, parents=True)
            (kept / "script").write_bytes(client_script())
        yield made


def parts(folder: Path) -> list[bytes]:
    """Give what a relay has of releases, the smallest first."""
    found = [path.read_bytes() for path in (folder / "relay").iterdir() if path.is_file()]
    return sorted((content for content in found if content != client_script()), key=len)


def whole(fleet: Fleet, clients: int = 5, content: bytes = LARGE) -> bool:
    wanted = {"rules.txt": content, "small.txt": b"small"}
    return all(fleet.current(f"c{number}", "rules") == wanted for number in range(1, clients + 1))


def again(fleet: Fleet) -> None:
    """Apply once more: that changes nothing, and sends nothing."""
    before = fleet.listing()
    done = fleet.apply()
    assert done.code == 0, done.err
    assert NOTHING in done.out
    assert fleet.listing() == before


def remarks(fleet: Fleet) -> list[str]:
    with closing(sqlite3.connect(fleet.folder / "state.db")) as connection:
        return [text for (text,) in connection.execute("SELECT message FROM journal WHERE outcome = 'remark'")]


def test_bytes_go_to_the_relay_once_and_each_client_fetches_them_there(tmp_path: Path) -> None:
    with site(tmp_path) as fleet:
        report = fleet.apply("--format", "json").json
        assert report["recap"]["all"]["changed"] == 5
        assert report["bytes_sent"] == 5 * len(b"small")
        assert whole(fleet)
        assert len([line for line in requests(tmp_path / "nginx") if '" 200 ' in line]) == 5 + 1  # one is a probe
        filled = size_text(len(LARGE) + len(client_script()))
        assert remarks(fleet) == [f"relay lyon: 5 clients fetched 976.6 KiB, and {filled} were sent to fill it"]
        asked = len(requests(tmp_path / "nginx"))
        again(fleet)
        assert len(requests(tmp_path / "nginx")) == asked


def test_clients_that_never_had_anything_get_the_script_from_the_relay_too(tmp_path: Path) -> None:
    with site(tmp_path) as fleet:
        for number in range(1, 6):
            (tmp_path / f"clients/c{number}/.updoser/script").unlink()
        assert fleet.apply("--format", "json").json["recap"]["all"]["changed"] == 5
        assert whole(fleet)
        asked = [line for line in requests(tmp_path / "nginx") if '" 200 ' in line]
        assert len([line for line in asked if script_digest() in line]) >= 5
        assert len(asked) == 5 * 2 + 1  # one is a probe
        again(fleet)


def test_a_run_serves_by_itself_and_ends_that_with_itself(tmp_path: Path) -> None:
    port = free_port()
    with site(tmp_path, serve={"http": port}) as fleet:
        done = fleet.apply("--format", "json")
        assert done.json["bytes_sent"] == 5 * len(b"small"), done.err
        assert whole(fleet)
        assert sorted(path.name for path in (tmp_path / "relay/.updoser").iterdir()) == []
        again(fleet)


def test_only_incrementals_go_to_a_relay_whose_clients_need_no_more_and_old_parts_go(tmp_path: Path) -> None:
    with site(tmp_path, limit={"disk": f"{250_000 + len(client_script())}B"}) as fleet:
        listed: Any = CATALOG["components"]
        duplicated = {**CATALOG, "components": [{**one, "duplicate": True} for one in listed]}
        (tmp_path / "catalog.yaml").write_text(yaml.safe_dump(duplicated))
        fleet.apply()
        newer = LARGE[:1000] + os.urandom(9_000) + LARGE[1000:]
        fleet.release("rules", "2", rules_txt=newer, small_txt=b"small")
        report = fleet.apply("--format", "json").json
        assert whole(fleet, content=newer)
        assert report["bytes_sent"] < 5 * 1000
        patch, full = parts(tmp_path)
        assert len(patch) < 20_000, "the full is of the release before, for which there is room"
        assert full == LARGE
        fleet.release("rules", "3", rules_txt=os.urandom(245_000), small_txt=b"small")
        fleet.apply()
        assert [len(content) for content in parts(tmp_path)] == [245_000]


@pytest.mark.parametrize("way", ["wrong", "short", "missing", "endless", "moved"])
def test_clients_of_an_evil_relay_get_their_bytes_directly(tmp_path: Path, way: str) -> None:
    with relay_server() as server, site(tmp_path, serve={"url": server.url(way)}) as fleet:
        server.give(LARGE, client_script())
        done = fleet.apply("--format", "json")
        assert done.code == 0, done.err
        assert done.json["bytes_sent"] == 5 * (len(LARGE) + len(b"small"))
        assert whole(fleet)
        assert "relay lyon isn't filled" in done.err  # it was found out before any client asked
        again(fleet)


@pytest.mark.parametrize("way", ["wrong", "short", "cut"])
@pytest.mark.parametrize("good", [1, 3])
def test_a_relay_that_turns_bad_in_the_middle_costs_its_clients_nothing(tmp_path: Path, way: str, good: int) -> None:
    with relay_server() as server, site(tmp_path, serve={"url": server.url("turning")}) as fleet:
        server.good, server.then = good, way
        server.give(LARGE, client_script())
        report = fleet.apply("--format", "json", "--forks", "1").json
        assert whole(fleet)
        assert report["recap"]["all"]["failed"] == 0
        if way != "cut":  # what was cut is gone on with
            evil = 6 - good  # the first who asks is the relay, to see whether it is served
            assert report["bytes_sent"] == evil * len(LARGE) + (5 + min(evil, 3)) * len(b"small")
            assert f"{evil} clients got theirs directly" in remarks(fleet)[0]
        again(fleet)


def test_a_relay_that_gives_nothing_is_asked_by_three_clients_and_no_more(tmp_path: Path) -> None:
    with relay_server() as server, site(tmp_path, 6, serve={"url": server.url("turning")}) as fleet:
        server.give(LARGE, client_script())
        done = fleet.apply("--forks", "1")
        assert whole(fleet, 6)
        assert "relay lyon isn't asked any more" in done.err
        assert len(server.asked) == 1 + 3


def test_the_standby_gives_what_the_host_does_not(tmp_path: Path) -> None:
    with site(tmp_path, standby=["localhost"]) as fleet:
        port = fleet.spec["relays"]["lyon"]["serve"]["url"].rpartition(":")[2]
        fleet.spec["relays"]["lyon"]["host"] = "127.0.0.9"  # nobody serves there
        fleet.write(relays={"lyon": {**fleet.spec["relays"]["lyon"], "serve": {"url": f"http://{{host}}:{port}"}}})
        done = fleet.apply("--format", "json")
        assert done.json["bytes_sent"] == 5 * len(b"small"), done.err
        assert "relay lyon isn't filled: 127.0.0.9" in done.err
        assert whole(fleet)


def test_clients_that_are_to_wait_keep_what_they_have_and_get_it_later(tmp_path: Path) -> None:
    with site(tmp_path, then="wait") as fleet:
        url = fleet.spec["relays"]["lyon"]["serve"]["url"]
        fleet.release("engine", "1.0.0", engine_bin=b"small one")
        fleet.spec["relays"]["lyon"]["serve"] = {"url": f"http://127.0.0.1:{free_port()}"}
        fleet.write()
        done = fleet.apply("--format", "json", "--forks", "1")
        assert done.code == 3
        assert done.json["bytes_sent"] == 5 * len(b"small one")
        assert {entry["message"].partition(":")[0] for entry in done.json["failed"]} == {"relay lyon doesn't give it"}
        assert fleet.current("c1", "rules") == {}
        assert fleet.current("c1", "engine") == {"engine.bin": b"small one"}
        fleet.spec["relays"]["lyon"]["serve"] = {"url": url}
        fleet.write()
        assert fleet.apply().code == 0
        assert whole(fleet)
        again(fleet)


def test_a_disk_that_is_too_small_is_told_and_the_bytes_go_directly(tmp_path: Path) -> None:
    with site(tmp_path, limit={"disk": "100KB"}) as fleet:
        done = fleet.apply("--format", "json")
        assert done.code == 1, "it isn't as the spec declares it"
        assert done.json["bytes_sent"] == 5 * (len(LARGE) + 5)
        assert "its limit is 97.7 KiB" in done.err
        assert whole(fleet)


def test_a_stale_part_on_a_relay_is_found_at_the_next_filling(tmp_path: Path) -> None:
    with site(tmp_path) as fleet:
        fleet.apply("--limit", "c1")
        (part,) = (
            path for path in (tmp_path / "relay").iterdir() if path.is_file() and path.stat().st_size == len(LARGE)
        )
        part.write_bytes(LARGE[:-1] + b"x")
        report = fleet.apply("--format", "json").json
        assert report["bytes_sent"] == 4 * len(b"small")
        assert part.read_bytes() == LARGE
        assert whole(fleet)


def test_clients_beyond_the_limit_get_their_bytes_directly(tmp_path: Path) -> None:
    with site(tmp_path, limit={"clients": 3}) as fleet:
        report = fleet.apply("--format", "json").json
        assert whole(fleet)
        assert report["bytes_sent"] == 2 * len(LARGE) + 5 * len(b"small")
        assert "3 clients fetched" in remarks(fleet)[0]
        assert "2 clients got theirs directly" in remarks(fleet)[0]


def test_settings_never_lie_on_a_relay(tmp_path: Path) -> None:
    with site(tmp_path) as fleet:
        secret = "s3cret" * 2000
        (tmp_path / "agent.j2").write_text(secret + "{{ name }}")
        target = tmp_path / "etc"
        target.mkdir()
        group = {
            **fleet.spec["groups"]["all"],
            "settings": [{"template": "agent.j2", "path": str(target / "agent.conf")}],
        }
        group["clients"] = group["clients"][:1]
        fleet.write(groups={"all": group})
        assert fleet.apply().code == 0
        assert (target / "agent.conf").read_text() == secret + "c1"
        assert secret.encode() not in b"".join(
            path.read_bytes() for path in (tmp_path / "relay").iterdir() if path.is_file()
        )


def test_clients_without_a_relay_do_not_wait_for_one_that_is_filled_slowly(tmp_path: Path) -> None:
    with site(tmp_path, limit={"rate": "100KB"}) as fleet:
        behind = fleet.spec["groups"]["all"]
        other = {**behind, "clients": [{"name": "d1", "install_root": "clients/d1"}]}
        fleet.write(groups={"all": behind, "other": other})
        events = tmp_path / "events"
        assert fleet.apply("--events", str(events)).code == 0
        told = [json.loads(line) for line in events.read_text().splitlines()]
        ends = [one.get("client") or one["type"] for one in told if one["type"] in {"client_finished", "relay_filled"}]
        assert ends[:2] == ["d1", "relay_filled"]
        assert whole(fleet)
        assert fleet.current("d1", "rules")["rules.txt"] == LARGE


# --- the doctor -------------------------------------------------------------------------------------------------------


def relay_checks(fleet: Fleet, *names: str) -> list[tuple[str, str, str, str]]:
    """Give what the doctor says of relays: of what, how bad, what was found, and what to do."""
    checks = fleet.run("doctor", "--format", "json", *names).json["checks"]
    relays = [check for check in checks if check["what"].startswith("relay ")]
    return [(check["what"], check["level"], check["finding"], check.get("fix") or "") for check in relays]


def test_the_doctor_finds_a_relay_well_and_changes_nothing_there(tmp_path: Path) -> None:
    port = free_port()
    with site(tmp_path, serve={"http": port}) as fleet:
        url = f"http://127.0.0.1:{port}"
        host, empty, way = relay_checks(fleet)
        assert (host[0], empty[0]) == ("relay lyon (127.0.0.1)", f"relay lyon at {url}")
        assert empty[1:3] == ("ok", "nothing lies there yet that could be fetched")
        assert way[:2] == ("relay lyon (127.0.0.1) from c1", "ok")
        assert way[2] == f"c1 gets to {url}, and no part lies there yet for a try"
        assert list((tmp_path / "relay").iterdir()) == []
        fleet.apply()
        there = sorted((tmp_path / "relay").rglob("*"))
        room, served, way = relay_checks(fleet, "c2")
        assert room[2].startswith("it has 2 parts, ")
        assert served[1:3] == ("ok", "it gives its parts, as far as the machine itself can tell")
        assert way[:3] == ("relay lyon (127.0.0.1) from c2", "ok", f"c2 gets its parts from {url}")
        assert sorted((tmp_path / "relay").rglob("*")) == there


@pytest.mark.parametrize(
    ("changes", "finding", "fix"),
    [
        ({"store": "/etc/passwd/relay"}, "/etc/passwd", ""),
        ({"serve": {"url": "http://127.0.0.1:1"}}, "http://127.0.0.1:1/", "leads to "),
        (
            {"serve": {"http": 1}, "host": "192.0.2.1"},
            "nobody can listen on 192.0.2.1:1",
            "is an address of that machine",
        ),
        ({"limit": {"disk": "9999TB"}}, "may take ", "lower `limit.disk`"),
    ],
)
def test_the_doctor_says_what_is_wrong_with_a_relay_and_what_to_do(
    tmp_path: Path, changes: Any, finding: str, fix: str
) -> None:
    with site(tmp_path) as fleet:
        fleet.apply()
        fleet.write(relays={"lyon": {**fleet.spec["relays"]["lyon"], **changes}})
        bad = [check for check in relay_checks(fleet) if check[1] != "ok"]
        assert [check for check in bad if finding in check[2] and fix in check[3]], bad


def test_the_doctor_looks_only_at_relays_of_the_clients_that_are_named(tmp_path: Path) -> None:
    with site(tmp_path, serves="c2") as fleet:
        assert relay_checks(fleet, "c1") == []
        assert len(relay_checks(fleet, "c2")) == 3


@pytest.mark.parametrize(
    ("way", "finding", "fix"),
    [
        ("wrong", "/wrong/{part}: other bytes than announced", "see what else has that port, or stands in between"),
        ("missing", "/missing/{part}: curl: (22) The requested URL returned error: 404", "leads to {store} there"),
        ("moved", "/moved/{part}: ", ""),
        ("endless", "/endless/{part}: ", ""),
    ],
)
@pytest.mark.needs("curl")
def test_the_doctor_says_what_a_client_got_from_a_relay_that_is_broken_or_evil(
    tmp_path: Path, way: str, finding: str, fix: str
) -> None:
    with site(tmp_path) as fleet, relay_server() as server:
        fleet.apply()
        server.give(client_script())
        fleet.write(relays={"lyon": {**fleet.spec["relays"]["lyon"], "serve": {"url": server.url(way)}}})
        before = fleet.listing()
        check = relay_checks(fleet)[-1]
        places = {"part": script_digest(), "store": str(tmp_path / "relay")}
        assert check[:2] == ("relay lyon (127.0.0.1) from c1", "fail")
        assert check[2].startswith(f"c1 gets nothing there, and gets its bytes over SSH: {server.url('')[:-1]}")
        assert finding.format(**places) in check[2]
        assert fix.format(**places) in check[3]
        assert fleet.listing().keys() == before.keys()


def test_the_doctor_says_that_no_client_could_be_asked(tmp_path: Path) -> None:
    with site(tmp_path, serves="nobody") as fleet:
        assert relay_checks(fleet)[-1][1:3] == ("warn", "no client may fetch from it")
