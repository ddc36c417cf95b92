"""Bits that turn over in the store: whose fault that is, and what becomes of the clients that were to get them."""

import hashlib
import os
from typing import Any

import pytest

from reconciler.errors import StoreError
from reconciler.model.client import Client
from reconciler.model.policy import Wave
from reconciler.storage.store import Store
from tests.fakes import FakeClient, describe
from tests.unit.workbench import COMPONENT, Bench, Opened


def rot(path: Any) -> None:
    """Turn a bit over as a disk does: size, times and inode stay as they were."""
    before = path.stat()
    with path.open("r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(bytes([first[0] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def place(bench: Bench, content: Any) -> Any:
    return bench.folder / "store/content" / content.sha256[:2] / content.sha256


def rotten(bench: Bench, version: str) -> None:
    """Let a file of a release rot."""
    rot(place(bench, describe("data", f"content {version}".encode())))


def join(bench: Bench, *names: Any) -> None:
    """Let new clients appear."""
    (group,) = bench.spec.groups.values()
    for name in names:
        bench.machines[name] = FakeClient()
        bench.spec.groups[group.name] = group = type(group)(
            group.name, group.transport, "/r", clients=(*group.clients, Client(name, group.name)), local=True
        )


def test_a_new_client_gets_a_release_that_rotted_in_the_store_since_it_is_fetched_again(opened: Opened) -> None:
    bench = opened(["a"])
    rotten(bench, "1")
    join(bench, "new")
    report = bench.apply()
    assert bench.versions == {"a": "1", "new": "1"}
    assert (report.failed, report.downloaded) == ((), 1)
    assert any("fetching it again" in message for message in bench.events("warning"))
    assert bench.failures("1") == {}


def test_where_nobody_offers_what_rotted_its_clients_stay_and_none_is_blamed(opened: Opened) -> None:
    bench = opened(["a"])
    bench.policy(waves=(Wave(share=1.0),), on_failure="rollback")
    rotten(bench, "1")
    join(bench, "new")
    plan = bench.plan()
    bench.source.lost.add("data")
    report = bench.apply(plan=plan)
    assert bench.versions == {"a": "1", "new": ""}
    assert bench.asked == {}, "nobody is sent what is damaged"
    (failure,) = report.failed
    assert (failure.client, failure.component) == ("", COMPONENT)
    assert "has other bytes than its name says" in failure.message
    assert "source drop: " in failure.message
    assert bench.failures("1") == {}
    bench.source.lost.clear()
    bench.apply()
    assert bench.versions["new"] == "1"


def test_what_rotted_is_fetched_by_the_next_plan_without_a_word_from_anybody(opened: Opened) -> None:
    bench = opened(["a"])
    rotten(bench, "1")
    join(bench, "new")
    plan = bench.plan()
    bench.source.lost.add("data")
    bench.apply(plan=plan)
    bench.source.lost.clear()
    assert [change.to for change in bench.plan().downloads] == ["1"]


@pytest.fixture
def patching(opened: Opened) -> Any:
    """Give a bench whose store has a patch for one client that was away when it was made, and that patch."""
    bench = opened(["a", "late"])
    bench.component(duplicate=True)
    for machine in bench.machines.values():
        machine.tools = (*machine.tools, "zstd")
    first = hashlib.shake_128(b"2").digest(200_000)
    for version, content in {"2": first, "3": first[:-10] + b"other ones"}.items():
        bench.source.add(COMPONENT, version, {"data": content})
        bench.apply()
        bench.machines["late"].unreachable = version == "2"
    (entry,) = [one for one in Store(bench.folder / "store").inspect().incrementals if one.name.startswith("2..3")]
    bench.machines["late"].unreachable = False
    return bench, entry.patches[0]


def test_a_patch_that_rotted_is_not_sent_and_clients_get_the_full(patching: Any) -> None:
    bench, patch = patching
    rot(place(bench, patch))
    report = bench.apply()
    assert (bench.versions["late"], report.failed) == ("3", ())
    (step,) = bench.machines["late"].requests[-1].steps
    assert step.patched == {}
    assert any("clients get the full" in message for message in bench.events("warning"))


def test_a_patch_that_is_whole_is_sent(patching: Any) -> None:
    bench, _patch = patching
    bench.apply()
    (step,) = bench.machines["late"].requests[-1].steps
    assert set(step.patched) == {"data"}


def test_nothing_is_made_of_a_release_that_rotted(patching: Any) -> None:
    bench, _patch = patching
    rot(place(bench, describe("data", hashlib.shake_128(b"2").digest(200_000))))
    bench.source.add(COMPONENT, "4", {"data": hashlib.shake_128(b"2").digest(200_000) + b"4"})
    report = bench.apply()
    assert bench.running("4") == {"a", "late"}
    assert [failure.message for failure in report.failed if "from 2" in failure.message] != []
    assert not [one for one in Store(bench.folder / "store").inspect().incrementals if one.name.startswith("2..4")]


def opened_content(store: Any, sha256: Any) -> Any:
    with store.open(sha256) as stream:
        return stream.read()


@pytest.mark.parametrize("take", ["open", "local", "check"])
def test_what_rotted_cannot_be_taken_out_of_the_store_and_is_not_held_any_more(opened: Opened, take: Any) -> None:
    bench = opened(["a"])
    rotten(bench, "1")
    store = Store(bench.folder / "store")
    (release,) = store.inspect().releases
    data = next(file for file in release.files if file.name == "data")
    ways = {
        "open": lambda: opened_content(store, data.sha256),
        "local": lambda: store.local(data.sha256).__enter__(),
        "check": lambda: store.check(release.files),
    }
    with pytest.raises(StoreError, match="other bytes than its name says"):
        ways[take]()  # type: ignore[no-untyped-call]
    found = store.inspect()
    assert found.releases == ()
    assert "is damaged" in found.problems[0]
    assert store.lacking(release) == (data,)


def test_the_content_of_the_store_is_hashed_once_by_a_process(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = opened(["a"])
    store = Store(bench.folder / "store")
    (release,) = store.inspect().releases
    store.check(release.files)
    monkeypatch.setattr("hashlib.file_digest", lambda *_args: pytest.fail("it is hashed again"))
    store.check(release.files)
