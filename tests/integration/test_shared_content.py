"""Two servers with one state and one place of content: what one downloaded, the other sends to clients."""

from __future__ import annotations

import hashlib
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.bucket import bucket_server
from tests.fleet import Fleet
from tests.tufrepo import Vendor

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack
    from pathlib import Path

FILES = {"all_rules": b"alert tcp any any\n" * 2000, "b": b""}
CURRENT = {"all.rules": FILES["all_rules"], "b": b""}
SECRETS = {"KEY_ID": "the-id-of-it", "KEY": "the+key/of-it"}


def a_folder(tmp_path: Path, _stack: ExitStack) -> dict[str, Any]:
    (tmp_path / "share").mkdir()
    return {"type": "folder", "path": str(tmp_path / "share")}


def a_bucket(tmp_path: Path, stack: ExitStack) -> dict[str, Any]:
    url = stack.enter_context(bucket_server(tmp_path / "moto", "updoser"))
    keys = {"access_key": {"env": "KEY_ID"}, "secret_key": {"env": "KEY"}}
    return {"type": "s3", "bucket": "updoser", "endpoint": url, **keys}


class Server(Fleet):
    """One of several servers: its spec, its clients and its source are those of the others, its store is its own."""

    def __init__(self, folder: Path, spec: dict[str, Any]) -> None:
        folder.mkdir()
        self.folder = folder
        self.spec = spec
        shutil.copy(folder.parent / "catalog.yaml", folder)
        self.write()

    def run(self, *arguments: str, **environment: str) -> Any:
        return super().run(*arguments, **SECRETS, **environment)


@pytest.fixture(params=[a_folder, a_bucket], ids=["folder", "s3"])
def servers(
    request: pytest.FixtureRequest, tmp_path: Path, state_url: str, stack: ExitStack
) -> Callable[..., list[Server]]:
    content = request.param(tmp_path, stack)

    def make(*names: str, **more: Any) -> list[Server]:
        first = Fleet(tmp_path, clients=3)
        group = first.spec["groups"]["all"]
        group["install_root"] = str(tmp_path / "clients")
        group["clients"] = [{"name": f"c{n}", "install_root": str(tmp_path / f"clients/c{n}")} for n in range(1, 4)]
        spec = {
            **first.spec,
            "components": {"*": {}, "rules": {"duplicate": True}},
            "server": {"store": "store", "state": state_url, "content": {**content, **more}},
            "sources": [{"name": "drop", "type": "directory", "path": str(tmp_path / "upstream"), "settle": "0s"}],
        }
        return [Server(tmp_path / name, dict(spec)) for name in names]

    return make


def release(tmp_path: Path, version: str, **files: bytes) -> None:
    folder = tmp_path / "upstream/rules" / version
    folder.mkdir(parents=True)
    for name, content in (files or FILES).items():
        (folder / name.replace("_", ".")).write_bytes(content)


def current(tmp_path: Path, client: str) -> dict[str, bytes]:
    folder = tmp_path / "clients" / client / "rules/current"
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())} if folder.exists() else {}


def test_a_plan_of_one_server_is_carried_out_by_another_that_never_saw_the_content(
    tmp_path: Path, servers: Callable[..., list[Server]]
) -> None:
    one, other = servers("one", "other")
    release(tmp_path, "1")
    assert one.apply("--limit", "c1").code == 0
    shutil.rmtree(tmp_path / "upstream/rules")  # no source has it any more
    assert one.run("plan", "--out", str(tmp_path / "plan.json")).code == 0
    done = other.apply(str(tmp_path / "plan.json"))
    assert done.code == 0, done.err
    assert [current(tmp_path, f"c{n}") for n in (1, 2, 3)] == [CURRENT] * 3
    for server in (one, other):
        assert server.run("plan", "--detailed-exitcode").code == 0
    assert not (other.folder / "store/releases").exists()


def test_incrementals_that_one_server_made_are_sent_by_another(
    tmp_path: Path, servers: Callable[..., list[Server]]
) -> None:
    one, other = servers("one", "other", cache="1KiB")  # less than anything has
    rules = hashlib.shake_128(b"rules").digest(60_000)
    release(tmp_path, "1", all_rules=rules)
    assert one.apply().code == 0
    release(tmp_path, "2", all_rules=rules + b"more")
    assert one.apply("--limit", "c1").code == 0
    shutil.rmtree(tmp_path / "upstream/rules")
    done = other.run("apply", "--auto-approve", "--format", "json")
    assert done.code == 0, done.err
    assert done.json["bytes_saved"] > 100_000
    assert [current(tmp_path, f"c{n}")["all.rules"] for n in (1, 2, 3)] == [rules + b"more"] * 3


def test_a_plan_for_others_to_read_does_not_connect_to_the_place(
    tmp_path: Path, servers: Callable[..., list[Server]]
) -> None:
    (one,) = servers("one")
    release(tmp_path, "1")
    assert one.apply().code == 0
    done = one.run("plan", "--no-exec")
    if one.spec["server"]["content"]["type"] == "s3":
        assert "the store's content isn't looked at, as it connects to hosts; it is taken to be there" in done.out
    assert done.code == 0
    assert "damaged" not in done.out


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_store_that_has_releases_is_shared_by_naming_a_place(
    tmp_path: Path, servers: Callable[..., list[Server]]
) -> None:
    one, other = servers("one", "other")
    shared = one.spec["server"]
    one.write(server={"store": "store", "state": shared["state"]})
    release(tmp_path, "1")
    assert one.apply("--limit", "c1").code == 0
    shutil.rmtree(tmp_path / "upstream/rules")
    one.write(server=shared)
    assert one.apply("--limit", "c1,c2").code == 0
    done = other.apply()
    assert done.code == 0, done.err
    assert [current(tmp_path, f"c{n}") for n in (1, 2, 3)] == [CURRENT] * 3
    assert not list((one.folder / "store/releases").glob("*/*"))


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_place_that_is_away_ends_a_plan_with_where_it_is(
    tmp_path: Path, servers: Callable[..., list[Server]]
) -> None:
    (one,) = servers("one")
    content = one.spec["server"]["content"]
    wrong = {"endpoint": "http://127.0.0.1:9"} if content["type"] == "s3" else {"path": str(tmp_path / "away")}
    one.write(server={**one.spec["server"], "content": {**content, **wrong, "cache": "1GiB"}})
    done = one.run("plan")
    assert done.code == 1
    assert ("127.0.0.1:9: Connection refused" in done.err) or ("away isn't there" in done.err)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_options_of_a_place_are_checked_like_all_others(tmp_path: Path, servers: Callable[..., list[Server]]) -> None:
    (one,) = servers("one")
    for wrong, said in (
        ({"type": "s4"}, "there is no content plugin `s4`"),
        ({"type": "folder", "path": "a", "buckett": 1}, "buckett"),
        ({"type": "folder", "path": "a", "cache": "20 gigs"}, "a size such as 20GiB"),
        ({"type": "folder", "path": "a", "cache": "0B"}, "the cache has no room"),
        ({"type": "folder"}, "path"),
        ({"type": "http", "url": "https://a.example", "proxy": "egress"}, "the proxy `egress` isn't defined"),
    ):
        one.write(server={**one.spec["server"], "content": wrong})
        done = one.run("validate")
        assert (done.code, said in done.err) == (65, True), done.err


def test_another_controller_of_the_state_is_not_rolled_back(tmp_path: Path, state_url: str) -> None:
    """What one verified of a signed repository holds for one that never read it, on another machine."""
    fleet = Fleet(tmp_path)
    vendor = Vendor(tmp_path / "repo", datetime.now(UTC))
    vendor.add("rules", "1", {"all.rules": b"one" * 100})
    vendor.sign()
    shutil.copy(vendor.metadata / "1.root.json", tmp_path / "root.json")
    shutil.copytree(tmp_path / "repo", tmp_path / "older")
    vendor.add("rules", "2", {"all.rules": b"two" * 100})
    vendor.sign()
    source = {"name": "vendor", "type": "tuf", "url": (tmp_path / "repo").as_uri()}
    spec = {
        **fleet.spec,
        "server": {"store": "store", "state": state_url},
        "sources": [{**source, "trusted_root": str(tmp_path / "root.json")}],
    }
    one, other = (Server(tmp_path / name, dict(spec)) for name in ("one", "other"))
    assert "rules  2" in one.run("plan").out
    shutil.rmtree(tmp_path / "repo")
    (tmp_path / "older").rename(tmp_path / "repo")  # an attacker, or a mirror that lags behind
    said = other.run("plan", "--format", "json").json["problems"]
    assert any("is older than before, at a second look too" in problem for problem in said), said
