"""Component duplication through the command line: what is downloaded, made and sent, and what happens when it fails."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.draw import draw_of, rounds
from tests.fleet import Fleet
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.fleet import Done

pytestmark = pytest.mark.needs("zstd", "bspatch")

NOTHING = "Plan: 0 downloads (0 B), 0 changes on 0 of 3 clients (0 B)"


def records(version: int, count: int = 4000) -> bytes:
    """Give sorted records of 32 bytes: of each version to the next a few come and a few go."""
    kept = {hashlib.sha256(b"%d" % number).digest() for number in range(version * 7, version * 7 + count)}
    return b"".join(sorted(kept))


CONTENT = {version: records(version) for version in range(1, 12)}


def fleet_in(folder: Path) -> Fleet:
    return Fleet(folder, components={"*": {}, "rules": {"duplicate": True}})


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return fleet_in(tmp_path)


def release(fleet: Fleet, version: int, *, before: Sequence[int] = (), codec: str = "zstd") -> Done:
    """Put a release into the source, and incrementals to it."""
    folder = fleet.folder / "build"
    folder.mkdir(exist_ok=True)
    (folder / f"lpt.{version}").write_bytes(CONTENT[version])
    (folder / "same").write_bytes(b"the same in all" * 100)
    extra = [word for start in before for word in ("--incremental-from", str(start))]
    files = [str(folder / f"lpt.{version}"), str(folder / "same")]
    done = fleet.run("release", "add", "rules", str(version), *files, "--to", "upstream", *extra, "--codec", codec)
    assert done.code == 0, done.err
    return done


def applied(fleet: Fleet, *arguments: str) -> dict[str, Any]:
    """Apply, and once more: the second one changes nothing."""
    done = fleet.apply("--format", "json", *arguments)
    assert done.code == 0, done.err
    before = fleet.listing()
    again = fleet.apply()
    assert NOTHING in again.out
    assert "No changes" in again.out
    assert fleet.listing() == before
    report: dict[str, Any] = done.json
    return report


@pytest.fixture(scope="module")
def first_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of a fleet that has applied release 1 twice; tests get copies of it."""
    made = fleet_in(tmp_path_factory.mktemp("first"))
    release(made, 1)
    applied(made)
    return made.folder


@pytest.fixture
def on_first(fleet: Fleet, first_release: Path) -> None:
    """Have the fleet of the test stand where all clients have release 1."""
    shutil.copytree(first_release, fleet.folder, symlinks=True, dirs_exist_ok=True)


def runs_version(fleet: Fleet, version: int, clients: Sequence[str] = ("c1", "c2", "c3")) -> bool:
    expected = {f"lpt.{version}": CONTENT[version], "same": b"the same in all" * 100}
    return all(fleet.current(client, "rules") == expected for client in clients)


def stored(fleet: Fleet) -> set[Path]:
    """Give the bytes of all files in the store, apart from the folder of work."""
    paths = (fleet.folder / "store").rglob("*")
    return {path for path in paths if path.is_file() and "work" not in path.parts}


@pytest.mark.usefixtures("on_first")
def test_clients_follow_every_release_by_incrementals(fleet: Fleet) -> None:
    for version in range(2, 6):
        release(fleet, version)
        report = applied(fleet)
        assert runs_version(fleet, version)
        assert report["bytes_sent"] < 3 * len(CONTENT[version]) / 50
        assert report["bytes_saved"] > 3 * len(CONTENT[version]) * 0.9
        assert (report["fallbacks"], report["recap"]["all"]["changed"]) == (0, 3)
    assert all((fleet.root("c1") / f"rules/{n}/same").read_text() == "the same in all" * 100 for n in (4, 5))


@pytest.mark.usefixtures("on_first")
def test_the_plan_and_the_history_say_what_is_saved(fleet: Fleet) -> None:
    release(fleet, 2)
    plan = fleet.run("plan").out
    assert "incremental 1 -> 2, about " in plan
    assert "instead of 125.0 KiB" in plan or "instead of 126.5 KiB" in plan
    assert "Saved against fulls: " in plan
    applied(fleet)
    assert " saved)" in fleet.run("status", "--no-refresh").out
    traffic = fleet.run("status", "--no-refresh", "--format", "json").json["traffic"]
    runs = fleet.run("history", "--format", "json").json
    assert traffic["saved"] == sum(run["traffic"]["saved"] for run in runs) > 3 * len(CONTENT[2]) * 0.9


@pytest.mark.usefixtures("on_first")
def test_an_incremental_between_fulls_that_are_held_is_estimated_by_what_is_in_them(fleet: Fleet) -> None:
    fleet.release("rules", "2", lpt_2=CONTENT[1][:80_000] + random.Random(1).randbytes(40_000))
    fleet.write(duplication={"enabled": False})
    assert fleet.apply("--limit", "c1").code == 0
    fleet.write(duplication={})

    def planned() -> dict[str, Any]:
        (change,) = (entry for entry in fleet.run("plan", "--format", "json").json["changes"] if "codec" in entry)
        return dict(change)

    told = planned()
    fleet.apply()
    (made,) = (fleet.folder / "store/incrementals/rules/1..2").iterdir()
    real = sum(entry["size"] for entry in json.loads(made.read_text())["patches"])
    assert real > 30_000
    assert real / 1.5 < told["bytes"] < real * 1.5


@pytest.mark.usefixtures("on_first")
def test_what_would_take_more_memory_than_the_spec_allows_isnt_made_and_the_plan_says_so(fleet: Fleet) -> None:
    fleet.write(duplication={"memory": "64MiB"})
    release(fleet, 2)
    plan = fleet.run("plan").out
    for codec in ("zstd", "bsdiff"):
        assert f"rules 2: making it with {codec} would take 65 MiB of memory, and the server may use 64 MiB" in plan
    report = applied(fleet)
    assert runs_version(fleet, 2)
    assert report["bytes_sent"] > 2 * len(CONTENT[2])
    fleet.write(duplication={"memory": "1MiB"})
    wrong = fleet.run("validate")
    assert wrong.code != 0
    assert "with so little memory no incremental is made" in wrong.err + wrong.out


@pytest.mark.usefixtures("on_first")
def test_an_incremental_of_the_vendor_is_downloaded_and_merged_in_place_of_the_full(fleet: Fleet) -> None:
    release(fleet, 3, before=[1])
    plan = fleet.run("plan").out
    assert "Merge in the store" in plan
    report = applied(fleet)
    assert runs_version(fleet, 3)
    assert (report["merged"], report["fallbacks"]) == (1, 0)
    assert report["bytes_received"] < len(CONTENT[3]) / 20
    assert report["bytes_not_received"] > len(CONTENT[3]) * 0.9


@pytest.mark.usefixtures("on_first")
def test_a_chain_of_single_steps_is_merged_and_brings_clients_along(fleet: Fleet) -> None:
    release(fleet, 2, before=[1])
    release(fleet, 3, before=[2])
    release(fleet, 4, before=[3])
    report = applied(fleet)
    assert (report["merged"], report["fallbacks"]) == (1, 0)
    assert report["bytes_received"] < len(CONTENT[4]) / 10
    assert runs_version(fleet, 4)


def tampered(fleet: Fleet, name: str) -> None:
    """Make a vendor's incremental that is whole and makes the wrong bytes."""
    wrong = Fleet.__new__(Fleet)
    folder = fleet.folder / "wrong"
    (folder / "build").mkdir(parents=True)
    object.__setattr__(wrong, "folder", folder)
    (folder / "upstream").mkdir()
    original = CONTENT[1]
    CONTENT[1] = CONTENT[1][1000:] + CONTENT[1][:1000]
    try:
        release(wrong, 1)
    finally:
        CONTENT[1] = original
    release(wrong, 2, before=[1])
    made = wrong.folder / "upstream/rules/incrementals/1..2"
    text = (made / "incremental.json").read_text()
    listed = fleet.folder / "upstream/rules/incrementals" / name
    there = (listed / "incremental.json").read_text()
    start = there.index('"digest": "') + 11
    mine = text.index('"digest": "') + 11
    (made / "incremental.json").write_text(text[:mine] + there[start : start + 64] + text[mine + 64 :])
    shutil.rmtree(listed)
    shutil.copytree(made, listed)


@pytest.mark.usefixtures("on_first")
def test_an_incremental_that_makes_other_bytes_is_thrown_away_and_the_full_is_fetched(fleet: Fleet) -> None:
    release(fleet, 2, before=[1])
    tampered(fleet, "1..2")
    done = fleet.apply()
    assert done.code == 0, done.err
    assert "the merge failed, the full is downloaded" in done.err
    assert "1 full in place of incrementals that failed" in done.out
    assert runs_version(fleet, 2)
    assert fleet.apply().code == 0
    assert "No changes" in fleet.apply().out


@pytest.mark.usefixtures("on_first")
def test_a_client_that_can_not_apply_a_patch_gets_the_full_on_the_same_connection(fleet: Fleet) -> None:
    tools = fleet.folder / "tools"
    tools.mkdir()
    (tools / "zstd").write_text(
        f'#!/bin/sh\ncase $1 in -V) exec {shutil.which("zstd")} -V ;; esac\necho "no memory" >&2\nexit 1\n'
    )
    (tools / "zstd").chmod(0o755)
    release(fleet, 2)
    done = fleet.run(
        "apply", "--auto-approve", "--format", "json", "--forks", "1", PATH=f"{tools}:{os.environ['PATH']}"
    )
    assert done.code == 0, done.err
    assert runs_version(fleet, 2)
    assert (done.json["fallbacks"], done.json["recap"]["all"]["changed"]) == (3, 3)
    assert done.json["bytes_sent"] > 3 * len(CONTENT[2])
    assert done.json["bytes_saved"] == 0 or done.json["bytes_saved"] < len(CONTENT[2]) // 10
    assert NOTHING in fleet.apply().out


@pytest.mark.usefixtures("on_first")
def test_a_full_that_the_disk_lost_is_merged_again(fleet: Fleet) -> None:
    release(fleet, 2, before=[1])
    applied(fleet)
    digest = hashlib.sha256(CONTENT[2]).hexdigest()
    (lost,) = [path for path in stored(fleet) if digest in str(path).replace("/", "")]
    lost.unlink()
    subprocess.run(["chmod", "-R", "u+w", fleet.root("c1")], check=True)  # versions are read-only
    shutil.rmtree(fleet.root("c1"))
    report = applied(fleet)
    assert (report["merged"], report["bytes_received"]) == (1, 0)
    assert runs_version(fleet, 2)


def test_only_so_many_fulls_and_incrementals_stay(fleet: Fleet) -> None:
    fleet.write(duplication={"keep_fulls": 3, "incrementals": 4})
    for version in range(1, 10):
        release(fleet, version)
        assert fleet.apply().code == 0
    assert runs_version(fleet, 9)
    assert "No changes" in fleet.apply().out
    fulls = [version for version in CONTENT if _is_stored(fleet, version)]
    assert fulls == [7, 8, 9]
    names = {path.name for path in (fleet.folder / "store").rglob("*..9*")}
    assert {name.split("..")[0] for name in names if not name.startswith("..")} <= {"5", "6", "7", "8"}


def _is_stored(fleet: Fleet, version: int) -> bool:
    digest = hashlib.sha256(CONTENT[version]).hexdigest()
    return any(digest in str(path).replace("/", "") for path in stored(fleet))


@pytest.mark.explore
@pytest.mark.usefixtures("on_first")
def test_an_apply_that_is_killed_at_any_moment_loses_nothing(fleet: Fleet) -> None:
    chance, seed = draw_of("killed")
    for version in range(2, min(2 + rounds(3), max(CONTENT))):
        release(fleet, version, before=[version - 1])
        process = fleet.start("apply", "--auto-approve")
        time.sleep(chance.uniform(0.2, 1.2))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for client in ("c1", "c2", "c3"):
            there = fleet.current(client, "rules")
            assert any(there.get(f"lpt.{n}") == CONTENT[n] for n in range(1, version + 1)), f"EXPLORE_SEED={seed}"
        # A script that the killed one started may be at work still.
        until(lambda: fleet.apply().code == 0 and "No changes" in fleet.apply().out)
        assert runs_version(fleet, version)
    assert not list((fleet.folder / "store" / "work").glob("generate-*"))


def test_releases_whose_content_can_not_shrink_go_as_fulls_and_the_plan_says_so(fleet: Fleet) -> None:
    noise = {version: os.urandom(40_000) for version in (1, 2)}
    for version, content in noise.items():
        folder = fleet.folder / "upstream" / "rules" / str(version)
        folder.mkdir(parents=True)
        (folder / "data").write_bytes(content)
        assert fleet.apply().code == 0
        fleet.write(hold=[{"clients": "c3", "reason": "not now"}])
    assert fleet.current("c1", "rules") == {"data": noise[2]}
    fleet.write(hold=[])
    assert "full: delta not smaller" in fleet.run("plan").out


def test_bsdiff_is_used_when_the_spec_says_so(fleet: Fleet) -> None:
    fleet.write(components={"rules": {"duplicate": True, "codec": "bsdiff"}})
    release(fleet, 1)
    applied(fleet)
    release(fleet, 2)
    assert "bsdiff incremental" in fleet.run("plan").out
    report = applied(fleet)
    assert report["bytes_sent"] < 3 * len(CONTENT[2]) / 20
    assert runs_version(fleet, 2)


def test_without_duplication_everything_goes_whole(fleet: Fleet) -> None:
    fleet.write(duplication={"enabled": False})
    release(fleet, 1)
    applied(fleet)
    release(fleet, 2, before=[1])
    report = applied(fleet)
    assert report["bytes_sent"] == 3 * len(CONTENT[2])
    assert runs_version(fleet, 2)


def test_an_incremental_is_added_once_and_one_that_saves_nothing_not_at_all(fleet: Fleet) -> None:
    release(fleet, 1)
    done = release(fleet, 2, before=[1])
    assert "rules/incrementals/1..2" in done.out
    assert release(fleet, 2, before=[1]).out == done.out
    (fleet.folder / "noise").write_bytes(os.urandom(5000))
    add = ("release", "add", "rules", "3", "noise", "--to", "upstream")
    done = fleet.run(*add, "--incremental-from", "1")
    assert (done.code, "delta not smaller" in done.err) == (0, True)
    assert not (fleet.folder / "upstream/rules/incrementals/1..3").exists()
    assert not list((fleet.folder / "upstream").rglob(".*"))
    assert fleet.run(*add, "--incremental-from", "9").code == 64
    assert fleet.run(*add, "--incremental-from", "1", "--codec", "nonsense").code == 64


def test_a_server_whose_store_lacks_what_a_plan_counts_on_refuses_it_before_a_client_is_touched(fleet: Fleet) -> None:
    release(fleet, 1)
    assert fleet.apply().code == 0
    release(fleet, 2)
    assert fleet.run("plan", "--out", "a.plan").code == 0
    assert "1..2/" in (fleet.folder / "a.plan").read_text()
    before, store, other = fleet.listing(), fleet.folder / "store", fleet.folder / "other"
    store.rename(other)
    refused = fleet.run("apply", "a.plan")
    assert (refused.code, "doesn't hold what the planned incremental is made of" in refused.err) == (5, True)
    assert fleet.listing() == before
    shutil.rmtree(store, ignore_errors=True)
    other.rename(store)
    done = fleet.run("apply", "a.plan", "--format", "json")
    assert (done.code, done.json["recap"]["all"]["changed"]) == (0, 3)
